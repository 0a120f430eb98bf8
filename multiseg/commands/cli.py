"""The command ``multiseg``."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import math
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from multiseg_core.errors import UserError, one_line

from ..base.errors import is_full_disk
from ..base.files import yaml_beside

# A command's module, which imports heavy ones (torch, nilearn, nbconvert), is imported when it runs: --help is quick.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status: 0 on success only, 1 for bad input, 130 when interrupted."""
    options = build_parser().parse_args(arguments)
    try:
        importlib.import_module(f".{options.command}", __package__).run(options)
    except KeyboardInterrupt:
        again = shlex.join(["multiseg", *sys.argv[1:]])
        if options.command == "study" and not options.notebooks:
            again = f"make study PARAMS={shlex.quote(str(options.params))}"
        print(f"multiseg: interrupted; finished work is kept. To go on: {again}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if options.debug:
            raise
        lines = str(error).splitlines() if isinstance(error, UserError) else []
        if is_full_disk(error):
            lines.append("No space left on the disk; free some and run the command again: finished work is kept")
        for line in lines or [f"{type(error).__name__}: {one_line(error)} (--debug shows where)"]:
            print(f"multiseg: error: {line}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, which ``commands.yaml`` describes; a command's module has its name."""
    parser = argparse.ArgumentParser(
        prog="multiseg",
        description="Train one segmentation network from several datasets, each labelled for another task.",
    )
    parser.add_argument("--version", action="version", version=f"multiseg {importlib.metadata.version('multiseg')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, about in yaml_beside(__file__, "commands.yaml").items():
        text = f"{about['help']} {about.get('more', '')}".strip()
        sub = commands.add_parser(name, help=about["help"], description=text)
        if "\n" in text:  # it has lines of its own
            sub.formatter_class = argparse.RawDescriptionHelpFormatter
        sub.set_defaults(command=name)
        _add_arguments(sub, {"--debug": "show the traceback of an error", **about["arguments"]})
    return parser


def _add_arguments(parser: argparse._ActionsContainer, arguments: Mapping[str, Any]) -> None:
    for names, about in arguments.items():
        if names in ("one of", "at most one of"):
            _add_arguments(parser.add_mutually_exclusive_group(required=names == "one of"), about)
        elif isinstance(about, str):
            parser.add_argument(names, action="store_true", help=about)
        else:
            kind = {"type": TYPES[about["type"]]} if "type" in about else {}
            parser.add_argument(*names.split(), **{**about, **kind})


def positive(text: str, kind: type[float] = float, what: str = "a number") -> float:
    """Read a number above 0 from the command line; `what` says in errors of which kind."""
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not {what} above 0")
    return value


TYPES = {
    "path": Path,
    "number": positive,
    "whole": partial(positive, kind=int, what="a whole number"),
    "gib": partial(positive, what="a number of GiB"),
}
"""Types of arguments by their names in ``commands.yaml``."""


def entry() -> None:
    """Entry point of the installed command."""
    _never_swallow_interrupts()
    sys.exit(main())


def _never_swallow_interrupts() -> None:
    """Let Ctrl-C end the program even where Python drops the exception, as in a callback of a weak reference."""
    if not hasattr(signal, "SIGALRM"):
        return

    def again(dropped: Any) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        else:
            sys.__unraisablehook__(dropped)

    signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook = again


if __name__ == "__main__":
    entry()
