"""Pages of a report: one HTML file per executed notebook, and an index that ties the results together."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbconvert
import nbformat
import pandas as pd
from markupsafe import Markup
from PIL import Image
from traitlets.config import Config

from multiseg_core.errors import one_line

from ..base.files import write_table, write_text
from ..base.workers import Job, Report, run_jobs
from ..results.verdicts import BY_CONSTRUCTION, COLUMNS, EVERY
from ..settings.params_files import params_files
from ..study import finished_runs
from ..study.study import Study
from ..thesis.findings import RATIOS
from ..thesis.ledger import is_companion, ledger
from . import model_differences, notebook_setup, notebooks, opening, show_figure, summary, tables
from .figures.endpoint_chart import endpoint_figure
from .figures.kinds import FigureKind
from .figures.language import word
from .figures.names import endpoint_title, scenario_title
from .figures.result_charts import dice_boxes, dice_zoomed
from .figures.saving import DPI, SHOWN_DPI, read_texts
from .figures.slices import prediction_panel
from .table_files import TEMPLATES, html_table, interval_bar, number, render, rounded

MAIN_FIGURES: tuple[FigureKind[..., Any], ...] = (dice_boxes, dice_zoomed, prediction_panel)
"""What the index shows of every scenario."""

LEDGER_NOTEBOOK = "04_statistical_comparison"
"""Where the index says that the rules of the ledger are explained, if the study has it."""

ANSWERS_NOTEBOOK = "05_beyond_the_thesis"
"""Where the index says that its answers come from, if the study has it."""

_SECTION = re.compile(r'<h2 id="([^"]+)">(.*?)<a class="anchor-link"', re.DOTALL)


# -- notebooks -----------------------------------------------------------------------------------------------------


def make_pages(study: Study, plan: notebooks.Plan, n_workers: int) -> dict[str, str]:
    """Execute and render the notebooks of a study whose pages are not up to date, several at a time.

    Returns
    -------
    dict
        Output of each notebook that failed -> why, in one line.
    """
    jobs = []
    for source, output, parameters in plan:
        key = notebooks.notebook_key(study, source, parameters)
        if not notebooks.is_rendered(study.folder, output, key):
            jobs.append(Job(output, _make_page, (study.folder, source, output, parameters, key)))
    results = run_jobs(jobs, "making pages", n_workers, keep_going=True)
    failed = {job.name: one_line(r) for job, r in zip(jobs, results, strict=True) if isinstance(r, Exception)}
    for output in failed:  # an old page is no answer
        (study.folder / f"{output}.html").unlink(missing_ok=True)
    return failed


def _make_page(
    folder: Path, source: Path, output: str, parameters: Mapping[str, str], key: str, report: Report
) -> None:
    report(0, "…")
    executed = folder / "notebooks" / f"{output}.ipynb"
    notebooks.execute_notebook(source, executed, parameters)
    render_notebook(executed, folder / f"{output}.html")
    notebooks.mark_rendered(folder, output, key)


def render_notebook(executed: Path, target: Path) -> None:
    """Render an executed notebook as one HTML file that needs no network.

    Code is folded, and links to the sections stand below the title. Figures have the alternative text that the notebook
    keeps in the metadata of an output.
    """
    config = Config()
    config.HTMLExporter.extra_template_basedirs = [str(TEMPLATES)]
    exporter = nbconvert.HTMLExporter(config=config, template_name="report")
    files = [(os.path.relpath(executed, target.parent), "this notebook with its results")]
    if (target.parent / "metrics.csv").exists():
        files.append(("metrics.csv", "the numbers behind it"))
    look, sort = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("look.css", "sort.js"))
    resources = {"metadata": {"name": notebook_title(executed)}, "report_files": files, "look": look, "sort": sort}
    body, _ = exporter.from_notebook_node(nbformat.read(executed, as_version=4), resources=resources)
    write_text(target, _with_contents(body))


def notebook_title(executed: Path, scenarios: Mapping[str, str] | None = None) -> str:
    """Return the first heading of a notebook; with the scenario, if several pages come from one notebook.

    `scenarios` may give the scenarios titles.
    """
    _, _, scenario = executed.stem.partition("-")
    suffix = f": {(scenarios or {}).get(scenario, scenario)}" if scenario else ""
    for cell in nbformat.read(executed, as_version=4).cells:
        for line in cell.source.splitlines():
            if cell.cell_type == "markdown" and line.startswith("# "):
                return line.removeprefix("# ").strip() + suffix
    return executed.stem


def _with_contents(body: str) -> str:
    """Put links to the sections of a page below its title."""
    links = "\n".join(f'<li><a href="#{name}">{text}</a></li>' for name, text in _SECTION.findall(body))
    contents = f'<nav class="contents" aria-label="Contents">\n<ul>\n{links}\n</ul>\n</nav>'
    title_end = body.find("</h1>") + len("</h1>")
    if not links or title_end < len("</h1>"):
        return body
    return f"{body[:title_end]}\n{contents}{body[title_end:]}"


# -- index ---------------------------------------------------------------------------------------------------------


def write_index(study: Study, notebooks: Sequence[str], name: str = "index") -> Path:
    """Write ``index.html``, or another page of that kind, and return its path.

    The answers, the ledger, the main figures and results of each scenario, links to the pages of `notebooks` (names
    without ending) and to the tables, and provenance.
    """
    notebook_setup.use_study_style(study)
    results = summary.results_table(study)
    findings = ledger(study)
    write_table(study.folder / "ledger.csv", findings[list(COLUMNS)])
    titles = {name: scenario_title(name) for name in study.params.scenarios}
    page = render(
        "index.html.j2",
        title=study.params.title or f"multiseg: {study.name}",
        params_name=study.params_file.name,
        ledger_page=LEDGER_NOTEBOOK if LEDGER_NOTEBOOK in notebooks else None,
        answers_page=ANSWERS_NOTEBOOK if ANSWERS_NOTEBOOK in notebooks else None,
        opening=opening.opening(study, findings),
        main=_figure(study, endpoint_figure.name),
        answers=_answers(study),
        ledger=ledger_rows(findings),
        source="Thesis" if LEDGER_NOTEBOOK in notebooks else "Source",
        scenarios=[_scenario(study, name, notebooks) for name in study.params.scenarios],
        results=_html(results),
        notebooks=[(name, notebook_title(study.folder / "notebooks" / f"{name}.ipynb", titles)) for name in notebooks],
        tables=_saved_tables(study.folder / "tables", titles),
        warnings=summary.warnings(study),
        provenance=_html(summary.provenance_table(study)),
        params_texts=[(file.name, file.read_text(encoding="utf-8")) for file in params_files(study.params_file)],
    )
    path = study.folder / f"{name}.html"
    write_text(path, page)
    return path


def _answers(study: Study) -> list[dict[str, str]]:
    """Return questions and answers about models that learn several tasks; none in a study that is not about that."""
    if is_companion(study):
        return []
    table = model_differences.difference_table(study, finished_runs.metrics(study))
    found = model_differences.answers(study, table) if len(table) else {}
    return [{"question": question, "answer": answer} for question, answer in found.items()]


def ledger_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return a ledger as texts: what is said of all scenarios together."""
    rows = []
    table = table[table["scenario"] == EVERY]
    apart = table["verdict"] == BY_CONSTRUCTION  # shows that the study does what it says, and nothing else
    for row in pd.concat([table[~apart], table[apart]]).to_dict("records"):
        nothing = 1.0 if row["measure"] in RATIOS else 0.0
        bar = interval_bar(row["ours"], row["low"], row["high"], row["margin"], nothing)
        rows.append(
            {
                "finding": row["finding"],
                "claim": row["claim"],
                "endpoint": endpoint_title(row["endpoint"]),
                "measure": row["measure"] + ("" if pd.isna(row["margin"]) else f"; margin {number(row['margin'])}"),
                "thesis": _cell(row["thesis"]),
                "ours": _cell(row["ours"]),
                "interval": "" if pd.isna(row["low"]) else f"{_cell(row['low'])} to {_cell(row['high'])}",
                "bar": Markup(bar),
                "verdict": row["verdict"],
                "note": f"replicates: {row['replicates']}" if row["verdict"] == "inconclusive" else "",
            }
        )
    return rows


