"""``multiseg predict``: cases, segmented by one finished run or by several together."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib

from multiseg_core.errors import UserError
from multiseg_core.files import atomic_path

from ..base.files import located
from ..data.cohorts import Case
from ..data.sources.table import read_manifest
from ..study.prediction import Model, Prediction, for_each_case, load_model
from . import studies

ENDINGS = (".nii", ".nii.gz")


def run(options: argparse.Namespace) -> None:
    """Do what ``multiseg predict`` is asked for. Raises `UserError` naming the option or file at fault."""
    if options.cases is not None:
        _predict_cases(options)
        return
    images = _parse_images(options.image)
    for out in (options.out, options.uncertainty):
        if out is not None and not out.name.endswith(ENDINGS):
            raise UserError(f"{out}: the output must end in .nii or .nii.gz")
        if out is not None:
            _require_other_files(out, [*images.values(), *([options.brain_mask] if options.brain_mask else [])])
    model = _load(options)
    model.require_inputs(list(images), "--image ")
    brain_from = model.segmenter.brain_from
    if options.brain_mask is None and model.segmenter.filling.has_outside and brain_from not in ("", *images):
        studies.warn([
            f"the run found brains on {brain_from}, which is not given; with --image {brain_from}=FILE or --brain-mask "
            "the result is closer to the run's own"
        ])  # fmt: skip
    for path, text in _write(model.predict(images, options.brain_mask), options.out, options, images):
        print(f"{path}: {text}")


def _predict_cases(options: argparse.Namespace) -> None:
    """Segment the cases of a manifest, several at a time; those that fail are told at the end."""
    for option, way in (("brain_mask", "a column of the manifest"), ("uncertainty", "for one case")):
        if getattr(options, option) is not None:
            raise UserError(f"--{option.replace('_', '-')}: with --cases, it is {way}")
    if options.out.name.endswith(ENDINGS) or options.out.is_file():
        raise UserError(f"{options.out}: with --cases, -o names a folder")
    cases, _, _ = read_manifest("of --cases", options.cases)
    outputs = {case.name: options.out / f"{case.name}.nii.gz" for case in cases}
    for case in cases:
        _require_other_files(outputs[case.name], case.files.values())
    model = _load(options)

    def predict(case: Case) -> None:
        known = (*model.modalities, model.segmenter.brain_from)
        images = {m: path for m, path in case.images.items() if m in known}
        _write(model.predict(images, case.brain_mask), outputs[case.name], options, images)

    started = time.monotonic()
    done, errors = for_each_case(model, cases, predict, "predicting", options.workers)
    minutes = (time.monotonic() - started) / 60
    legend = "; ".join(f"{code} {label}" for code, label in model.names(options.codes).items())
    print(f"{options.out}: {len(done)} cases, {legend}")
    print(f"{minutes:.2f} min, {len(done) / max(minutes, 1e-9):.1f} cases/min")
    if errors:
        raise UserError("\n".join(errors))


def _load(options: argparse.Namespace) -> Model:
    """Load the run, and see that it can do what is asked for."""
    model = load_model(options.run_folder, device=options.device, precision=options.precision)
    if options.codes and not model.codes:
        raise UserError(f"--codes: the cohorts of {options.run_folder[0]} number their labels differently")
    return model if options.memory is None else replace(model, memory_gib=options.memory)


def _require_other_files(out: Path, inputs: Iterable[Path]) -> None:
    if out.resolve() in {path.resolve() for path in inputs}:
        raise UserError(f"{out}: the output would overwrite an input")


def _write(
    found: Prediction, out: Path, options: argparse.Namespace, images: dict[str, Path]
) -> list[tuple[Path, str]]:
    """Write a segmentation and what else is asked for; return the files and what they hold."""
    files = {out: found.segmentation(options.codes)}
    if options.each_label:
        masks = found.masks()
        files |= zip(file_per_label(out, list(masks)), masks.values(), strict=True)
    if options.uncertainty:
        files[options.uncertainty] = found.uncertainty()
    if options.probabilities:
        files[file_per_label(out, ["probabilities"])[0]] = found.probabilities()
    for path, image in files.items():
        with atomic_path(path) as part:
            nib.save(image, part)
    written = [(path, image.header["descrip"].item().decode()) for path, image in files.items()]
    if options.sidecars:
        from ..handover.sidecars import write_sidecars  # and matplotlib

        runs = ", ".join(folder.name for folder in options.run_folder)
        explained = write_sidecars(out, found.model.names(options.codes), images, f"run {runs}")
        written += [(path, "what the numbers mean") for path in explained]
    return written


def file_per_label(out: Path, labels: Sequence[str]) -> list[Path]:
    """Return a file name for each label beside the segmentation."""
    ending = ".nii.gz" if out.name.endswith(".nii.gz") else ".nii"
    plain = [re.sub(r"[^\w.+-]", "-", label)[:60] for label in labels]
    return [
        out.with_name(f"{out.name.removesuffix(ending)}_{name}{f'_{k}' if plain.count(name) > 1 else ''}{ending}")
        for k, name in enumerate(plain, start=1)
    ]


def _parse_images(pairs: Sequence[str]) -> dict[str, Path]:
    images: dict[str, Path] = {}
    for pair in pairs:
        modality, equals, file = pair.partition("=")
        if not equals or not modality or not file:
            raise UserError(f"--image {pair}: expected MODALITY=FILE")
        if modality in images:
            raise UserError(f"--image {modality}: given twice")
        images[modality] = located(Path(), file)  # a shell leaves the ~ after a = as it is
    return images
