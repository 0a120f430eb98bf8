"""What every source delivers, and what those share that look through folders."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib

from multiseg_core.errors import UserError, one_line, suggest
from multiseg_core.files import atomic_path
from multiseg_core.labels import Codes

from ...base.cores import available_cores
from ..cohorts import Case
from ..image_files import read_with_sitk


@dataclass(frozen=True)
class Part:
    """An image that no reader of this program takes as it is: one modality of a 4-D file, or another format."""

    source: Path
    """The file."""
    channel: int | None
    """Which of the volumes in it; None of a file that holds one."""
    copy: Path
    """Where the volume is written as NIfTI, once."""

    def read(self) -> nib.Nifti1Image:
        """Open the volume. Raises `UserError` naming the source."""
        try:
            if self.source.name.lower().endswith((".nii", ".nii.gz")):
                image = nib.load(self.source)
                assert isinstance(image, nib.Nifti1Image)
            else:
                image = read_with_sitk(self.source, may_have_components=True)
        except Exception as error:  # the libraries raise many kinds on broken files
            raise UserError(f"{self.source}: not a readable image ({one_line(error)[:200]})") from None
        if self.channel is None:
            return image
        if image.ndim != 4 or self.channel >= image.shape[3]:
            raise UserError(f"{self.source}: has no volume number {self.channel} (its shape is {image.shape})")
        return image.slicer[..., self.channel]

    def write(self) -> None:
        """Write the copy unless it is there and newer than its source. Raises `UserError` naming the source."""
        if not self.copy.exists() or self.copy.stat().st_mtime_ns <= self.source.stat().st_mtime_ns:
            image = self.read()
            with atomic_path(self.copy) as part:
                nib.save(image, part)


@dataclass(frozen=True)
class Found:
    """What a source holds of a cohort, before its codes are mapped to the labels of a study."""

    cases: Sequence[Case]
    modalities: Sequence[str]
    """See `Cohort`. Files that were not found have the path where they should be."""
    codes: Codes = field(default_factory=dict)
    """Native code -> meaning, as the source itself says; a params file may state others."""
    absent: Sequence[str] = ()
    """Labels that its subjects do not have; those that no study asks for do not matter."""
    complete_codes: Codes | None = None
    """What the codes of all `complete_labels` mean, if the source knows."""
    problems: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Case -> what is wrong with its files, one line each."""
    notes: Sequence[str] = ()
    """What is odd but no error, one line each."""
    parts: Sequence[Part] = ()
    """Copies that its cases name as files and that `write_parts` makes."""


def not_excluded(cohort: str, names: Iterable[str], exclude: Sequence[str], folder: Path) -> list[str]:
    """Return the cases that a params file does not exclude. Raises `UserError` if it excludes unknown ones, or all."""
    names = list(names)
    for name in exclude:
        if name not in names:
            raise UserError(f"cohorts.{cohort}.exclude: no case '{name}' in {folder}{suggest(name, names)}")
    left = [name for name in names if name not in exclude]
    if not left:
        raise UserError(f"cohorts.{cohort}.exclude: leaves no case")
    return left


def write_parts(parts: Sequence[Part], cohort: str) -> None:
    """Write the copies of several parts, on all cores."""
    parts = [part for part in parts if part.source.is_file()]
    missing = [part for part in parts if not part.copy.exists()]
    if missing:
        text = f"cohort {cohort}: {len(missing)} volumes are copied to {missing[0].copy.parent} as NIfTI, once"
        print(text, file=sys.stderr, flush=True)
    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(Part.write, parts))


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder, sorted, without hidden ones; none if there is no such folder."""
    return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if folder.is_dir() else []


def visible(folder: Path) -> list[Path]:
    """Return what is in a folder, see `names_in`."""
    return [folder / name for name in names_in(folder)]
