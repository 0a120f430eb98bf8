"""Networks of slices and of one input size, from the params file to the prediction of an image."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from multiseg.commands.cli import main
from multiseg.study.check import check_study
from multiseg.study.evaluation import evaluate_run
from multiseg.study.finished_runs import load_segmenter
from multiseg.study.plan import Run
from multiseg.study.runs import train_network
from multiseg.study.study import Study
from multiseg_core.compute import Compute

SLICES = {"\n  patch_size: [8, 8, 8]": "\n  patch_size: [8, 8, 1]"}


def finish(study: Study, run: Run) -> None:
    """Train and evaluate in this process: workers take long to start."""
    for network in run.networks:
        train_network(network, study.store, study.params)
    evaluate_run(run, study.store, study.params)


@pytest.mark.parametrize(
    "changes",
    [
        {"levels: 2": "levels: 2, spatial_dims: 2", **SLICES},
        {"levels: 2": "levels: 3, strides: auto", **SLICES},
        {
            "name: unet, base_filters: 2, levels: 2": (
                "name: monai.UNet, spatial_dims: 2, slice_axis: 1, channels: [2, 4], strides: [2]"
            ),
            "\n  patch_size: [8, 8, 8]": "\n  patch_size: [32, 1, 32]",
            "validation_patch_size: [8, 8, 8]": "validation_patch_size: [32, 2, 32]",
        },
        {"levels: 2": "levels: 2, window: [8, 8, 8]"},
    ],
    ids=["2-D", "strides", "monai", "windows"],
)
def test_a_study_of_slices_trains_and_predicts(
    toy_study: Callable[..., Path], tmp_path: Path, changes: dict[str, str]
) -> None:
    changes = {**changes, "[cross_entropy, selective_cross_entropy]": "[selective_cross_entropy]"}
    study = Study(toy_study(changes))
    study.check_networks()
    run = study.runs[0]
    finish(study, run)
    metrics = pd.read_csv(run.folder / "metrics.csv")
    assert metrics["dice"].dropna().between(0, 1).all() and set(metrics["label"]) == {"csf", "gm", "wm", "wmh"}
    case = run.test_cases[0]
    out = tmp_path / "seg.nii.gz"
    images = [part for name, path in case.images.items() for part in ("--image", f"{name}={path}")]
    assert main(["predict", str(run.folder), *images, "-o", str(out)]) == 0
    shape = nib.load(case.images["T1"]).shape
    assert nib.load(out).shape == shape and int(np.asarray(nib.load(out).dataobj).max()) <= 4


def test_a_slice_is_segmented_by_itself(toy_study: Callable[..., Path]) -> None:
    """What a network of slices says of one does not depend on the others."""
    study = Study(toy_study({"levels: 2": "levels: 2, spatial_dims: 2", **SLICES}))
    finish(study, study.runs[0])
    segmenter = load_segmenter(study.runs[0], study.params)
    images = np.random.default_rng(0).normal(size=(2, 12, 12, 6)).astype(np.float32)
    compute = Compute.resolve("cpu", "float32")
    whole = segmenter.segment(images, ["T1", "FLAIR"], compute)
    for n in range(6):
        assert np.array_equal(
            whole[..., n : n + 1], segmenter.segment(images[..., n : n + 1], ["T1", "FLAIR"], compute)
        )


FOLDER = """
cohorts: {hearts: {source: slices, folder: hearts, codes: {100: myocardium, 200: blood_pool}}}
preprocessing: {spacing_mm: null, brain_extraction: none}
network: {name: unet, spatial_dims: 2, base_filters: 2, levels: 2, separable: true}
training:
  {steps: 4, batch_size: 2, patch_size: [16, 16, 1], validation_every: 2, validation_patches: 2,
  validation_patch_size: [16, 16, 1], patience: null}
precision: float32
scenarios: {one: {train: [hearts], test: hearts, modalities: [image], models: [selective_dice_ce]}}
"""


def test_a_folder_of_pictures_is_trained_on(tmp_path: Path) -> None:
    """A ring around a pool in PNG slices of four hearts; predictions lie on the slices."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "hearts" / kind).mkdir(parents=True)
    for heart in range(4):
        for number in range(2):
            radius = np.hypot(*np.mgrid[-12:12, -10:10]) - heart
            mask = np.where(radius < 3, 200, np.where(radius < 6, 100, 0)).astype(np.uint8)
            name = f"heart{heart}_{number}.png"
            Image.fromarray((mask // 2 + rng.integers(0, 30, mask.shape)).astype(np.uint8)).save(
                tmp_path / "hearts" / "images" / name
            )
            Image.fromarray(mask).save(tmp_path / "hearts" / "masks" / name)
    (tmp_path / "p.yaml").write_text(FOLDER)
    study = Study(tmp_path / "p.yaml")
    assert not check_study(study).errors
    run = study.runs[0]
    subjects = [{case.subject for case in part} for part in study.scenarios["one"].split("hearts")]
    assert not subjects[0] & subjects[1]
    for case in study.needed_cases():
        study.store.build(case, study.cohorts[case.cohort])
    finish(study, run)
    metrics = pd.read_csv(run.folder / "metrics.csv")
    assert set(metrics["label"]) == {"myocardium", "blood_pool"} and metrics["dice"].dropna().between(0, 1).all()
    drawn = 2 * 20 * 24 * 1e-3  # ml: a pixel is 1 mm wide, and as thick
    assert metrics["volume_true_ml"].between(0, drawn).all() and (metrics["volume_true_ml"] > 0).all()
    out = tmp_path / "seg.nii.gz"
    image = run.test_cases[0].images["image"]
    assert main(["predict", str(run.folder), "--image", f"image={image}", "-o", str(out)]) == 0
    assert nib.load(out).shape == (20, 24, 2)
