"""Networks of slices and of one input size, from the params file to the prediction of an image."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from multiseg_core.cli import main
from multiseg_core.study.evaluation import evaluate_run
from multiseg_core.study.finished_runs import load_segmenter
from multiseg_core.study.plan import Run
from multiseg_core.study.runs import train_network
from multiseg_core.study.study import Study
from multiseg_core.utils.compute import Compute

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
