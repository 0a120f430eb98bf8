"""Fingerprints: short hashes of values, files and code, of which the keys of all products are made.

A product's key covers the files of code that can change its numbers, each as its syntax tree without docstrings,
imports, annotations and the texts of errors: a reworded message or a moved module makes nothing anew.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FINGERPRINT_LENGTH = 12
ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds both packages."""

PACKAGES = ("multiseg_core", "multiseg")


def fingerprint(value: Any) -> str:
    """Return a short hash of anything that JSON can hold."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def file_fingerprint(path: Path) -> str:
    """Return a short hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:FINGERPRINT_LENGTH]


@functools.lru_cache
def code_fingerprint(*modules: str, root: Path = ROOT) -> str:
    """Return a short hash of what some modules do, such as ``multiseg_core.training``, whatever they are called.

    Of a package all that lies in its folder counts, files of data too; of another distribution, the module's file.
    `root` is the folder that holds the packages. Raises `ValueError` if there is no such module.
    """
    return fingerprint(sorted(_file_code(file) for module in modules for file in module_files(module, root)))


def module_files(module: str, root: Path = ROOT) -> list[Path]:
    """Return the file of a module, or all files of a package. Raises `ValueError` if there is none."""
    path = root.joinpath(*module.split("."))
    if path.is_dir():
        return sorted(f for f in path.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    if path.with_suffix(".py").is_file():
        return [path.with_suffix(".py")]
    found = None if module.partition(".")[0] in PACKAGES else importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ValueError(f"no module {module}")
    return [Path(found.origin)]


@functools.cache
def _file_code(file: Path) -> str:
    if file.suffix != ".py":
        return file_fingerprint(file)
    tree = _Bare().visit(ast.parse(file.read_text(encoding="utf-8")))
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


class _Bare(ast.NodeTransformer):
    """Takes out of a syntax tree what changes no number."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Drop docstrings."""
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """Drop it: what is imported counts by its own file."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Drop it."""

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Keep what is raised, not what it says."""
        if isinstance(node.exc, ast.Call):
            return ast.Raise(node.exc.func, None)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Drop the annotation."""
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop the annotation of what is returned."""
        node.returns = None
        return self.generic_visit(node)


def modules_needed(*modules: str, root: Path = ROOT) -> list[str]:
    """Return the modules of both packages that some modules import, and these import, and so on, with themselves."""
    found: dict[str, None] = {}
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module not in found:
            found[module] = None
            todo += _imported(module, root)
    return sorted(found)


def _imported(module: str, root: Path) -> Iterable[str]:
    path = root.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    inside = module.split(".") if path.is_dir() else module.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        above = inside[: len(inside) - node.level + 1] if node.level else []
        parts = [*above, *(node.module or "").split(".")] if node.module else above
        if parts[0] not in PACKAGES:
            continue
        for alias in node.names:
            below = root.joinpath(*parts, alias.name)
            is_module = below.is_dir() or below.with_suffix(".py").is_file()
            yield ".".join([*parts, alias.name] if is_module else parts)
