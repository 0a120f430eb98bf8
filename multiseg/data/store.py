"""The store: preprocessed cases as uncompressed arrays that are read by memory map.

One folder per case::

    images.npy   (M, X, Y, Z) float32
    mask.npy     (X, Y, Z) bool, inside the brain
    target.npy   (X, Y, Z) uint8, positions in `sets` of case.json
    voxels.npy   flat positions of all voxels that carry a drawn label, grouped by label set, int32
    complete.npy the drawn target with its background filled from complete labels, where there are any
    native.npz   the labels as drawn, on their own grid: ``target``, uint8 positions in `sets`, and ``affine``
    case.json    names, modalities, label sets, groups of voxels.npy, affine, native grid, what the grid costs

The folder's name is a fingerprint of everything that shaped it; a folder is complete or absent.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from multiseg_core.errors import UserError
from multiseg_core.files import write_json
from multiseg_core.grids import Grid, voxel_ml, voxel_sizes
from multiseg_core.labels import LabelSet, is_relevant

from ..base.files import atomic_folder
from ..base.fingerprints import FINGERPRINT_LENGTH, code_fingerprint, file_fingerprint, fingerprint
from ..settings.preprocessing import PreprocessingParams
from .loading import Case, Cohort, ensure_files
from .prepare import Native, prepare
from .target_sets import filled_sets, filled_table

_CODE = (
    "multiseg_core.grids", "multiseg_core.labels", "multiseg_core.resampling",
    "multiseg.data.brain_masks", "multiseg.data.grids", "multiseg.data.image_files", "multiseg.data.label_resampling",
    "multiseg.data.prepare", "multiseg.data.target_sets", "multiseg.data.store",
)  # fmt: skip


@dataclass(frozen=True)
class StoredLabels:
    """A target that is stored, and what `write_labels` returned of it."""

    target: Path
    voxels: Path
    sets: tuple[LabelSet, ...]
    """The label sets that the target refers to; position 0 is background's."""
    voxel_groups: Mapping[int, tuple[int, int]]
    """Position in `sets` -> where its voxels begin and end in their file; only drawn labels that occur."""
    voxels_per_set: Sequence[int]

    @classmethod
    def of(cls, folder: Path, facts: Mapping[str, Any]) -> StoredLabels:
        """Return those of a folder, from what `write_labels` returned as JSON has it."""
        groups = {int(position): (start, stop) for position, (start, stop) in facts["voxel_groups"].items()}
        files = folder / "target.npy", folder / "voxels.npy"
        return cls(*files, tuple(map(frozenset, facts["sets"])), groups, facts["voxels_per_set"])


