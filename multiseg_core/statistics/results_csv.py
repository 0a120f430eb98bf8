"""``multiseg compare``: read anybody's results, apply the statistics of the study, write tables and a figure."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pandas as pd

from ..utils.errors import UserError, suggest
from .summaries import KEY

LOWER_IS_BETTER = ("hd95_mm", "assd_mm")
"""Columns of ``metrics.csv`` in which the best value is the smallest."""

REQUIRED = ("model", "case")
OPTIONAL = ("scenario", "seed", "cohort", "label")
ABSENT = "all"
"""What every row has in an optional column that the file does not have."""

MISSING = ("", "na", "n/a", "nan", "none", "-")


# -- reading -------------------------------------------------------------------------------------------------------


def read_results(path: Path, value: str = "dice") -> pd.DataFrame:
    """Read a tidy table of results and check it.

    Parameters
    ----------
    path
        A CSV file with a header, with the columns ``model``, ``case`` and `value`, and possibly ``scenario``, ``seed``,
        ``cohort`` and ``label``. Names are texts. Empty values, NA and NaN are missing.
    value
        The column to compare.

    Returns
    -------
    pd.DataFrame
        ``scenario, model, seed, cohort, case, label`` and `value`; a column that the file lacks holds `ABSENT`.

    Raises
    ------
    UserError
        One line that names the file, and the line or column: unreadable or without rows, a column missing or double, a
        row too short or too long, a value that is no finite number, a name left out, two rows for the same thing,
        fewer than two models or two cases in a scenario.
    """
    lines = _read_lines(path)
    header = [name.strip() for name in lines[0][1]]
    for name in (*REQUIRED, value):
        if name not in header:
            separated = next((mark for mark in (";", "\t") if len(header) == 1 and mark in header[0]), None)
            if separated:
                raise UserError(f"{path}: columns are separated by {separated!r}; expected commas")
            what = "value column" if name == value else "column"
            raise UserError(f"{path}: no {what} '{name}'{suggest(name, header)}; the columns are {', '.join(header)}")
    if value in (*REQUIRED, *OPTIONAL):
        raise UserError(f"{path}: column '{value}' names things; --value takes a column of numbers")
    used = [name for name in (*REQUIRED, *OPTIONAL, value) if name in header]
    for name in used:
        if header.count(name) > 1:
            raise UserError(f"{path}: column '{name}' is there twice")
    places = {name: header.index(name) for name in used}
    seen: dict[tuple[str, ...], int] = {}
    rows = []
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise UserError(f"{path}: line {number}: {len(cells)} cells, but the header has {len(header)}")
        names = {name: cells[place].strip() for name, place in places.items() if name != value}
        empty = next((name for name, text in names.items() if not text), None)
        if empty:
            raise UserError(f"{path}: line {number}: column '{empty}' is empty")
        first = seen.setdefault(tuple(names.values()), number)
        if first != number:
            missing = [name for name in OPTIONAL if name not in header]
            hint = f"; is a column missing ({', '.join(missing)})?" if missing else ""
            key = ", ".join(f"{name} {text}" for name, text in names.items())
            raise UserError(f"{path}: line {number}: {key} is on line {first} already{hint}")
        rows.append({**names, value: _number(path, number, value, cells[places[value]].strip())})
    table = pd.DataFrame({name: [row.get(name, ABSENT) for row in rows] for name in (*KEY, value)})
    for scenario, part in table.groupby("scenario", sort=False):
        where = f"{path}: scenario '{scenario}'" if "scenario" in places else str(path)
        if part["model"].nunique() < 2:
            raise UserError(f"{where}: only one model, '{part['model'].iloc[0]}'; a comparison needs two")
        if len(part[["cohort", "case"]].drop_duplicates()) < 2:
            raise UserError(f"{where}: only one case, '{part['case'].iloc[0]}'; a comparison needs two")
    return table


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the lines of a CSV file that are not empty, with their numbers; at least a header and a row."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # -sig: spreadsheets write a byte order mark
            reader = csv.reader(file)
            lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if len(lines) < 2:
        raise UserError(f"{path}: no rows of results")
    return lines


def _number(path: Path, line: int, column: str, text: str) -> float:
    if text.lower() in MISSING:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        raise UserError(f"{path}: line {line}: column '{column}': '{text}' is not a number") from None
    if math.isinf(number):
        raise UserError(
            f"{path}: line {line}: column '{column}' is infinite; give it a finite worst value first (left out, "
            "it would favour models that predict nothing)"
        )
    return number
