"""Other heads than softmax: binary outputs, and networks that are told their task."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from multiseg.commands import cli, predict
from multiseg.study import finished_runs, runs
from multiseg.study.study import Study
from multiseg_core.errors import UserError
from multiseg_core.inference import Segmenter
from multiseg_core.networks import build_network
from multiseg_core.wrappers import Conditioned, SigmoidHead

UNET = {"name": "unet", "base_filters": 2, "levels": 3, "dropout": 0.0}


def test_the_background_of_binary_outputs_has_logit_0() -> None:
    network = build_network({**UNET, "head": "sigmoid"}, 2, 4).eval()
    assert isinstance(network, SigmoidHead) and network.reach == network.network.reach
    x = torch.randn(1, 2, 8, 8, 8)
    logits = network(x)
    assert logits.shape == (1, 4, 8, 8, 8) and not logits[:, 0].any()
    assert torch.equal(logits[:, 1:], network.network(x))
    # the ratio that gives a label's own probability from those of a softmax
    p = logits.softmax(1)
    assert torch.allclose(p[:, 1:] / (p[:, 1:] + p[:, :1]), logits[:, 1:].sigmoid(), atol=1e-6)


def conditioned(spec: dict[str, object], tasks: int = 2) -> Conditioned:
    torch.manual_seed(0)
    network = build_network({**spec, "tasks": tasks}, 1, 3).eval()
    assert isinstance(network, Conditioned)
    for name, parameter in network.named_parameters():
        if ".scale." in name or ".shift." in name:
            nn.init.normal_(parameter, std=0.5)
    return network


@pytest.mark.parametrize(
    "spec",
    [
        UNET,
        {**UNET, "norm": "instance"},
        {"name": "monai.UNet", "channels": [4, 8], "strides": [2]},  # its instance normalisations have no weights
        {"name": "monai.UNet", "channels": [4, 8], "strides": [2], "norm": ["GROUP", {"num_groups": 2}]},
    ],
    ids=["batch", "instance", "monai", "group"],
)
def test_a_network_bound_to_a_task_is_the_conditioned_one(spec: dict[str, object]) -> None:
    network = conditioned(spec)
    x = torch.randn(2, 1, 8, 8, 8)
    with torch.no_grad():
        mixed = network(x, torch.tensor([1, 0]))
        for n, task in enumerate((1, 0)):
            alone = network.bound(task).eval()
            assert not any(type(m).__name__ == "_ConditionalNorm" for m in alone.modules())
            assert torch.allclose(alone(x[n : n + 1]), mixed[n : n + 1], atol=1e-5)
        assert not torch.allclose(network(x, torch.tensor([0, 0])), network(x, torch.tensor([1, 1])), atol=1e-2)


def test_a_fresh_conditioned_network_is_the_bare_one() -> None:
    torch.manual_seed(0)
    bare = build_network(UNET, 1, 3).eval()
    torch.manual_seed(0)
    network = build_network({**UNET, "tasks": 3}, 1, 3).eval()
    x = torch.randn(1, 1, 8, 8, 8)
    assert torch.equal(network(x, torch.tensor([2])), bare(x))


def test_it_needs_normalisations() -> None:
    spec = {"name": "monai.UNet", "channels": [4, 8], "strides": [2], "norm": None, "tasks": 2}
    with pytest.raises(UserError, match="conditioned needs a network with normalisation layers"):
        build_network(spec, 1, 3)


@pytest.mark.parametrize("model", ["sigmoid", "conditioned"])
def test_runs_of_other_heads(model: str, toy_study: Callable[..., Path], tmp_path: Path) -> None:
    study = Study(toy_study({"models: [cross_entropy, selective_cross_entropy]": f"models: [{model}]"}))
    run = study.find_run(f"both/{model}/0")
    (network,) = run.networks
    trainer = runs.make_trainer(network, study.store, study.params, runs.Compute.resolve("cpu", "float32"))
    batch, draws = trainer.train_sampler.batch(0), trainer.train_sampler.draw(0)
    assert batch.task.tolist() == [draw.cohort for draw in draws]
    runs.finish_runs(study, [run])
    loaded = Segmenter.load(run.folder / "model.pt")
    paints = [("csf", "gm", "wm"), ("wmh",)] if model == "conditioned" else [None]
    assert [m.paints for m in loaded.members] == paints
    assert [m.task for m in loaded.members] == ([0, 1] if model == "conditioned" else [None])
    case = run.test_cases[0]
    stored = study.open(case)
    again = loaded.segment(np.asarray(stored.images), stored.modalities, runs.Compute.resolve("cpu", "float32"))
    assert np.array_equal(again, finished_runs.prediction(run, case))
    if model == "conditioned":  # by hand: each task's labels, the later on top
        bodies = [m.network.bound(m.task).eval() for m in loaded.members]
        x = torch.from_numpy(np.array(stored.images))[None]
        pads = [-n % 2 for n in x.shape[2:]]
        if not any(pads):
            with torch.inference_mode():
                tissue, lesion = (body(x)[0].argmax(0).numpy() for body in bodies)
            by_hand = np.where(lesion == 4, 4, np.where(tissue == 4, 0, tissue))
            assert (by_hand == again).mean() > 0.999


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{head: sigmoid}", "models.own.head: 'sigmoid' and the loss SelectiveSigmoid need each other"),
        ("{loss: SelectiveSigmoid}", "models.own.head: 'sigmoid' and the loss SelectiveSigmoid need each other"),
        ("{head: conditioned, networks: per_task}", "models.own.head: 'conditioned' needs one network for all tasks"),
        ("{head: conditioned, targets: pseudo}", "models.own.head: 'conditioned' has one task per set of drawn labels"),
        (
            "{sampling: {cohorts: {anatomie: 2}}}",
            "models.own.sampling.cohorts: unknown 'anatomie' (did you mean 'anatomy'?)",
        ),
        ("{sampling: {labels: {wnh: 2}}}", "models.own.sampling.labels: unknown 'wnh' (did you mean 'wmh'?)"),
        ("{sampling: {cohorts: {anatomy: 0}}}", "models.own.sampling.cohorts.anatomy"),
    ],
)
def test_choices_that_do_not_go_together(model: str, message: str, toy_study: Callable[..., Path]) -> None:
    file = toy_study({
        "models: [cross_entropy, selective_cross_entropy]": "models: [own]",
        "scenarios:": f"models:\n  own: {model}\nscenarios:",
    })  # fmt: skip
    with pytest.raises(UserError) as caught:
        Study(file)
    assert message in str(caught.value)


def test_binary_outputs_are_written_label_by_label_and_may_overlap(
    toy_study: Callable[..., Path], tmp_path: Path
) -> None:
    study = Study(toy_study({"models: [cross_entropy, selective_cross_entropy]": "models: [sigmoid]"}))
    run = study.find_run("both/sigmoid/0")
    runs.finish_runs(study, [run])
    case, out = run.test_cases[0], tmp_path / "seg.nii.gz"
    images = [part for m in ("T1", "FLAIR") for part in ("--image", f"{m}={case.images[m]}")]
    assert cli.main(["predict", str(run.folder), *images, "-o", str(out), "--each-label"]) == 0
    whole = np.asarray(nib.load(out).dataobj)
    masks = [np.asarray(nib.load(tmp_path / f"seg_{label}.nii.gz").dataobj) for label in study.labels]
    assert set(np.unique(masks)) <= {0, 1}
    for k, mask in enumerate(masks, start=1):
        assert (mask[whole == k] == 1).all()  # the likeliest label is one of those that are there
    # by hand, where the grids are one: each output of the network on its own
    loaded = Segmenter.load(run.folder / "model.pt")
    stored = study.open(case)
    x = torch.from_numpy(np.array(stored.images))[None]
    if not any(n % 2 for n in x.shape[2:]) and x.shape[2:] == whole.shape:
        with torch.inference_mode():
            logits = loaded.members[0].network.eval()(x)[0, 1:].numpy()
        assert np.mean([(z > 0) == mask for z, mask in zip(logits, masks, strict=True)]) > 0.999


def test_names_of_files_per_label() -> None:
    names = predict.file_per_label(Path("a/seg.nii"), ["wmh", "left/right", "left right"])
    assert [str(n) for n in names] == ["a/seg_wmh.nii", "a/seg_left-right_2.nii", "a/seg_left-right_3.nii"]


def test_several_runs_and_their_uncertainty(toy_study: Callable[..., Path], tmp_path: Path) -> None:
    study = Study(toy_study({
        "models: [cross_entropy, selective_cross_entropy]": "models: [selective_cross_entropy]",
        "precision: float32": "precision: float32\nseeds: [0, 1]",
    }))  # fmt: skip
    runs.finish_runs(study)
    folders = [str(run.folder) for run in study.runs]
    case, out, how_sure = study.runs[0].test_cases[0], tmp_path / "seg.nii.gz", tmp_path / "entropy.nii.gz"
    images = [part for m in ("T1", "FLAIR") for part in ("--image", f"{m}={case.images[m]}")]
    assert cli.main(["predict", *folders, *images, "-o", str(out), "--uncertainty", str(how_sure)]) == 0
    entropy = nib.load(how_sure)
    assert entropy.get_data_dtype() == np.float32 and entropy.shape == nib.load(out).shape
    values = np.asarray(entropy.dataobj)
    assert values.min() >= 0 and 0 < values.max() <= 1
