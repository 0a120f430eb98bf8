"""What the notebooks' defaults name exists, and nbval sees when a number of an executed notebook has changed."""

import ast
import copy
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill
import pytest

from multiseg.report.notebooks import execute_notebook
from multiseg.settings.params_files import load_params
from multiseg.study import runs
from multiseg.study.study import Study, find_params_file
from tests.conftest import ROOT

SOURCES = sorted((ROOT / "notebooks").glob("*.ipynb"))
REFERENCE = ROOT / "tests" / "notebooks" / "02_anatomy_wmh.ipynb"


def cell_with(notebook: nbformat.NotebookNode, text: str) -> nbformat.NotebookNode:
    return next(cell for cell in notebook.cells if cell.cell_type == "code" and text in cell.source)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_defaults_name_a_study_and_one_of_its_scenarios(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = papermill.inspect_notebook(str(path))
    defaults = {name: ast.literal_eval(parameter["default"]) for name, parameter in found.items()}
    monkeypatch.chdir(ROOT / "notebooks")  # where JupyterLab and `make study` start kernels
    params = load_params(find_params_file(Path(defaults["params_file"])))
    scenarios = params.scenarios
    of_this_notebook = [name for name, scenario in scenarios.items() if scenario.notebook == path.stem]
    if path.stem == "scenario":  # tells any scenario that names no notebook
        assert defaults["scenario"] in scenarios
    elif path.stem in (*params.notebooks, "look_around"):  # shows all scenarios, or all of its companion
        assert "scenario" not in defaults
    else:
        assert defaults["scenario"] == of_this_notebook[0]


def changed(cell: nbformat.NotebookNode, kind: str) -> nbformat.NotebookNode:
    """Return a copy of a cell with another last digit in its output: that of the last model's mean Dice."""
    other = copy.deepcopy(cell)
    (output,) = other.outputs
    text = output.data[kind]
    place = max(match.start() for match in re.finditer(r"\d", text))
    output.data[kind] = f"{text[:place]}{(int(text[place]) + 1) % 10}{text[place + 1 :]}"
    return other


def test_nbval_catches_a_changed_number(smoke: Study, tmp_path: Path) -> None:
    """The cells of an executed notebook that need no training, on the trained smoke study, by `make test`'s command."""
    reference = nbformat.read(REFERENCE, as_version=4)
    parameters = cell_with(reference, "# Parameters")
    parameters.source = parameters.source.replace("tests/notebooks/smoke.yaml", str(smoke.params_file))
    table, means = cell_with(reference, "show_what_is_trained"), cell_with(reference, "page.show_mean_dice()")
    table.source = cell_with(reference, "import torch").source + "\n\n" + table.source
    cells = [parameters, table, means, changed(means, "text/html"), changed(means, "text/plain"), means]
    reference.cells = [nbformat.from_dict({**cell, "id": f"cell-{i}"}) for i, cell in enumerate(cells)]
    nbformat.write(reference, tmp_path / "copy.ipynb")

    listed = subprocess.run(["make", "-n", "-C", str(ROOT), "test"], capture_output=True, text=True, check=True).stdout
    (line,) = [line.split(";")[0].strip(" &") for line in listed.splitlines() if "--nbval " in line]
    _, *arguments, folder = shlex.split(line)
    assert folder == "tests/notebooks"
    command = [sys.executable, *arguments, "-rA", "-c", str(ROOT / "pyproject.toml"), str(tmp_path)]
    plain = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=plain)
    outcome = re.findall(r"^(PASSED|FAILED|ERROR) .*copy\.ipynb::(Cell \d+)", done.stdout, flags=re.MULTILINE)
    expected = {"Cell 0": "PASSED", "Cell 1": "PASSED", "Cell 2": "PASSED", "Cell 5": "PASSED"}
    assert {cell: how for how, cell in outcome} == {**expected, "Cell 3": "FAILED", "Cell 4": "FAILED"}, done.stdout
    assert done.returncode == 1


def test_a_scenario_may_lack_every_model_that_a_notebook_knows_by_name(
    toy_study: Callable[..., Path], tmp_path: Path
) -> None:
    """The notebook of anybody's own data took for granted that the selective model is there."""
    models = {"models: [cross_entropy, selective_cross_entropy]": "models: [dice, selective_dice]"}
    study = Study(toy_study(models))
    runs.finish_runs(study)
    parameters = {"params_file": str(study.params_file), "scenario": "both"}
    execute_notebook(ROOT / "notebooks" / "02_anatomy_wmh.ipynb", tmp_path / "out.ipynb", parameters)
