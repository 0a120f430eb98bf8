import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest

from multiseg_core import cli, reporting
from multiseg_core.errors import UserError
from multiseg_core.study import Study

from .conftest import ROOT

PARAMS = ("params_file",)


def notebook(path: Path, *cells: str) -> Path:
    nodes = [nbformat.v4.new_code_cell(source) for source in cells]
    nodes[0].metadata["tags"] = ["parameters"]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=nodes, metadata=spec), path)
    return path


def test_a_misspelt_notebook_parameter_is_an_error() -> None:
    variables = {"params_file": "x", "parms_file": "y", "reporting": reporting, "_private": 1, "In": []}
    with pytest.raises(UserError, match=r"unknown notebook parameter 'parms_file' \(did you mean 'params_file'\?\)"):
        reporting.start_notebook(variables, "params_file")


def test_parameters_are_checked_before_execution(tmp_path: Path) -> None:
    source = notebook(tmp_path / "n.ipynb", "scenario = 'a'")
    with pytest.raises(UserError, match=r"n.ipynb: no parameter 'scenaro' \(did you mean 'scenario'\?\)"):
        reporting.execute_notebook(source, tmp_path / "out.ipynb", {"scenaro": "b"})


def test_a_failing_cell_is_one_line(tmp_path: Path) -> None:
    source = notebook(tmp_path / "n.ipynb", "x = 1", "raise ValueError('no such thing')")
    with pytest.raises(UserError, match=r"n.ipynb: cell \d failed: ValueError: no such thing \(see .*out.ipynb\)"):
        reporting.execute_notebook(source, tmp_path / "out.ipynb", {"x": 2})


def test_a_killed_kernel_is_one_line(tmp_path: Path) -> None:
    source = notebook(tmp_path / "n.ipynb", "x = 1", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(UserError, match="n.ipynb: its kernel died; run the command again"):
        reporting.execute_notebook(source, tmp_path / "out.ipynb", {"x": 2})


@pytest.fixture(scope="module")
def report(smoke: Study) -> Path:
    """The smoke report, with the two notebooks that are quick."""
    names = []
    for source, output, parameters in reporting.planned_notebooks(smoke, ROOT / "notebooks"):
        if source.stem == "02_anatomy_wmh":
            executed = smoke.folder / "notebooks" / f"{output}.ipynb"
            reporting.execute_notebook(source, executed, parameters)
            reporting.render_notebook(executed, smoke.folder / f"{output}.html", output)
            names.append(output)
    return reporting.write_index(smoke, names)


def test_pages_need_no_network(report: Path) -> None:
    for page in report.parent.glob("*.html"):
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=[\"']([^\"']+)", text) + re.findall(
            r"<link[^>]+href=[\"']([^\"']+)", text
        )
        assert all(address.startswith("data:") for address in loaded), loaded
        assert "import(" not in text and "@import" not in text


def test_index_shows_results_figures_and_links(report: Path, smoke: Study) -> None:
    text = report.read_text()
    assert "Selective cross-entropy" in text and text.count('<img src="data:image/png') == 2
    assert 'href="02_anatomy_wmh.html"' in text and "02 Anatomy and white matter hyperintensities" in text
    assert str(Path.home()) not in text and str(smoke.folder) not in text
    page = (report.parent / "02_anatomy_wmh.html").read_text()
    assert page.count("<details") >= 6 and "params/smoke.yaml" in page


def test_figures_are_saved_with_their_tables(report: Path) -> None:
    names = {path.stem for path in (report.parent / "figures").glob("*.png")}
    assert names == {f"anatomy_wmh_{x}" for x in ("training", "dice", "significance", "panel", "naive")}
    assert all((report.parent / "figures" / f"{name}.csv").exists() for name in names)


def test_pages_open_in_a_browser_without_network(report: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium")
    flags = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --disable-quic --virtual-time-budget=3000 "
        "--enable-logging=stderr --v=0 --host-resolver-rules=MAP*~NOTFOUND"
    ).split()
    for page in (report, report.parent / "02_anatomy_wmh.html"):
        command = [browser, *flags, f"--user-data-dir={tmp_path / page.stem}", "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert "</html>" in done.stdout and "<img" in done.stdout
        assert "CONSOLE" not in done.stderr, done.stderr


def test_study_command_renders_once_and_then_finds_everything(
    smoke: Study, report: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(smoke.folder.parent.parent)
    executed: list[str] = []

    def fake(source: Path, output: Path, parameters: dict) -> None:
        executed.append(source.stem)
        shutil.copy(source, output)

    monkeypatch.setattr(reporting, "execute_notebook", fake)
    command = ["study", "params/smoke.yaml", "--notebooks", str(ROOT / "notebooks")]
    assert cli.main(command) == 0
    assert executed == [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))] and len(executed) == 5
    out = capsys.readouterr().out
    assert "selective_cross_entropy" in out and out.endswith("report: reports/smoke/index.html\n")
    executed.clear()
    assert cli.main(command) == 0 and executed == []


def test_a_notebook_that_cannot_tell_a_scenario(smoke: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    wrong = dataclasses.replace(smoke.params.scenarios["anatomy_wmh"], notebook="04_statistical_comparison")
    params = dataclasses.replace(smoke.params, scenarios={"anatomy_wmh": wrong})
    monkeypatch.setattr(smoke, "params", params)
    with pytest.raises(UserError, match="04_statistical_comparison.ipynb: no parameter 'scenario'"):
        reporting.planned_notebooks(smoke, ROOT / "notebooks")


def test_unknown_notebook_of_a_scenario(smoke: Study, tmp_path: Path) -> None:
    notebook(tmp_path / "00_data_exploration.ipynb", "params_file = ''")
    notebook(tmp_path / "01_mono_task.ipynb", "params_file = ''\nscenario = ''")
    with pytest.raises(UserError, match=r"smoke.yaml: no notebook '02_anatomy_wmh'"):
        reporting.planned_notebooks(smoke, tmp_path)
