import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from multiseg.data.cohorts import Cohort
from multiseg.data.loading import Case
from multiseg.data.store import Store, StoredCase
from multiseg.settings.preprocessing import PreprocessingParams
from multiseg.study import runs
from multiseg.study.pseudo_labels import completed_folder
from multiseg.study.study import Study
from multiseg_core.errors import UserError
from multiseg_core.labels import CodeMap
from tests.conftest import save, toy_case


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    labels = np.zeros((16, 16, 16), int)
    labels[6:8, 6:9, 7:9] = 1
    labels[8:10, 8:10, 8:10] = 2
    files = toy_case(tmp_path, "a", labels, seed=0)
    case = Case("c", "a", {m: files[m] for m in ("T1", "FLAIR")}, files["labels"])
    code_map = CodeMap.build(("gm", "wmh"), {1: "wmh", 2: "ignore"})
    return Cohort("c", (case,), ("T1", "FLAIR"), code_map)


def test_stored_case_reads_back(tmp_path: Path, cohort: Cohort) -> None:
    case = StoredCase.open(Store(tmp_path / "store", PreprocessingParams(spacing_mm=1)).build(cohort.cases[0], cohort))
    assert (case.name, case.cohort, case.modalities) == ("a", "c", ("T1", "FLAIR"))
    assert case.images.shape == (2, *case.shape) and case.images.dtype == np.float32
    assert case.sets == (frozenset({"background", "gm"}), frozenset({"wmh"}), frozenset({"background", "gm", "wmh"}))
    # the index holds drawn labels only: not background, not ignored voxels
    assert list(case.voxels) == [1]
    assert np.array_equal(case.voxels[1], np.flatnonzero(case.target == 1))
    assert len(case.voxels[1]) == 2 * 3 * 2
    assert isinstance(case.images.base, np.memmap) and isinstance(case.target.base, np.memmap)
    assert case.channels(("FLAIR",)) == [1]


def test_complete_labels_are_a_second_target(tmp_path: Path, cohort: Cohort) -> None:
    case = cohort.cases[0]
    store = Store(tmp_path / "store", PreprocessingParams(spacing_mm=1))
    drawn = StoredCase.open(store.build(case, cohort))
    with pytest.raises(UserError, match="cohort c, case a: no complete labels are known"):
        drawn.completed()
    truth = np.zeros((16, 16, 16), np.uint8)
    truth[4:12, 4:12, 4:12] = 7
    truth[6:8, 6:9, 7:9] = 1
    complete_map = CodeMap.build(("gm", "wmh"), {1: "wmh", 7: "gm"})
    case = dataclasses.replace(case, complete_labels=save(tmp_path / "truth.nii.gz", truth))
    known = dataclasses.replace(cohort, cases=(case,), complete_map=complete_map)
    stored = StoredCase.open(store.build(case, known))
    assert stored.folder != drawn.folder and store.content(case, known) == store.content(cohort.cases[0], cohort)
    for array in ("images", "mask", "target"):
        assert np.array_equal(getattr(stored, array), getattr(drawn, array))
    # what was drawn or ignored stays, whatever the truth says; the background becomes what may hide in it
    complete = stored.completed()
    assert complete.sets == (frozenset({"background"}), *drawn.sets[1:], frozenset({"gm"}))
    (at,) = np.unique(stored.affine[:3, 3]).astype(int)  # the store is cropped
    inside = (truth == 7)[tuple(slice(at, at + n) for n in stored.shape)] & (drawn.target == 0)
    assert np.array_equal(complete.target, np.where(inside, 3, drawn.target)) and inside.sum() > 400
    # patches are aimed at what was drawn
    assert all(np.array_equal(complete.voxels[1], voxels[1]) for voxels in (stored.voxels, drawn.voxels))
    assert list(complete.voxels) == [1]
    # another truth is another stored case
    save(tmp_path / "truth.nii.gz", truth * 0)
    assert store.key(case, known) != stored.folder.name.rpartition("-")[2]


def test_key_covers_what_shapes_the_case(tmp_path: Path, cohort: Cohort) -> None:
    store = Store(tmp_path / "store", PreprocessingParams(spacing_mm=1))
    case = cohort.cases[0]
    key = store.key(case, cohort)
    assert Store(tmp_path / "elsewhere", PreprocessingParams(spacing_mm=1)).key(case, cohort) == key
    assert Store(tmp_path / "store", PreprocessingParams(spacing_mm=2)).key(case, cohort) != key
    other_codes = dataclasses.replace(cohort, code_map=CodeMap.build(("gm", "wmh"), {1: "wmh", 2: "gm"}))
    assert store.key(case, other_codes) != key
    # a copy elsewhere is the same case, a changed file is not
    copy = tmp_path / "copy" / "t1.nii.gz"
    copy.parent.mkdir()
    copy.write_bytes(case.images["T1"].read_bytes())
    assert store.key(dataclasses.replace(case, images={**case.images, "T1": copy}), cohort) == key
    save(case.images["T1"], np.random.default_rng(1).normal(size=(16, 16, 16)).astype(np.float32))
    changed = store.key(case, cohort)
    assert changed != key
    # nor is one that keeps its size and its time
    path, stat = case.images["T1"], case.images["T1"].stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size and path.stat().st_mtime_ns == stat.st_mtime_ns
    assert store.key(case, cohort) != changed


