"""Names for readers: what models, labels, endpoints, scenarios and columns are called, in the language of the report.

Files and CSVs hold the short names of params files; whatever a person reads goes through this module. `use_names` says
which study it is about.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from ...settings.label_styles import label_name, use_titles
from ...settings.models import MODELS, SINGLE_TASK, SINGLE_TASK_MODEL, NamedModel
from .language import CATALOGUE, language, say, use_language, word

_models: dict[str, NamedModel] = {**MODELS, SINGLE_TASK: SINGLE_TASK_MODEL}
_scenarios: dict[str, str] = {}

OR = " or "
"""Joins the labels of a coarse set, in names."""


def use_names(
    language: str = "en",
    models: Mapping[str, NamedModel] = MODELS,
    scenarios: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> None:
    """Set the language (``en`` or ``es``), the models that have names, and the titles of scenarios and labels."""
    _models.clear()
    _models.update({**models, SINGLE_TASK: SINGLE_TASK_MODEL})
    _scenarios.clear()
    _scenarios.update(scenarios or {})
    use_titles(labels or {})
    use_language(language)


def known_models() -> Mapping[str, NamedModel]:
    """Return the models that have a look of their own."""
    return _models


# -- models and labels ---------------------------------------------------------------------------------------------


def plain(model: str) -> str:
    """Return the English name of a model on one line."""
    title = _models[model].title if model in _models else model.replace("_", " ")
    return title.replace("\n", " ")


def drawn_name(model: str) -> str:
    """Return the name of a model in the language of figures, maybe on two lines; unknown ones keep theirs."""
    if model not in _models:
        return model.replace("_", " ")
    return _models[model].spanish if language() == "es" else _models[model].title


def model_title(name: str) -> str:
    """Return the name of a model on one line, in the language of the report."""
    return drawn_name(name).replace("\n", " ")


def label_title(name: str) -> str:
    """Return the name of a label, or of a coarse set such as ``a or b``, in the language of the report."""
    return say(OR).join(label_name(label, spanish=language() == "es") for label in name.split(OR))


# -- scenarios and endpoints ---------------------------------------------------------------------------------------


def scenario_title(name: str) -> str:
    """Return the title of a scenario, or its name in words."""
    if name == "every":
        return word("values", name)
    return _scenarios.get(name) or name.replace("_", " ")


def short_scenario(name: str) -> str:
    """Return what a title says before its first comma: what is trained, and not on what it is tested."""
    return scenario_title(name).partition(",")[0]


def endpoint_title(name: str) -> str:
    """Return the name of an endpoint: a kind of labels, or labels joined by ``+``; more than four are counted."""
    if name in CATALOGUE["endpoints"]:
        return word("endpoints", name)
    labels = name.split("+")
    return " + ".join(map(label_title, labels)) if len(labels) <= 4 else say("{n} labels", n=len(labels))


# -- tables --------------------------------------------------------------------------------------------------------


def column_title(name: str) -> str:
    """Return the heading of a column, with its unit."""
    if name in CATALOGUE["columns"]:
        return word("columns", name)
    if match := re.fullmatch(r"rank_(\d+)", name):
        return f"{word('columns', 'rank')} {match[1]}"
    return model_title(name) if name in _models else label_title(name)


_OF_COLUMN: Mapping[str, Callable[[str], str]] = {
    **dict.fromkeys(("model", "model_a", "model_b", "second_model"), model_title),
    "scenario": scenario_title,
    "endpoint": endpoint_title,
    "label": label_title,
    "verdict": lambda text: word("values", text, text),
}
"""Column of names -> how they are read."""


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose names are for readers: headings, and the values of columns and indices that hold names."""
    shown = table.copy()
    index, columns = table.index, table.columns
    for place, name in enumerate(columns):
        if name in _OF_COLUMN:
            shown.isetitem(place, pd.Series(_read(table.iloc[:, place], name), index=index, dtype=object))
    if index.nlevels > 1:
        levels = [_read(index.get_level_values(i), name) for i, name in enumerate(index.names)]
        shown.index = pd.MultiIndex.from_arrays(levels, names=[_heading(name) for name in index.names])
    elif not isinstance(index, pd.RangeIndex):
        # of a table of facts the index holds headings
        values = _read(index, index.name) if index.name else [_heading(v) for v in index]
        shown.index = pd.Index(values, name=_heading(index.name))
    if columns.nlevels > 1:
        shown.columns = pd.MultiIndex.from_tuples([tuple(map(_heading, column)) for column in columns])
    else:
        shown.columns = pd.Index(list(map(_heading, columns)))
    return shown


def _read(values: Iterable[Any], name: Any) -> list[Any]:
    how = _OF_COLUMN.get(name, str)
    return [how(v) if isinstance(v, str) else v for v in values]


def _heading(name: Any) -> Any:
    return column_title(name) if isinstance(name, str) and name else name
