"""A rehearsal of the report, before anything is trained: the cells of all notebooks run on random results.

What would end a study in its report, after all its training, ends it here: a figure that cannot hold so many labels, a
name that is too long for a file, a table of nothing.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiseg_core.errors import UserError, one_line
from multiseg_core.files import write_json
from multiseg_core.metrics import METRICS
from multiseg_core.training import HISTORY_COLUMNS

from ..base.files import write_table
from ..base.provenance import provenance
from ..base.workers import Job, Report, run_jobs
from ..data.cohorts import Case
from ..settings.models import SINGLE_TASK
from ..study import finished_runs, runs
from ..study.finished_runs import METRICS_COLUMNS
from ..study.plan import Run
from ..study.study import Study
from . import notebook_setup, notebooks, pages, summary


def rehearse(study: Study, plan: notebooks.Plan, n_workers: int) -> None:
    """Rehearse a study's report, unless it was done, or nothing is left to train.

    Raises
    ------
    UserError
        One line for each notebook that would fail, with the cell and why.
    """
    if all(finished_runs.is_finished(run) for run in study.runs):
        return
    record = study.folder / "notebooks" / "rehearsed.json"
    key = {output: notebooks.notebook_key(study, notebook, parameters) for notebook, output, parameters in plan}
    with contextlib.suppress(OSError, ValueError):
        if json.loads(record.read_text(encoding="utf-8")) == key:
            return
    runs.prepare(study, study.prepared_cases(), n_workers)
    jobs = [Job(output, _perform, (study.params_file, notebook, parameters)) for notebook, output, parameters in plan]
    jobs.append(Job("the index", _index, (study.params_file,)))
    faults = [fault for fault in run_jobs(jobs, "rehearsing the report", n_workers) if fault]
    if faults:
        raise UserError("\n".join(f"the report of this study would fail: {fault}" for fault in faults))
    _try_kernel()
    write_json(record, key)


class _Rehearsed(Study):
    """A study whose products lie in a folder of their own, but for its prepared cases."""

    def __init__(self, params_file: Path, folder: Path) -> None:
        super().__init__(params_file)
        self.folder = folder


def _perform(params_file: Path, notebook: Path, parameters: Mapping[str, str], report: Report) -> str:
    """Run the cells of a notebook in this process; return what fails, or ''."""
    report(0, "…")
    with _stage(params_file) as study:
        variables: dict[str, Any] = {"__name__": "__main__", **parameters}
        for number, source in enumerate(_code(notebook)):
            if number == 0:  # the defaults of the parameters
                continue
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    _run_cell(source, variables)
            except Exception as error:
                return f"{notebook.name}: code cell {number}: {type(error).__name__}: {one_line(error)[:300]}"
        del study
    return ""


def _index(params_file: Path, report: Report) -> str:
    """Write the index of the report and what the command prints at its end; return what fails, or ''."""
    report(0, "…")
    with _stage(params_file) as study:
        try:
            pages.write_index(study, [])
            summary.results_table(study)
            summary.findings(study)
        except Exception as error:
            return f"the index: {type(error).__name__}: {one_line(error)[:300]}"
    return ""


def _code(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def _run_cell(source: str, variables: dict[str, Any]) -> None:
    """Run a cell as a kernel does: what it ends with is shown."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), variables)
    if isinstance(last, ast.Expr):
        shown = eval(compile(ast.Expression(last.value), "cell", "eval"), variables)
        getattr(shown, "_repr_html_", lambda: repr(shown))()


@contextlib.contextmanager
def _stage(params_file: Path) -> Any:
    """Give a study random results in a temporary folder; notebooks that start find this study."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from .figures.saving import DRAFT_DPI
    from .figures.style import use_style

    def start(variables: Any, *parameters: str) -> Study:
        notebook_setup.use_study_style(study)
        plt.rcParams["savefig.dpi"] = DRAFT_DPI
        return study

    def prediction(run: Run, case: Case) -> np.ndarray:
        shape = study.open(case).shape
        return _numbers(case.name).integers(0, 1 + len(run.labels), shape, dtype=np.uint8)

    with tempfile.TemporaryDirectory(prefix="multiseg-") as folder:
        study = _Rehearsed(params_file, Path(folder) / "report")
        for run in study.runs:
            _invent(run)
        kept = notebook_setup.start_notebook, finished_runs.prediction
        notebook_setup.start_notebook, finished_runs.prediction = start, prediction
        try:
            yield study
        finally:
            notebook_setup.start_notebook, finished_runs.prediction = kept
            use_style()


def _numbers(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def _invent(run: Run) -> None:
    """Write random results of a run and its networks."""
    for network in run.networks:
        if not (network.folder / "network.json").exists():
            facts = {"seconds": 1.0, "bf16": False, "provenance": provenance(), "best_step": 1, "steps": 1}
            history = pd.DataFrame([[step, 0.5, 0.6, 0.01, 1.0] for step in (1, 2)], columns=list(HISTORY_COLUMNS))
            write_table(network.folder / "history.csv", history)
            write_json(network.folder / "network.json", {**network.facts(), **facts})
    tables = {"metrics": (run.model, run.test_cases), "validation": (run.model, run.validation_cases)}
    if len(run.networks) > 1:
        tables["single_task"] = (SINGLE_TASK, run.validation_cases)
    for name, (model, cases) in tables.items():
        rows = [row for case in cases for row in _rows(run, model, case)]
        write_table(run.folder / f"{name}.csv", pd.DataFrame(rows, columns=list(METRICS_COLUMNS)))
    write_table(run.folder / "history.csv", finished_runs.network_histories(run))
    write_json(run.folder / "run.json", {})


def _rows(run: Run, model: str, case: Case) -> list[tuple[object, ...]]:
    """Return random metrics of a case: of labels that its cohort draws, or is known not to have."""
    code_map = run.cohorts[case.cohort].code_map
    rng = _numbers(f"{run.name} {case.cohort} {case.name}")
    nothing = len(run.labels) and run.labels[-1]  # is neither there nor found in every other case
    rows = []
    for label in run.labels:
        drawn = frozenset([label]) in code_map.sets
        if not drawn and any(label in members for members in code_map.sets):
            continue
        values = dict(zip(METRICS, rng.uniform(0, 1, len(METRICS)), strict=True))
        if not drawn or (label == nothing and zlib.crc32(case.name.encode()) % 2):
            values = {name: 0.0 if name.endswith("_ml") or name.startswith("n_") else np.nan for name in values}
        place = (run.scenario, model, run.replicate, run.seed, case.cohort, case.subject or case.name, case.name)
        rows.append((*place, label, "native", *values.values()))
    return rows


def _try_kernel() -> None:
    """Execute a notebook that only imports this package, by the kernel that will execute the others."""
    cell: dict[str, object] = {"cell_type": "code", "id": "a", "source": "import multiseg_core"}
    cell |= {"metadata": {}, "outputs": [], "execution_count": None}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    with tempfile.TemporaryDirectory(prefix="multiseg-") as folder:
        path = Path(folder) / "kernel.ipynb"
        path.write_text(json.dumps(notebook), encoding="utf-8")
        notebooks.execute_notebook(path, Path(folder) / "executed.ipynb", {})
