"""The training step on 7 patches of 32^3: layout and precision, another U-Net, and what is not network at all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.common import Table, available, scaled, time_all
from benchmarks.volumes import stored_cases
from multiseg_core.compute import Compute
from multiseg_core.labels import LabelSpace
from multiseg_core.losses import SelectiveCrossEntropy
from multiseg_core.networks import UNet, build_network, count_parameters
from multiseg_core.samplers import PatchSampler, SamplingCohort
from multiseg_core.settings import TrainingParams
from multiseg_core.training import Trainer, learning_rate

BATCH, PATCH = 7, (32, 32, 32)
MODALITIES = ("T1", "FLAIR")
TISSUES = ("csf", "gm", "wm")
# four tissues and lesions; the last row is the background of a lesion cohort
SPACE = LabelSpace((*TISSUES, "wmh"), (frozenset({"background", *TISSUES}),))
FLOAT32 = Compute(torch.device("cpu"), bf16=False)
CURVE_STEPS, CURVE_END, CURVE_SEEDS = 150, 50, (0, 1)


def plain_conv_unet(base: int) -> nn.Module:
    """Return nnU-Net's network with the options of its default plans, four stages and the filters of ours."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    network = PlainConvUNet(
        len(MODALITIES), 4, [base * 2**stage for stage in range(4)], nn.Conv3d, 3, [1, 2, 2, 2], 2, SPACE.n_classes, 2,
        conv_bias=True, norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, deep_supervision=False,
    )  # fmt: skip
    network.apply(network.initialize)
    return network


def stepper(network: nn.Module, compute: Compute, channels_last: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function that does one step on a batch and returns its loss."""
    if channels_last:
        network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    loss_function = SelectiveCrossEntropy(torch.from_numpy(SPACE.membership()))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    network.train()

    def step(images: Tensor, target: Tensor) -> Tensor:
        with compute.autocast():
            logits = network(compute.place(images) if channels_last else images)
        loss = loss_function(logits, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step


def networks(table: Table, compute: Compute) -> None:
    """Compare networks, layouts and precisions on one batch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, len(MODALITIES), *PATCH, generator=generator)
    target = torch.randint(0, SPACE.n_classes, (BATCH, *PATCH), generator=generator)
    target[4:][target[4:] < SPACE.n_classes - 1] = SPACE.n_classes  # three patches of a lesion cohort
    ours, default, plain = "ours", "same network, float32, default layout", "nnU-Net's PlainConvUNet, float32"
    tuned = "PlainConvUNet in our layout and precision"
    nnunet = available(table, "dynamic_network_architectures", "training step, PlainConvUNet")
    for base in (8, 16):

        def unet(base: int = base) -> UNet:
            return UNet(len(MODALITIES), SPACE.n_classes, base_filters=base)

        steps = {ours: stepper(unet(), compute, True), default: stepper(unet(), FLOAT32, False)}
        if nnunet:
            steps[plain] = stepper(plain_conv_unet(base), FLOAT32, False)
            steps[tuned] = stepper(plain_conv_unet(base), compute, True)
        calls = {name: lambda step=step: step(images, target) for name, step in steps.items()}
        ms = {name: scaled(s, 1000) for name, s in time_all(calls, inner=2).items()}
        for peer in (default, plain):
            if peer in ms:
                table.add(f"training step, base {base}", peer, ms[ours], ms[peer], "ms")
        if nnunet:
            sizes = [count_parameters(n) for n in (unet(), plain_conv_unet(base))]
            table.note(f"training step, base {base}: {tuned}: {ms[tuned]} ms (ours {ms[ours]} ms)")
            table.note(f"training step, base {base}: {sizes[0]} parameters, PlainConvUNet {sizes[1]}")


