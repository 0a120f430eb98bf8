"""How far apart are the images of two cohorts? (thesis 5, figure 16)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.spatial import distance

from ..figures.style import SINGLE_TASK
from ..inference import Model
from ..metrics import label_metrics
from ..models import MODELS
from ..preprocessing.store import StoredCase
from ..study import finished_runs
from ..study.study import Study
from ..thesis import reported
from ..utils.compute import Compute
from . import cohort_tables
from .cohort_tables import Explored

BINS = np.linspace(-2, 2, 41)
"""Edges of the histograms of normalised intensities, as in the thesis's program."""


def intensity_histogram(case: StoredCase, modality: str = "T1") -> np.ndarray:
    """Return the shares of the brain's voxels in each of `BINS`, (40,), summing to 1. Values beyond are left out."""
    image = case.images[case.modalities.index(modality)]
    counts, _ = np.histogram(image[np.asarray(case.mask)], BINS)
    return counts / counts.sum()


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Return the Jensen-Shannon divergence of two distributions, (KL(P|M) + KL(Q|M)) / 2 with M = (P + Q) / 2, in nats.

    The thesis's eq. 23 is printed otherwise, but its numbers are these.
    """
    return float(distance.jensenshannon(p, q) ** 2)


def divergence_matrix(histograms: Mapping[str, Sequence[np.ndarray]]) -> pd.DataFrame:
    """Return the mean divergence over all pairs of images, within and between cohorts (eq. 24 and 25).

    Parameters
    ----------
    histograms
        Cohort -> one histogram per image.

    Returns
    -------
    pd.DataFrame
        Cohorts x cohorts, symmetric. The diagonal holds pairs of distinct images; NaN for a cohort of one image.
    """
    names = list(histograms)
    matrix = pd.DataFrame(np.nan, index=pd.Index(names, name="cohort"), columns=names)
    for i, a in enumerate(names):
        for b in names[i:]:
            pairs = distance.cdist(np.stack(histograms[a]), np.stack(histograms[b]), "jensenshannon") ** 2
            if a == b:
                pairs = pairs[~np.eye(len(pairs), dtype=bool)]
            matrix.loc[a, b] = matrix.loc[b, a] = pairs.mean() if pairs.size else np.nan
    return matrix


def agreement(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[float, int]:
    """Return Spearman's correlation of two matrices over the cohorts that both have, and the number of entries.

    Each pair of cohorts, and each cohort with itself, counts once. NaN if fewer than three entries are shared.
    """
    names = [name for name in theirs.index if name in ours.index]
    upper = np.triu_indices(len(names))
    a, b = (matrix.loc[names, names].to_numpy()[upper] for matrix in (ours, theirs))
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 3:
        return float("nan"), int(both.sum())
    return float(stats.spearmanr(a[both], b[both]).statistic), int(both.sum())


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
            model = Model([finished_runs.load_member(study, network)], network.labels, study.params.preprocessing)
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
    divergence, _ = divergences(study, cohort_tables.open_cases(study))
    rows: list[tuple[object, ...]] = []
    for scenario, s in study.params.scenarios.items():
        if s.test in s.train:
            continue
        for model in COMPARED:
            done = [run for run in study.runs_of(scenario) if run.model == model]
            if not done:
                continue
            tested = pd.concat([finished_runs.read_metrics(study.run_folder(run) / "metrics.csv") for run in done])
            on_test = tested.groupby("label")["dice"].mean()
            own = (
                single_task_dice(study, scenario)
                if MODELS[model].per_task and len(done[0].networks) > 1
                else pd.concat([finished_runs.read_metrics(study.run_folder(run) / "validation.csv") for run in done])
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


# -- divergence ----------------------------------------------------------------------------------------------------


def divergences(study: Study, explored: Explored) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the divergences between cohorts on T1, and the thesis's for those that it has (None for fewer than two).

    Both are square, with the cohorts in the thesis's order, then the others. Where no cohort has a T1, the modality
    that most of them have is compared. Cohorts without it are left out.
    """
    modalities = [m for name in explored for m in study.cohorts[name].modalities]
    modality = "T1" if "T1" in modalities else max(dict.fromkeys(modalities), key=modalities.count)
    histograms = {
        name: [intensity_histogram(case, modality) for case in cases]
        for name, cases in explored.items()
        if modality in study.cohorts[name].modalities
    }
    reference = reported.divergences()
    known = {name: imitated(study, name) for name in histograms}
    order = [n for t in reference.index for n in histograms if known[n] == t]
    matrix = divergence_matrix({n: histograms[n] for n in [*order, *(n for n in histograms if n not in order)]})
    if len(order) < 2:
        return matrix, None
    theirs = reference.loc[[known[n] for n in order], [known[n] for n in order]]
    theirs.index, theirs.columns = pd.Index(order, name="cohort"), pd.Index(order)
    return matrix, theirs


def imitated(study: Study, cohort: str) -> str:
    """The cohort of the thesis that a cohort is or imitates, by name."""
    p = study.params.cohorts[cohort]
    if p.source == "phantom":
        return p.preset or cohort
    return cohort if p.source == "table" else p.source
