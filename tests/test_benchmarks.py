"""The benchmarks' own arithmetic; what they measure is not tested, it is measured."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import wide_field
from benchmarks.common import COLUMNS, Spread, Table, peak_allocated_mb, rate, scaled, time_all
from benchmarks.time_to_dice import VARIANTS, make_study, seconds_to_reach
from multiseg.study.study import Study


def test_ratio_says_how_many_times_better_ours_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.add("step", "peer", Spread((2.0, 4.0, 3.0)), Spread((9.0,)), "ms")  # a third of the time
    table.add("sampler", "peer", 800.0, 200.0, "patches/s")  # four times the rate
    table.add("labels", "one pass", 0.999, 1.0, "share of voxels")
    assert [row["ratio"] for row in table.rows] == pytest.approx([3.0, 4.0, 0.999])
    assert "ours 3 (2-4) | theirs 9 | 3.00 x | ms" in capsys.readouterr().out
    table.write(tmp_path)
    # a later call replaces its own rows and keeps the others
    again = Table()
    again.add("step", "peer", 1.0, 9.0, "ms")
    again.write(tmp_path)
    written = pd.read_csv(tmp_path / "bench.csv")
    assert tuple(written.columns) == COLUMNS
    assert dict(zip(written["what"], written["ratio"], strict=True)) == {"step": 9.0, "sampler": 4.0, "labels": 0.999}
    assert (tmp_path / "machine.json").exists() and len(pd.read_csv(tmp_path / "samples.csv")) == 2 + 2 + 2


def test_units() -> None:
    assert rate(Spread((0.5, 2.0)), 7).values == (14.0, 3.5)
    assert scaled(Spread((0.5, 2.0)), 1000).values == (500.0, 2000.0)


def test_functions_are_timed_in_turns() -> None:
    calls = []
    spreads = time_all({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2, inner=2)
    assert calls == ["a", "b", *["a", "a", "b", "b"] * 2]
    assert [len(s.values) for s in spreads.values()] == [2, 2]


def test_peak_of_allocated_memory() -> None:
    def function() -> None:
        x = torch.zeros(250_000)  # 1 MB
        y = x + 1  # 2 MB alive
        del x
        y += 1

    assert peak_allocated_mb(function) == pytest.approx(2.0, rel=0.01)


def test_seconds_to_reach_a_dice() -> None:
    curve = pd.DataFrame({"seconds": [10.0, 20.0, 40.0], "new": [0.5, 0.8, 0.9]})
    assert seconds_to_reach(curve, "new", 0.5) == 10
    assert seconds_to_reach(curve, "new", 0.85) == 40  # no interpolation between evaluations
    assert seconds_to_reach(curve, "new", 0.95) == float("inf")


def test_every_variant_is_a_valid_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.time_to_dice.FOLDER", tmp_path)
    for variant in VARIANTS.values():
        make_study(variant)


def test_heart_phantoms_are_a_study(tmp_path: Path) -> None:
    """Each training case draws one structure, test cases all; the muscle lies around the left cavity."""
    wide_field.write(tmp_path, seed=0, train_cases=1, test_cases=1)
    study = Study(tmp_path / "heart.yaml")
    assert study.scenario("heart").labels == ("cavity", "muscle", "right")
    drawn = {
        name: set(np.unique(nib.load(tmp_path / f"{name}00_labels.nii.gz").get_fdata()))
        for name in (*wide_field.COHORTS, "test")
    }
    assert drawn == {"cavity": {0, 1}, "muscle": {0, 2}, "right": {0, 3}, "test": {0, 1, 2, 3}}
    whole = nib.load(tmp_path / "test00_labels.nii.gz").get_fdata()
    cavity, muscle = (np.argwhere(whole == code) for code in (wide_field.CAVITY, wide_field.MUSCLE))
    assert np.abs(cavity.mean(0) - muscle.mean(0))[:2].max() < 8  # voxels
    assert (muscle.min(0) < cavity.min(0))[:2].all() and (muscle.max(0) > cavity.max(0))[:2].all()
