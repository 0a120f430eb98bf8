"""Does a network recognise where an image comes from? What it labels on images of cohorts that do not draw a label."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..data.cohorts import Case, Cohort
from ..study import finished_runs
from ..study.plan import Run
from ..study.study import Study

COLUMNS = ("scenario", "model", "replicate", "seed", "task", "cohort", "own", "share")

COMMON = 0.5
"""Labels that take more of the brain than this are tissues, which every subject has."""


def labelled_shares(study: Study, runs: Iterable[Run]) -> pd.DataFrame:
    """Return the share of the brain that gets the labels of a task, on validation images of every training cohort.

    Only tasks whose labels every subject has count: tissues, which cover most of the brain wherever they are drawn. A
    network that has learnt to tell the cohorts apart leaves them out on images of the others, and its Dice on its own
    images does not show it.

    Parameters
    ----------
    study, runs
        Finished runs of the study.

    Returns
    -------
    pd.DataFrame
        `COLUMNS`: ``task``, its labels joined by +; ``cohort``, whose images; ``own``, whether it draws these labels;
        ``share`` of the voxels of the brain, mean over images.
    """
    rows: list[tuple[object, ...]] = []
    for run in runs:
        scenario = study.replicates[run.replicate - 1][run.scenario]
        if len(scenario.tasks) < 2:
            continue
        shares = {
            cohort.name: np.mean([_shares(study, run, case) for case in scenario.split(cohort.name)[1]], axis=0)
            for cohort in scenario.train
        }
        for task in scenario.tasks:
            labels = task[0].code_map.annotates
            classes = [run.labels.index(label) for label in labels]
            if any(_drawn_share(study, cohort, run) < COMMON for cohort in task):
                continue
            for name, share in shares.items():
                own = name in [cohort.name for cohort in task]
                place = (run.scenario, run.model, run.replicate, run.seed)
                rows.append((*place, "+".join(labels), name, own, float(share[classes].sum())))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _shares(study: Study, run: Run, case: Case) -> np.ndarray:
    """Return the share of the brain that each label gets in a prediction, (L,)."""
    stored = study.open(case)
    inside = finished_runs.prediction(run, case)[np.asarray(stored.mask)]
    return np.bincount(inside, minlength=1 + len(run.labels))[1:] / len(inside)


def _drawn_share(study: Study, cohort: Cohort, run: Run) -> float:
    """Return the share of the brain that a cohort draws, in its validation cases."""
    scenario = study.replicates[run.replicate - 1][run.scenario]
    cases = [study.open(case) for case in scenario.split(cohort.name)[1]]
    return float(np.mean([sum(map(len, case.voxels.values())) / np.count_nonzero(case.mask) for case in cases]))


def relative_shares(shares: pd.DataFrame) -> pd.DataFrame:
    """Return `labelled_shares` on other cohorts' images as a part of that on the task's own; 1 if nothing is left out.

    Returns
    -------
    pd.DataFrame
        ``scenario, model, replicate, task, share``, seeds averaged.
    """
    keys = ["scenario", "model", "replicate", "task"]
    means = shares.groupby([*keys, "own"], sort=False)["share"].mean().unstack("own")
    if means.empty or len(means.columns) < 2:
        return pd.DataFrame(columns=[*keys, "share"])
    return (means[False] / means[True]).rename("share").reset_index()
