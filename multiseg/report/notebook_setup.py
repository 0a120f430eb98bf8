"""How a notebook begins."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pandas as pd

from multiseg_core.errors import UserError, suggest

from ..study.study import Study
from .figures.style import use_style
from .table_files import number


def use_study_style(study: Study) -> None:
    """Set the look of figures, and the names that figures and tables use, as a study asks for."""
    scenarios = {name: s.title for name, s in study.params.scenarios.items() if s.title}
    use_style(study.params.language, models=study.models, scenarios=scenarios, labels=study.params.label_titles)


def start_notebook(variables: MutableMapping[str, Any], *parameters: str) -> Study:
    """Begin a notebook: check its parameters, set the style of figures, load the study.

    papermill only warns of a parameter that a notebook does not have, and the default is used. Here it is an error.
    When the cell is run again, what other cells have made since is not taken for parameters.

    Parameters
    ----------
    variables
        ``globals()`` of the notebook, right after its parameters cell.
    parameters
        Names of the notebook's parameters; ``params_file`` is one of them.

    Raises
    ------
    UserError
        For a variable that is not a parameter, or an unreadable study.
    """
    for name, value in [] if "_started" in variables else variables.items():
        if name.startswith("_") or name in ("In", "Out", *parameters):
            continue
        if isinstance(value, str | int | float | bool | list | dict | None):
            raise UserError(f"unknown notebook parameter '{name}'{suggest(name, parameters)}")
    study = Study(variables["params_file"])
    variables["_started"] = True
    use_study_style(study)
    pd.set_option("display.max_colwidth", None, "display.max_columns", None, "display.max_rows", None)
    pd.set_option("display.float_format", number)
    return study
