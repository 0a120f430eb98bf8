"""What is lost between cohorts: Dice where a network learnt, Dice where it is tested, and how far apart the two are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy import stats

from . import exploration, runs
from .figures import SINGLE_TASK
from .inference import Model
from .metrics import label_metrics
from .study import MODELS, Study
from .training import Compute

SINGLE_COLUMNS = ("scenario", "model", "seed", "cohort", "case", "label", "dice")
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
        ``scenario, model, seed, cohort, case, label, dice``, with the model `SINGLE_TASK`. No rows for a scenario
        without MultiUNet or with a single task.
    """
    rows: list[tuple[object, ...]] = []
    compute = Compute.resolve(study.params.device, study.params.precision)
    torch.set_num_threads(study.params.threads)
    for run in study.runs_of(scenario):
        spec = MODELS[run.model]
        if not spec.per_task or spec.shared_modalities or len(run.networks) < 2:
            continue
        for network in run.networks:
            model = Model([runs.load_member(study, network)], network.labels, study.params.preprocessing)
            for cohort in network.cohorts:
                for case in study.split(cohort, network.validation_fraction)[1]:
                    stored = study.store.open(case, study.cohorts[cohort])
                    memory = study.params.inference.memory_gib
                    prediction = model.segment(np.asarray(stored.images), stored.modalities, compute, memory)
                    measured = label_metrics(stored.target, prediction, stored.sets, network.labels, stored.spacing_mm)
                    place = (scenario, SINGLE_TASK, run.seed, cohort, case.name)
                    rows += [(*place, label, values["dice"]) for label, values in measured.items()]
    return pd.DataFrame(rows, columns=list(SINGLE_COLUMNS))


def with_single_task(study: Study, scenario: str, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a scenario, those of `single_task_dice` first."""
    parts = [single_task_dice(study, scenario), metrics[metrics["scenario"] == scenario]]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def dice_losses(study: Study) -> pd.DataFrame:
    """Return how much Dice MultiUNet and the selective network lose on the test cohort, with the cohorts' divergence.

    Returns
    -------
    pd.DataFrame
        One row per scenario, model, training cohort and label that it draws: the mean ``dice_own`` on validation images
        of that cohort, ``dice_test`` on the test cohort, their difference ``loss``, and the ``divergence`` of the two
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
        From `dice_losses`. Losses are averaged over the labels of a pair of cohorts first: labels that share their
        images are not independent.

    Returns
    -------
    pd.DataFrame
        ``model, pairs, rho``: the number of distinct pairs of cohorts, and the correlation, NaN for fewer than three.
        No p values: the pairs share cohorts.
    """
    rows = []
    for model, part in losses.dropna(subset=["divergence", "loss"]).groupby("model", sort=False):
        pairs = part.groupby(["scenario", "cohort", "test_cohort"])[["divergence", "loss"]].mean()
        defined = len(pairs) > 2 and pairs["divergence"].nunique() > 1 and pairs["loss"].nunique() > 1
        rho = float(stats.spearmanr(pairs["divergence"], pairs["loss"]).statistic) if defined else np.nan
        rows.append({"model": model, "pairs": len(pairs), "rho": rho})
    return pd.DataFrame(rows, columns=["model", "pairs", "rho"])
