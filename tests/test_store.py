import dataclasses
from pathlib import Path

import numpy as np
import pytest

from multiseg_core.cohorts import Case
from multiseg_core.cohorts.base import Cohort
from multiseg_core.labels import CodeMap
from multiseg_core.params import PreprocessingParams
from multiseg_core.store import Store, StoredCase

from .conftest import save, toy_case


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
    case = Store(tmp_path / "store", PreprocessingParams(spacing_mm=1)).open(cohort.cases[0], cohort)
    assert (case.name, case.cohort, case.modalities) == ("a", "c", ("T1", "FLAIR"))
    assert case.images.shape == (2, *case.shape) and case.images.dtype == np.float32
    assert case.sets == (frozenset({"background", "gm"}), frozenset({"wmh"}), frozenset({"background", "gm", "wmh"}))
    # the index holds drawn labels only: not background, not ignored voxels
    assert list(case.voxels) == [1]
    assert np.array_equal(case.voxels[1], np.flatnonzero(case.target == 1))
    assert len(case.voxels[1]) == 2 * 3 * 2
    assert isinstance(case.images.base, np.memmap) and isinstance(case.target.base, np.memmap)
    assert case.channels(("FLAIR",)) == [1]


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
    assert store.key(case, cohort) != key


def test_a_killed_build_leaves_nothing_that_looks_finished(
    tmp_path: Path, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store", PreprocessingParams(spacing_mm=1))

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("multiseg_core.store.write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            store.build(cohort.cases[0], cohort)
    folder = store.path(cohort.cases[0], cohort)
    assert not folder.exists()
    assert StoredCase.open(store.build(cohort.cases[0], cohort)).name == "a"
