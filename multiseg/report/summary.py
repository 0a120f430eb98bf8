"""What a study says in short: provenance, the table of results, a sentence per scenario."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ..base.provenance import provenance
from ..results import summaries
from ..results.replicates import replicate_means
from ..results.verdicts import SAME_INPUTS, endpoints, model_in_role
from ..settings.models import NAIVE, SELECTIVE, SEPARATE
from ..study import finished_runs
from ..study.failures import failed_networks
from ..study.plan import Run
from ..study.study import Study
from .figures.names import endpoint_title, label_title, model_title, plain, scenario_title


def provenance_table(study: Study) -> pd.DataFrame:
    """Return where the numbers of a report come from, one fact a row: this report's making, and the networks'."""
    facts = provenance()
    packages = facts.pop("packages")
    assert isinstance(packages, Mapping)
    trained = finished_runs.network_facts(study.networks())
    rows = {
        "made on": time.strftime("%Y-%m-%d"),
        "params file": study.params_file.name,
        "replicates": str(study.params.replicates),
        "seeds": ", ".join(map(str, study.params.seeds)),
        **{str(key): str(value) for key, value in facts.items() if key not in ("threads", "device")},
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "networks": f"{len(trained)}, trained in {sum(t['seconds'] for t in trained) / 60:.1f} min in all",
        "trained on": _distinct(trained, lambda p: p["cpu"] if p["device"] == "cpu" else p["device"]),
        "threads per training": _distinct(trained, lambda p: p["threads"]),
        "trained with": _distinct(trained, lambda p: f"torch {p['packages'].get('torch', '?')}"),
        "precision": ", ".join(dict.fromkeys("bf16" if t["bf16"] else "float32" for t in trained)) or "-",
        "trained at commit": _distinct(trained, lambda p: p["commit"]),
    }
    if mixed := mixed_conditions(trained):
        rows["warning"] = "; ".join(mixed)
    return pd.DataFrame({"": rows.values()}, index=list(rows))


_CONDITIONS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "kinds of device": lambda t: "CPU" if t["provenance"]["device"] == "cpu" else "GPU",
    "precisions": lambda t: "bf16" if t["bf16"] else "float32",
    "versions of torch": lambda t: str(t["provenance"]["packages"].get("torch", "?")).partition("+")[0],
    "versions of MONAI": lambda t: str(t["provenance"]["packages"].get("monai", "?")),
}


def mixed_conditions(trained: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for everything that changes numbers a little and that networks do not share.

    `trained` is what is written of the networks, from `finished_runs.network_facts`.
    """
    sentences = []
    for what, value in _CONDITIONS.items():
        counts = Counter(map(value, trained))
        if len(counts) > 1:
            found = ", ".join(f"{name} ({n} networks)" for name, n in counts.items())
            sentences.append(f"the networks were trained with different {what}: {found}")
    return sentences


def warnings(study: Study) -> list[str]:
    """Return what a reader should know before comparing the models of a study."""
    mixed = mixed_conditions(finished_runs.network_facts(study.networks()))
    early = ["this is the first replicate alone; the others are still to come"] if study.is_first_replicate else []
    failed = [f"{line}; what needs it is left out" for line in failed_networks(study.planned_runs)]
    return [*early, *failed, *mixed, *collapsed_runs(study), *weak_pseudo_labels(study, finished_runs.metrics(study))]


FALLEN = 0.05
"""What a network that learns from pseudo-labels may lose against the networks that they come from."""


def weak_pseudo_labels(study: Study, metrics: pd.DataFrame) -> list[str]:
    """Return a sentence for every endpoint on which pseudo-labels teach less than the networks know that made them."""
    sentences = []
    for scenario in study.scenarios.values():
        source = model_in_role(study, scenario, SAME_INPUTS)
        taught = [m for m in scenario.models if study.models[m].targets == "pseudo"]
        part = metrics[metrics["scenario"] == scenario.name]
        for endpoint, labels in endpoints(scenario).items() if source and taught else ():
            means = replicate_means(part, labels)
            for model in (m for m in taught if {m, source} <= set(means.columns)):
                reached, known = means[[model, source]].dropna().mean()
                if known - reached > FALLEN:
                    sentences.append(
                        f"{scenario_title(scenario.name)}, {endpoint_title(endpoint)}: {model_title(model)} reaches a "
                        f"Dice of {reached:.2f}, and the networks that made its labels {known:.2f}"
                    )
    return sentences


LOST_DICE = 0.05
"""A label that networks find less of than this, on validation images that draw it, is lost."""

PAINTED = 3.0
"""A label whose predicted volume exceeds the drawn one by this factor is painted over what is none of it."""

_LOST, _PAINTED = f"a Dice below {LOST_DICE}", f"more than {PAINTED:g} times the volume"


