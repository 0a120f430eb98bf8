"""``multiseg init``: from folders of images to a params file."""

from __future__ import annotations

import argparse

from ..starting.looking import Seen, look
from ..starting.writing import TODO, write


def run(options: argparse.Namespace) -> None:
    """Do what ``multiseg init`` is asked for. Raises `UserError` naming the folder at fault."""
    seen: list[Seen] = []
    for folder in options.folder:
        seen.append(look(folder, [s.name for s in seen]))
        _print(seen[-1])
    written = write(seen, options.out)
    todo = written[-1].read_text(encoding="utf-8").count(TODO)
    print(f"written: {', '.join(map(str, written))}" + (f"; settle the {todo} lines marked TODO in it" if todo else ""))
    print(f"next: multiseg check {options.out}\n      multiseg study {options.out}")


def _print(s: Seen) -> None:
    kinds = {"nnunet": "nnU-Net or Decathlon", "bids": "BIDS", "table": "plain"}
    shape, size = ("x".join(f"{n:g}" for n in values) for values in (s.shape, s.size_mm))
    shows = {"brain": "a brain", "head": "a head", "other": "neither a brain nor a head"}[s.shows]
    print(f"{s.folder}: {kinds[s.kind]}, {len(s.cases)} cases with {', '.join(s.modalities)}")
    print(f"  the first has {shape} voxels of {size} mm, values {s.values[0]:g} to {s.values[1]:g}, and shows {shows}")
    for code in sorted({0, *s.codes, *s.voxels}):
        value = s.codes.get(code, "background" if code == 0 else "?")
        name = value if isinstance(value, str) else " or ".join(value)
        print(f"  {code:4d} {name:<24} {s.voxels.get(code, 0):>14,} voxels in {s.read} of {len(s.cases)} cases")
    for text in s.remarks:
        print(f"  note: {text}")
