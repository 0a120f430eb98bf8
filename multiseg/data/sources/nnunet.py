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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiseg_core.errors import UserError, one_line, suggest
from multiseg_core.labels import BACKGROUND, IGNORE

from ..cohorts import Case
from .folder import FolderCohort, Part, is_read_directly, visible

DESCRIPTION = "dataset.json"


@dataclass(frozen=True)
class Description:
    """What ``dataset.json`` says.

    Attributes
    ----------
    channels
        Names of modalities in order of the channels.
    codes
        Native code -> label or ``ignore``.
    ending
        Of the files.
    listed
        Case -> image files and label file, where the file lists them itself, relative to the folder.
    notes
        What is worth a word.
    """

    channels: tuple[str, ...]
    codes: Mapping[int, str | list[str]]
    ending: str
    listed: Mapping[str, tuple[tuple[str, ...], str]]
    notes: tuple[str, ...]


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
        channels = tuple(str(named[key]) for key in sorted(named, key=int))
    except ValueError:
        raise UserError(f"{path}: channel_names: its keys must be numbers, got {', '.join(named)}") from None
    repeated = next((name for name in channels if channels.count(name) > 1), None)
    if repeated is not None:
        channels = tuple(f"{name}_{k}" if channels.count(name) > 1 else name for k, name in enumerate(channels))
    codes, notes = _codes(path, raw)
    return Description(channels, codes, str(raw.get("file_ending", ".nii.gz")), _listed(raw), notes)


def _codes(path: Path, raw: Mapping[str, Any]) -> tuple[dict[int, str | list[str]], tuple[str, ...]]:
    """Return what codes mean, from name -> code, or codes of a region (v2), or from code -> name (v1)."""
    labels = raw.get("labels")
    if not isinstance(labels, dict):
        raise UserError(f"{path}: no key 'labels' with a code per name")
    regions: dict[str, list[int]] = {}
    if all(isinstance(value, str) and re.fullmatch(r"\d+", key) for key, value in labels.items()):
        by_name: dict[str, list[int]] = {}
        for code, name in labels.items():
            by_name.setdefault(BACKGROUND if int(code) == 0 else name, []).append(int(code))
        labels = by_name
    for name, value in labels.items():
        members = value if isinstance(value, list) else [value]
        if not members or not all(isinstance(code, int | str) and str(code).isdigit() for code in members):
            raise UserError(f"{path}: labels: '{name}' must be a whole number or a list of them, got {value}")
        regions[name] = [int(code) for code in members]
    codes: dict[int, str | list[str]] = {}
    inner: dict[str, None] = {}
    for name in regions:  # as nnU-Net paints regions, later ones over earlier ones
        if name == BACKGROUND:
            continue
        for code in regions[name]:
            if code in codes:
                inner[str(codes[code])] = None
            codes[code] = IGNORE if name == IGNORE else name
    if regions.get(BACKGROUND, [0]) != [0]:
        raise UserError(f"{path}: labels: background must be 0, got {regions[BACKGROUND]}")
    codes.pop(0, None)
    lost = [name for name in regions if name not in (BACKGROUND, *codes.values())]
    if lost:
        raise UserError(f"{path}: labels: region '{lost[0]}' lies wholly in later ones, so that nothing of it is left")
    notes = tuple(f"label '{name}' stands for what the regions within it leave of it" for name in inner)
    return codes, notes


def _listed(raw: Mapping[str, Any]) -> dict[str, tuple[tuple[str, ...], str]]:
    found = raw.get("dataset")
    if not isinstance(found, dict):
        return {}
    return {
        name: (tuple(entry["images"]), str(entry["label"]))
        for name, entry in found.items()
        if isinstance(entry, dict) and isinstance(entry.get("images"), list) and "label" in entry
    }


