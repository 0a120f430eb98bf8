"""One whole 1 mm volume of two channels to labels: time, agreement and memory."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from monai.inferers import sliding_window_inference

from benchmarks.common import FOLDER, Table, time_all
from benchmarks.volumes import stored_cases, whole_head
from multiseg_core.compute import Compute
from multiseg_core.losses import SelectiveCrossEntropy
from multiseg_core.networks import UNet
from multiseg_core.samplers import PatchSampler, SamplingCohort
from multiseg_core.tiling import Filling, fold_normalisation, plan_tiles, predict

N_CLASSES = 5
CPU = torch.device("cpu")
FLOAT32 = Compute(CPU, bf16=False)
FAST = Compute.resolve("cpu", "auto")
STEPS = 300


def trained_network(base_filters: int = 16) -> UNet:
    """Train on the benchmark's volumes for a while: agreement of labels means little with random weights."""
    path = FOLDER / f"inference_base{base_filters}.pt"
    network = UNet(2, N_CLASSES, base_filters=base_filters)
    if path.exists():
        network.load_state_dict(torch.load(path, weights_only=True))
        return network.eval()
    cases = stored_cases()
    channels = ("T1", "FLAIR")
    identity = np.array([*range(N_CLASSES), *[0] * 250], dtype=np.uint8)
    sampler = PatchSampler([SamplingCohort(cases, identity, channels)], (32, 32, 32), 7, seed=0)
    loss = SelectiveCrossEntropy(torch.eye(N_CLASSES, dtype=torch.bool))
    network = network.to(memory_format=torch.channels_last_3d).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3, fused=True)
    for step in range(STEPS):
        images, target, *_ = sampler.batch(step)
        with FAST.autocast():
            logits = network(FAST.place(images))
        optimiser.zero_grad()
        loss(logits, target).backward()
        optimiser.step()
    torch.save(network.state_dict(), path)
    return network.eval()


def sliding_window(network: UNet, images: np.ndarray, size: int, overlap: float, compute: Compute) -> np.ndarray:
    """MONAI's way, argmax included."""
    with torch.inference_mode(), compute.autocast():
        x = torch.from_numpy(images)[None]
        if compute.bf16:
            x = compute.place(x)
        logits = sliding_window_inference(x, (size,) * 3, 4, network, overlap=overlap)
        return logits[0].argmax(0).to(torch.uint8).numpy()


def run(table: Table) -> None:
    """Add the rows of this benchmark."""
    network = trained_network()
    images, target = whole_head(stored_cases()[0])
    plain = UNet(2, N_CLASSES, base_filters=16).eval()  # default layout
    plain.load_state_dict(network.state_dict())
    ready = fold_normalisation(network)

    one_pass = functools.partial(predict, filling=Filling(), memory_gib=100.0, labels_only=True)
    calls = {
        "ours": lambda: predict(ready, images, FAST, Filling(), 4.0, labels_only=True),
        "ours, float32": lambda: one_pass(network, images, FLOAT32),
        "96^3, overlap 0.5, float32": lambda: sliding_window(plain, images, 96, 0.5, FLOAT32),
        "96^3, overlap 0.25, channels last, bf16": lambda: sliding_window(network, images, 96, 0.25, FAST),
    }
    seconds = time_all(calls, repeats=5)
    for peer in list(calls)[1:]:
        name = peer if peer.startswith("ours") else f"MONAI sliding window {peer}"
        table.add("whole 1 mm volume, base 16", name, seconds["ours"], seconds[peer], "s")
    truth = calls["ours, float32"]()
    for name, function in calls.items():
        labels = function()
        equal = float((labels == truth).mean())
        dice = [
            2 * ((labels == c) & (target == c)).sum() / ((labels == c).sum() + (target == c).sum()) for c in range(1, 5)
        ]
        table.note(f"labels equal to our one pass in float32: {equal:.4%} ({name}); Dice {np.round(dice, 3).tolist()}")
        if name == "ours":
            brain = images[0] > -4
            table.add("equal labels, base 16", "one pass in float32", equal, 1.0, "share of voxels")
            table.add("equal labels, base 16, in the brain", "one pass in float32",
                      float((labels == truth)[brain].mean()), 1.0, "share of voxels")  # fmt: skip

    for base, shape, precision, budget in (
        (16, "197,233,189", "auto", 4.0),
        (32, "240,240,155", "auto", 4.0),
        (32, "240,240,155", "float32", 4.0),
        (32, "240,240,155", "auto", 1.5),
    ):
        peak, n_tiles, took = (float(x) for x in in_process(base, shape, precision, budget))
        what = f"memory of a prediction, base {base}, {shape.replace(',', ' x ')}, {precision}"
        table.add(what, f"budget of {budget:g} GiB", peak / 1024, budget, "GiB")
        table.note(f"    in {n_tiles:.0f} tile(s), {took:.1f} s")


def in_process(base: int, shape: str, precision: str, budget: float) -> list[str]:
    """Predict in a fresh process; return by how many MB it grew at most, the number of tiles and the seconds."""
    command = [sys.executable, "-m", "benchmarks.inference", str(base), shape, precision, str(budget)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parent.parent
    )
    return done.stdout.split()


def measure(base: int, shape: str, precision: str, budget: float) -> None:
    """What `in_process` runs."""
    from benchmarks.common import resident_mb

    torch.set_num_threads(2)
    compute = Compute.resolve("cpu", precision)
    network = fold_normalisation(UNet(2, N_CLASSES, base_filters=base).eval())
    predict(
        network, np.zeros((2, 16, 16, 16), np.float32), compute, Filling(), budget, labels_only=True
    )  # load kernels
    size = tuple(int(n) for n in shape.split(","))
    before = resident_mb()
    images = np.random.default_rng(0).normal(size=(2, *size)).astype(np.float32)
    padded = (2, *(-(-n // 8) * 8 for n in size))
    tiles = plan_tiles(network, padded, compute, budget)
    seconds = time_all(
        {"predict": lambda: predict(network, images, compute, Filling(), budget, labels_only=True)}, repeats=1
    )
    print(resident_mb(peak=True) - before, len(tiles), seconds["predict"].median)


if __name__ == "__main__":
    measure(int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]))
