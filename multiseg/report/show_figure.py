"""How a notebook shows and saves its figures and tables: under the study's names, with captions and numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..base.fingerprints import fingerprint
from ..study.study import Study
from ..thesis import reported
from . import tables
from .figures import saving
from .figures.kinds import FigureKind
from .figures.language import say


@dataclass(frozen=True)
class Page:
    """Where the figures and tables of a notebook go."""

    study: Study
    scenario: str | None = None
    """The scenario that they are about; None for the whole study."""

    def figure(
        self,
        kind: FigureKind[..., Any],
        *drawn: Any,
        name: str | None = None,
        caption: str | None = None,
        number: int | None = None,
        otherwise: str = "",
    ) -> None:
        """Draw a figure, save it with its table in ``figures``, and show it with its caption and alternative text.

        `kind` is a function that draws, such as `report.figures.result_charts.dice_boxes`, and `drawn` what it draws;
        the table of the figure first, if it returns no table. `name`, `caption` and `number` are in place of the
        kind's own and of its number in the thesis; `otherwise` is printed if there is nothing to draw.
        """
        nothing = bool(drawn) and isinstance(drawn[0], pd.DataFrame) and drawn[0].empty
        result = None if nothing else kind(*drawn)
        if result is None:
            print(otherwise, end="\n" if otherwise else "")
            return
        figure, table = (result, drawn[0]) if isinstance(result, Figure) else result
        number = figure_number(self.study, self.scenario, kind) if number is None else number
        text = say(caption or kind.caption)
        shown = text if number is None else f"{say('Thesis figure {n}.', n=number)} {text}"
        file = file_name(number, self.scenario, name or kind.name)
        saving.show(figure, table, self.study.folder / "figures", file, kind.describe(table, caption), shown)

    def table(self, name: str, table: pd.DataFrame) -> tables.Shown:
        """Save a table in ``tables`` under one of `tables.TITLES`, and return it, so that a cell can end with it."""
        full = name if self.scenario is None else f"{self.scenario}_{name}"
        return tables.save(table, self.study.folder / "tables", full)


def figure_number(study: Study, scenario: str | None, kind: FigureKind[..., Any]) -> int | None:
    """Return the number of a figure in the thesis, by what cohorts and labels a scenario has or imitates, or None."""
    if scenario is None:
        return kind.thesis if isinstance(kind.thesis, int) else None
    s = study.scenario(scenario)
    return reported.figure_number(*s.place, kind.thesis) if set(s.labels) <= reported.LABELS else None


def file_name(number: int | None, scenario: str | None, name: str) -> str:
    """Return the file name of a figure without its ending: ``26_scenario_dice``, or ``scenario_dice``.

    One that would be too long for a file, as of many labels, or that holds what files must not, is cut or changed and
    ends in a fingerprint of the whole.
    """
    whole = "_".join(part for part in ("" if number is None else f"{number:02d}", scenario or "", name) if part)
    plain = re.sub(r"[^\w.+-]", "-", whole)
    if plain == whole and len(whole) <= LONGEST_NAME:
        return whole
    return f"{plain[: LONGEST_NAME - 9]}_{fingerprint(whole)[:8]}"


LONGEST_NAME = 120
"""Characters of a file name without its ending: half of what file systems take, for letters of several bytes."""
