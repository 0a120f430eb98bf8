"""What can be painted over a case: its labels, a model's, a model's errors, and how uncertain it is."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from ...data.store import StoredCase
from .case_panels import ERROR_COLOURS, ERROR_NAMES, RIGHT, error_map
from .language import say
from .names import label_title
from .style import label_colours

SHADES = 16
"""Steps in which an uncertainty is painted."""


class Overlay(NamedTuple):
    """A number per voxel, and the colours of the numbers from 1 on; 0 is transparent."""

    numbers: np.ndarray
    """(X, Y, Z) uint8."""
    colours: list[tuple[float, float, float]]
    """Red, green and blue, 0 to 1."""


def truth(case: StoredCase, labels: Sequence[str]) -> Overlay:
    """Return the labels that were drawn; voxels that may be one of several are transparent."""
    numbers = {frozenset([label]): k for k, label in enumerate(labels, start=1)}
    table = np.array([numbers.get(frozenset(members), 0) for members in case.sets], dtype=np.uint8)
    return predicted(table[case.target], labels)


def predicted(prediction: np.ndarray, labels: Sequence[str]) -> Overlay:
    """Return the labels of a prediction, (X, Y, Z) class numbers."""
    return Overlay(prediction.astype(np.uint8), [to_rgb(c) for c in label_colours(labels).values()])


def errors(case: StoredCase, prediction: np.ndarray, labels: Sequence[str]) -> Overlay:
    """Return what is missed and what is invented of all labels together; of two, that of the later label."""
    found = np.zeros(prediction.shape, dtype=np.uint8)
    for label in labels:
        wrong = error_map(case, prediction, labels, label)
        found[wrong > RIGHT] = wrong[wrong > RIGHT] - RIGHT
    return Overlay(found, [to_rgb(c) for k, c in ERROR_COLOURS.items() if k != RIGHT])


def uncertainty(doubt: np.ndarray) -> Overlay:
    """Return how uncertain a model is, (X, Y, Z) from 0 to 1, in `SHADES` colours; nothing where it is sure."""
    steps = np.clip(np.round(doubt * SHADES), 0, SHADES).astype(np.uint8)
    inferno = matplotlib.colormaps["inferno"](np.linspace(0, 1, SHADES + 1)[1:])
    return Overlay(steps, [(float(r), float(g), float(b)) for r, g, b, _ in inferno])


def grey_values(case: StoredCase, modality: str) -> np.ndarray:
    """Return an image of a case as grey values from 0 to 1, (X, Y, Z); black outside the mask."""
    image, inside = np.asarray(case.images[case.modalities.index(modality)]), np.asarray(case.mask)
    low, high = np.percentile(image[inside], [0.5, 99.5])
    return np.clip((image - low) / (high - low) * 0.85 + 0.15, 0, 1) * inside


def plane_picture(
    grey: np.ndarray, overlay: Overlay, axis: int, at: int, spacing_mm: Sequence[float], opacity: float, height: int
) -> Image.Image:
    """Return a slice with an overlay, up on top and left of the patient on the left.

    Parameters
    ----------
    grey
        (X, Y, Z), 0 to 1.
    overlay
        Of the same shape.
    axis, at
        The axis that the plane cuts, and where (voxels).
    spacing_mm
        Voxel size, (3,): the picture has square pixels.
    opacity
        Of the overlay, 0 to 1.
    height
        Of the picture (pixels).
    """
    image = np.take(grey, at, axis)[..., None].repeat(3, axis=-1)
    numbers = np.take(overlay.numbers, at, axis)
    colours = np.array([(0.0, 0.0, 0.0), *overlay.colours])[numbers]
    mixed = np.where(numbers[..., None] > 0, (1 - opacity) * image + opacity * colours, image)
    rows = np.round(255 * mixed).astype(np.uint8).swapaxes(0, 1)[::-1]  # the second axis of the plane goes up
    wide, tall = (n * spacing_mm[k] for n, k in zip(numbers.shape, [k for k in range(3) if k != axis], strict=True))
    size = max(1, round(height * wide / tall)), height
    return Image.fromarray(rows).resize(size, Image.Resampling.NEAREST)


def legend(labels: Sequence[str], with_errors: bool) -> str:
    """Return HTML that says which colour is which label, and which kind of error."""
    keys = [(label_title(label), colour) for label, colour in label_colours(labels).items()]
    if with_errors:
        keys += [(say(ERROR_NAMES[k]), colour) for k, colour in ERROR_COLOURS.items() if k != RIGHT]
    patch = '<span style="white-space: nowrap"><span style="background: {}">&emsp;</span> {}&ensp;</span>'
    return " ".join(patch.format(colour, html.escape(name)) for name, colour in keys)


def data_uri(picture: Image.Image, kind: str, **options: object) -> str:
    """Return a picture as an address for HTML, in a format of PIL, such as ``PNG``, with its options."""
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