def curves(table: Table, compute: Compute) -> None:
    """Train in our layout and precision and in torch's defaults, on the same batches from the same weights."""
    cases = stored_cases()
    lookup = SPACE.lookup(cases[0].sets)
    cohort = SamplingCohort(cases, lookup, MODALITIES)
    ends: dict[bool, list[float]] = {True: [], False: []}
    for seed in CURVE_SEEDS:
        sampler = PatchSampler([cohort], PATCH, BATCH, seed)
        steps = {}
        for fast in ends:
            torch.manual_seed(seed)
            network = UNet(len(MODALITIES), SPACE.n_classes, base_filters=8)
            steps[fast] = stepper(network, compute if fast else FLOAT32, fast)
        losses = [
            {fast: float(step(*batch)) for fast, step in steps.items()}
            for batch in map(sampler.batch, range(CURVE_STEPS))
        ]
        for fast, found in ends.items():
            found.append(statistics.mean(loss[fast] for loss in losses[-CURVE_END:]))
    fast_losses, slow_losses = (", ".join(f"{loss:.4f}" for loss in ends[fast]) for fast in (True, False))
    table.note(
        f"mean loss of steps {CURVE_STEPS - CURVE_END + 1}-{CURVE_STEPS}, base 8, seeds {CURVE_SEEDS}: "
        f"channels last{' and bf16' if compute.bf16 else ''} {fast_losses}; default layout and float32 {slow_losses}"
    )


def overhead(table: Table, compute: Compute) -> None:
    """Measure what a step of `Trainer` does besides network, loss and optimiser."""
    cases = stored_cases()
    data = [SamplingCohort(cases, SPACE.lookup(cases[0].sets), MODALITIES)]
    params = TrainingParams(batch_size=BATCH, patch_size=list(PATCH))
    samplers = PatchSampler(data, PATCH, BATCH, 0), PatchSampler(data, params.validation_patch_size, 1, 1)

    def make() -> Trainer:
        network = build_network({"name": "unet", "base_filters": 8}, len(MODALITIES), SPACE.n_classes)
        loss = SelectiveCrossEntropy(torch.from_numpy(SPACE.membership()))
        return Trainer(Path("never written"), network, loss, samplers, params, seed=0, compute=compute, facts={})

    trainer, other = make(), make()
    images, target, *_ = trainer.train_sampler.batch(0)
    images = compute.place(images)

    def fixed_batch() -> None:
        with compute.autocast():
            logits = other.network(images)
        loss = other.loss(logits, target)
        other.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        other.optimiser.step()

    seconds = time_all({"whole": trainer.train_step, "fixed": fixed_batch}, repeats=15, inner=2)
    whole = scaled(seconds["whole"], 1000)
    table.add("step on a fixed batch / whole step, base 8", "fixed batch", whole, scaled(seconds["fixed"], 1000), "ms")

    def seed_and_rate(step: int) -> None:
        torch.manual_seed(step)
        for group in trainer.optimiser.param_groups:
            group["lr"] = learning_rate(params, step)
        trainer.network.train()

    spent: dict[str, list[float]] = {"sampler": [], "layout": [], "seed, learning rate, mode": []}
    for step in range(10_000, 10_040):
        times = [time.perf_counter()]
        images_of_step, target_of_step, *_ = trainer.train_sampler.batch(step)
        times.append(time.perf_counter())
        compute.place(images_of_step), target_of_step.to(compute.device)
        times.append(time.perf_counter())
        seed_and_rate(step)
        times.append(time.perf_counter())
        for found, elapsed in zip(spent.values(), np.diff(times), strict=True):
            found.append(1000 * elapsed)
        trainer.train_step()  # so that caches are as in training
    ms = {name: statistics.median(found) for name, found in spent.items()}
    parts = ", ".join(f"{name} {value:.2f} ms" for name, value in ms.items())
    share = sum(ms.values()) / whole.median
    table.note(f"outside network, loss and optimiser, timed directly: {parts}; {share:.1%} of a step of base 8")


def run(table: Table) -> None:
    """Add the rows of this benchmark."""
    compute = Compute.resolve("cpu", "auto")
    table.note(f"ours: channels last, {'bf16' if compute.bf16 else 'float32 (no bf16 in this CPU)'}")
    networks(table, compute)
    curves(table, compute)
    overhead(table, compute)
