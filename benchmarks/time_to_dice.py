"""Seconds of training until a validation Dice is reached: the curves behind the default of params/quick.yaml.

    python -m benchmarks.time_to_dice                  # all variants, about an hour and a half on two cores
    python -m benchmarks.time_to_dice base8 peak.003   # some of them
    python -m benchmarks.time_to_dice --figure         # draw again what is there

Each variant trains selective cross-entropy on the training cases of the quick study and changes one choice. Its
networks are judged on phantoms of their own that no study uses, so the default is not chosen by looking at the test
cases: *own* are new cases of the two training cohorts, judged by the labels that their cohort draws; *new*
are new cases of the test cohort's kind. Only training counts as time, not the evaluation.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
import yaml
from multiseg_core import runs
from multiseg_core.inference import Member, Model
from multiseg_core.labels import LabelSpace
from multiseg_core.metrics import label_metrics
from multiseg_core.params import PreprocessingParams
from multiseg_core.store import StoredCase
from multiseg_core.study import NetworkSpec, Study
from multiseg_core.training import Compute, Trainer

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "reports" / "bench"
RESULTS = Path(__file__).resolve().parent / "results"
HELD_OUT = {"own_anatomy": ("mrbrains13", 4), "own_lesions": ("mrbrains17", 6), "new": ("mrbrains18", 4)}
HELD_OUT_SEED = 1000


@dataclass(frozen=True)
class Variant:
    """One choice: what it changes of the base variant, and how long it trains."""

    about: str
    steps: int
    network: dict[str, Any] = field(default_factory=lambda: {"base_filters": 8})
    training: dict[str, Any] = field(default_factory=dict)
    precision: str = "auto"
    seeds: tuple[int, ...] = (0, 1)


BASE = {
    "batch_size": 8, "patch_size": [24, 24, 24], "learning_rate": 0.01, "schedule": "one_cycle",
    "validation_patch_size": [48, 48, 48], "patience": None,
}  # fmt: skip
THIN = {"filters": [4, 16, 32, 64]}

VARIANTS = {
    "base8": Variant("base 8, 8 x 24^3, one cycle to 0.01", 900),
    "long": Variant("the same for ten times as long", 9000, seeds=(0,)),
    # learning rate
    "peak.003": Variant("peak 0.003", 900, training={"learning_rate": 0.003}),
    "peak.03": Variant("peak 0.03", 900, training={"learning_rate": 0.03}),
    "constant.001": Variant("constant 0.001", 900, training={"learning_rate": 0.001, "schedule": "constant"}),
    "constant.003": Variant("constant 0.003", 900, training={"learning_rate": 0.003, "schedule": "constant"}),
    # batch and patch
    "4x24": Variant("4 patches of 24^3", 1560, training={"batch_size": 4}),
    "16x24": Variant("16 patches of 24^3", 490, training={"batch_size": 16}),
    "27x16": Variant("27 patches of 16^3", 860, training={"batch_size": 27, "patch_size": [16, 16, 16]}),
    "8x16": Variant("8 patches of 16^3", 2150, training={"batch_size": 8, "patch_size": [16, 16, 16]}),
    "4x32": Variant("4 patches of 32^3", 760, training={"batch_size": 4, "patch_size": [32, 32, 32]}),
    # where the capacity sits
    "thin": Variant("filters 4-16-32-64", 1150, THIN),
    "thin3": Variant("filters 4-16-32", 1280, {"filters": [4, 16, 32]}),
    "three": Variant("filters 8-16-32", 1000, {"filters": [8, 16, 32]}),
    "base4": Variant("base 4", 1290, {"base_filters": 4}),
    "base16": Variant("base 16", 580, {"base_filters": 16}),
    "wide": Variant("filters 8-24-48-96", 700, {"filters": [8, 24, 48, 96]}),
    "single": Variant("one convolution per block at the first level", 1250,
                      {"base_filters": 8, "convolutions": [1, 2, 2, 2]}),
    "single16": Variant("base 16, one convolution per block at the first level", 850,
                        {"base_filters": 16, "convolutions": [1, 2, 2, 2]}),
    # the rest
    "instance": Variant("instance normalisation", 960, {"base_filters": 8, "norm": "instance"}),
    "float32": Variant("float32", 450, precision="float32"),
    "thesis": Variant("the thesis's recipe: base 32, 7 x 32^3, constant 0.001", 92, {"base_filters": 32},
                      {"batch_size": 7, "patch_size": [32, 32, 32], "learning_rate": 0.001, "schedule": "constant"}),
}  # fmt: skip


def make_study(variant: Variant) -> Study:
    """Write the params file of a variant and load it. The store is the same for all."""
    phantom = {"source": "phantom", "voxel_mm": 2}
    content = {
        "cohorts": {
            "mrbrains13": {**phantom, "cases": 5},
            "mrbrains17": {**phantom, "cases": 12},
            **{
                name: {**phantom, "preset": preset, "cases": n, "seed": HELD_OUT_SEED}
                for name, (preset, n) in HELD_OUT.items()
            },
        },
        "preprocessing": {"spacing_mm": 2},
        "network": {"name": "unet", **variant.network},
        "training": {**BASE, **variant.training, "steps": variant.steps},
        "precision": variant.precision,
        "reports_dir": ".",
        "scenarios": {"anatomy_wmh": {
            "train": ["mrbrains13", "mrbrains17"], "test": "new", "modalities": ["T1", "FLAIR"],
            "models": ["selective_cross_entropy"],
        }},
    }  # fmt: skip
    file = FOLDER / "time_to_dice.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return Study(file)


def evaluate(trainer: Trainer, space: LabelSpace, held_out: dict[str, list[StoredCase]]) -> dict[str, float]:
    """Return the mean Dice per label over the held-out cases, as ``own_csf`` ... ``new_wmh``."""
    member = Member(trainer.network, {}, space.labels, ("T1", "FLAIR"))
    model = Model([member], space.labels, PreprocessingParams(spacing_mm=2))
    found: dict[str, list[float]] = {}
    for name, cases in held_out.items():
        for case in cases:
            prediction = model.segment(np.asarray(case.images), case.modalities, trainer.compute)
            metrics = label_metrics(case.target, prediction, case.sets, space.labels, case.spacing_mm)
            for label, values in metrics.items():
                found.setdefault(f"{name.split('_')[0]}_{label}", []).append(values["dice"])
    return {key: float(np.nanmean(values)) for key, values in found.items()}


def train(name: str, variant: Variant, seed: int, points: int, threads: int) -> pd.DataFrame:
    """Train a variant and return its curve: a row per evaluation."""
    study = make_study(variant)
    cases = [case for cohort in study.cohorts.values() for case in cohort.cases]
    runs.prepare_study(study, cases)
    torch.set_num_threads(threads)
    network: NetworkSpec = replace(study.runs[0].networks[0], seed=seed)
    space = study.label_space(network)
    data = [runs.training_data(study, cohort, network, space) for cohort in network.cohorts]
    trainer = Trainer(
        FOLDER / "none", data, space, network.loss, study.params.network, study.params.training, seed,
        Compute.resolve("cpu", study.params.precision), {},
    )  # fmt: skip
    held_out = {
        n: [study.store.open(case, study.cohorts[n]) for case in study.cohorts[n].cases] for n in HELD_OUT
    }
    rows, seconds = [], 0.0
    stops = np.unique(np.linspace(0, variant.steps, points + 1).astype(int))[1:]
    for stop in stops:
        started = time.perf_counter()
        while trainer.step < stop:
            trainer.train_step()
        seconds += time.perf_counter() - started
        rows.append({"variant": name, "seed": seed, "step": trainer.step, "seconds": seconds, "threads": threads,
                     **evaluate(trainer, space, held_out)})  # fmt: skip
        print(name, seed, {k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    return pd.DataFrame(rows)


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Add the mean Dice over labels, ``own`` and ``new``."""
    for kind in ("own", "new"):
        table[kind] = table[[c for c in table.columns if c.startswith(f"{kind}_")]].mean(axis=1)
    return table


def main() -> None:
    """Run the variants named on the command line, add them to the table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", choices=[*VARIANTS, []], metavar="VARIANT", help=", ".join(VARIANTS))
    parser.add_argument("--points", type=int, default=6, help="evaluations along a training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the variant's own")
    parser.add_argument("--table", type=Path, default=RESULTS / "time_to_dice.csv")
    parser.add_argument("--figure", action="store_true", help="only draw")
    args = parser.parse_args()
    if not args.figure:
        for name in args.variants or VARIANTS:
            for seed in args.seeds or VARIANTS[name].seeds:
                curve = train(name, VARIANTS[name], seed, args.points, args.threads)
                args.table.parent.mkdir(parents=True, exist_ok=True)
                if args.table.exists():
                    old = pd.read_csv(args.table)
                    curve = pd.concat([old[(old["variant"] != name) | (old["seed"] != seed)], curve])
                curve.to_csv(args.table, index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
