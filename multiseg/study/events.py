"""Curves for TensorBoard while networks train, where the package tensorboard is installed; it is not asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

EVERY = 10
"""Steps between two points of the training loss."""


class Events:
    """Writes what a training tells into ``events`` in its network's folder; does nothing without tensorboard."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # needs the package tensorboard
        except ImportError:
            self._writer = None
        else:
            self._writer = SummaryWriter(str(folder / "events"))
        self._validations = 0

    def add(self, step: int, loss: float, history: Sequence[Sequence[float]]) -> None:
        """Add the loss of a step, and the validations since the last call (step, training, validation loss, ...)."""
        if self._writer is None:
            return
        if step % EVERY == 0:
            self._writer.add_scalar("loss/training", loss, step)
        for at, _, validation, *_ in history[self._validations :]:
            self._writer.add_scalar("loss/validation", validation, int(at))
        self._validations = len(history)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
