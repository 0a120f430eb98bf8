"""What the index says first: expected sentences are arithmetic on metrics that are made up."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from multiseg.report import glossary, model_differences, opening
from multiseg.report.table_files import interval_bar
from multiseg.study import finished_runs
from multiseg.study.study import Study
from tests.report.test_model_differences import metrics, study  # noqa: F401

LEDGER = pd.read_csv(
    io.StringIO("""finding,endpoint,scenario,verdict,claim
2,any,every,holds,The naive model fails at one task or another
4,anatomy,every,holds,One selective network is as good
4,lesion,every,inconclusive,One selective network is as good
4,lesion,anatomy_wmh,does not hold,One selective network is as good
"""),
    dtype={"finding": str},
)
NOTHING = LEDGER[:0]


def test_three_sentences_say_what_was_done_found_and_settled(
    study: Study,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finished_runs, "metrics", lambda _: metrics())
    monkeypatch.setattr(study, "folder", tmp_path)
    first, second = opening.opening(study, NOTHING)
    assert "networks learned from 2 sets of simulated images" in first and "CSF, GM, WM and WMH" in first
    assert first.endswith("they were tested on 2 other cases.")
    assert second == (
        "One network that is told what each data set leaves undrawn reached an overlap with the true labels (Dice, 1 "
        "is perfect) of 0.82 for anatomy and 0.61 for lesions; separate networks, one for each task, reached 0.81 for "
        "anatomy and 0.62 for lesions; one network that takes all that is undrawn for background reached 0.70 for "
        "anatomy and 0.66 for lesions."
    )
    third = opening.opening(study, LEDGER)[2]
    assert third.startswith("A single run cannot tell luck from difference")
    monkeypatch.setattr(study, "params", study.params.changed(replicates=4))
    assert opening.opening(study, LEDGER)[2] == (
        "After 4 repetitions with other subjects, that taking the undrawn for background fails at one task or another "
        "is shown; that one network is as good as separate ones is shown for anatomy and is still open for lesions."
    )


def test_companion_studies_say_how_many_findings_held(
    study: Study,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(study, "folder", tmp_path)
    monkeypatch.setattr(
        study, "params", type("P", (), {**vars(study.params), "notebooks": ["07_losses_and_dimensions"]})
    )
    (first,) = opening.opening(study, NOTHING)
    assert first.endswith("networks learned from 2 sets of simulated images.")
    assert opening.opening(study, LEDGER)[1] == (
        "Of 3 published findings 2 held here, 0 did not, and 1 stayed open. More replicates settle more: replicates: 8 "
        "in the params file."
    )


def test_endpoints_stand_beside_separate_networks(study: Study) -> None:  # noqa: F811
    shown = model_differences.beside_separate(study, model_differences.difference_table(study, metrics()))
    row = shown[(shown["endpoint"] == "lesion") & (shown["model"] == "oracle")].iloc[0]
    assert row["dice"] == pytest.approx(0.65) and row["reference"] == pytest.approx(0.62) and row["margin"] == 0.05


def test_interval_bars_are_drawn_to_scale_and_read_aloud() -> None:
    bar = interval_bar(0.05, 0.0, 0.1, 0.02)
    # the reach is 1.1 x .1, so that 0 is in the middle of 150 pixels, and .1 at 75 x (1 + 1 / 1.1)
    assert '<path d="M75.0 10H143.2"' in bar and '<circle cx="109.1"' in bar
    assert '<rect x="61.4" width="27.3"' in bar  # 150 x .02 / .11
    assert 'aria-label="95 % interval 0.000 to 0.100, margin 0.020"' in bar
    assert interval_bar(0.05, float("nan"), float("nan")) == ""
    assert "rect" not in interval_bar(0.5, 0.4, 0.6, threshold=1.0)


def test_models_are_told_in_words_and_lines_are_found(study: Study, tmp_path: Path) -> None:  # noqa: F811
    table = glossary.glossary(study)
    assert list(table.index) == list(study.scenarios["anatomy_wmh"].models)
    assert table.loc["cross_entropy", "what it is"] == (
        "One network; what a cohort leaves undrawn counts as background; loss cross-entropy."
    )
    lines = glossary.what_to_change(study).set_index("question")
    text = study.params_file.read_text().splitlines()
    where = lines.loc["Does it need longer training?"]
    assert (
        where["line"].startswith("smoke.yaml, line ") and text[int(where["line"].split()[-1]) - 1].strip() == "steps: 6"
    )
    assert where["now"] == "steps: 6"
    assert lines.loc["How far does luck of training reach?", "line"] == "add it to smoke.yaml"
    assert isinstance(lines, pd.DataFrame)
