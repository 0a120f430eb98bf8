"""Cohorts: where cases come from. One module per source; all deliver a `Cohort`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from multiseg_core.errors import UserError, suggest
from multiseg_core.labels import BACKGROUND, IGNORE, CodeMap, Codes

from ..base.files import located
from ..settings.param_values import NAME
from ..settings.params import CohortParams
from .cohorts import Case, Cohort
from .sources import bids, nnunet
from .sources.find import find_cases
from .sources.folder import FolderCohort, write_parts
from .sources.layout import LAYOUTS
from .sources.slices import stacked
from .sources.table import read_manifest

__all__ = ["LAYOUTS", "Case", "Cohort", "ensure_files", "in_replicate", "label_order", "load_cohorts"]

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

    A table whose cases draw different labels becomes several cohorts, one for each set of labels, see `parts_of`.

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
    folders = _for_each(params, lambda name, p: _read_folder(name, p, base, work, data_dir))
    params = {name: _with_codes(p, folders[name]) for name, p in params.items()}
    found = label_order(params)
    missing = [label for label in found if labels is not None and label not in labels]
    if missing and labels is not None:
        raise UserError(f"labels: '{missing[0]}' of a cohort's codes is not in the list{suggest(missing[0], labels)}")
    names = found if labels is None else tuple(labels)
    loaded = _for_each(params, lambda name, p: _load(name, p, names, base, work, data_dir, folders[name]))
    parts = [part for name, found in loaded.items() for part in parts_of(found, params[name], names)]
    cohorts = {part.name: part for part in parts}
    for part in parts:
        if cohorts[part.name] is not part:
            raise UserError(f"cohorts.{part.name}: a part of cohort {part.part_of} gets this name; choose another")
    return cohorts, names


def parts_of(cohort: Cohort, params: CohortParams, labels: Sequence[str]) -> list[Cohort]:
    """Return a cohort as several, if its cases draw different labels: one for each set of labels, in order of rows.

    Parameters
    ----------
    cohort
        As loaded.
    params
        Its params.
    labels
        All labels of the study.
    """
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
            code: value
            if value in (BACKGROUND, IGNORE) or set([value] if isinstance(value, str) else value) <= set(drawn)
            else BACKGROUND
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
    """Return the cohorts of a replicate: phantoms of other subjects; real cohorts are what they are.

    Parameters
    ----------
    cohorts, params, work
        See `load_cohorts`, which gives the first replicate.
    replicate
        From 1. The cases of later ones have its number in their names.
    """
    if replicate == 1:
        return dict(cohorts)
    return {
        name: replace(cohort, cases=_phantoms(name, params[name], len(cohort.cases), work, replicate))
        if params[name].source == "phantom"
        else cohort
        for name, cohort in cohorts.items()
    }


def _phantoms(name: str, p: CohortParams, n_cases: int, work: Path, replicate: int) -> tuple[Case, ...]:
    from .phantom.source import phantom_cases  # slow to import

    seed = p.seed + APART * (replicate - 1)
    prefix = name if replicate == 1 else f"{name}_r{replicate}"
    return phantom_cases(name, p.preset or name, n_cases, p.voxel_mm, seed, work, prefix)


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
    if p.source in LAYOUTS:
        variants = LAYOUTS[p.source].variants
        if p.variant is not None and len(variants) == 1:
            raise UserError(f"cohorts.{name}.variant: there is only one way to take {p.source}; leave the key out")
        if p.variant is not None and p.variant not in variants:
            raise UserError(
                f"cohorts.{name}.variant: '{p.variant}' is not one of {', '.join(variants)}"
                f"{suggest(p.variant, variants)}"
            )
    elif p.source == "table":
        if p.manifest is None:
            raise UserError(f"missing key 'cohorts.{name}.manifest' (source table needs it)")
    elif p.source in FOLDERS:
        if p.folder is None:
            raise UserError(f"missing key 'cohorts.{name}.folder' (source {p.source} needs it)")
    else:
        from .phantom.source import PRESETS  # slow to import

        if (p.preset or name) not in PRESETS:
            known = suggest(p.preset or name, PRESETS)
            raise UserError(f"cohorts.{name}.preset: no phantom imitates '{p.preset or name}'{known}")


def ensure_files(case: Case) -> None:
    """Write the files of a generated case unless they are there. Other cases are left alone."""
    if case.made_by is not None:
        from .phantom import source  # slow to import

        source.ensure_files(case)


def label_order(params: Mapping[str, CohortParams]) -> tuple[str, ...]:
    """Return all label names in the order in which the cohorts name them."""
    found: dict[str, None] = {}
    for name, p in params.items():
        if p.source == "phantom" and p.codes is None:
            from .phantom.source import PRESETS  # slow to import

            found.update(dict.fromkeys(PRESETS[p.preset or name].annotates))
            continue
        for value in _stated_codes(p).values():
            members = [value] if isinstance(value, str) else value
            found.update(dict.fromkeys(m for m in members if m not in (BACKGROUND, IGNORE)))
    return tuple(found)


def _stated_codes(p: CohortParams) -> Codes:
    """Return the codes of a params file, or else of the layout: variants that are detected draw the same labels."""
    if p.codes is not None or p.source not in LAYOUTS:
        return p.codes or {}
    layout = LAYOUTS[p.source]
    return (layout.variants[p.variant] if p.variant else layout.default).codes


def _read_folder(name: str, p: CohortParams, base: Path, work: Path, data_dir: str | None) -> FolderCohort | None:
    """Return what a folder of another program holds; None for other sources."""
    if p.source not in FOLDERS:
        return None
    folder = _folder(name, p, base, data_dir)
    if p.source == "nnunet":
        found = nnunet.read_folder(name, folder, work, p.exclude, p.files)
        write_parts(found.parts, name)
        return found
    return bids.read_folder(name, folder, p.exclude, p.variant, p.files, needs_labels=p.codes != {})


def _with_codes(p: CohortParams, found: FolderCohort | None) -> CohortParams:
    """Return params with the codes of a folder, unless they state codes."""
    if found is None or p.codes is not None:
        return p
    codes: dict[Any, str | list[str]] = dict(found.codes)
    return replace(p, codes=codes)


def _load(
    name: str,
    p: CohortParams,
    labels: Sequence[str],
    base: Path,
    work: Path,
    data_dir: str | None,
    folder: FolderCohort | None,
) -> Cohort:
    problems: Mapping[str, tuple[str, ...]] = {}
    notes: tuple[str, ...] = ()
    complete: Codes | None = None
    if p.source == "phantom":
        from .phantom.source import CODES, HEADS, PRESETS, modalities_of  # slow to import

        preset = PRESETS[p.preset or name]
        codes: Codes = preset.codes if p.codes is None else p.codes
        absent = tuple(label for label in preset.absent if label in labels)
        cases = _phantoms(name, p, p.cases or preset.cases, work, 1)
        modalities = modalities_of(p.preset or name)
        complete = p.complete_codes
        if p.codes is None and complete is None:
            there = {code: label for label, code in CODES.items()} if (p.preset or name) in HEADS else preset.codes
            complete = {code: label if label in labels else BACKGROUND for code, label in there.items()}
    elif folder is not None:
        cases, modalities, problems, notes = folder.cases, folder.modalities, folder.problems, folder.notes
        codes, absent = p.codes or {}, ()
        if not codes and not p.absent:
            raise UserError(f"missing key 'cohorts.{name}.codes': {p.folder} does not say what its codes mean")
    elif p.source in LAYOUTS:
        layout = LAYOUTS[p.source]
        found = find_cases(name, layout, _folder(name, p, base, data_dir), p.variant, p.exclude, p.files)
        cases, modalities, problems, notes = found.cases, found.modalities, found.problems, found.notes
        cases = stacked(cases, problems, work) if layout.of_slices else cases
        codes = found.variant.codes if p.codes is None else p.codes
        drawn = {member for value in codes.values() for member in ([value] if isinstance(value, str) else value)}
        absent = tuple(label for label in found.variant.absent if label in labels and label not in drawn)
        if layout.guess and p.codes is None:
            notes += (f"cohort {name}: {layout.guess} that you should check; state cohorts.{name}.codes",)
    else:
        assert p.manifest is not None
        codes, absent = p.codes or {}, ()
        cases, modalities, others = read_manifest(name, located(base, p.manifest), label_order({name: p}))
        if not p.codes and not p.absent and any(case.labels for case in cases):
            raise UserError(
                f"missing key 'cohorts.{name}.codes': what do those of the labels in {p.manifest} mean?"
                if p.codes is None
                else f"cohorts.{name}.codes: names no code; of controls, say what they are known not to have: "
                f"cohorts.{name}.absent"
            )
        if others:
            listed = ", ".join(others)
            notes += (
                f"cohort {name}: column{'s' * (len(others) > 1)} {listed} of {p.manifest}: no images, left alone",
            )
        complete = p.complete_codes
        if (complete is not None) != any(case.complete_labels for case in cases):
            raise UserError(
                f"cohorts.{name}.complete_codes: needed with a column 'complete_labels' in the manifest, and only then"
            )
    if p.absent is not None:
        absent = tuple(p.absent)
    for label in absent:
        if label not in labels:
            raise UserError(f"cohorts.{name}.absent: unknown label '{label}'{suggest(label, labels)}")
    imitates = {"phantom": p.preset or name}.get(p.source, p.source if p.source in LAYOUTS else name)
    try:
        code_map = CodeMap.build(labels, codes, absent)
    except UserError as error:
        raise UserError(f"cohorts.{name}.codes: {error}") from None
    return Cohort(name, cases, modalities, code_map, problems, notes, _complete_map(name, labels, complete), imitates)


def _complete_map(name: str, labels: Sequence[str], codes: Codes | None) -> CodeMap | None:
    """Return what complete labels mean: a label of the study that they do not show is not there."""
    if codes is None:
        return None
    shown = {label for value in codes.values() for label in ([value] if isinstance(value, str) else value)}
    try:
        return CodeMap.build(labels, codes, [label for label in labels if label not in shown])
    except UserError as error:
        raise UserError(f"cohorts.{name}.complete_codes: {error}") from None


def _folder(name: str, p: CohortParams, base: Path, data_dir: str | None) -> Path:
    """Return the folder of a layout's files."""
    if p.folder is not None:
        return located(base, p.folder)
    if data_dir is not None:
        return located(base, data_dir) / p.source
    raise UserError(f"missing key 'data_dir' or 'cohorts.{name}.folder'; {LAYOUTS[p.source].origin}")
