import shutil
from pathlib import Path

import nbformat
import pytest

from multiseg.base.workers import Job, no_report
from multiseg.commands import cli
from multiseg.report import notebook_setup, notebooks, pages
from multiseg.study.study import Study
from multiseg_core.errors import UserError
from tests.conftest import ROOT

PARAMS = ("params_file",)


def notebook(path: Path, *cells: str) -> Path:
    nodes = [nbformat.v4.new_code_cell(source) for source in cells]
    nodes[0].metadata["tags"] = ["parameters"]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=nodes, metadata=spec), path)
    return path


def test_a_misspelt_notebook_parameter_is_an_error() -> None:
    variables = {"params_file": "x", "parms_file": "y", "reporting": notebooks, "_private": 1, "In": []}
    with pytest.raises(UserError, match=r"unknown notebook parameter 'parms_file' \(did you mean 'params_file'\?\)"):
        notebook_setup.start_notebook(variables, "params_file")


def test_the_first_cells_of_a_notebook_may_be_run_again(smoke: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """What later cells had made was taken for parameters ("unknown parameter modality")."""
    variables: dict[str, object] = {"params_file": str(smoke.params_file), "scenario": "anatomy_wmh"}
    notebook_setup.start_notebook(variables, "params_file", "scenario")
    variables["modality"] = "FLAIR"
    again = notebook_setup.start_notebook(variables, "params_file", "scenario")
    assert again.params_file == smoke.params_file


def test_parameters_are_checked_before_execution(tmp_path: Path) -> None:
    source = notebook(tmp_path / "n.ipynb", "scenario = 'a'")
    with pytest.raises(UserError, match=r"n.ipynb: no parameter 'scenaro' \(did you mean 'scenario'\?\)"):
        notebooks.execute_notebook(source, tmp_path / "out.ipynb", {"scenaro": "b"})


def test_parameters_may_have_types_and_magics_beside_them(tmp_path: Path) -> None:
    source = notebook(tmp_path / "n.ipynb", "%autoreload 2\nscenario: str = 'a'\nsteps = 3  # a == b")
    notebooks.require_parameters(source, {"scenario": "b", "steps": "4"})
    with pytest.raises(UserError, match="no parameter 'a'"):
        notebooks.require_parameters(source, {"a": "b"})


def test_a_failing_cell_is_one_line(tmp_path: Path) -> None:
    source = notebook(tmp_path / "n.ipynb", "x = 1", "raise ValueError('no such thing')")
    with pytest.raises(UserError, match=r"n.ipynb: cell \d failed: ValueError: no such thing \(see .*out.ipynb\)"):
        notebooks.execute_notebook(source, tmp_path / "out.ipynb", {"x": 2})


def test_a_killed_kernel_is_one_line(tmp_path: Path) -> None:
    source = notebook(tmp_path / "n.ipynb", "x = 1", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(UserError, match="n.ipynb: its kernel died; run the command again"):
        notebooks.execute_notebook(source, tmp_path / "out.ipynb", {"x": 2})


def test_study_command_renders_once_and_then_finds_everything(
    smoke: Study, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(smoke.folder.parent.parent)
    executed: list[str] = []

    def fake(source: Path, output: Path, parameters: dict) -> None:
        executed.append(source.stem)
        output.parent.mkdir(exist_ok=True)
        shutil.copy(source, output)

    def here(jobs: list[Job], title: str, n_workers: int, keep_going: bool = False) -> list:
        return [job.function(*job.arguments, no_report) for job in jobs]

    monkeypatch.setattr(notebooks, "execute_notebook", fake)
    monkeypatch.setattr(pages, "run_jobs", here)
    command = ["study", "params/smoke.yaml", "--notebooks", str(ROOT / "notebooks")]
    assert cli.main(command) == 0
    every = [path.stem for path in sorted((ROOT / "notebooks").glob("0[0-5]*.ipynb"))]  # the others are companions
    assert executed == every and len(executed) == 6
    out = capsys.readouterr().out
    assert "selective_cross_entropy" in out and out.endswith("report: reports/smoke/index.html\n")
    executed.clear()
    assert cli.main(command) == 0 and executed == []


def test_params_say_which_notebooks_there_are(smoke: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the last were written into the program."""

    def planned(*names: str) -> list[str]:
        monkeypatch.setattr(smoke, "params", smoke.params.changed(notebooks=list(names)))
        return [output for _, output, _ in notebooks.planned_notebooks(smoke, ROOT / "notebooks")]

    assert planned("04_statistical_comparison") == ["04_statistical_comparison"]
    scenarios = ["01_mono_task", "02_anatomy_wmh", "03_anatomy_tumour"]
    assert planned("scenarios", "00_data_exploration") == [*scenarios, "00_data_exploration"]
    with pytest.raises(UserError, match=r"no notebook '00_data' .* \(did you mean '00_data_exploration'\?\)"):
        planned("00_data")


def test_a_notebook_that_cannot_tell_a_scenario(smoke: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = smoke.params.scenarios["anatomy_wmh"].changed(notebook="04_statistical_comparison")
    params = smoke.params.changed(scenarios={"anatomy_wmh": wrong})
    monkeypatch.setattr(smoke, "params", params)
    with pytest.raises(UserError, match="04_statistical_comparison.ipynb: no parameter 'scenario'"):
        notebooks.planned_notebooks(smoke, ROOT / "notebooks")


def test_unknown_notebook_of_a_scenario(smoke: Study, tmp_path: Path) -> None:
    notebook(tmp_path / "00_data_exploration.ipynb", "params_file = ''")
    notebook(tmp_path / "01_mono_task.ipynb", "params_file = ''\nscenario = ''")
    with pytest.raises(UserError, match=r"smoke.yaml: no notebook '02_anatomy_wmh'"):
        notebooks.planned_notebooks(smoke, tmp_path)
