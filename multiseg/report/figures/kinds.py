"""What a kind of figure is: its drawing, name, caption, alternative text and number in the thesis, all in one place.

A figure is added by one function below `figure_kind`; notebooks show it with ``page.figure(that_function, ...)``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Generic, ParamSpec, TypeVar

import pandas as pd

from ...settings.label_styles import label_name
from .language import CATALOGUE, word
from .names import plain

P = ParamSpec("P")
T = TypeVar("T")

ThesisNumber = int | None | tuple[int | None, ...]
"""One for the whole study, or one per scenario in the order in which the thesis reports them; None: it has none."""


class FigureKind(Generic[P, T]):
    """A function that draws, and what is said of its figures.

    It is called as the function is, which returns a figure, a figure and the table that it was drawn from, or None
    where there is nothing to draw. A function that returns a figure alone is given that table first.
    """

    def __init__(
        self, draw: Callable[P, T], name: str, reading: Callable[[pd.DataFrame], str], thesis: ThesisNumber
    ) -> None:
        self.draw, self.name, self.reading, self.thesis = draw, name, reading, thesis
        functools.update_wrapper(self, draw)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Draw."""
        return self.draw(*args, **kwargs)

    @property
    def caption(self) -> str:
        """What it shows, in the language of the report."""
        return word("captions", self.name)

    def describe(self, table: pd.DataFrame, caption: str | None = None) -> str:
        """Return the alternative text, in English: the caption, and the main reading of the table."""
        return f"{caption or CATALOGUE['captions'][self.name][0]} {self.reading(table) if len(table) else ''}".strip()


def figure_kind(
    name: str, reading: Callable[[pd.DataFrame], str], thesis: ThesisNumber = None
) -> Callable[[Callable[P, T]], FigureKind[P, T]]:
    """Make the function below a kind of figure.

    `name` ends the names of its files, and the catalogue has its caption by it; `reading` puts the table that it was
    drawn from into words; `thesis` is its number in the thesis.
    """
    return lambda draw: FigureKind(draw, name, reading, thesis)


# -- words for readings --------------------------------------------------------------------------------------------


def names_of(labels: Sequence[str]) -> str:
    """Return the names of labels, or *nothing*."""
    return ", ".join(map(label_name, labels)) or "nothing"


def listed(values: pd.Series, form: str) -> str:
    """Return models and their values in words."""
    return ", ".join(f"{plain(str(name))} {value:{form}}" for name, value in values.items())


def cohorts_and_labels(table: pd.DataFrame) -> str:
    """Return which labels stand in a table with ``cohort, label``."""
    parts = [f"{cohort} ({names_of(part['label'].tolist())})" for cohort, part in table.groupby("cohort", sort=False)]
    return ", ".join(parts) + "."
