"""``multiseg study``: everything, from the params file to the report."""

from __future__ import annotations

import argparse
import os
import sys
import time

from multiseg_core.errors import UserError, one_line

from ..base.cores import default_workers
from ..report import notebooks, pages, progress, summary
from ..report.notebooks import Plan
from ..study import finished_runs, runs
from ..study.failures import failed_networks
from ..study.study import FIRST_REPLICATE, Study
from . import studies

FIRST_REPORT = "first_replicate"
"""Name of the page that is the report until there is the whole one."""


def run(options: argparse.Namespace) -> None:
    """Do everything, from the params file to the report."""
    started = time.monotonic()
    study = studies.load(options)
    plan = notebooks.planned_notebooks(study, options.notebooks or studies.NOTEBOOKS)
    _say(f"study {study.name}: {len(study.params.scenarios)} scenarios, {len(plan)} notebooks")
    study = studies.checked(options, unless_stamped=options.report)
    n_workers = default_workers(study.params.workers, study.params.threads)
    missing = [run.name for run in study.runs if not finished_runs.is_finished(run)]
    if options.report and missing:
        raise UserError(f"{study.params_file}: {len(missing)} runs are not finished, such as {missing[0]}")
    if not options.report:
        study.try_again()
    with progress.followed(study, [output for _, output, _ in plan], _say):
        _first_report(options, study, plan, n_workers)
        study.leave_out_failed()
        runs.finish_runs(study)
        failed = pages.make_pages(study, plan, n_workers)
    index = pages.write_index(study, [output for _, output, _ in plan if output not in failed])
    (study.folder / f"{FIRST_REPORT}.html").unlink(missing_ok=True)
    studies.warn(summary.warnings(study))
    print()
    print(summary.results_table(study).round(3).to_string(index=False, na_rep="-"))
    print()
    for sentence in summary.findings(study):
        print(sentence)
    print(f"done in {(time.monotonic() - started) / 60:.1f} min")
    print(f"report: {studies.relative(index)}")
    failed |= {line.partition(":")[0]: line for line in failed_networks(study.planned_runs)}
    if failed:
        raise UserError("\n".join(failed.values()))


def _first_report(options: argparse.Namespace, study: Study, plan: Plan, n_workers: int) -> None:
    """Make the report of the first replicate as soon as that is finished, of a study that has several left to train."""
    missing = {run.replicate for run in study.runs if not finished_runs.is_finished(run)}
    if 1 not in missing or len(missing) < 2:
        return
    os.environ[FIRST_REPLICATE] = "1"  # for the kernels of notebooks too
    try:
        first = studies.load(options)
        runs.finish_runs(first)
        failed = pages.make_pages(first, plan, n_workers)
        index = pages.write_index(first, [output for _, output, _ in plan if output not in failed], FIRST_REPORT)
    except OSError:  # such as a full disk
        raise
    except Exception as error:  # a fault of the report must not stop the training
        studies.warn([f"no report of the first replicate: {one_line(error)}"])
        return
    finally:
        del os.environ[FIRST_REPLICATE]
    studies.warn(failed.values())
    _say(f"report of the first replicate: {studies.relative(index)}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
