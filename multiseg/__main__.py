"""``python -m multiseg`` is the command ``multiseg``."""

from .commands.cli import entry

entry()
