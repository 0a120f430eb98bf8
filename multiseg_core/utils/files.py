"""Files that are whole or absent, and fingerprints of what made them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder that replaces `path` at the end, or vanishes on error.

    A process killed at any moment leaves the old file or the new one, never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix="".join(path.suffixes[-2:]))
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes files that only their owner reads; results follow the umask like any other file
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` at the end; if `folder` exists by then, it is kept."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
    try:
        yield part
        part.chmod(0o755)
        with contextlib.suppress(OSError):  # another process was faster
            os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove_leftovers(folder: Path, older_than_s: float = 3600) -> None:
    """Remove what killed processes left half-written under a folder; younger files may still be written to."""
    for where, folders, files in os.walk(folder):  # other processes may rename what is walked over
        for part in [Path(where, name) for name in (*folders, *files) if name.startswith(".part-")]:
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > older_than_s:
                    shutil.rmtree(part) if part.is_dir() else part.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV file atomically."""
    with atomic_path(path) as part:
        table.to_csv(part, index=False)
