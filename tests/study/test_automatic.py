import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from multiseg.data.phantom.presets import make_case
from multiseg.data.phantom.source import HEAD_MM
from multiseg.study.check import check_study
from multiseg.study.costs import step_cost
from multiseg.study.evaluation import evaluate_run
from multiseg.study.runs import train_network
from multiseg.study.study import Study
from multiseg_core.errors import UserError

ToyStudy = Callable[..., Path]


def test_nothing_is_chosen_where_all_is_said(toy_study: ToyStudy) -> None:
    assert Study(toy_study()).chosen == []


def test_nothing_is_said_of_images_that_are_not_there(toy_study: ToyStudy) -> None:
    """``check`` spoke of a typical training image of 136 x 171 x 150 mm where every file was missing."""
    file = toy_study({"\n  patch_size: [8, 8, 8]": "\n  patch_size: auto"})
    for image in (file.parent / "data").glob("*.nii.gz"):
        image.unlink()
    study = Study(file)
    assert study.chosen == [] and len(study.params.training.patch_size) == 3


def test_patch_sizes_follow_the_images(toy_study: ToyStudy) -> None:
    """Images of 20 x 22 x 18 voxels of 1 mm; a network of two levels takes multiples of 2."""
    study = Study(toy_study({"\n  patch_size: [8, 8, 8]": "\n  patch_size: auto\n  patch_voxels: 4096"}))
    assert study.params.training.patch_size == [16, 16, 16]
    assert study.params.training.validation_patch_size == [8, 8, 8]
    assert study.chosen == [
        "the typical training image has 20 x 22 x 18 mm, in voxels of 1 x 1 x 1 mm",
        "training.patch_size: 16 x 16 x 16: 80 x 73 x 89 % of the image",
    ]
    study = Study(
        toy_study(
            {"\n  patch_size: [8, 8, 8]": "\n  patch_size: auto", "n_patch_size: [8, 8, 8]": "n_patch_size: auto"}
        )
    )
    assert study.params.training.patch_size == study.params.training.validation_patch_size == [20, 22, 18]


def test_batch_and_steps_follow_patch_and_budget(toy_study: ToyStudy) -> None:
    """The operations of a step are counted by hand elsewhere."""
    asked = {
        "\n  patch_size: [8, 8, 8]": "\n  patch_size: [8, 8, 8]\n  patch_voxels: 1024",
        "steps: 4": "steps: auto\n  minutes: 0.001",
        "batch_size: 2": "batch_size: auto",
    }
    short = "models:\n  short: {training: {steps: 3}}\n  slow: {training: {minutes: 0.002}}\nscenarios:"
    study = Study(
        toy_study({"scenarios:": short, "models: [cross_entropy,": "models: [short, slow, cross_entropy,", **asked})
    )
    flops = step_cost(study.params.network, 1, 1, study.params.training)[1]
    assert study.params.training.batch_size == 8  # patches of 512 voxels, 4096 in all
    assert study.params.training.steps == int(0.06 * 20e9 / flops / 50) * 50 > 50
    steps = {run.model: run.networks[0].training.steps for run in study.runs}
    assert steps["short"] == 3 and steps["cross_entropy"] == study.params.training.steps
    assert steps["slow"] == int(0.12 * 20e9 / flops / 50) * 50
    assert any(line.startswith("training.steps: ") for line in study.chosen)
    assert any(line.startswith("models.slow.training.steps: ") for line in study.chosen)


@pytest.mark.parametrize("key", ["steps: 0", "batch_size: 0", "steps: many", "minutes: 0"])
def test_no_budget_of_nothing(toy_study: ToyStudy, key: str) -> None:
    old = "batch_size: 2" if key.startswith("batch") else "steps: 4"
    with pytest.raises(UserError, match=key.partition(":")[0]):
        Study(toy_study({old: key}))


def test_axes_are_those_of_the_store(toy_study: ToyStudy, tmp_path: Path) -> None:
    """Files whose axes run otherwise, with thick slices: in the store, slices lie across the last axis."""
    file = toy_study({
        "spacing_mm: 1": "spacing_mm: auto", "levels: 2": "levels: 3, strides: auto",
        "\n  patch_size: [8, 8, 8]": "\n  patch_size: auto",
    })  # fmt: skip
    turn = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 4, 0, 0], [0, 0, 0, 1]], dtype=float)  # file axes run y, z, x
    for path in (tmp_path / "data").glob("*.nii.gz"):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj).transpose(1, 2, 0), turn), path)
    study = Study(file)
    assert study.params.preprocessing.spacing_mm == [1, 1, 4]
    network, patch = study.params.network, study.params.training.patch_size
    assert network["strides"] == [[2, 2, 1], [2, 2, 1]] and network["kernels"] == [[3, 3, 1], [3, 3, 1], [3, 3, 3]]
    assert patch == [20, 20, 18]  # 22 lies half way between 20 and 24
    run = study.runs[0]
    train_network(run.networks[0], study.store, study.params)
    evaluate_run(run, study.store, study.params)
    assert (run.folder / "run.json").exists()
    stored = study.open(study.scenarios["both"].test_cases[0])
    assert stored.spacing_mm == (1, 1, 4)


