"""Cohorts whose cases draw different labels, cohorts without labels, and several test cohorts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from multiseg.commands import cli
from multiseg.study import finished_runs, runs
from multiseg.study.check import check_study
from multiseg.study.study import Study
from multiseg_core.errors import UserError
from multiseg_core.labels import BACKGROUND

MODELS = "models: [cross_entropy, selective_cross_entropy]"


def with_column(manifest: Path, values: list[str], name: str = "annotates") -> None:
    """Add a column to a manifest."""
    head, *lines = manifest.read_text().splitlines()
    rows = [f"{line},{value}" for line, value in zip(lines, values, strict=True)]
    manifest.write_text("\n".join([f"{head},{name}", *rows]) + "\n")


@pytest.fixture
def parted(toy_study: Callable[..., Path], tmp_path: Path) -> Path:
    """Two cases draw everything, one wm only, and the test case does not say."""
    file = toy_study({"steps: 4": "steps: 4\n  validation_fraction: 0"})
    with_column(tmp_path / "data" / "anatomy.csv", ["csf; gm;wm", "wm", "csf;gm;wm", ""])
    return file


def test_a_cohort_whose_cases_draw_different_labels_is_several(parted: Path) -> None:
    study = Study(parted)
    assert list(study.cohorts) == ["anatomy.csf+gm+wm", "anatomy.wm", "lesion"]
    whole, part, _ = study.cohorts.values()
    assert [case.name for case in whole.cases] == ["anatomy0", "anatomy2", "anatomy3"]
    assert part.code_map.annotates == ("wm",)
    # what was not drawn in a case may hide in its background, whatever its file shows
    assert part.code_map.sets[0] == {BACKGROUND, "csf", "gm"} and whole.code_map.sets[0] == {BACKGROUND}
    assert part.code_map.sets[part.code_map.position(1)] == part.code_map.sets[0]
    scenario = study.scenario("both")
    assert [c.name for c in scenario.train] == ["anatomy.csf+gm+wm", "anatomy.wm", "lesion"]
    assert [c.code_map.annotates for c, *_ in scenario.tasks] == [("csf", "gm", "wm"), ("wm",), ("wmh",)]
    findings = check_study(study)
    assert not findings.errors
    note = (
        "anatomy: its cases do not all draw the same labels, so it is taken as anatomy.csf+gm+wm (3 cases), anatomy.wm"
    )
    assert any(note in line for line in findings.warnings)
    # one person, whichever part a case is in
    assert whole.cases[0].person[0] == part.cases[0].person[0] == "anatomy"


def test_scenarios_may_name_a_part(parted: Path) -> None:
    text = parted.read_text()
    parted.write_text(text.replace("train: [anatomy, lesion]", "train: [anatomy.wm, lesion]"))
    study = Study(parted)
    assert [c.name for c in study.scenario("both").train] == ["anatomy.wm", "lesion"]
    parted.write_text(text.replace("train: [anatomy, lesion]", "train: [anatomy.vm, lesion]"))
    with pytest.raises(UserError, match=r"unknown cohort 'anatomy\.vm' \(did you mean 'anatomy\.wm'\?\)"):
        Study(parted)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["", "", "", "vm"],
            r"anatomy.csv line 5: annotates 'vm', which the codes of its cohort do not name \(did you",
        ),
        (["", "wm;;", "", "wmh"], "anatomy.csv line 5: annotates 'wmh', which the codes"),
    ],
)
def test_bad_lists_of_labels(values: list[str], message: str, toy_study: Callable[..., Path], tmp_path: Path) -> None:
    file = toy_study()
    with_column(tmp_path / "data" / "anatomy.csv", values)
    with pytest.raises(UserError, match=message):
        Study(file)


@pytest.fixture
def unlabelled(toy_study: Callable[..., Path], tmp_path: Path) -> Path:
    """A third cohort without labels; pseudo-labels learn from it."""
    file = toy_study({
        MODELS: "models: [selective_cross_entropy, pseudo_labels]",
        "train: [anatomy, lesion]": "train: [anatomy, lesion, more]",
        "preprocessing:": "  more: {source: table, manifest: data/more.csv}\npreprocessing:",
    })  # fmt: skip
    data = tmp_path / "data"
    rows = [f"more{i},{name}{i}_T1.nii.gz,{name}{i}_FLAIR.nii.gz" for i, name in enumerate(["lesion", "lesion"])]
    for i in range(2):  # other images than those of the training cases
        for modality in ("T1", "FLAIR"):
            (data / f"more{i}_{modality}.nii.gz").write_bytes((data / f"lesion3_{modality}.nii.gz").read_bytes())
    rows = [f"more{i},more{i}_T1.nii.gz,more{i}_FLAIR.nii.gz" for i in range(2)]
    (data / "more.csv").write_text("case,T1,FLAIR\n" + "\n".join(rows) + "\n")
    return file


def test_only_pseudo_labels_learn_from_a_cohort_without_labels(unlabelled: Path) -> None:
    study = Study(unlabelled)
    more = study.cohorts["more"]
    assert not more.says_something and more.code_map.sets[0] == {BACKGROUND, "csf", "gm", "wm", "wmh"}
    assert not check_study(study).errors
    selective, pseudo = (
        study.find_run(f"both/{m}/0").networks[0] for m in ("selective_cross_entropy", "pseudo_labels")
    )
    assert [p.cohort.name for p in selective.cohorts] == ["anatomy", "lesion"]
    assert [p.cohort.name for p in pseudo.cohorts] == ["anatomy", "lesion", "more"]
    assert len(pseudo.teachers) == 2
    runs.finish_runs(study)
    train, validation = runs.sampling_cohorts(pseudo, pseudo.cohorts[2], study.store)
    (filled,) = (case for case in (*train.cases, *validation.cases) if case.name == more.cases[0].name)
    assert frozenset([BACKGROUND]) == filled.sets[0] and {"csf", "gm", "wm", "wmh"} <= set().union(*filled.sets)
    # nobody drew anything there, so nothing is predicted to be scored
    assert "more" not in {case.cohort for run in study.runs for case in run.validation_cases}
    assert "more" not in set(finished_runs.validation(study.runs)["cohort"])


def test_check_says_that_nobody_learns_from_it(unlabelled: Path) -> None:
    unlabelled.write_text(unlabelled.read_text().replace(", pseudo_labels]", "]"))
    lines = check_study(Study(unlabelled)).warnings
    assert any("cohort more has no labels, and no model of the scenario learns from it" in line for line in lines)


def test_a_cohort_without_labels_alone_is_refused(unlabelled: Path) -> None:
    unlabelled.write_text(unlabelled.read_text().replace("train: [anatomy, lesion, more]", "train: [more]"))
    with pytest.raises(UserError, match=r"scenarios\.both\.train: none of its cohorts draws a label"):
        Study(unlabelled)


def test_several_test_cohorts_are_each_scored_for_what_they_draw(
    toy_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study(toy_study({"test: anatomy": "test: [anatomy, lesion]"}))
    scenario = study.scenario("both")
    assert [(case.cohort, case.name) for case in scenario.test_cases] == [("anatomy", "anatomy3"), ("lesion", "003")]
    assert scenario.tested_labels == ("csf", "gm", "wm", "wmh") and scenario.test_name == "anatomy and lesion"
    runs.finish_runs(study)
    metrics = finished_runs.metrics(study)
    scored = metrics[metrics["dice"].notna() | (metrics["volume_true_ml"] > 0)]
    drawn = {cohort: set(part["label"]) for cohort, part in scored.groupby("cohort")}
    assert drawn == {"anatomy": {"csf", "gm", "wm"}, "lesion": {"wmh"}}
    assert cli.main(["check", str(study.params_file)]) == 0
    assert "tests 2 cases of anatomy and lesion" in capsys.readouterr().out


def test_a_test_cohort_that_has_no_test_case_is_named(toy_study: Callable[..., Path], tmp_path: Path) -> None:
    file = toy_study({"test: anatomy": "test: [anatomy, lesion]"})
    manifest = tmp_path / "data" / "lesion.csv"
    manifest.write_text(manifest.read_text().replace(",test", ",train"))
    with pytest.raises(UserError, match=r"scenarios\.both\.test: cohort lesion has no case to test on"):
        Study(file)
