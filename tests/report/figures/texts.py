"""What is wrong with the texts of a figure: which ones lie over each other, and which ones are cut."""

from __future__ import annotations

import itertools
import math

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from matplotlib.text import Text

ALLOWED = 2.0
"""Points by which boxes of texts may reach into each other: they hold room for letters that are not there."""


def drawn_texts(figure: FigureBase) -> list[Text]:
    """Return the texts that a figure draws; ticks outside of an axis are none."""
    found = [*figure.texts, *(t for legend in figure.legends for t in legend.get_texts())]
    if figure._suptitle is not None:
        found.append(figure._suptitle)
    for axes in figure.axes if isinstance(figure, Figure) else ():
        found += [axes.title, axes._left_title, axes._right_title, *axes.texts]
        if (legend := axes.get_legend()) is not None:
            found += legend.get_texts()
        if axes.axison:
            for axis in (axes.xaxis, axes.yaxis):
                found += [axis.label, *(t for tick in axis._update_ticks() for t in (tick.label1, tick.label2))]
    for part in figure.subfigs:
        found += drawn_texts(part)
    unique = {id(t): t for t in found}
    return [t for t in unique.values() if t.get_visible() and t.get_text().strip()]


def faults(figure: Figure) -> list[str]:
    """Return a line for every two texts that lie over each other, and every text that is cut."""
    canvas = FigureCanvasAgg(figure)  # a closed figure has lost its own
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = drawn_texts(figure)
    boxes = {id(t): t.get_window_extent(renderer) for t in texts}
    allowed = ALLOWED * figure.dpi / 72
    found = []
    for a, b in itertools.combinations(texts, 2):
        one, other = boxes[id(a)], boxes[id(b)]
        wide = min(one.x1, other.x1) - max(one.x0, other.x0)
        high = min(one.y1, other.y1) - max(one.y0, other.y0)
        if min(wide, high) > allowed and not _side_by_side(a, b, figure.dpi):
            found.append(f"{a.get_text()!r} over {b.get_text()!r}")
    for text in texts:
        clipped = text.get_clip_on() and (text.get_clip_box() is not None or text.get_clip_path() is not None)
        if clipped and text.axes is not None and text in text.axes.texts:
            box, inside = boxes[id(text)], text.axes.get_window_extent(renderer)
            if box.x0 < inside.x0 - allowed or box.x1 > inside.x1 + allowed:
                found.append(f"{text.get_text()!r} is cut")
    return found


def _side_by_side(a: Text, b: Text, dpi: float) -> bool:
    """Whether two slanted texts lie beside each other, although the boxes around them meet."""
    angle = a.get_rotation()
    if angle != b.get_rotation() or angle % 90 == 0:
        return False
    (x0, y0), (x1, y1) = (t.get_transform().transform(t.get_position()) for t in (a, b))
    slope = math.radians(angle)
    apart = abs((x1 - x0) * math.sin(slope) - (y1 - y0) * math.cos(slope))
    return apart >= max(a.get_fontsize(), b.get_fontsize()) * dpi / 72
