"""Anybody's results, read from a CSV file and checked: what ``multiseg compare`` compares."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd

from multiseg_core.errors import UserError, suggest

from ..base.files import read_table
from .summaries import KEY

HIGHER_IS_BETTER = (
    "dice", "dsc", "f1", "jaccard", "iou", "miou", "sensitivity", "recall", "tpr", "precision", "ppv", "specificity",
    "tnr", "npv", "accuracy", "nsd", "sdice", "surface_dice", "cldice", "auc", "auroc", "auprc", "kappa", "mcc",
    "correlation", "icc", "lesion_f1", "lesion_sensitivity", "lesion_precision",
)  # fmt: skip
LOWER_IS_BETTER = (
    "hd", "hd95", "hd99", "hausdorff", "assd", "asd", "masd", "msd", "mad", "mae", "mse", "rmse", "error", "loss",
    "fpr", "fnr", "avd", "rvd", "vd", "false_ml", "false_positives", "false_negatives", "brier", "ece", "nll",
)  # fmt: skip
"""Measures whose best value is known to be the largest, or the smallest, whatever the case and the unit."""

REQUIRED = ("model", "case")
OPTIONAL = ("scenario", "replicate", "seed", "cohort", "subject", "label")
VOLUMES = ("volume_true_ml", "volume_pred_ml")
"""Tell a label that is rightly not predicted from a value that is missing."""

ABSENT = "all"
"""What every row has in an optional column that the file does not have."""

MISSING = ("", "na", "n/a", "nan", "none", "-")


def read_results(path: Path, value: str = "dice") -> pd.DataFrame:
    """Read a tidy table of results and check it.

    Parameters
    ----------
    path
        A CSV file with a header, with the columns ``model``, ``case`` and `value`, and possibly ``scenario``,
        ``replicate``, ``seed``, ``cohort``, ``subject`` and ``label``. Names are texts. Empty values, NA and NaN are
        missing.
    value
        The column to compare.

    Returns
    -------
    pd.DataFrame
        The columns of `KEY` and `value`, and the volumes that tell a correct emptiness if the file has them. A column
        that the file lacks holds `ABSENT`; without a subject, every case is one.

    Raises
    ------
    UserError
        One line that names the file, and the line or column: unreadable or without rows, a column missing or double, a
        row too short or too long, a value that is no finite number, a name left out, two rows for the same thing,
        fewer than two models or two cases in a scenario.
    """
    texts = read_table(path)
    if texts.empty:
        raise UserError(f"{path}: no rows of results")
    header = list(texts.columns)
    for name in (*REQUIRED, value):
        if name not in header:
            what = "value column" if name == value else "column"
            raise UserError(f"{path}: no {what} '{name}'{suggest(name, header)}; the columns are {', '.join(header)}")
    if value in (*REQUIRED, *OPTIONAL):
        raise UserError(f"{path}: column '{value}' names things; --value takes a column of numbers")
    names = [name for name in KEY if name in header]
    for name in (*names, value):
        if header.count(name) > 1:
            raise UserError(f"{path}: column '{name}' is there twice")
        empty = texts.index[texts[name] == ""]
        if name != value and len(empty):
            raise UserError(f"{path}: line {empty[0]}: column '{name}' is empty")
    _refuse_doubles(path, texts[names])
    table = pd.DataFrame({**{name: texts.get(name, ABSENT) for name in KEY}, value: _numbers(path, texts[value])})
    if "subject" not in names:
        table["subject"] = table["case"]
    for name in VOLUMES if value not in VOLUMES and header.count(VOLUMES[0]) == header.count(VOLUMES[1]) == 1 else ():
        table[name] = _numbers(path, texts[name])
    table = table.reset_index(drop=True)
    for scenario, part in table.groupby("scenario", sort=False):
        where = f"{path}: scenario '{scenario}'" if "scenario" in names else str(path)
        if part["model"].nunique() < 2:
            raise UserError(f"{where}: only one model, '{part['model'].iloc[0]}'; a comparison needs two")
        if len(part[["cohort", "case"]].drop_duplicates()) < 2:
            raise UserError(f"{where}: only one case, '{part['case'].iloc[0]}'; a comparison needs two")
    return table


def higher_is_better(name: str) -> bool | None:
    """Return whether the best value of a measure is the largest, by its name; None for one that is not known."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    for form in (plain, re.sub(r"_(mm|ml|voxels|percent|mean|median)$", "", plain), plain.replace("_", "")):
        if form in HIGHER_IS_BETTER + LOWER_IS_BETTER:
            return form in HIGHER_IS_BETTER
    return None


def _refuse_doubles(path: Path, named: pd.DataFrame) -> None:
    """Raise `UserError` for two rows with the same names."""
    double = named.index[named.duplicated()]
    if double.empty:
        return
    row = named.loc[double[0]]
    first = named.index[(named == row).all(axis=1)][0]
    missing = [name for name in OPTIONAL if name not in named]
    hint = f"; is a column missing ({', '.join(missing)})?" if missing else ""
    key = ", ".join(f"{name} {row[name]}" for name in (*REQUIRED, *OPTIONAL) if name in named)
    raise UserError(f"{path}: line {double[0]}: {key} is on line {first} already{hint}")


def _numbers(path: Path, column: pd.Series) -> list[float]:
    """Return the numbers of a column of texts, whose index are the lines; raises `UserError` for what is none."""
    numbers = []
    for line, text in column.items():
        where = f"{path}: line {line}: column '{column.name}'"
        try:
            numbers.append(math.nan if text.lower() in MISSING else float(text))
        except ValueError:
            raise UserError(f"{where}: '{text}' is not a number") from None
        if math.isinf(numbers[-1]):
            raise UserError(
                f"{where} is infinite; give it a finite worst value first (left out, it would favour models that "
                "predict nothing)"
            )
    return numbers
