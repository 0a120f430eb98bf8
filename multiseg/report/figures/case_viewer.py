"""Scroll through a case with every model's labels or errors over it, without a server: brainsprite, which nilearn has.

brainsprite (Bellec and others, MIT licence) draws three planes on a canvas from an image that holds all slices.
"""

from __future__ import annotations

import html
import json
import zlib
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
from PIL import Image

from ...data.store import StoredCase
from . import overlays
from .language import say
from .names import model_title
from .overlays import Overlay

_PAGE = """
<div id="{id}" style="max-width: 900px; font: 14px sans-serif">
<p><label>{over} <select>{options}</select></label>
<label>{opacity} <input type="range" min="0" max="100" value="60"></label></p>
<div style="background: #000"><canvas id="{id}-3d" role="img" aria-label="{alt}"></canvas></div>
<p class="places">{sliders}</p>
<p>{legend}</p>
<p style="color: #555">{note}</p>
<div hidden><img id="{id}-image" alt="" src="{image}"><img id="{id}-over" alt="" src="{first}"></div>
<script type="application/json">{sprites}</script>
</div>
<script>{library}
(function () {{
  const root = document.getElementById("{id}");
  const sprites = JSON.parse(root.querySelector("script").textContent);
  const over = document.getElementById("{id}-over");
  const [opacity, ...places] = root.querySelectorAll("input");
  const start = () => {{
    const brain = brainsprite({{
      canvas: "{id}-3d", sprite: "{id}-image", nbSlice: {slices}, crosshair: true,
      colorCrosshair: "rgba(255, 255, 255, 0.45)",
      overlay: {{sprite: "{id}-over", nbSlice: {slices}, opacity: 0.6}}, numSlice: {middle},
      onclick: () => "XYZ".split("").forEach((axis, k) => {{ places[k].value = brain.numSlice[axis]; }}),
    }});
    root.querySelector("select").onchange = (event) => {{ over.src = sprites[event.target.value]; }};
    opacity.oninput = () => {{ brain.overlay.opacity = opacity.value / 100; brain.init(); brain.drawAll(); }};
    places.forEach((input, k) => {{
      input.oninput = () => {{ brain.numSlice["XYZ"[k]] = Number(input.value); brain.drawAll(); }};
    }});
  }};
  Promise.all([document.getElementById("{id}-image"), over].map((image) => image.decode())).then(start);
}})();
</script>
"""


def case_viewer(case: StoredCase, predictions: Mapping[str, np.ndarray], labels: Sequence[str], modality: str) -> str:
    """Return HTML that shows a case in three planes, with the labels of the truth or a model, or its errors, over it.

    Parameters
    ----------
    case
        A stored case, cropped as it is stored.
    predictions
        Model -> (X, Y, Z) class numbers; none to show what is drawn alone.
    labels
        Foreground labels of the predictions.
    modality
        The image to show.
    """
    shown = {say("ground truth"): _sprite(overlays.truth(case, labels))}
    for model, prediction in predictions.items():
        shown[model_title(model)] = _sprite(overlays.predicted(prediction, labels))
    for model, prediction in predictions.items():
        shown[f"{model_title(model)}: {say('errors')}"] = _sprite(overlays.errors(case, prediction, labels))
    image = _background(case, modality)
    size = sum(map(len, (image, *shown.values()))) / 1e6
    x, y, z = case.target.shape
    marks = zip(case.target.shape, ("left to right", "back to front", "bottom to top"), strict=True)
    sliders = "".join(
        f'<label>{say(text)} <input type="range" min="0" max="{n - 1}" value="{n // 2}"></label> ' for n, text in marks
    )
    legend = overlays.legend(labels, with_errors=bool(predictions))
    first, *_ = shown.values()
    return _PAGE.format(
        id=f"case-{zlib.crc32(image.encode()):08x}", over=say("over the image"), opacity=say("opacity"), image=image,
        options="".join(f'<option value="{k}">{html.escape(name)}</option>' for k, name in enumerate(shown)),
        sprites=json.dumps(list(shown.values())), first=first, sliders=sliders, legend=legend,
        alt=html.escape(f"{modality} of case {case.name} in three planes, with labels over it"),
        note=say("case {name}, {modality}; {size:.1f} MB of this page", name=case.name, modality=modality, size=size),
        slices=json.dumps({"X": x, "Y": y, "Z": z}), middle=json.dumps({"X": x // 2, "Y": y // 2, "Z": z // 2}),
        library=_library(),
    )  # fmt: skip


def _library() -> str:
    """Return brainsprite as nilearn, whose version the lock pins, carries it."""
    return resources.files("nilearn").joinpath("_assets/js/brainsprite.min.js").read_text(encoding="utf-8")


def _mosaic(volume: np.ndarray) -> np.ndarray:
    """Return all sagittal slices of a volume (X, Y, Z, ...) side by side, in as many rows as make a square."""
    x, y, z = volume.shape[:3]
    columns = int(np.ceil(np.sqrt(x * z / y)))
    rows = -(-x // columns)
    tiles = np.zeros((rows * columns, z, y, *volume.shape[3:]), dtype=volume.dtype)
    tiles[:x] = np.swapaxes(volume, 1, 2)[:, ::-1]
    tiles = tiles.reshape(rows, columns, z, y, *volume.shape[3:])
    return np.swapaxes(tiles, 1, 2).reshape(rows * z, columns * y, *volume.shape[3:])


def _background(case: StoredCase, modality: str) -> str:
    grey = overlays.grey_values(case, modality)
    return overlays.data_uri(Image.fromarray(_mosaic((255 * grey).astype(np.uint8))), "JPEG", quality=80)


def _sprite(overlay: Overlay) -> str:
    """Return an overlay as an image with a palette; 0 is transparent."""
    picture = Image.fromarray(_mosaic(overlay.numbers))
    picture.putpalette([0, 0, 0, *(round(255 * v) for colour in overlay.colours for v in colour)])
    return overlays.data_uri(picture, "PNG", transparency=0, optimize=True)
