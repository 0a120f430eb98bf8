"""What all figures share: style, colours and names of models and labels, saving and showing.

`slices` draws images, `charts` results, `cohort_figures` what cohorts look like; `captions` says what they show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.patches import Patch

from .saving import DPI
from .spanish import say, use_language

LABEL_COLOURS: Mapping[str, str] = {
    "csf": "#2ca02c", "gm": "#1f5fd0", "wm": "#f2d32b", "wmh": "#e0201b", "oedema": "#e0201b", "tumour": "#2ca02c",
}  # fmt: skip
"""The thesis's colours of labels."""


class ModelStyle(NamedTuple):
    """How a model looks in figures."""

    colour: str
    hatch: str = ""
    marker: str = "o"


SINGLE_TASK = "single_task"
"""Stands beside the models where a network that was trained for one task alone is shown."""

_SELECTIVE = "#00876A"

MODEL_STYLES: Mapping[str, ModelStyle] = {
    "multi_unet": ModelStyle("#005A9C"),
    "cross_entropy": ModelStyle("#C4470C"),
    "selective_cross_entropy": ModelStyle(_SELECTIVE),
    "dice": ModelStyle("#DDA0CB"),
    "selective_dice": ModelStyle("#F2C230"),
    # variants of selective cross-entropy: its colour, paler, with a pattern
    "patchwise_selective_cross_entropy": ModelStyle("#7FC8B5", "///", "^"),
    "selective_cross_entropy_uniform": ModelStyle("#7FC8B5", "...", "v"),
    "patchwise_selective_cross_entropy_uniform": ModelStyle("#7FC8B5", "xxx", "X"),
    "multi_unet_shared": ModelStyle("#8DBBE0", "++", "p"),
    "pseudo_labels": ModelStyle("#8DBBE0", "\\\\\\", "s"),  # learns from the networks of MultiUNet
    "oracle": ModelStyle("#3A3A3A", "", "D"),
    SINGLE_TASK: ModelStyle("#C8C8C8", "||", "P"),
}
"""Five main models whose colours stay apart for colour-blind readers (after Okabe and Ito, but of more different
lightness); the others differ in pattern and marker as well."""

MODEL_NAMES: Mapping[str, str] = {
    "multi_unet": "MultiUNet", "cross_entropy": "Cross-entropy\n(naive)",
    "selective_cross_entropy": "Selective\ncross-entropy", "dice": "Dice", "selective_dice": "Selective\nDice",
    "patchwise_selective_cross_entropy": "Patch-wise\nselective CE",
    "selective_cross_entropy_uniform": "Selective CE,\nuniform patches",
    "patchwise_selective_cross_entropy_uniform": "Patch-wise sel. CE,\nuniform patches",
    "multi_unet_shared": "MultiUNet,\nshared inputs",
    "pseudo_labels": "Pseudo-labels", "oracle": "Oracle", SINGLE_TASK: "Single task",
}  # fmt: skip
"""English names of models."""

LABEL_NAMES: Mapping[str, str] = {
    "csf": "CSF", "gm": "GM", "wm": "WM", "wmh": "WMH", "oedema": "Oedema", "tumour": "Tumour",
}  # fmt: skip
"""English names of labels."""


def use_style(language: str = "en") -> None:
    """Set the look of all figures, and the language of their texts (``en`` or ``es``)."""
    sns.set_theme(style="whitegrid", context="notebook", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 110, "savefig.dpi": DPI, "savefig.bbox": "tight", "axes.grid.axis": "y"})
    plt.rcParams.update({"hatch.linewidth": 0.6})
    use_language(language)


# -- names and colours ---------------------------------------------------------------------------------------------


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for each label; those that the thesis would give one colour twice, or none, get others."""
    spare = iter(["#9b30c9", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f", "#bcbd22"] * 4)
    colours: dict[str, str] = {}
    for label in labels:
        colour = LABEL_COLOURS.get(label)
        colours[label] = colour if colour and colour not in colours.values() else next(spare)
    return colours


def model_styles(models: Sequence[str]) -> dict[str, ModelStyle]:
    """Return the look of each model; those that the study does not know get colours of a palette."""
    spare = sns.color_palette("colorblind", n_colors=len(models)).as_hex()
    return {m: MODEL_STYLES.get(m, ModelStyle(colour)) for m, colour in zip(models, spare, strict=True)}


def pretty(name: str, names: Mapping[str, str]) -> str:
    """Return the English name of a model or label, for tables and prose."""
    return names.get(name, name.replace("_", " "))


def plain(model: str) -> str:
    """Return the English name of a model on one line."""
    return pretty(model, MODEL_NAMES).replace("\n", " ")


def drawn_name(name: str, names: Mapping[str, str] = MODEL_NAMES) -> str:
    """Return the name of a model or label in the language of figures; unknown ones keep theirs."""
    return say(names[name]) if name in names else pretty(name, names)


def model_patch(model: str, style: ModelStyle) -> Patch:
    """Return what stands for a model in a legend."""
    label = drawn_name(model).replace("\n", " ")
    return Patch(facecolor=style.colour, hatch=style.hatch, edgecolor="0.2", linewidth=0.6, label=label)
