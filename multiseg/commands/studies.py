"""What several commands do: declare arguments, read a study and check it, warn, shorten paths."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..study.study import Study

Add = Callable[..., argparse.ArgumentParser]
"""Called as ``add(name, function, help, further help)``: adds a command to the parser and returns its own parser."""


def add_params(parser: argparse.ArgumentParser) -> None:
    """Add the argument PARAMS."""
    parser.add_argument("params", type=Path, metavar="PARAMS", help="a params file, such as params/quick.yaml")


def add_flags(parser: argparse.ArgumentParser, flags: Mapping[str, str]) -> None:
    """Add options without a value: name -> help."""
    for name, text in flags.items():
        parser.add_argument(name, action="store_true", help=text)


def positive(text: str, kind: type[float] = float, what: str = "a number") -> float:
    """Read a number above 0 from the command line; `what` says in errors of which kind."""
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not {what} above 0")
    return value


def load(options: argparse.Namespace) -> Study:
    """Read the study that a command was asked for. Raises `UserError`."""
    from ..study.study import Study

    return Study(options.params)


def checked(options: argparse.Namespace) -> Study:
    """Load a study, check it and that its folder can be written to; print its warnings."""
    from ..study.check import require_sound

    study = load(options)
    study.require_writable()
    warn(require_sound(study).warnings)
    return study


def stamped(options: argparse.Namespace) -> Study:
    """Load a study to write to, and check it unless that was done: one job of many need not do it again."""
    from ..base.workers import allow_open_files
    from ..study.check import is_stamped

    study = load(options)
    if not is_stamped(study):
        return checked(options)
    study.require_writable()
    allow_open_files()  # a check does this as well
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
