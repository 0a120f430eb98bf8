"""How long will it take? A few steps of every kind of network that is still to train, timed beforehand."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch.nn import functional as F

from multiseg_core.compute import Compute
from multiseg_core.networks import build_network
from multiseg_core.training import is_trained
from multiseg_core.wrappers import Conditioned

from ..base.cores import default_workers
from ..settings.params import Params
from .plan import NetworkPlan

TIMED_STEPS, TIMED_SECONDS = 4, 2.0
"""Of each kind of network so many steps are timed, or fewer if they take longer than this."""


class Estimate(NamedTuple):
    """What is left to train."""

    networks: int
    steps: int
    steps_per_second: float
    """Of all trainings together."""

    @property
    def minutes(self) -> float:
        """Minutes of training."""
        return self.steps / self.steps_per_second / 60

    def __str__(self) -> str:
        return (
            f"{self.networks} networks to train: about {_spell(self.minutes)} on this machine "
            f"({self.steps} steps, {self.steps_per_second:.1f} a second), then their evaluation and the pages"
        )


def _spell(minutes: float) -> str:
    if minutes < 90:
        return f"{max(minutes, 1):.0f} min"
    return f"{minutes / 60:.1f} hours" if minutes < 48 * 60 else f"{minutes / 60 / 24:.0f} days"


def estimate(networks: Iterable[NetworkPlan], params: Params) -> Estimate | None:
    """Time a few steps on random numbers, and return what is left; None if everything is trained.

    Parameters
    ----------
    networks
        Those of a study; trained ones do not count. A network that stops early by ``patience`` counts as if it did not.
    params
        Of the study.
    """
    left = [n for n in networks if not is_trained(n.folder)]
    if not left:
        return None
    compute = Compute.resolve(params.device, params.precision)
    workers = min(default_workers(params.workers, params.threads, compute.device.type), len(left))
    threads = torch.get_num_threads()
    torch.set_num_threads(params.threads)
    known: dict[str, float] = {}
    seconds, steps = 0.0, 0
    try:
        for network in left:
            t = network.training
            kind = json.dumps(
                [network.network, len(network.modalities), network.space.n_classes, t.patch_size, t.batch_size]
            )
            if kind not in known:
                known[kind] = _seconds_per_step(network, compute)
            seconds += known[kind] * t.steps
            steps += t.steps
    finally:
        torch.set_num_threads(threads)
    return Estimate(len(left), steps, steps * workers / seconds)


def _seconds_per_step(network: NetworkPlan, compute: Compute) -> float:
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