def test_a_remembered_hash_that_was_written_half_is_not_believed(tmp_path: Path, cohort: Cohort) -> None:
    key = Store(tmp_path / "a", PreprocessingParams()).key(cohort.cases[0], cohort)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for known in (tmp_path / "b" / "fingerprints").iterdir():
        known.write_text(known.read_text()[:5])
    assert Store(tmp_path / "b", PreprocessingParams()).key(cohort.cases[0], cohort) == key


def test_names_that_join_to_one_text_have_folders_of_their_own(tmp_path: Path, cohort: Cohort) -> None:
    """Cohort a, case b-1 and cohort a-b, case 1: in the store, and for the labels that a network completes."""
    case = cohort.cases[0]
    store = Store(tmp_path / "store", PreprocessingParams(spacing_mm=1))
    pair = [dataclasses.replace(case, cohort=c, name=n) for c, n in (("a", "b-1"), ("a-b", "1"))]
    folders = [store.build(c, dataclasses.replace(cohort, name=c.cohort)) for c in pair]
    assert folders[0] != folders[1]
    assert len({completed_folder(tmp_path, StoredCase.open(folder)) for folder in folders}) == 2


@pytest.mark.parametrize("field", list(PreprocessingParams.model_fields))
def test_key_covers_every_step_of_preprocessing(tmp_path: Path, cohort: Cohort, field: str) -> None:
    other = {
        "orientation": "world", "spacing_mm": None, "label_interpolation": "gaussian", "brain_extraction": "none",
        "z_score": False, "outside_value": -5.0, "crop": False, "clip_percentiles": [1, 99], "clip_values": [0.0, 1.0],
        "resample_to": "first",
    }  # fmt: skip
    case, params = cohort.cases[0], PreprocessingParams()
    changed = params.changed(**{field: other[field]})
    store = Store(tmp_path / "store", params)
    assert Store(tmp_path / "store", changed).content(case, cohort) != store.content(case, cohort)
    apart = dataclasses.replace(case, labels_on_own_grid=True)
    assert store.content(apart, cohort) != store.content(case, cohort)


def test_native_spacing_is_stored_per_axis(tmp_path: Path, cohort: Cohort) -> None:
    case = cohort.cases[0]
    for path in case.files.values():
        save(path, np.asarray(nib.load(path).dataobj), np.diag([1.0, -0.75, 2.5, 1.0]))
    stored = StoredCase.open(Store(tmp_path / "store", PreprocessingParams(spacing_mm=None)).build(case, cohort))
    assert stored.spacing_mm == (1, 0.75, 2.5) and stored.voxel_ml == pytest.approx(1 * 0.75 * 2.5 / 1000)
    isotropic = StoredCase.open(Store(tmp_path / "store", PreprocessingParams(spacing_mm=1.25)).build(case, cohort))
    assert isotropic.spacing_mm == (1.25, 1.25, 1.25)


def test_labels_on_a_grid_of_their_own_are_stored_on_the_grid_of_the_images(tmp_path: Path, cohort: Cohort) -> None:
    case = cohort.cases[0]
    assert case.labels is not None
    fine = np.asarray(nib.load(case.labels).dataobj).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine = np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] = -0.25  # voxels of 1 mm about 0 reach from -0.5 mm, those of 0.5 mm have their centre at -0.25
    store = Store(tmp_path / "store", PreprocessingParams())
    same = StoredCase.open(store.build(case, cohort))
    save(tmp_path / "fine.nii.gz", fine, affine)
    apart = dataclasses.replace(case, labels=tmp_path / "fine.nii.gz", labels_on_own_grid=True)
    stored = StoredCase.open(store.build(apart, cohort))
    assert stored.folder != same.folder and stored.shape == same.shape
    # blurred as their voxels are, the drawn boxes of 12 and 8 voxels lose no more than corners
    assert np.count_nonzero(stored.target == same.target) >= same.target.size - 12
    assert len(stored.voxels[1]) >= 8


def test_kill_9_in_the_middle_of_a_case(toy_study: Callable[..., Path]) -> None:
    """The arrays are written, the rest is not: nothing is there for the next call, which makes the case whole."""
    file = toy_study()
    study = Study(file)
    case, cohort = study.cohorts["anatomy"].cases[0], study.cohorts["anatomy"]
    code = (
        "import os, signal\n"
        "from multiseg.data import store\n"
        "from multiseg.study import study\n"
        "store.write_json = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"study = study.Study({str(file)!r})\n"
        "cohort = study.cohorts['anatomy']\n"
        "study.store.build(cohort.cases[0], cohort)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    (left,) = [path for path in study.store.folder.rglob("*") if path.name.startswith(".part-")]
    assert (left / "voxels.npy").exists() and not study.store.path(case, cohort).exists()
    with pytest.raises(UserError, match="cohort anatomy, case anatomy0: is not prepared; run multiseg prepare first"):
        study.open(case)
    stored = StoredCase.open(study.store.build(case, cohort))
    assert stored.images.shape == (2, *stored.shape) and stored.target.shape == stored.shape
    old = time.time() - 2 * 3600
    os.utime(left, (old, old))
    runs.prepare(study, cohort.cases[:2], workers=1)  # removes what was left, once it is surely nobody's
    assert not left.exists() and study.store.path(cohort.cases[1], cohort).exists()


def test_a_killed_build_leaves_nothing_that_looks_finished(
    tmp_path: Path, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store", PreprocessingParams(spacing_mm=1))

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("multiseg.data.store.write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            store.build(cohort.cases[0], cohort)
    folder = store.path(cohort.cases[0], cohort)
    assert not folder.exists()
    assert StoredCase.open(store.build(cohort.cases[0], cohort)).name == "a"
