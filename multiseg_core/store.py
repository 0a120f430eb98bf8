"""The store: preprocessed cases as uncompressed arrays that are read by memory map.

One folder per case::

    images.npy   (M, X, Y, Z) float32
    mask.npy     (X, Y, Z) bool, inside the brain
    target.npy   (X, Y, Z) uint8, positions in `sets` of case.json
    voxels.npy   flat positions of all voxels that carry a drawn label, grouped by label set, int32
    case.json    names, modalities, label sets, groups of voxels.npy, affine, native grid

The folder's name is a fingerprint of everything that shaped it; a folder is complete or absent.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .cohorts import Case, Cohort, ensure_files
from .files import atomic_folder, atomic_path, code_fingerprint, file_fingerprint, fingerprint, write_json
from .labels import LabelSet, is_relevant
from .params import PreprocessingParams
from .preprocessing import prepare_case

_MODULES = ("brains", "grids", "images", "labels", "preprocessing", "store")


@dataclass(frozen=True)
class StoredCase:
    """A case of the store, opened for reading. Arrays are memory maps that cannot be written to.

    Attributes
    ----------
    folder
        Where it lies.
    info
        Content of case.json.
    """

    folder: Path
    info: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> StoredCase:
        """Open a folder of the store."""
        return cls(folder, json.loads((folder / "case.json").read_text(encoding="utf-8")))

    @property
    def name(self) -> str:
        return str(self.info["name"])

    @property
    def cohort(self) -> str:
        return str(self.info["cohort"])

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.info["modalities"])

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel sizes."""
        return tuple(self.info["spacing_mm"])

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return math.prod(self.spacing_mm) / 1000

    @property
    def shape(self) -> tuple[int, int, int]:
        """(X, Y, Z)."""
        return tuple(self.info["shape"])

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) voxel to world (mm)."""
        return np.array(self.info["affine"])

    @functools.cached_property
    def sets(self) -> tuple[LabelSet, ...]:
        """The label sets that `target` refers to; position 0 is background's."""
        return tuple(frozenset(members) for members in self.info["sets"])

    @functools.cached_property
    def images(self) -> np.ndarray:
        """(M, X, Y, Z) float32."""
        return _map(self.folder / "images.npy")

    @functools.cached_property
    def mask(self) -> np.ndarray:
        """(X, Y, Z) bool."""
        return _map(self.folder / "mask.npy")

    @functools.cached_property
    def target(self) -> np.ndarray:
        """(X, Y, Z) uint8 positions in `sets`."""
        return _map(self.folder / "target.npy")

    @functools.cached_property
    def voxels(self) -> dict[int, np.ndarray]:
        """Position in `sets` -> flat indices of its voxels, int32; only drawn labels that occur."""
        flat = _map(self.folder / "voxels.npy")
        return {int(s): flat[start:stop] for s, (start, stop) in self.info["voxel_groups"].items()}

    def channels(self, modalities: tuple[str, ...]) -> list[int]:
        """Return the channel numbers of some modalities."""
        return [self.modalities.index(m) for m in modalities]


def _map(path: Path) -> np.ndarray:
    """Map an array into memory, read-only. A plain array over the map: slices of `np.memmap` are slow to make."""
    return np.asarray(np.load(path, mmap_mode="r"))


class Store:
    """All stored cases of a study.

    Parameters
    ----------
    folder
        Root folder.
    params
        Preprocessing, part of every key.
    """

    def __init__(self, folder: Path, params: PreprocessingParams) -> None:
        self.folder = folder
        self.params = params

    def key(self, case: Case, cohort: Cohort) -> str:
        """Return the fingerprint of everything that shapes a stored case: its content and the code map."""
        sets = [sorted(s) for s in cohort.code_map.sets]
        return fingerprint([self.content(case, cohort), sets, sorted(cohort.code_map.code_to_set.items())])

    def content(self, case: Case, cohort: Cohort) -> str:
        """Return the fingerprint of a case's files and their preprocessing, whatever its codes mean."""
        if case.made_by is not None:
            files: Any = dict(case.made_by)
        else:
            files = {role: self._file_fingerprint(path) for role, path in case.files.items()}
        return fingerprint(
            {
                "files": files,
                "modalities": cohort.modalities,
                "labels_on_own_grid": case.labels_on_own_grid,
                "preprocessing": asdict(self.params),
                "code": code_fingerprint(*_MODULES),
            }
        )

    def _file_fingerprint(self, path: Path) -> str:
        """Hash a file's content, remembering the hash for as long as its size and time stay the same."""
        stat = path.stat()
        known = self.folder / "fingerprints" / fingerprint([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
        if known.exists():
            return known.read_text()
        value = file_fingerprint(path)
        with atomic_path(known) as part:
            part.write_text(value)
        return value

    def path(self, case: Case, cohort: Cohort) -> Path:
        """Return the folder of a case, which need not exist."""
        return self.folder / f"{case.cohort}-{case.name}-{self.key(case, cohort)}"

    def build(self, case: Case, cohort: Cohort) -> Path:
        """Make the folder of a case unless it is there; return it. Raises `UserError` for bad input."""
        folder = self.path(case, cohort)
        if folder.exists():
            return folder
        ensure_files(case)
        prepared = prepare_case(case, cohort.modalities, self.params, cohort.code_map)
        assert prepared.target is not None
        sets = cohort.code_map.sets
        groups: dict[int, list[int]] = {}
        chunks: list[np.ndarray] = []
        start = 0
        for position, members in enumerate(sets):
            found = np.flatnonzero(prepared.target == position).astype(np.int32) if is_relevant(members) else []
            if len(found):
                groups[position] = [start, start + len(found)]
                start += len(found)
                chunks.append(np.asarray(found))
        counts = np.bincount(prepared.target.ravel(), minlength=len(sets))
        with atomic_folder(folder) as part:
            np.save(part / "images.npy", prepared.images)
            np.save(part / "mask.npy", prepared.mask)
            np.save(part / "target.npy", prepared.target)
            np.save(part / "voxels.npy", np.concatenate(chunks) if chunks else np.empty(0, np.int32))
            info = {
                "name": case.name,
                "cohort": case.cohort,
                "modalities": cohort.modalities,
                "sets": [sorted(s) for s in sets],
                "voxel_groups": groups,
                "voxels_per_set": counts.tolist(),
                "spacing_mm": prepared.spacing_mm,
                "shape": prepared.mask.shape,
                "affine": prepared.affine.tolist(),
                "native_shape": prepared.native_shape,
                "native_affine": prepared.native_affine.tolist(),
            }
            write_json(part / "case.json", info)
        return folder

    def open(self, case: Case, cohort: Cohort) -> StoredCase:
        """Open a case, building it first if need be."""
        return StoredCase.open(self.build(case, cohort))
