"""What networks cost: weights, operations, memory and time; and what a study has left to train."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from multiseg_core.compute import Compute
from multiseg_core.networks import build_network, count_parameters
from multiseg_core.settings import TrainingParams
from multiseg_core.training import is_trained
from multiseg_core.wrappers import Conditioned, divisors

from ..base.cores import default_workers
from ..settings.params import Params
from ..settings.recipe import THREAD_FLOPS
from .finished_runs import network_facts
from .network_shapes import is_plain, shapes_only
from .plan import NetworkPlan

PROGRAM_MB = 1000
"""Memory of a process with torch that has done nothing yet, and of the volumes that it maps, in MB."""

FLOPS_PER_S = {"cpu": THREAD_FLOPS, "cuda": 3e12}
"""Operations a second in training, of a thread or a GPU: a guess until a network of the kind is trained."""

STEP_S = 0.01
"""The least seconds of a step: starting a network's kernels on a GPU takes as long, however small it is."""

UNKNOWN = 4e9, 1e12, 10**8
"""Bytes, operations and weights of a network that cannot be tried by shapes alone."""


class Needs:
    """Memory and time of the trainings of a study: networks of the same settings need the same.

    What those of the `known` networks that are trained took is expected of others.
    """

    def __init__(self, params: Params, known: Iterable[NetworkPlan] = ()) -> None:
        self.params = params
        self.costs: dict[str, tuple[float, float, int]] = {}
        self.seconds: dict[str, list[float]] = {}
        for network in known:
            for facts in network_facts([network]):
                self.seconds.setdefault(_kind(network), []).append(facts["seconds"])

    def _cost(self, network: NetworkPlan) -> tuple[float, float, int]:
        kind = _kind(network)
        if kind not in self.costs:
            shapes = len(network.modalities), len(network.labels)
            try:
                self.costs[kind] = step_cost(network.network, *shapes, network.training)
            except Exception:  # some operation has no shape-only form; an estimate must not stop a study
                self.costs[kind] = UNKNOWN
        return self.costs[kind]

    def tensors_gib(self, network: NetworkPlan) -> float:
        """Return the memory of a training's tensors: what the backward pass needs, and several times the weights.

        These are gradients, Adam's two moments, the best weights and those of a checkpoint.
        """
        kept, _, weights = self._cost(network)
        teaching = self.params.inference.memory_gib if network.teachers else 0.0
        return max((1.5 * kept + 7 * 4 * weights) / 2**30, teaching)

    def memory_mb(self, network: NetworkPlan) -> int:
        """Return the memory of a training's process in MB (of 2^20 bytes, as SLURM counts)."""
        return PROGRAM_MB + math.ceil(1024 * self.tensors_gib(network))

    def minutes(self, network: NetworkPlan) -> float:
        """Return the expected minutes of a training, without those that the program takes to start."""
        measured = self.seconds.get(_kind(network))
        if measured:
            return sum(measured) / len(measured) / 60
        _, flops, _ = self._cost(network)
        on_gpu = self.params.device.startswith("cuda")
        rate = FLOPS_PER_S["cuda"] if on_gpu else FLOPS_PER_S["cpu"] * self.params.threads
        return network.training.steps * max(flops / rate, STEP_S) / 60


def _kind(network: NetworkPlan) -> str:
    t = network.training
    return json.dumps([dict(network.network), t.batch_size, t.patch_size, t.steps, len(t.phases)], sort_keys=True)


def step_cost(
    spec: Mapping[str, Any], n_modalities: int, n_labels: int, training: TrainingParams
) -> tuple[float, float, int]:
    """Estimate a training step: the bytes that its forward pass keeps, its operations, and the number of weights.

    A network that cuts its input into equal parts, as the U-Net does, is tried on the smallest patch, and the rest is
    arithmetic; others on torch's meta device, which is slow to import.
    """
    usual = is_plain(spec) and "window" not in spec
    build = build_network if usual else shapes_only
    network = build(spec, n_modalities, 1 + n_labels).train()
    with torch.device("cpu" if usual else "meta"):
        weights = {p.untyped_storage()._cdata for p in network.parameters()}
        size = [2, *divisors(network)] if usual else [training.batch_size, *training.patch_size]
        images = torch.zeros(size[0], n_modalities, *size[1:])
        task = {"task": torch.zeros(size[0], dtype=torch.long)} if isinstance(network, Conditioned) else {}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    flops = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal flops
        ends = inputs[0] if isinstance(module, nn.modules.conv._ConvTransposeNd) else output
        flops += 2 * ends.numel() * module.get_parameter("weight")[0].numel()

    # torch's own counter of operations takes longer to import than all of this
    for module in network.modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            module.register_forward_hook(count)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(images, **task)
    scale = training.batch_size * math.prod(training.patch_size) / math.prod(size)
    # a backward pass takes twice the operations of a forward pass
    return (scale * sum(kept.values()), 3 * scale * flops, sum(p.numel() for p in network.parameters()))


