"""Cohorts: where cases come from. One module per source; all deliver a `Cohort`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import UserError, suggest
from ..labels import BACKGROUND, IGNORE, CodeMap
from ..params import CohortParams
from .base import Case, Cohort
from .phantom.source import PRESETS, ensure_files, phantom_cases
from .table import read_manifest

__all__ = ["Case", "Cohort", "ensure_files", "label_order", "load_cohorts"]

SOURCES = ("phantom", "table")

_ONLY_FOR = {"preset": "phantom", "cases": "phantom", "manifest": "table", "codes": "table", "absent": "table"}


def load_cohorts(
    params: Mapping[str, CohortParams], labels: Sequence[str] | None, base: Path, work: Path
) -> tuple[dict[str, Cohort], tuple[str, ...]]:
    """Load all cohorts of a study. No image is read.

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

    Returns
    -------
    cohorts, labels
        Cohorts by name and the labels of the study in order.

    Raises
    ------
    UserError
        Naming the cohort and the key at fault.
    """
    for name, p in params.items():
        _check_keys(name, p)
    found = label_order(params)
    missing = [label for label in found if labels is not None and label not in labels]
    if missing and labels is not None:
        raise UserError(f"labels: '{missing[0]}' of a cohort's codes is not in the list{suggest(missing[0], labels)}")
    labels = found if labels is None else tuple(labels)
    return {name: _load(name, p, labels, base, work) for name, p in params.items()}, labels


def _check_keys(name: str, p: CohortParams) -> None:
    if p.source not in SOURCES:
        raise UserError(f"cohorts.{name}.source: unknown source '{p.source}'{suggest(p.source, SOURCES)}")
    for key, source in _ONLY_FOR.items():
        if getattr(p, key) and p.source != source:
            raise UserError(f"cohorts.{name}.{key}: only for source {source}")
    if p.source == "table":
        for key in ("manifest", "codes"):
            if not getattr(p, key):
                raise UserError(f"missing key 'cohorts.{name}.{key}' (source table needs it)")
    elif (p.preset or name) not in PRESETS:
        raise UserError(
            f"cohorts.{name}.preset: no phantom imitates '{p.preset or name}'{suggest(p.preset or name, PRESETS)}"
        )


def label_order(params: Mapping[str, CohortParams]) -> tuple[str, ...]:
    """Return all label names in the order in which the cohorts name them."""
    found: dict[str, None] = {}
    for name, p in params.items():
        if p.source == "phantom":
            found.update(dict.fromkeys(PRESETS[p.preset or name].annotates))
            continue
        for value in (p.codes or {}).values():
            members = [value] if isinstance(value, str) else value
            found.update(dict.fromkeys(m for m in members if m not in (BACKGROUND, IGNORE)))
    return tuple(found)


def _load(name: str, p: CohortParams, labels: Sequence[str], base: Path, work: Path) -> Cohort:
    if p.source == "phantom":
        preset = PRESETS[p.preset or name]
        codes: Mapping[int, str | Sequence[str]] = preset.codes
        absent = tuple(label for label in preset.absent if label in labels)
        cases = phantom_cases(name, p.preset or name, p.cases or preset.cases, p.voxel_mm, p.seed, work)
        modalities = preset.scanner.modalities
    else:
        assert p.manifest and p.codes
        codes, absent = p.codes, tuple(p.absent)
        cases, modalities = read_manifest(name, base / p.manifest)
    for label in absent:
        if label not in labels:
            raise UserError(f"cohorts.{name}.absent: unknown label '{label}'{suggest(label, labels)}")
    try:
        code_map = CodeMap.build(labels, codes, absent)
    except UserError as error:
        raise UserError(f"cohorts.{name}.codes: {error}") from None
    return Cohort(name, cases, modalities, code_map)
