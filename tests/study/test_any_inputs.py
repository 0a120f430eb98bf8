"""One network for every subset of modalities: absent channels, sampling, evaluation and prediction."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from multiseg.commands import cli
from multiseg.results import summaries
from multiseg.study import finished_runs, runs
from multiseg.study.study import Study
from multiseg_core.errors import UserError
from multiseg_core.inference import Segmenter
from multiseg_core.networks import build_network
from multiseg_core.wrappers import AnyInputs


class Seen(nn.Module):
    """Returns what it gets."""

    size_divisor = 4

    def forward(self, x: Tensor) -> Tensor:
        return x


def batch() -> Tensor:
    """Three samples of three channels: all there, the second absent, the first alone."""
    x = torch.arange(1.0, 1 + 3 * 3 * 8).view(3, 3, 2, 2, 2)
    x[1, 1] = x[2, 1:] = torch.nan
    return x


def test_absent_channels_are_0_and_the_rest_makes_up_for_them() -> None:
    x = batch()
    seen = AnyInputs(Seen(), 0.5).eval()(x)
    assert torch.equal(seen[0], x[0])
    assert torch.equal(seen[1, [0, 2]], x[1, [0, 2]] * 3 / 2) and (seen[1, 1] == 0).all()
    assert torch.equal(seen[2, 0], x[2, 0] * 3) and (seen[2, 1:] == 0).all()


def test_channels_are_dropped_in_training_but_never_all() -> None:
    network = AnyInputs(Seen(), 0.5).train()
    torch.manual_seed(0)
    counts = torch.zeros(3, 3)
    for _ in range(400):
        kept = (network(batch()) != 0).flatten(2).all(2)
        assert kept.any(1).all() and not kept[1, 1] and not kept[2, 1:].any()
        counts += kept
    # of three, each is there with 1/2, or with all if none was kept: 1/2 + 1/8; of two, 1/2 + 1/4
    assert counts[0] / 400 == pytest.approx(torch.full((3,), 5 / 8), abs=0.08)
    assert counts[1, [0, 2]] / 400 == pytest.approx(torch.full((2,), 3 / 4), abs=0.08)
    assert counts[2, 0] == 400


def test_its_option_is_checked() -> None:
    spec = {"name": "unet", "base_filters": 2, "levels": 2, "modality_dropout": 0.3}
    network = build_network(spec, 2, 3)
    assert isinstance(network, AnyInputs) and network.reach == network.network.reach
    with pytest.raises(UserError, match=r"modality_dropout must lie in \[0, 1\), got 1"):
        build_network({**spec, "modality_dropout": 1}, 2, 3)


@pytest.fixture
def study(toy_study: Callable[..., Path], tmp_path: Path) -> Study:
    """Anatomy with T1 alone in training, lesions with T1 and FLAIR; the test cases have both."""
    file = toy_study({
        "modalities: [T1, FLAIR]": "modalities: [T1]",
        "models: [cross_entropy, selective_cross_entropy]": "models: [any_modalities, selective_cross_entropy]",
    })  # fmt: skip
    manifest = tmp_path / "data" / "anatomy.csv"
    lines = manifest.read_text().splitlines()
    lines[1:4] = [line.replace(f"anatomy{i}_FLAIR.nii.gz", "") for i, line in enumerate(lines[1:4])]
    manifest.write_text("\n".join(lines))
    return Study(file)


def test_it_sees_what_there_is_and_is_asked_task_by_task(study: Study, tmp_path: Path) -> None:
    run = study.find_run("both/any_modalities/0")
    (network,) = run.networks
    assert network.modalities == ("T1", "FLAIR") and network.network["modality_dropout"] == 0.5
    assert run.questions == ((("T1",), ("csf", "gm", "wm"), None), (("T1", "FLAIR"), ("wmh",), None))
    anatomy, _ = runs.sampling_cohorts(network, network.cohorts[0], study.store)
    trainer_batch = runs.make_trainer(network, study.store, study.params, runs.Compute.resolve("cpu", "float32"))
    images = trainer_batch.train_sampler.batch(0).images
    absent = images.isnan().flatten(2).all(2)
    draws = trainer_batch.train_sampler.draw(0)
    assert absent.tolist() == [[False, draw.cohort == 0] for draw in draws]
    assert len(anatomy.cases) == 2
    runs.finish_runs(study, [run])
    subsets = finished_runs.subsets([run])
    assert set(subsets["modalities"]) == {"T1", "FLAIR", "T1+FLAIR"}
    everything = subsets[subsets["modalities"] == "T1+FLAIR"].drop(columns="modalities").reset_index(drop=True)
    pd.testing.assert_frame_equal(everything, finished_runs.metrics(study), check_dtype=False)
    assert list(summaries.dice_by_modalities(subsets).index.get_level_values("modalities")) == [
        "T1",
        "FLAIR",
        "T1+FLAIR",
    ]
    loaded = Segmenter.load(run.folder / "model.pt")
    assert [m.paints for m in loaded.members] == [("csf", "gm", "wm"), ("wmh",)]
    case = study.cohorts["anatomy"].cases[3]
    stored = study.open(case)
    again = loaded.segment(np.asarray(stored.images), stored.modalities, runs.Compute.resolve("cpu", "float32"))
    assert np.array_equal(again, finished_runs.prediction(run, case))
    # by hand: anatomy asked with T1 alone, lesions with both and on top
    member = loaded.members[0].network.eval()
    x = torch.from_numpy(np.array(stored.images))[None]
    pads = [(-n) % 2 for n in x.shape[2:]]
    x = nn.functional.pad(x, [0, pads[2], 0, pads[1], 0, pads[0]], value=-4.0) if any(pads) else x
    if not any(pads):
        with torch.inference_mode():
            without = x.clone()
            without[:, 1] = torch.nan
            tissue, lesion = (member(v)[0].argmax(0).numpy() for v in (without, x))
        by_hand = np.where(lesion == 4, 4, np.where(tissue == 4, 0, tissue))
        assert (by_hand == again).mean() > 0.999


def test_it_may_be_asked_once(study: Study) -> None:
    once = study.models["any_modalities"].model_copy(update={"asked": "once"})
    assert study.scenario("both").questions(once) == ()
    told = once.model_copy(update={"head": "conditioned"})
    assert [(question.sees, question.task) for question in study.scenario("both").questions(told)] == [
        (None, 0),
        (None, 1),
    ]


def test_predict_takes_what_the_user_has(study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = study.find_run("both/any_modalities/0")
    runs.finish_runs(study)
    case = study.cohorts["anatomy"].cases[3]
    out = tmp_path / "seg.nii.gz"
    found = {}
    for given in (("T1", "FLAIR"), ("T1",), ("FLAIR",)):
        images = [part for m in given for part in ("--image", f"{m}={case.images[m]}")]
        assert cli.main(["predict", str(run.folder), *images, "-o", str(out)]) == 0
        found[given] = np.asarray(nib.load(out).dataobj)
        assert found[given].shape == (20, 22, 18)
    other = study.find_run("both/selective_cross_entropy/0")
    flair = ["--image", f"FLAIR={case.images['FLAIR']}"]
    assert cli.main(["predict", str(other.folder), *flair, "-o", str(out)]) == 1
    assert "--image FLAIR: the run has no such modality (it needs T1)" in capsys.readouterr().err
