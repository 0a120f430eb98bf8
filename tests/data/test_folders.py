"""Folders of nnU-Net, the Decathlon and BIDS, on small files that are laid out as their descriptions say."""

import json
import locale
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from multiseg.data.image_files import read_volume
from multiseg.data.loading import Cohort, load_cohorts
from multiseg.data.sources import nnunet
from multiseg.settings.params import CohortParams
from multiseg_core.errors import UserError
from tests.conftest import save


def touch(root: Path, files: Sequence[str]) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def describe(root: Path, **keys: Any) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(keys))


def load(root: Path, source: str = "nnunet", **keys: Any) -> Cohort:
    cohorts, _ = load_cohorts({"c": CohortParams(source=source, folder="data", **keys)}, None, root, root / "work")
    return cohorts["c"]


def refusal(root: Path, source: str = "nnunet", **keys: Any) -> str:
    with pytest.raises(UserError) as raised:
        load(root, source, **keys)
    assert "\n" not in str(raised.value)
    return str(raised.value).replace(str(root / "data"), "DATA")


def meaning(cohort: Cohort) -> dict[int, set[str]]:
    return {code: set(cohort.code_map.sets[at]) for code, at in cohort.code_map.code_to_set.items()}


CHANNELS = {"0": "T1", "1": "FLAIR"}


def nnunet_files(names: Sequence[str], ending: str = ".nii.gz", split: str = "Tr") -> list[str]:
    return [f"labels{split}/{name}{ending}" for name in names] + [
        f"images{split}/{name}_{k:04d}{ending}" for name in names for k in (0, 1)
    ]


# -- nnU-Net and the Decathlon ----------------------------------------------------------------------------------------


def test_version_2(tmp_path: Path) -> None:
    root = tmp_path / "data"
    describe(root, channel_names=CHANNELS, labels={"background": 0, "gm": 1, "wm": 2}, file_ending=".nrrd")
    touch(root, [*nnunet_files(["a", "b"], ".nrrd"), *nnunet_files(["t"], ".nrrd", "Ts"), "labelsTr/.hidden.nrrd"])
    cohort = load(tmp_path)
    assert [(case.name, case.split) for case in cohort.cases] == [("a", None), ("b", None), ("t", "test")]
    assert cohort.modalities == ("T1", "FLAIR") and not cohort.problems
    assert cohort.cases[0].files == {
        "T1": root / "imagesTr/a_0000.nrrd",
        "FLAIR": root / "imagesTr/a_0001.nrrd",
        "labels": root / "labelsTr/a.nrrd",
    }
    assert meaning(cohort) == {0: {"background"}, 1: {"gm"}, 2: {"wm"}}


def test_version_1_names_channels_and_codes_the_other_way_round(tmp_path: Path) -> None:
    labels = {"0": "empty", "1": "gm", "2": "gm", "3": "wm"}
    describe(tmp_path / "data", modality={"1": "FLAIR", "0": "T1"}, labels=labels)
    touch(tmp_path / "data", nnunet_files(["a"]))
    cohort = load(tmp_path)
    assert cohort.modalities == ("T1", "FLAIR")
    assert meaning(cohort) == {0: {"background"}, 1: {"gm"}, 2: {"gm"}, 3: {"wm"}}


def test_regions_and_ignore_become_label_sets(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3], "gm": [4, 5], "ignore": 6}
    describe(tmp_path / "data", channel_names=CHANNELS, labels=labels, regions_class_order=[1, 2, 3, 4])
    touch(tmp_path / "data", nnunet_files(["a"]))
    cohort = load(tmp_path)
    everything = {"background", "whole", "core", "enhancing", "gm"}
    assert meaning(cohort) == {
        0: {"background"}, 1: {"whole"}, 2: {"core"}, 3: {"enhancing"}, 4: {"gm"}, 5: {"gm"}, 6: everything,
    }  # fmt: skip
    assert cohort.notes == tuple(
        f"cohort c: label '{name}' stands for what the regions within it leave of it" for name in ("whole", "core")
    )


