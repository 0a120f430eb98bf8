"""Seconds of training until a Dice is reached: the curves behind the default of params/quick.yaml.

    python -m benchmarks.time_to_dice                  # train all variants: some hours on two cores
    python -m benchmarks.time_to_dice base8 single     # some of them
    python -m benchmarks.time_to_dice --times          # time a step of every variant, in turns: two minutes
    python -m benchmarks.time_to_dice --figure         # draw what is there

Each variant trains selective cross-entropy on the training cases of the quick study and changes one choice. Its
networks are judged on phantoms of their own that no study uses, so the default is not chosen by looking at the test
cases: *own* are new cases of the two training cohorts, judged by the labels that their cohort draws; *new*
are new cases of the test cohort's kind. Seconds are steps times the time of a step, measured for all variants in
one run; the evaluation does not count.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass, field
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

from benchmarks.common import time_all
from multiseg.data.store import StoredCase
from multiseg.report.figures.style import use_style
from multiseg.settings.preprocessing import PreprocessingParams
from multiseg.study import runs
from multiseg.study.study import Study
from multiseg_core.compute import Compute
from multiseg_core.inference import Member, Segmenter
from multiseg_core.labels import LabelSpace
from multiseg_core.metrics import label_metrics
from multiseg_core.training import Trainer

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "reports" / "bench"
RESULTS = Path(__file__).resolve().parent / "results"
CURVES, TIMES = RESULTS / "time_to_dice.csv", RESULTS / "step_times.csv"
HELD_OUT = {"own_anatomy": ("mrbrains13", 4), "own_lesions": ("mrbrains17", 6), "new": ("mrbrains18", 4)}
HELD_OUT_SEED = 900  # replicates of studies have multiples of 1000


@dataclass(frozen=True)
class Variant:
    """One choice: what it changes of the base variant, and how long it trains."""

    about: str
    steps: int
    network: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    precision: str = "auto"


ONE, TWO = {"base_filters": 8, "convolutions": 1}, {"base_filters": 8}
TRAINING = {
    "batch_size": 8, "patch_size": [24, 24, 24], "learning_rate": 0.01, "schedule": "one_cycle",
    "validation_patch_size": [48, 48, 48], "patience": None,
}  # fmt: skip

# steps: as many as take about a minute
VARIANTS = {
    "default": Variant("the default of quick.yaml", 1400, ONE),
    "one.1500": Variant("one convolution per block, 1500 steps", 1500, ONE),
    "long": Variant("five times as long", 7500, ONE),
    # learning rate
    "peak.003": Variant("peak 0.003", 1400, ONE, {"learning_rate": 0.003}),
    "peak.03": Variant("peak 0.03", 1400, ONE, {"learning_rate": 0.03}),
    "constant.001": Variant("constant 0.001", 1400, ONE, {"learning_rate": 0.001, "schedule": "constant"}),
    "constant.003": Variant("constant 0.003", 1400, ONE, {"learning_rate": 0.003, "schedule": "constant"}),
    # batch and patch
    "4x24": Variant("4 patches of 24^3", 2200, ONE, {"batch_size": 4}),
    "16x24": Variant("16 patches of 24^3", 780, ONE, {"batch_size": 16}),
    "4x32": Variant("4 patches of 32^3", 1250, ONE, {"batch_size": 4, "patch_size": [32] * 3}),
    "27x16": Variant("27 patches of 16^3", 1300, ONE, {"batch_size": 27, "patch_size": [16] * 3}),
    # where the capacity sits
    "two": Variant("two convolutions per block (thesis)", 900, TWO),
    "two.wide": Variant("two, filters 8-24-48-96", 700, {"filters": [8, 24, 48, 96]}),
    "two.thin": Variant("two, filters 4-16-32-64", 1150, {"filters": [4, 16, 32, 64]}),
    "two.three": Variant("two, three levels 8-16-32", 1000, {"filters": [8, 16, 32]}),
    "two.base16": Variant("two, base 16", 580, {"base_filters": 16}),
    "one.fine": Variant("one at the finest level, two below", 1300, {"base_filters": 8, "convolutions": [1, 2, 2, 2]}),
    "one.finer": Variant("one at the two finest levels", 1450, {"base_filters": 8, "convolutions": [1, 1, 2, 2]}),
    "base16": Variant("base 16", 850, {"base_filters": 16, "convolutions": 1}),
    # the rest
    "instance": Variant("instance normalisation", 1400, {**ONE, "norm": "instance"}),
    "float32": Variant("float32", 1000, ONE, precision="float32"),
    "thesis": Variant("the thesis's recipe: base 32, 7 x 32^3, constant 0.001", 85, {"base_filters": 32},
                      {"batch_size": 7, "patch_size": [32] * 3, "learning_rate": 0.001, "schedule": "constant"}),
}  # fmt: skip

PANELS = {
    "Learning rate": ("default", "one.1500", "peak.003", "peak.03", "constant.001", "constant.003"),
    "Batch and patch": ("default", "one.1500", "4x24", "16x24", "4x32", "27x16"),
    "Where the capacity sits": (
        "default",
        "one.1500",
        "two",
        "two.wide",
        "two.thin",
        "two.three",
        "one.fine",
        "one.finer",
        "base16",
    ),
    "The rest": ("default", "one.1500", "long", "instance", "float32", "thesis"),
}


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
        "training": {**TRAINING, **variant.training, "steps": variant.steps},
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


def make_trainer(variant: Variant, seed: int) -> tuple[Trainer, LabelSpace, dict[str, list[StoredCase]]]:
    """Return the trainer of a variant, its label space and the held-out cases."""
    study = make_study(variant)
    runs.prepare(study, [case for cohort in study.cohorts.values() for case in cohort.cases])
    network = dataclasses.replace(study.runs[0].networks[0], folder=FOLDER / "never written", seed=seed)
    space = network.space
    trainer = runs.make_trainer(network, study.store, study.params, Compute.resolve("cpu", study.params.precision))
    held_out = {n: [study.store.open(case, study.cohorts[n]) for case in study.cohorts[n].cases] for n in HELD_OUT}
    return trainer, space, held_out


def evaluate(trainer: Trainer, space: LabelSpace, held_out: dict[str, list[StoredCase]]) -> dict[str, float]:
    """Return the mean Dice per label over the held-out cases, as ``own_csf`` ... ``new_wmh``, and their means."""
    member = Member(trainer.network, {}, space.labels, ("T1", "FLAIR"))
    model = Segmenter([member], space.labels, PreprocessingParams(spacing_mm=2))
    found: dict[str, list[float]] = {}
    for name, cases in held_out.items():
        for case in cases:
            prediction = model.segment(np.asarray(case.images), case.modalities, trainer.compute)
            metrics = label_metrics(case.target, prediction, case.sets, space.labels, case.spacing_mm)
            for label, values in metrics.items():
                found.setdefault(f"{name.split('_')[0]}_{label}", []).append(values["dice"])
    result = {key: float(np.nanmean(values)) for key, values in found.items()}
    for kind in ("own", "new"):
        result[kind] = float(np.mean([value for key, value in result.items() if key.startswith(f"{kind}_")]))
    return result


def train(name: str, seed: int, points: int) -> pd.DataFrame:
    """Train a variant and return its curve: a row per evaluation."""
    variant = VARIANTS[name]
    trainer, space, held_out = make_trainer(variant, seed)
    rows = []
    for stop in np.unique(np.linspace(0, variant.steps, points + 1).astype(int))[1:]:
        while trainer.step < stop:
            trainer.train_step()
        rows.append({"variant": name, "seed": seed, "step": trainer.step, **evaluate(trainer, space, held_out)})
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def time_steps(rounds: int = 15) -> pd.DataFrame:
    """Time one training step of every variant, in turns."""
    calls = {name: make_trainer(variant, 0)[0].train_step for name, variant in VARIANTS.items()}
    spreads = time_all(calls, repeats=rounds)
    rows = [
        {"variant": n, "ms": 1000 * s.median, "ms_min": 1000 * min(s.values), "ms_max": 1000 * max(s.values)}
        for n, s in spreads.items()
    ]
    return pd.DataFrame(rows).assign(threads=torch.get_num_threads())


def seconds_to_reach(curve: pd.DataFrame, kind: str, dice: float) -> float:
    """Return the seconds of the first evaluation with at least some mean Dice, infinite if there is none."""
    reached = curve[curve[kind] >= dice]
    return float(reached["seconds"].min()) if len(reached) else float("inf")


def curves_with_seconds() -> pd.DataFrame:
    """Read the curves and the times of steps, and put them together."""
    curves, times = pd.read_csv(CURVES), pd.read_csv(TIMES)
    curves = curves.merge(times[["variant", "ms"]], on="variant")
    return curves.assign(seconds=curves["step"] * curves["ms"] / 1000)


def draw() -> None:
    """Draw the curves, a panel per kind of choice, and write the table of what is reached when."""
    curves = curves_with_seconds()
    use_style()
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for axis, (title, names) in zip(axes.flat, PANELS.items(), strict=True):
        shown = [name for name in names if name in set(curves["variant"])]
        for name, colour in zip(shown, sns.color_palette("colorblind", len(shown)), strict=True):
            for seed, curve in curves[curves["variant"] == name].groupby("seed"):
                label = VARIANTS[name].about if seed == 0 else None
                axis.plot(curve["seconds"], curve["own"], marker="o", markersize=4, color=colour, label=label)
        axis.axvline(60, color="grey", linewidth=0.8, linestyle=":")
        axis.set(title=title, ylim=(0.5, 1), xlabel="seconds of training on two cores", ylabel="mean Dice, validation")
        if "long" in shown:
            axis.set_xscale("log")
            axis.set_xticks([20, 60, 120, 300], ["20", "60", "120", "300"])
            axis.minorticks_off()
        if shown:
            axis.legend(fontsize="x-small", loc="lower right", framealpha=0.9)
    figure.savefig(RESULTS / "time_to_dice.png", dpi=100, metadata={"Software": None})
    last = curves.loc[curves.groupby(["variant", "seed"])["step"].idxmax()]
    summary = last.groupby("variant").agg(
        steps=("step", "max"), ms_per_step=("ms", "first"), seconds=("seconds", "max"), seeds=("seed", "count"),
        own=("own", "mean"), new=("new", "mean"), new_min=("new", "min"), new_max=("new", "max"),
        new_csf=("new_csf", "mean"), new_gm=("new_gm", "mean"), new_wm=("new_wm", "mean"), new_wmh=("new_wmh", "mean"),
    )  # fmt: skip
    summary = summary.reindex([name for name in VARIANTS if name in summary.index]).reset_index()
    summary.insert(1, "about", [VARIANTS[name].about for name in summary["variant"]])
    summary.to_csv(RESULTS / "time_to_dice_summary.csv", index=False, float_format="%.3f")
    print(summary.to_string(index=False, float_format=lambda value: f"{value:.3f}"))


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", choices=[*VARIANTS, []], metavar="VARIANT", help=", ".join(VARIANTS))
    parser.add_argument("--points", type=int, default=4, help="evaluations along a training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--times", action="store_true", help="time the steps instead of training")
    parser.add_argument("--figure", action="store_true", help="draw instead of training")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    RESULTS.mkdir(exist_ok=True)
    if args.times:
        time_steps().to_csv(TIMES, index=False, float_format="%.2f")
    elif not args.figure:
        for name in args.variants or VARIANTS:
            for seed in args.seeds:
                curve = train(name, seed, args.points)
                if CURVES.exists():
                    old = pd.read_csv(CURVES)
                    curve = pd.concat([old[(old["variant"] != name) | (old["seed"] != seed)], curve])
                curve.to_csv(CURVES, index=False, float_format="%.4f")
    if args.times or args.figure:
        draw()


if __name__ == "__main__":
    main()
