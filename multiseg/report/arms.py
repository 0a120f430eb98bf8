"""The ways to train one network from several data sets, side by side: what each gains, loses and costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from multiseg_core.networks import build_network, count_parameters

from ..results.replicates import Interval, replicate_means
from ..results.verdicts import SAME_INPUTS, endpoints, margin, model_in_role
from ..settings.models import ORACLE, SELECTIVE
from ..study import finished_runs
from ..study.study import Study
from .figures.names import endpoint_title, model_title, short_scenario

AGAINST: Mapping[str, str] = {
    "minus oracle": ORACLE, "minus separate": SAME_INPUTS, "minus selective CE": SELECTIVE,
}  # fmt: skip
"""Column of differences -> the role of what each model is compared with. Separate networks see what the
others see."""

KEYS = ["scenario", "endpoint", "model"]

CLOSE = 0.005
"""Differences of Dice below this are called none."""


def arm_table(study: Study, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return each model's Dice on each endpoint of each scenario with several tasks, and its distance from others.

    Parameters
    ----------
    study
        The study.
    metrics
        Tidy rows of its test cases.

    Returns
    -------
    pd.DataFrame
        Index scenario, endpoint and model. ``replicates``; ``dice`` with ``low`` and ``high``; and for each of
        `AGAINST` the mean paired difference, such as ``minus oracle``, with ``minus oracle low`` and ``... high``.
        Intervals are 95 % t intervals over replicates, NaN for fewer than three; differences NaN where the other model
        does not run.
    """
    rows = []
    for scenario in (s for s in study.scenarios.values() if len(s.tasks) > 1):
        part = metrics[metrics["scenario"] == scenario.name]
        others = {name: model_in_role(study, scenario, role) for name, role in AGAINST.items()}
        for endpoint, labels in endpoints(scenario).items():
            means = replicate_means(part, labels)
            for model in (m for m in scenario.models if m in means):
                own = Interval.of(means[model].to_numpy())
                row = {
                    "scenario": scenario.name, "endpoint": endpoint, "model": model,
                    "replicates": int(means[model].notna().sum()), "dice": own.mean, "low": own.low, "high": own.high,
                }  # fmt: skip
                for name, other in others.items():
                    known = other in means and other != model
                    values = (means[model] - means[other]).to_numpy() if known else np.array([])
                    e = Interval.of(values)
                    row |= {name: e.mean, f"{name} low": e.low, f"{name} high": e.high}
                rows.append(row)
    # an interval of replicates that agree is a point, whatever the last digits say
    return pd.DataFrame(rows, columns=None if rows else [*KEYS, "replicates", "dice"]).round(6).set_index(KEYS)