def _cell(value: float) -> str:
    return "–" if pd.isna(value) else number(value)


def _html(table: pd.DataFrame) -> str:
    return html_table(rounded(table), fold=False)


def _scenario(study: Study, name: str, notebooks: Sequence[str]) -> dict[str, object]:
    """Return what the index says of a scenario, with its main figures."""
    notebook = study.params.scenarios[name].notebook
    sentence = summary.findings_by_scenario(study).get(name, "")
    numbers = [(show_figure.figure_number(study, name, kind), kind.name) for kind in MAIN_FIGURES]
    figures = (_figure(study, show_figure.file_name(number, name, kind)) for number, kind in numbers)
    return {
        "title": scenario_title(name),
        "sentence": sentence[:1].upper() + sentence[1:],
        "page": next((page for page in (f"{notebook}-{name}", notebook) if page in notebooks), None),
        "figures": [figure for figure in figures if figure],
    }


def _figure(study: Study, name: str) -> dict[str, str] | None:
    """Return a saved figure as a data URI, with its caption and alternative text; None if it is not there."""
    path = study.folder / "figures" / f"{name}.png"
    if not path.exists():
        return None
    with Image.open(path) as image:
        width = str(round(image.width * SHOWN_DPI / DPI))
    uri = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    caption, alt = read_texts(path)
    files = {ending: f"figures/{path.stem}.{ending}" for ending in ("csv", "svg")}
    return {"uri": uri, "caption": caption, "alt": alt, **files, "width": width}


def _saved_tables(folder: Path, titles: Mapping[str, str]) -> list[dict[str, object]]:
    """Return the tables that the notebooks saved: those of the whole study, then those of each scenario."""
    places = {"": "The whole study", **{f"{name}_": title for name, title in titles.items()}}
    groups: list[dict[str, object]] = []
    for prefix, title in places.items():
        saved = [kind for kind in tables.TITLES if (folder / f"{prefix}{kind}.html").exists()]
        groups.append({"title": title, "tables": [(f"{prefix}{kind}", word("tables", kind)) for kind in saved]})
    return [group for group in groups if group["tables"]]
