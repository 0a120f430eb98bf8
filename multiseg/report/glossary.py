"""What the models of a study are, in words made from their choices; and which line to change for another question."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

from ..settings.models import NamedModel
from ..settings.params_files import params_files
from ..study.study import Study

_TARGETS: Mapping[str, str] = {
    "naive": "what a cohort leaves undrawn counts as background",
    "selective": "what a cohort leaves undrawn counts as background or any label that it does not draw",
    "complete": "what a cohort leaves undrawn is filled in from complete labels: an upper bound",
    "pseudo": "what a cohort leaves undrawn is filled in by networks of the single tasks",
}
_INPUTS: Mapping[str, str] = {
    "shared": "",
    "own": "each sees the images that its own cohorts and the test cohort have",
    "any": "takes any subset of the modalities",
}
_HEADS: Mapping[str, str] = {
    "softmax": "",
    "sigmoid": "one binary output per label, so that labels may lie over each other",
    "conditioned": "is told which task it works for, and is asked for each in turn",
}


_NAIVE: Mapping[str, str] = {
    "SelectiveCrossEntropy": "cross-entropy",
    "SoftDice": "Dice",
    "SelectiveDice": "Dice of the labels that a patch shows",
}
"""Losses on naive targets, in words."""


def describe(model: NamedModel) -> str:
    """Return a model's choices in a sentence."""
    loss = model.loss.name.removeprefix("monai.").removeprefix("torch.")
    if model.targets == "naive" and loss in _NAIVE:
        loss = _NAIVE[loss]
    options = ", ".join(f"{k} {v}" for k, v in model.loss.options.items())
    parts = [
        "A network per task, merged" if model.networks == "per_task" else "One network",
        _INPUTS[model.inputs],
        _HEADS[model.head],
        _TARGETS[model.targets],
        f"loss {loss}" + (f" ({options})" if options else ""),
        "patches from anywhere" if model.sampling.name == "uniform" else "",
        f"training: {', '.join(f'{k} {v}' for k, v in model.training.items())}" if model.training else "",
        f"network: {', '.join(f'{k} {v}' for k, v in model.network.items())}" if model.network else "",
    ]
    return "; ".join(part for part in parts if part) + "."


def glossary(study: Study) -> pd.DataFrame:
    """Return what the models are that run in a study, in the order of its scenarios."""
    used = dict.fromkeys(m for s in study.scenarios.values() for m in s.models)
    rows = {m: describe(study.models[m]) for m in used}
    return pd.DataFrame({"what it is": rows}).rename_axis("model")


_QUESTIONS: Mapping[str, str] = {
    "Would it hold on other subjects?": "replicates",
    "Would another model do better? Name it in the scenario, or describe your own under `models`": "models",
    "Is it the data? Other cohorts, or more cases": "cohorts",
    "Does it need longer training?": "steps",
    "Does it need larger patches?": "patch_size",
    "Does it need finer voxels?": "spacing_mm",
    "Does it need a larger network?": "base_filters",
    "How far does luck of training reach?": "seeds",
}
"""Question -> the key that answers it."""


def what_to_change(study: Study) -> pd.DataFrame:
    """Return which line of which params file to change for another question: the nearest file that has the key."""
    lines = [
        (f"{file.name}, line {n}", line)
        for file in params_files(study.params_file)
        for n, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
    ]
    rows = []
    for question, key in _QUESTIONS.items():
        known = ((place, line) for place, line in lines if re.match(rf"\s*{key}:", line))
        place, line = next(known, (f"add it to {study.params_file.name}", f"{key}: (default)"))
        rows.append((question, place, re.sub(r"\s+#.*", "", line).strip()))
    return pd.DataFrame(rows, columns=["question", "line", "now"])
