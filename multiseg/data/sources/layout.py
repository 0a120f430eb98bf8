"""Cohorts on disk as their providers hand them out: what a layout can say, and the small engine that finds its cases.

Only names of files are read, never voxels.
"""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from multiseg_core.errors import UserError, suggest

from ...base.files import yaml_beside
from ...settings.params import CohortParams
from ..cohorts import Case, drawn_labels
from .found import Found, names_in, not_excluded

NIFTI = (".nii", ".nii.gz")

_Place = tuple[str, Mapping[str, str]]
"""A case's folder relative to the root, and the named groups of its path."""

_Patterns = Mapping[str, tuple[Sequence[str], Sequence[str]]]
"""Role -> patterns and suffixes."""


@dataclass(frozen=True)
class Variant:
    """One way to take a layout: which files are the images and the labels, and what the codes mean."""

    cases: tuple[str, ...]
    """Where cases lie, below the cohort's folder: ``/``-separated regular expressions, one per level, matched in full
    and whatever the case of letters. Their named groups can be used in `name` and `files`."""
    example: str
    """What such a path looks like, for messages."""
    files: Mapping[str, str | tuple[str, ...]]
    """Modality, ``labels`` or ``brain_mask`` -> one pattern or several to choose from: shell wildcards, letters of
    either case, without the suffix of the file. ``{at}`` is the folder of the case, ``{case}`` its name."""
    codes: Mapping[int, str | Sequence[str]]
    """Native code -> label, list of labels, ``background`` or ``ignore``; 0 is background."""
    absent: tuple[str, ...] = ()
    """Labels that the subjects are known not to have."""
    name: str = "{id}"
    subject: str = ""
    """Templates of the case's name and of its subject's, where several cases may show one."""
    cases_are_files: bool = False
    """`cases` finds files instead of folders; several of them may belong to one case."""


@dataclass(frozen=True)
class Layout:
    """A cohort as it is downloaded."""

    title: str
    """Its name."""
    provider: str
    """Who hands it out, and where."""
    terms: str
    """On which terms, in short; the provider's own page is what counts."""
    n_cases: int
    """Number of cases; another number is worth a warning. 0 if any will do."""
    variants: Mapping[str, Variant]
    """The ways to take it; the first is the default."""
    tops: tuple[str, ...] = ()
    """Folders that downloads add around the cases, besides none."""
    suffixes: tuple[str, ...] = NIFTI
    """Endings of the files."""
    detect: bool = False
    """Take the variant that finds cases instead of the default."""
    labels_on_own_grid: bool = False
    """See `Case`."""
    of_slices: bool = False
    """Its cases are slices, which are put together by subject, see `data.sources.slices`."""
    guess: str = ""
    """What nobody has verified, in a few words; `multiseg check` warns unless the params file states `codes`."""

    @property
    def default(self) -> Variant:
        """The variant that is taken unless the params file names one."""
        return next(iter(self.variants.values()))

    @property
    def origin(self) -> str:
        """Where to get it, as the end of an error message."""
        return f"{self.title} is obtained from {self.provider}, terms: {self.terms}"


LAYOUTS: Mapping[str, Layout] = {
    file.stem: TypeAdapter(Layout).validate_python(yaml_beside(str(file), file.name))
    for file in sorted(Path(__file__).parents[1].glob("layouts/*.yaml"))
}
"""The layouts of ``data/layouts`` by the name that a params file gives as `source`."""


def find(cohort: str, params: CohortParams, folder: Path) -> Found:
    """Find the cases of a layout, the `source` of the params, in a folder as it is or as a download adds some on top.

    `variant` of the params is a key of the layout's variants, the default, or what is found, if None; `files` has
    patterns by role, relative to the case's folder and suffix included, in place of the layout's own. Raises
    `UserError` naming the key at fault, as for a folder that holds cases of two variants; what single cases lack is
    returned.
    """
    layout = LAYOUTS[params.source]
    variant, root, places = _variant(cohort, layout, params.variant, folder)
    patterns = _patterns(cohort, layout, variant, params.files or {})
    cases, problems = [], {}
    for name in not_excluded(cohort, sorted(places, key=_natural), params.exclude, root):
        paths, faults = _case_files(root, name, places[name], patterns)
        if faults:
            problems[name] = faults
        subject = variant.subject.format(**places[name][1])
        cases.append(Case.of(cohort, name, paths, labels_on_own_grid=layout.labels_on_own_grid, subject=subject))
    notes = []
    if layout.n_cases and len(places) != layout.n_cases:
        notes.append(f"{layout.title} has {layout.n_cases} cases, {root} holds {len(places)}")
    if layout.guess and params.codes is None:
        notes.append(f"{layout.guess} that you should check; state cohorts.{cohort}.codes")
    drawn = drawn_labels(variant.codes if params.codes is None else params.codes)
    absent = [label for label in variant.absent if label not in drawn]
    return Found(cases, tuple(cases[0].images), variant.codes, absent, problems=problems, notes=notes)


