"""Pretraining without labels: what is hidden, what is learned, and where it stands among the networks of a study."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from multiseg.study import runs
from multiseg.study.evaluation import evaluate_run
from multiseg.study.plan import networks_of
from multiseg.study.pretraining import PretrainingTrainer, hidden_cubes
from multiseg.study.study import Study
from multiseg_core.compute import Compute
from multiseg_core.errors import UserError

ToyStudy = Callable[..., Path]

MODELS = "models: [cross_entropy, selective_cross_entropy]"
PRETRAINED = {
    "precision: float32": """precision: float32
models:
  pretrained: {pretraining: {steps: 3, cube: 4}}
  longer: {pretraining: {steps: 3, cube: 4}, training: {steps: 6}}
  otherwise: {pretraining: {steps: 3, cube: 2}}
""",
    MODELS: "models: [selective_cross_entropy, pretrained, longer, otherwise]",
    "codes: {1: wmh}": "codes: {other: background}",  # images alone
    "absent: [wmh]": "absent: []",
}


def test_hidden_cubes() -> None:
    mask = hidden_cubes((2, 8, 8, 6), 4, 0.5, seed=1)
    assert mask.shape == (2, 1, 8, 8, 6) and mask.dtype == torch.bool
    cubes = mask[:, 0, ::4, ::4, ::4]
    assert cubes.flatten(1).sum(1).tolist() == [4, 4]  # half of 2 x 2 x 2
    whole = cubes.repeat_interleave(4, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)[..., :6]
    assert torch.equal(mask[:, 0], whole)
    assert torch.equal(mask, hidden_cubes((2, 8, 8, 6), 4, 0.5, seed=1))
    assert not torch.equal(mask, hidden_cubes((2, 8, 8, 6), 4, 0.5, seed=2))
    assert hidden_cubes((1, 8, 8, 8), 4, 0.01, 0).sum() == 64 and hidden_cubes((1, 8, 8, 8), 4, 0.99, 0).sum() == 7 * 64


def test_one_pretraining_serves_several_trainings(toy_study: ToyStudy) -> None:
    study = Study(toy_study(PRETRAINED))
    by_model = {run.model: run.networks[0] for run in study.runs}
    assert by_model["selective_cross_entropy"].start is None
    one, same, other = (by_model[name].start for name in ("pretrained", "longer", "otherwise"))
    assert one is not None and same is not None and other is not None
    assert one.key == same.key != other.key and len(networks_of(study.runs)) == 6
    # it sees the images without labels too, of which the training itself has no use
    assert [p.cohort.name for p in one.cohorts] == ["anatomy", "lesion"]
    assert [p.cohort.name for p in by_model["pretrained"].cohorts] == ["anatomy"]
    assert one.outputs == ("image of T1", "image of FLAIR") and one.facts()["pretraining"]["cube"] == 4
    rounds = [[n.name for n in part] for part in runs.training_rounds(study.runs)]
    assert "both/pretrained/0 (pretraining)" in rounds[0] and "both/pretrained/0" in rounds[1]


def test_weights_are_taken_over_but_for_the_last_layer(toy_study: ToyStudy) -> None:
    study = Study(toy_study(PRETRAINED))
    run = next(run for run in study.runs if run.model == "pretrained")
    network = run.networks[0]
    assert network.start is not None
    start = runs.train_network(network.start, study.store, study.params)
    first = torch.load(start / "model.pt", weights_only=True)
    assert len(first["head.weight"]) == 2  # an output per modality
    fresh = runs.make_trainer(network, study.store, study.params, Compute.resolve("cpu", "float32"))
    own = fresh.network.state_dict()
    assert torch.equal(own["bottom.0.weight"], first["bottom.0.weight"]) and len(own["head.weight"]) == 4
    assert fresh.facts["initial"]["new"] == ["head.weight", "head.bias"]
    evaluate_run_after_training(study, run)


def evaluate_run_after_training(study: Study, run: object) -> None:
    runs.train_network(run.networks[0], study.store, study.params)  # type: ignore[attr-defined]
    assert (evaluate_run(run, study.store, study.params) / "metrics.csv").exists()  # type: ignore[arg-type]


def test_the_loss_is_the_error_in_what_is_hidden(toy_study: ToyStudy) -> None:
    study = Study(toy_study(PRETRAINED))
    network = next(run for run in study.runs if run.model == "pretrained").networks[0].start
    assert network is not None
    trainer = runs.make_trainer(network, study.store, study.params, Compute.resolve("cpu", "float32"))
    assert isinstance(trainer, PretrainingTrainer)
    batch = trainer.validation_sampler.batch(0)
    trainer.network.eval()
    with torch.no_grad():
        hidden = hidden_cubes((1, 8, 8, 8), 4, 0.5, network.seed).expand_as(batch.images)
        found = trainer.network(torch.where(hidden, 0.0, batch.images))
        expected = ((found - batch.images)[hidden] ** 2).mean()
        assert float(trainer.loss_of(batch)) == pytest.approx(float(expected), rel=1e-5)
    assert trainer.validate() == trainer.validate()


def test_a_killed_pretraining_ends_with_the_same_weights(toy_study: ToyStudy, tmp_path: Path) -> None:
    study = Study(toy_study({**PRETRAINED, "validation_every: 2": "validation_every: 1"}))
    network = next(run for run in study.runs if run.model == "pretrained").networks[0].start
    assert network is not None
    compute = Compute.resolve("cpu", "float32")

    def trainer(folder: str) -> PretrainingTrainer:
        made = runs.make_trainer(network, study.store, study.params, compute)
        made.folder = tmp_path / folder
        made.folder.mkdir(exist_ok=True)
        assert isinstance(made, PretrainingTrainer)
        made.params = made.params.changed(validation_every=1)  # a checkpoint after each step
        return made

    def kill(step: int, steps: int, loss: float) -> None:
        if step == 2:
            raise KeyboardInterrupt

    trainer("whole").run()
    with pytest.raises(KeyboardInterrupt):
        trainer("killed").run(kill)
    assert (tmp_path / "killed" / "checkpoint.pt").exists()
    trainer("killed").run()
    whole, killed = (torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[k], killed[k]) for k in whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("inputs: any, ", "pretraining: needs networks: one, inputs: shared and head: softmax"),
        ("continues: both/cross_entropy, ", "a model has one start: 'initial', 'continues' or 'pretraining'"),
    ],
)
def test_pretrainings_that_cannot_be(toy_study: ToyStudy, change: str, message: str) -> None:
    old = "precision: float32"
    replace = {old: PRETRAINED[old].replace("pretrained: {", "pretrained: {" + change), MODELS: "models: [pretrained]"}
    with pytest.raises(UserError, match=message):
        Study(toy_study(replace))
