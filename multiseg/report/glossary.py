"""What the models of a study are, in words made from their choices; and which line to change for another question."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

from ..settings.models import NamedModel
from ..settings.params_files import params_files
from ..study.study import Study
from .figures.language import CATALOGUE

_WORDS: Mapping[str, Mapping[str, str]] = CATALOGUE["models"]
"""Choice of a model -> value -> words; ``naive``: losses on naive targets."""


def describe(model: NamedModel) -> str:
    """Return a model's choices in a sentence."""
    loss = model.loss.name.removeprefix("monai.").removeprefix("torch.")
    if model.targets == "naive":
        loss = _WORDS["naive"].get(loss, loss)
    options = ", ".join(f"{k} {v}" for k, v in model.loss.options.items())
    parts = [
        "A network per task, merged" if model.networks == "per_task" else "One network",
        _WORDS["inputs"][model.inputs],
        _WORDS["head"][model.head],
        _WORDS["targets"][model.targets],
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


def what_to_change(study: Study) -> pd.DataFrame:
    """Return which line of which params file to change for another question: the nearest file that has the key."""
    lines = [
        (f"{file.name}, line {n}", line)
        for file in params_files(study.params_file)
        for n, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
    ]
    rows = []
    for question, key in CATALOGUE["what_to_change"].items():
        known = ((place, line) for place, line in lines if re.match(rf"\s*{key}:", line))
        place, line = next(known, (f"add it to {study.params_file.name}", f"{key}: (default)"))
        rows.append((question, place, re.sub(r"\s+#.*", "", line).strip()))
    return pd.DataFrame(rows, columns=["question", "line", "now"])
