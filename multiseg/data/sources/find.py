"""Find the cases of a layout below a folder. Only names of files are read, never voxels."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from multiseg_core.errors import UserError, suggest

from ..cohorts import Case
from .layout import Found, Layout, Variant

_Place = tuple[str, Mapping[str, str]]
"""A case's folder relative to the root, and the named groups of its path."""


def find_cases(
    cohort: str,
    layout: Layout,
    folder: Path,
    variant: str | None = None,
    exclude: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> Found:
    """Find the cases of a layout and their files.

    Parameters
    ----------
    cohort
        Name of the cohort in the study.
    layout
        What is looked for.
    folder
        Where it lies, with or without the folders that a download adds on top.
    variant
        A key of the layout's variants; the default, or what is found, if None.
    exclude
        Names of cases to leave out.
    files
        Role -> pattern relative to the case's folder, suffix included, in place of the layout's own.

    Raises
    ------
    UserError
        If the folder is missing, holds no case or cases of two variants, or if `exclude` or `files` name what is not
        there. What single cases lack is returned.
    """
    where = f"cohorts.{cohort}"
    if not folder.is_dir():
        raise UserError(f"{where}.folder: no such folder: {folder}; {layout.origin}")
    names = [variant] if variant else list(layout.variants) if layout.detect else list(layout.variants)[:1]
    hits = {name: hit for name in names if (hit := _first_top(folder, layout, layout.variants[name]))}
    if not hits:
        looked = " or ".join(dict.fromkeys(layout.variants[name].example for name in names))
        tops = f", in it or in {' or '.join(layout.tops)}" if layout.tops else ""
        raise UserError(f"{where}.folder: no case in {folder} (looked for {looked}{tops}); {layout.origin}")
    if len(hits) > 1:
        raise UserError(
            f"{where}.variant: {folder} holds cases of {' and '.join(hits)}; say which to take, or point folder at it"
        )
    chosen, (root, places) = next(iter(hits.items()))
    kind = layout.variants[chosen]
    patterns = _patterns(where, layout, kind, files or {})
    for name in exclude:
        if name not in places:
            raise UserError(f"{where}.exclude: no case '{name}' in {root}{suggest(name, places)}")
    kept = [name for name in sorted(places, key=_natural) if name not in exclude]
    if not kept:
        raise UserError(f"{where}.exclude: leaves no case")
    notes = []
    if layout.n_cases and len(places) != layout.n_cases:
        notes.append(f"cohort {cohort}: {layout.title} has {layout.n_cases} cases, {root} holds {len(places)}")
    cases = []
    problems: dict[str, tuple[str, ...]] = {}
    for name in kept:
        paths, faults = _case_files(root, name, places[name], patterns)
        if faults:
            problems[name] = tuple(f"cohort {cohort}, case {name}: {fault}" for fault in faults)
        cases.append(
            Case(
                cohort=cohort,
                name=name,
                images={role: path for role, path in paths.items() if role not in ("labels", "brain_mask")},
                labels=paths["labels"],
                brain_mask=paths.get("brain_mask"),
                labels_on_own_grid=layout.labels_on_own_grid,
                subject=kind.subject.format(**places[name][1]),
            )
        )
    return Found(tuple(cases), tuple(cases[0].images), kind, problems, tuple(notes))


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
    for entry in _entries(folder / at):
        match = re.fullmatch(levels[0], entry, re.IGNORECASE)
        if match is None:
            continue
        below = f"{at}/{entry}".lstrip("/")
        is_folder = (folder / below).is_dir()
        if len(levels) > 1:
            for place, groups in _descend(folder, levels[1:], to_files, below) if is_folder else ():
                yield place, {**match.groupdict(), **groups}
        elif is_folder != to_files:
            yield at if to_files else below, match.groupdict()


def _entries(folder: Path) -> list[str]:
    """Return the names in a folder, sorted, without hidden ones; none if there is no such folder."""
    return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if folder.is_dir() else []


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts 9 before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)] + [(-2, name)]


def _patterns(
    where: str, layout: Layout, variant: Variant, files: Mapping[str, str]
) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return role -> (patterns, suffixes), with the params file's patterns in place of the layout's."""
    patterns = {
        role: ((given,) if isinstance(given, str) else given, layout.suffixes) for role, given in variant.files.items()
    }
    for role, pattern in files.items():
        known = dict.fromkeys([*variant.files, "brain_mask"])
        if role not in known:
            raise UserError(f"{where}.files: '{role}' is not one of {', '.join(known)}{suggest(role, known)}")
        if not pattern or pattern.startswith("/"):
            raise UserError(f"{where}.files.{role}: '{pattern}' is not a path relative to the folder of a case")
        patterns[role] = (("{at}/" + pattern,), ("",))
    return patterns


def _case_files(
    root: Path, name: str, place: _Place, patterns: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
) -> tuple[dict[str, Path], list[str]]:
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
        if part in ("", "."):
            continue
        if part == "..":
            found = [path.parent for path in found]
        else:
            found = [
                path / entry
                for path in found
                for entry in _entries(path)
                if fnmatch.fnmatchcase(entry.lower(), part.lower())
            ]
    return [path for path in found if path.is_file()]
