"""What is lost between cohorts: Dice where a network learnt, Dice where it is tested, and how far apart the two are."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from . import exploration, runs
from .figures import LABEL_NAMES, MODEL_NAMES, model_palette, pretty
from .inference import Model
from .metrics import label_metrics
from .study import MODELS, Study
from .training import Compute

SINGLE_COLUMNS = ("seed", "cohort", "case", "label", "dice")
LOSS_COLUMNS = ("scenario", "model", "cohort", "test_cohort", "label", "divergence", "dice_own", "dice_test", "loss")
COMPARED = ("multi_unet", "selective_cross_entropy")
"""One network per task, and the one network that is to replace them."""


def single_task_dice(study: Study, scenario: str) -> pd.DataFrame:
    """Return what the network of each task reaches alone, on validation images of its own cohort.

    These are MultiUNet's networks before they are merged: the performance on a single task that the thesis shows beside
    the models (figures 26, 29 and 34). Weights were chosen on the same images, so the numbers are a little too good.

    Returns
    -------
    pd.DataFrame
        ``seed, cohort, case, label, dice``; no rows for a scenario without MultiUNet or with a single task.
    """
    rows: list[tuple[object, ...]] = []
    compute = Compute.resolve(study.params.device, study.params.precision)
    torch.set_num_threads(study.params.threads)
    for run in study.runs_of(scenario):
        if not MODELS[run.model].per_task or len(run.networks) < 2:
            continue
        for network in run.networks:
            model = Model([runs.load_member(study, network)], network.labels, study.params.preprocessing)
            for cohort in network.cohorts:
                for case in study.split(cohort, network.validation_fraction)[1]:
                    stored = study.store.open(case, study.cohorts[cohort])
                    memory = study.params.inference.memory_gib
                    prediction = model.segment(np.asarray(stored.images), stored.modalities, compute, memory)
                    measured = label_metrics(stored.target, prediction, stored.sets, network.labels, stored.spacing_mm)
                    rows += [(run.seed, cohort, case.name, label, values["dice"]) for label, values in measured.items()]
    return pd.DataFrame(rows, columns=list(SINGLE_COLUMNS))


def dice_losses(study: Study) -> pd.DataFrame:
    """Return how much Dice MultiUNet and the selective network lose on the test cohort, with the cohorts' divergence.

    Returns
    -------
    pd.DataFrame
        One row per scenario, model, training cohort and label that it draws: the mean ``dice_own`` on validation images of
        that cohort, ``dice_test`` on the test cohort, their difference ``loss``, and the ``divergence`` of the two cohorts
        (`exploration.divergences`; nats). Means over cases and seeds, undefined values left out. No rows for scenarios
        that are tested on their own cohort, and NaN for cohorts that share no modality.
    """
    divergence, _ = exploration.divergences(study, exploration.open_cases(study))
    rows: list[tuple[object, ...]] = []
    for scenario, s in study.params.scenarios.items():
        if s.test in s.train:
            continue
        for model in COMPARED:
            done = [run for run in study.runs_of(scenario) if run.model == model]
            if not done:
                continue
            tested = pd.concat([runs.read_metrics(study.run_folder(run) / "metrics.csv") for run in done])
            on_test = tested.groupby("label")["dice"].mean()
            own = (
                single_task_dice(study, scenario)
                if MODELS[model].per_task and len(done[0].networks) > 1
                else pd.concat([runs.read_metrics(study.run_folder(run) / "validation.csv") for run in done])
            )
            for (cohort, label), dice_own in own.groupby(["cohort", "label"], sort=False)["dice"].mean().items():
                if label in on_test:
                    known = cohort in divergence.index and s.test in divergence.index
                    distance = divergence.loc[cohort, s.test] if known else np.nan
                    loss = dice_own - on_test[label]
                    rows.append((scenario, model, cohort, s.test, label, distance, dice_own, on_test[label], loss))
    return pd.DataFrame(rows, columns=list(LOSS_COLUMNS))


def rank_correlations(losses: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's correlation of divergence and loss of Dice, a row per model.

    Parameters
    ----------
    losses
        From `dice_losses`. Losses are averaged over the labels of a pair of cohorts first: labels that share their images
        are not independent.

    Returns
    -------
    pd.DataFrame
        ``model, pairs, rho``: the number of distinct pairs of cohorts, and the correlation, NaN for fewer than three. No
        p values: the pairs share cohorts.
    """
    rows = []
    for model, part in losses.dropna(subset=["divergence", "loss"]).groupby("model", sort=False):
        pairs = part.groupby(["scenario", "cohort", "test_cohort"])[["divergence", "loss"]].mean()
        defined = len(pairs) > 2 and pairs["divergence"].nunique() > 1 and pairs["loss"].nunique() > 1
        rho = float(stats.spearmanr(pairs["divergence"], pairs["loss"]).statistic) if defined else np.nan
        rows.append({"model": model, "pairs": len(pairs), "rho": rho})
    return pd.DataFrame(rows, columns=["model", "pairs", "rho"])


def shift_figure(losses: pd.DataFrame) -> Figure:
    """Draw the loss of Dice against the divergence of training and test cohort: a mark per label, a colour per model."""
    shown = losses.dropna(subset=["divergence", "loss"])
    models, labels = (list(dict.fromkeys(shown[column])) for column in ("model", "label"))
    palette = model_palette(models)
    marks = dict(zip(labels, "os^DvPX*<>" * (1 + len(labels) // 10), strict=False))
    figure, axes = plt.subplots(figsize=(9.5, 5), layout="constrained")
    for row in shown.itertuples():
        # models side by side, so that equal values do not hide each other
        at = 1000 * row.divergence * (1 + 0.015 * (models.index(row.model) - (len(models) - 1) / 2))
        axes.plot(at, row.loss, marks[row.label], color=palette[row.model], ms=7, mec="white", mew=0.6)
    for (cohort, test), part in shown.groupby(["cohort", "test_cohort"], sort=False):
        axes.annotate(
            f"{cohort} → {test}", (1000 * part["divergence"].mean(), part["loss"].max()), xytext=(0, 8),
            textcoords="offset points", rotation=40, fontsize=8, color="0.3",
        )  # fmt: skip
    axes.axhline(0, color="0.6", lw=1)
    axes.margins(x=0.08, y=0.3)
    axes.set(xlabel="divergence of training and test cohort x 1000", ylabel="loss of Dice (own cohort - test cohort)")
    handles = [Line2D([], [], color=palette[m], lw=4, label=pretty(m, MODEL_NAMES).replace("\n", " ")) for m in models]
    handles += [Line2D([], [], color="0.4", marker=marks[k], ls="", label=pretty(k, LABEL_NAMES)) for k in labels]
    axes.legend(handles=handles, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
