"""Look through the slices of all cohorts: sliders that work in JupyterLab and in a saved page alike."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from ...data.store import StoredCase
from ...settings.label_styles import label_name
from .slices import drawn_sets, target_overlay
from .style import label_colours

N_SLICES = 15
"""Axial slices per cohort."""

_PAGE = """
<div id="{id}" style="max-width: 640px; font-family: sans-serif; font-size: 14px">
 <p><label>Cohort <input type="range" min="0" max="{last_cohort}" value="0" aria-label="cohort"></label>
  <label>Slice <input type="range" min="0" max="{last_slice}" value="{middle}" aria-label="slice"></label></p>
 <p class="caption"></p>
 <img style="width: 100%; image-rendering: auto" alt="An axial slice of the chosen cohort: modalities, then labels">
 <script type="application/json">{data}</script>
</div>
<script>
(function () {{
  const root = document.getElementById("{id}");
  const cohorts = JSON.parse(root.querySelector("script").textContent);
  const [cohort, slice] = root.querySelectorAll("input");
  function show() {{
    const chosen = cohorts[cohort.value];
    root.querySelector("img").src = "data:image/jpeg;base64," + chosen.slices[slice.value];
    root.querySelector(".caption").textContent = chosen.text;
  }}
  cohort.oninput = slice.oninput = show;
  show();
}})();
</script>
"""


def slice_browser(explored: Mapping[str, Sequence[StoredCase]], labels: Sequence[str]) -> str:
    """Return HTML with a slider over cohorts and one over axial slices of each cohort's first case.

    Every slice shows all modalities, then the labels over the first one. It needs no server and no network.
    """
    cohorts = []
    for name, cases in explored.items():
        case = cases[0]
        drawn = drawn_sets(case, labels)
        names = ", ".join(label_name(label) for label in drawn)
        text = f"{name}, case {case.name}: {', '.join(case.modalities)}, and the labels {names}"
        heights = np.flatnonzero(np.asarray(case.mask).any(axis=(0, 1)))
        chosen = np.linspace(heights[0], heights[-1], N_SLICES + 2).round().astype(int)[1:-1]
        cohorts.append({"text": text, "slices": [_jpeg(_panels(case, drawn, int(z))) for z in chosen]})
    data = json.dumps(cohorts).replace("</", "<\\/")
    return _PAGE.format(
        id=f"slices-{zlib.crc32(data.encode()):08x}", last_cohort=len(cohorts) - 1, last_slice=N_SLICES - 1,
        middle=N_SLICES // 2, data=data,
    )  # fmt: skip


def _panels(case: StoredCase, drawn: Sequence[str], z: int) -> np.ndarray:
    """Return all modalities of a slice and its labels side by side, (rows, columns, 3) uint8, front of the head up."""
    inside = np.asarray(case.mask)
    panels = []
    for channel in range(len(case.modalities)):
        image = np.asarray(case.images[channel])
        low, high = np.percentile(image[inside], [0.5, 99.5])
        grey = np.clip((image[:, :, z] - low) / (high - low), 0, 1) * inside[:, :, z]
        panels.append(np.repeat(grey[..., None], 3, axis=-1))
    overlay = target_overlay(case, drawn, z)
    painted = panels[0].copy()
    for k, colour in enumerate(label_colours(drawn).values(), start=1):
        painted[overlay == k] = 0.4 * painted[overlay == k] + 0.6 * np.array(to_rgb(colour))
    row = np.concatenate([*panels, painted], axis=0)  # (panels * X, Y, 3)
    return (255 * np.transpose(row, (1, 0, 2))[::-1]).astype(np.uint8)


def _jpeg(pixels: np.ndarray) -> str:
    """Return an image as base64 text."""
    scale = max(1, round(160 / pixels.shape[0]))
    image = Image.fromarray(pixels).resize((pixels.shape[1] * scale, pixels.shape[0] * scale))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=70)
    return base64.b64encode(buffer.getvalue()).decode()
