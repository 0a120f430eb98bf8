"""Tables as texts: rounded for readers, flat for CSV, and as HTML and LaTeX for a browser and a paper."""

from __future__ import annotations

import itertools
import operator
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from .figures import names
from .figures.language import say

LONG_TEXT = 40
"""A column with longer texts than this, in characters, is broken into lines."""

LONG_TABLE = 14
"""A table of more rows than this is folded."""

MISSING = "–"
"""Stands for what does not exist."""

SCENARIO = "scenario"
"""The column by which rows are grouped."""

P_VALUES = ("p", "p_holm", "p_corrected")
"""Columns of p values, which say "<0.001" where they are smaller."""

TEMPLATES = Path(__file__).parent / "templates"

_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
)


def number(value: float) -> str:
    """Format a number of a table: three decimals, one for large numbers, two digits for what would read 0.000."""
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.2g}"


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as texts for readers.

    Numbers by `number`, but whole ones without decimals where a column counts something; *yes* and *no*; `MISSING` for
    what is not defined.
    """
    texts: dict[int, list[str]] = {}
    for place, (name, column) in enumerate(table.items()):
        known = column.dropna() if pd.api.types.is_float_dtype(column) else column[:0]
        # counts are floats only where some are missing
        counts = len(known) > 0 and bool((known % 1 == 0).all()) and known.abs().max() > 1
        texts[place] = [_text(value, counts, name in P_VALUES) for value in column]
    result = pd.DataFrame(texts, index=table.index, columns=range(len(texts)), dtype=object)
    return result.set_axis(table.columns, axis=1)


def _text(value: object, counts: bool, is_p: bool) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return MISSING
    if not isinstance(value, float):
        return " ".join(str(value).split())
    if is_p and value < 0.001:
        return "<0.001"
    return f"{value:.0f}" if counts else number(value)


def flat(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with one level of columns, joined by underscores, and its index as columns: for CSV.

    An index that only counts the rows is left out. An index and a column without a name become *name* and *value*.
    """
    columns = [
        "_".join(map(str, c)) if isinstance(c, tuple) else str(c) or "value" for c in table.columns.to_flat_index()
    ]
    result = table.set_axis(columns, axis=1)
    if _only_counts_rows(table):
        return result.reset_index(drop=True)
    return result.reset_index(names=[str(name or "name") for name in table.index.names])


def _only_counts_rows(table: pd.DataFrame) -> bool:
    return isinstance(table.index, pd.RangeIndex) and table.index.name is None


def _has_names(table: pd.DataFrame) -> bool:
    """Whether a column has a name; a table of facts, one a row, needs none."""
    return any(str(name) for name in table.columns.to_flat_index())


# -- HTML ----------------------------------------------------------------------------------------------------------


def render(template: str, **values: object) -> str:
    """Return a page of HTML made from one of the templates."""
    return _PAGES.get_template(template).render(**values)


def interval_bar(value: float, low: float, high: float, margin: float = float("nan"), threshold: float = 0.0) -> str:
    """Return a value and its interval as SVG, with a line at `threshold`; empty without an interval."""
    if not np.isfinite([value, low, high]).all():
        return ""
    band = abs(margin) if np.isfinite(margin) else 0.0
    reach = 1.1 * max(abs(v) for v in (value - threshold, low - threshold, high - threshold, band, 1e-9))
    text = f"95 % interval {number(low)} to {number(high)}" + (f", margin {number(band)}" if band else "")
    given = {"value": value, "low": low, "high": high, "threshold": threshold}
    return render("interval.svg.j2", **given, band=band, reach=reach, text=text)


