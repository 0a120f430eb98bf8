"""Which notebooks a study has, how they are executed, and when they need not be; `pages` makes pages of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from multiseg_core.errors import UserError, suggest
from multiseg_core.files import write_json

from ..base.fingerprints import code_fingerprint, file_fingerprint, fingerprint
from ..settings.params import EACH_SCENARIO
from ..settings.params_files import params_files
from ..study.study import Study

Plan = Sequence[tuple[Path, str, Mapping[str, str]]]
"""Notebooks: source, name of the output, parameters."""


def planned_notebooks(study: Study, folder: Path) -> list[tuple[Path, str, dict[str, str]]]:
    """Return the notebooks that a study asks for, a `Plan`.

    Raises
    ------
    UserError
        If a scenario names a notebook that does not exist, or one without a parameter that is set.
    """
    # relative, so that a report does not tell where it was made
    file = os.path.relpath(study.params_file.absolute(), folder.resolve())
    told = [s.notebook for s in study.params.scenarios.values()]
    of_scenarios = [
        (s.notebook, f"{s.notebook}-{name}" if told.count(s.notebook) > 1 else s.notebook, {"scenario": name})
        for name, s in study.params.scenarios.items()
    ]
    plan: list[tuple[str, str, dict[str, str]]] = []
    for name in study.params.notebooks:
        plan += of_scenarios if name == EACH_SCENARIO else [(name, name, {})]
    known = sorted(path.stem for path in folder.glob("*.ipynb"))
    result = []
    for source, output, scenario in plan:
        parameters = {"params_file": file, **scenario}
        if source not in known:
            raise UserError(f"{study.params_file}: no notebook '{source}' in {folder}{suggest(source, known)}")
        require_parameters(folder / f"{source}.ipynb", parameters)
        result.append((folder / f"{source}.ipynb", output, parameters))
    return result


def require_parameters(source: Path, parameters: Mapping[str, str]) -> None:
    """Check that a notebook has all of some parameters. Raises `UserError` naming the notebook and the parameter."""
    known = {
        name
        for cell in json.loads(source.read_text(encoding="utf-8"))["cells"]
        if "parameters" in cell["metadata"].get("tags", ())
        for name in re.findall(r"^(\w+) *(?::[^=\n]*)?=", "".join(cell["source"]), re.MULTILINE)
    }  # papermill, which can tell as well, is slow to import
    for name in parameters:
        if name not in known:
            raise UserError(f"{source.name}: no parameter '{name}'{suggest(name, known)}")


def execute_notebook(source: Path, output: Path, parameters: Mapping[str, str]) -> None:
    """Execute a notebook by papermill, in its own folder, with values for its parameters cell.

    `output` is where the executed copy goes; on failure it holds the error.

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
        with own_kernel():
            papermill.execute_notebook(
                *(str(path).replace("{", "{{").replace("}", "}}") for path in (source, output)),  # which it formats
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


@contextlib.contextmanager
def own_kernel() -> Iterator[None]:
    """Let the kernel ``python3`` be this Python, whatever kernels of that name lie on Jupyter's path."""
    from ipykernel.kernelspec import write_kernel_spec  # slow to import

    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory(prefix="multiseg-") as folder:
        write_kernel_spec(str(Path(folder) / "kernels" / "python3"))
        os.environ["JUPYTER_PATH"] = os.pathsep.join([folder, *([before] if before else [])])
        try:
            yield
        finally:
            if before is None:
                del os.environ["JUPYTER_PATH"]
            else:
                os.environ["JUPYTER_PATH"] = before


def notebook_key(study: Study, source: Path, parameters: Mapping[str, str]) -> str:
    """Return a fingerprint of everything that an executed notebook shows."""
    return fingerprint(
        {
            "source": file_fingerprint(source),
            "parameters": dict(parameters),
            "params": [file_fingerprint(file) for file in params_files(study.params_file)],
            "runs": [run.key for run in study.runs],
            "cases": [study.store.key(case, study.cohorts[case.cohort]) for case in study.needed_cases()],
            "code": code_fingerprint("multiseg.report", "multiseg.results", "multiseg.thesis"),
        }
    )


def is_rendered(folder: Path, output: str, key: str) -> bool:
    """Whether a notebook of a study in a folder has been executed and rendered with this key."""
    try:
        known = json.loads((folder / "notebooks" / f"{output}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return known == {"key": key} and (folder / f"{output}.html").exists()


def mark_rendered(folder: Path, output: str, key: str) -> None:
    """Remember that a notebook of a study in a folder has been executed and rendered with this key."""
    write_json(folder / "notebooks" / f"{output}.json", {"key": key})
