"""Folders in the Brain Imaging Data Structure, lightly: anatomical images and drawn labels, as ``source: bids``.

::

    participants.tsv                                    optionally a column split: train, validation or test
    sub-01/[ses-a/]anat/sub-01_[ses-a_]T1w.nii.gz       also FLAIR, T2w, PDw, ...
    derivatives/NAME/sub-01/[ses-a/]anat/sub-01_..._dseg.nii.gz, ..._desc-brain_mask.nii.gz
    dseg.tsv                                            index and name of each label: beside the files or above

Each session of a subject is a case. Source: the specification, on anatomical data and segmentations.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from multiseg_core.errors import UserError, one_line, suggest
from multiseg_core.labels import BACKGROUND, IGNORE

from ...settings.params import CohortParams
from ..cohorts import SPLITS, Case
from .found import Found, not_excluded, visible

MODALITIES: Mapping[str, str] = {"T1w": "T1", "T2w": "T2", "PDw": "PD"}
"""Suffixes that go by another name here; others, such as FLAIR, keep theirs."""

NO_MODALITIES = ("mask", "dseg", "probseg", "defacemask")
"""Suffixes of what is drawn."""

DRAWN: Mapping[str, str] = {"labels": "*_dseg", "brain_mask": "*_desc-brain_mask"}
"""Patterns of names, unless a params file gives others."""


def find(cohort: str, params: CohortParams, folder: Path) -> Found:
    """Find the cases of a folder with ``sub-*`` and ``derivatives``; no voxel is read.

    `variant` of the params is the folder of ``derivatives`` that holds the labels; `files` has patterns of names by
    modality, ``labels`` and ``brain_mask``, in place of the usual ones. Cases without labels are left out, unless
    `codes` is empty. Raises `UserError` naming the file or key at fault; what single cases lack is returned.
    """
    places = _places(folder)
    if not places:
        raise UserError(f"cohorts.{cohort}.folder: no folder such as sub-01/anat or sub-01/ses-a/anat in {folder}")
    chosen = not_excluded(cohort, places, params.exclude, folder)
    pipelines = {path.name: path for path in visible(folder / "derivatives") if path.is_dir()}
    if params.variant is not None and params.variant not in pipelines:
        known = suggest(params.variant, pipelines)
        raise UserError(f"cohorts.{cohort}.variant: no folder '{params.variant}' in {folder / 'derivatives'}{known}")
    derivatives = list(pipelines.values()) if params.variant is None else [pipelines[params.variant]]
    patterns = {**DRAWN, **(params.files or {})}
    files = {name: _files(places[name], folder, derivatives, patterns) for name in chosen}
    modalities = list(dict.fromkeys(role for roles in files.values() for role in roles if role not in DRAWN))
    if not modalities:
        raise UserError(f"cohorts.{cohort}.folder: no images such as sub-01_T1w.nii.gz in the anat folders of {folder}")
    labelled = [name for name in chosen if "labels" in files[name] or params.codes == {}]
    looked = f"{patterns['labels']}.nii.gz in {folder / 'derivatives'}"
    if not labelled:
        raise UserError(f"cohorts.{cohort}.folder: no case has labels (looked for {looked})")
    splits = _splits(folder / "participants.tsv")
    cases, problems = [], {}
    for name in labelled:
        hits = {role: paths for role, paths in files[name].items() if paths}
        faults = [
            f"{len(paths)} files for {role}, which must be one: {', '.join(p.name for p in paths)}; name one by "
            f"cohorts.{cohort}.files.{role}"
            for role, paths in hits.items()
            if len(paths) > 1
        ]
        if not any(role in hits for role in modalities):
            faults.append(f"no image in {places[name]}")
        if faults:
            problems[name] = faults
        first = {role: hits[role][0] for role in (*modalities, *DRAWN) if role in hits}
        subject = name.partition("_")[0]
        cases.append(Case.of(cohort, name, first, split=splits.get(subject), subject=subject))
    codes = _codes((case.labels for case in cases if case.labels is not None), folder)
    n_lacking = len(chosen) - len(labelled)
    notes = [f"{n_lacking} cases without labels are left out ({looked})"] if n_lacking else []
    return Found(cases, modalities, codes, problems=problems, notes=notes)


def _places(folder: Path) -> dict[str, Path]:
    """Return case -> its folder of anatomical images."""
    places = {}
    for subject in (path for path in visible(folder) if path.name.startswith("sub-")):
        sessions = [path for path in visible(subject) if path.name.startswith("ses-")]
        for at in sessions or [subject]:
            if (at / "anat").is_dir():
                places[subject.name if at is subject else f"{subject.name}_{at.name}"] = at / "anat"
    return places


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _named(folder: Path, pattern: str) -> list[Path]:
    """Return the images in a folder whose name, with or without its ending, fits a pattern."""
    found = [path for path in visible(folder) if path.name.endswith((".nii", ".nii.gz"))]
    return [p for p in found if fnmatch.fnmatchcase(_stem(p), pattern) or fnmatch.fnmatchcase(p.name, pattern)]


def _files(place: Path, top: Path, derivatives: Sequence[Path], patterns: Mapping[str, str]) -> dict[str, list[Path]]:
    """Return the files of a case by role: by the patterns that are given, other images by their suffixes."""
    found: dict[str, list[Path]] = {}
    for path in _named(place, "*"):
        stem = _stem(path)
        suffix = stem.rpartition("_")[2]
        modality = MODALITIES.get(suffix, suffix) + ("c" if suffix == "T1w" and "_ce-" in stem else "")
        if suffix not in NO_MODALITIES and modality not in patterns:
            found.setdefault(modality, []).append(path)
    for role in patterns:
        if role not in DRAWN:
            found[role] = _named(place, patterns[role])
    beside = [place, *(path / place.relative_to(top) for path in derivatives)]
    for role in DRAWN:
        if hits := [path for at in beside for path in _named(at, patterns[role])]:
            found[role] = hits
    return found


def _table(labels: Path, top: Path) -> Path | None:
    """Return the table that says what the codes of a label file mean: its own, or the nearest in a folder above."""
    own = labels.with_name(f"{_stem(labels)}.tsv")
    if own.is_file():
        return own
    for folder in labels.parents:
        for path in visible(folder):
            if path.name == "dseg.tsv" or (path.name.endswith("_dseg.tsv") and "sub-" not in path.name):
                return path
        if folder == top:
            break
    return None


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable table of tab-separated values ({one_line(error)[:120]})") from None


def _codes(labels: Iterable[Path], top: Path) -> dict[int, str]:
    """Return code -> label from the tables of label files, with the columns ``index`` and ``name``."""
    codes: dict[int, str] = {}
    for path in dict.fromkeys(_table(file, top) for file in labels):
        if path is None:
            continue
        table = _read(path)
        for column in ("index", "name"):
            if column not in table:
                raise UserError(f"{path}: no column '{column}' (found: {', '.join(table)})")
        for index, name in zip(table["index"], table["name"], strict=True):
            if not str(index).isdigit():
                raise UserError(f"{path}: index '{index}' is not a whole number")
            if int(index):
                codes[int(index)] = name.lower() if name.lower() in (BACKGROUND, IGNORE) else name
    return codes


def _splits(path: Path) -> dict[str, str]:
    """Return subject -> split, of a ``participants.tsv`` that has such a column."""
    table = _read(path) if path.is_file() else pd.DataFrame()
    if not {"split", "participant_id"} <= set(table):
        return {}
    splits = {}
    for subject, split in zip(table["participant_id"], table["split"], strict=True):
        if split in SPLITS:
            splits[subject] = split
        elif split not in ("", "n/a"):
            known = f"{', '.join(SPLITS)}{suggest(split, SPLITS)}"
            raise UserError(f"{path}: {subject}: split '{split}' is not one of {known}")
    return splits