def read_folder(
    cohort: str, folder: Path, work: Path, exclude: Sequence[str] = (), channels: Mapping[str, str] | None = None
) -> FolderCohort:
    """Find the cases of a folder; no voxel is read. Of several modalities in one file, `parts` must be written.

    Parameters
    ----------
    cohort
        Name of the cohort.
    folder
        The folder with ``dataset.json``.
    work
        Where copies go of volumes that are not files of their own, see `Part`.
    exclude
        Names of cases to leave out.
    channels
        Modality -> number of its channel, in place of the names in ``dataset.json``.

    Raises
    ------
    UserError
        Naming the file or key at fault. What single cases lack is returned.
    """
    where = f"cohorts.{cohort}"
    if not folder.is_dir():
        raise UserError(f"{where}.folder: no such folder: {folder}")
    told = describe(folder)
    numbers = _numbers(where, told, channels)
    labels = {
        path.name.removesuffix(told.ending): (split, path)
        for split in ("Tr", "Ts")
        for path in visible(folder / f"labels{split}")
        if path.name.endswith(told.ending)
    }
    if told.listed:
        labels = {name: ("Tr", folder / label) for name, (_, label) in told.listed.items()}
    if not labels:
        raise UserError(f"{where}.folder: no labels with the ending {told.ending} in {folder / 'labelsTr'}")
    for name in exclude:
        if name not in labels:
            raise UserError(f"{where}.exclude: no case '{name}' in {folder}{suggest(name, labels)}")
    has_tests = any(split == "Ts" for split, _ in labels.values())
    cases, problems, parts = [], {}, []
    for name, (split, label) in labels.items():
        if name in exclude:
            continue
        files, faults = _images(folder / f"images{split}", name, told, numbers)
        if told.listed:
            listed = [folder / file for file in told.listed[name][0]]
            files = {m: (listed[k], None) for m, k in numbers.items() if k < len(listed)}
            faults = [f"no file for {m}" for m in numbers if m not in files]
        if faults:
            problems[name] = tuple(f"cohort {cohort}, case {name}: {fault}" for fault in faults)
        images = {}
        for modality, (path, channel) in files.items():
            if channel is not None or not is_read_directly(path):
                number = f"_{numbers[modality]:04d}"
                parts.append(Part(path, channel, work / "channels" / cohort / f"{name}{number}.nii.gz"))
                path = parts[-1].copy
            images[modality] = path
        if not is_read_directly(label):
            parts.append(Part(label, None, work / "channels" / cohort / f"{name}_labels.nii.gz"))
            label = parts[-1].copy
        cases.append(Case(cohort, name, images, label, split="test" if split == "Ts" else None))
    if not cases:
        raise UserError(f"{where}.exclude: leaves no case")
    notes = [f"cohort {cohort}: {note}" for note in told.notes]
    if has_tests:
        notes.append(f"cohort {cohort}: the cases of labelsTs are its test cases")
    return FolderCohort(tuple(cases), tuple(numbers), told.codes, problems, tuple(notes), tuple(parts))


def _numbers(where: str, told: Description, channels: Mapping[str, str] | None) -> dict[str, int]:
    """Return modality -> number of its channel."""
    if not channels:
        return {name: k for k, name in enumerate(told.channels)}
    numbers = {}
    for name, text in channels.items():
        if not re.fullmatch(r"_?\d+", text) or int(text.strip("_")) >= len(told.channels):
            known = ", ".join(f"{k:04d} {channel}" for k, channel in enumerate(told.channels))
            raise UserError(f"{where}.files.{name}: '{text}' is not the number of a channel ({known})")
        numbers[name] = int(text.strip("_"))
    return numbers


def _images(
    folder: Path, name: str, told: Description, numbers: Mapping[str, int]
) -> tuple[dict[str, tuple[Path, int | None]], list[str]]:
    """Return the file of each modality, and which volume of it, and what is missing."""
    whole = folder / f"{name}{told.ending}"
    if not (folder / f"{name}_0000{told.ending}").is_file() and whole.is_file():
        alone = len(told.channels) == 1
        return {m: (whole, None if alone else k) for m, k in numbers.items()}, []
    files = {m: (folder / f"{name}_{k:04d}{told.ending}", None) for m, k in numbers.items()}
    faults = [f"no file for {m} (looked for {path})" for m, (path, _) in files.items() if not path.is_file()]
    return dict(files), faults