def test_params_win_over_the_folder(tmp_path: Path) -> None:
    describe(tmp_path / "data", channel_names=CHANNELS, labels={"background": 0, "a": 1})
    touch(tmp_path / "data", nnunet_files(["x", "y"]))
    codes: dict[Any, Any] = {1: ["gm", "wm"], 2: "wm"}
    cohort = load(tmp_path, codes=codes, files={"F": "0001"}, exclude=["x"])
    assert meaning(cohort) == {0: {"background"}, 1: {"gm", "wm"}, 2: {"wm"}}
    assert cohort.cases[0].images == {"F": tmp_path / "data/imagesTr/y_0001.nii.gz"}
    both = {name: CohortParams(source="nnunet", folder="data") for name in ("c", "d")}
    cohorts, labels = load_cohorts({**both, "d": CohortParams(source="nnunet", folder="data", codes={1: "b"})}, None,
                                   tmp_path, tmp_path / "work")  # fmt: skip
    assert labels == ("a", "b") and meaning(cohorts["c"])[0] == {"background", "b"}


def test_files_that_the_description_lists_itself(tmp_path: Path) -> None:
    listed = {"one": {"images": ["x/t1.nii.gz", "x/flair.nii.gz"], "label": "y/one.nii.gz"},
              "two": {"images": ["x/t1.nii.gz"], "label": "y/two.nii.gz"}}  # fmt: skip
    describe(tmp_path / "data", channel_names=CHANNELS, labels={"background": 0, "a": 1}, dataset=listed)
    cohort = load(tmp_path)
    assert cohort.cases[0].files["FLAIR"] == tmp_path / "data/x/flair.nii.gz"
    assert cohort.problems == {"two": ("cohort c, case two: no file for FLAIR",)}


def test_several_modalities_in_one_file(tmp_path: Path) -> None:
    root = tmp_path / "data"
    describe(root, modality=CHANNELS, labels={"0": "background", "1": "a"})
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(4, 5, 6, 2)).astype(np.float32)
    affine = np.diag([-2.0, 1, 3, 1])
    source = save(root / "imagesTr" / "case.nii.gz", volume, affine)
    save(root / "labelsTr" / "case.nii.gz", np.ones((4, 5, 6), np.uint8), affine)
    (root / "imagesTr" / "._case.nii.gz").touch()  # as the Decathlon's archives have them
    images = load(tmp_path).cases[0].images
    for k, path in enumerate(images.values()):
        assert np.array_equal(read_volume(path), volume[..., k])
        assert np.array_equal(nib.load(path).affine, affine)
        assert tmp_path / "work" in path.parents
    before = [path.stat().st_mtime_ns for path in images.values()]
    load(tmp_path)
    assert [path.stat().st_mtime_ns for path in images.values()] == before
    save(root / "imagesTr" / "case.nii.gz", volume + 1, affine)
    later = max(before) + 10**9
    os.utime(source, ns=(later, later))
    assert np.array_equal(read_volume(load(tmp_path).cases[0].images["T1"]), volume[..., 0] + 1)
    save(root / "imagesTr" / "case.nii.gz", volume[..., :1], affine)
    os.utime(source, ns=(later + 10**9, later + 10**9))
    assert refusal(tmp_path) == "DATA/imagesTr/case.nii.gz: has no volume number 1 (its shape is (4, 5, 6, 1))"


def test_one_modality_needs_no_number(tmp_path: Path) -> None:
    describe(tmp_path / "data", modality={"0": "CT"}, labels={"0": "background", "1": "a"})
    touch(tmp_path / "data", ["labelsTr/a.nii.gz", "imagesTr/a.nii.gz"])
    assert load(tmp_path).cases[0].images == {"CT": tmp_path / "data/imagesTr/a.nii.gz"}


