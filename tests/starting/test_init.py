"""`multiseg init`: what it sees in folders, and that what it writes is a sound study."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from multiseg.commands import cli
from multiseg.starting import plain
from multiseg.starting.looking import cohort_name, look
from multiseg.starting.writing import params_text
from multiseg.study.check import check_study
from multiseg.study.study import Study
from tests.conftest import ball, save

SHAPE = (12, 14, 10)


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 10, SHAPE).astype(np.float32)


def labels(seed: int, code: int = 1) -> np.ndarray:
    found: np.ndarray = code * ball(SHAPE, (5 + seed % 3, 6, 5), 3)
    return found.astype(np.uint8)


def nnunet(folder: Path, names: Mapping[str, Any], channel: str = "MRI", n: int = 3, first: int = 0) -> Path:
    for i in range(first, first + n):
        save(folder / "imagesTr" / f"c{i}_0000.nii.gz", image(i))
        save(folder / "labelsTr" / f"c{i}.nii.gz", labels(i))
    description = {"channel_names": {"0": channel}, "labels": {"background": 0, **names}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def test_two_nnunet_folders_become_a_sound_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = nnunet(tmp_path / "raw" / "Dataset001_Left Part", {"anterior": 1})
    two = nnunet(tmp_path / "raw" / "Dataset002_Right", {"Anterior part": 1}, channel="T1", first=3)
    file = tmp_path / "params" / "mine.yaml"
    assert cli.main(["init", str(one), str(two), "-o", str(file)]) == 0
    out = capsys.readouterr().out
    voxels = sum(int(labels(i).sum()) for i in range(3))
    assert "nnU-Net or Decathlon, 3 cases with MRI" in out
    assert f"     1 anterior                 {voxels:>14,} voxels in 3 of 3 cases" in out
    assert out.endswith(f"next: multiseg check {file}\n      multiseg study {file}\n")
    text = file.read_text()
    assert "# TODO: MRI of left_part, T1 of right are taken for the same kind of image; are they?" in text
    assert "settle the 1 lines marked TODO" in out and text.count("TODO:") == 1
    assert 'folder: "../raw/Dataset001_Left Part"' in text and str(tmp_path) not in text.partition("title:")[2]
    study = Study(file)
    assert study.labels == ("anterior", "Anterior part")
    assert study.scenario("all").modalities == ("MRI",) and study.params.preprocessing.brain_extraction == "none"
    assert study.params.inference.views == 4
    assert check_study(study).errors == []


def test_labels_that_look_alike_are_asked_about(tmp_path: Path) -> None:
    one = nnunet(tmp_path / "one", {"left kidney": 1})
    two = nnunet(tmp_path / "two", {"Left_Kidney": 1})
    file = tmp_path / "mine.yaml"
    assert cli.main(["init", str(one), str(two), "-o", str(file)]) == 0
    assert (
        "TODO: is 'left kidney' the same as 'Left_Kidney' of another cohort? Then give both one name"
        in file.read_text()
    )


def test_codes_that_have_no_name(tmp_path: Path) -> None:
    folder = nnunet(tmp_path / "one", {"a": 1})
    save(folder / "labelsTr" / "c0.nii.gz", labels(0, 5))
    seen = look(folder)
    assert seen.codes == {1: "a", 5: "one_5"} and seen.remarks == ["code 5 of its labels have no name"]
    assert seen.voxels[5] == int(labels(0).sum())


def test_a_plain_folder_gets_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        for name, volume in (("t1", image(i)), ("FLAIR", image(i + 9)), ("seg", labels(i, 4))):
            save(tmp_path / "data" / f"sub{i}" / f"sub{i}_{name}.nii.gz", volume)
    file = tmp_path / "params" / "mine.yaml"
    assert cli.main(["init", str(tmp_path / "data"), "-o", str(file)]) == 0
    assert (file.parent / "mine_data.csv").read_text().splitlines()[:2] == [
        "case,FLAIR,T1,labels",
        "sub0,../data/sub0/sub0_FLAIR.nii.gz,../data/sub0/sub0_t1.nii.gz,../data/sub0/sub0_seg.nii.gz",
    ]
    study = Study(file)
    assert study.labels == ("data_4",) and study.scenario("all").modalities == ("FLAIR", "T1")
    assert "nothing says what its codes mean" in capsys.readouterr().out
    assert cli.main(["init", str(tmp_path / "data"), "-o", str(file)]) == 1
    assert f"{file}: is there already; give another name by -o" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("image_name", "label_name"),
    [("{}_T1", "{}_labels"), ("a/{}", "labels/{}"), ("{}/T1w", "{}/GOLD"), ("images/{}", "masks/{}_mask")],
)
def test_habits_of_plain_folders(tmp_path: Path, image_name: str, label_name: str) -> None:
    for i in range(3):
        save(tmp_path / f"{image_name.format(f'case_{i}')}.nii.gz", image(i))
        save(tmp_path / f"{label_name.format(f'case_{i}')}.nii.gz", labels(i))
    cases, left_out = plain.group(tmp_path)
    assert list(cases) == ["case_0", "case_1", "case_2"] and left_out == []
    assert {len(roles) for roles in cases.values()} == {2}
    assert cases["case_1"]["labels"] == tmp_path / f"{label_name.format('case_1')}.nii.gz"


def test_of_several_label_files_one_is_taken_and_masks_are_told_apart(tmp_path: Path) -> None:
    for i in range(2):
        for name, volume in (("T1", image(i)), ("a", labels(i)), ("b", labels(i) + labels(i + 1, 2))):
            save(tmp_path / f"s{i}_{name}.nii.gz", volume)
        save(tmp_path / f"s{i}_brainmask.nii.gz", np.ones(SHAPE, np.uint8) - (image(i) > 130))
    cases, left_out = plain.group(tmp_path)
    assert {role: path.name for role, path in cases["s0"].items()} == {
        "T1": "s0_T1.nii.gz", "labels": "s0_b.nii.gz", "brain_mask": "s0_brainmask.nii.gz",
    }  # fmt: skip
    assert left_out == ["s0_a.nii.gz", "s1_a.nii.gz"]


def test_what_is_written_is_yaml_for_any_names(tmp_path: Path) -> None:
    folder = nnunet(tmp_path / "x: y #1", {"no": 1, "a, b": 2, "it's: #": 3})
    file = tmp_path / "mine.yaml"
    assert cli.main(["init", str(folder), "-o", str(file)]) == 0
    read = yaml.safe_load(file.read_text())
    assert list(read["cohorts"]) == ["x_y_1"] and Study(file).labels == ("no", "a, b", "it's: #")
    uncommented = file.read_text().replace("# codes:", "codes:")
    assert yaml.safe_load(uncommented)["cohorts"]["x_y_1"]["codes"] == {1: "no", 2: "a, b", 3: "it's: #"}


def test_heads_brains_and_ct(tmp_path: Path) -> None:
    grid = (80, 80, 80)
    noise = np.random.default_rng(0).normal(100, 10, grid).astype(np.float32)
    brain = ball(grid, (40, 40, 40), 34)
    affine = np.diag([2.0, 2, 2, 1])
    for kind, volume in (("brain", np.where(brain, noise, 0)), ("head", noise), ("ct", noise - 1100)):
        save(tmp_path / kind / "imagesTr" / "a.nii.gz", volume, affine)
        save(tmp_path / kind / "labelsTr" / "a.nii.gz", brain.astype(np.uint8), affine)
        description = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "a"}}
        (tmp_path / kind / "dataset.json").write_text(json.dumps(description))
    seen = {kind: look(tmp_path / kind) for kind in ("brain", "head", "ct")}
    assert {kind: s.shows for kind, s in seen.items()} == {"brain": "brain", "head": "head", "ct": "other"}
    assert seen["ct"].is_ct and not seen["head"].is_ct
    views = {kind: "views: 4" in params_text([s], tmp_path / "mine.yaml") for kind, s in seen.items()}
    assert views == {"brain": False, "head": False, "ct": True}


def test_names_of_cohorts() -> None:
    assert cohort_name(Path("/x/Dataset004_Hippocampus"), []) == "hippocampus"
    assert cohort_name(Path("/x/Task01_Brain Tumour"), []) == "brain_tumour"
    assert cohort_name(Path("/y/Hippocampus"), ["hippocampus"]) == "hippocampus_2"
    assert cohort_name(Path("/y/(ß)"), []) == "cohort"


def test_nothing_to_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", str(tmp_path / "none")]) == 1
    assert f"{tmp_path / 'none'}: no such folder" in capsys.readouterr().err
    assert cli.main(["init", str(tmp_path)]) == 1
    assert "no dataset.json, no sub-* folders, and no images whose names tell cases apart" in capsys.readouterr().err
    save(tmp_path / "a_T1.nii.gz", image(0))
    assert cli.main(["init", str(tmp_path)]) == 1
    assert "no labels found: files of whole numbers from 0, 100 at most" in capsys.readouterr().err
