"""The volumes that benchmarks share: phantoms at 1 mm, preprocessed into a store like those of any study."""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np
import yaml

from benchmarks.common import FOLDER
from multiseg.data.store import StoredCase
from multiseg.study import runs
from multiseg.study.study import Study
from multiseg_core.files import atomic_path

CASES = 12
FIELD_OF_VIEW = (197, 233, 189)
"""The 1 mm atlas, a common size of a head."""

PHANTOM = {"source": "phantom", "preset": "mrbrains18", "seed": 2000, "voxel_mm": 1}
PARAMS = {
    "cohorts": {"bench": {**PHANTOM, "cases": CASES}, "unused": {**PHANTOM, "cases": 1}},
    "preprocessing": {"spacing_mm": 1},
    "reports_dir": ".",
    "scenarios": {
        "bench": {"train": ["bench"], "test": "unused", "modalities": ["T1", "FLAIR"], "models": ["cross_entropy"]}
    },
}


def make_study() -> Study:
    """Return the study whose cases are the volumes."""
    file = FOLDER / "volumes.yaml"
    with atomic_path(file) as part:
        part.write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    return Study(file)


@lru_cache(maxsize=1)
def stored_cases() -> list[StoredCase]:
    """Return the stored cases, made first if need be (some minutes)."""
    study = make_study()
    cohort = study.cohorts["bench"]
    if not all(study.store.path(case, cohort).exists() for case in cohort.cases):
        started = time.perf_counter()
        runs.prepare(study, cohort.cases)
        print(f"made {CASES} phantoms at 1 mm in {time.perf_counter() - started:.0f} s", flush=True)
    return [study.store.open(case, cohort) for case in cohort.cases]


def whole_head(case: StoredCase, modalities: tuple[str, ...] = ("T1", "FLAIR")) -> tuple[np.ndarray, np.ndarray]:
    """Return images (M, *FIELD_OF_VIEW) float32 and class numbers (*FIELD_OF_VIEW) uint8, not cropped to the brain."""
    images = np.full((len(modalities), *FIELD_OF_VIEW), -4.0, dtype=np.float32)
    target = np.zeros(FIELD_OF_VIEW, dtype=np.uint8)
    place = tuple(slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(FIELD_OF_VIEW, case.shape, strict=True))
    images[:, *place] = case.images[case.channels(modalities)]
    target[place] = case.target
    return images, target
