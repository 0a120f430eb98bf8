"""What several commands do: read a study, check it, warn, shorten paths."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from ..base.workers import allow_open_files
from ..study.check import is_stamped, require_sound
from ..study.study import Study

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def load(options: argparse.Namespace) -> Study:
    """Read the study that a command was asked for. Raises `UserError`."""
    return Study(options.params)


def checked(options: argparse.Namespace, unless_stamped: bool = False) -> Study:
    """Load a study, check it and that its folder can be written to; print its warnings.

    With `unless_stamped`, one that was checked is not checked again: one job of many need not do it.
    """
    study = load(options)
    study.require_writable()
    if unless_stamped and is_stamped(study):
        allow_open_files()  # a check does this as well
    else:
        warn(require_sound(study).warnings)
    return study


def warn(lines: Iterable[str]) -> None:
    """Print warnings, one a line."""
    for line in lines:
        print(f"warning: {line}", file=sys.stderr, flush=True)


def relative(path: Path) -> Path:
    """Return a path relative to the working folder where that is shorter to read."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path
