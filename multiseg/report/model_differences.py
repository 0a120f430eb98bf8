"""The ways to train one network from several data sets, side by side: what each gains, loses and costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..results.replicates import Interval, replicate_means, with_interval
from ..results.verdicts import SAME_INPUTS, endpoints, margin, model_in_role, several_tasks
from ..settings.models import ORACLE, SELECTIVE
from ..study import finished_runs
from ..study.study import Study
from ..thesis.findings import parameters
from .figures.names import endpoint_title, model_title, short_scenario
from .summary import listed
from .tables import first_seed

AGAINST: Mapping[str, str] = {"minus oracle": ORACLE, "minus separate": SAME_INPUTS, "minus selective CE": SELECTIVE}
"""Column of differences -> the role of what each model is compared with. Separate networks see what the
others see."""

KEYS = ["scenario", "endpoint", "model"]

CLOSE = 0.005
"""Differences of Dice below this are called none."""


def difference_table(study: Study, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return each model's Dice on each endpoint of each scenario with several tasks, and its distance from others.

    `metrics` are tidy rows of test cases.

    Returns
    -------
    pd.DataFrame
        Index scenario, endpoint and model. ``replicates``; ``dice`` with ``low`` and ``high``; and for each of
        `AGAINST` the mean paired difference, such as ``minus oracle``, with ``minus oracle low`` and ``... high``.
        Intervals are 95 % t intervals over replicates, NaN for fewer than three; differences NaN where the other model
        does not run.
    """
    rows: list[dict[str, object]] = []
    for scenario in several_tasks(study):
        part = metrics[metrics["scenario"] == scenario.name]
        others = {name: model_in_role(study, scenario, role) for name, role in AGAINST.items()}
        for endpoint, labels in endpoints(scenario).items():
            means = replicate_means(part, labels)
            for model in (m for m in scenario.models if m in means):
                own = Interval.of(means[model].to_numpy())
                rows.append(dict(zip(KEYS, (scenario.name, endpoint, model), strict=True)) | {"replicates": own.n})
                rows[-1] |= {"dice": own.mean, "low": own.low, "high": own.high}
                for name, other in others.items():
                    against = means[other] if other in means and other != model else np.nan
                    e = Interval.of((means[model] - against).to_numpy())
                    rows[-1] |= {name: e.mean, f"{name} low": e.low, f"{name} high": e.high}
    # an interval of replicates that agree is a point, whatever the last digits say
    return pd.DataFrame(rows, columns=None if rows else [*KEYS, "replicates", "dice"]).round(6).set_index(KEYS)