def html_table(texts: pd.DataFrame, fold: bool = True) -> str:
    """Return a table of texts as HTML for the pages of a report, which style it and let it be sorted.

    Names become readable, see `names`. Rows of several scenarios stand in groups below their titles; a scenario that
    all rows share is left out, and so are columns without any value. Columns of words are aligned to the left. A
    table that is too wide scrolls, and one of more than `LONG_TABLE` rows is folded, unless `fold` is false or it is
    one of facts.
    """
    texts = texts.loc[:, [not (len(c) and (c == MISSING).all()) for _, c in texts.items()]]
    headed = _has_names(texts)
    texts, scenarios = _without_scenario(texts)
    shown = names.readable(texts)
    if not _only_counts_rows(shown):
        shown = shown.reset_index(names=[name or "" for name in shown.index.names], allow_duplicates=True)
    words = [column.astype(str) for _, column in shown.items()]
    kinds = ["" if not _is_words(w) else "t long" if w.str.len().max() > LONG_TEXT else "t" for w in words]
    kinds[0] = kinds[0] or "t"
    minus = [words[0], *(w.str.replace(r"^-(?=[\d.])", "−", regex=True) for w in words[1:])]  # not a hyphen
    groups: dict[str, list[tuple[str, ...]]] = {}
    for scenario, row in zip(scenarios, zip(*minus, strict=True), strict=True):
        groups.setdefault(scenario, []).append(row)
    heads = [c if isinstance(c, tuple) else (c,) for c in shown.columns]
    upper = []
    for level in range(1, len(heads[0])):
        alike = [list(group) for _, group in itertools.groupby(heads, operator.itemgetter(slice(level)))]
        upper.append([(group[0][level - 1] if any(group[0][level:]) else "", len(group)) for group in alike])
    return render(
        "cells.html.j2",
        summary=say("All {n} rows", n=len(shown)) if fold and headed and len(shown) > LONG_TABLE else "",
        headed=headed,
        upper=upper,
        headings=[head[-1] or head[0] for head in heads],  # without a second level it stands below, beside the others
        kinds=kinds,
        groups=[(names.scenario_title(s) if len(groups) > 1 else "", rows) for s, rows in groups.items()],
        missing=MISSING,
    )


def _without_scenario(texts: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return a table without the scenarios that stand beside other things in it, and these, one a row."""
    if SCENARIO in texts.index.names and texts.index.nlevels > 1:
        return texts.droplevel(SCENARIO), list(map(str, texts.index.get_level_values(SCENARIO)))
    if texts.columns.nlevels == 1 and list(texts.columns).count(SCENARIO) == 1 and len(texts.columns) > 1:
        return texts.drop(columns=SCENARIO), list(map(str, texts[SCENARIO]))
    return texts, [""] * len(texts)


def _is_words(column: pd.Series) -> bool:
    """Whether a column of texts holds words rather than numbers."""
    words = column[~column.isin(["inf", "-inf"])]
    return len(words) > 0 and bool(words.str.contains(r"[^\W\d_]{2}").any())


# -- LaTeX ---------------------------------------------------------------------------------------------------------

_LATEX = str.maketrans(
    {mark: rf"\{mark}" for mark in "%_&#${}"}
    | {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}", "<": r"\textless{}", ">": r"\textgreater{}", "–": "--"}
)


def escape_latex(text: object) -> str:
    """Return a text with everything escaped that LaTeX would not print as it is."""
    return str(text).translate(_LATEX)


def latex_table(texts: pd.DataFrame, caption: str, label: str) -> str:
    r"""Return a table of texts as a floating table of LaTeX; it needs the package booktabs.

    Parameters
    ----------
    texts
        As from `rounded`; nothing is escaped yet.
    caption
        A text, not escaped either.
    label
        What ``\ref`` refers to, after ``tab:``.
    """
    counted = _only_counts_rows(texts)
    columns = [pd.Series(column, dtype=object).astype(str) for _, column in texts.items()]
    if not counted:
        levels = map(texts.index.get_level_values, range(texts.index.nlevels))
        columns = [*(pd.Series(level, dtype=object).astype(str) for level in levels), *columns]
    long = [bool(column.str.len().max() > LONG_TEXT) for column in columns]
    width = {1: "9cm", 2: "5cm"}.get(sum(long), "3cm")  # of about 16 cm that a page has
    of_words = [f"p{{{width}}}" if is_long else "l" for is_long in long]
    kinds = [kind if _is_words(column) else "r" for kind, column in zip(of_words, columns, strict=True)]
    index_names = [None if name is None else escape_latex(name) for name in texts.index.names]
    styler = Styler(texts.rename_axis(index=index_names), cell_ids=False).format(escape_latex)
    styler = styler.format_index(escape_latex, axis=1)
    styler = styler.hide(axis="index") if counted else styler.format_index(escape_latex, axis=0)
    text: str = (styler if _has_names(texts) else styler.hide(axis="columns")).to_latex(
        hrules=True,
        sparse_index=True,
        multirow_align="naive",  # no package more
        column_format="".join(kinds),
        caption=escape_latex(caption),
        label=f"tab:{label}",
    )
    return text.replace("\\toprule\n\\midrule\n", "\\toprule\n")  # two rules where there is no header
