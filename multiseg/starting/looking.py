"""What lies in a folder that somebody points at: cases, modalities, codes and their voxels, kind of images."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from multiseg_core.errors import UserError
from multiseg_core.grids import voxel_ml, voxel_sizes

from ..base.cores import available_cores
from ..data.brain_masks import HEAD_ML, brain_from_stripped
from ..data.cohorts import FILE_ROLES, Case, drawn_labels
from ..data.image_files import read_image, read_volume
from ..data.sources import bids, nnunet
from ..data.sources.found import Found, Part
from ..settings.param_values import NAME
from ..settings.params import CohortParams
from . import plain

MOST_LABELS = 60
"""Label files of a folder that are read to count voxels."""

BRAIN_ML = 500.0
"""What brain-extracted images hold at least, a newborn's being small."""

HEAD_MM = 140.0
"""An image that is wider than this along all axes may show a whole head."""


@dataclass
class Seen:
    """What lies in a folder."""

    name: str
    """What its cohort shall be called."""
    kind: str
    """``nnunet``, ``bids`` or ``table``."""
    folder: Path
    """Where it lies."""
    cases: Sequence[Case]
    modalities: Sequence[str]
    codes: dict[int, str | Sequence[str]]
    """See `Found`."""
    voxels: Counter[int] = field(default_factory=Counter)
    """Code -> voxels in the label files that were read, and `read`, their number."""
    read: int = 0
    values: tuple[float, float] = (0.0, 0.0)
    """Lowest and highest value of the first image."""
    size_mm: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    """Voxels of the first image."""
    shows: str = "other"
    """``brain`` (brain-extracted), ``head`` or ``other``."""
    remarks: list[str] = field(default_factory=list)
    """What had to be guessed, a line each."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that its codes name, each once."""
        return drawn_labels(self.codes)

    @property
    def is_ct(self) -> bool:
        """Whether its images are CT, by name or by air, which has -1000 Hounsfield units."""
        return any(m.upper() == "CT" for m in self.modalities) or self.values[0] <= -900


def look(folder: Path, taken: Sequence[str] = ()) -> Seen:
    """Look at a folder of nnU-Net or the Decathlon, of BIDS, or any with images; other cohorts have the names `taken`.

    Raises `UserError` if there is no such folder or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {'is a file, not a folder' if folder.exists() else 'no such folder'}")
    name = cohort_name(folder, taken)
    if (folder / nnunet.DESCRIPTION).is_file():
        kind, found = "nnunet", nnunet.find(name, CohortParams(source="nnunet"), folder, folder)
    elif any(path.is_dir() and path.name.startswith("sub-") for path in folder.iterdir()):
        kind, found = "bids", bids.find(name, CohortParams(source="bids"), folder)
    else:
        kind, found = "table", _find_plain(name, folder)
    seen = Seen(name, kind, folder, found.cases, found.modalities, dict(found.codes), remarks=list(found.notes))
    faults = [f"cohort {name}, case {case}: {fault}" for case in found.problems for fault in found.problems[case]]
    if faults:
        seen.remarks.append(f"{len(faults)} files are missing or not alone, such as: {faults[0]}")
    parts = {part.copy: part for part in found.parts}
    _count_codes(seen, parts)
    _look_at_image(seen, parts)
    if not seen.codes:
        seen.codes = {code: f"{name}_{code}" for code in sorted(seen.voxels) if code}
        seen.remarks.append("nothing says what its codes mean: give them names")
    unnamed = sorted(set(seen.voxels) - set(seen.codes) - {0})
    if unnamed:
        seen.codes |= {code: f"{name}_{code}" for code in unnamed}
        seen.remarks.append(f"code{'s' * (len(unnamed) > 1)} {', '.join(map(str, unnamed))} of its labels have no name")
    return seen


def cohort_name(folder: Path, taken: Sequence[str]) -> str:
    """Return what a cohort in a folder may be called: ``Dataset004_Hippocampus`` becomes ``hippocampus``."""
    plain_name = re.sub(r"^(Dataset|Task)\d+_", "", folder.resolve().name) or folder.resolve().name
    name = re.sub(r"[^\w+-]+", "_", plain_name, flags=re.ASCII).strip("_+-").lower()[:40] or "cohort"
    name = name if NAME.fullmatch(name) else f"cohort_{name}"
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(found for found in itertools.chain([name], numbered) if found not in taken)


def _find_plain(name: str, folder: Path) -> Found:
    cases, left_out = plain.group(folder)
    if not cases:
        raise UserError(
            f"{folder}: no {nnunet.DESCRIPTION}, no sub-* folders, and no images whose names tell cases apart"
        )
    notes = ["which files are images, labels and masks is guessed by names and values: look at the manifest"]
    if left_out:
        notes.append(f"{len(left_out)} files are left out, such as {left_out[0]}")
    labelled = {case: roles for case, roles in cases.items() if "labels" in roles}
    if len(labelled) < len(cases):
        notes.append(f"{len(cases) - len(labelled)} of {len(cases)} cases have no labels and are left out")
    if not labelled:
        raise UserError(f"{folder}: no labels found: files of whole numbers from 0, {plain.MOST_CODES} at most")
    modalities = dict.fromkeys(role for roles in cases.values() for role in roles if role not in FILE_ROLES)
    return Found([Case.of(name, case, roles) for case, roles in labelled.items()], tuple(modalities), notes=notes)


def _read(path: Path, parts: Mapping[Path, Part]) -> tuple[nib.Nifti1Image, np.ndarray]:
    """Read a file, or what would be copied to it."""
    image = parts[path].read() if path in parts else read_image(path)
    return image, read_volume(parts[path].source if path in parts else path, image)


def _count_codes(seen: Seen, parts: Mapping[Path, Part]) -> None:
    """Count the voxels of each code, in `MOST_LABELS` files at most that lie evenly among all."""
    files = [case.labels for case in seen.cases if case.labels is not None]
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, MOST_LABELS).astype(int))] if files else []

    def counted(path: Path) -> Counter[int] | str:
        try:
            codes, counts = np.unique(_read(path, parts)[1], return_counts=True)
        except UserError as error:
            return str(error)
        if (codes != np.rint(codes)).any():
            return f"{path}: holds values that are no codes, such as {codes[codes != np.rint(codes)][0]:.6g}"
        return Counter(dict(zip(codes.astype(int).tolist(), counts.tolist(), strict=True)))

    with ThreadPoolExecutor(available_cores()) as pool:
        for found in pool.map(counted, chosen):
            if isinstance(found, str):
                seen.remarks.append(found)
            else:
                seen.voxels += found
                seen.read += 1


def _look_at_image(seen: Seen, parts: Mapping[Path, Part]) -> None:
    """Look at the first image that can be read: its voxels, its values, and whether it shows a brain or a head."""
    for case in seen.cases[:5]:
        path = next(iter(case.images.values()), None)
        if path is None:
            continue
        try:
            image, volume = _read(path, parts)
            brain = brain_from_stripped(volume, image.affine, path)
        except (UserError, OSError) as error:
            seen.remarks.append(str(error))
            continue
        seen.shape = tuple(int(n) for n in volume.shape)
        seen.size_mm = tuple(round(float(mm), 2) for mm in voxel_sizes(image.affine))
        seen.values = float(volume.min()), float(volume.max())
        if brain is not None and BRAIN_ML <= np.count_nonzero(brain) * voxel_ml(image.affine) < HEAD_ML:
            seen.shows = "brain"
        elif min(np.multiply(seen.shape, seen.size_mm)) > HEAD_MM and not seen.is_ct:
            seen.shows = "head"
        return
