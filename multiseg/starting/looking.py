"""What lies in a folder that somebody points at: cases, modalities, codes and their voxels, kind of images."""

from __future__ import annotations

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
from ..data.cohorts import Case
from ..data.image_files import read_image, read_volume
from ..data.sources import bids, nnunet
from ..data.sources.folder import FolderCohort, load_any
from ..settings.param_values import NAME
from . import plain

MOST_LABELS = 60
"""Label files of a folder that are read to count voxels."""

BRAIN_ML = 500.0
"""What brain-extracted images hold at least, a newborn's being small."""

HEAD_MM = 140.0
"""An image that is wider than this along all axes may show a whole head."""


@dataclass
class Seen:
    """What lies in a folder.

    Attributes
    ----------
    name
        What its cohort shall be called.
    kind
        ``nnunet``, ``bids`` or ``table``.
    folder
        Where it lies.
    cases, modalities, codes
        As of `FolderCohort`.
    voxels
        Code -> voxels in the label files that were read, and `read`, their number.
    values
        Lowest and highest value of the first image.
    size_mm, shape
        Of the first image.
    shows
        ``brain`` (brain-extracted), ``head`` or ``other``.
    manifest
        For plain folders, the cases by role, to be written down.
    remarks
        What had to be guessed, a line each.
    """

    name: str
    kind: str
    folder: Path
    cases: tuple[Case, ...]
    modalities: tuple[str, ...]
    codes: dict[int, str | list[str]]
    voxels: Counter[int] = field(default_factory=Counter)
    read: int = 0
    values: tuple[float, float] = (0.0, 0.0)
    size_mm: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    shows: str = "other"
    manifest: plain.Cases | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """The labels that its codes name, each once."""
        named = [label for value in self.codes.values() for label in ([value] if isinstance(value, str) else value)]
        return [label for label in dict.fromkeys(named) if label not in ("background", "ignore")]

    @property
    def is_ct(self) -> bool:
        """Whether its images are CT, by name or by air, which has -1000 Hounsfield units."""
        return any(m.upper() == "CT" for m in self.modalities) or self.values[0] <= -900


def look(folder: Path, taken: Sequence[str] = ()) -> Seen:
    """Look at a folder.

    Parameters
    ----------
    folder
        Of nnU-Net or the Decathlon, of BIDS, or any with images.
    taken
        Names that other cohorts have.

    Raises
    ------
    UserError
        If there is no such folder or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {'is a file, not a folder' if folder.exists() else 'no such folder'}")
    name = cohort_name(folder, taken)
    if (folder / nnunet.DESCRIPTION).is_file():
        seen = _of_folder("nnunet", nnunet.read_folder(name, folder, folder), name, folder)
    elif any(path.is_dir() and path.name.startswith("sub-") for path in folder.iterdir()):
        seen = _of_folder("bids", bids.read_folder(name, folder), name, folder)
    else:
        seen = _of_plain(name, folder)
    sources = _sources(seen)
    _count_codes(seen, sources)
    _look_at_image(seen, sources)
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
    number = 2
    found = name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _of_folder(kind: str, found: FolderCohort, name: str, folder: Path) -> Seen:
    remarks = [note.partition(": ")[2] for note in found.notes]
    faults = [line for lines in found.problems.values() for line in lines]
    if faults:
        remarks.append(f"{len(faults)} files are missing or not alone, such as: {faults[0]}")
    return Seen(name, kind, folder, found.cases, found.modalities, dict(found.codes), remarks=remarks)


def _of_plain(name: str, folder: Path) -> Seen:
    cases, left_out = plain.group(folder)
    if not cases:
        raise UserError(
            f"{folder}: no {nnunet.DESCRIPTION}, no sub-* folders, and no images whose names tell cases apart"
        )
    modalities = tuple(plain.names(cases.values()))
    remarks = ["which files are images, labels and masks is guessed by names and values: look at the manifest"]
    if left_out:
        remarks.append(f"{len(left_out)} files are left out, such as {left_out[0]}")
    lacking = sum("labels" not in roles for roles in cases.values())
    if lacking:
        remarks.append(f"{lacking} of {len(cases)} cases have no labels and are left out")
    cases = {case: roles for case, roles in cases.items() if "labels" in roles}
    if not cases:
        raise UserError(f"{folder}: no labels found: files of whole numbers from 0, {plain.MOST_CODES} at most")
    of_case = tuple(
        Case(
            cohort=name, name=case, images={m: path for m, path in roles.items() if m in modalities},
            labels=roles["labels"], brain_mask=roles.get("brain_mask"),
        )
        for case, roles in cases.items()
    )  # fmt: skip
    return Seen(name, "table", folder, of_case, modalities, {}, manifest=cases, remarks=remarks)


def _sources(seen: Seen) -> Mapping[Path, tuple[Path, int | None]]:
    """Return copy -> source and volume of files that would be copied, see `Part`."""
    if seen.kind != "nnunet":
        return {}
    parts = nnunet.read_folder(seen.name, seen.folder, seen.folder).parts
    return {part.copy: (part.source, part.channel) for part in parts}


def _read(path: Path, sources: Mapping[Path, tuple[Path, int | None]]) -> tuple[nib.Nifti1Image, np.ndarray]:
    if path not in sources:
        image = read_image(path)
        return image, read_volume(path, image, np.float32)
    source, channel = sources[path]
    image = load_any(source)
    image = image if channel is None else image.slicer[..., channel]
    return image, np.asarray(image.dataobj, dtype=np.float32)


def _count_codes(seen: Seen, sources: Mapping[Path, tuple[Path, int | None]]) -> None:
    """Count the voxels of each code, in `MOST_LABELS` files at most that lie evenly among all."""
    files = [case.labels for case in seen.cases if case.labels is not None]
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, MOST_LABELS).astype(int))] if files else []

    def counted(path: Path) -> Counter[int] | str:
        try:
            codes, counts = np.unique(_read(path, sources)[1], return_counts=True)
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


def _look_at_image(seen: Seen, sources: Mapping[Path, tuple[Path, int | None]]) -> None:
    """Look at the first image that can be read: its voxels, its values, and whether it shows a brain or a head."""
    for case in seen.cases[:5]:
        path = next(iter(case.images.values()), None)
        if path is None:
            continue
        try:
            image, volume = _read(path, sources)
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
