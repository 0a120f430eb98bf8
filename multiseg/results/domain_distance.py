"""How far apart are the images of two cohorts (thesis 5, figure 16), and does it cost Dice?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial import distance

from ..data.store import StoredCase
from ..settings.models import SELECTIVE, SEPARATE
from ..study import finished_runs
from ..study.plan import Run
from ..study.study import Study
from .cohort_tables import Explored

# -- divergence ----------------------------------------------------------------------------------------------------

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

    Of `histograms`, one per image of each cohort: cohorts x cohorts, symmetric. The diagonal holds pairs of distinct
    images; NaN for a cohort of one image.
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


def divergences(explored: Explored, first: Sequence[str] = ()) -> pd.DataFrame:
    """Return the divergences between the T1 images of cohorts, see `divergence_matrix`.

    Where no cohort has a T1, the modality that most of them have is compared. Cohorts without it are left out. Those of
    `first` come first, in this order; the others follow in theirs.
    """
    modalities = [m for cases in explored.values() for m in cases[0].modalities]
    modality = "T1" if "T1" in modalities else max(dict.fromkeys(modalities), key=modalities.count)
    names = [name for name in dict.fromkeys((*first, *explored)) if modality in explored[name][0].modalities]
    return divergence_matrix({name: [intensity_histogram(case, modality) for case in explored[name]] for name in names})


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


# -- what it costs -------------------------------------------------------------------------------------------------

LOSS_COLUMNS = ("scenario", "model", "cohort", "test_cohort", "label", "divergence", "dice_own", "dice_test", "loss")
COMPARED = (SEPARATE, SELECTIVE)
"""One network per task, and the one network that is to replace them."""


def with_single_task(runs: Sequence[Run], metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics of some runs, below those of single tasks, see `finished_runs.single_tasks`."""
    parts = [finished_runs.single_tasks(runs), metrics]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def dice_losses(study: Study, metrics: pd.DataFrame, divergence: pd.DataFrame) -> pd.DataFrame:
    """Return how much Dice the models of `COMPARED` lose on the test cohort, with the cohorts' divergence.

    `metrics` are tidy rows on test cases, `divergence` is from `divergences`; finished runs of the study are read.

    Returns
    -------
    pd.DataFrame
        One row per scenario, model, training cohort and label that it draws: the mean ``dice_own`` on validation images
        of that cohort, ``dice_test`` on a test cohort, their difference ``loss``, and the ``divergence`` of the two
        (nats). Means over cases and seeds, undefined values left out. Of networks with inputs of their own, each task's
        network counts alone on its own cohorts. No rows for scenarios that are tested on their own cohort, and NaN for
        cohorts that share no modality.
    """
    rows: list[tuple[object, ...]] = []
    for name, scenario in study.scenarios.items():
        trained = [cohort.name for cohort in scenario.train]
        tests = [cohort.name for cohort in scenario.tests if cohort.name not in trained]
        for test, model in itertools.product(tests, COMPARED):
            done = [run for run in study.runs_of(name) if run.model == model and finished_runs.is_finished(run)]
            if not done:
                continue
            tested = metrics[metrics[["scenario", "model", "cohort"]].eq([name, model, test]).all(axis=1)]
            on_test = tested.groupby("label")["dice"].mean()
            alone = finished_runs.single_tasks(done)
            own = alone if len(alone) else finished_runs.validation(done)
            own = own[own["dice"].notna()]  # the others are not drawn there
            for (cohort, label), dice_own in own.groupby(["cohort", "label"], sort=False)["dice"].mean().items():
                if label in on_test:
                    apart = divergence[test].get(cohort, np.nan) if test in divergence else np.nan
                    dice = dice_own, on_test[label], dice_own - on_test[label]
                    rows.append((name, model, cohort, test, label, apart, *dice))
    return pd.DataFrame(rows, columns=list(LOSS_COLUMNS))


def rank_correlations(losses: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's correlation of divergence and loss of Dice, a row per model, from `dice_losses`.

    Losses are averaged over the labels of a pair of cohorts first: labels that share their images are not independent.
    ``model, pairs, rho``: the number of distinct pairs of cohorts, and the correlation, NaN for fewer than three. No p
    values: the pairs share cohorts.
    """
    rows = []
    for model, part in losses.dropna(subset=["divergence", "loss"]).groupby("model", sort=False):
        pairs = part.groupby(["scenario", "cohort", "test_cohort"])[["divergence", "loss"]].mean()
        defined = len(pairs) > 2 and pairs["divergence"].nunique() > 1 and pairs["loss"].nunique() > 1
        rho = float(stats.spearmanr(pairs["divergence"], pairs["loss"]).statistic) if defined else np.nan
        rows.append((model, len(pairs), rho))
    return pd.DataFrame(rows, columns=["model", "pairs", "rho"])
