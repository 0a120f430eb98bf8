"""The params file of somebody's own data, with a remark wherever something had to be guessed."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import pandas as pd

from multiseg_core.errors import UserError
from multiseg_core.files import atomic_path

from ..base.files import write_table
from ..data.cohorts import FILE_ROLES
from .looking import Seen

TODO = "# TODO:"

VIEWS = """
inference:
  views: 4              # each image is predicted four times, a little cut, and the mean counts; 1 is faster
"""


def params_text(seen: Sequence[Seen], file: Path) -> str:
    """Return the text of a params file for what was seen in folders; paths are relative to `file`, where it goes."""
    title = json.dumps(" and ".join(s.name.replace("_", " ") for s in seen).capitalize())
    shared, renamed, remark = _modalities(seen)
    # the voxels of labels in a case on average: large structures first
    order = sorted(seen, key=lambda s: -sum(n for code, n in s.voxels.items() if code) / max(s.read, 1))
    names = ", ".join(s.name for s in order)
    scenario = [
        f"train: [{names}]   # where MultiUNet's networks disagree, later cohorts win: small structures last",
        f"test: [{names}]    # the cases marked test, or else the validation cases",
        *([f"{TODO} {remark}"] if remark else []),
        f"modalities: [{', '.join(map(_word, shared))}]",
    ]
    template = resources.files(__package__).joinpath("params.txt").read_text(encoding="utf-8")
    return template.format(
        file=_relative(file, Path()),
        title=title,
        cohorts="\n".join(_cohort(s, seen, file, shared[0] if s.name in renamed else None) for s in seen),
        preprocessing="".join(f"  {line}\n" for line in _preprocessing(seen)),
        inference=VIEWS if any(s.shows == "other" for s in seen) else "",
        scenario="".join(f"    {line}\n" for line in scenario),
    )


def write(seen: Sequence[Seen], file: Path) -> list[Path]:
    """Write a params file, and a manifest for each plain folder; return them. Raises `UserError` if one is there."""
    beside = {file.with_name(f"{file.stem}_{s.name}.csv"): s for s in seen if s.kind == "table"}
    for path in (file, *beside):
        if path.exists():
            raise UserError(f"{path}: is there already; give another name by -o, or remove it")
    for path, s in beside.items():
        rows = [{r: _relative(at, path.parent) for r, at in case.files.items()} for case in s.cases]
        table = pd.DataFrame(rows, columns=[r for r in (*s.modalities, *FILE_ROLES) if any(r in row for row in rows)])
        table.insert(0, "case", [case.name for case in s.cases])
        write_table(path, table)
    with atomic_path(file) as part:
        part.write_text(params_text(seen, file), encoding="utf-8")
    return [*beside, file]


def _cohort(s: Seen, seen: Sequence[Seen], file: Path, channel: str | None) -> str:
    """Return the lines of a cohort, with another name for its channel, if it has but one."""
    lines = [f"  {s.name}:", f"    source: {s.kind}"]
    if s.kind == "table":
        lines.append(f"    manifest: {file.stem}_{s.name}.csv")
    else:
        lines.append(f"    folder: {json.dumps(_relative(s.folder, file.parent))}")
    if channel is not None:
        lines.append(f'    files: {{{_word(channel)}: "0000"}}')
    counted = ", ".join(f"{code} {s.voxels.get(code, 0):,}" for code in sorted(s.codes)) or "none"
    lines.append(f"    # {len(s.cases)} cases; voxels of each code in {s.read} of them: {counted}")
    lines += [f"    {TODO} {text}" for text in s.remarks]
    stated = ", ".join(f"{code}: {_value(value)}" for code, value in sorted(s.codes.items()))
    guessed = s.kind == "table" or any(label == f"{s.name}_{code}" for code, label in s.codes.items())
    if guessed:
        lines.append(f"    codes: {{{stated}}}   # 0 is background")
    else:
        lines.append(f"    # codes: {{{stated}}}   # as the folder itself says; write them here to change names")
    others = dict.fromkeys(label for other in seen for label in other.labels if label not in s.labels)
    for label in s.labels:
        for other in (other for other in others if _plain(label) == _plain(other)):
            lines.append(f"    {TODO} is '{label}' the same as '{other}' of another cohort? Then give both one name")
    if others:
        listed = ", ".join(map(_word, others))
        lines.append(f"    # absent: [{listed}]   # uncomment those that these subjects are known not to have")
    return "\n".join(lines) + "\n"


def _preprocessing(seen: Sequence[Seen]) -> list[str]:
    shows = Counter(s.shows for s in seen)
    lines = []
    if shows["other"]:
        why = "the images do not look like brains or heads"
        if len(shows) > 1:
            why = f"{TODO} some images look like brains or heads, others do not"
        lines.append(f"brain_extraction: none    # {why}: everything counts")
    elif shows["head"]:
        lines += [
            f"{TODO} the images look like whole heads, whose brains ROBEX finds, a minute each;",
            "# give brain masks, or write none if they show no brains",
            "brain_extraction: auto",
        ]
    else:
        lines.append("brain_extraction: auto    # the images look brain-extracted")
    if any(s.is_ct for s in seen):
        lines += [f"{TODO} the images look like CT; these limits are for soft tissue", "clip_values: [-160, 240]"]
    return lines


def _modalities(seen: Sequence[Seen]) -> tuple[list[str], list[str], str]:
    """Return the modalities that all share, the cohorts whose channel gets that name, and what is to be settled."""
    first = seen[0]
    shared = [m for m in first.modalities if all(m in s.modalities for s in seen)]
    if shared:
        left = sorted({m for s in seen for m in s.modalities if m not in shared})
        return shared, [], f"only some cohorts have {', '.join(left)}; the networks do without" if left else ""
    if all(len(s.modalities) == 1 and s.kind == "nnunet" for s in seen):
        name = first.modalities[0]
        renamed = [s.name for s in seen if s.modalities[0] != name]
        listed = ", ".join(f"{s.modalities[0]} of {s.name}" for s in seen)
        return [name], renamed, f"{listed} are taken for the same kind of image; are they?"
    listed = "; ".join(f"{s.name} has {', '.join(s.modalities)}" for s in seen)
    return list(first.modalities[:1]), [], f"no modality has the same name in all cohorts: {listed}"


def _relative(path: Path, folder: Path) -> str:
    """Return a path as seen from a folder, or as it is if the way there is long."""
    found = os.path.relpath(path.resolve(), folder.resolve())
    return str(path.resolve()) if found.startswith("../../../..") else found


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _word(text: str) -> str:
    """Return a text as YAML can hold it in a list."""
    return text if re.fullmatch(r"[A-Za-z][\w.+-]*", text) and text.lower() not in _TRUTHS else json.dumps(text)


_TRUTHS = ("yes", "no", "on", "off", "true", "false", "null", "y", "n")


def _value(value: str | Sequence[str]) -> str:
    return _word(value) if isinstance(value, str) else f"[{', '.join(map(_word, value))}]"