def beside_separate(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Return `arm_table` for `report.figures.endpoint_chart`, with ``reference`` and ``margin``.

    The reference is the Dice of separate networks with the same inputs, NaN without such.
    """
    shown = table.reset_index()[[*KEYS, *(c for c in ("dice", "low", "high") if c in table)]]
    references = []
    for row in shown.itertuples():
        other = model_in_role(study, study.scenario(str(row.scenario)), SAME_INPUTS)
        place = (row.scenario, row.endpoint, other)
        references.append(float(table.loc[place, "dice"]) if place in table.index else np.nan)
    return shown.assign(reference=references, margin=[margin(str(e)) for e in shown["endpoint"]])


def with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Return `arm_table` for readers: each number with its interval in one cell, no columns of nothing."""
    shown = {}
    for name in ("dice", *AGAINST):
        low, high = ("low", "high") if name == "dice" else (f"{name} low", f"{name} high")
        if name in table and table[name].notna().any():
            signed = ".3f" if name == "dice" else "+.3f"
            shown[name] = [
                "–" if np.isnan(v) else f"{v:{signed}}" + (f" ({a:{signed}} to {b:{signed}})" if np.isfinite(a) else "")
                for v, a, b in table[[name, low, high]].itertuples(index=False)
            ]
    return pd.DataFrame(shown, index=table.index)


def candidates(study: Study, table: pd.DataFrame) -> list[str]:
    """Return the models to choose from: one network, no complete labels, on every endpoint of every scenario."""
    places = table.reset_index()[["scenario", "endpoint"]].drop_duplicates()
    counts = table.reset_index().groupby("model", sort=False).size()
    return [
        str(model)
        for model, n in counts.items()
        if n == len(places)
        and study.models[str(model)].networks == "one"
        and study.models[str(model)].targets != "complete"
    ]


def ranking(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Return the candidates, best first: ``mean`` Dice over all endpoints, and ``behind``.

    ``behind`` is what a model loses against the best candidate on the endpoint where it loses most: a low mean may hide
    that a model fails at one task, this cannot.
    """
    dice = table["dice"].unstack("model")
    chosen = candidates(study, table)
    if not chosen:
        return pd.DataFrame(columns=["mean", "behind"])
    dice = dice[chosen]
    found = pd.DataFrame({"mean": dice.mean(), "behind": dice.rsub(dice.max(axis=1), axis=0).max()})
    return found.sort_values("mean", ascending=False, kind="stable").rename_axis("model")


def answers(study: Study, table: pd.DataFrame) -> pd.Series:
    """Answer what people ask first, in a sentence each, from the numbers of the study.

    Returns
    -------
    pd.Series
        Question -> answer.
    """
    order = ranking(study, table)
    if order.empty:
        nothing = "No model with one network runs in every scenario with several tasks of this study."
        return pd.Series({"Which loss should I use?": nothing}, name="answer")
    best = str(order.index[0])
    close = [str(m) for m in order.index[1:] if order["mean"].iloc[0] - order.loc[m, "mean"] < CLOSE]
    safest = str(order["behind"].idxmin())
    n = len(table.reset_index()[["scenario", "endpoint"]].drop_duplicates())
    first = (
        f"{model_title(best)}: the highest mean Dice, {order['mean'].iloc[0]:.3f} over {n} endpoints"
        + (f"; {_listed(close)} within {CLOSE}" if close else "")
        + (
            ". It is the best at every task of those with one network that run in every scenario."
            if order.loc[best, "behind"] == 0
            else f". {model_title(safest)} is never more than {order.loc[safest, 'behind']:.3f} behind the best at "
            "any task."
        )
    )
    rows = table.xs(best, level="model")
    return pd.Series(
        {
            "Which loss should I use?": first,
            "What do I lose against complete labels?": _against(best, rows, "minus oracle", "the oracle"),
            "What does one more data set bring?": _against(
                best, rows, "minus separate", "networks that each learn from the data of one task alone"
            ),
        },
        name="answer",
    )


def _against(model: str, rows: pd.DataFrame, other: str, words: str) -> str:
    known = rows[rows[other].notna()] if other in rows else rows[:0]
    if known.empty:
        return f"This study does not say: none of its scenarios has {words}."
    by_scenario: dict[str, list[str]] = {}
    for (scenario, endpoint), row in known.iterrows():
        low, high = row[f"{other} low"], row[f"{other} high"]
        interval = f" ({low:+.3f} to {high:+.3f})" if np.isfinite(low) else ""
        by_scenario.setdefault(str(scenario), []).append(f"{endpoint_title(str(endpoint))} {row[other]:+.3f}{interval}")
    parts = [f"{short_scenario(scenario)}: {', '.join(found)}" for scenario, found in by_scenario.items()]
    lacking = known[f"{other} low"].isna()
    none = "No intervals: they take" if lacking.all() else "Not all have intervals, which take"
    end = f" {none} three replicates."
    return f"{model_title(model)}, against {words}. {'; '.join(parts)}.{end if lacking.any() else ''}"


def _listed(models: list[str]) -> str:
    names = [model_title(m) for m in models]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def cost_table(study: Study) -> pd.DataFrame:
    """Return what a run of each model costs: networks, their parameters, minutes of training, passes per prediction.

    Of the first replicate and seed, means over scenarios; minutes of networks that are trained, NaN without any.
    """
    rows = []
    for run in study.runs:
        if (run.replicate, run.seed) != (1, study.params.seeds[0]) or len(study.scenario(run.scenario).tasks) < 2:
            continue
        facts = finished_runs.network_facts([*run.networks, *(t for n in run.networks for t in n.before)])
        counts = [
            count_parameters(build_network(n.network, len(n.modalities), 1 + len(n.labels))) for n in run.networks
        ]
        rows.append(
            {
                "model": run.model, "networks": len(run.networks), "thousand parameters": sum(counts) / 1000,
                "minutes of training": sum(f["seconds"] for f in facts) / 60 if facts else np.nan,
                "passes per prediction": max(len(run.networks), len(run.questions)),
            }
        )  # fmt: skip
    return pd.DataFrame(rows).groupby("model", sort=False).mean() if rows else pd.DataFrame()
