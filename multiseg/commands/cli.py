"""The command ``multiseg``."""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from multiseg_core.errors import UserError, one_line, suggest

from ..base.errors import is_full_disk
from . import compare, export, init, predict, studies, train

if TYPE_CHECKING:
    from ..report.notebooks import Plan
    from ..study.study import Study

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
FIRST_REPORT = "first_replicate"
"""Name of the page that is the report until there is the whole one."""

# The heavy modules (torch, nilearn, nbconvert) are imported by the commands that need them, so that --help is quick.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status: 0 on success only, 1 for bad input, 130 when interrupted."""
    options = build_parser().parse_args(arguments)
    try:
        options.command(options)
    except KeyboardInterrupt:
        again = shlex.join(["multiseg", *sys.argv[1:]])
        if options.command is study_command and not options.notebooks:
            again = f"make study PARAMS={shlex.quote(str(options.params))}"
        print(f"multiseg: interrupted; finished work is kept. To go on: {again}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if options.debug:
            raise
        lines = str(error).splitlines() if isinstance(error, UserError) else []
        if is_full_disk(error):
            lines.append("No space left on the disk; free some and run the command again: finished work is kept")
        for line in lines or [f"{type(error).__name__}: {one_line(error)} (--debug shows where)"]:
            print(f"multiseg: error: {line}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, which ``commands.yaml`` describes."""
    functions = {
        "init": init.init_command, "study": study_command, "check": check_command, "prepare": prepare_command,
        "train": train.train_command, "predict": predict.predict_command, "export": export.export_command,
        "compare": compare.compare_command,
    }  # fmt: skip
    parser = argparse.ArgumentParser(
        prog="multiseg",
        description="Train one segmentation network from several datasets, each labelled for another task.",
    )
    parser.add_argument("--version", action="version", version=f"multiseg {importlib.metadata.version('multiseg')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, about in yaml.safe_load(Path(__file__).with_name("commands.yaml").read_text(encoding="utf-8")).items():
        text = f"{about['help']} {about.get('more', '')}".strip()
        sub = commands.add_parser(name, help=about["help"], description=text)
        if "\n" in text:  # it has lines of its own
            sub.formatter_class = argparse.RawDescriptionHelpFormatter
        sub.set_defaults(command=functions[name])
        _add_arguments(sub, {"--debug": "show the traceback of an error", **about["arguments"]})
    return parser


def _add_arguments(parser: argparse._ActionsContainer, arguments: Mapping[str, Any]) -> None:
    for names, about in arguments.items():
        if names in ("one of", "at most one of"):
            _add_arguments(parser.add_mutually_exclusive_group(required=names == "one of"), about)
        elif isinstance(about, str):
            parser.add_argument(names, action="store_true", help=about)
        else:
            kind = {"type": TYPES[about["type"]]} if "type" in about else {}
            parser.add_argument(*names.split(), **{**about, **kind})


def positive(text: str, kind: type[float] = float, what: str = "a number") -> float:
    """Read a number above 0 from the command line; `what` says in errors of which kind."""
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not {what} above 0")
    return value


TYPES = {
    "path": Path,
    "number": positive,
    "whole": partial(positive, kind=int, what="a whole number"),
    "gib": partial(positive, what="a number of GiB"),
}
"""Types of arguments by their names in ``commands.yaml``."""


# -- commands ------------------------------------------------------------------------------------------------------


def check_command(options: argparse.Namespace) -> None:
    """Print a table of the cohorts, what the study does with them, warnings and errors."""
    from ..report.notebooks import planned_notebooks
    from ..study.check import check_study, put_stamp

    study = studies.load(options)
    findings = check_study(study)
    try:
        planned_notebooks(study, NOTEBOOKS)
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


def prepare_command(options: argparse.Namespace) -> None:
    """Build the store, or one cohort's part of it."""
    from ..study.runs import prepare

    study = studies.checked(options) if options.cohort is None else studies.stamped(options)
    if options.cohort is not None and options.cohort not in study.cohorts:
        known = suggest(options.cohort, study.cohorts)
        raise UserError(f"{study.params_file}: no cohort '{options.cohort}'{known}")
    cases = study.needed_cases() if options.cohort is None else study.prepared_cases(options.cohort)
    folders = [study.store.path(case, study.cohorts[case.cohort]) for case in cases]
    missing = [folder for folder in folders if not folder.exists()]
    started = time.monotonic()
    prepare(study, cases)
    minutes = (time.monotonic() - started) / 60
    print(f"{len(missing)} cases prepared, {len(folders) - len(missing)} were there: {study.store.folder}")
    if missing:
        megabytes = sum(file.stat().st_size for folder in missing for file in folder.iterdir()) / 1e6
        print(f"{megabytes:.1f} MB written in {minutes:.1f} min, {len(missing) / minutes:.1f} cases/min")


def study_command(options: argparse.Namespace) -> None:
    """Do everything, from the params file to the report."""
    from ..base.cores import default_workers
    from ..report import notebooks, pages, progress, summary
    from ..study import finished_runs, runs
    from ..study.failures import failed_networks

    started = time.monotonic()
    study = studies.load(options)
    plan = notebooks.planned_notebooks(study, options.notebooks or NOTEBOOKS)
    _say(f"study {study.name}: {len(study.params.scenarios)} scenarios, {len(plan)} notebooks")
    study = studies.stamped(options) if options.report else studies.checked(options)
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
    from ..report import pages
    from ..study import finished_runs, runs
    from ..study.study import FIRST_REPLICATE

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


def entry() -> None:
    """Entry point of the installed command."""
    _never_swallow_interrupts()
    sys.exit(main())


def _never_swallow_interrupts() -> None:
    """Let Ctrl-C end the program even where Python drops the exception, as in a callback of a weak reference."""
    if not hasattr(signal, "SIGALRM"):
        return

    def again(dropped: Any) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        else:
            sys.__unraisablehook__(dropped)

    signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook = again


if __name__ == "__main__":
    entry()
