"""The cases of a study for MONAI's Auto3DSeg: its data list, its data analyser, and its runner with local templates.

Auto3DSeg looks at the files as they lie on disk, before any preprocessing, and at the codes of the label files.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiseg_core.files import write_json

from ..data.cohorts import Case
from ..data.loading import ensure_files
from ..study.scenarios import Scenario


def data_list(scenario: Scenario) -> dict[str, list[dict[str, Any]]]:
    """Return the data list of a scenario: its labelled cases under ``training``, with folds, and ``testing``.

    Fold 0 are the validation cases, fold 1 the others: a runner that leaves out fold 0 splits as the study does.

    Images are a path, or several for several modalities, in the scenario's order. Files of phantoms are written.
    """

    def entry(case: Case) -> dict[str, Any]:
        ensure_files(case)
        images = [str(case.images[modality]) for modality in scenario.modalities]
        return {"image": images[0] if len(images) == 1 else images, "label": str(case.labels)}

    drawn = [c for c in scenario.train if c.code_map.annotates]
    parts = [(fold, case) for c in drawn for fold, part in enumerate(reversed(scenario.split(c.name))) for case in part]
    return {
        "training": [{**entry(case), "fold": fold} for fold, case in parts],
        "testing": [entry(case) for case in scenario.test_cases if case.labels is not None],
    }


def analyse(listed: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    """Let MONAI's `DataAnalyzer` look at the training cases of a data list, on the CPU and without a network.

    Parameters
    ----------
    listed
        From `data_list`.
    folder
        Gets ``datalist.json`` and, from MONAI, ``datastats.yaml``, with everything that it measured.

    Returns
    -------
    pd.DataFrame
        Index label code. ``share`` (%) of the voxels of the box around what is above 0 in the image, a mean over
        cases; ``mean`` and ``sd`` of the first image in it.
    """
    from monai.apps.auto3dseg.data_analyzer import DataAnalyzer  # slow to import

    write_json(folder / "datalist.json", dict(listed))
    listing, found_file = str(folder / "datalist.json"), str(folder / "datastats.yaml")
    with _quiet():
        analyser = DataAnalyzer(listing, output_path=found_file, device="cpu", worker=0)
        stats = analyser.get_all_case_stats()["stats_summary"]["label_stats"]
    codes: Sequence[int] = stats["labels"]
    found = []
    for of in stats["label"]:
        first = (float(np.ravel(of["image_intensity"][what])[0]) for what in ("mean", "stdev"))  # of the channels
        found.append((100 * of["foreground_percentage"]["mean"], *first))
    return pd.DataFrame(found, index=pd.Index(codes, name="code"), columns=["share", "mean", "sd"])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep MONAI's progress, messages and warnings of outdated arguments to itself."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.INFO)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
