"""Scroll through a case with every model's labels or errors over it, without a server: brainsprite, which nilearn has.

brainsprite (Bellec and others, MIT licence) draws three planes on a canvas from an image that holds all slices.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
from PIL import Image

from ...data.store import StoredCase
from ..table_files import render
from . import overlays
from .language import say
from .names import model_title
from .overlays import Overlay


def case_viewer(case: StoredCase, predictions: Mapping[str, np.ndarray], labels: Sequence[str], modality: str) -> str:
    """Return HTML that shows a case in three planes, with the labels of the truth or a model, or its errors, over it.

    `predictions` maps models to (X, Y, Z) class numbers, whose foreground labels are `labels`; it may be empty.
    """
    shown = {say("ground truth"): overlays.truth(case, labels)}
    shown |= {model_title(model): overlays.predicted(said, labels) for model, said in predictions.items()}
    for model, said in predictions.items():
        shown[f"{model_title(model)}: {say('errors')}"] = overlays.errors(case, said, labels)
    sprites = list(map(_sprite, shown.values()))
    grey = (255 * overlays.grey_values(case, modality)).astype(np.uint8)
    image = overlays.data_uri(Image.fromarray(mosaic(grey)), "JPEG", quality=80)
    size = sum(map(len, (image, *sprites))) / 1e6
    note = say("case {name}, {modality}; {size:.1f} MB of this page", name=case.name, modality=modality, size=size)
    slices = dict(zip("XYZ", case.target.shape, strict=True))
    ways = map(say, ("left to right", "back to front", "bottom to top"))
    library = resources.files("nilearn").joinpath("_assets/js/brainsprite.min.js")  # the lock pins its version
    return render(
        "case_viewer.html.j2",
        id=f"case-{zlib.crc32(image.encode()):08x}",
        image=image,
        names=list(shown),
        sprites=sprites,
        slices=slices,
        middle={axis: n // 2 for axis, n in slices.items()},
        note=note,
        places=dict(zip(ways, slices.values(), strict=True)),
        over=say("over the image"),
        opacity=say("opacity"),
        alt=f"{modality} of case {case.name} in three planes, with labels over it",
        legend=overlays.legend(labels, with_errors=bool(predictions)),
        library=library.read_text(encoding="utf-8"),
    )


def mosaic(volume: np.ndarray) -> np.ndarray:
    """Return all sagittal slices of a volume (X, Y, Z, ...) side by side, in as many rows as make a square."""
    x, y, z = volume.shape[:3]
    columns = int(np.ceil(np.sqrt(x * z / y)))
    rows = -(-x // columns)
    tiles = np.zeros((rows * columns, z, y, *volume.shape[3:]), dtype=volume.dtype)
    tiles[:x] = np.swapaxes(volume, 1, 2)[:, ::-1]
    tiles = tiles.reshape(rows, columns, z, y, *volume.shape[3:])
    return np.swapaxes(tiles, 1, 2).reshape(rows * z, columns * y, *volume.shape[3:])


def _sprite(overlay: Overlay) -> str:
    """Return an overlay as an image with a palette; 0 is transparent."""
    picture = Image.fromarray(mosaic(overlay.numbers))
    picture.putpalette([0, 0, 0, *(round(255 * v) for colour in overlay.colours for v in colour)])
    return overlays.data_uri(picture, "PNG", transparency=0, optimize=True)
