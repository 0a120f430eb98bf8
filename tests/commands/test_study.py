"""``multiseg study`` where something fails, and where it has several replicates."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from multiseg.commands import cli
from multiseg.report import pages
from multiseg.study import finished_runs, runs
from multiseg.study.failures import failed_networks
from multiseg.study.study import FIRST_REPLICATE, Study
from multiseg_core.errors import UserError

EXPLODES = {
    "models: [cross_entropy, selective_cross_entropy]": "models: [cross_entropy, selective_cross_entropy, explodes]",
    "precision: float32": "precision: float32\nmodels: {explodes: {training: {learning_rate: 1.0e+30}}}",
}


def test_one_failing_network_does_not_stop_the_others(toy_study: Callable[..., Path]) -> None:
    """One of 140 became nan, and no page was written."""
    study = Study(toy_study(EXPLODES))
    runs.finish_runs(study)
    assert [run.model for run in study.runs] == ["cross_entropy", "selective_cross_entropy"]
    assert all(finished_runs.is_finished(run) for run in study.runs)
    (line,) = failed_networks(study.planned_runs)
    assert re.fullmatch(r"both/explodes/0: could not be trained: .*loss became (nan|inf).*", line)
    again = Study(study.params_file)  # such as in a notebook: it is not tried again there
    assert [run.name for run in again.runs] == [run.name for run in study.runs]
    again.try_again()
    assert len(again.runs) == 3


def test_a_study_of_failing_networks_alone_says_why(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study({**EXPLODES, next(iter(EXPLODES)): "models: [explodes]"}))
    with pytest.raises(UserError, match="both/explodes/0: could not be trained: .*loss became"):
        runs.finish_runs(study)


def test_what_learns_from_a_failed_network_fails_with_it(toy_study: Callable[..., Path]) -> None:
    goes_on = "{explodes: {training: {learning_rate: 1.0e+30}}, next: {continues: both/explodes}}"
    study = Study(
        toy_study(
            {
                next(iter(EXPLODES)): "models: [cross_entropy, explodes, next]",
                "precision: float32": f"precision: float32\nmodels: {goes_on}",
            }
        )
    )
    runs.finish_runs(study)
    assert [run.model for run in study.runs] == ["cross_entropy"]
    assert "both/next/0: could not be trained: needs both/explodes/0, which failed" in failed_networks(
        study.planned_runs
    )


def test_the_first_replicate_has_a_report_while_the_others_train(
    toy_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    steps = "preprocessing: {spacing_mm: 1}"
    file = toy_study({**EXPLODES, steps: f"{steps}\nnotebooks: [scenarios]\nreplicates: 2"})
    assert cli.main(["study", str(file)]) == 1  # for a network failed, which the report names
    folder = Study(file).folder
    said = capsys.readouterr().err
    assert re.search(r"report of the first replicate: .*first_replicate\.html", said)
    assert said.index("report of the first replicate") < said.rindex("training networks")
    assert sorted(pd.read_csv(folder / "metrics.csv")["replicate"].unique()) == [1, 2]
    index = (folder / "index.html").read_text()
    assert "both/explodes/0: could not be trained" in index and not (folder / "first_replicate.html").exists()
    assert len(list(folder.glob("scenario*.html"))) == 1


def test_a_fault_of_the_early_report_stops_no_training(
    toy_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = "preprocessing: {spacing_mm: 1}"
    file = toy_study({steps: f"{steps}\nnotebooks: []\nreplicates: 2"})
    write = pages.write_index

    def fail_early(study: Study, outputs: list[str], name: str = "index") -> Path:
        if study.is_first_replicate:
            raise KeyError("a column")
        return write(study, outputs, name)

    monkeypatch.setattr(pages, "write_index", fail_early)
    assert cli.main(["study", str(file)]) == 0
    assert "warning: no report of the first replicate: 'a column'" in capsys.readouterr().err
    assert all(finished_runs.is_finished(run) for run in Study(file).runs)


def test_the_first_replicate_alone(toy_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file = toy_study({"precision: float32": "precision: float32\nreplicates: 3"})
    whole = Study(file)
    monkeypatch.setenv(FIRST_REPLICATE, "1")
    first = Study(file)
    assert first.is_first_replicate and not whole.is_first_replicate
    assert [run.key for run in first.runs] == [run.key for run in whole.runs if run.replicate == 1]