def test_rare_formats_are_read_by_simpleitk(tmp_path: Path) -> None:
    root = tmp_path / "data"
    describe(root, channel_names={"0": "T1"}, labels={"background": 0, "a": 1}, file_ending=".vtk")
    volume = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    image = SimpleITK.GetImageFromArray(volume.T)
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((10.0, 20.0, 30.0))
    for folder, name in (("imagesTr", "a_0000"), ("labelsTr", "a")):
        (root / folder).mkdir()
        SimpleITK.WriteImage(image, str(root / folder / f"{name}.vtk"))
    before = locale.setlocale(locale.LC_CTYPE)
    case = load(tmp_path).cases[0]
    assert locale.setlocale(locale.LC_CTYPE) == before  # ITK's reader of VTK sets another
    assert np.array_equal(read_volume(case.images["T1"]), volume)
    expected = np.diag([-1.0, -2.0, 3.0, 1.0])  # from LPS to RAS
    expected[:3, 3] = [-10, -20, 30]
    assert np.allclose(nib.load(case.images["T1"]).affine, expected)
    assert case.labels is not None and np.array_equal(read_volume(case.labels), volume)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"labels": {"background": 0}},
            "DATA/dataset.json: no key 'channel_names' (version 1: 'modality') with a name",
        ),
        ({"channel_names": CHANNELS}, "DATA/dataset.json: no key 'labels' with a code per name"),
        (
            {"channel_names": {"T1": 0}, "labels": {"a": 1}},
            "DATA/dataset.json: channel_names: its keys must be numbers, got T1",
        ),
        (
            {"channel_names": CHANNELS, "labels": {"background": 0, "a": [1, "x"]}},
            "DATA/dataset.json: labels: 'a' must be a whole number or a list of them, got [1, 'x']",
        ),
        (
            {"channel_names": CHANNELS, "labels": {"background": 3, "a": 1}},
            "DATA/dataset.json: labels: background must be 0, got [3]",
        ),
        (
            {"channel_names": CHANNELS, "labels": {"background": 0, "core": [2], "whole": [1, 2]}},
            "DATA/dataset.json: labels: region 'core' lies wholly in later ones, so that nothing of it is left",
        ),
        (
            {"channel_names": CHANNELS, "labels": {"background": 0, "a": 1}},
            "cohorts.c.folder: no labels with the ending .nii.gz in DATA/labelsTr",
        ),
    ],
)
def test_bad_descriptions(tmp_path: Path, keys: Mapping[str, Any], message: str) -> None:
    describe(tmp_path / "data", **keys)
    assert refusal(tmp_path).startswith(message)