@dataclass(frozen=True, eq=False)
class StoredCase:
    """A case of the store, opened for reading. Arrays are memory maps that cannot be written to."""

    folder: Path
    name: str
    cohort: str
    modalities: tuple[str, ...]
    """In the order of channels."""
    shape: tuple[int, int, int]
    affine: np.ndarray
    """(4, 4) voxel to world (mm)."""
    spacing_mm: tuple[float, float, float]
    native_grid: Grid
    """The grid of the files that it came from."""
    kept: Sequence[Mapping[str, Any]]
    """What the grid costs each drawn label, see `what_is_kept`."""
    labels: StoredLabels
    """The drawn labels, or others in their place."""
    complete: tuple[LabelSet, ...] | None
    """The sets that ``complete.npy`` refers to; None without complete labels."""

    @classmethod
    def open(cls, folder: Path) -> StoredCase:
        """Open a folder of the store."""
        info = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        return cls(
            folder=folder,
            name=info["name"],
            cohort=info["cohort"],
            modalities=tuple(info["modalities"]),
            shape=tuple(info["shape"]),
            affine=np.array(info["affine"]),
            spacing_mm=tuple(info["spacing_mm"]),
            native_grid=Grid(tuple(info["native_shape"]), np.array(info["native_affine"])),
            kept=info["kept"],
            labels=StoredLabels.of(folder, info),
            complete=tuple(map(frozenset, info["complete"])) if "complete" in info else None,
        )

    def completed(self) -> StoredCase:
        """Return the same case with its background filled from complete labels. Raises `UserError` if it has none.

        Its list of voxels stays that of the drawn labels, so that patches are aimed as without the truth.
        """
        if self.complete is None:
            raise UserError(f"cohort {self.cohort}, case {self.name}: no complete labels are known")
        return replace(self, labels=replace(self.labels, target=self.folder / "complete.npy", sets=self.complete))

    def relabelled(self, folder: Path) -> StoredCase:
        """Return the same case with the labels of another folder, see `multiseg.study.pseudo_labels`."""
        facts = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        return replace(self, labels=StoredLabels.of(folder, facts))

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return voxel_ml(self.affine)

    @property
    def mirror_axis(self) -> int:
        """The axis of the arrays that runs most nearly from left to right."""
        return int(np.flatnonzero(nib.io_orientation(self.affine)[:, 0] == 0)[0])

    @property
    def sets(self) -> tuple[LabelSet, ...]:
        """The label sets that `target` refers to; position 0 is background's."""
        return self.labels.sets

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
        return _map(self.labels.target)

    @functools.cached_property
    def voxels(self) -> dict[int, np.ndarray]:
        """Position in `sets` -> flat indices of its voxels, int32; only drawn labels that occur."""
        flat = _map(self.labels.voxels)
        return {position: flat[start:stop] for position, (start, stop) in self.labels.voxel_groups.items()}

    @property
    def voxels_per_set(self) -> list[tuple[int, int]]:
        """Position in `sets` and number of its voxels, of all sets."""
        return list(enumerate(self.labels.voxels_per_set))

    @property
    def native(self) -> Native:
        """The labels as they were drawn, on their own grid, in the sets of the drawn labels."""
        with np.load(self.folder / "native.npz") as found:
            return Native(found["target"], found["affine"])

    def channels_or_none(self, modalities: Sequence[str]) -> list[int | None]:
        """Return the channel numbers of some modalities, None for those that the case does not have."""
        return [self.modalities.index(m) if m in self.modalities else None for m in modalities]

    def channels(self, modalities: tuple[str, ...]) -> list[int]:
        """Return the channel numbers of some modalities."""
        return [self.modalities.index(m) for m in modalities]


def _map(path: Path) -> np.ndarray:
    """Map an array into memory, read-only. A plain array over the map: slices of `np.memmap` are slow to make."""
    return np.asarray(np.load(path, mmap_mode="r"))


def write_labels(folder: Path, target: np.ndarray, sets: Sequence[LabelSet]) -> dict[str, Any]:
    """Write ``target.npy``, (X, Y, Z) uint8 positions in `sets`, and ``voxels.npy``; return what else reads them."""
    drawn = {position: np.flatnonzero(target == position) for position, s in enumerate(sets) if is_relevant(s)}
    drawn = {position: found.astype(np.int32) for position, found in drawn.items() if len(found)}
    stops = np.cumsum([len(found) for found in drawn.values()]).tolist()
    groups = {position: [stop - len(drawn[position]), stop] for position, stop in zip(drawn, stops, strict=True)}
    np.save(folder / "target.npy", target)
    np.save(folder / "voxels.npy", np.concatenate([np.empty(0, np.int32), *drawn.values()]))
    counts = np.bincount(target.ravel(), minlength=len(sets))
    return {"sets": [sorted(s) for s in sets], "voxel_groups": groups, "voxels_per_set": counts.tolist()}


