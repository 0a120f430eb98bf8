"""Folders of nnU-Net (versions 1 and 2) and of the Medical Segmentation Decathlon, as ``source: nnunet``.

::

    dataset.json   channel_names (v1: modality), labels, file_ending, ...
    imagesTr/      CASE_0000.nii.gz, CASE_0001.nii.gz: a file per channel; or CASE.nii.gz, 3-D, or 4-D with all of them
    labelsTr/      CASE.nii.gz
    imagesTs/, labelsTs/   cases with labels here are test cases; those without are left alone

Source: the documentation of nnU-Net v2 on its data set format, and the ``dataset.json`` of the Decathlon.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiseg_core.errors import UserError, one_line
from multiseg_core.labels import BACKGROUND

from ...settings.params import CohortParams
from ..cohorts import Case
from ..image_files import SUFFIXES
from .found import Found, Part, not_excluded, visible

DESCRIPTION = "dataset.json"


@dataclass(frozen=True)
class Description:
    """What ``dataset.json`` says."""

    channels: tuple[str, ...]
    """Names of modalities in order of the channels."""
    codes: Mapping[int, str]
    """Native code -> label or ``ignore``."""
    ending: str
    """Suffix of the files."""
    listed: Mapping[str, tuple[tuple[str, ...], str]]
    """Case -> image files and label file, where the file lists them itself, relative to the folder."""
    notes: tuple[str, ...]
    """What is worth a word."""


def describe(folder: Path) -> Description:
    """Read ``dataset.json``. Raises `UserError` naming the file and the key at fault."""
    path = folder / DESCRIPTION
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a folder of nnU-Net or the Decathlon has one") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable JSON file ({one_line(error)[:120]})") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected an object with keys such as labels")
    named = raw.get("channel_names", raw.get("modality"))
    if not isinstance(named, dict) or not named:
        raise UserError(f"{path}: no key 'channel_names' (version 1: 'modality') with a name per channel")
    try:
        names = [str(named[key]) for key in sorted(named, key=int)]
    except ValueError:
        raise UserError(f"{path}: channel_names: its keys must be numbers, got {', '.join(named)}") from None
    unique = len(set(names)) == len(names)
    channels = tuple(name if unique or names.count(name) == 1 else f"{name}_{k}" for k, name in enumerate(names))
    codes, notes = _codes(path, raw.get("labels"))
    entries = raw["dataset"] if isinstance(raw.get("dataset"), dict) else {}
    listed = {
        name: (tuple(entry["images"]), str(entry["label"]))
        for name, entry in entries.items()
        if isinstance(entry, dict) and isinstance(entry.get("images"), list) and "label" in entry
    }
    return Description(channels, codes, str(raw.get("file_ending", ".nii.gz")), listed, notes)


def _codes(path: Path, labels: Any) -> tuple[dict[int, str], tuple[str, ...]]:
    """Return what codes mean, from name -> code, or codes of a region (v2), or from code -> name (v1), and notes."""
    if not isinstance(labels, dict):
        raise UserError(f"{path}: no key 'labels' with a code per name")
    if all(isinstance(value, str) and re.fullmatch(r"\d+", key) for key, value in labels.items()):
        by_name: dict[str, list[int]] = {}
        for code, name in labels.items():
            by_name.setdefault(BACKGROUND if int(code) == 0 else name, []).append(int(code))
        labels = by_name
    regions: dict[str, list[int]] = {}
    for name, value in labels.items():
        members = value if isinstance(value, list) else [value]
        if not members or not all(isinstance(code, int | str) and str(code).isdigit() for code in members):
            raise UserError(f"{path}: labels: '{name}' must be a whole number or a list of them, got {value}")
        regions[name] = [int(code) for code in members]
    background = regions.pop(BACKGROUND, [0])
    if background != [0]:
        raise UserError(f"{path}: labels: background must be 0, got {background}")
    codes: dict[int, str] = {}
    painted_over: dict[str, None] = {}
    for name, members in regions.items():  # as nnU-Net paints regions, later ones over earlier ones
        painted_over |= dict.fromkeys(codes[code] for code in members if code in codes)
        codes |= dict.fromkeys(members, name)
    codes.pop(0, None)
    lost = [name for name in regions if name not in codes.values()]
    if lost:
        raise UserError(f"{path}: labels: region '{lost[0]}' lies wholly in later ones, so that nothing of it is left")
    return codes, tuple(f"label '{name}' stands for what the regions within it leave of it" for name in painted_over)


def find(cohort: str, params: CohortParams, folder: Path, work: Path) -> Found:
    """Find the cases of a folder with ``dataset.json``, and the `Part`s that have to be written below `work`.

    `files` of the params has numbers of channels by modality, in place of the names in ``dataset.json``. No voxel is
    read. Raises `UserError` naming the file or key at fault; what single cases lack is returned.
    """
    told = describe(folder)
    numbers = _numbers(cohort, told, params.files or {})
    labels = {
        path.name.removesuffix(told.ending): (split, path)
        for split in ("Tr", "Ts")
        for path in visible(folder / f"labels{split}")
        if path.name.endswith(told.ending)
    }
    if told.listed:
        labels = {name: ("Tr", folder / label) for name, (_, label) in told.listed.items()}
    if not labels:
        raise UserError(f"cohorts.{cohort}.folder: no labels with the ending {told.ending} in {folder / 'labelsTr'}")
    cases, problems, parts = [], {}, []

    def readable(path: Path, channel: int | None, name: str) -> Path:
        if channel is None and path.name.lower().endswith(SUFFIXES):
            return path
        parts.append(Part(path, channel, work / "channels" / cohort / f"{name}.nii.gz"))
        return parts[-1].copy

    for name in not_excluded(cohort, labels, params.exclude, folder):
        split, label = labels[name]
        files, faults = _images(folder, split, name, told, numbers)
        if faults:
            problems[name] = faults
        images = {m: readable(*file, f"{name}_{numbers[m]:04d}") for m, file in files.items()}
        label = readable(label, None, f"{name}_labels")
        cases.append(Case(cohort, name, images, label, split="test" if split == "Ts" else None))
    has_tests = any(split == "Ts" for split, _ in labels.values())
    notes = [*told.notes, *(["the cases of labelsTs are its test cases"] if has_tests else [])]
    return Found(cases, tuple(numbers), told.codes, problems=problems, notes=notes, parts=parts)


def _numbers(cohort: str, told: Description, channels: Mapping[str, str]) -> dict[str, int]:
    """Return modality -> number of its channel."""
    for name, text in channels.items():
        if not re.fullmatch(r"_?\d+", text) or int(text.strip("_")) >= len(told.channels):
            known = ", ".join(f"{k:04d} {channel}" for k, channel in enumerate(told.channels))
            raise UserError(f"cohorts.{cohort}.files.{name}: '{text}' is not the number of a channel ({known})")
    given = {name: int(text.strip("_")) for name, text in channels.items()}
    return given or {name: k for k, name in enumerate(told.channels)}


def _images(
    folder: Path, split: str, name: str, told: Description, numbers: Mapping[str, int]
) -> tuple[dict[str, tuple[Path, int | None]], list[str]]:
    """Return the file of each modality, and which volume of it, and what is missing."""
    if told.listed:
        listed = told.listed[name][0]
        faults = [f"no file for {m}" for m, k in numbers.items() if k >= len(listed)]
        return {m: (folder / listed[k], None) for m, k in numbers.items() if k < len(listed)}, faults
    stem = folder / f"images{split}" / name
    whole = stem.with_name(f"{name}{told.ending}")
    if not stem.with_name(f"{name}_0000{told.ending}").is_file() and whole.is_file():
        alone = len(told.channels) == 1
        return {m: (whole, None if alone else k) for m, k in numbers.items()}, []
    files = {m: stem.with_name(f"{name}_{k:04d}{told.ending}") for m, k in numbers.items()}
    faults = [f"no file for {m} (looked for {path})" for m, path in files.items() if not path.is_file()]
    return {m: (path, None) for m, path in files.items()}, faults
