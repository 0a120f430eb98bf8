"""Timing, memory and the table that all benchmarks write to."""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from multiseg.base.provenance import provenance

FOLDER = Path(__file__).resolve().parent.parent / "reports" / "bench"
REPEATS = 7
COLUMNS = ("what", "peer", "ours", "theirs", "ratio", "unit")
PEERS = ("torchio", "nnunetv2", "dynamic-network-architectures", "batchgeneratorsv2", "blosc2", "surface-distance")


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some measurements."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{self.median:.4g}"
        return f"{self.median:.4g} ({min(self.values):.4g}-{max(self.values):.4g})"


class Table:
    """Collects the rows of ``bench.csv``.

    ``ratio`` says how many times better ours is, whatever the unit: theirs / ours for times and sizes, ours / theirs
    for rates (units that contain "/s" or "/min") and shares.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []
        self.samples: list[dict[str, object]] = []

    def add(self, what: str, peer: str, ours: Spread | float, theirs: Spread | float, unit: str) -> None:
        """Add a comparison and print it."""
        ours, theirs = (s if isinstance(s, Spread) else Spread((s,)) for s in (ours, theirs))
        more_is_better = any(part in unit for part in ("/s", "/min", "share"))
        ratio = ours.median / theirs.median if more_is_better else theirs.median / ours.median
        values = (what, peer, ours.median, theirs.median, ratio, unit)
        self.rows.append(dict(zip(COLUMNS, values, strict=True)))
        for side, spread in (("ours", ours), ("theirs", theirs)):
            self.samples += [
                {"what": what, "peer": peer, "side": side, "value": v, "unit": unit} for v in spread.values
            ]
        print(f"{what} | {peer} | ours {ours} | theirs {theirs} | {ratio:.2f} x | {unit}", flush=True)

    def note(self, text: str) -> None:
        """Print a line that is not a comparison, such as a peer that is missing."""
        print(text, flush=True)

    def write(self, folder: Path = FOLDER) -> None:
        """Write ``bench.csv``, ``samples.csv`` (every single measurement) and ``machine.json``.

        Rows of an earlier call about other things stay.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows, columns in (
            ("bench", self.rows, COLUMNS),
            ("samples", self.samples, ("what", "peer", "side", "value", "unit")),
        ):
            path = folder / f"{name}.csv"
            table = pd.DataFrame(rows, columns=list(columns))
            if path.exists():
                old = pd.read_csv(path)
                new = set(zip(table["what"], table["peer"], strict=True))
                kept = [pair not in new for pair in zip(old["what"], old["peer"], strict=True)]
                table = pd.concat([old[kept], table])
            table.to_csv(path, index=False, float_format="%.6g")
        facts = provenance(torch.device("cuda") if torch.cuda.is_available() else None)
        facts["load"] = os.getloadavg()
        facts["peers"] = {name: version(name) for name in PEERS}
        (folder / "machine.json").write_text(json.dumps(facts, indent=2) + "\n")


def version(package: str) -> str:
    """Return the version of an installed package, or ``missing``."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def available(table: Table, module: str, what: str) -> bool:
    """Whether a peer can be imported; if not, say so once."""
    if importlib.util.find_spec(module) is not None:
        return True
    table.note(f"{what}: {module} is not installed; pip install -e .[bench]")
    return False


def time_all(
    functions: Mapping[str, Callable[[], object]], repeats: int = REPEATS, inner: int = 1
) -> dict[str, Spread]:
    """Time functions in turns, so that a slow minute of the machine hits all of them.

    Parameters
    ----------
    functions
        Name -> function without arguments. Each is called once before, untimed.
    repeats
        Measurements per function.
    inner
        Calls per measurement.

    Returns
    -------
    dict
        Name -> seconds per call.
    """
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    gc.collect()
    for _ in range(repeats):
        for name, function in functions.items():
            started = time.perf_counter()
            for _ in range(inner):
                function()
            seconds[name].append((time.perf_counter() - started) / inner)
    return {name: Spread(tuple(values)) for name, values in seconds.items()}


def scaled(spread: Spread, factor: float) -> Spread:
    """Multiply all measurements, to change the unit."""
    return Spread(tuple(factor * value for value in spread.values))


def rate(spread: Spread, n: float) -> Spread:
    """Turn seconds per call into items per second."""
    return Spread(tuple(n / value for value in spread.values))


def peak_allocated_mb(function: Callable[[], object]) -> float:
    """Return by how much torch's memory on the CPU grows at most during a call, in MB.

    Sums up the profiler's record of every allocation, which unlike the size of the process does not depend on what
    the allocator keeps.
    """
    function()
    gc.collect()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        function()
    records = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    grown = itertools.accumulate(e.nbytes() for e in sorted(records, key=lambda e: e.start_ns()))
    return max(grown, default=0) / 1e6


def private_mb() -> float:
    """Return the memory that this process shares with nobody and that is not mapped from a file, MB (Linux)."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous")) / 1024


def resident_mb(peak: bool = False) -> float:
    """Return the resident memory of this process, or its peak so far, MB (Linux)."""
    key = "VmHWM" if peak else "VmRSS"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024