@dataclass(frozen=True)
class Store:
    """All stored cases of a study in a folder; their preprocessing is part of every key."""

    folder: Path
    params: PreprocessingParams

    def key(self, case: Case, cohort: Cohort, content: str | None = None) -> str:
        """Return the fingerprint of everything that shapes a stored case: its `content`, labels and code maps."""
        facts: list[Any] = [self.content(case, cohort) if content is None else content]
        maps = [cohort.code_map]
        if cohort.complete_map is not None and case.complete_labels is not None:
            facts.append(self.complete_content(case))
            maps.append(cohort.complete_map)
        for code_map in maps:
            facts += [[sorted(s) for s in code_map.sets], sorted(code_map.code_to_set.items()), code_map.other]
        return fingerprint(facts)

    def complete_content(self, case: Case) -> str:
        """Return the fingerprint of a case's complete labels; `content` leaves them out, for few networks see them."""
        if case.made_by is not None or case.complete_labels is None:
            return ""
        return self.file_content(case.complete_labels)

    def content(self, case: Case, cohort: Cohort) -> str:
        """Return the fingerprint of a case's images and drawn labels and their preprocessing, whatever codes mean."""
        if case.made_by is not None:
            files: Any = dict(case.made_by)
        else:
            files = {role: self.file_content(path) for role, path in case.files.items() if role != "complete_labels"}
        how = {"preprocessing": self.params.model_dump(), "code": code_fingerprint(*_CODE)}
        own = {"modalities": list(case.images), "labels_on_own_grid": case.labels_on_own_grid}
        return fingerprint({"files": files, **own, **how})

    def file_content(self, path: Path) -> str:
        """Hash a file's content, remembering the hash for as long as nobody writes to it.

        Programs may set the time of modification, but not that of the last change.
        """
        stat = path.stat()
        state = stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
        return _file_content(self.folder / "fingerprints", path, *state)

    def path(self, case: Case, cohort: Cohort) -> Path:
        """Return the folder of a case, which need not exist."""
        return self.folder / case.cohort / f"{case.name}-{self.key(case, cohort)}"

    def build(self, case: Case, cohort: Cohort) -> Path:
        """Make the folder of a case unless it is there; return it. Raises `UserError` for bad input."""
        folder = self.path(case, cohort)
        if folder.exists():
            return folder
        ensure_files(case)
        prepared = prepare(case, self.params, cohort.code_map, cohort.complete_map)
        target, native = prepared.target, prepared.native
        assert target is not None and native is not None
        with atomic_folder(folder) as part:
            np.save(part / "images.npy", prepared.images)
            np.save(part / "mask.npy", prepared.mask)
            np.savez_compressed(part / "native.npz", target=native.target, affine=native.affine)
            info = {
                "name": case.name,
                "cohort": case.cohort,
                "modalities": list(case.images),
                **write_labels(part, target, cohort.code_map.sets),
                "spacing_mm": [round(float(size), 6) for size in voxel_sizes(prepared.grid.affine)],
                "shape": prepared.grid.shape,
                "affine": prepared.grid.affine.tolist(),
                "native_shape": prepared.native_grid.shape,
                "native_affine": prepared.native_grid.affine.tolist(),
                "kept": prepared.kept,
                "outside_ml": prepared.outside_ml,
            }
            if prepared.complete is not None and cohort.complete_map is not None:
                drawn, truth = cohort.code_map.sets, cohort.complete_map.sets
                np.save(part / "complete.npy", filled_table(drawn, truth)[target, prepared.complete])
                info["complete"] = [sorted(members) for members in filled_sets(drawn, truth)]
            write_json(part / "case.json", info)
        return folder

    def opened(self, case: Case, cohort: Cohort) -> StoredCase:
        """Open a case, building it first if need be."""
        return StoredCase.open(self.build(case, cohort))

    def open(self, case: Case, cohort: Cohort) -> StoredCase:
        """Open a case. Raises `UserError` if it is not built."""
        folder = self.path(case, cohort)
        if not folder.exists():
            raise UserError(f"cohort {case.cohort}, case {case.name}: is not prepared; run multiseg prepare first")
        return StoredCase.open(folder)


@functools.cache
def _file_content(memory: Path, path: Path, *state: int) -> str:
    """Return the hash of a file in a state, from the memory if it is there; an error costs the memory alone."""
    known = memory / fingerprint([str(path.resolve()), *state])
    with contextlib.suppress(OSError):
        if len(value := known.read_text()) == FINGERPRINT_LENGTH:  # else somebody was stopped while writing it
            return value
    value = file_fingerprint(path)
    with contextlib.suppress(OSError):
        memory.mkdir(parents=True, exist_ok=True)
        known.write_text(value)
    return value
