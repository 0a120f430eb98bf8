"""On a GPU: how much of the pure network rate a training reaches, beside other pipelines around the same network.

    python -m benchmarks gpu

Needs CUDA; without it, it says so and does nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks import sampler as pipelines
from benchmarks.common import Spread, Table, available, rate
from benchmarks.volumes import stored_cases
from multiseg_core.compute import Compute
from multiseg_core.losses import SelectiveCrossEntropy
from multiseg_core.networks import UNet
from multiseg_core.resident_sampler import ResidentSampler
from multiseg_core.samplers import SamplingCohort

SHAPES = ((7, 32), (2, 96))
BASE_FILTERS = 32
SECONDS = 3.0
REPEATS = 5


class Step:
    """One training step of the thesis's U-Net on a GPU, in bf16 and channels last."""

    def __init__(self, compute: Compute, compiled: bool = False) -> None:
        torch.manual_seed(0)
        self.compute = compute
        network = UNet(2, pipelines.N_CLASSES, base_filters=BASE_FILTERS).to(compute.device)
        network = network.to(memory_format=torch.channels_last_3d).train()
        self.optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
        self.network = torch.compile(network) if compiled else network
        self.loss = SelectiveCrossEntropy(torch.eye(pipelines.N_CLASSES, dtype=torch.bool)).to(compute.device)

    def __call__(self, images: torch.Tensor, target: torch.Tensor) -> None:
        with self.compute.autocast():
            logits = self.network(self.compute.place(images))
        loss = self.loss(logits, target.to(self.compute.device).long().clamp(min=0))  # nnU-Net has -1 beyond the volume
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()


def measure(function: Callable[[], None]) -> Spread:
    """Return steps per second, the GPU's queue emptied at both ends of every measurement."""
    for _ in range(10):
        function()
    values = []
    for _ in range(REPEATS):
        torch.cuda.synchronize()
        n, started = 0, time.perf_counter()
        while time.perf_counter() - started < SECONDS:
            for _ in range(10):
                function()
            torch.cuda.synchronize()
            n += 10
        values.append((time.perf_counter() - started) / n)
    return rate(Spread(tuple(values)), 1)


def run(table: Table) -> None:
    """Add the rows of this benchmark."""
    if not torch.cuda.is_available():
        table.note("torch finds no CUDA device: nothing to measure")
        return
    compute = Compute.resolve("cuda", "auto")
    cases = stored_cases()
    cohort = SamplingCohort(cases, np.arange(pipelines.N_CLASSES, dtype=np.uint8), ("T1", "FLAIR"))
    volumes = [pipelines.volume(np.array(c.images), np.array(c.target)) for c in cases]
    for batch_size, size in SHAPES:
        what = f"training on the GPU, base {BASE_FILTERS}, {batch_size} x {size}^3"
        step = Step(compute)
        sampler = ResidentSampler([cohort], (size,) * 3, batch_size, 0, device=compute.device)
        fixed = sampler.batch(0)
        numbers = iter(range(10**9))
        pure = measure(lambda step=step, fixed=fixed: step(*fixed[:2]))
        ours = measure(lambda step=step, draw=sampler.batch, numbers=numbers: step(*draw(next(numbers))[:2]))
        table.add(what, "the network alone, on a fixed batch", rate_of_patches(ours, batch_size),
                  rate_of_patches(pure, batch_size), "patches/s")  # fmt: skip
        compiled = Step(compute, compiled=True)
        alone = measure(lambda step=compiled, fixed=fixed: step(*fixed[:2]))
        table.add(what, "the network alone, through torch.compile", rate_of_patches(ours, batch_size),
                  rate_of_patches(alone, batch_size), "patches/s")  # fmt: skip
        if (batch_size, size) != (pipelines.BATCH, pipelines.SIZE):
            pipelines.BATCH, pipelines.SIZE, pipelines.PATCH = batch_size, size, (size,) * 3
        with tempfile.TemporaryDirectory() as folder:
            for peer in ("MONAI, tuned", "nnU-Net"):
                module, pipeline, settings = pipelines.PEERS[peer]
                if not available(table, module, what):
                    continue
                best: Spread | None = None
                for setting in settings:
                    with pipelines.opened(pipeline, volumes, Path(folder) / "volumes", setting) as batches:
                        theirs = measure(lambda step=step, batches=batches: step(*next(batches)))
                    best = theirs if best is None or theirs.median > best.median else best
                assert best is not None
                table.add(what, f"{peer}, around the same network", rate_of_patches(ours, batch_size),
                          rate_of_patches(best, batch_size), "patches/s")  # fmt: skip


def rate_of_patches(steps: Spread, batch_size: int) -> Spread:
    """Turn steps per second into patches per second."""
    return Spread(tuple(batch_size * value for value in steps.values))
