"""Every layout on empty files laid out as its provider does: that they may be empty shows that no voxel is read."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from multiseg.data.image_files import read_image, read_volume
from multiseg.data.loading import LAYOUTS, Cohort, load_cohorts
from multiseg.settings.params import CohortParams
from multiseg_core.errors import UserError

LABELS = ("csf", "gm", "wm", "wmh", "oedema", "tumour")
ANYTHING = {"background", *LABELS}
HEALTHY = {"background"}
MAY_HIDE_ANATOMY = {"background", "csf", "gm", "wm"}


def touch(root: Path, files: Iterable[str]) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def load(root: Path, source: str, **keys: Any) -> Cohort:
    params = {"c": CohortParams(source=source, folder="data", **keys)}
    labels = None if source in ("acdc", "slices", "kits23", "btcv") else LABELS  # hearts and abdomens have others
    return load_cohorts(params, labels, root, root / "work")[0]["c"]


def refusal(root: Path, source: str, **keys: Any) -> str:
    with pytest.raises(UserError) as raised:
        load(root, source, **keys)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def names(cohort: Cohort) -> list[str]:
    return [case.name for case in cohort.cases]


def files(cohort: Cohort, number: int, root: Path) -> dict[str, str]:
    return {role: str(path.relative_to(root / "data")) for role, path in cohort.cases[number].files.items()}


def meaning(cohort: Cohort) -> dict[int, set[str]]:
    return {code: set(cohort.code_map.sets[at]) for code, at in cohort.code_map.code_to_set.items()}


# -- the files of each cohort ----------------------------------------------------------------------------------------


def ibsr(top: str = "IBSR_nifti_stripped/", n: int = 18) -> list[str]:
    kinds = ("ana_strip", "ana", "ana_brainmask", "segTRI_ana", "segTRI_fill_ana")
    return [f"{top}IBSR_{i:02d}/IBSR_{i:02d}_{kind}.nii.gz" for i in range(1, n + 1) for kind in kinds]


def mrbrains13(top: str = "TrainingData/") -> list[str]:
    kinds = ("T1", "T1_1mm", "T1_IR", "T2_FLAIR", "LabelsForTesting", "LabelsForTraining")
    return [f"{top}{i}/{kind}.nii" for i in range(1, 6) for kind in kinds]


def mrbrains17(top: str = "") -> list[str]:
    places = [f"Utrecht/{i}" for i in range(0, 40, 2)] + [f"Singapore/{i}" for i in range(50, 70)]
    places += [f"Amsterdam/GE3T/{i}" for i in range(100, 120)]
    kinds = ("pre/T1", "pre/FLAIR", "orig/T1", "orig/3DT1", "orig/FLAIR", "wmh")
    return [f"{top}{place}/{kind}.nii.gz" for place in places for kind in kinds]


def mrbrains18(top: str = "training/") -> list[str]:
    kinds = ("pre/FLAIR", "pre/reg_T1", "pre/reg_IR", "pre/T1", "orig/FLAIR", "segm")
    return [f"{top}{i}/{kind}.nii.gz" for i in ("1", "4", "5", "7", "14", "070", "148") for kind in kinds]


GRADES = [f"{grade}{i:04d}" for grade in ("HG", "LG") for i in range(1, 26)]


def sim_brats() -> list[str]:
    images = [f"Images/SimBRATS_{n}/SimBRATS_{n}_{m}.mha" for n in GRADES for m in ("T1", "T1C", "T2", "FLAIR")]
    return images + [f"Truth/SimBRATS_{n}_complete_truth.mha" for n in GRADES]


def vsd(top: str = "Synthetic_Data/") -> list[str]:
    found = []
    for i, name in enumerate(GRADES):
        at = f"{top}{name[:2]}/{name[2:]}"
        for m in ("T1", "T1c", "T2", "Flair"):
            found.append(f"{at}/VSD.Brain.XX.O.MR_{m}.{i}/VSD.Brain.XX.O.MR_{m}.{i}.mha")
            found.append(f"{at}/VSD.Brain.XX.O.MR_{m}.{i}/VSD.Brain.XX.O.MR_{m}.{i}.txt")
        found.append(f"{at}/VSD.Brain_3more.XX.O.OT.{i}/VSD.Brain_3more.XX.O.OT.{i}.mha")
    return found


BRAINWEB = ["04", "05", "06", "18", "20", "38", *(str(i) for i in range(41, 55))]


def brainweb(suffix: str = ".mnc.gz") -> list[str]:
    return [f"subject{i}_{kind}{suffix}" for i in BRAINWEB for kind in ("crisp_v", "t1w_p4")]


# -- what is found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "IBSR_nifti_stripped/", "IBSR_V2.0_nifti_stripped/IBSR_nifti_stripped/"])
def test_ibsr(tmp_path: Path, top: str) -> None:
    touch(tmp_path / "data", ibsr(top))
    cohort = load(tmp_path, "ibsr")
    assert names(cohort) == [f"IBSR_{i:02d}" for i in range(1, 19)]
    assert files(cohort, 1, tmp_path) == {
        "T1": f"{top}IBSR_02/IBSR_02_ana_strip.nii.gz",
        "labels": f"{top}IBSR_02/IBSR_02_segTRI_ana.nii.gz",
        "brain_mask": f"{top}IBSR_02/IBSR_02_ana_brainmask.nii.gz",
    }
    assert meaning(cohort) == {0: HEALTHY, 1: {"csf"}, 2: {"gm"}, 3: {"wm"}}
    assert cohort.modalities == ("T1",) and not cohort.problems and not cohort.notes


def test_ibsr_variants(tmp_path: Path) -> None:
    touch(tmp_path / "data", ibsr("", n=1))
    filled = load(tmp_path, "ibsr", variant="segTRI_fill")
    assert files(filled, 0, tmp_path)["labels"] == "IBSR_01/IBSR_01_segTRI_fill_ana.nii.gz"
    whole = load(tmp_path, "ibsr", variant="segTRI_whole_head")
    assert files(whole, 0, tmp_path) == {
        "T1": "IBSR_01/IBSR_01_ana.nii.gz",
        "labels": "IBSR_01/IBSR_01_segTRI_ana.nii.gz",
    }
    assert filled.notes == (f"cohort c: IBSR v2 has 18 cases, {tmp_path / 'data'} holds 1",)


@pytest.mark.parametrize("top", ["", "TrainingData/"])
def test_mrbrains13(tmp_path: Path, top: str) -> None:
    touch(tmp_path / "data", mrbrains13(top))
    cohort = load(tmp_path, "mrbrains13")
    assert names(cohort) == ["1", "2", "3", "4", "5"] and not cohort.problems and not cohort.notes
    images = {"T1": f"{top}1/T1.nii", "IR": f"{top}1/T1_IR.nii", "FLAIR": f"{top}1/T2_FLAIR.nii"}
    assert files(cohort, 0, tmp_path) == {**images, "labels": f"{top}1/LabelsForTesting.nii"}
    assert meaning(cohort) == {0: HEALTHY, 1: {"csf"}, 2: {"gm"}, 3: {"wm"}}
    training = load(tmp_path, "mrbrains13", variant="training")
    assert files(training, 0, tmp_path) == {**images, "labels": f"{top}1/LabelsForTraining.nii"}
    assert meaning(training) == {
        0: HEALTHY, 1: {"gm"}, 2: {"gm"}, 3: {"wm"}, 4: {"wmh"}, 5: {"csf"}, 6: {"csf"}, 7: ANYTHING, 8: ANYTHING,
    }  # fmt: skip
    assert "wmh" in training.code_map.annotates


@pytest.mark.parametrize("top", ["", "training/", "public/"])
def test_mrbrains17(tmp_path: Path, top: str) -> None:
    touch(tmp_path / "data", mrbrains17(top))
    cohort = load(tmp_path, "mrbrains17")
    assert len(cohort.cases) == 60 and not cohort.problems and not cohort.notes
    assert names(cohort)[::20] == ["Amsterdam_100", "Singapore_50", "Utrecht_0"]
    assert names(cohort)[40:45] == ["Utrecht_0", "Utrecht_2", "Utrecht_4", "Utrecht_6", "Utrecht_8"]
    assert files(cohort, 0, tmp_path) == {
        "T1": f"{top}Amsterdam/GE3T/100/pre/T1.nii.gz",
        "FLAIR": f"{top}Amsterdam/GE3T/100/pre/FLAIR.nii.gz",
        "labels": f"{top}Amsterdam/GE3T/100/wmh.nii.gz",
    }
    assert meaning(cohort) == {0: MAY_HIDE_ANATOMY, 1: {"wmh"}, 2: MAY_HIDE_ANATOMY}


@pytest.mark.parametrize("top", ["", "training/"])
def test_mrbrains18(tmp_path: Path, top: str) -> None:
    touch(tmp_path / "data", mrbrains18(top))
    cohort = load(tmp_path, "mrbrains18")
    assert names(cohort) == ["1", "4", "5", "7", "14", "070", "148"] and not cohort.problems and not cohort.notes
    assert files(cohort, 5, tmp_path) == {
        "T1": f"{top}070/pre/reg_T1.nii.gz",
        "IR": f"{top}070/pre/reg_IR.nii.gz",
        "FLAIR": f"{top}070/pre/FLAIR.nii.gz",
        "labels": f"{top}070/segm.nii.gz",
    }
    assert meaning(cohort) == {
        0: HEALTHY, 1: {"gm"}, 2: {"gm"}, 3: {"wm"}, 4: {"wmh"}, 5: {"csf"}, 6: {"csf"},
        7: ANYTHING, 8: ANYTHING, 9: ANYTHING, 10: ANYTHING,
    }  # fmt: skip


def test_brats12_with_images_and_truth(tmp_path: Path) -> None:
    touch(tmp_path / "data", sim_brats())
    cohort = load(tmp_path, "brats12")
    assert names(cohort) == GRADES and not cohort.problems and not cohort.notes
    at = "Images/SimBRATS_LG0025/SimBRATS_LG0025_"
    assert files(cohort, 49, tmp_path) == {
        "T1": at + "T1.mha",
        "T1c": at + "T1C.mha",
        "T2": at + "T2.mha",
        "FLAIR": at + "FLAIR.mha",
        "labels": "Truth/SimBRATS_LG0025_complete_truth.mha",
    }
    assert meaning(cohort) == {
        0: MAY_HIDE_ANATOMY, 1: MAY_HIDE_ANATOMY, 2: MAY_HIDE_ANATOMY, 3: MAY_HIDE_ANATOMY,
        4: {"oedema"}, 5: {"tumour"}, 6: MAY_HIDE_ANATOMY,
    }  # fmt: skip


@pytest.mark.parametrize("top", ["", "Synthetic_Data/"])
def test_brats12_in_vsd_folders(tmp_path: Path, top: str) -> None:
    touch(tmp_path / "data", vsd(top))
    cohort = load(tmp_path, "brats12")
    assert names(cohort) == GRADES and not cohort.problems and not cohort.notes
    at = f"{top}HG/0002/"
    assert files(cohort, 1, tmp_path) == {
        "T1": at + "VSD.Brain.XX.O.MR_T1.1/VSD.Brain.XX.O.MR_T1.1.mha",
        "T1c": at + "VSD.Brain.XX.O.MR_T1c.1/VSD.Brain.XX.O.MR_T1c.1.mha",
        "T2": at + "VSD.Brain.XX.O.MR_T2.1/VSD.Brain.XX.O.MR_T2.1.mha",
        "FLAIR": at + "VSD.Brain.XX.O.MR_Flair.1/VSD.Brain.XX.O.MR_Flair.1.mha",
        "labels": at + "VSD.Brain_3more.XX.O.OT.1/VSD.Brain_3more.XX.O.OT.1.mha",
    }
    assert meaning(cohort) == {0: MAY_HIDE_ANATOMY, 1: {"oedema"}, 2: {"tumour"}}


def test_brats12_in_both_distributions(tmp_path: Path) -> None:
    touch(tmp_path / "data", [*sim_brats(), *vsd()])
    message = refusal(tmp_path, "brats12")
    assert message.startswith(f"cohorts.c.variant: {tmp_path / 'data'} holds cases of SimBRATS and VSD; say which to")
    assert set(meaning(load(tmp_path, "brats12", variant="VSD"))) == {0, 1, 2}


@pytest.mark.parametrize("suffix", [".mnc", ".mnc.gz", ".nii", ".nii.gz"])
def test_brainweb(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path / "data", brainweb(suffix))
    cohort = load(tmp_path, "brainweb", exclude=["subject41", "subject54"])
    assert names(cohort) == [f"subject{i}" for i in BRAINWEB if i not in ("41", "54")]
    assert not cohort.problems and not cohort.notes
    assert files(cohort, 0, tmp_path) == {"T1": f"subject04_t1w_p4{suffix}", "labels": f"subject04_crisp_v{suffix}"}
    assert cohort.cases[0].labels_on_own_grid
    skull = dict.fromkeys((4, 5, 6, 7, 9, 10, 11), HEALTHY)
    assert meaning(cohort) == {0: HEALTHY, 1: {"csf"}, 2: {"gm"}, 3: {"wm"}, 8: {"csf"}, **skull}


@pytest.mark.parametrize("top", ["", "database/training/"])
def test_acdc(tmp_path: Path, top: str) -> None:
    frames = [(1, 1), (1, 12), (2, 1), (2, 10)]
    kinds = ("frame{f:02d}.nii.gz", "frame{f:02d}_gt.nii.gz", "4d.nii.gz")
    made = [f"{top}patient{p:03d}/patient{p:03d}_{kind.format(f=f)}" for p, f in frames for kind in kinds]
    touch(tmp_path / "data", [*made, f"{top}patient001/Info.cfg", f"{top}patient002/Info.cfg"])
    cohort = load(tmp_path, "acdc")
    assert names(cohort) == [f"patient{p:03d}_frame{f:02d}" for p, f in frames]
    assert [case.subject for case in cohort.cases] == ["patient001", "patient001", "patient002", "patient002"]
    at = f"{top}patient001/patient001_frame12"
    assert files(cohort, 1, tmp_path) == {"MR": f"{at}.nii.gz", "labels": f"{at}_gt.nii.gz"}
    assert meaning(cohort)[2] == {"myocardium"} and cohort.modalities == ("MR",) and not cohort.problems
    assert cohort.notes == (f"cohort c: ACDC (MICCAI 2017) has 200 cases, {tmp_path / 'data' / top} holds 4",)


def picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_a_folder_of_slices(tmp_path: Path) -> None:
    """Slices in natural order become a volume; pictures count rows downwards, and have pixels of 1 mm."""
    data, pixels = tmp_path / "data", np.arange(12, dtype=np.uint8).reshape(3, 4)
    for n in (9, 10):
        picture(data / f"images/heart3_{n}.png", pixels + n)
        picture(data / f"masks/heart3_{n}_mask.png", np.stack([pixels // 6] * 3, -1))  # grey levels as colours
        for kind, volume in (("images", pixels), ("masks", pixels // 6)):
            nib.save(nib.Nifti1Image(volume, np.diag([2.0, 3, 5, 1])), data / kind / f"a_s{n}.nii.gz")
    cohort = load(tmp_path, "slices", codes={1: "wmh"})
    assert names(cohort) == ["a", "heart3"] and cohort.modalities == ("image",)
    assert not cohort.problems and not cohort.notes and [case.subject for case in cohort.cases] == ["a", "heart3"]
    image = read_image(cohort.cases[1].images["image"])
    assert image.shape == (4, 3, 2) and np.abs(image.affine).tolist() == np.eye(4).tolist()
    assert np.array_equal(read_volume(Path(), image), np.stack([pixels.T + 9, pixels.T + 10], -1))
    assert image.affine[1, 1] == -1
    assert np.array_equal(read_volume(cohort.cases[1].files["labels"])[..., 0], pixels.T // 6)
    assert read_image(cohort.cases[0].images["image"]).affine.tolist() == np.diag([2.0, 3, 5, 1]).tolist()
    before = cohort.cases[1].images["image"].stat().st_mtime_ns
    assert load(tmp_path, "slices", codes={1: "wmh"}).cases[1].images["image"].stat().st_mtime_ns == before


def test_masks_of_slices_become_the_mask_of_the_volume(tmp_path: Path) -> None:
    for kind in ("images", "masks", "brains"):
        for n in (1, 2):
            picture(tmp_path / "data" / kind / f"h_{n}.png", np.full((3, 4), n, np.uint8))
    (case,) = load(tmp_path, "slices", codes={1: "wmh"}, files={"brain_mask": "../brains/{case}.png"}).cases
    assert list(case.images) == ["image"] and case.brain_mask is not None
    assert read_volume(case.brain_mask)[0, 0].tolist() == [1, 2]


def test_slices_that_do_not_fit(tmp_path: Path) -> None:
    data, pixels = tmp_path / "data", np.zeros((3, 4), np.uint8)
    for kind in ("images", "masks"):
        for n in (1, 2):
            picture(data / kind / f"h_{n}.png", pixels)
    (data / "masks/h_2.png").unlink()
    cohort = load(tmp_path, "slices", codes={1: "wmh"})
    assert "no file for labels (looked for masks/h_2.png" in cohort.problems["h_2"][0]
    picture(data / "masks/h_2.png", pixels.T)
    assert "masks/h_2.png: shape (3, 4) differs from that of h_1.png, (4, 3)" in refusal(tmp_path, "slices")
    picture(data / "masks/h_2.png", np.stack([pixels, pixels, pixels + 1], -1))
    assert "masks/h_2.png: is a picture in colours; grey" in refusal(tmp_path, "slices")
    (data / "masks/h_2.png").write_text("no picture")
    assert "masks/h_2.png: not a readable slice" in refusal(tmp_path, "slices")
    for kind in ("images", "masks"):
        (data / kind / "h_2.png").unlink()
    assert refusal(tmp_path, "slices").startswith("cohorts.c: subject h has one slice; call")


def test_tumorsim_as_the_params_file_says(tmp_path: Path) -> None:
    kinds = ("t1.nii", "gado.nii", "T2.mha", "FLAIR.mha", "seg/out.nii")
    touch(tmp_path / "data", [f"sim{i}/{kind}" for i in range(1, 21) for kind in kinds])
    patterns = {"T1": "T1.nii", "T1c": "gado.*", "labels": "seg/*.nii"}
    codes: dict[int, Any] = {1: "gm", 2: ["oedema", "tumour"]}
    cohort = load(tmp_path, "tumorsim", files=patterns, codes=codes)
    assert names(cohort)[:3] == ["sim1", "sim2", "sim3"] and not cohort.notes
    # T2 and FLAIR have no pattern of their own and are guessed: *_T2, *_FLAIR
    lines = cohort.problems["sim2"]
    looked = "*_T2.mha, sim2/*_T2.nii, sim2/*_T2.nii.gz"
    assert lines[0] == f"cohort c, case sim2: no file for T2 (looked for sim2/{looked} in {tmp_path / 'data'})"
    assert len(lines) == 2 and " no file for FLAIR " in lines[1]
    cohort = load(tmp_path, "tumorsim", files={**patterns, "T2": "T2.mha", "FLAIR": "FLAIR.mha"}, codes=codes)
    assert not cohort.problems and cohort.modalities == ("T1", "T1c", "T2", "FLAIR")
    assert files(cohort, 0, tmp_path) == {
        "T1": "sim1/t1.nii",
        "T1c": "sim1/gado.nii",
        "T2": "sim1/T2.mha",
        "FLAIR": "sim1/FLAIR.mha",
        "labels": "sim1/seg/out.nii",
    }
    # wmh is absent from the layout; csf and wm are not drawn
    assert meaning(cohort) == {0: {"background", "csf", "wm"}, 1: {"gm"}, 2: {"oedema", "tumour"}}


def test_tumorsim_as_guessed_warns(tmp_path: Path) -> None:
    kinds = ("T1", "T1Gd", "T2", "FLAIR", "truth")
    touch(tmp_path / "data", [f"a/a_{kind}.mha" for kind in kinds])
    cohort = load(tmp_path, "tumorsim")
    assert files(cohort, 0, tmp_path)["T1c"] == "a/a_T1Gd.mha" and not cohort.problems
    assert cohort.notes[1] == "cohort c: what its codes mean is a guess that you should check; state cohorts.c.codes"


def test_codes_absent_and_mask_of_the_params_file_win(tmp_path: Path) -> None:
    touch(tmp_path / "data", [*mrbrains13(), *(f"TrainingData/{i}/my_mask.nii.gz" for i in range(1, 6))])
    cohort = load(
        tmp_path, "mrbrains13", codes={1: "csf", 2: "wmh"}, absent=["tumour"], files={"brain_mask": "my_mask.nii*"}
    )
    assert meaning(cohort) == {0: {"background", "gm", "wm", "oedema"}, 1: {"csf"}, 2: {"wmh"}}
    assert files(cohort, 0, tmp_path)["brain_mask"] == "TrainingData/1/my_mask.nii.gz"
    # a label that the given codes draw is no longer absent
    assert meaning(load(tmp_path, "mrbrains13", codes={2: "wmh"}))[0] == {"background", "csf", "gm", "wm"}


def test_labels_that_the_study_does_not_have_are_not_absent_either(tmp_path: Path) -> None:
    touch(tmp_path / "data", mrbrains13())
    params = {"c": CohortParams(source="mrbrains13", folder="data")}
    cohorts, labels = load_cohorts(params, None, tmp_path, tmp_path)
    assert labels == ("csf", "gm", "wm") and meaning(cohorts["c"])[0] == HEALTHY


# -- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", list(LAYOUTS))
def test_a_missing_and_an_empty_folder_say_where_to_get_the_data(tmp_path: Path, source: str) -> None:
    layout, folder = LAYOUTS[source], tmp_path / "data"
    origin = f"{layout.title} is obtained from {layout.provider}, terms: {layout.terms}"
    assert refusal(tmp_path, source) == f"cohorts.c.folder: no such folder: {folder}; {origin}"
    folder.mkdir()
    message = refusal(tmp_path, source)
    assert message.startswith(f"cohorts.c.folder: no case in {folder} (looked for {layout.default.example}")
    assert message.endswith(f"; {origin}")


def test_the_folder_comes_from_data_dir(tmp_path: Path) -> None:
    touch(tmp_path / "data" / "mrbrains13", mrbrains13())
    params = {"mine": CohortParams(source="mrbrains13")}
    cohorts, _ = load_cohorts(params, LABELS, tmp_path / "params", tmp_path, "../data")
    assert cohorts["mine"].cases[0].images["T1"] == tmp_path / "data/mrbrains13/TrainingData/1/T1.nii"
    with pytest.raises(UserError, match=r"^missing key 'data_dir' or 'cohorts.mine.folder'; MRBrainS13 is obtained"):
        load_cohorts(params, LABELS, tmp_path, tmp_path)


def test_faults_of_several_cases_are_kept_together(tmp_path: Path) -> None:
    root = tmp_path / "data"
    touch(root, ibsr(""))
    (root / "IBSR_01/IBSR_01_ana_strip.nii.gz").unlink()
    (root / "IBSR_03/IBSR_03_segTRI_ana.nii.gz").unlink()
    touch(root, ["IBSR_03/IBSR_03_ana_brainmask.nii"])
    cohort = load(tmp_path, "ibsr")
    assert len(cohort.cases) == 18
    both = "IBSR_01/IBSR_01_ana_strip.nii, IBSR_01/IBSR_01_ana_strip.nii.gz"
    labels = "IBSR_03/IBSR_03_segTRI_ana.nii, IBSR_03/IBSR_03_segTRI_ana.nii.gz"
    masks = "IBSR_03/IBSR_03_ana_brainmask.nii, IBSR_03/IBSR_03_ana_brainmask.nii.gz"
    assert cohort.problems == {
        "IBSR_01": (f"cohort c, case IBSR_01: no file for T1 (looked for {both} in {root})",),
        "IBSR_03": (
            f"cohort c, case IBSR_03: 2 files for brain_mask, which must be one: {masks} in {root}",
            f"cohort c, case IBSR_03: no file for labels (looked for {labels} in {root})",
        ),
    }


@pytest.mark.parametrize(
    ("source", "keys", "message"),
    [
        (
            "ibsr",
            {"variant": "segTR"},
            r"^cohorts.c.variant: 'segTR' is not one of segTRI, .* \(did you mean 'segTRI'\?",
        ),
        ("mrbrains18", {"variant": "testing"}, "^cohorts.c.variant: there is only one way to take mrbrains18"),
        ("ibsr", {"exclude": ["IBSR_1"]}, r"^cohorts.c.exclude: no case 'IBSR_1' in .* \(did you mean 'IBSR_"),
        ("ibsr", {"exclude": ["IBSR_01", "IBSR_02"]}, "^cohorts.c.exclude: leaves no case$"),
        ("ibsr", {"files": {"label": "x.nii"}}, r"^cohorts.c.files: 'label' is not one of T1, .* \(did you mean 'lab"),
        (
            "ibsr",
            {"files": {"T1": "/x.nii"}},
            "^cohorts.c.files.T1: '/x.nii' is not a path relative to the folder of a",
        ),
        ("ibsr", {"manifest": "m.csv"}, "^cohorts.c.manifest: only for source table, not for ibsr$"),
        ("ibsr", {"cases": 3}, "^cohorts.c.cases: only for source phantom, not for ibsr$"),
        ("ibsr", {"codes": {1: "csff"}}, "^labels: 'csff' of a cohort's codes is not in the list"),
        ("ibsr", {"absent": ["csf"]}, "^cohorts.c.codes: label 'csf' is both mapped by a code and listed as absent$"),
        ("table", {}, "^cohorts.c.folder: only for source acdc or brainweb or .*, not for table$"),
        ("ibrs", {}, r"^cohorts.c.source: unknown source 'ibrs' \(did you mean 'ibsr'"),
    ],
)
def test_bad_keys(tmp_path: Path, source: str, keys: dict[str, Any], message: str) -> None:
    touch(tmp_path / "data", ibsr("", n=2))
    assert re.search(message, refusal(tmp_path, source, **keys))


def test_cohorts_that_cannot_be_loaded_are_named_together(tmp_path: Path) -> None:
    params = {name: CohortParams(source=name) for name in LAYOUTS}
    with pytest.raises(UserError) as raised:
        load_cohorts(params, None, tmp_path, tmp_path, "data")
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [f"cohorts.{name}.folder" for name in LAYOUTS]