def test_a_model_with_another_network_gets_patches_that_fit_it(toy_study: ToyStudy) -> None:
    own = "models:\n  deep: {network: {levels: 4}}\n  short: {training: {steps: 2}}\nscenarios:"
    auto = {
        "\n  patch_size: [8, 8, 8]": "\n  patch_size: auto",
        "models: [cross_entropy,": "models: [deep, short, cross_entropy,",
    }
    study = Study(toy_study({"scenarios:": own, **auto}))
    sizes = {run.model: run.networks[0].training.patch_size for run in study.runs}
    assert sizes["cross_entropy"] == sizes["short"] == [20, 22, 18]  # multiples of 2
    assert sizes["deep"] == [16, 24, 16]  # of 8
    assert [line.partition(":")[0] for line in study.chosen[1:]] == [
        "training.patch_size",
        "models.deep.training.patch_size",
    ]


def test_models_choose_for_themselves(toy_study: ToyStudy) -> None:
    own = "models:\n  wide: {training: {patch_size: auto}, network: {strides: auto, levels: 4}}\nscenarios:"
    study = Study(toy_study({"scenarios:": own, "models: [cross_entropy,": "models: [wide, cross_entropy,"}))
    assert study.params.training.patch_size == [8, 8, 8] and "strides" not in study.params.network
    wide = study.runs[0].networks[0]
    assert wide.training.patch_size == [20, 20, 16] and wide.network["levels"] == 3
    assert study.runs[1].networks[0].training.patch_size == [8, 8, 8]
    assert [line.partition(":")[0] for line in study.chosen[1:]] == [
        "models.wide.network.strides", "models.wide.training.patch_size",
    ]  # fmt: skip
    study.check_networks()


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        (
            {"levels: 2": "strides: auto, filters: [2, 4]"},
            "strides: auto chooses levels and kernels; leave out 'filters'",
        ),
        ({"levels: 2": "strides: auto, convolutions: [1, 1]"}, "give convolutions as one number"),
        (
            {"name: unet, base_filters: 2, levels: 2": "name: monai.UNet, strides: auto"},
            "is for the unet, not for monai.UN",
        ),
        ({"spacing_mm: 1": "spacing_mm: [1, 2]"}, r"spacing_mm: must be one number or three, got \[1.0, 2.0\]"),
        ({"\n  patch_size: [8, 8, 8]": "\n  patch_size: automatic"}, "training.patch_size: expected a list, got 'auto"),
    ],
)
def test_what_does_not_go_together(toy_study: ToyStudy, replace: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Study(toy_study(replace))


def test_missing_images_are_left_to_check(toy_study: ToyStudy, tmp_path: Path) -> None:
    file = toy_study({"\n  patch_size: [8, 8, 8]": "\n  patch_size: auto"})
    for path in (tmp_path / "data").glob("*T1.nii.gz"):
        path.unlink()
    assert any("no such file" in line for line in check_study(Study(file)).errors)


def test_phantoms_have_the_head_that_they_are_planned_with() -> None:
    case = make_case("mrbrains13", 0, (4, 4, 4))
    inside = np.argwhere(case.brain_mask)
    extent = (np.ptp(inside, axis=0) + 1) * 4
    assert np.abs(extent - HEAD_MM).max() < 0.12 * max(HEAD_MM)


def test_mirroring_is_chosen_by_the_training_images(toy_study: ToyStudy, tmp_path: Path) -> None:
    """A ball in the middle is like its mirror image; a box that gets brighter from left to right is not."""
    study = Study(toy_study({"validation_every: 2": "validation_every: 2\n  flip: auto"}))
    network = study.runs[0].networks[0]
    train_network(network, study.store, study.params)
    found = json.loads((network.folder / "network.json").read_text())["flip"]
    assert found["mirrored"] and found["likeness"] > 0.8
    for path in (tmp_path / "data").glob("*_T1.nii.gz"):
        image = nib.load(path)
        ramp = np.linspace(1, 20, image.shape[0])[:, None, None]
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + 100 * ramp, image.affine), path)
    text = study.params_file.read_text().replace("spacing_mm: 1", "spacing_mm: 1, brain_extraction: none")
    study.params_file.write_text(text)
    study = Study(study.params_file)
    network = study.runs[0].networks[0]
    train_network(network, study.store, study.params)
    found = json.loads((network.folder / "network.json").read_text())["flip"]
    assert not found["mirrored"] and found["likeness"] < 0
