"""How the labels of the thesis's cohorts are called and coloured; other labels keep their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..base.files import yaml_beside


class LabelStyle(NamedTuple):
    """How a label looks: its name in English, the thesis's colour, its name in Spanish."""

    name: str
    colour: str
    spanish: str


LABEL_STYLES: Mapping[str, LabelStyle] = {
    label: LabelStyle(**style) for label, style in yaml_beside(__file__, "label_styles.yaml").items()
}
"""The known labels."""

_titles: dict[str, str] = {}


def use_titles(titles: Mapping[str, str]) -> None:
    """Set the titles that a params file gives to labels (``label_titles``); they go before the known ones."""
    _titles.clear()
    _titles.update(titles)


def label_name(label: str, spanish: bool = False) -> str:
    """Return the name of a label, for tables and prose: in English, or in the thesis's Spanish."""
    if label in _titles:
        return _titles[label]
    if label in LABEL_STYLES:
        return LABEL_STYLES[label].spanish if spanish else LABEL_STYLES[label].name
    return label.replace("_", " ")
