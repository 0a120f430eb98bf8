"""How many cores a job may use."""

import os
from pathlib import Path

import pytest

from multiseg.base import cores


def test_affinity_and_the_quota_of_a_control_group_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a job of 4 cores of a machine of 64, 64 predictions ran at a time."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "CGROUP", tmp_path / "cpu.max")
    assert cores.available_cores() == 8
    for text, expected in (("400000 100000", 4), ("max 100000", 8), ("50000 100000", 1), ("1600000 100000", 8)):
        cores.CGROUP.write_text(text)
        assert cores.available_cores() == expected


def test_nothing_counts_the_cores_of_the_whole_machine() -> None:
    package = Path(cores.__file__).parents[1]
    counting = [path for path in package.rglob("*.py") if "cpu_count" in path.read_text()]
    assert counting == [package / "base" / "cores.py"]
