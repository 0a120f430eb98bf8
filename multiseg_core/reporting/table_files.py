"""Tables as texts: rounded for readers, flat for CSV, and as HTML and LaTeX for a browser and a paper."""

from __future__ import annotations

import html

import numpy as np
import pandas as pd

LONG_TEXT = 40
"""A column with longer texts than this, in characters, is broken into lines."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
  body {{ font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 80em; margin: 0 auto; padding: 16px; }}
  h1 {{ font-size: 1.5em; line-height: 1.25; }}
  .scroll {{ overflow-x: auto; }}
  table {{ border-collapse: collapse; }}
  th, td {{ padding: 3px 10px; text-align: right; vertical-align: top; border-bottom: 1px solid #e4e4e4; }}
  td {{ font-variant-numeric: tabular-nums; }}
  thead th {{ vertical-align: bottom; }}
  thead tr:last-child th {{ border-bottom: 2px solid #888; }}
  tbody th {{ text-align: left; }}
  img {{ max-width: 100%; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def number(value: float) -> str:
    """Format a number of a table: three decimals, one for large numbers, two digits for what would read 0.000."""
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"


def rounded(table: pd.DataFrame, missing: str = "–") -> pd.DataFrame:
    """Return a table as texts for readers.

    Numbers by `number`, but whole ones without decimals where a column counts something; *yes* and *no*; `missing` for
    what is not defined.
    """
    columns = [[_text(v, missing, whole=_counts(column)) for v in column] for _, column in table.items()]
    return pd.DataFrame(
        dict(enumerate(columns)), index=table.index, columns=range(len(columns)), dtype=object
    ).set_axis(table.columns, axis=1)


def _counts(column: pd.Series) -> bool:
    """Whether a column of floats holds counts, which are floats only because some are missing."""
    if not pd.api.types.is_float_dtype(column):
        return False
    known = column.dropna()
    return len(known) > 0 and bool((known % 1 == 0).all()) and known.abs().max() > 1


def _text(value: object, missing: str, whole: bool) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return missing
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


def page(title: str, body: str) -> str:
    """Return a page of HTML that needs no network: a title and a body, the latter HTML already."""
    return PAGE.format(title=html.escape(title), body=body)


def html_table(texts: pd.DataFrame, name: str) -> str:
    """Return a table of texts as HTML that scrolls where it is too wide. Columns of words are aligned to the left.

    `name` tells the tables of a page apart: letters, digits, underscores.
    """
    shown_index = not _only_counts_rows(texts)
    n_index = texts.index.nlevels if shown_index else 0
    rules = ""
    for position, (_, column) in enumerate(texts.items(), start=1):
        if _is_words(column):
            cells = [f"#{name} td:nth-of-type({position})"]
            if texts.columns.nlevels == 1:
                cells.append(f"#{name} thead th:nth-of-type({n_index + position})")
            broken = "min-width: 14em" if column.str.len().max() > LONG_TEXT else "white-space: nowrap"
            rules += f"  {', '.join(cells)} {{ text-align: left; {broken} }}\n"
    shown = texts.to_html(index=shown_index, header=_has_names(texts), border=0)
    style = f"<style>\n{rules}</style>\n" if rules else ""
    return f'{style}<div class="scroll" id="{name}">{shown}</div>\n'


def _is_words(column: pd.Series) -> bool:
    """Whether a column of texts holds words rather than numbers."""
    return len(column) > 0 and bool(column.str.contains(r"[^\W\d_]{2}").any())


# -- LaTeX ---------------------------------------------------------------------------------------------------------


def escape_latex(text: str) -> str:
    """Return a text with everything escaped that LaTeX would not print as it is."""
    marks = {mark: rf"\{mark}" for mark in "%_&#${}"} | {
        "\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}", "<": r"\textless{}", ">": r"\textgreater{}", "–": "--",
    }  # fmt: skip
    return "".join(marks.get(character, character) for character in text)


def latex_table(texts: pd.DataFrame, caption: str, label: str) -> str:
    """Return a table of texts as a floating table of LaTeX; it needs the package booktabs.

    Parameters
    ----------
    texts
        As from `rounded`; nothing is escaped yet.
    caption
        A text, not escaped either.
    label
        What ``\\ref`` refers to, after ``tab:``.
    """
    shown_index = not _only_counts_rows(texts)
    levels = [texts.index.get_level_values(i) for i in range(texts.index.nlevels)] if shown_index else []
    columns = [*levels, *(column for _, column in texts.items())]
    words = [pd.Series(column, dtype=object).astype(str) for column in columns]
    long = sum(column.str.len().max() > LONG_TEXT for column in words)
    width = {1: "9cm", 2: "5cm"}.get(long, "3cm")  # of about 16 cm that a page has
    escaped = texts.map(escape_latex)
    escaped.columns = _escaped_names(texts.columns)
    if shown_index:
        escaped.index = _escaped_names(texts.index)
    text: str = escaped.to_latex(
        index=shown_index,
        escape=False,
        multirow=False,  # would need a package more
        header=_has_names(texts),
        column_format="".join(_latex_column(column, width) for column in words),
        caption=escape_latex(caption),
        label=f"tab:{label}",
    )
    return text.replace("\\toprule\n\\midrule\n", "\\toprule\n")  # two rules where there is no header


def _escaped_names(names: pd.Index) -> pd.Index:
    titles = [None if name is None else escape_latex(str(name)) for name in names.names]
    if isinstance(names, pd.MultiIndex):
        parts = [tuple(escape_latex(str(part)) for part in name) for name in names]
        return pd.MultiIndex.from_tuples(parts, names=titles)
    return pd.Index([escape_latex(str(name)) for name in names], name=titles[0], dtype=object)


def _latex_column(column: pd.Series, width: str) -> str:
    if not _is_words(column):
        return "r"
    return f"p{{{width}}}" if column.str.len().max() > LONG_TEXT else "l"