def _variant(cohort: str, layout: Layout, variant: str | None, folder: Path) -> tuple[Variant, Path, dict[str, _Place]]:
    """Return the variant that is asked for or found, the folder that holds its cases, and those by name."""
    names = [variant] if variant else list(layout.variants) if layout.detect else list(layout.variants)[:1]
    hits = {name: hit for name in names if (hit := _first_top(folder, layout, layout.variants[name]))}
    if not hits:
        looked = " or ".join(dict.fromkeys(layout.variants[name].example for name in names))
        tops = f", in it or in {' or '.join(layout.tops)}" if layout.tops else ""
        raise UserError(f"cohorts.{cohort}.folder: no case in {folder} (looked for {looked}{tops}); {layout.origin}")
    if len(hits) > 1:
        both = " and ".join(hits)
        raise UserError(
            f"cohorts.{cohort}.variant: {folder} holds cases of {both}; say which to take, or point folder at it"
        )
    ((name, (root, places)),) = hits.items()
    return layout.variants[name], root, places


def _first_top(folder: Path, layout: Layout, variant: Variant) -> tuple[Path, dict[str, _Place]] | None:
    """Return the first of the folder and its known top folders that holds cases, with the cases by name."""
    for top in ("", *layout.tops):
        root = folder / top
        places: dict[str, _Place] = {}
        for path in variant.cases:
            for at, groups in _descend(root, path.split("/"), variant.cases_are_files):
                places.setdefault(variant.name.format(**groups), (at, groups))
        if places:
            return root, places
    return None


def _descend(folder: Path, levels: Sequence[str], to_files: bool, at: str = "") -> Iterator[_Place]:
    """Yield the folder (relative) and the named groups of all paths that match regular expressions level by level."""
    for name in names_in(folder / at):
        match = re.fullmatch(levels[0], name, re.IGNORECASE)
        if match is None:
            continue
        below = f"{at}/{name}".lstrip("/")
        if len(levels) > 1:
            for place, groups in _descend(folder, levels[1:], to_files, below):
                yield place, {**match.groupdict(), **groups}
        elif (folder / below).is_dir() != to_files:
            yield at if to_files else below, match.groupdict()


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts 9 before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)] + [(-2, name)]


def _patterns(cohort: str, layout: Layout, variant: Variant, files: Mapping[str, str]) -> _Patterns:
    """Return the patterns of each role, with the params file's in place of the layout's."""
    patterns: dict[str, tuple[Sequence[str], Sequence[str]]] = {
        role: ((given,) if isinstance(given, str) else given, layout.suffixes) for role, given in variant.files.items()
    }
    for role, pattern in files.items():
        known = dict.fromkeys([*variant.files, "brain_mask"])
        if role not in known:
            raise UserError(f"cohorts.{cohort}.files: '{role}' is not one of {', '.join(known)}{suggest(role, known)}")
        if not pattern or pattern.startswith("/"):
            raise UserError(
                f"cohorts.{cohort}.files.{role}: '{pattern}' is not a path relative to the folder of a case"
            )
        patterns[role] = (["{at}/" + pattern], [""])
    return patterns


def _case_files(root: Path, name: str, place: _Place, patterns: _Patterns) -> tuple[dict[str, Path], list[str]]:
    """Return the file of each role and what is wrong with them."""
    at, groups = place
    words = {**groups, "case": name, "at": at}
    paths, faults = {}, []
    for role, (templates, suffixes) in patterns.items():
        wanted = [_fill(template, words) + suffix for template in templates for suffix in suffixes]
        hits = sorted({path for pattern in wanted for path in _match(root, pattern)})
        readable = [re.sub(r"\[(.)\]", r"\1", pattern) for pattern in wanted]
        paths[role] = hits[0] if hits else root / readable[0]
        if not hits:
            faults.append(f"no file for {role} (looked for {', '.join(readable)} in {root})")
        elif len(hits) > 1:
            shown = ", ".join(str(path.relative_to(root)) for path in hits)
            faults.append(f"{len(hits)} files for {role}, which must be one: {shown} in {root}")
    return paths, faults


def _fill(template: str, words: Mapping[str, str]) -> str:
    """Fill in ``{word}``, taken literally. Other braces stay: a params file may hold them."""
    for word, value in words.items():
        template = template.replace("{" + word + "}", glob.escape(value))
    return template.lstrip("/")


def _match(root: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that match a pattern, whatever the case of letters."""
    found = [root]
    for part in pattern.split("/"):
        if part == "..":
            found = [path.parent for path in found]
        elif part not in ("", "."):
            fits = re.compile(fnmatch.translate(part), re.IGNORECASE).match
            found = [folder / name for folder in found for name in names_in(folder) if fits(name)]
    return [path for path in found if path.is_file()]
