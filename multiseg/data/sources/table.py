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

from collections.abc import Mapping, Sequence
from pathlib import Path

from multiseg_core.errors import UserError, suggest

from ...base.files import located, read_lines
from ..cohorts import SPLITS, Case
from ..image_files import SUFFIXES

ROLES = ("case", "labels", "brain_mask", "complete_labels", "split", "subject", "annotates")

UNDRAWN = "none"
"""Stands in the column ``annotates`` for no label at all."""

MOST_ERRORS = 20
"""Lines of a manifest that are told to be wrong, before the rest is only counted."""

_OTHER_NAMES: Mapping[str, str] = {
    "val": "validation", "valid": "validation", "dev": "validation", "training": "train", "testing": "test",
}  # fmt: skip
"""What other programs call the splits."""


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
        If the manifest is missing, lacks a column or a value, names a case twice or an unknown split, or has no
        case; a line for each line of the manifest that is wrong. Whether the images exist is checked later, for all
        cohorts alike.
    """
    try:
        lines = read_lines(manifest)
    except UserError as error:
        raise UserError(f"cohort {cohort}: {error}") from None
    rows = [(n, line) for n, line in lines if any(v.strip() for v in line) and not line[0].startswith("#")]
    columns = [name.strip() for name in rows[0][1]] if rows else []
    if len(columns) == 1 and columns[0].count(";") + columns[0].count("\t"):
        raise UserError(f"{manifest}: its values must be separated by commas")
    for required in ("case", "labels") if drawn else ("case",):
        if required not in columns:
            raise UserError(f"{manifest}: no column '{required}' (found: {', '.join(columns) or 'none'})")
    for name in columns:
        if name not in ROLES and name.lower() in (*ROLES, "mask", "label", "brainmask"):
            raise UserError(f"{manifest}: column '{name}'{suggest(name.lower(), ROLES)}; roles are {', '.join(ROLES)}")
    if "" in columns:
        at_end = " (the line ends with a comma)" if columns[-1] == "" else ""
        raise UserError(f"{manifest} line {rows[0][0]}: a column has no name{at_end}: {', '.join(columns)}")
    if len(set(columns)) != len(columns):
        raise UserError(f"{manifest}: column names must be distinct: {', '.join(columns)}")
    errors: list[tuple[int, str]] = []
    named: list[tuple[int, dict[str, str]]] = []
    for line, texts in rows[1:]:
        if len(texts) != len(columns):
            at_end = "; the line ends with a comma" if texts[-1:] == [""] and len(texts) > len(columns) else ""
            errors.append((line, f"{len(texts)} values for {len(columns)} columns{at_end}"))
        else:
            named.append((line, dict(zip(columns, (text.strip() for text in texts), strict=True))))
    modalities, others = _image_columns(columns, [row for _, row in named])
    if not modalities:
        raise UserError(f"{manifest}: no modality column beside {', '.join(columns)}")
    cases: dict[str, Case] = {}
    for line, row in named:
        if fault := _fault(row, cases, modalities, drawn):
            errors.append((line, fault))
            continue
        files = (*modalities, "labels", "brain_mask", "complete_labels")
        paths = {role: located(manifest.parent, row[role]) for role in files if row.get(role)}
        cases[row["case"]] = Case(
            cohort=cohort,
            name=row["case"],
            images={m: paths[m] for m in modalities if m in paths},
            labels=paths.get("labels"),
            brain_mask=paths.get("brain_mask"),
            split=row.get("split") or None,
            complete_labels=paths.get("complete_labels"),
            subject=row.get("subject", ""),
            annotates=_annotates(row, drawn),
        )
    if errors:
        told = [f"{manifest} line {line}: {fault}" for line, fault in sorted(errors)[:MOST_ERRORS]]
        more = [f"{manifest}: {len(errors) - MOST_ERRORS} more lines are wrong"] if len(errors) > MOST_ERRORS else []
        raise UserError("\n".join(told + more))
    if not cases:
        raise UserError(f"cohort {cohort}: {manifest} lists no case")
    return tuple(cases.values()), modalities, others


def _image_columns(
    columns: Sequence[str], rows: Sequence[Mapping[str, str]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns that name images, and others: those with values of which none ends as files of images do."""
    free = [name for name in columns if name not in ROLES]
    others = tuple(
        name
        for name in free
        if any(row[name] for row in rows) and not any(row[name].lower().endswith(SUFFIXES) for row in rows)
    )
    if len(others) == len(free):  # then they are rather images in a format that nobody knows
        return tuple(free), ()
    return tuple(name for name in free if name not in others), others


def _annotates(row: Mapping[str, str], drawn: Sequence[str]) -> tuple[str, ...] | None:
    """Return the labels that a line says were drawn, in the order of the codes; None if it does not say."""
    text = row.get("annotates", "")
    if not text:
        return None
    named = [] if text.lower() == UNDRAWN else [name.strip() for name in text.split(";") if name.strip()]
    return tuple(label for label in drawn if label in named)


def _fault(row: Mapping[str, str], cases: Mapping[str, Case], modalities: Sequence[str], drawn: Sequence[str]) -> str:
    """Say what is wrong with a line, '' if nothing is."""
    name, split, text = row["case"], row.get("split") or None, row.get("annotates", "")
    for label in [] if text.lower() == UNDRAWN else [part.strip() for part in text.split(";")] if text else []:
        if label not in drawn:
            return f"annotates '{label}', which the codes of its cohort do not name{suggest(label, [*drawn, UNDRAWN])}"
    for required in ("case",) if not drawn or text.lower() == UNDRAWN else ("case", "labels"):
        if not row[required]:
            return f"no value for '{required}'"
    if not any(row[m] for m in modalities):
        return f"no value for '{modalities[0]}'" + (" nor for any other modality" if len(modalities) > 1 else "")
    if name in cases:
        return f"case '{name}' appears twice"
    if "/" in name or name.startswith(".") or len(name) > 100 or not name.isprintable():
        return (
            f"case name '{name[:40]}' must not hold '/' or control characters, start with '.' or be longer than 100 "
            "characters"
        )
    if split is not None and split not in SPLITS:
        meant = _OTHER_NAMES.get(split.lower(), split.lower())
        return f"split '{split}' is not one of {', '.join(SPLITS)}{suggest(meant, SPLITS)}"
    return ""
