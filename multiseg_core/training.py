"""Training of one network: seeded, checkpointed, the best weights by validation (thesis 4 and 6.1).

The state at any step follows from the seed and the checkpoint: batches and dropout draw from (seed, step), so a
training that was killed goes on from its last checkpoint and ends with the same weights, bit for bit on a CPU.
"""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .augmentation import vary_contrast, vary_shape_
from .compute import Compute
from .errors import UserError
from .files import atomic_path, write_json
from .losses import Selective
from .samplers import Batch, PatchSampler
from .settings import TrainingParams
from .wrappers import Conditioned, is_part, require_parts

Progress = Callable[[int, int, float], None]
"""Called as progress(step, steps, loss)."""

READ_LOSS_EVERY = 25
"""Steps on a GPU between two looks at the loss, for each of which the GPU has to finish all that it was given."""

HISTORY_COLUMNS = ("step", "training_loss", "validation_loss", "learning_rate", "seconds")


def weights_and_the_rest(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameter groups of the optimiser: the L2 penalty is for the weights of convolutions only.

    Biases and the scales and shifts of normalisations are left alone, as by Keras's kernel regulariser in the
    thesis's program.
    """
    groups: dict[bool, list[Tensor]] = {True: [], False: []}
    for parameter in network.parameters():
        groups[parameter.ndim > 1].append(parameter)
    return [{"params": groups[True], "weight_decay": weight_decay}, {"params": groups[False], "weight_decay": 0.0}]


def learning_rate(params: TrainingParams, step: int) -> float:
    """Return the learning rate of a step (from 0).

    ``one_cycle``: linear rise from 1/25 of the peak over 30 % of the steps, then a cosine down to 1/10,000 of the
    peak (Smith 2018).
    """
    if params.schedule == "constant":
        return params.learning_rate
    rise = max(0.3 * params.steps, 1)
    if step < rise:
        return params.learning_rate * (0.04 + 0.96 * step / rise)
    fraction = min((step - rise) / max(params.steps - rise, 1), 1)
    return params.learning_rate * (1e-4 + (1 - 1e-4) * 0.5 * (1 + math.cos(math.pi * fraction)))


def in_phases(params: TrainingParams) -> list[tuple[TrainingParams, list[str]]]:
    """Return the parts of a training, in order: the settings of each, and the parts of the network that are frozen."""
    if not params.phases:
        return [(params, [])]
    return [
        (
            params.changed(
                phases=[],
                steps=phase.steps,
                learning_rate=phase.learning_rate or params.learning_rate,
                schedule=phase.schedule or params.schedule,
            ),
            phase.frozen,
        )
        for phase in params.phases
    ]


class Trainer:
    """Trains one network in a folder of its own.

    Parameters
    ----------
    folder
        Gets ``checkpoint.pt`` while training, then ``model.pt``, ``history.csv`` and ``network.json``.
    network, loss
        What to train and what to minimise; they are moved to the device.
    samplers
        Of training batches, and of the validation patches that choose the best weights, one a batch.
    params
        How to train.
    seed
        Of dropout; that of the samplers and of the initial weights is the caller's.
    compute
        Where to train.
    facts
        Written to ``network.json`` with the measurements.
    """

    def __init__(
        self,
        folder: Path,
        network: nn.Module,
        loss: nn.Module,
        samplers: tuple[PatchSampler, PatchSampler],
        params: TrainingParams,
        *,
        seed: int,
        compute: Compute,
        facts: Mapping[str, Any],
    ) -> None:
        self.folder = folder
        self.params = params
        self.seed = seed
        self.compute = compute
        self.facts = facts
        self.train_sampler, self.validation_sampler = samplers
        self.network = compute.place_network(network)
        self.loss = loss.to(compute.device)
        self.optimiser = torch.optim.Adam(
            weights_and_the_rest(self.network, params.weight_decay), lr=params.learning_rate, fused=True
        )
        self.phases = in_phases(params)
        for _, frozen in self.phases:
            require_parts(self.network, frozen)
        self.step = 0
        self.best_loss = math.inf
        self.best_step = 0
        self.best_weights: dict[str, Tensor] = copy.deepcopy(self.network.state_dict())
        self.history: list[list[float]] = []
        self.seconds = 0.0

    # -- one step ----------------------------------------------------------------------------------------------

    def train_step(self) -> Tensor:
        """Do one optimiser step and return its loss."""
        batch = self._varied(self.train_sampler.batch(self.step))
        torch.manual_seed(step_seed(self.seed, self.step))  # dropout of this step, whatever happened before
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(self.step)
        self.network.train()
        self._freeze()
        loss = self.loss_of(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        return loss.detach()

    def _varied(self, batch: Batch) -> Batch:
        """Return a batch with the random shapes and contrasts that params ask for."""
        images, target, spacing = batch.images, batch.target, self.train_sampler.spacing_mm
        if self.params.shape > 0:
            vary_shape_(images, target, self.params.shape, spacing, self.seed, self.step)
        if self.params.contrast > 0:
            images = vary_contrast(images, self.params.contrast, self.seed, self.step)
        return batch._replace(images=images)

    def _phase(self, step: int) -> tuple[TrainingParams, list[str], int]:
        """Return the settings of a step, what is frozen in it, and its number within its phase."""
        for params, frozen in self.phases:
            if step < params.steps:
                return params, frozen, step
            step -= params.steps
        return *self.phases[-1], self.phases[-1][0].steps  # all is done

    def _rate(self, step: int) -> float:
        params, _, at = self._phase(step)
        return learning_rate(params, at)

    def _freeze(self) -> None:
        """Let the frozen parts of the network as they are, normalisations included, and all others learn."""
        if not any(frozen for _, frozen in self.phases):
            return
        _, frozen, _ = self._phase(self.step)
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not is_part(name, frozen))
        for name, module in self.network.named_modules():
            if is_part(name, frozen):
                module.eval()

    @torch.no_grad()
    def validate(self) -> float:
        """Return the mean loss over the validation patches."""
        self.network.eval()
        total = 0.0
        for i in range(self.params.validation_patches):
            total += float(self.loss_of(self.validation_sampler.batch(i)))
        return total / self.params.validation_patches

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the loss of a batch; tell the network its tasks, and the loss its backgrounds, if they ask."""
        device = self.compute.device
        task = {"task": batch.task.to(device)} if isinstance(self.network, Conditioned) else {}
        background = {"background": batch.background} if isinstance(self.loss, Selective) else {}
        with self.compute.autocast():
            logits = self.network(self.compute.place(batch.images), **task)
        loss: Tensor = self.loss(logits, batch.target.to(device), **background)
        return loss

    # -- the whole training ------------------------------------------------------------------------------------

    def run(self, progress: Progress = lambda step, steps, loss: None) -> None:
        """Train to the end, from the last checkpoint if there is one.

        Raises
        ------
        UserError
            If the loss is not a finite number.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        losses: list[float] = []
        unread: list[Tensor] = []
        started = time.perf_counter() - self.seconds
        while not self._finished():
            unread.append(self.train_step())
            at_validation = self.step % self.params.validation_every == 0 or self.step == self.params.steps
            if at_validation or self.compute.device.type == "cpu" or len(unread) == READ_LOSS_EVERY:
                losses += self._read(unread)
                unread.clear()
                progress(self.step, self.params.steps, losses[-1])
            if at_validation:
                self.seconds = time.perf_counter() - started
                self._record(sum(losses) / len(losses))
                losses.clear()
                self._save_checkpoint()
        self._save_result()

    def _read(self, losses: list[Tensor]) -> list[float]:
        """Return the losses of the last steps as numbers, all finite."""
        values = torch.stack(losses).tolist()
        for step, value in enumerate(values, start=self.step - len(values) + 1):
            if not math.isfinite(value):
                raise UserError(
                    f"{self.facts.get('name', self.folder)}: the loss became {value} at step {step}; "
                    "lower training.learning_rate"
                )
        return values

    def _finished(self) -> bool:
        if self.step >= self.params.steps:
            return True
        if self.params.patience is None or not self.history:
            return False
        return self.step - self.best_step >= self.params.patience * self.params.validation_every

    def _record(self, training_loss: float) -> None:
        """Validate, keep the weights if they are the best so far, append to the history."""
        validation_loss = self.validate()
        if validation_loss < self.best_loss:
            self.best_loss, self.best_step = validation_loss, self.step
            self.best_weights = copy.deepcopy(self.network.state_dict())
        rate = self._rate(self.step - 1)
        self.history.append([self.step, training_loss, validation_loss, rate, self.seconds])

    def _save_checkpoint(self) -> None:
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "best_weights": self.best_weights,
            "history": self.history,
            "seconds": self.seconds,
        }
        with atomic_path(self.folder / "checkpoint.pt") as part:
            torch.save(state, part)
        self._write_history()

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.compute.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.best_loss, self.best_step = state["best_loss"], state["best_step"]
        self.best_weights, self.history = state["best_weights"], state["history"]

    def _write_history(self) -> None:
        with atomic_path(self.folder / "history.csv") as part, open(part, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HISTORY_COLUMNS)
            writer.writerows(self.history)

    def _save_result(self) -> None:
        self._write_history()
        with atomic_path(self.folder / "model.pt") as part:
            torch.save({name: tensor.cpu() for name, tensor in self.best_weights.items()}, part)
        facts = {
            **self.facts,
            "best_step": self.best_step,
            "best_validation_loss": self.best_loss,
            "steps": self.step,
            "seconds": self.seconds,
            "bf16": self.compute.bf16,
        }
        write_json(self.folder / "network.json", facts)  # last: it marks the training as complete
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)


def is_trained(folder: Path) -> bool:
    """Whether a network's folder is complete."""
    return (folder / "network.json").exists()


def step_seed(seed: int, step: int) -> int:
    """Combine seed and step into one seed for torch; distinct steps of one seed never collide."""
    return (seed * 0x9E3779B97F4A7C15 + step) % 2**63
