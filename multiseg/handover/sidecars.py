"""Small files beside a segmentation that tell other programs what its numbers mean."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping
from pathlib import Path

from multiseg_core.files import atomic_path, write_json

from ..settings.label_styles import LABEL_STYLES


def stem(path: Path) -> str:
    """Return the name of an image without ``.nii`` or ``.nii.gz``."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def colour(label: str, number: int) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a label: its own colour, or the number-th of a round of hues."""
    if label in LABEL_STYLES:
        text = LABEL_STYLES[label].colour
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    # steps of the golden ratio keep neighbours apart, however many there are
    red, green, blue = colorsys.hsv_to_rgb((0.61803399 * number) % 1, 0.65, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def itk_snap(names: Mapping[int, str]) -> str:
    """Return the text of an ITK-SNAP label description file."""
    lines = [
        "################################################",
        "# ITK-SnAP Label Description File",
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
        "################################################",
        '    0     0    0    0        0  0  0    "Clear Label"',
    ]
    for number, (code, label) in enumerate(names.items()):
        red, green, blue = colour(label, number)
        text = label.replace('"', "'")
        lines.append(f'{code:5d}   {red:3d}  {green:3d}  {blue:3d}        1  1  1    "{text}"')
    return "\n".join(lines) + "\n"


def slicer_table(names: Mapping[int, str]) -> str:
    """Return the text of a colour table of 3D Slicer; blanks in names become underscores, as the format has it."""
    lines = ["# Color table", "0 background 0 0 0 0"]
    for number, (code, label) in enumerate(names.items()):
        red, green, blue = colour(label, number)
        lines.append(f"{code} {re.sub(r'[^ -~]|[ ]', '_', label)} {red} {green} {blue} 255")
    return "\n".join(lines) + "\n"


def write_sidecars(out: Path, names: Mapping[int, str], sources: Mapping[str, Path], generated_by: str) -> list[Path]:
    """Write what explains a segmentation beside it; return the files.

    Parameters
    ----------
    out
        The segmentation.
    names
        Number -> label.
    sources
        Modality -> file that it was made from.
    generated_by
        Which run made it.

    Returns
    -------
    list of Path
        For ITK-SNAP ``OUT_labels.txt``, for 3D Slicer ``OUT.ctbl``, and as BIDS has it ``OUT.json`` and ``OUT.tsv``.
    """
    name = stem(out)
    texts = {
        out.with_name(f"{name}_labels.txt"): itk_snap(names),
        out.with_name(f"{name}.ctbl"): slicer_table(names),
        out.with_name(f"{name}.tsv"): "index\tname\tcolor\n"
        + "".join(
            f"{code}\t{label}\t#{''.join(f'{part:02x}' for part in colour(label, number))}\n"
            for number, (code, label) in enumerate(names.items())
        ),
    }
    for path, text in texts.items():
        with atomic_path(path) as part:
            part.write_text(text, encoding="utf-8")
    facts = {
        "Manual": False,
        "SpatialReference": "orig",
        "Sources": [str(path) for path in sources.values()],
        "GeneratedBy": [{"Name": "multiseg", "Description": generated_by}],
        "LabelMap": {str(code): label for code, label in names.items()},
    }
    sidecar = out.with_name(f"{name}.json")
    write_json(sidecar, facts)
    return [*texts, sidecar]