def network_cost(spec: Mapping[str, Any], n_modalities: int, n_classes: int, size: Sequence[int]) -> dict[str, float]:
    """Return what a network costs for one input of a size, (X, Y, Z): ``parameters`` and ``multiply-adds per voxel``.

    A multiply-add is a multiplication and an addition, forward; by torch's own counter, of shapes alone.
    """
    from torch.utils.flop_counter import FlopCounterMode  # slow to import

    network = shapes_only(spec, n_modalities).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, n_modalities, *size, device="meta"))
    return {
        "parameters": count_parameters(build_network(spec, n_modalities, n_classes)),
        "multiply-adds per voxel": counter.get_total_flops() / 2 / math.prod(size),
    }


TIMED_STEPS, TIMED_SECONDS = 4, 2.0
"""Of each kind of network so many steps are timed, or fewer if they take longer than this."""


class TimeLeft(NamedTuple):
    """What is left to train."""

    networks: int
    steps: int
    steps_per_second: float  # of all trainings together

    @property
    def minutes(self) -> float:
        """Minutes of training."""
        return self.steps / self.steps_per_second / 60

    def __str__(self) -> str:
        m = self.minutes
        spelt = f"{m / 60:.1f} hours" if m < 48 * 60 else f"{m / 60 / 24:.0f} days"
        spelt = f"{max(m, 1):.0f} min" if m < 90 else spelt
        return (
            f"{self.networks} networks to train: about {spelt} on this machine "
            f"({self.steps} steps, {self.steps_per_second:.1f} a second), then their evaluation and the pages"
        )


def time_left(networks: Iterable[NetworkPlan], params: Params) -> TimeLeft | None:
    """Time a few steps on random numbers, and return what is left of a study; None if everything is trained.

    A network that stops early by ``patience`` counts as if it did not.
    """
    left = [n for n in networks if not is_trained(n.folder)]
    if not left:
        return None
    compute = Compute.resolve(params.device, params.precision)
    workers = min(default_workers(params.workers, params.threads, compute.device.type), len(left))
    threads = torch.get_num_threads()
    torch.set_num_threads(params.threads)
    known: dict[str, float] = {}
    seconds = 0.0
    try:
        for network in left:
            t, sizes = network.training, (len(network.modalities), network.space.n_classes)
            kind = json.dumps([network.network, *sizes, t.patch_size, t.batch_size])
            if kind not in known:
                known[kind] = seconds_per_step(network, compute)
            seconds += known[kind] * t.steps
    finally:
        torch.set_num_threads(threads)
    steps = sum(network.training.steps for network in left)
    return TimeLeft(len(left), steps, steps * workers / seconds)


def seconds_per_step(network: NetworkPlan, compute: Compute) -> float:
    """Return how long a training step takes here, measured."""
    t, classes = network.training, network.space.n_classes
    size = tuple(int(n) for n in t.patch_size)
    with torch.random.fork_rng(devices=[]):
        built = compute.place_network(build_network(network.network, len(network.modalities), classes))
        images = compute.place(torch.randn(t.batch_size, len(network.modalities), *size))
    target = torch.zeros(t.batch_size, *size, dtype=torch.int64, device=compute.device)
    task = {"task": target.new_zeros(t.batch_size)} if isinstance(built, Conditioned) else {}
    optimiser = torch.optim.Adam(built.parameters())
    started, done = time.perf_counter(), -1  # the first step warms up
    while done < TIMED_STEPS and (done < 1 or time.perf_counter() - started < TIMED_SECONDS):
        with compute.autocast():
            logits = built(images, **task)
        loss = F.cross_entropy(logits.float(), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        loss.item()  # waits for a GPU
        done += 1
        if done == 0:
            started = time.perf_counter()
    return (time.perf_counter() - started) / done
