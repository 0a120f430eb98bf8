"""Anybody's data: a CSV manifest with one row per case.

Columns: ``case``; one per modality, named as in the scenarios; ``labels``; optionally ``brain_mask``, ``split``
(train, validation or test; blank leaves the choice between train and validation to the study), ``subject`` (the same
for cases of one person) and ``complete_labels`` (a file that labels everything, for the upper bound ``oracle``). Paths
are relative to the manifest. Blank lines and lines that start with # are skipped.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

from ..utils.errors import UserError, one_line, suggest
from .base import SPLITS, Case

ROLES = ("case", "labels", "brain_mask", "complete_labels", "split", "subject")


def read_manifest(cohort: str, manifest: Path) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Read a manifest.

    Parameters
    ----------
    cohort
        Name of the cohort.
    manifest
        The CSV file.

    Returns
    -------
    cases, modalities
        The cases in file order and the modality columns.

    Raises
    ------
    UserError
        If the manifest is missing, lacks a column or a value, names a case twice or an unknown split, or has no
        case. Whether the images exist is checked later, for all cohorts alike.
    """
    rows: list[tuple[int, list[str]]] = []
    try:
        with open(manifest, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows += (
                (reader.line_num, line)
                for line in reader
                if any(value.strip() for value in line) and not line[0].startswith("#")
            )
    except FileNotFoundError:
        raise UserError(f"cohort {cohort}: no such manifest: {manifest}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cohort {cohort}: {manifest}: cannot be read as CSV in UTF-8 ({one_line(error)})") from None
    columns = [name.strip() for name in rows[0][1]] if rows else []
    if len(columns) == 1 and columns[0].count(";") + columns[0].count("\t"):
        raise UserError(f"{manifest}: its values must be separated by commas")
    for required in ("case", "labels"):
        if required not in columns:
            raise UserError(f"{manifest}: no column '{required}' (found: {', '.join(columns) or 'none'})")
    for name in columns:
        if name not in ROLES and name.lower() in (*ROLES, "mask", "label", "brainmask"):
            raise UserError(f"{manifest}: column '{name}'{suggest(name.lower(), ROLES)}; roles are {', '.join(ROLES)}")
    modalities = tuple(name for name in columns if name not in ROLES)
    if not modalities:
        raise UserError(f"{manifest}: no modality column beside {', '.join(columns)}")
    if len(set(columns)) != len(columns) or "" in columns:
        raise UserError(f"{manifest}: column names must be distinct and not empty: {', '.join(columns)}")
    cases: dict[str, Case] = {}
    for line, texts in rows[1:]:
        if len(texts) != len(columns):
            raise UserError(f"{manifest} line {line}: {len(texts)} values for {len(columns)} columns")
        row = dict(zip(columns, (text.strip() for text in texts), strict=True))
        for required in ("case", "labels", *modalities):
            if not row[required]:
                raise UserError(f"{manifest} line {line}: no value for '{required}'")
        name, split = row["case"], row.get("split") or None
        if name in cases:
            raise UserError(f"{manifest} line {line}: case '{name}' appears twice")
        if "/" in name or name.startswith(".") or len(name) > 100 or not name.isprintable():
            raise UserError(
                f"{manifest} line {line}: case name '{name[:40]}' must not hold '/' or control characters, start with "
                "'.' or be longer than 100 characters"
            )
        if split is not None and split not in SPLITS:
            raise UserError(
                f"{manifest} line {line}: split '{split}' is not one of {', '.join(SPLITS)}{suggest(split, SPLITS)}"
            )
        files = (*modalities, "labels", "brain_mask", "complete_labels")
        paths = {role: _path(manifest, row[role]) for role in files if row.get(role)}
        cases[name] = Case(
            cohort=cohort,
            name=name,
            images={m: paths[m] for m in modalities},
            labels=paths["labels"],
            brain_mask=paths.get("brain_mask"),
            split=split,
            complete_labels=paths.get("complete_labels"),
            subject=row.get("subject", ""),
        )
    if not cases:
        raise UserError(f"cohort {cohort}: {manifest} lists no case")
    return tuple(cases.values()), modalities


def _path(manifest: Path, value: str) -> Path:
    """Return a path relative to the manifest, without the detours that make it hard to read."""
    return Path(os.path.normpath(manifest.parent / value))
