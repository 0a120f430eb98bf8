"""Does a network recognise where an image comes from? What it labels on images of cohorts that do not draw a label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from ..data.cohorts import Case
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
    images does not show it. `runs` are finished runs of the study.

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
        validation = {cohort.name: scenario.split(cohort.name)[1] for cohort in scenario.train}
        shares = {
            name: np.mean([_shares(study, run, case) for case in cases], axis=0) for name, cases in validation.items()
        }
        for task in scenario.tasks:
            names, labels = [cohort.name for cohort in task], task[0].code_map.annotates
            if any(_drawn_share(study, validation[name]) < COMMON for name in names):
                continue
            classes = [run.labels.index(label) for label in labels]
            for name, share in shares.items():
                place = (run.scenario, run.model, run.replicate, run.seed)
                rows.append((*place, "+".join(labels), name, name in names, float(share[classes].sum())))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _shares(study: Study, run: Run, case: Case) -> np.ndarray:
    """Return the share of the brain that each label gets in a prediction, (L,)."""
    inside = finished_runs.prediction(run, case)[np.asarray(study.open(case).mask)]
    return np.bincount(inside, minlength=1 + len(run.labels))[1:] / len(inside)


def _drawn_share(study: Study, cases: Sequence[Case]) -> float:
    """Return the mean share of the brain that is drawn in some cases."""
    opened = map(study.open, cases)
    return float(np.mean([sum(map(len, c.voxels.values())) / np.count_nonzero(c.mask) for c in opened]))


def relative_shares(shares: pd.DataFrame) -> pd.DataFrame:
    """Return `labelled_shares` on other cohorts' images as a part of that on the task's own; 1 if nothing is left out.

    ``scenario, model, replicate, task, share``, seeds averaged.
    """
    keys = ["scenario", "model", "replicate", "task"]
    means = shares.groupby([*keys, "own"], sort=False)["share"].mean().unstack("own")
    if means.empty or len(means.columns) < 2:
        return pd.DataFrame(columns=[*keys, "share"])
    return (means[False] / means[True]).rename("share").reset_index()
