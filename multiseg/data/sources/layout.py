"""How a cohort lies on disk as its provider hands it out, in words that a small engine can follow (`find.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import yaml
from pydantic import TypeAdapter

from ..cohorts import Case

NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Variant:
    """One way to take a layout: which files are the images and the labels, and what the codes mean.

    Attributes
    ----------
    cases
        Where cases lie, below the cohort's folder: ``/``-separated regular expressions, one per level, matched in
        full and whatever the case of letters. Their named groups can be used in `name` and `files`.
    example
        What such a path looks like, for messages.
    files
        Modality, ``labels`` or ``brain_mask`` -> one pattern or several to choose from: shell wildcards, letters of
        either case, without the suffix of the file. ``{at}`` is the folder of the case, ``{case}`` its name.
    codes
        Native code -> label, list of labels, ``background`` or ``ignore``; 0 is background.
    absent
        Labels that the subjects are known not to have.
    name, subject
        Templates of the case's name and of its subject's, where several cases may show one.
    cases_are_files
        `cases` finds files instead of folders; several of them may belong to one case.
    """

    cases: tuple[str, ...]
    example: str
    files: Mapping[str, str | tuple[str, ...]]
    codes: Mapping[int, str | Sequence[str]]
    absent: tuple[str, ...] = ()
    name: str = "{id}"
    subject: str = ""
    cases_are_files: bool = False


@dataclass(frozen=True)
class Layout:
    """A cohort as it is downloaded.

    Attributes
    ----------
    title
        Its name.
    provider
        Who hands it out, and where.
    terms
        On which terms, in short; the provider's own page is what counts.
    n_cases
        Number of cases; another number is worth a warning. 0 if any will do.
    variants
        The ways to take it; the first is the default.
    tops
        Folders that downloads add around the cases, besides none.
    suffixes
        Endings of the files.
    detect
        Take the variant that finds cases instead of the default.
    labels_on_own_grid
        See `Case`.
    of_slices
        Its cases are slices, which are put together by subject, see `data.sources.slices`.
    guess
        What nobody has verified, in a few words; `multiseg check` warns unless the params file states `codes`.
    """

    title: str
    provider: str
    terms: str
    n_cases: int
    variants: Mapping[str, Variant]
    tops: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = NIFTI
    detect: bool = False
    labels_on_own_grid: bool = False
    of_slices: bool = False
    guess: str = ""

    @property
    def default(self) -> Variant:
        """The variant that is taken unless the params file names one."""
        return next(iter(self.variants.values()))

    @property
    def origin(self) -> str:
        """Where to get it, as the end of an error message."""
        return f"{self.title} is obtained from {self.provider}, terms: {self.terms}"


@dataclass(frozen=True)
class Found:
    """What was found of a layout.

    Attributes
    ----------
    cases
        In natural order of their names. Files that were not found have the path where they should be.
    modalities
        In the order of the layout.
    variant
        The variant taken.
    problems
        Case -> what is wrong with its files, one line each.
    notes
        What is odd but no error, one line each.
    """

    cases: tuple[Case, ...]
    modalities: tuple[str, ...]
    variant: Variant
    problems: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


def _built_in() -> dict[str, Layout]:
    folder = resources.files(__package__.rpartition(".")[0]).joinpath("layouts")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    read = TypeAdapter(Layout).validate_python
    return {f.name.removesuffix(".yaml"): read(yaml.safe_load(f.read_text(encoding="utf-8"))) for f in files}


LAYOUTS: Mapping[str, Layout] = _built_in()
"""The layouts of ``data/layouts`` by the name that a params file gives as `source`."""
