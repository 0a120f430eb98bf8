"""Anybody's data: a CSV manifest with one row per case.

Columns: ``case``; one per modality, named as in the scenarios, blank where a case does not have it; ``labels``, unless
no case has any. Optionally ``brain_mask``; ``split`` (train, validation or test; blank leaves the choice between train
and validation to the study); ``subject`` (the same for cases of one person); ``complete_labels`` (a file that labels
everything, for the upper bound ``oracle``); and ``annotates`` (the labels that were drawn in a case, as ``csf; gm``,
where it is not all that the cohort's codes name; ``none`` for a case without labels). Columns that hold no names of
images, such as an age, are left alone. Paths are relative to the manifest. Blank lines and lines that start with # are
skipped.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from multiseg_core.errors import UserError, suggest

from ...base.files import located, read_lines
from ...settings.params import CohortParams
from ..cohorts import FILE_ROLES, SPLITS, Case, drawn_labels
from ..image_files import SUFFIXES
from .found import Found

ROLES = ("case", *FILE_ROLES, "split", "subject", "annotates")

UNDRAWN = "none"
"""Stands in the column ``annotates`` for no label at all."""

MOST_ERRORS = 20
"""Lines of a manifest that are told to be wrong, before the rest is only counted."""

_OTHER_NAMES: Mapping[str, str] = {
    "val": "validation", "valid": "validation", "dev": "validation", "training": "train", "testing": "test",
}  # fmt: skip
"""What other programs call the splits."""


def find(cohort: str, params: CohortParams, manifest: Path) -> Found:
    """Read the manifest of a cohort, see `read_manifest`; its codes must say what the labels mean."""
    cases, modalities, others = read_manifest(cohort, manifest, drawn_labels(params.codes or {}))
    if not params.codes and not params.absent and any(case.labels for case in cases):
        raise UserError(
            f"missing key 'cohorts.{cohort}.codes': what do those of the labels in {params.manifest} mean?"
            if params.codes is None
            else f"cohorts.{cohort}.codes: names no code; of controls, say what they are known not to have: "
            f"cohorts.{cohort}.absent"
        )
    if (params.complete_codes is not None) != any(case.complete_labels for case in cases):
        raise UserError(
            f"cohorts.{cohort}.complete_codes: needed with a column 'complete_labels' in the manifest, and only then"
        )
    columns = f"column{'s' * (len(others) > 1)} {', '.join(others)} of {params.manifest}"
    return Found(cases, modalities, notes=[f"{columns}: no images, left alone"] if others else [])


def read_manifest(
    cohort: str, manifest: Path, drawn: Sequence[str] = ()
) -> tuple[tuple[Case, ...], tuple[str, ...], tuple[str, ...]]:
    """Read a manifest.

    Parameters
    ----------
    cohort
        Name of the cohort.
    manifest
        The CSV file.
    drawn
        The labels that the cohort's codes name. Without any, no case needs labels.

    Returns
    -------
    cases, modalities, others
        The cases in file order, the modality columns, and the columns that hold no images.

    Raises
    ------
    UserError
        If the manifest is missing, lacks a column or has no case; a line for each of its lines that is wrong.
    """
    try:
        lines = read_lines(manifest)
    except UserError as error:
        raise UserError(f"cohort {cohort}: {error}") from None
    lines = [(n, [v.strip() for v in line]) for n, line in lines if any(map(str.strip, line)) and line[0][:1] != "#"]
    (first, columns), *rows = lines or [(0, [])]
    _check_columns(manifest, first, columns, ("case", "labels") if drawn else ("case",))
    errors: list[tuple[int, str]] = []
    named: list[tuple[int, dict[str, str]]] = []
    for line, texts in rows:
        if len(texts) == len(columns):
            named.append((line, dict(zip(columns, texts, strict=True))))
        else:
            at_end = "; the line ends with a comma" if texts[-1] == "" and len(texts) > len(columns) else ""
            errors.append((line, f"{len(texts)} values for {len(columns)} columns{at_end}"))
    modalities, others = _image_columns(columns, [row for _, row in named])
    if not modalities:
        raise UserError(f"{manifest}: no modality column beside {', '.join(columns)}")
    cases: dict[str, Case] = {}
    for line, row in named:
        text, name = row.get("annotates", ""), row["case"]
        annotates = None if not text else [] if text.lower() == UNDRAWN else [part.strip() for part in text.split(";")]
        if fault := _fault(row, annotates, modalities, drawn, cases):
            errors.append((line, fault))
            continue
        files = {role: located(manifest.parent, row[role]) for role in (*modalities, *FILE_ROLES) if row.get(role)}
        labels = None if annotates is None else tuple(label for label in drawn if label in annotates)
        split, subject = row.get("split") or None, row.get("subject", "")
        cases[name] = Case.of(cohort, name, files, split=split, subject=subject, annotates=labels)
    if errors:
        told = [f"{manifest} line {line}: {fault}" for line, fault in sorted(errors)[:MOST_ERRORS]]
        more = [f"{manifest}: {len(errors) - MOST_ERRORS} more lines are wrong"] if len(errors) > MOST_ERRORS else []
        raise UserError("\n".join(told + more))
    if not cases:
        raise UserError(f"cohort {cohort}: {manifest} lists no case")
    return tuple(cases.values()), modalities, others


def _check_columns(manifest: Path, line: int, columns: Sequence[str], required: Sequence[str]) -> None:
    """Raise `UserError` for a header that cannot be meant so."""
    if len(columns) == 1 and columns[0].count(";") + columns[0].count("\t"):
        raise UserError(f"{manifest}: its values must be separated by commas")
    for name in required:
        if name not in columns:
            raise UserError(f"{manifest}: no column '{name}' (found: {', '.join(columns) or 'none'})")
    for name in columns:
        if name not in ROLES and name.lower() in (*ROLES, "mask", "label", "brainmask"):
            raise UserError(f"{manifest}: column '{name}'{suggest(name.lower(), ROLES)}; roles are {', '.join(ROLES)}")
    if "" in columns:
        at_end = " (the line ends with a comma)" if columns[-1] == "" else ""
        raise UserError(f"{manifest} line {line}: a column has no name{at_end}: {', '.join(columns)}")
    if len(set(columns)) != len(columns):
        raise UserError(f"{manifest}: column names must be distinct: {', '.join(columns)}")


def _image_columns(
    columns: Sequence[str], rows: Sequence[Mapping[str, str]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns that name images, and others: those with values of which none ends as files of images do."""
    free = [name for name in columns if name not in ROLES]
    values = {name: [row[name].lower() for row in rows if row[name]] for name in free}
    others = [name for name in free if values[name] and not any(text.endswith(SUFFIXES) for text in values[name])]
    if others == free:  # then they are rather images in a format that nobody knows
        others = []
    return tuple(name for name in free if name not in others), tuple(others)


def _fault(
    row: Mapping[str, str],
    annotates: Sequence[str] | None,
    modalities: Sequence[str],
    drawn: Sequence[str],
    earlier: Container[str],
) -> str:
    """Say what is wrong with a line, '' if nothing is."""
    name, split = row["case"], row.get("split", "")
    for label in annotates or []:
        if label not in drawn:
            return f"annotates '{label}', which the codes of its cohort do not name{suggest(label, [*drawn, UNDRAWN])}"
    for required in ("case", "labels") if drawn and annotates != [] else ("case",):
        if not row[required]:
            return f"no value for '{required}'"
    if not any(row[m] for m in modalities):
        return f"no value for '{modalities[0]}'" + (" nor for any other modality" if len(modalities) > 1 else "")
    if name in earlier:
        return f"case '{name}' appears twice"
    if "/" in name or name.startswith(".") or len(name) > 100 or not name.isprintable():
        return (
            f"case name '{name[:40]}' must not hold '/' or control characters, start with '.' or be longer than 100 "
            "characters"
        )
    if split and split not in SPLITS:
        meant = _OTHER_NAMES.get(split.lower(), split.lower())
        return f"split '{split}' is not one of {', '.join(SPLITS)}{suggest(meant, SPLITS)}"
    return ""
