import sys
import types
from pathlib import Path

import pytest

from multiseg.study.events import Events


def test_curves_are_written_where_tensorboard_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[object, ...]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            written.append((folder,))

        def add_scalar(self, *point: object) -> None:
            written.append(point)

        def close(self) -> None:
            written.append(("closed",))

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    events = Events(tmp_path)
    events.add(9, 0.9, [])
    events.add(10, 0.8, [[10, 0.85, 0.7, 0.01, 1.0]])
    events.add(20, 0.6, [[10, 0.85, 0.7, 0.01, 1.0], [20, 0.65, 0.5, 0.01, 2.0]])
    events.close()
    assert written == [
        (str(tmp_path / "events"),), ("loss/training", 0.8, 10), ("loss/validation", 0.7, 10),
        ("loss/training", 0.6, 20), ("loss/validation", 0.5, 20), ("closed",),
    ]  # fmt: skip


def test_without_tensorboard_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    events = Events(tmp_path)
    events.add(10, 0.8, [])
    events.close()
    assert list(tmp_path.iterdir()) == []
