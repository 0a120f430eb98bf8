"""What would end a study in its report is found before it trains."""

import json
from pathlib import Path

import numpy as np
import pytest

from multiseg.commands import cli
from multiseg.report import notebooks, rehearsal, show_figure
from multiseg.study import runs
from multiseg.study.study import Study
from tests.conftest import ROOT, toy_case

NOTEBOOKS = ROOT / "notebooks"


def rehearse(file: Path) -> None:
    study = Study(file)
    rehearsal.rehearse(study, notebooks.planned_notebooks(study, NOTEBOOKS), 2)


def study_with_labels(folder: Path, names: list[str], more: str = "") -> Path:
    """Write a study of one cohort that draws many labels, and its test cases none of the last."""
    rng = np.random.default_rng(0)
    rows = ["case,T1,labels,split"]
    for i in range(4):
        labels = rng.integers(0, 1 + len(names) - (i == 3), (20, 22, 18))
        files = toy_case(folder / "data", f"c{i}", labels, seed=i)
        rows.append(f"c{i},{files['T1'].name},{files['labels'].name},{'test' if i == 3 else ''}")
    (folder / "data" / "all.csv").write_text("\n".join(rows) + "\n")
    codes = ", ".join(f"{k}: {name}" for k, name in enumerate(names, start=1))
    file = folder / "many.yaml"
    file.write_text(f"""
cohorts:
  all: {{source: table, manifest: data/all.csv, codes: {{{codes}}}}}
preprocessing: {{spacing_mm: 1}}
network: {{name: unet, base_filters: 2, levels: 2}}
training: {{steps: 2, batch_size: 2, patch_size: [8, 8, 8], validation_every: 1, validation_patches: 1,
  validation_patch_size: [8, 8, 8], patience: null}}
precision: float32
scenarios:
  everything: {{train: [all], test: all, modalities: [T1], models: [cross_entropy, dice]}}
{more}""")
    return file


def test_a_study_whose_report_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty labels with long names, of which the test case lacks the last, and models whose names look like formulas.

    Each ended a report once: too few colours, names too long for files, a median of nothing, and $ in a title.
    """
    names = [f"a_label_with_a_rather_long_name_{i}" for i in range(30)]
    titles = "models: {cross_entropy: {title: 'US$ or $x'}, dice: {title: 'a_b % {c} \\\\ ^ & # ~'}}"
    file = study_with_labels(tmp_path, names, titles)
    rehearse(file)
    monkeypatch.setattr(show_figure, "LONGEST_NAME", 10_000)  # as it was
    source = NOTEBOOKS / "00_data_exploration.ipynb"
    fault = rehearsal._perform(file, source, {"params_file": str(file)}, lambda *_: None)
    assert fault.startswith("00_data_exploration.ipynb: code cell ") and "File name too long" in fault


def test_a_report_that_would_fail_is_told_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A notebook of the user's own with a slip in its last cell."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("00_data_exploration", "scenario", "04_statistical_comparison", "05_beyond_the_thesis"):
        notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
        if name == "scenario":
            notebook["cells"][-1]["source"] = ["metrics.query('model == 1').iloc[0]"]
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook))
    file = study_with_labels(tmp_path, ["gm", "wm"])
    assert cli.main(["study", str(file), "--notebooks", str(folder)]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("multiseg: error")]
    (line,) = told
    assert line.startswith("multiseg: error: the report of this study would fail: scenario.ipynb: code cell ")
    assert line.endswith("IndexError: single positional indexer is out-of-bounds")
    assert not list((Study(file).folder / "networks").glob("*"))


def test_it_is_rehearsed_once_and_not_if_all_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = study_with_labels(tmp_path, ["gm", "wm"])
    asked: list[str] = []
    real = rehearsal.run_jobs
    monkeypatch.setattr(rehearsal, "run_jobs", lambda jobs, *a: [asked.append(j.name) for j in jobs] and real(jobs, *a))
    rehearse(file)
    notebooks = ["00_data_exploration", "scenario", "04_statistical_comparison", "05_beyond_the_thesis"]
    assert asked == [*notebooks, "the index"]
    rehearse(file)
    assert len(asked) == 5
    runs.finish_runs(Study(file))
    (Study(file).folder / "notebooks" / "rehearsed.json").unlink()
    rehearse(file)
    assert len(asked) == 5


def test_notebooks_run_in_folders_with_odd_names_and_by_this_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another kernel of the name python3 lies on Jupyter's path, of a Python that is gone."""
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/nowhere/python", "-f", "{connection_file}"], "display_name": "gone"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    cells = [
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "a = 1"},
        {"cell_type": "code", "metadata": {}, "source": "print(a)"},
    ]
    cells = [{**cell, "id": str(i), "outputs": [], "execution_count": None} for i, cell in enumerate(cells)]
    about = {"kernelspec": {"name": "python3", "language": "python", "display_name": "x"}}
    source = tmp_path / "{x} ñ$%" / "n.ipynb"
    source.parent.mkdir()
    source.write_text(json.dumps({"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}))
    notebooks.execute_notebook(source, source.with_name("out.ipynb"), {"a": "{b}"})
    done = json.loads(source.with_name("out.ipynb").read_text())
    assert done["cells"][-1]["outputs"][0]["text"] == ["{b}\n"]
    assert done["metadata"]["kernelspec"]["name"] == "python3"
