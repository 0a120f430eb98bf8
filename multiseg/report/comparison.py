"""``multiseg compare``: read anybody's results, apply the statistics of the study, write tables and a figure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..base.files import write_table, write_text
from ..results import model_comparison
from ..results.bootstrap import LEAST_UNITS
from ..results.results_csv import ABSENT
from . import table_files
from .figures.language import CATALOGUE
from .figures.names import readable

TITLES, NOTES = CATALOGUE["comparison"]["titles"], CATALOGUE["comparison"]["notes"]


@dataclass(frozen=True)
class Comparison:
    """The statistics of one column of results."""

    value: str
    tables: dict[str, pd.DataFrame]
    """``means``, ``differences``, ``non_inferiority`` (with a margin), ``ranks`` and ``subjects_needed``, as
    `results.model_comparison` returns them."""
    warnings: list[str]


# -- comparing -----------------------------------------------------------------------------------------------------


def compare(
    metrics: pd.DataFrame,
    value: str = "dice",
    higher_is_better: bool = True,
    contrasts: Sequence[tuple[str, str]] | None = None,
    margin: float | None = None,
) -> Comparison:
    """Apply the statistics of the study to tidy rows, as `read_results` returns them.

    Parameters
    ----------
    metrics, value, higher_is_better
        What to compare.
    contrasts
        Pairs of models named beforehand; all by default.
    margin
        Judge each pair by it, see `model_comparison.non_inferiority`; not by default.
    """
    means = model_comparison.model_means(metrics, value)
    if metrics["label"].nunique() > 1:
        by_label = metrics.pivot_table(index=["scenario", "model"], columns="label", values=value, sort=False)
        means = means.merge(
            by_label.rename(columns=str), on=["scenario", "model"], how="left", suffixes=("", " (label)")
        )
    differences = model_comparison.paired_comparison(metrics, value, contrasts=contrasts)
    by_scenario = [part for _, part in means.groupby("scenario", sort=False)]
    means = pd.concat(p.sort_values("mean", ascending=not higher_is_better, kind="stable") for p in by_scenario)
    tables = {"means": means, "differences": differences}
    if margin is not None:
        tables["non_inferiority"] = model_comparison.non_inferiority(differences, margin, higher_is_better)
    tables["ranks"] = model_comparison.rank_stability(metrics, value, higher_is_better)
    tables["subjects_needed"] = model_comparison.subjects_table(differences)
    return Comparison(value, tables, _warnings(metrics, differences, value))


def _warnings(metrics: pd.DataFrame, differences: pd.DataFrame, value: str) -> list[str]:
    """Say what a reader of the tables might not notice."""
    several = metrics["scenario"].nunique() > 1
    lines = []
    for scenario, part in metrics.groupby("scenario", sort=False):
        where = f"scenario {scenario}: " if several else ""
        if part[value].isna().any():
            lines.append(f"{where}{part[value].isna().sum()} of {len(part)} values are missing and are left out")
        seeds = part.groupby("model", sort=False)["seed"].agg(set)
        if any(other != seeds.iloc[0] for other in seeds):
            lines.append(f"{where}models have different seeds; a pair is compared on the seeds that both have")
        pairs = differences[differences["scenario"] == scenario]
        lines += (
            f"{where}{row.model_a} and {row.model_b} have {row.n_subjects} subjects in common; nothing to compare"
            for row in pairs[pairs["n_subjects"] < 2].itertuples()
        )
        n = int(pairs["n_subjects"].max()) if len(pairs) else 0
        if 2 <= n < LEAST_UNITS:
            lines.append(f"{where}{n} subjects are too few for intervals, which need {LEAST_UNITS}")
    return lines


# -- showing -------------------------------------------------------------------------------------------------------


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as texts for readers, see `table_files.rounded`; without a scenario if there is none."""
    result = table_files.rounded(table.reset_index(drop=True))
    return result.drop(columns="scenario") if set(table.get("scenario", ())) == {ABSENT} else result


def as_text(comparison: Comparison) -> str:
    """Return all tables with their titles, for a terminal."""
    tables = {f"{TITLES[name]}: {comparison.value}": shown(table) for name, table in comparison.tables.items()}
    return "\n".join(f"{title}\n{table.to_string(index=False)}\n" for title, table in tables.items())


def write(comparison: Comparison, folder: Path) -> Path:
    """Write a comparison to a folder and return the path of its page.

    ``means``, ``differences``, ``ranks`` and ``subjects_needed``, each as ``.csv`` (all digits) and ``.tex`` (rounded;
    needs the package booktabs); the differences drawn in ``forest.png`` and ``.svg``, with ``forest.csv``; and
    ``comparison.html``, one page with everything that needs no network.
    """
    import matplotlib.pyplot as plt

    from .figures import comparison_charts, saving, style

    parts = []
    for name, table in comparison.tables.items():
        write_table(folder / f"{name}.csv", table)
        texts, caption = shown(table), f"{TITLES[name]}: {comparison.value}. {NOTES[name]}"
        write_text(folder / f"{name}.tex", table_files.latex_table(readable(texts), caption, name))
        parts.append({"heading": TITLES[name], "table": table_files.html_table(texts), "note": NOTES[name]})
    style.use_style()
    differences = comparison.tables["differences"]
    figure = comparison_charts.difference_intervals(differences, comparison.value)
    drawn = ["scenario", "model_a", "model_b", "difference", "low", "high", "significant"]
    saving.save(figure, differences[drawn], folder, "forest")
    plt.close(figure)
    picture = base64.b64encode((folder / "forest.png").read_bytes()).decode()
    parts[list(comparison.tables).index("differences")] |= {
        "picture": picture,
        "alt": "Mean differences with intervals",
    }
    title, page = f"Comparison of models: {comparison.value}", folder / "comparison.html"
    values = {"title": title, "warnings": comparison.warnings, "parts": parts, "stem": None}
    write_text(page, table_files.render("table.html.j2", **values))
    return page
