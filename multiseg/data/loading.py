"""Cohorts: where cases come from. One module per source; all deliver what `Found` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from multiseg_core.errors import UserError, suggest
from multiseg_core.labels import BACKGROUND, CodeMap, Codes

from ..base.files import located
from ..settings.param_values import NAME
from ..settings.params import CohortParams
from .cohorts import Case, Cohort, drawn_labels
from .sources import bids, layout, nnunet, table
from .sources.found import Found, write_parts
from .sources.layout import LAYOUTS
from .sources.slices import stacked

__all__ = ["LAYOUTS", "Case", "Cohort", "ensure_files", "in_replicate", "load_cohorts"]

_Result = TypeVar("_Result")

FOLDERS = ("nnunet", "bids")
"""Layouts of other programs, whose folders say themselves what their codes mean."""

SOURCES = ("phantom", "table", *FOLDERS, *LAYOUTS)

APART = 1000
"""Between the seeds of two replicates, so that those of people do not meet."""

_ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "preset": ("phantom",), "cases": ("phantom",), "manifest": ("table",),
    "complete_codes": ("table", "phantom"), "absent": ("table", *LAYOUTS, *FOLDERS),
    "folder": (*LAYOUTS, *FOLDERS), "variant": (*LAYOUTS, "bids"), "exclude": (*LAYOUTS, *FOLDERS),
    "files": (*LAYOUTS, *FOLDERS),
}  # fmt: skip


def load_cohorts(
    params: Mapping[str, CohortParams],
    labels: Sequence[str] | None,
    base: Path,
    work: Path,
    data_dir: str | None = None,
) -> tuple[dict[str, Cohort], tuple[str, ...]]:
    """Load all cohorts of a study. No image is read.

    A table whose cases draw different labels becomes several cohorts, one for each set of labels.

    Parameters
    ----------
    params
        Cohort name -> params.
    labels
        The study's foreground labels in order, or None to take them as the cohorts name them.
    base
        Folder to which paths in `params` are relative.
    work
        Folder for files that a cohort generates.
    data_dir
        Folder of the real data, relative to `base`; a layout lies in its sub-folder called like the source.

    Returns
    -------
    cohorts, labels
        Cohorts by name and the labels of the study in order.

    Raises
    ------
    UserError
        Naming the cohort and the key at fault, one line for each cohort that cannot be loaded. What single cases of
        a layout lack is kept in the cohort instead.
    """
    _for_each(params, _check_keys)
    found = _for_each(params, lambda name, p: _find(name, p, base, work, data_dir))
    codes = {name: found[name].codes if p.codes is None else p.codes for name, p in params.items()}
    drawn = tuple(dict.fromkeys(label for of_cohort in codes.values() for label in drawn_labels(of_cohort)))
    names = drawn if labels is None else tuple(labels)
    for label in drawn:
        if label not in names:
            raise UserError(f"labels: '{label}' of a cohort's codes is not in the list{suggest(label, names)}")
    loaded = _for_each(params, lambda name, p: _cohort(name, p, found[name], codes[name], names))
    parts = [part for name, cohort in loaded.items() for part in _parts_of(cohort, params[name], names)]
    cohorts = {part.name: part for part in parts}
    for part in parts:
        if cohorts[part.name] is not part:
            raise UserError(f"cohorts.{part.name}: a part of cohort {part.part_of} gets this name; choose another")
    return cohorts, names


def _parts_of(cohort: Cohort, params: CohortParams, labels: Sequence[str]) -> list[Cohort]:
    """Return a cohort as several, if its cases draw different labels: one for each set of labels, in order of rows."""
    groups: dict[tuple[str, ...], list[Case]] = {}
    for case in cohort.cases:
        drawn = cohort.code_map.annotates if case.annotates is None else case.annotates
        groups.setdefault(drawn, []).append(case)
    if list(groups) == [cohort.code_map.annotates]:
        return [cohort]
    parts = []
    for number, (drawn, cases) in enumerate(groups.items(), start=1):
        name = cohort.name
        if len(groups) > 1:
            name += "." + ("+".join(drawn) or "undrawn")
            name = name if NAME.fullmatch(name) else f"{cohort.name}.{number}"
        codes = {
            code: value if set(drawn_labels({code: value})) <= set(drawn) else BACKGROUND
            for code, value in (params.codes or {}).items()
        }
        own = tuple(replace(case, cohort=name, manifest_of=cohort.name) for case in cases)
        code_map = CodeMap.build(labels, codes, params.absent or ())
        parts.append(replace(cohort, name=name, cases=own, code_map=code_map, part_of=cohort.name, notes=()))
    listed = ", ".join(f"{part.name} ({len(part.cases)} cases)" for part in parts)
    note = f"cohort {cohort.name}: its cases do not all draw the same labels, so it is taken as {listed}"
    parts[0] = replace(parts[0], notes=(*cohort.notes, *([note] if len(parts) > 1 else [])))
    return parts


def in_replicate(
    cohorts: Mapping[str, Cohort], params: Mapping[str, CohortParams], work: Path, replicate: int
) -> dict[str, Cohort]:
    """Return the cohorts of a replicate, from 1: phantoms of other subjects; real cohorts are what they are.

    `cohorts` are those of the first, see `load_cohorts`. The cases of later ones have its number in their names.
    """
    if replicate == 1:
        return dict(cohorts)
    from .phantom.source import phantom_cases  # slow to import

    others = dict(cohorts)
    for name, p in params.items():
        if p.source == "phantom":
            p = p.changed(seed=p.seed + APART * (replicate - 1))
            others[name] = replace(cohorts[name], cases=phantom_cases(name, p, work, f"{name}_r{replicate}"))
    return others


def ensure_files(case: Case) -> None:
    """Write the files of a generated case unless they are there. Other cases are left alone."""
    if case.made_by is not None:
        from .phantom import source  # slow to import

        source.ensure_files(case)


def _for_each(
    params: Mapping[str, CohortParams], function: Callable[[str, CohortParams], _Result]
) -> dict[str, _Result]:
    """Call a function for every cohort; raise what it raised for all of them together, a line each."""
    results, errors = {}, []
    for name, p in params.items():
        try:
            results[name] = function(name, p)
        except UserError as error:
            errors.append(str(error))
    if errors:
        raise UserError("\n".join(errors))
    return results


def _check_keys(name: str, p: CohortParams) -> None:
    if p.source not in SOURCES:
        raise UserError(f"cohorts.{name}.source: unknown source '{p.source}'{suggest(p.source, SOURCES)}")
    for key, sources in _ONLY_FOR.items():
        if getattr(p, key) and p.source not in sources:
            raise UserError(f"cohorts.{name}.{key}: only for source {' or '.join(sources)}, not for {p.source}")
    if p.source in LAYOUTS and p.variant is not None:
        variants = LAYOUTS[p.source].variants
        if len(variants) == 1:
            raise UserError(f"cohorts.{name}.variant: there is only one way to take {p.source}; leave the key out")
        if p.variant not in variants:
            known = f"{', '.join(variants)}{suggest(p.variant, variants)}"
            raise UserError(f"cohorts.{name}.variant: '{p.variant}' is not one of {known}")
    needed = "manifest" if p.source == "table" else "folder" if p.source in FOLDERS else None
    if needed and getattr(p, needed) is None:
        raise UserError(f"missing key 'cohorts.{name}.{needed}' (source {p.source} needs it)")


def _find(name: str, p: CohortParams, base: Path, work: Path, data_dir: str | None) -> Found:
    """Return what the source of a cohort holds."""
    if p.source == "phantom":
        from .phantom import source  # slow to import

        return source.find(name, p, work)
    if p.manifest is not None:
        return table.find(name, p, located(base, p.manifest))
    origin = LAYOUTS[p.source].origin if p.source in LAYOUTS else ""
    if p.folder is None and data_dir is None:
        raise UserError(f"missing key 'data_dir' or 'cohorts.{name}.folder'; {origin}")
    folder = located(base, p.folder) if p.folder is not None else located(base, data_dir or "") / p.source
    if not folder.is_dir():
        raise UserError(f"cohorts.{name}.folder: no such folder: {folder}{origin and f'; {origin}'}")
    if p.source == "bids":
        return bids.find(name, p, folder)
    if p.source == "nnunet":
        found = nnunet.find(name, p, folder, work)
        write_parts(found.parts, name)
        return found
    found = layout.find(name, p, folder)
    return replace(found, cases=stacked(found.cases, found.problems, work)) if LAYOUTS[p.source].of_slices else found


def _cohort(name: str, p: CohortParams, found: Found, codes: Codes, labels: Sequence[str]) -> Cohort:
    """Return a cohort whose codes are mapped to the labels of the study."""
    if p.source in FOLDERS and not codes and not p.absent:
        raise UserError(f"missing key 'cohorts.{name}.codes': {p.folder} does not say what its codes mean")
    for label in p.absent or ():
        if label not in labels:
            raise UserError(f"cohorts.{name}.absent: unknown label '{label}'{suggest(label, labels)}")
    absent = [label for label in found.absent if label in labels] if p.absent is None else p.absent
    complete: Codes | None = p.complete_codes
    complete_map = None
    if complete is None and found.complete_codes is not None:
        known = found.complete_codes.items()
        complete = {code: label if label in labels else BACKGROUND for code, label in known}
    if complete is not None:  # a label of the study that complete labels do not show is not there
        shown = drawn_labels(complete)
        unshown = [label for label in labels if label not in shown]
        complete_map = _code_map(f"cohorts.{name}.complete_codes", labels, complete, unshown)
    return Cohort(
        name,
        tuple(found.cases),
        tuple(found.modalities),
        _code_map(f"cohorts.{name}.codes", labels, codes, absent),
        problems={
            case: tuple(f"cohort {name}, case {case}: {fault}" for fault in faults)
            for case, faults in found.problems.items()
        },
        notes=tuple(f"cohort {name}: {note}" for note in found.notes),
        complete_map=complete_map,
        imitates=(p.preset or name) if p.source == "phantom" else p.source if p.source in LAYOUTS else name,
    )


def _code_map(key: str, labels: Sequence[str], codes: Codes, absent: Sequence[str]) -> CodeMap:
    try:
        return CodeMap.build(labels, codes, absent)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
