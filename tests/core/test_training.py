import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from multiseg.study import finished_runs, runs
from multiseg.study.plan import NetworkPlan
from multiseg.study.study import Study
from multiseg_core.compute import Compute
from multiseg_core.errors import UserError
from multiseg_core.networks import UNet
from multiseg_core.settings import Phase, TrainingParams
from multiseg_core.training import in_phases, learning_rate, weights_and_the_rest


def weights(network: NetworkPlan) -> dict[str, torch.Tensor]:
    return torch.load(network.folder / "model.pt", weights_only=True)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_one_cycle_schedule() -> None:
    params = TrainingParams(steps=1000, learning_rate=0.01, schedule="one_cycle")
    rates = [learning_rate(params, step) for step in (0, 150, 300, 650, 1000)]
    expected = [0.01 / 25, 0.01 * (0.04 + 0.96 / 2), 0.01, 0.01 * (1e-4 + (1 - 1e-4) / 2), 0.01 * 1e-4]
    assert rates == pytest.approx(expected)
    assert learning_rate(TrainingParams(learning_rate=0.5), 7) == 0.5


PHASES = (
    "steps: 4",
    "phases: [{steps: 3, frozen: [down, head]}, {steps: 4, learning_rate: 0.002, schedule: one_cycle, frozen: [up]}]",
)


def test_each_phase_has_a_rate_of_its_own() -> None:
    params = TrainingParams(
        patience=None,
        learning_rate=0.01,
        phases=[Phase(steps=3), Phase(steps=10, learning_rate=0.1, schedule="one_cycle", frozen=["down"])],
    )
    assert params.steps == 13
    (first, nothing), (second, frozen) = in_phases(params)
    assert (nothing, frozen) == ([], ["down"]) and learning_rate(first, 2) == 0.01
    assert learning_rate(second, 3) == pytest.approx(0.1) and second.steps == 10  # the peak, after 30 %
    assert in_phases(TrainingParams()) == [(TrainingParams(), [])]


def test_frozen_parts_stay_as_they_are(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study(dict([PHASES])))
    network = study.find_run("both/selective_cross_entropy/0").networks[0]
    runs.prepare(study)
    trainer = runs.make_trainer(network, study.store, study.params, Compute(torch.device("cpu"), False))

    def state() -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}

    def changed(before: dict[str, torch.Tensor]) -> set[str]:
        now = trainer.network.state_dict()
        return {name.partition(".")[0] for name in before if not torch.equal(before[name], now[name])}

    start = state()
    rates = []
    for _ in range(3):
        trainer.train_step()
        rates.append(trainer.optimiser.param_groups[0]["lr"])
    assert changed(start) == {"bottom", "up", "merge"}  # averages of normalisations too
    middle = state()
    for _ in range(4):
        trainer.train_step()
        rates.append(trainer.optimiser.param_groups[0]["lr"])
    assert changed(middle) == {"down", "bottom", "merge", "head"}
    assert rates[:3] == [0.001] * 3 and rates[3] == pytest.approx(0.002 / 25) and max(rates[3:]) <= 0.002


def test_phases_go_on_after_an_interruption(toy_study: Callable[..., Path]) -> None:
    kept = []
    for name, stops in (("whole", ()), ("broken", (2, 4))):
        study = Study(toy_study({**dict([PHASES]), "precision: float32": f"precision: float32\nreports_dir: {name}"}))
        network = study.find_run("both/cross_entropy/0").networks[0]
        for step in stops:

            def report(fraction: float, text: str, step: int = step) -> None:
                if text.startswith(f"step {step}/7"):
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                runs.train_network(network, study.store, study.params, report)
        runs.train_network(network, study.store, study.params)
        kept.append(weights(network))
    assert same(*kept)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "phases: [{steps: 2, frozen: [dwn]}]",
            r"training.phases: the network has no part 'dwn' \(did you mean 'down'",
        ),
        ("phases: [{steps: 2, frozen: [down, bottom, up, merge, head]}]", "a phase freezes the whole network"),
        ("phases: [{steps: 0}]", r"training.phases\[0\].steps: must be above 0, got 0"),
        ("patience: 3\n  phases: [{steps: 2}]", "training: phases run to their end: patience must be null"),
    ],
)
def test_phases_that_cannot_be(toy_study: Callable[..., Path], text: str, message: str) -> None:
    replace = {"steps: 4": text}
    if text.startswith("patience"):
        replace["\n  patience: null"] = ""
    with pytest.raises(UserError, match=message):
        Study(toy_study(replace)).check_networks()


