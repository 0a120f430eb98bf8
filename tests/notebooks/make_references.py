"""Execute the notebooks with smoke params and keep the results as what nbval compares with; or those that are named."""

import sys
from pathlib import Path

import nbformat

from multiseg.report.notebooks import execute_notebook
from tests.notebooks import finished

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parent.parent / "notebooks"
COMPANION = {"params_file": "tests/notebooks/companions_smoke.yaml"}
PARAMETERS: dict[str, dict[str, str]] = {
    "00_data_exploration": {},
    "01_mono_task": {"scenario": "single_wmh"},
    "02_anatomy_wmh": {"scenario": "anatomy_wmh"},
    "03_anatomy_tumour": {"scenario": "anatomy_tumour"},
    "04_statistical_comparison": {},
    "05_beyond_the_thesis": {},
    "06_dropout_and_phases": COMPANION,
    "07_losses_and_dimensions": COMPANION,
    "08_transformers_and_pretraining": COMPANION,
    "09_separable_convolutions": COMPANION,
    "scenario": {"scenario": "anatomy_wmh"},
    "look_around": {},
}


def main() -> None:
    finished.restore()
    for name, parameters in PARAMETERS.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        target = HERE / f"{name}.ipynb"
        execute_notebook(SOURCES / f"{name}.ipynb", target, {"params_file": "tests/notebooks/smoke.yaml", **parameters})
        notebook = nbformat.read(target, as_version=4)
        notebook.metadata.pop("papermill", None)
        for cell in notebook.cells:
            for key in ("papermill", "execution"):
                cell.metadata.pop(key, None)
            if "nbval-ignore-output" in cell.metadata.get("tags", []):
                cell["outputs"] = []
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):  # compared by eye, and not by nbval
                    del output["data"]["image/png"]
        nbformat.write(notebook, target)
        print(f"wrote {target.relative_to(SOURCES.parent)}")


if __name__ == "__main__":
    main()