def beside_separate(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Return `difference_table` for `report.figures.endpoint_chart`, with ``reference`` and ``margin``.

    The reference is the Dice of separate networks with the same inputs, NaN without such.
    """
    shown = table.reset_index()[[*KEYS, *(c for c in ("dice", "low", "high") if c in table)]]
    others = {name: model_in_role(study, scenario, SAME_INPUTS) for name, scenario in study.scenarios.items()}
    places = [(s, e, others[s]) for s, e in zip(shown["scenario"], shown["endpoint"], strict=True)]
    references = [float(table["dice"].get(place, np.nan)) for place in places]
    return shown.assign(reference=references, margin=[margin(endpoint) for _, endpoint, _ in places])


def with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Return `difference_table` for readers: each number with its interval in one cell, no columns of nothing."""
    shown = {}
    for name in ("dice", *AGAINST):
        low, high, form = ("low", "high", ".3f") if name == "dice" else (f"{name} low", f"{name} high", "+.3f")
        if name in table and table[name].notna().any():
            values = zip(table[name], table[low], table[high], strict=True)
            shown[name] = ["–" if np.isnan(mean) else with_interval(mean, a, b, form) for mean, a, b in values]
    return pd.DataFrame(shown, index=table.index)


def ranking(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Return the models to choose from, best first: ``mean`` Dice over all endpoints, and ``behind``.

    They have one network, no complete labels, and run on every endpoint of every scenario. ``behind`` is what a model
    loses against the best of them on the endpoint where it loses most: a low mean may hide that a model fails at one
    task, this cannot.
    """
    dice = table["dice"].unstack("model")
    counts = table.groupby("model", sort=False).size()
    everywhere = {str(name): study.models[str(name)] for name in counts.index[counts == len(dice)]}
    chosen = [name for name, m in everywhere.items() if m.networks == "one" and m.targets != "complete"]
    if not chosen:
        return pd.DataFrame(columns=["mean", "behind"])
    dice = dice[chosen]
    found = pd.DataFrame({"mean": dice.mean(), "behind": dice.rsub(dice.max(axis=1), axis=0).max()})
    return found.sort_values("mean", ascending=False, kind="stable").rename_axis("model")


def answers(study: Study, table: pd.DataFrame) -> pd.Series:
    """Answer what people ask first from the numbers of the study: question -> a sentence or two."""
    order = ranking(study, table)
    if order.empty:
        nothing = "No model with one network runs in every scenario with several tasks of this study."
        return pd.Series({"Which loss should I use?": nothing}, name="answer")
    best, highest = str(order.index[0]), order["mean"].iloc[0]
    close = [model_title(str(m)) for m in order.index[1:] if highest - order.loc[m, "mean"] < CLOSE]
    safest = str(order["behind"].idxmin())
    n = len(table.groupby(["scenario", "endpoint"]))
    first = f"{model_title(best)}: the highest mean Dice, {highest:.3f} over {n} endpoints"
    first += f"; {listed(close)} within {CLOSE}. " if close else ". "
    if order.loc[best, "behind"] == 0:
        first += "It is the best at every task of those with one network that run in every scenario."
    else:
        behind = f"{order.loc[safest, 'behind']:.3f}"
        first += f"{model_title(safest)} is never more than {behind} behind the best at any task."
    rows, alone = table.xs(best, level="model"), "networks that each learn from the data of one task alone"
    return pd.Series(
        {
            "Which loss should I use?": first,
            "What do I lose against complete labels?": _against(best, rows, "minus oracle", "the oracle"),
            "What does one more data set bring?": _against(best, rows, "minus separate", alone),
        },
        name="answer",
    )


def _against(model: str, rows: pd.DataFrame, other: str, words: str) -> str:
    known = rows[rows[other].notna()]
    if known.empty:
        return f"This study does not say: none of its scenarios has {words}."
    by_scenario: dict[str, list[str]] = {}
    for (scenario, endpoint), row in known.iterrows():
        value = with_interval(row[other], row[f"{other} low"], row[f"{other} high"], "+.3f")
        by_scenario.setdefault(str(scenario), []).append(f"{endpoint_title(str(endpoint))} {value}")
    parts = [f"{short_scenario(scenario)}: {', '.join(found)}" for scenario, found in by_scenario.items()]
    lacking = known[f"{other} low"].isna()
    none = "No intervals: they take" if lacking.all() else "Not all have intervals, which take"
    end = f" {none} three replicates."
    return f"{model_title(model)}, against {words}. {'; '.join(parts)}.{end if lacking.any() else ''}"


def cost_table(study: Study) -> pd.DataFrame:
    """Return what a run of each model costs: networks, their parameters, minutes of training, passes per prediction.

    Of the first replicate and seed, means over scenarios; minutes of networks that are trained, NaN without any.
    """
    rows = []
    for run in (run for scenario in several_tasks(study) for run in first_seed(study, scenario.name)):
        facts = finished_runs.network_facts([*run.networks, *(t for n in run.networks for t in n.before)])
        minutes = sum(f["seconds"] for f in facts) / 60 if facts else np.nan
        passes = max(len(run.networks), len(run.questions))
        rows.append((run.model, len(run.networks), parameters(run) / 1000, minutes, passes))
    columns = ["model", "networks", "thousand parameters", "minutes of training", "passes per prediction"]
    return pd.DataFrame(rows, columns=columns).groupby("model", sort=False).mean() if rows else pd.DataFrame()
