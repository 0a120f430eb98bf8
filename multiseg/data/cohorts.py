"""What every cohort delivers: cases, and a code map that says what their labels mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multiseg_core.labels import BACKGROUND, IGNORE, CodeMap, Codes

SPLITS = ("train", "validation", "test")

FILE_ROLES = ("labels", "brain_mask", "complete_labels")
"""What files of a case may be beside images."""


@dataclass(frozen=True)
class Case:
    """One subject of a cohort, as files."""

    cohort: str
    name: str
    """Names; a case name is unique within its cohort."""
    images: Mapping[str, Path]
    """Modality -> image file."""
    labels: Path | None = None
    """File of native codes, None for a case without labels."""
    brain_mask: Path | None = None
    """File, nonzero inside the brain, or None if the images are brain-extracted or ROBEX shall find it."""
    split: str | None = None
    """One of `SPLITS`, or None if the cohort leaves the choice to the study."""
    made_by: Mapping[str, object] | None = None
    """For generated cases: everything that determines the files, which need not exist yet."""
    labels_on_own_grid: bool = False
    """The labels share the world of the images but not their voxels: they must be resampled to them."""
    complete_labels: Path | None = None
    """File that labels everything, also what `labels` leaves out, where somebody knows: for upper bounds."""
    subject: str = ""
    """Whose images they are, where several cases may show the same; "" for a subject of its own."""
    annotates: tuple[str, ...] | None = None
    """The labels that were drawn in this case, where not all cases of its cohort show the same."""
    manifest_of: str = ""
    """The cohort that its manifest belongs to, where its cases draw different labels; "" for its own."""

    @property
    def person(self) -> tuple[str, str]:
        """Who it is, among all cases of a study: subjects of phantoms may be scanned by several cohorts."""
        return ("" if self.made_by else self.manifest_of or self.cohort, self.subject or self.name)

    @classmethod
    def of(cls, cohort: str, name: str, files: Mapping[str, Path], **others: Any) -> Case:
        """Return a case of files by role, see `files`; `others` are attributes that are no files."""
        images = {role: path for role, path in files.items() if role not in FILE_ROLES}
        others |= {role: files.get(role) for role in FILE_ROLES}
        return cls(cohort, name, images, **others)

    @property
    def files(self) -> dict[str, Path]:
        """All files of the case by role: modalities, ``labels``, ``brain_mask``, ``complete_labels``."""
        others = {role: getattr(self, role) for role in FILE_ROLES}
        return {role: path for role, path in {**self.images, **others}.items() if path is not None}


@dataclass(frozen=True)
class Cohort:
    """A named list of cases that share modalities and a labelling protocol."""

    name: str
    cases: tuple[Case, ...]
    modalities: tuple[str, ...]
    code_map: CodeMap = field(repr=False)
    """What its name says; every case has every modality."""
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """Case -> what is wrong with its files, one line each: `multiseg check` reports them as errors."""
    notes: tuple[str, ...] = ()
    """What `multiseg check` reports as warnings."""
    complete_map: CodeMap | None = field(default=None, repr=False)
    """What the codes of its cases' `complete_labels` mean; None where no case has any."""
    imitates: str = ""
    """The known cohort that it is or stands in for: its phantom preset, its layout, or else its own name."""
    part_of: str = ""
    """The cohort of the params file whose cases draw different labels, of which this is a part; "" for none."""

    @property
    def says_something(self) -> bool:
        """Whether its labels teach anything: it draws some, or has subjects that are known not to have some."""
        return bool(self.code_map.annotates) or not self.code_map.is_silent


def drawn_labels(codes: Codes) -> tuple[str, ...]:
    """Return the labels that codes stand for, each once, in their order."""
    named = [label for value in codes.values() for label in ([value] if isinstance(value, str) else value)]
    return tuple(dict.fromkeys(label for label in named if label not in (BACKGROUND, IGNORE)))
