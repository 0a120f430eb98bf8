"""The look of all figures: style, colours of models and labels, and what figures are put together from."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from colorsys import hls_to_rgb
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import Formatter, LogLocator, NullLocator

from ...settings.label_styles import LABEL_STYLES
from ...settings.models import NamedModel
from .names import known_models, model_title, use_names
from .saving import DPI


def use_style(language: str = "en", **names: Mapping[str, Any]) -> None:
    """Set the look of all figures, and what `names.use_names` asks for."""
    use_names(language, **names)
    sns.set_theme(style="whitegrid", context="notebook", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 110, "savefig.dpi": DPI, "savefig.bbox": "tight", "axes.grid.axis": "y"})
    plt.rcParams.update({"hatch.linewidth": 0.6})
    # `multiseg check` names what the font cannot write, once; not every figure again
    warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from")


# -- colours -------------------------------------------------------------------------------------------------------


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for each label, all different: the thesis's where it has one that no other label took."""
    spare = itertools.chain(_SPARE_COLOURS, _more_colours())
    colours: dict[str, str] = {}
    for label in labels:
        colour = LABEL_STYLES[label].colour if label in LABEL_STYLES else None
        while colour is None or colour in colours.values():
            colour = next(spare)
        colours[label] = colour
    return colours


_SPARE_COLOURS = ("#9b30c9", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#bcbd22")


def _more_colours() -> Iterator[str]:
    """Yield colours without end, whose hues step by the golden ratio and whose lightness changes."""
    for n in itertools.count():
        yield to_hex(hls_to_rgb(n * 0.618034 % 1, 0.3 + 0.07 * (n % 7), 0.5 + 0.1 * (n % 5)))


def model_styles(models: Sequence[str]) -> dict[str, NamedModel]:
    """Return the look of each model; those that the study does not know get colours of a palette."""
    spare = sns.color_palette("colorblind", n_colors=len(models)).as_hex()
    known = known_models()
    return {m: known[m] if m in known else NamedModel(colour=c) for m, c in zip(models, spare, strict=True)}


# -- panels --------------------------------------------------------------------------------------------------------


def panels(
    lines: int, columns: int, wide: float, tall: float, margin: tuple[float, float] = (0, 0), **options: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure of panels of a size in inches, with a margin beside and below, and their (lines, columns)."""
    size = (margin[0] + wide * columns, margin[1] + tall * lines)
    return plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained", **options)


def wrapped(n: int, most: int, wide: float, tall: float, **options: Any) -> tuple[Figure, np.ndarray]:
    """Return `panels` for n things, at most so many in a line; places left over are empty."""
    columns = min(n, most)
    figure, grid = panels(-(-n // columns), columns, wide, tall, **options)
    for axes in grid.flat[n:]:
        axes.set_axis_off()
    return figure, grid


def name_rows(axes: Axes, names: Sequence[str], size: float | None = 9.5) -> None:
    """Name the rows of a panel, the first on top, and draw vertical lines of the grid."""
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=True, axis="x")


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int = 0, size: float | None = None) -> None:
    """Add a legend below a figure with constrained layout, in one line by default; none without handles."""
    if handles:
        n = columns or len(handles)
        figure.legend(handles=handles, loc="outside lower center", ncols=n, frameon=False, fontsize=size)


def log_axis(axes: Axes, numbers: Formatter) -> None:
    """Make the axis of x logarithmic, with numbers at 1, 2 and 5."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(numbers)
    axes.xaxis.set_minor_locator(NullLocator())


# -- marks ---------------------------------------------------------------------------------------------------------


def model_patch(model: str, style: NamedModel) -> Patch:
    """Return what stands for a model in a legend."""
    return Patch(facecolor=style.colour, hatch=style.hatch, edgecolor="0.2", linewidth=0.6, label=model_title(model))


def mark(axes: Axes, x: float | Sequence[float], y: float | Sequence[float], style: NamedModel, **options: Any) -> None:
    """Draw a model's points, with a dark edge."""
    look: dict[str, Any] = {"marker": style.marker, "color": style.colour, "mec": "0.2", "mew": 0.5}
    axes.plot(x, y, ls="", **look | options)


def edge_arrow(axes: Axes, x: float, y: float, style: NamedModel, left: bool) -> None:
    """Draw what stands at the edge of a panel for a value of a model that is far outside."""
    mark(axes, x, y, style, marker="<" if left else ">", ms=7)


def note(axes: Axes, text: str, at: tuple[float, float], points: float, **options: Any) -> None:
    """Write a text that begins some points right of a place, or ends left of it where they are negative."""
    look = {"textcoords": "offset points", "va": "center", "ha": "right" if points < 0 else "left", "fontsize": 8.5}
    axes.annotate(text, at, (points, 0), **look | options)


def box(
    axes: Axes, place: float, values: np.ndarray, style: NamedModel, widths: tuple[float, float], across: bool = False
) -> None:
    """Draw a model's values as a box, and as points over it; `across` from left to right. `widths` are of both."""
    look = {"facecolor": style.colour, "hatch": style.hatch, "edgecolor": "0.2", "linewidth": 0.9}
    rest: dict[str, Any] = {"patch_artist": True, "showfliers": False, "manage_ticks": False, "boxprops": look}
    rest |= {part: {"color": "0.2"} for part in ("whiskerprops", "capprops")}
    rest |= {"medianprops": {"color": "black", "linewidth": 1.6}, "orientation": "horizontal" if across else "vertical"}
    axes.boxplot(values, positions=[place], widths=widths[0], **rest)
    # points side by side, by a rule rather than at random: equal results are equal pictures
    aside = place + (np.arange(len(values)) * 0.618 % 1 - 0.5) * widths[1]
    axes.plot(
        *((values, aside) if across else (aside, values)), "o", ms=2.6, color="0.15", mfc="white", mew=0.6, zorder=3
    )
