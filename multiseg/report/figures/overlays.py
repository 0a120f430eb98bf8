"""What can be painted over a case: its labels, a model's, a model's errors, and how uncertain it is."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from PIL import Image

from ...data.store import StoredCase
from .language import say
from .names import OR, label_title
from .style import label_colours

Opacity = float | Sequence[float]

SHADES = 16
"""Steps in which an uncertainty is painted."""

RIGHT, MISSED, INVENTED = 1, 2, 3
ERROR_COLOURS = {RIGHT: "#648fff", MISSED: "#ffb000", INVENTED: "#dc267f"}
"""Told apart by colour-blind readers as well."""

ERROR_NAMES = {RIGHT: "right", MISSED: "missed (false negative)", INVENTED: "invented (false positive)"}


class Overlay(NamedTuple):
    """A number per voxel, and the colours of the numbers from 1 on; 0 is transparent."""

    numbers: np.ndarray
    """(X, Y, Z) uint8."""
    colours: list[tuple[float, float, float]]
    """Red, green and blue, 0 to 1."""


def no_overlay(case: StoredCase) -> Overlay:
    """Return what leaves a case as it is."""
    return Overlay(np.zeros(case.shape, dtype=np.uint8), [])


def truth(case: StoredCase, labels: Sequence[str]) -> Overlay:
    """Return the labels that were drawn; an entry of `labels` may be a coarse set such as ``a or b``.

    Voxels that may be one of several, in another way, are transparent.
    """
    numbers = {frozenset(label.split(OR)): k for k, label in enumerate(labels, start=1)}
    table = np.array([numbers.get(frozenset(members), 0) for members in case.sets], dtype=np.uint8)
    return predicted(table[case.target], labels)


def predicted(prediction: np.ndarray, labels: Sequence[str]) -> Overlay:
    """Return the labels of a prediction, (X, Y, Z) class numbers."""
    return Overlay(prediction.astype(np.uint8), [to_rgb(c) for c in label_colours(labels).values()])


def error_map(case: StoredCase, prediction: np.ndarray, labels: Sequence[str], label: str) -> np.ndarray:
    """Return where a label is right, missed and invented, (X, Y, Z) uint8; 0 elsewhere, and where its cohort is silent.

    `prediction` holds class numbers on the grid of the case; `label` is one of `labels`, its foreground labels.
    """
    sure = np.array([members == frozenset([label]) for members in case.sets])[case.target]
    never = np.array([label not in members for members in case.sets])[case.target]
    there = prediction == 1 + list(labels).index(label)
    return (RIGHT * (sure & there) + MISSED * (sure & ~there) + INVENTED * (never & there)).astype(np.uint8)


def errors(case: StoredCase, prediction: np.ndarray, labels: Sequence[str]) -> Overlay:
    """Return what is missed and what is invented of all labels together; of two, that of the later label."""
    found = np.zeros(prediction.shape, dtype=np.uint8)
    for label in labels:
        wrong = error_map(case, prediction, labels, label)
        np.copyto(found, wrong - RIGHT, where=wrong > RIGHT)
    return Overlay(found, [to_rgb(ERROR_COLOURS[kind]) for kind in (MISSED, INVENTED)])


def uncertainty(uncertain: np.ndarray) -> Overlay:
    """Return how uncertain a model is, (X, Y, Z) from 0 to 1, in `SHADES` colours; nothing where it is sure."""
    steps = np.clip(np.round(uncertain * SHADES), 0, SHADES).astype(np.uint8)
    inferno = matplotlib.colormaps["inferno"](np.linspace(0, 1, SHADES + 1)[1:])
    return Overlay(steps, [(float(r), float(g), float(b)) for r, g, b, _ in inferno])


def grey_values(case: StoredCase, modality: str) -> np.ndarray:
    """Return an image of a case as grey values from 0 to 1, (X, Y, Z); black outside the mask."""
    image, inside = np.asarray(case.images[case.modalities.index(modality)]), np.asarray(case.mask)
    low, high = np.percentile(image[inside], [0.5, 99.5]) if inside.any() else (0, 1)
    return np.clip((image - low) / (high - low) * 0.85 + 0.15, 0, 1) * inside


def painted(grey: np.ndarray, overlay: Overlay, axis: int, at: int, opacity: Opacity = 0.6) -> np.ndarray:
    """Return a slice with an overlay, (rows, columns, 3) from 0 to 1, up on top and left of the patient on the left.

    `grey` is (X, Y, Z) from 0 to 1, see `grey_values`; the plane cuts `axis` at a voxel. The overlay's `opacity` is 0
    to 1, one for all its colours, or one for each.
    """
    numbers = np.take(overlay.numbers, at, axis)
    image = np.take(grey, at, axis)[..., None].repeat(3, axis=-1)
    colours = np.array([(0.0, 0.0, 0.0), *overlay.colours])[numbers]
    share = np.array([0.0, *np.broadcast_to(opacity, len(overlay.colours))])[numbers][..., None]
    rows: np.ndarray = ((1 - share) * image + share * colours).swapaxes(0, 1)[::-1]  # its second axis goes up
    return rows


def extent_mm(shape: Sequence[int], spacing_mm: Sequence[float], axis: int) -> tuple[float, float, float, float]:
    """Return 0, the width, 0 and the height (mm) of a plane that cuts an axis, as `Axes.imshow` takes them."""
    wide, tall = (n * size for k, (n, size) in enumerate(zip(shape, spacing_mm, strict=True)) if k != axis)
    return 0, wide, 0, tall


def show(
    axes: Axes, case: StoredCase, modality: str, overlay: Overlay | None, axis: int, at: int, opacity: Opacity = 0.6
) -> None:
    """Draw a slice of a case with an overlay into axes of matplotlib, in mm; see `painted`."""
    rows = painted(grey_values(case, modality), overlay or no_overlay(case), axis, at, opacity)
    axes.imshow(rows, extent=extent_mm(case.shape, case.spacing_mm, axis))
    axes.set_axis_off()


def plane_picture(
    grey: np.ndarray, overlay: Overlay, axis: int, at: int, spacing_mm: Sequence[float], opacity: float, height: int
) -> Image.Image:
    """Return `painted` as a picture of a height (pixels), with square pixels."""
    rows = np.round(255 * painted(grey, overlay, axis, at, opacity)).astype(np.uint8)
    _, wide, _, tall = extent_mm(grey.shape, spacing_mm, axis)
    return Image.fromarray(rows).resize((max(1, round(height * wide / tall)), height), Image.Resampling.NEAREST)


def legend(labels: Sequence[str], with_errors: bool) -> str:
    """Return HTML that says which colour is which label, and which kind of error."""
    keys = [(label_title(label), colour) for label, colour in label_colours(labels).items()]
    keys += [(say(ERROR_NAMES[k]), ERROR_COLOURS[k]) for k in (MISSED, INVENTED) if with_errors]
    patch = '<span style="white-space: nowrap"><span style="background: {}">&emsp;</span> {}&ensp;</span>'
    return " ".join(patch.format(colour, html.escape(name)) for name, colour in keys)


def data_uri(picture: Image.Image, kind: str, **options: object) -> str:
    """Return a picture as an address for HTML, in a format of PIL, such as ``PNG``, with its options."""
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
