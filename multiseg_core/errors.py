"""The one exception that users are meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. The message is one line that names the file, case or key at fault, or several such lines."""


def one_line(error: BaseException) -> str:
    """Return an error's message in one line, or its kind if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the known name nearest to `word`, or ``""``."""
    nearest = difflib.get_close_matches(str(word), [str(name) for name in known], n=1, cutoff=0.5)
    return f" (did you mean '{nearest[0]}'?)" if nearest else ""
