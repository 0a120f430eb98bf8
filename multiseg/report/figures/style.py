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

from ...settings.label_styles import LABEL_STYLES
from ...settings.models import MODELS, SINGLE_TASK, NamedModel
from .names import LABEL_NAMES, MODEL_NAMES, OR, drawn_name, known_models, plain, use_names
from .saving import DPI

__all__ = ["LABEL_NAMES", "MODEL_NAMES", "OR", "SINGLE_TASK", "drawn_name", "plain"]

LABEL_COLOURS: Mapping[str, str] = {label: style.colour for label, style in LABEL_STYLES.items()}
"""The thesis's colours of labels."""


class ModelStyle(NamedTuple):
    """How a model looks in figures."""

    colour: str
    hatch: str = ""
    marker: str = "o"


def use_style(
    language: str = "en",
    models: Mapping[str, NamedModel] = MODELS,
    scenarios: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> None:
    """Set the look of all figures, and what `names.use_names` asks for."""
    use_names(language, models, scenarios, labels)
    sns.set_theme(style="whitegrid", context="notebook", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 110, "savefig.dpi": DPI, "savefig.bbox": "tight", "axes.grid.axis": "y"})
    plt.rcParams.update({"hatch.linewidth": 0.6})
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


_SPARE_COLOURS = ("#9b30c9", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#bcbd22")


def _more_colours() -> Iterator[str]:
    """Yield colours without end, whose hues step by the golden ratio and whose lightness changes."""
    for n in itertools.count():
        yield to_hex(hls_to_rgb(n * 0.618034 % 1, 0.3 + 0.07 * (n % 7), 0.5 + 0.1 * (n % 5)))


def model_styles(models: Sequence[str]) -> dict[str, ModelStyle]:
    """Return the look of each model; those that the study does not know get colours of a palette."""
    spare = sns.color_palette("colorblind", n_colors=len(models)).as_hex()
    known = {name: ModelStyle(model.colour, model.hatch, model.marker) for name, model in known_models().items()}
    return {m: known.get(m, ModelStyle(colour)) for m, colour in zip(models, spare, strict=True)}


def model_patch(model: str, style: ModelStyle) -> Patch:
    """Return what stands for a model in a legend."""
    label = drawn_name(model).replace("\n", " ")
    return Patch(facecolor=style.colour, hatch=style.hatch, edgecolor="0.2", linewidth=0.6, label=label)
