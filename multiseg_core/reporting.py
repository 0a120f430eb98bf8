"""What happens inside a notebook and how notebooks are executed; `rendering` makes pages of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from . import runs, statistics
from .errors import UserError, suggest
from .figures import use_style
from .files import code_fingerprint, file_fingerprint, fingerprint, write_json
from .provenance import provenance
from .study import Study
from .table_files import number

TEMPLATES = Path(__file__).parent / "templates"

_MODULES = (
    "browser",
    "domains",
    "exploration",
    "figures",
    "slices",
    "charts",
    "cohort_figures",
    "captions",
    "wording",
    "ledger",
    "evidence",
    "thesis",
    "tables",
    "table_files",
    "reporting",
    "rendering",
    "statistics",
    "shift",
    "case_statistics",
    "resampling",
    "effects",
    "runs",
    "study",
    "labels",
    "provenance",
)


# -- inside a notebook ---------------------------------------------------------------------------------------------


def start_notebook(variables: Mapping[str, Any], *parameters: str) -> Study:
    """Begin a notebook: check its parameters, set the style of figures, load the study.

    papermill only warns of a parameter that a notebook does not have, and the default is used. Here it is an error.

    Parameters
    ----------
    variables
        ``globals()`` of the notebook, right after its parameters cell.
    parameters
        Names of the notebook's parameters; ``params_file`` is one of them.

    Raises
    ------
    UserError
        For a variable that is not a parameter, or an unreadable study.
    """
    for name, value in variables.items():
        if name.startswith("_") or name in ("In", "Out", *parameters):
            continue
        if isinstance(value, str | int | float | bool | list | dict | None):
            raise UserError(f"unknown notebook parameter '{name}'{suggest(name, parameters)}")
    study = Study(variables["params_file"])
    use_style(study.params.figure_language)
    pd.set_option("display.max_colwidth", None, "display.max_columns", None, "display.max_rows", None)
    pd.set_option("display.float_format", number)
    return study


def provenance_table(study: Study) -> pd.DataFrame:
    """Return where the numbers of a report come from, one fact a row: this report's making, and the networks'."""
    facts = provenance()
    packages = facts.pop("packages")
    assert isinstance(packages, Mapping)
    files = [study.network_folder(network) / "network.json" for network in study.networks(study.runs)]
    trained = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]
    rows = {
        "params file": study.params_file.name,
        "seeds": ", ".join(map(str, study.params.seeds)),
        **{str(key): str(value) for key, value in facts.items() if key not in ("threads", "device")},
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "networks": f"{len(trained)}, trained in {sum(t['seconds'] for t in trained) / 60:.1f} min in all",
        "trained on": _distinct(trained, lambda p: p["cpu"] if p["device"] == "cpu" else p["device"]),
        "threads per training": _distinct(trained, lambda p: p["threads"]),
        "trained at commit": _distinct(trained, lambda p: p["commit"]),
    }
    return pd.DataFrame({"": rows.values()}, index=list(rows))


def _distinct(trained: Sequence[Mapping[str, Any]], what: Callable[[Mapping[str, Any]], object]) -> str:
    """Return the distinct values of a fact over networks, in words."""
    return ", ".join(dict.fromkeys(str(what(t["provenance"])) for t in trained)) or "-"


# -- executing -----------------------------------------------------------------------------------------------------


def planned_notebooks(study: Study, folder: Path) -> list[tuple[Path, str, dict[str, str]]]:
    """Return the notebooks that a study asks for: (source, name of the output, parameters).

    Raises
    ------
    UserError
        If a scenario names a notebook that does not exist, or one without a parameter that is set.
    """
    # relative, so that a report does not tell where it was made
    file = os.path.relpath(study.params_file.absolute(), folder.resolve())
    plan = [("00_data_exploration", "00_data_exploration", {"params_file": file})]
    for scenario, s in study.params.scenarios.items():
        shared = sum(other.notebook == s.notebook for other in study.params.scenarios.values()) > 1
        output = f"{s.notebook}-{scenario}" if shared else s.notebook
        plan.append((s.notebook, output, {"params_file": file, "scenario": scenario}))
    plan.append(("04_statistical_comparison", "04_statistical_comparison", {"params_file": file}))
    known = sorted(path.stem for path in folder.glob("*.ipynb"))
    result = []
    for source, output, parameters in plan:
        if source not in known:
            raise UserError(f"{study.params_file}: no notebook '{source}' in {folder}{suggest(source, known)}")
        require_parameters(folder / f"{source}.ipynb", parameters)
        result.append((folder / f"{source}.ipynb", output, parameters))
    return result


def require_parameters(source: Path, parameters: Mapping[str, str]) -> None:
    """Check that a notebook has all of some parameters. Raises `UserError` naming the notebook and the parameter."""
    import papermill  # slow to import

    known = papermill.inspect_notebook(str(source))
    for name in parameters:
        if name not in known:
            raise UserError(f"{source.name}: no parameter '{name}'{suggest(name, known)}")


def execute_notebook(source: Path, output: Path, parameters: Mapping[str, str]) -> None:
    """Execute a notebook by papermill, in its own folder.

    Parameters
    ----------
    source, output
        The notebook, and where the executed copy goes; on failure it holds the error.
    parameters
        Values for its parameters cell.

    Raises
    ------
    UserError
        One line: which cell failed and why, that the kernel died, or that a parameter is unknown.
    """
    import papermill  # slow to import
    from nbclient.exceptions import DeadKernelError

    require_parameters(source, parameters)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            str(source),
            str(output),
            parameters=dict(parameters),
            kernel_name="python3",
            cwd=str(source.parent),
            progress_bar=False,
            log_output=False,
            extra_arguments=["--log-level=CRITICAL"],  # no notes of the kernel on its transport
        )
    except papermill.PapermillExecutionError as error:
        cell = error.cell_index
        reason = " ".join(f"{error.ename}: {error.evalue}".split())
        raise UserError(f"{source.name}: cell {cell} failed: {reason} (see {output})") from None
    except DeadKernelError:
        raise UserError(f"{source.name}: its kernel died; run the command again: finished work is kept") from None


def notebook_key(study: Study, source: Path, parameters: Mapping[str, str]) -> str:
    """Return a fingerprint of everything that an executed notebook shows."""
    cases = [study.store.key(case, study.cohorts[case.cohort]) for case in study.needed_cases()]
    return fingerprint(
        {
            "source": file_fingerprint(source),
            "parameters": dict(parameters),
            "params": file_fingerprint(study.params_file),
            "runs": [run.key for run in study.runs],
            "cases": cases,
            "code": code_fingerprint(*_MODULES),
            "templates": [file_fingerprint(path) for path in sorted(TEMPLATES.rglob("*.j*"))],
        }
    )


def is_rendered(study: Study, output: str, key: str) -> bool:
    """Whether a notebook has been executed and rendered with this key."""
    record = study.folder / "notebooks" / f"{output}.json"
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return known == {"key": key} and (study.folder / f"{output}.html").exists()


def mark_rendered(study: Study, output: str, key: str) -> None:
    """Remember that a notebook has been executed and rendered with this key."""
    write_json(study.folder / "notebooks" / f"{output}.json", {"key": key})


# -- results -------------------------------------------------------------------------------------------------------


def results_table(study: Study) -> pd.DataFrame:
    """Return the mean Dice by scenario, model and label, best mean first within a scenario."""
    table = statistics.mean_dice(runs.collect_metrics(study)).reset_index()
    table = table.sort_values(["scenario", "mean"], ascending=[True, False], kind="stable")
    order = [label for label in study.labels if label in table.columns]
    return table[["scenario", "model", *order, "mean"]]


def findings_by_scenario(study: Study) -> dict[str, str]:
    """Say in a sentence what the numbers of a scenario show: selective cross-entropy beside naive and MultiUNet."""
    table = results_table(study).set_index(["scenario", "model"])["mean"]
    sentences = {}
    for scenario in study.params.scenarios:
        mean = {m: v for (s, m), v in table.items() if s == scenario}
        if "selective_cross_entropy" not in mean:
            continue
        ours = mean["selective_cross_entropy"]
        text = f"selective cross-entropy reaches a mean Dice of {ours:.3f}"
        if "cross_entropy" in mean:
            text += f", naive cross-entropy {mean['cross_entropy']:.3f} ({ours - mean['cross_entropy']:+.3f})"
        if "multi_unet" in mean:
            text += f"; MultiUNet, with a network per task, {mean['multi_unet']:.3f} ({ours - mean['multi_unet']:+.3f})"
        sentences[scenario] = f"{text}."
    return sentences


def findings(study: Study) -> list[str]:
    """Return the sentences of `findings_by_scenario`, each with the title of its scenario."""
    return [
        f"{study.params.scenarios[scenario].title or scenario}: {text}"
        for scenario, text in findings_by_scenario(study).items()
    ]
