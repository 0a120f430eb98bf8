"""``multiseg predict``: cases, segmented by one finished run or by several together."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multiseg_core.errors import UserError
from multiseg_core.files import atomic_path
from multiseg_core.settings import InferenceParams

from ..base.files import located
from . import studies

if TYPE_CHECKING:
    import nibabel as nib

    from ..data.cohorts import Case
    from ..study.prediction import Model, Prediction

ENDINGS = (".nii", ".nii.gz")


def add_to(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    sub = add(
        "predict", predict_command, "Segment cases with a finished run; results are on the grid of their images.",
        "Either one case, by --image, into the file -o; or many, by --cases, into the folder -o.",
    )  # fmt: skip
    sub.add_argument(
        "run_folder", type=Path, nargs="+", metavar="RUN",
        help="folder of a finished run, in reports/NAME/runs; of several, such as replicates of one model, the mean "
        "probabilities decide",
    )  # fmt: skip
    given = sub.add_mutually_exclusive_group(required=True)
    given.add_argument("--image", action="append", metavar="MODALITY=FILE", help="one image per modality of the run")
    given.add_argument(
        "--cases", type=Path, metavar="MANIFEST",
        help="a CSV file with a row per case: case, a column per modality and, optionally, brain_mask; each is written "
        "as FOLDER/CASE.nii.gz",
    )  # fmt: skip
    sub.add_argument(
        "--brain-mask",
        type=Path,
        help="for normalisation; without it, the brain of images that are not brain-extracted is found with ROBEX "
        "(a minute)",
    )
    sub.add_argument(
        "--out", "-o", type=Path, required=True, help="the segmentation to write, .nii or .nii.gz; of --cases, a folder"
    )
    sub.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    sub.add_argument("--precision", help="auto, float32 or bf16 (default: that of the run's params file)")
    sub.add_argument(
        "--codes", action="store_true",
        help="write the codes of the cohorts' label files, if these agree, rather than 1, 2, 3 in the order of labels",
    )  # fmt: skip
    sub.add_argument(
        "--each-label", action="store_true",
        help="also write a file of 0 and 1 per label, such as OUT_wmh.nii.gz; those of sigmoid heads may overlap",
    )  # fmt: skip
    sub.add_argument(
        "--uncertainty", type=Path, metavar="FILE",
        help="also write how uncertain the result is in each voxel: the entropy of its probabilities, 0 to 1",
    )  # fmt: skip
    sub.add_argument(
        "--probabilities", action="store_true",
        help="also write OUT_probabilities.nii.gz, 4-D: the probability of each label, in their order",
    )  # fmt: skip
    sub.add_argument(
        "--sidecars", action="store_true",
        help="also write what the numbers mean, for ITK-SNAP (OUT_labels.txt), 3D Slicer (OUT.ctbl), BIDS (OUT.json)",
    )  # fmt: skip
    sub.add_argument(
        "--workers", type=_count, metavar="N", help="cases at a time (default: as many as there are cores)"
    )
    sub.add_argument(
        "--memory", type=_gib, default=InferenceParams.memory_gib, metavar="GIB",
        help="memory that one prediction may take; a volume that needs more is cut into tiles "
        f"(default: {InferenceParams.memory_gib:g})",
    )  # fmt: skip


def _gib(text: str) -> float:
    return studies.positive(text, "a number of GiB")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def predict_command(options: argparse.Namespace) -> None:
    """Do what ``multiseg predict`` is asked for. Raises `UserError` naming the option or file at fault."""
    if options.cases is not None:
        _predict_cases(options)
        return
    images = _parse_images(options.image)
    inputs = [*images.values(), *([options.brain_mask] if options.brain_mask else [])]
    for out in (options.out, options.uncertainty):
        if out is not None and not out.name.endswith(ENDINGS):
            raise UserError(f"{out}: the output must end in .nii or .nii.gz")
        if out is not None and out.resolve() in {path.resolve() for path in inputs}:
            raise UserError(f"{out}: the output would overwrite an input")
    model = _load(options)
    model.require_inputs(list(images), "--image ")
    finds_brain = options.brain_mask is None and model.segmenter.filling.has_outside
    if finds_brain and model.segmenter.brain_from not in ("", *images):
        print(
            f"warning: the run found brains on {model.segmenter.brain_from}, which is not given; with "
            f"--image {model.segmenter.brain_from}=FILE or --brain-mask the result is closer to the run's own",
            file=sys.stderr,
        )
    found = model.predict(images, options.brain_mask)
    for path, text in _write(found, options.out, options, images):
        print(f"{path}: {text}")


def _load(options: argparse.Namespace) -> Model:
    """Load the run, and see that it can do what is asked for."""
    from dataclasses import replace

    from ..study.prediction import load_model

    model = load_model(options.run_folder, device=options.device, precision=options.precision)
    if options.codes and not model.codes:
        raise UserError(f"--codes: the cohorts of {options.run_folder[0]} number their labels differently")
    return replace(model, memory_gib=options.memory)


def _predict_cases(options: argparse.Namespace) -> None:
    """Segment the cases of a manifest, several at a time; those that fail are told at the end."""
    from ..data.sources.table import read_manifest
    from ..study.prediction import for_each_case

    for option in ("brain_mask", "uncertainty"):
        if getattr(options, option) is not None:
            way = "a column of the manifest" if option == "brain_mask" else "for one case"
            raise UserError(f"--{option.replace('_', '-')}: with --cases, it is {way}")
    if options.out.name.endswith(ENDINGS) or options.out.is_file():
        raise UserError(f"{options.out}: with --cases, -o names a folder")
    cases, _, _ = read_manifest("of --cases", options.cases)
    for case in cases:
        if options.out.resolve() in {
            path.parent.resolve() for path in case.files.values() if _out_name(case) == path.name
        }:
            raise UserError(f"{options.out / _out_name(case)}: the output would overwrite an input")
    model = _load(options)
    started = time.monotonic()
    done, errors = for_each_case(
        model, cases, lambda case: _predict_one(model, case, options), "predicting", options.workers
    )
    minutes = (time.monotonic() - started) / 60
    legend = "; ".join(f"{code} {label}" for code, label in _names(model, options).items())
    print(f"{options.out}: {len(done)} cases, {legend}")
    print(f"{minutes:.2f} min, {len(done) / max(minutes, 1e-9):.1f} cases/min")
    if errors:
        raise UserError("\n".join(errors))


def _known(model: Model) -> tuple[str, ...]:
    return (*model.modalities, model.segmenter.brain_from)


def _names(model: Model, options: argparse.Namespace) -> dict[int, str]:
    codes = {code: label for label, code in model.codes.items()}
    return dict(sorted(codes.items())) if options.codes else dict(enumerate(model.labels, start=1))


def _out_name(case: Case) -> str:
    return f"{case.name}.nii.gz"


def _predict_one(model: Model, case: Case, options: argparse.Namespace) -> None:
    images = {m: path for m, path in case.images.items() if m in _known(model)}
    _write(model.predict(images, case.brain_mask), options.out / _out_name(case), options, images)


def _write(
    found: Prediction, out: Path, options: argparse.Namespace, images: dict[str, Path]
) -> list[tuple[Path, str]]:
    """Write a segmentation and what else is asked for; return the files and what they hold."""
    written = [_save(found.segmentation(options.codes), out)]
    if options.each_label:
        masks = found.masks()
        files = file_per_label(out, list(masks))
        written += [_save(image, path) for image, path in zip(masks.values(), files, strict=True)]
    if options.uncertainty:
        written.append(_save(found.uncertainty(), options.uncertainty))
    if options.probabilities:
        written.append(_save(found.probabilities(), file_per_label(out, ["probabilities"])[0]))
    if options.sidecars:
        from ..handover.sidecars import write_sidecars

        runs = ", ".join(folder.name for folder in options.run_folder)
        files = write_sidecars(out, found.names(options.codes), images, f"run {runs}")
        written += [(path, "what the numbers mean") for path in files]
    return written


def _save(image: nib.Nifti1Image, path: Path) -> tuple[Path, str]:
    import nibabel as nib

    with atomic_path(path) as part:
        nib.save(image, part)
    return path, image.header["descrip"].item().decode()


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
