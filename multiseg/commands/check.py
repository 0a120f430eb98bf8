"""``multiseg check``: all that is wrong with a study's input."""

from __future__ import annotations

import argparse

from multiseg_core.errors import UserError

from ..report.notebooks import planned_notebooks
from ..study.check import check_study, put_stamp
from . import studies


def run(options: argparse.Namespace) -> None:
    """Print a table of the cohorts, what the study does with them, warnings and errors."""
    study = studies.load(options)
    findings = check_study(study)
    try:
        planned_notebooks(study, studies.NOTEBOOKS)
    except UserError as error:
        findings.error(str(error))
    print(findings.cohorts.to_string(index=False))
    if len(findings.costs):
        print("what the voxels of the study (preprocessing.spacing_mm) cost the labels:")
        print(findings.costs.to_string(index=False, float_format="{:.1f}".format))
    for line in study.chosen:
        print(f"auto: {line}")
    for name, s in study.scenarios.items():
        kind = "validation cases" if s.tests_on_validation else "cases"
        print(
            f"scenario {name}: trains on {', '.join(s.parts)}; tests {len(s.test_cases)} {kind} of "
            f"{s.test_name}; {len(s.models)} models x {len(study.params.seeds)} seeds"
            + (f" x {len(study.replicates)} replicates" if len(study.replicates) > 1 else "")
        )
    studies.warn(findings.warnings)
    if findings.errors:
        raise UserError("\n".join(findings.errors))
    put_stamp(study, findings)
    print("no errors")
