"""Fingerprints: short hashes of values, files and code, of which the keys of all products are made.

A product's key covers the code that can change it, and which code that is stands in the code itself: a definition (a
function, class or constant at the top level of a module of this package) needs every definition that it names, and so
on. So a new loss, a figure or a docstring changes the key of no network, and a line of the kernel that its loss calls
does. What is called through an object counts because its class is named where it is made, or in an annotation.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FINGERPRINT_LENGTH = 12
PACKAGE = Path(__file__).resolve().parent.parent

WITHOUT_NUMBERS = {
    "params",
    "params_files",
    "utils.errors",
    "utils.files",
    "utils.fingerprints",
    "utils.provenance",
    "utils.workers",
}
"""Modules that change no number: the values of params are in keys themselves. To forget one costs time, not truth."""


def fingerprint(value: Any) -> str:
    """Return a short hash of anything that JSON can hold."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def file_fingerprint(path: Path) -> str:
    """Return a short hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:FINGERPRINT_LENGTH]


@functools.lru_cache
def code_fingerprint(*roots: str, source: str = "", package: Path = PACKAGE) -> str:
    """Return a short hash of what some definitions do: their code and all that they need, without comments.

    Parameters
    ----------
    roots
        Definitions, such as ``losses.SelectiveCrossEntropy``: module within the package, and name.
    source
        Code outside the package, such as that of a notebook, that counts as well.
    package
        Folder of the package.

    Raises
    ------
    ValueError
        If there is no such definition.
    """
    return fingerprint(sorted(needed(package, roots, source).items()))


def needed(package: Path, roots: Sequence[str], source: str) -> dict[str, str]:
    """Return all that some definitions need: ``module.name`` -> its code, or file -> hash, for one that it names."""
    found: dict[str, str] = {}
    todo = []
    for root in roots:
        module, _, name = root.rpartition(".")
        if name not in {**_read(package, module).definitions, **_read(package, module).imports}:
            raise ValueError(f"no definition {root}")
        todo.append((module, name))
    if source:
        outside = _Module.of(ast.parse(source), "", "", package)
        found["source"] = _dump(ast.parse(source))
        todo += [place for nodes in outside.definitions.values() for n in nodes for place in outside.named(n, package)]
    while todo:
        module, name = todo.pop()
        if f"{module}.{name}" in found or module in WITHOUT_NUMBERS:
            continue
        m = _read(package, module)
        if name in m.imports:
            todo.append(m.imports[name])
            continue
        found[f"{module}.{name}"], places, files = _definition(package, module, name)
        found.update(files)
        todo += places
    return found


@dataclass(frozen=True)
class _Module:
    """The definitions of a module by name, "" for calls beside them, and where the names come from that it imports."""

    name: str
    inside: str  # the package that its relative imports start from
    folder: Path
    definitions: Mapping[str, Sequence[ast.stmt]]
    imports: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, tree: ast.Module, name: str, inside: str, folder: Path) -> _Module:
        definitions: dict[str, list[ast.stmt]] = {}
        for node in tree.body:
            for defined in _defined(node):
                definitions.setdefault(defined, []).append(node)
        return cls(name, inside, folder, definitions, _imports(tree, inside))

    def named(self, node: ast.stmt, package: Path) -> Iterator[tuple[str, str]]:
        """Yield the definitions of the package that a statement names, as (module, name)."""
        attributes = {id(n.value): n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        imports = {**self.imports, **_imports(node, self.inside)}
        for n in ast.walk(node):
            if not isinstance(n, ast.Name):
                continue
            if n.id in imports:
                module, name = imports[n.id]
                below = f"{module}.{name}".strip(".")
                path = package.joinpath(*below.split("."))
                if not (path.is_dir() or path.with_suffix(".py").is_file()):
                    yield module, name
                elif id(n) in attributes:
                    yield below, attributes[id(n)]
                else:  # a module as a value: any of it may be meant
                    m = _read(package, below)
                    yield from ((below, every) for every in (*m.definitions, *m.imports))
            elif n.id in self.definitions:
                yield self.name, n.id

    def files_named(self, node: ast.stmt) -> Iterator[Path]:
        """Yield the files beside the module, or in folders beside it, that a text in a statement names."""
        for n in ast.walk(node):
            if isinstance(n, ast.Constant) and isinstance(n.value, str) and re.fullmatch(r"\w[\w./-]*", n.value):
                path = self.folder / n.value
                yield from (
                    [path]
                    if path.is_file()
                    else sorted(f for f in path.rglob("*.*") if f.suffix not in (".py", ".pyc"))
                )


@functools.cache
def _definition(package: Path, module: str, name: str) -> tuple[str, list[tuple[str, str]], dict[str, str]]:
    """Return the code of a definition, the definitions that it names, and the files, with their hashes."""
    m = _read(package, module)
    nodes = [*m.definitions.get(name, ()), *m.definitions.get("", ())]
    places = [place for node in nodes for place in m.named(node, package)]
    files = {str(f.relative_to(package)): file_fingerprint(f) for node in nodes for f in m.files_named(node)}
    return "".join(map(_dump, nodes)), places, files


@functools.cache
def _read(package: Path, module: str) -> _Module:
    path = package.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    inside = module if path.is_dir() else module.rpartition(".")[0]
    return _Module.of(ast.parse(file.read_text(encoding="utf-8")), module, inside, file.parent)


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement at the top level defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Expr):
        return [] if isinstance(node.value, ast.Constant) else [""]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return []
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)] or [""]


def _imports(node: ast.AST, inside: str) -> dict[str, tuple[str, str]]:
    """Return local name -> (module, name) of everything that some code imports from this package."""
    found = {}
    for n in ast.walk(node):
        if not isinstance(n, ast.ImportFrom):
            continue
        parts = (n.module or "").split(".") if n.module else []
        if n.level:
            above = inside.split(".") if inside else []
            parts = above[: len(above) - n.level + 1] + parts
        elif parts[0] == PACKAGE.name:
            parts = parts[1:]
        else:
            continue
        found.update({alias.asname or alias.name: (".".join(parts), alias.name) for alias in n.names})
    return found


def _dump(node: ast.AST) -> str:
    """Return code without comments, docstrings and layout. Takes the docstrings out of the tree that it is given."""
    for n in ast.walk(node):
        if isinstance(body := getattr(n, "body", None), list):
            texts = [s for s in body if isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)]
            n.body = [s for s in body if s not in texts]  # type: ignore[attr-defined]
    return ast.dump(node)


def modules_needed(*roots: str, package: Path = PACKAGE) -> list[str]:
    """Return the modules of this package that some modules import, and these import, and so on, with themselves."""
    found: dict[str, None] = {}
    todo = list(roots)
    while todo:
        module = todo.pop()
        if module in found:
            continue
        found[module] = None
        for within, name in _read(package, module).imports.values():
            below = f"{within}.{name}".strip(".")
            path = package.joinpath(*below.split("."))
            todo.append(below if path.is_dir() or path.with_suffix(".py").is_file() else within)
    return sorted(found)
