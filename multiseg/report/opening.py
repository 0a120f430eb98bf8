"""How the index begins: three sentences for a reader who knows nothing of losses, computed from the results."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pandas as pd

from ..results.replicates import LEAST_REPLICATES
from ..results.verdicts import EVERY, endpoint_table, endpoints, model_in_role, several_tasks, summary
from ..settings.models import SELECTIVE
from ..study import finished_runs
from ..study.scenarios import Scenario
from ..study.study import Study
from ..thesis import ledger
from ..thesis.findings import PRIMARY
from .figures.language import CATALOGUE
from .figures.names import endpoint_title, label_title
from .summary import listed

_WHO, _CLAIMS, _WORDS = (CATALOGUE["opening"][part] for part in ("roles", "claims", "verdicts"))


def opening(study: Study, findings: pd.DataFrame) -> list[str]:
    """Return what was done, what came out, and what a ledger settles, a sentence each, as far as a study can tell."""
    if ledger.is_companion(study):
        every = findings.loc[findings["scenario"] == EVERY, "verdict"].tolist()
        held = [summary(every).replace("`", "")] if every else []
        sentences = [_how_much(study, list(study.scenarios.values())) + ".", *held]
    else:
        sentences = [_what_was_done(study), _what_came_out(study), _what_is_settled(study, findings)]
    return [sentence for sentence in sentences if sentence]


def _what_was_done(study: Study) -> str:
    several = several_tasks(study) or list(study.scenarios.values())
    drawn = {label for s in several for labels in endpoints(s).values() for label in labels}
    labels = [label_title(label) for label in study.labels if label in drawn]
    cohorts = {c.name for s in several for c in s.train}
    names = {s.name for s in several}
    tested = {(c.cohort, c.name) for s in study.all_scenarios if s.name in names for c in s.test_cases}
    part = "each drawn only in part: no training image shows all of" if len(cohorts) > 1 else "which show"
    return f"{_how_much(study, several)}, {part} {listed(labels)}; they were tested on {len(tested)} other cases."


def _how_much(study: Study, scenarios: Sequence[Scenario]) -> str:
    """Return how many networks learned from how many sets of which images, the first half of a sentence."""
    cohorts = {c.name for s in scenarios for c in s.train}
    sources = {study.params.cohorts[c].source for s in scenarios for c in s.cohorts if c in study.params.cohorts}
    kind = "simulated " if sources == {"phantom"} else "real " if "phantom" not in sources else ""
    n = sum(1 for _ in finished_runs.network_facts(study.networks()))
    return f"{n} small networks learned from {len(cohorts)} sets of {kind}images"


def _what_came_out(study: Study) -> str:
    means: dict[str, dict[str, list[float]]] = {}
    table = endpoint_table(study, finished_runs.metrics(study))["mean"]
    for scenario in several_tasks(study):
        for role, endpoint in itertools.product(_WHO, endpoints(scenario)):
            place = scenario.name, endpoint, model_in_role(study, scenario, role)
            if place in table.index:
                means.setdefault(role, {}).setdefault(endpoint, []).append(float(table.loc[place]))
    if SELECTIVE not in means:
        return ""
    parts = []
    for role in (r for r in _WHO if r in means):
        reached = listed([f"{_range(values)} for {endpoint_title(e)}" for e, values in means[role].items()])
        what = "an overlap with the true labels (Dice, 1 is perfect) of " if role == SELECTIVE else ""
        parts.append(f"{_WHO[role]} reached {what}{reached}")
    most = max(map(len, means[SELECTIVE].values()))
    over = f"; from the worst to the best of {most} scenarios" if most > 1 else ""
    return f"{'; '.join(parts)}{over}."


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _what_is_settled(study: Study, findings: pd.DataFrame) -> str:
    n = study.params.replicates
    verdicts = _verdicts(findings)
    if not verdicts:
        return ""
    if n < LEAST_REPLICATES:
        runs = "A single run" if n == 1 else f"{n} runs"
        return (
            f"{runs} cannot tell luck from difference, so nothing is settled yet: it takes {LEAST_REPLICATES} "
            "repetitions with other subjects at least (replicates in the params file)."
        )
    return f"After {n} repetitions with other subjects, {'; '.join(verdicts)}."


def _verdicts(table: pd.DataFrame) -> list[str]:
    """Return the primary questions and what is said of all scenarios together."""
    found = []
    for contrast in PRIMARY:
        rows = table[(table["finding"] == contrast.number) & (table["scenario"] == EVERY)]
        by_word: dict[str, list[str]] = {}
        for row in rows.itertuples():
            by_word.setdefault(_WORDS[str(row.verdict)], []).append(endpoint_title(str(row.endpoint)))
        said = [word if len(by_word) == 1 else f"{word} for {listed(endpoints)}" for word, endpoints in by_word.items()]
        if said:
            found.append(f"{_CLAIMS[contrast.number]} {listed(said)}")
    return found
