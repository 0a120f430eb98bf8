"""What training a network takes: memory and time, before it was trained."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from multiseg_core.networks import build_network
from multiseg_core.settings import TrainingParams
from multiseg_core.training import is_trained
from multiseg_core.wrappers import Conditioned, divisors

from ..settings.params import Params
from ..settings.recipe import THREAD_FLOPS
from .network_shapes import shapes_only
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
    """Memory and time of trainings; networks of the same settings need the same.

    Parameters
    ----------
    params
        Of the study.
    known
        Networks; what those that are trained took is expected of others.
    """

    def __init__(self, params: Params, known: Iterable[NetworkPlan] = ()) -> None:
        self.params = params
        self.costs: dict[str, tuple[float, float, int]] = {}
        self.seconds: dict[str, list[float]] = {}
        for network in known:
            if is_trained(network.folder):
                facts = json.loads((network.folder / "network.json").read_text(encoding="utf-8"))
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
    usual = spec.get("name", "unet") == "unet" and "spatial_dims" not in spec and "window" not in spec
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
