"""What folders in the layouts of other programs hold: nnU-Net's, the Decathlon's and BIDS."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib

from multiseg_core.errors import UserError, one_line
from multiseg_core.files import atomic_path

from ...base.cores import available_cores
from ..cohorts import Case
from ..image_files import SUFFIXES, read_with_sitk


@dataclass(frozen=True)
class Part:
    """An image that no reader of this program takes as it is: one modality of a 4-D file, or another format.

    Attributes
    ----------
    source
        The file.
    channel
        Which of the volumes in it; None of a file that holds one.
    copy
        Where the volume is written as NIfTI, once.
    """

    source: Path
    channel: int | None
    copy: Path

    def write(self) -> None:
        """Write the copy unless it is there and newer than its source. Raises `UserError` naming the source."""
        if self.copy.exists() and self.copy.stat().st_mtime_ns > self.source.stat().st_mtime_ns:
            return
        try:
            image = load_any(self.source)
        except Exception as error:  # the libraries raise many kinds on broken files
            raise UserError(f"{self.source}: not a readable image ({one_line(error)[:200]})") from None
        if self.channel is not None:
            if image.ndim != 4 or self.channel >= image.shape[3]:
                raise UserError(f"{self.source}: has no volume number {self.channel} (its shape is {image.shape})")
            image = image.slicer[..., self.channel]
        with atomic_path(self.copy) as part:
            nib.save(image, part)


@dataclass(frozen=True)
class FolderCohort:
    """A cohort as a folder describes it.

    Attributes
    ----------
    cases, modalities
        As of `Cohort`.
    codes
        Native code -> label or ``ignore``, as the folder itself says.
    problems, notes
        As of `Cohort`.
    parts
        Copies that its cases name as files and that `write_parts` makes.
    """

    cases: tuple[Case, ...]
    modalities: tuple[str, ...]
    codes: Mapping[int, str | list[str]]
    problems: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    parts: tuple[Part, ...] = ()


def load_any(path: Path) -> nib.Nifti1Image:
    """Open a file with nibabel, or with SimpleITK what nibabel cannot read; several components become a last axis."""
    if path.name.lower().endswith((".nii", ".nii.gz")):
        image = nib.load(path)
        assert isinstance(image, nib.Nifti1Image)
        return image
    return read_with_sitk(path, may_have_components=True)


def write_parts(parts: Sequence[Part], cohort: str, say: Callable[[str], object] | None = None) -> None:
    """Write the copies of several parts, on all cores."""
    parts = [part for part in parts if part.source.is_file()]
    missing = [part for part in parts if not part.copy.exists()]
    if missing:
        text = f"cohort {cohort}: {len(missing)} volumes are copied to {missing[0].copy.parent} as NIfTI, once"
        (say or (lambda line: print(line, file=sys.stderr, flush=True)))(text)
    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(Part.write, parts))


def is_read_directly(path: Path) -> bool:
    """Whether a file's format is one of those that preparation reads."""
    return path.name.lower().endswith(SUFFIXES)


def visible(folder: Path) -> list[Path]:
    """Return what is in a folder by name, without hidden files; nothing if there is no such folder."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