def collapsed_runs(study: Study) -> list[str]:
    """Return up to two sentences a scenario: the models that lost a label, or paint one over, on validation images."""
    sentences = []
    for scenario in study.scenarios.values():
        runs = [run for run in study.runs_of(scenario.name) if finished_runs.is_finished(run)]
        made = Counter(run.model for run in runs)
        found: dict[str, dict[str, Counter[str]]] = {_LOST: {}, _PAINTED: {}}
        for run in runs:
            for label, fault in _faults(run):
                found[fault].setdefault(label, Counter())[run.model] += 1
        for fault, labels in found.items():
            by_label = "; ".join(f"{label_title(label)} by {_by(models, made)}" for label, models in labels.items())
            if by_label:
                sentences.append(f"{scenario_title(scenario.name)}: {fault} on validation images, {by_label}")
    return sentences


def _faults(run: Run) -> Iterator[tuple[str, str]]:
    """Yield the labels that a run lost, or paints over what is none of them, and which of the two."""
    table = finished_runs.read_metrics(run.folder / "validation.csv")
    means = table.groupby("label", sort=False)[["dice", "volume_true_ml", "volume_pred_ml"]].mean()
    for label, dice, true, predicted in means.itertuples():
        if true > 0 and predicted > PAINTED * true:
            yield label, _PAINTED
        elif true > 0 and dice < LOST_DICE:
            yield label, _LOST


NAMED = 3
"""As many models are named in a sentence; more are counted."""


def _by(models: Counter[str], made: Counter[str]) -> str:
    """Return which models, and how many of their runs; `made` has the runs of all models."""
    if len(models) > NAMED:
        runs = f"{models.total()} of {made.total()} runs"
        return f"all {len(made)} models ({runs})" if len(models) == len(made) else f"{len(models)} models ({runs})"
    return ", ".join(
        model_title(model) + (f" ({n} of {made[model]} runs)" if made[model] > 1 else "") for model, n in models.items()
    )


def listed(texts: Sequence[str]) -> str:
    """Return texts joined by commas and a last *and*."""
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else "".join(texts)


def _distinct(trained: Sequence[Mapping[str, Any]], what: Callable[[Mapping[str, Any]], object]) -> str:
    """Return the distinct values of a fact over networks, in words."""
    return ", ".join(dict.fromkeys(str(what(t["provenance"])) for t in trained)) or "-"


# -- results -------------------------------------------------------------------------------------------------------


def results_table(study: Study) -> pd.DataFrame:
    """Return the mean Dice by scenario, model and label in the first replicate, best mean first within a scenario."""
    table = summaries.mean_dice(finished_runs.metrics(study).query("replicate == 1")).reset_index()
    scenarios = list(study.params.scenarios)
    table = table.assign(place=table["scenario"].map(scenarios.index))
    table = table.sort_values(["place", "mean"], ascending=[True, False], kind="stable", ignore_index=True)
    order = [label for label in study.labels if label in table.columns]
    return table[["scenario", "model", *order, "mean"]]


def findings_by_scenario(study: Study) -> dict[str, str]:
    """Say in a sentence what a scenario shows: each endpoint of selective CE, the naive model and separate networks."""
    metrics = finished_runs.metrics(study)
    named = {SELECTIVE: "selective cross-entropy", NAIVE: "the naive model", SEPARATE: "separate networks"}
    sentences = {}
    for name, scenario in study.scenarios.items():
        part = metrics[metrics["scenario"] == name]
        means = {e: replicate_means(part, labels).mean() for e, labels in endpoints(scenario).items()}
        texts = []
        for model, title in named.items():
            reached = [f"{endpoint} {mean[model]:.3f}" for endpoint, mean in means.items() if model in mean]
            texts += [f"{title} {', '.join(reached)}"] if reached else []
        if SELECTIVE in set(part["model"]):
            sentences[name] = f"mean Dice of {'; '.join(texts)}."
    return sentences


def scenario_in_short(study: Study, scenario: str) -> str:
    """Return what a scenario shows, for the top of its notebook: the sentence above, or the best and worst model."""
    if text := findings_by_scenario(study).get(scenario):
        return text[:1].upper() + text[1:]
    table = results_table(study).query("scenario == @scenario").dropna(subset="mean")
    if table.empty:
        return "No case has a label that a model could be scored for."
    best, worst = (f"{plain(row['model'])}, {row['mean']:.3f}" for row in (table.iloc[0], table.iloc[-1]))
    return f"Highest mean Dice: {best}; lowest: {worst}."


def findings(study: Study) -> list[str]:
    """Return the sentences of `findings_by_scenario`, each with the title of its scenario."""
    return [f"{study.scenario(scenario).title}: {text}" for scenario, text in findings_by_scenario(study).items()]
