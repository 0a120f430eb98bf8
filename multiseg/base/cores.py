"""How many trainings run at a time: cores, GPUs and their memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """Return how many cores this process may use: by its affinity, and by the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    with contextlib.suppress(OSError, ValueError):
        quota, period = CGROUP.read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, max(int(quota) // int(period), 1))
    return cores


GPU_PROGRAM_GIB = 1.5
"""Memory of a GPU that a process takes which has done nothing yet, and what convolutions need of their own."""

MOST_PER_GPU = 4
"""Trainings that share a GPU, however small they are."""


def visible_gpus(device: str) -> list[str]:
    """Return the GPUs that workers may take in turn, as ``CUDA_VISIBLE_DEVICES`` names them.

    None if there are none, or if `device` is not ``auto`` or ``cuda``: then it says which one is meant.
    """
    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return []
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    n = torch.cuda.device_count()
    return named[:n] if named else [str(number) for number in range(n)]


def default_workers(
    workers: int | None, threads: int, device: str = "cpu", gpus: int = 0, need_gib: float = 0.0
) -> int:
    """Return how many trainings run at a time, of some threads each: as many as asked for, or as the device takes.

    `device` is a type; `gpus` says how many the trainings take in turn, 0 if `device` is one alone, and `need_gib` what
    memory one training takes of a GPU: where several fit, they share it.
    """
    if workers is not None:
        return workers
    places = max(available_cores() // threads, 1)
    if device == "cpu":
        return places
    if not gpus:
        return 1
    memory = min(torch.cuda.get_device_properties(i).total_memory for i in range(gpus)) / 2**30
    fit = int(min(0.9 * memory / (need_gib + GPU_PROGRAM_GIB), MOST_PER_GPU, places / gpus))
    return gpus * max(fit, 1)
