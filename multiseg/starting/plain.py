"""Folders without a layout: which of the images belong to one case, and which of them are labels, by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from multiseg_core.errors import UserError

from ..data.cohorts import FILE_ROLES
from ..data.image_files import SUFFIXES, read_volume

LABEL_WORDS = (
    "label", "labels", "seg", "segm", "segmentation", "dseg", "truth", "gt", "annotation", "manual", "roi", "lesion",
    "lesions",
)  # fmt: skip
"""Words in the name of a file that speak for labels."""

MOST_CODES = 100
"""Values of a file of whole numbers that may be codes of labels."""

Cases = Mapping[str, Mapping[str, Path]]
"""Case -> role -> file. A role is a modality, ``labels`` or ``brain_mask``, or what the file is called."""

_Placed = tuple[Path, tuple[str, ...], str]
"""A file, the folders that it lies in, and its name without the ending."""


def group(folder: Path) -> tuple[Cases, list[str]]:
    """Guess which files below a folder belong together, and which of them are labels.

    Three habits are known: a folder per case, ``case_role`` side by side, and a folder per role.

    Returns
    -------
    cases, left_out
        Cases with an image at least, and files that fit nowhere, as seen from the folder.
    """
    placed = _images(folder)
    found = [_grouped(placed, habit) for habit in (_case_by_folder, _case_by_name, _role_by_folder)]
    cases, clashes = max(found, key=lambda pair: _worth(*pair))
    roles = dict.fromkeys(role for of_case in cases.values() for role in of_case)
    examples = {role: next(of_case[role] for of_case in cases.values() if role in of_case) for role in roles}
    named = _named(examples)
    clashes += [of_case[role] for of_case in cases.values() for role in of_case if role not in named]
    whole = {
        case: {named[role]: path for role, path in of_case.items() if role in named} for case, of_case in cases.items()
    }
    whole = {case: of_case for case, of_case in whole.items() if set(of_case) - set(FILE_ROLES)}
    return whole, [str(path.relative_to(folder)) for path in clashes]


def _images(folder: Path) -> list[_Placed]:
    """Return all images below a folder, without hidden ones, by name."""
    found = []
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        above = Path(at).relative_to(folder).parts
        for name in sorted(name for name in files if not name.startswith(".")):
            ending = max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len, default="")
            if ending:
                found.append((Path(at, name), above, name[: -len(ending)]))
    return found


def _grouped(
    placed: Sequence[_Placed], habit: Callable[[tuple[str, ...], str], tuple[str, str]]
) -> tuple[dict[str, dict[str, Path]], list[Path]]:
    cases: dict[str, dict[str, Path]] = {}
    clashes = []
    for path, folders, stem in placed:
        case, role = habit(folders, stem)
        if not case or role in cases.get(case, {}):
            clashes.append(path)
        else:
            cases.setdefault(case, {})[role] = path
    return cases, clashes


def _worth(cases: Cases, clashes: Sequence[Path]) -> tuple[int, ...]:
    """Rank a way to group files: cases with images and labels count, then that little is left out, and few roles."""
    whole = sum(len(roles) > 1 and any(map(_speaks_for_labels, roles)) for roles in cases.values())
    several = sum(len(roles) > 1 for roles in cases.values())
    return whole, several, -len(clashes), -len({role for of_case in cases.values() for role in of_case}), len(cases)


def _named(examples: Mapping[str, Path]) -> dict[str, str]:
    """Return role -> ``labels``, ``brain_mask`` or modality, of those that can be told, by names and a file each.

    Of several files of labels, the one whose name says so, or that has most codes, is taken.
    """
    codes = {role: n for role, path in examples.items() if (n := _number_of_codes(path))}
    masks = [role for role in codes if "mask" in role.lower()]
    ranked = sorted(codes, key=lambda role: (role not in masks, _speaks_for_labels(role), codes[role]), reverse=True)
    named = {role: _modality(role) for role in examples if role not in codes}
    if ranked:
        named[ranked[0]] = "labels"
    mask = next((role for role in masks if role not in named and codes[role] == 2), None)
    if mask is not None:
        named[mask] = "brain_mask"
    return named


def _number_of_codes(path: Path) -> int:
    """Return how many values a file holds if they may be codes of labels, else 0."""
    try:
        values = np.unique(read_volume(path))
    except UserError:
        return 0
    return len(values) if len(values) <= MOST_CODES and (values == np.rint(values)).all() and values[0] == 0 else 0


def _speaks_for_labels(role: str) -> bool:
    words = re.split(r"[^a-z0-9]+", role.lower())
    return any(word in words for word in LABEL_WORDS) or role.lower().startswith(("label", "seg"))


def _case_by_folder(folders: tuple[str, ...], stem: str) -> tuple[str, str]:
    """Take ``sub01/T1``, ``sub01/sub01_T1`` or ``site/sub01/anat/T1``; a case is named by all folders above."""
    for name in reversed(folders):  # files repeat the name of their case
        if stem.lower().startswith(name.lower()):
            stem = stem[len(name) :].strip("_-. ")
    return "_".join(folders), stem


def _case_by_name(folders: tuple[str, ...], stem: str) -> tuple[str, str]:
    """Take ``sub01_T1`` and ``sub01_labels``, or ``sub01`` and ``sub01_labels``."""
    match = re.fullmatch(r"(.*[^_.-])[_.-]+([A-Za-z][A-Za-z0-9]*)", stem)
    return (match[1], match[2]) if match else (stem, "")


def _role_by_folder(folders: tuple[str, ...], stem: str) -> tuple[str, str]:
    """Take ``images/sub01`` and ``labels/sub01``, or ``labels/sub01_seg``."""
    role = folders[-1] if folders else ""
    words = "|".join(LABEL_WORDS)
    return re.sub(rf"[_.-]({words})$", "", stem, flags=re.IGNORECASE), role


def _modality(role: str) -> str:
    """Return what images of a role are called."""
    known = {name.lower(): name for name in ("T1", "T2", "T1c", "FLAIR", "PD", "CT")}
    known |= {"t1w": "T1", "t2w": "T2", "t1ce": "T1c", "t1gd": "T1c"}
    known |= dict.fromkeys(("", "images", "imgs", "img"), "image")
    first = re.split(r"[^a-z0-9]+", role.lower())[0]
    return known.get(role.lower(), known.get(first, role))
