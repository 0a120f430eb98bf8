"""The look of all figures: style, and colours and names of models and labels."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from colorsys import hls_to_rgb
from typing import NamedTuple

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.patches import Patch

from ..cohorts.layouts.label_styles import LABEL_STYLES
from ..models import MODELS, SINGLE_TASK, SINGLE_TASK_MODEL, Model
from .saving import DPI
from .spanish import language, say, use_language

LABEL_COLOURS: Mapping[str, str] = {label: style.colour for label, style in LABEL_STYLES.items()}
"""The thesis's colours of labels."""


class ModelStyle(NamedTuple):
    """How a model looks in figures."""

    colour: str
    hatch: str = ""
    marker: str = "o"


_models: dict[str, Model] = {**MODELS, SINGLE_TASK: SINGLE_TASK_MODEL}
"""The models that have a look of their own, see `use_style`."""

MODEL_NAMES: Mapping[str, str] = {name: model.title for name, model in _models.items()}
"""English names of the built-in models."""

LABEL_NAMES: Mapping[str, str] = {label: style.name for label, style in LABEL_STYLES.items()}
"""English names of labels."""


def use_style(language: str = "en", models: Mapping[str, Model] = MODELS) -> None:
    """Set the look of all figures, the language of their texts (``en`` or ``es``), and the models that they know."""
    _models.clear()
    _models.update({**models, SINGLE_TASK: SINGLE_TASK_MODEL})
    sns.set_theme(style="whitegrid", context="notebook", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 110, "savefig.dpi": DPI, "savefig.bbox": "tight", "axes.grid.axis": "y"})
    plt.rcParams.update({"hatch.linewidth": 0.6})
    use_language(language)
    # `multiseg check` names what the font cannot write, once; not every figure again
    warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from")


# -- names and colours ---------------------------------------------------------------------------------------------


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for each label, all different: the thesis's where it has one that no other label took."""
    spare = itertools.chain(_SPARE_COLOURS, _more_colours())
    colours: dict[str, str] = {}
    for label in labels:
        colour = LABEL_COLOURS.get(label)
        while colour is None or colour in colours.values():
            colour = next(spare)
        colours[label] = colour
    return colours


_SPARE_COLOURS = ("#9b30c9", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f", "#bcbd22")


def _more_colours() -> Iterator[str]:
    """Yield colours without end, whose hues step by the golden ratio and whose lightness changes."""
    for n in itertools.count():
        yield to_hex(hls_to_rgb(n * 0.618034 % 1, 0.3 + 0.07 * (n % 7), 0.5 + 0.1 * (n % 5)))


def model_styles(models: Sequence[str]) -> dict[str, ModelStyle]:
    """Return the look of each model; those that the study does not know get colours of a palette."""
    spare = sns.color_palette("colorblind", n_colors=len(models)).as_hex()
    known = {name: ModelStyle(model.colour, model.hatch, model.marker) for name, model in _models.items()}
    return {m: known.get(m, ModelStyle(colour)) for m, colour in zip(models, spare, strict=True)}


def plain(model: str) -> str:
    """Return the English name of a model on one line."""
    title = _models[model].title if model in _models else model.replace("_", " ")
    return title.replace("\n", " ")


OR = " or "
"""Joins the labels of a coarse set, in names."""


def drawn_name(name: str, names: Mapping[str, str] = MODEL_NAMES) -> str:
    """Return the name of a model or label in the language of figures; unknown ones keep theirs."""
    if names is MODEL_NAMES and name in _models:
        return _models[name].spanish if language() == "es" else _models[name].title
    if names is LABEL_NAMES and OR in name:
        return say(OR).join(drawn_name(label, names) for label in name.split(OR))
    if names is LABEL_NAMES and name in LABEL_STYLES:
        return LABEL_STYLES[name].spanish if language() == "es" else LABEL_STYLES[name].name
    return name.replace("_", " ")


def model_patch(model: str, style: ModelStyle) -> Patch:
    """Return what stands for a model in a legend."""
    label = drawn_name(model).replace("\n", " ")
    return Patch(facecolor=style.colour, hatch=style.hatch, edgecolor="0.2", linewidth=0.6, label=label)
