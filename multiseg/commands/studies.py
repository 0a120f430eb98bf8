"""What several commands do: read a study, check it, shorten paths."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..study.study import Study


def add_params(parser: argparse.ArgumentParser) -> None:
    """Add the argument PARAMS."""
    parser.add_argument("params", type=Path, metavar="PARAMS", help="a params file, such as params/quick.yaml")


def positive(text: str, what: str = "a number") -> float:
    """Read a number above 0 from the command line; `what` says in errors of which kind."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not {what} above 0")
    return value


def load(options: argparse.Namespace) -> Study:
    """Read the study that a command was asked for. Raises `UserError`."""
    from ..study.study import Study

    return Study(options.params)


def checked(options: argparse.Namespace, to_write: bool) -> Study:
    """Load a study and check it, and that its folder can be written to if need be; print its warnings."""
    from ..study.check import require_sound

    study = load(options)
    if to_write:
        study.require_writable()
    for line in require_sound(study).warnings:
        print(f"warning: {line}", file=sys.stderr)
    return study


def stamped(options: argparse.Namespace) -> Study:
    """Load a study to write to, and check it unless that was done: one job of many need not do it again."""
    from ..base.workers import allow_open_files
    from ..study.check import is_stamped

    study = load(options)
    if not is_stamped(study):
        return checked(options, to_write=True)
    study.require_writable()
    allow_open_files()  # a check does this as well
    return study


def relative(path: Path) -> Path:
    """Return a path relative to the working folder where that is shorter to read."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path
