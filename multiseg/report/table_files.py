"""Tables as texts: rounded for readers, flat for CSV, and as HTML and LaTeX for a browser and a paper."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Callable, Sequence
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


def number(value: float) -> str:
    """Format a number of a table: three decimals, one for large numbers, two digits for what would read 0.000."""
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.2g}"


def rounded(table: pd.DataFrame, missing: str = MISSING) -> pd.DataFrame:
    """Return a table as texts for readers.

    Numbers by `number`, but whole ones without decimals where a column counts something; *yes* and *no*; `missing` for
    what is not defined.
    """
    columns = [
        [_text(v, missing, whole=_counts(column), is_p=name in P_VALUES) for v in column]
        for name, column in table.items()
    ]
    return pd.DataFrame(
        dict(enumerate(columns)), index=table.index, columns=range(len(columns)), dtype=object
    ).set_axis(table.columns, axis=1)


def _counts(column: pd.Series) -> bool:
    """Whether a column of floats holds counts, which are floats only because some are missing."""
    if not pd.api.types.is_float_dtype(column):
        return False
    known = column.dropna()
    return len(known) > 0 and bool((known % 1 == 0).all()) and known.abs().max() > 1


def _text(value: object, missing: str, whole: bool, is_p: bool = False) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return missing
    if is_p and isinstance(value, float) and value < 0.001:
        return "<0.001"
    if isinstance(value, float):
        return f"{value:.0f}" if whole else number(value)
    return " ".join(str(value).split())


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
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template(template).render(**values)


def html_table(texts: pd.DataFrame, fold: bool = True) -> str:
    """Return a table of texts as HTML for the pages of a report, which style it and let it be sorted.

    Names become readable, see `names`. Rows of several scenarios stand in groups below their titles; a scenario that
    all rows share is left out, and so are columns without any value. Columns of words are aligned to the left. A
    table that is too wide scrolls, and one of more than `LONG_TABLE` rows is folded, unless `fold` is false or it is
    one of facts.
    """
    texts = texts.loc[:, [not (len(c) and (c == MISSING).all()) for _, c in texts.items()]]
    scenarios = _scenarios_of(texts)
    several = scenarios is not None and scenarios.nunique() > 1
    shown = names.readable(_without_scenario(texts))
    if not _only_counts_rows(shown):
        shown = shown.reset_index(names=[name or "" for name in shown.index.names], allow_duplicates=True)
    kinds = [_kind(column.astype(str)) for _, column in shown.items()]
    rows = ["".join(_cell(str(v), kind, k) for k, (v, kind) in enumerate(zip(row, kinds, strict=True)))
            for row in shown.itertuples(index=False, name=None)]  # fmt: skip
    bodies = []
    if several and scenarios is not None:
        for scenario in dict.fromkeys(scenarios):
            title = html.escape(names.scenario_title(str(scenario)))
            lines = [row for row, s in zip(rows, scenarios, strict=True) if s == scenario]
            head = f'<tr class="group"><th colspan="{len(kinds)}" scope="rowgroup"><span>{title}</span></th></tr>\n'
            bodies.append(head + _lines(lines))
    else:
        bodies.append(_lines(rows))
    has_names = _has_names(texts)
    parts = [f'<table class="data{"" if has_names else " facts"}">\n', _html_head(shown, kinds) if has_names else ""]
    parts += [f"<tbody>\n{body}</tbody>\n" for body in bodies]
    table = f'<div class="scroll">{"".join(parts)}</table></div>\n'
    if fold and has_names and len(rows) > LONG_TABLE:
        return f'<details class="rows"><summary>{say("All {n} rows", n=len(rows))}</summary>\n{table}</details>\n'
    return table


def _scenarios_of(texts: pd.DataFrame) -> pd.Series | None:
    """Return the column or the level of the index that holds scenarios, if there is one beside other things."""
    if not len(texts):
        return None
    if SCENARIO in texts.index.names and texts.index.nlevels > 1:
        return pd.Series(texts.index.get_level_values(SCENARIO))
    if texts.columns.nlevels == 1 and list(texts.columns).count(SCENARIO) == 1 and len(texts.columns) > 1:
        return texts[SCENARIO].reset_index(drop=True)
    return None


def _without_scenario(texts: pd.DataFrame) -> pd.DataFrame:
    if _scenarios_of(texts) is None:
        return texts
    return texts.droplevel(SCENARIO) if SCENARIO in texts.index.names else texts.drop(columns=SCENARIO)


def _kind(column: pd.Series) -> str:
    """Return the class of a column's cells: ``t`` for words, ``t long`` for texts, or nothing."""
    if not _is_words(column):
        return ""
    return "t long" if column.str.len().max() > LONG_TEXT else "t"