def test_other_faults(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "cohorts.c.folder: no such folder: DATA"
    (tmp_path / "data").mkdir()
    assert refusal(tmp_path) == "DATA/dataset.json: no such file; a folder of nnU-Net or the Decathlon has one"
    (tmp_path / "data" / "dataset.json").write_text("{")
    assert refusal(tmp_path).startswith("DATA/dataset.json: not a readable JSON file")
    describe(tmp_path / "data", channel_names=CHANNELS, labels={"background": 0, "a": 1})
    touch(tmp_path / "data", ["labelsTr/a.nii.gz", "imagesTr/a_0000.nii.gz"])
    missing = tmp_path / "data/imagesTr/a_0001.nii.gz"
    assert load(tmp_path).problems == {"a": (f"cohort c, case a: no file for FLAIR (looked for {missing})",)}
    assert refusal(tmp_path, files={"T": "2"}) == (
        "cohorts.c.files.T: '2' is not the number of a channel (0000 T1, 0001 FLAIR)"
    )
    assert refusal(tmp_path, exclude=["b"]).startswith("cohorts.c.exclude: no case 'b' in DATA")
    assert refusal(tmp_path, variant="x") == (
        "cohorts.c.variant: only for source acdc or brainweb or brats12 or btcv or ibsr or kits23 or mrbrains13 or "
        "mrbrains17 or mrbrains18 or slices or tumorsim or bids, not for nnunet"
    )
    with pytest.raises(UserError, match=r"^missing key 'cohorts.c.folder' \(source nnunet needs it\)$"):
        load_cohorts({"c": CohortParams(source="nnunet")}, None, tmp_path, tmp_path)


def test_channels_of_one_name_get_numbers(tmp_path: Path) -> None:
    describe(tmp_path, channel_names={"0": "MRI", "1": "CT", "2": "MRI"}, labels={"background": 0, "a": 1})
    assert nnunet.describe(tmp_path).channels == ("MRI_0", "CT", "MRI_2")


# -- BIDS ------------------------------------------------------------------------------------------------------------

TABLE = "index\tname\tabbreviation\tcolor\n0\tbackground\tbg\t#000000\n1\tGM\tgm\t#ff0000\n7\tignore\tx\t#00ff00\n"


def bids(root: Path) -> None:
    touch(root, [
        "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_FLAIR.nii.gz", "sub-01/anat/sub-01_T1w.json",
        "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii", "sub-02/ses-b/anat/sub-02_ses-b_T1w.nii.gz",
        "sub-02/ses-b/anat/sub-02_ses-b_ce-gadolinium_T1w.nii.gz", "sub-03/anat/sub-03_T1w.nii.gz",
        "sub-04/func/sub-04_bold.nii.gz",
        "derivatives/manual/sub-01/anat/sub-01_space-orig_dseg.nii.gz",
        "derivatives/manual/sub-01/anat/sub-01_desc-brain_mask.nii.gz",
        "derivatives/manual/sub-02/ses-a/anat/sub-02_ses-a_dseg.nii.gz",
        "derivatives/manual/sub-02/ses-b/anat/sub-02_ses-b_dseg.nii.gz",
    ])  # fmt: skip
    (root / "derivatives/manual/dseg.tsv").write_text(TABLE)
    (root / "participants.tsv").write_text("participant_id\tage\tsplit\nsub-01\t40\ttest\nsub-02\tn/a\tn/a\n")


def test_bids(tmp_path: Path) -> None:
    root = tmp_path / "data"
    bids(root)
    cohort = load(tmp_path, "bids")
    assert [(case.name, case.subject, case.split) for case in cohort.cases] == [
        ("sub-01", "sub-01", "test"), ("sub-02_ses-a", "sub-02", None), ("sub-02_ses-b", "sub-02", None),
    ]  # fmt: skip
    assert cohort.modalities == ("FLAIR", "T1", "T1c") and not cohort.problems
    assert cohort.cases[0].files == {
        "FLAIR": root / "sub-01/anat/sub-01_FLAIR.nii.gz",
        "T1": root / "sub-01/anat/sub-01_T1w.nii.gz",
        "labels": root / "derivatives/manual/sub-01/anat/sub-01_space-orig_dseg.nii.gz",
        "brain_mask": root / "derivatives/manual/sub-01/anat/sub-01_desc-brain_mask.nii.gz",
    }
    assert meaning(cohort) == {0: {"background"}, 1: {"GM"}, 7: {"background", "GM"}}
    assert len(cohort.notes) == 1 and cohort.notes[0].startswith("cohort c: 1 cases without labels are left out")


def test_bids_with_two_pipelines_and_two_scans(tmp_path: Path) -> None:
    root = tmp_path / "data"
    bids(root)
    touch(root, ["derivatives/auto/sub-01/anat/sub-01_dseg.nii.gz", "sub-02/ses-a/anat/sub-02_ses-a_run-2_T1w.nii.gz"])
    cohort = load(tmp_path, "bids")
    assert list(cohort.problems) == ["sub-01", "sub-02_ses-a"]
    (line,) = cohort.problems["sub-01"]
    assert "2 files for labels, which must be one: sub-01_dseg.nii.gz, sub-01_space-orig_dseg.nii.gz" in line
    chosen = load(tmp_path, "bids", variant="manual", files={"T1": "*_T1w.nii", "Tx": "sub-01_T1w"})
    assert chosen.cases[1].images == {"T1": root / "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii"}
    assert chosen.cases[0].images["Tx"] == root / "sub-01/anat/sub-01_T1w.nii.gz"
    (root / "derivatives/auto/sub-01/anat/sub-01_dseg.tsv").write_text("index\tname\n2\tWM\n")
    assert set(meaning(load(tmp_path, "bids", variant="auto"))) == {0, 2}


def test_bids_without_labels_are_controls_or_refused(tmp_path: Path) -> None:
    touch(tmp_path / "data", ["sub-01/anat/sub-01_T1w.nii.gz"])
    assert refusal(tmp_path, "bids").startswith(
        "cohorts.c.folder: no case has labels (looked for *_dseg.nii.gz in DATA"
    )
    params = {
        "c": CohortParams(source="bids", folder="data", codes={}, absent=["a"]),
        "d": CohortParams(source="nnunet", folder="n"),
    }
    describe(tmp_path / "n", channel_names={"0": "T1"}, labels={"background": 0, "a": 1})
    touch(tmp_path / "n", ["labelsTr/x.nii.gz", "imagesTr/x_0000.nii.gz"])
    cohorts, _ = load_cohorts(params, None, tmp_path, tmp_path / "work")
    assert cohorts["c"].cases[0].labels is None and meaning(cohorts["c"]) == {0: {"background"}}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("derivatives/manual/dseg.tsv", "code\tname\n1\tx\n", "no column 'index' (found: code, name)"),
        ("derivatives/manual/dseg.tsv", "index\tname\n1.5\tx\n", "index '1.5' is not a whole number"),
        ("participants.tsv", "participant_id\tsplit\nsub-01\ttraining\n", "sub-01: split 'training' is not one of"),
    ],
)
def test_bad_tables(tmp_path: Path, file: str, text: str, message: str) -> None:
    bids(tmp_path / "data")
    (tmp_path / "data" / file).write_text(text)
    assert f"{file}: {message}" in refusal(tmp_path, "bids")