def test_training_is_repeatable_and_depends_on_the_seed(toy_study: Callable[..., Path]) -> None:
    def train(text: str) -> dict[str, torch.Tensor]:
        study = Study(toy_study({"precision: float32": text}))
        run = study.find_run(f"both/selective_cross_entropy/{study.params.seeds[0]}")
        runs.train_network(run.networks[0], study.store, study.params)
        return weights(run.networks[0])

    first = train("precision: float32\nreports_dir: a")
    assert same(first, train("precision: float32\nreports_dir: b"))
    assert not same(first, train("precision: float32\nreports_dir: b\nseeds: [1]"))


def test_an_interrupted_training_ends_with_the_same_weights(toy_study: Callable[..., Path]) -> None:
    long = {"steps: 4": "steps: 11", "validation_every: 2": "validation_every: 3"}

    class Stop(Exception):
        pass

    def stop_at(step: int) -> Callable[[float, str], None]:
        def report(fraction: float, text: str) -> None:
            if text.startswith(f"step {step}/11"):
                raise Stop

        return report

    whole = Study(toy_study({**long, "precision: float32": "precision: float32\nreports_dir: whole"}))
    network = whole.find_run("both/cross_entropy/0").networks[0]
    runs.train_network(network, whole.store, whole.params)
    broken = Study(toy_study({**long, "precision: float32": "precision: float32\nreports_dir: broken"}))
    other = broken.find_run("both/cross_entropy/0").networks[0]
    for step in (2, 5, 10):  # before the first checkpoint, and between others
        with pytest.raises(Stop):
            runs.train_network(other, broken.store, broken.params, stop_at(step))
    runs.train_network(other, broken.store, broken.params)
    assert same(weights(network), weights(other))
    # and with the same history, but for the time it took
    histories = [pd.read_csv(n.folder / "history.csv").drop(columns="seconds") for n in (network, other)]
    assert histories[0].equals(histories[1]) and histories[0]["step"].tolist() == [3, 6, 9, 11]
    assert not (other.folder / "checkpoint.pt").exists()


def test_kill_9_and_go_on(toy_study: Callable[..., Path]) -> None:
    long = {"steps: 4": "steps: 400", "validation_every: 2": "validation_every: 10"}
    whole = Study(toy_study({**long, "precision: float32": "precision: float32\nreports_dir: whole"}))
    run = whole.find_run("both/selective_cross_entropy/0")
    runs.train_network(run.networks[0], whole.store, whole.params)

    file = toy_study({**long, "precision: float32": "precision: float32\nreports_dir: killed"})
    killed = Study(file)
    command = [sys.executable, "-m", "multiseg.commands.cli", "train", str(file), "--run", run.name]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    other = killed.find_run(run.name)
    checkpoint = other.networks[0].folder / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert torch.load(checkpoint, weights_only=True)["step"] < 400
    assert not finished_runs.is_finished(other)

    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert finished_runs.is_finished(other)
    assert same(weights(run.networks[0]), weights(other.networks[0]))


def test_early_stopping_and_best_weights(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study({"steps: 4": "steps: 200", "patience: null": "patience: 2\n  learning_rate: 0.05"}))
    network = study.find_run("both/cross_entropy/0").networks[0]
    runs.train_network(network, study.store, study.params)
    losses = pd.read_csv(network.folder / "history.csv")["validation_loss"].tolist()
    best = losses.index(min(losses))
    assert len(losses) < 100
    assert len(losses) - 1 - best == 2  # two validations without a new minimum


def test_a_loss_that_is_not_finite_is_an_error(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study({"patience: null": "patience: null\n  learning_rate: 1.0e+38"}))
    network = study.find_run("both/cross_entropy/0").networks[0]
    with pytest.raises(
        UserError, match=r"both/cross_entropy/0: the loss became nan at step \d; lower training.learning"
    ):
        runs.train_network(network, study.store, study.params)


def test_the_penalty_is_for_the_weights_of_convolutions_only() -> None:
    network = UNet(1, 2, base_filters=2, levels=2)
    optimiser = torch.optim.SGD(weights_and_the_rest(network, 0.1), lr=1.0)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, parameter in network.named_parameters():
        factor = 0.9 if parameter.ndim == 5 else 1.0  # w - 1.0 * 0.1 w
        assert torch.allclose(parameter, factor * before[name]), name


def test_compute_resolution() -> None:
    assert Compute.resolve("cpu", "float32") == Compute(torch.device("cpu"), False)
    assert Compute.resolve("cpu", "bf16").bf16
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="device: 'cuda' was asked for, but torch finds no CUDA device"):
            Compute.resolve("cuda", "auto")