def _cell(text: str, kind: str, place: int) -> str:
    if place == 0:
        return f'<th scope="row" class="{kind or "t"}">{html.escape(text)}</th>'
    if text == MISSING:
        return f'<td class="{f"{kind} none".strip()}">{text}</td>'
    shown = html.escape(re.sub(r"^-(?=[\d.])", "−", text))  # a minus, not a hyphen
    return f'<td class="{kind}">{shown}</td>' if kind else f"<td>{shown}</td>"


def _lines(rows: Sequence[str]) -> str:
    return "".join(f"<tr>{row}</tr>\n" for row in rows)


def _html_head(shown: pd.DataFrame, kinds: Sequence[str]) -> str:
    heads = [c if isinstance(c, tuple) else (c,) for c in shown.columns]
    lines = []
    for level in range(len(heads[0])):
        cells = []
        above = [head[: level + 1] for head in heads]
        for group, members in itertools.groupby(range(len(heads)), above.__getitem__):
            span = list(members)
            if level + 1 < len(heads[0]):
                name = html.escape(str(group[-1])) if any(heads[span[0]][level + 1 :]) else ""
                cells.append(f'<th scope="colgroup" colspan="{len(span)}">{name}</th>' if name else "<td></td>")
                continue
            for k in span:
                # of columns without a second level the heading stands below, beside the others
                text = str(heads[k][-1] or heads[k][0])
                kind = kinds[k].split()[0] if kinds[k] else ("t" if k == 0 else "")
                cells.append(f'<th scope="col"{f" class={kind!r}" if kind else ""}>{html.escape(text)}</th>')
        lines.append("".join(cells))
    return f"<thead>\n{_lines(lines)}</thead>\n".replace("class='t'", 'class="t"')


def _styler(texts: pd.DataFrame, escape: Callable[[str], str]) -> Styler:
    """Return a table of texts that pandas can write, without an index that only counts and without empty headings."""

    def escaped(value: object) -> str:
        return escape(str(value))

    counted = _only_counts_rows(texts)
    names = [None if name is None else escaped(name) for name in texts.index.names]
    styler = Styler(texts.rename_axis(index=names), cell_ids=False).format(escaped).format_index(escaped, axis=1)
    styler = styler.hide(axis="index") if counted else styler.format_index(escaped, axis=0)
    return styler if _has_names(texts) else styler.hide(axis="columns")


def _is_words(column: pd.Series) -> bool:
    """Whether a column of texts holds words rather than numbers."""
    words = column[~column.isin(["inf", "-inf"])]
    return len(words) > 0 and bool(words.str.contains(r"[^\W\d_]{2}").any())


# -- LaTeX ---------------------------------------------------------------------------------------------------------


def escape_latex(text: str) -> str:
    """Return a text with everything escaped that LaTeX would not print as it is."""
    marks = {mark: rf"\{mark}" for mark in "%_&#${}"} | {
        "\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}", "<": r"\textless{}", ">": r"\textgreater{}", "–": "--",
    }  # fmt: skip
    return "".join(marks.get(character, character) for character in text)


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
    levels = [] if _only_counts_rows(texts) else [texts.index.get_level_values(i) for i in range(texts.index.nlevels)]
    columns = [*levels, *(column for _, column in texts.items())]
    words = [pd.Series(column, dtype=object).astype(str) for column in columns]
    long = sum(column.str.len().max() > LONG_TEXT for column in words)
    width = {1: "9cm", 2: "5cm"}.get(long, "3cm")  # of about 16 cm that a page has
    text: str = _styler(texts, escape_latex).to_latex(
        hrules=True,
        sparse_index=True,
        multirow_align="naive",  # no package more
        column_format="".join(_latex_column(column, width) for column in words),
        caption=escape_latex(caption),
        label=f"tab:{label}",
    )
    return text.replace("\\toprule\n\\midrule\n", "\\toprule\n")  # two rules where there is no header


def _latex_column(column: pd.Series, width: str) -> str:
    if not _is_words(column):
        return "r"
    return f"p{{{width}}}" if column.str.len().max() > LONG_TEXT else "l"
