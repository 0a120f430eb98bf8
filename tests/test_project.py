"""What the project promises as a whole: pins, sources, commands."""

import re
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from tests.conftest import ROOT

SOURCES = sorted((ROOT / "notebooks").glob("*.ipynb"))
REFERENCES = sorted((ROOT / "tests" / "notebooks").glob("*.ipynb"))
PROMISED = {"jupyterlab", "papermill", "torch", "monai", "nibabel", "matplotlib", "seaborn", "scipy", "pytest", "nbval"}


def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_lock_pins_every_dependency_exactly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.split("[<>=]", requirement)[0] for requirement in needed}
    assert names <= lock().keys() and PROMISED - {"scipy"} <= names | {"scipy"}
    assert lock()["torch"] == "2.13.0"


def test_environment_file_agrees_with_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pins = dict(line.split("==") for line in environment["dependencies"][-1]["pip"] if "==" in line)
    assert pins == {name: lock()[name] for name in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split("[<>=]", r)[0] for r in [*project["dependencies"], *project["optional-dependencies"]["test"]]}
    assert needed <= pins.keys()


def test_peers_are_pinned_beside_the_lock() -> None:
    lines = (ROOT / "requirements-bench.lock").read_text().splitlines()
    peers = dict(line.split("==") for line in lines if not line.startswith("#"))
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["bench"]
    assert set(extra) <= peers.keys()
    assert not peers.keys() & lock().keys()  # nothing that the study uses may change


def test_the_cluster_has_an_environment_of_its_own() -> None:
    lines = (ROOT / "requirements-cluster.lock").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins["snakemake"] == "9.27.1" and pins["snakemake-executor-plugin-slurm"] == "2.8.0"
    assert "torch" not in pins  # it calls multiseg, and computes nothing
    rules = [
        path.read_text() for path in (ROOT / "workflow").rglob("*") if path.name == "Snakefile" or path.suffix == ".smk"
    ]
    assert len(rules) >= 4 and not any(re.search(r"^\s*(run|script):", text, re.MULTILINE) for text in rules)


def test_package_holds_the_files_that_it_reads() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    package = ROOT / "multiseg"
    packed = {file for pattern in patterns["multiseg"] for file in package.glob(pattern)}
    others = {file for file in package.rglob("*.*") if file.is_file() and file.suffix not in (".py", ".pyc")}
    assert others and others <= packed


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_source_notebooks_are_stripped_and_short(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    assert max(len(cell.source.splitlines()) for cell in code) <= 15
    assert "summary.provenance_table" in code[-1].source


@pytest.mark.parametrize("path", REFERENCES, ids=lambda p: p.stem)
def test_references_are_the_sources_executed(path: Path) -> None:
    reference = nbformat.read(path, as_version=4)
    source = nbformat.read(ROOT / "notebooks" / path.name, as_version=4)

    def code(notebook: nbformat.NotebookNode) -> list[str]:
        cells = [c for c in notebook.cells if c.cell_type == "code"]
        return [c.source for c in cells if "injected-parameters" not in c.metadata.get("tags", [])]

    assert code(reference) == code(source), "run `make references` and look at what changed"
    # nbval compares nothing in a notebook without outputs
    cells = [c for c in reference.cells if c.cell_type == "code"]
    assert all(c.execution_count for c in cells), "not executed to its end"
    outputs = [o for c in cells for o in c.outputs]
    assert not any(o.output_type == "error" for o in outputs)
    tables = 0 if path.stem == "look_around" else 2  # it shows what is trained so far, in widgets, which no file holds
    assert sum("text/html" in o.get("data", {}) for o in outputs) >= tables


def test_there_is_a_reference_for_every_notebook() -> None:
    assert [p.stem for p in REFERENCES] == [p.stem for p in SOURCES] and len(SOURCES) >= 5


def test_no_network_and_no_pickles_in_the_package() -> None:
    for path in [*(ROOT / "multiseg_core").rglob("*.py"), *(ROOT / "multiseg").rglob("*.py")]:
        text = path.read_text()
        for word in ("import pickle", "import requests", "urllib.request", "yaml.unsafe_load", "allow_pickle=True"):
            assert word not in text, (path, word)
        assert text.count("torch.load(") == text.count("weights_only=True"), path


def test_ci_calls_make_test() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    listed = subprocess.run(["make", "-n", "-C", str(ROOT), "test"], capture_output=True, text=True, check=True).stdout
    assert "--nbval" in listed and "-m pytest" in listed
