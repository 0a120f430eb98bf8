"""Small files beside a segmentation that tell other programs what its numbers mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from multiseg_core.files import write_json

from ..base.files import write_text
from ..report.figures.style import label_colours


def colours(labels: Sequence[str]) -> list[tuple[int, ...]]:
    """Return red, green and blue, 0 to 255, of each label: the colours of the figures, all different."""
    shades = label_colours(labels)
    return [tuple(bytes.fromhex(shades[label].lstrip("#"))) for label in labels]


def itk_snap(names: Mapping[int, str]) -> str:
    """Return the text of an ITK-SNAP label description file."""
    lines = [
        "################################################",
        "# ITK-SnAP Label Description File",
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
        "################################################",
        '    0     0    0    0        0  0  0    "Clear Label"',
    ]
    for (code, label), (red, green, blue) in zip(names.items(), colours([*names.values()]), strict=True):
        text = label.replace('"', "'")
        lines.append(f'{code:5d}   {red:3d}  {green:3d}  {blue:3d}        1  1  1    "{text}"')
    return "\n".join(lines) + "\n"


def slicer_table(names: Mapping[int, str]) -> str:
    """Return the text of a colour table of 3D Slicer; blanks in names become underscores, as the format has it."""
    lines = ["# Color table", "0 background 0 0 0 0"]
    for (code, label), (red, green, blue) in zip(names.items(), colours([*names.values()]), strict=True):
        lines.append(f"{code} {re.sub(r'[^ -~]|[ ]', '_', label)} {red} {green} {blue} 255")
    return "\n".join(lines) + "\n"


def write_sidecars(out: Path, names: Mapping[int, str], sources: Mapping[str, Path], generated_by: str) -> list[Path]:
    """Write what explains a segmentation beside it; return the files.

    For ITK-SNAP ``OUT_labels.txt``, for 3D Slicer ``OUT.ctbl``, and as BIDS has it ``OUT.json`` and ``OUT.tsv``.
    `names` are number -> label, `sources` modality -> file that it was made from.
    """
    name = out.name.removesuffix(".gz").removesuffix(".nii")
    shades = label_colours([*names.values()])
    rows = [("index", "name", "color"), *((code, label, shades[label]) for code, label in names.items())]
    texts = {
        out.with_name(f"{name}_labels.txt"): itk_snap(names),
        out.with_name(f"{name}.ctbl"): slicer_table(names),
        out.with_name(f"{name}.tsv"): "".join("\t".join(map(str, row)) + "\n" for row in rows),
    }
    for path, text in texts.items():
        write_text(path, text)
    sidecar = out.with_name(f"{name}.json")
    facts = {
        "Manual": False,
        "SpatialReference": "orig",
        "Sources": [str(path) for path in sources.values()],
        "GeneratedBy": [{"Name": "multiseg", "Description": generated_by}],
        "LabelMap": {str(code): label for code, label in names.items()},
    }
    write_json(sidecar, facts)
    return [*texts, sidecar]
