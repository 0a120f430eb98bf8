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
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from multiseg_core.errors import UserError, one_line, suggest
from multiseg_core.labels import BACKGROUND, IGNORE

from ..cohorts import SPLITS, Case
from .folder import FolderCohort, visible

MODALITIES: Mapping[str, str] = {"T1w": "T1", "T2w": "T2", "PDw": "PD"}
"""Suffixes that go by another name here; others, such as FLAIR, keep theirs."""

ENDINGS = (".nii", ".nii.gz")

_MASK, _LABELS = "*_desc-brain_mask", "*_dseg"


def read_folder(
    cohort: str,
    folder: Path,
    exclude: Sequence[str] = (),
    pipeline: str | None = None,
    files: Mapping[str, str] | None = None,
    *,
    needs_labels: bool = True,
) -> FolderCohort:
    """Find the cases of a folder; no voxel is read.

    Parameters
    ----------
    cohort
        Name of the cohort.
    folder
        The folder with ``sub-*`` and ``derivatives``.
    exclude
        Names of cases to leave out.
    pipeline
        Which folder of ``derivatives`` holds the labels; any by default.
    files
        Modality, ``labels`` or ``brain_mask`` -> pattern of the name of the file, in place of the usual one.
    needs_labels
        Leave out cases without labels.

    Raises
    ------
    UserError
        Naming the file or key at fault. What single cases lack is returned.
    """
    where = f"cohorts.{cohort}"
    if not folder.is_dir():
        raise UserError(f"{where}.folder: no such folder: {folder}")
    places = _places(folder)
    if not places:
        raise UserError(f"{where}.folder: no folder such as sub-01/anat or sub-01/ses-a/anat in {folder}")
    for name in exclude:
        if name not in places:
            raise UserError(f"{where}.exclude: no case '{name}' in {folder}{suggest(name, places)}")
    pipelines = [path for path in visible(folder / "derivatives") if path.is_dir()]
    if pipeline is not None:
        names = [path.name for path in pipelines]
        if pipeline not in names:
            known = suggest(pipeline, names)
            raise UserError(f"{where}.variant: no folder '{pipeline}' in {folder / 'derivatives'}{known}")
        pipelines = [folder / "derivatives" / pipeline]
    given = dict(files or {})
    kept = {name: place for name, place in places.items() if name not in exclude}
    if not kept:
        raise UserError(f"{where}.exclude: leaves no case")
    images = {name: _images(place, given) for name, place in kept.items()}
    modalities = tuple(dict.fromkeys(m for of_case in images.values() for m in of_case))
    if not modalities:
        raise UserError(f"{where}.folder: no images such as sub-01_T1w.nii.gz in the anat folders of {folder}")
    splits = _splits(folder / "participants.tsv")
    cases, unlabelled = [], []
    problems: dict[str, tuple[str, ...]] = {}
    tables: dict[Path, None] = {}
    for name, place in kept.items():
        found = {m: paths for m, paths in images[name].items() if paths}
        beside = [place, *(p / place.relative_to(folder) for p in pipelines)]
        for role, pattern in (("labels", _LABELS), ("brain_mask", _MASK)):
            hits = [path for at in beside for path in _named(at, given.get(role, pattern))]
            if hits:
                found[role] = hits
        faults = [
            f"{len(paths)} files for {role}, which must be one: {', '.join(p.name for p in paths)}; name one by "
            f"{where}.files.{role}"
            for role, paths in found.items()
            if len(paths) > 1
        ]
        if needs_labels and "labels" not in found:
            unlabelled.append(name)
            continue
        if not any(m in found for m in modalities):
            faults.append(f"no image in {place}")
        if faults:
            problems[name] = tuple(f"cohort {cohort}, case {name}: {fault}" for fault in faults)
        first = {role: paths[0] for role, paths in found.items()}
        if "labels" in first and (table := _table(first["labels"], folder)) is not None:
            tables[table] = None
        subject = name.partition("_")[0]
        cases.append(
            Case(
                cohort=cohort,
                name=name,
                images={m: first[m] for m in modalities if m in first},
                labels=first.get("labels"),
                brain_mask=first.get("brain_mask"),
                split=splits.get(subject),
                subject=subject,
            )
        )
    codes: dict[int, str | list[str]] = {}
    for table in tables:
        codes.update(read_codes(table))
    looked = f"{given.get('labels', _LABELS)}.nii.gz in {folder / 'derivatives'}"
    if not cases:
        raise UserError(f"{where}.folder: no case has labels (looked for {looked})")
    notes = [f"cohort {cohort}: {len(unlabelled)} cases without labels are left out ({looked})"] if unlabelled else []
    return FolderCohort(tuple(cases), modalities, codes, problems, tuple(notes))


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
    found = [path for path in visible(folder) if path.name.endswith(ENDINGS)]
    return [p for p in found if fnmatch.fnmatchcase(_stem(p), pattern) or fnmatch.fnmatchcase(p.name, pattern)]


def _images(place: Path, given: Mapping[str, str]) -> dict[str, list[Path]]:
    """Return the images of a case by modality: by their suffixes, or by the patterns that are given."""
    found: dict[str, list[Path]] = {}
    for path in _named(place, "*"):
        stem = _stem(path)
        suffix = stem.rpartition("_")[2]
        if suffix in ("mask", "dseg", "probseg", "defacemask"):
            continue
        modality = MODALITIES.get(suffix, suffix) + ("c" if suffix == "T1w" and "_ce-" in stem else "")
        if modality not in given:
            found.setdefault(modality, []).append(path)
    for modality, pattern in given.items():
        if modality not in ("labels", "brain_mask"):
            found[modality] = _named(place, pattern)
    return found


def _table(labels: Path, top: Path) -> Path | None:
    """Return the table that says what the codes of a label file mean: its own, or the nearest in a folder above."""
    own = labels.with_name(f"{_stem(labels)}.tsv")
    if own.is_file():
        return own
    for folder in labels.parents:
        hits = [path for path in visible(folder) if path.name == "dseg.tsv" or path.name.endswith("_dseg.tsv")]
        hits = [path for path in hits if path.name == "dseg.tsv" or "sub-" not in path.name]
        if hits:
            return hits[0]
        if folder == top:
            break
    return None


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable table of tab-separated values ({one_line(error)[:120]})") from None


def read_codes(path: Path) -> dict[int, str | list[str]]:
    """Return code -> label from a ``dseg.tsv`` with the columns ``index`` and ``name``. Raises `UserError`."""
    table = _read(path)
    for column in ("index", "name"):
        if column not in table:
            raise UserError(f"{path}: no column '{column}' (found: {', '.join(table)})")
    codes: dict[int, str | list[str]] = {}
    for index, name in zip(table["index"], table["name"], strict=True):
        if not str(index).isdigit():
            raise UserError(f"{path}: index '{index}' is not a whole number")
        if int(index):
            codes[int(index)] = name.lower() if name.lower() in (BACKGROUND, IGNORE) else name
    return codes


def _splits(path: Path) -> dict[str, str]:
    """Return subject -> split, of a ``participants.tsv`` that has such a column."""
    if not path.is_file():
        return {}
    table = _read(path)
    if "split" not in table or "participant_id" not in table:
        return {}
    named = {subject: split for subject, split in zip(table["participant_id"], table["split"], strict=True) if split}
    for subject, split in named.items():
        if split not in (*SPLITS, "n/a"):
            raise UserError(
                f"{path}: {subject}: split '{split}' is not one of {', '.join(SPLITS)}{suggest(split, SPLITS)}"
            )
    return {subject: split for subject, split in named.items() if split != "n/a"}
