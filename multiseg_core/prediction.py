"""``multiseg predict``: one case, segmented by one finished run or by several together."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from .inference import Segmenter, combined
from .preprocessing.brain_masks import brain_modality
from .preprocessing.image_files import like_input, require_same_grid
from .preprocessing.prepare import apart_of, prepare
from .utils.compute import Compute
from .utils.errors import UserError
from .utils.files import atomic_path, located


def predict_case(options: argparse.Namespace) -> None:
    """Do what ``multiseg predict`` is asked for. Raises `UserError` naming the option or file at fault."""
    images = _parse_images(options.image)
    inputs = [*images.values(), *([options.brain_mask] if options.brain_mask else [])]
    for out in (options.out, options.uncertainty):
        if out is not None and not out.name.endswith((".nii", ".nii.gz")):
            raise UserError(f"{out}: the output must end in .nii or .nii.gz")
        if out is not None and out.resolve() in {path.resolve() for path in inputs}:
            raise UserError(f"{out}: the output would overwrite an input")
    model = combined([Segmenter.load(folder / "model.pt") for folder in options.run_folder])
    if options.codes and not model.codes:
        raise UserError(f"--codes: the cohorts of {options.run_folder[0]} number their labels differently")
    for modality in images:
        if modality not in (*model.modalities, model.brain_from):
            raise UserError(
                f"--image {modality}: the run has no such modality (it needs {', '.join(model.modalities)})"
            )
    for modality in model.modalities:
        if modality not in images and not all(member.can_see(list(images)) for member in model.members):
            raise UserError(f"--image {modality}=FILE is missing (the run needs {', '.join(model.modalities)})")
    finds_brain = options.brain_mask is None and model.preprocessing.brain_extraction != "none"
    if finds_brain and model.brain_from not in ("", *images):
        print(
            f"warning: the run found brains on {model.brain_from}, which is not given; with "
            f"--image {model.brain_from}=FILE or --brain-mask the result is closer to the run's own",
            file=sys.stderr,
        )
    compute = Compute.resolve(options.device, options.precision or model.precision)
    # all files are read before ROBEX may take its minute
    named = {**images, **({"brain_mask": options.brain_mask} if options.brain_mask else {})}
    require_same_grid(named, apart_of(named, model.preprocessing, False))
    prepared = prepare(images, model.preprocessing, brain_mask=options.brain_mask)
    found = list(model.probabilities(prepared.images, list(images), compute, options.memory, prepared.mask))
    segmentation = model.on_native(prepared, found)
    written = dict(enumerate(model.labels, start=1))
    if options.codes:
        written = {model.codes[label]: label for label in model.labels}
        segmentation = np.array([0, *written])[segmentation]
    legend = "; ".join(f"{code} {label}" for code, label in sorted(written.items()))

    def write(volume: np.ndarray, out: Path, text: str) -> None:
        image = like_input(volume, prepared.native_affine, images[brain_modality(images)])
        image.header["descrip"] = text.encode()[:79]
        with atomic_path(out) as part:
            nib.save(image, part)
        print(f"{out}: {text}")

    write(segmentation, options.out, legend)
    if options.each_label:
        masks = model.masks_on_native(prepared, found)
        for (label, mask), out in zip(masks.items(), _file_per_label(options.out, list(masks)), strict=True):
            write(mask.astype(np.uint8), out, f"1 {label}")
    if options.uncertainty:
        write(model.uncertainty_on_native(prepared, found), options.uncertainty, "entropy, 0 to 1")


def _file_per_label(out: Path, labels: Sequence[str]) -> list[Path]:
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
