"""Finished results for the notebooks under test, so that what nbval compares was trained once, on one machine.

    python -m tests.notebooks.finished          put the results of finished.zip where the notebooks look for them
    python -m tests.notebooks.finished make     train anew and write finished.zip

Folders of networks and runs are called by keys, which a change of the code changes; in the archive they have names.
"""

import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from multiseg.study import runs
from multiseg.study.study import Study

HERE = Path(__file__).resolve().parent
ARCHIVE = HERE / "finished.zip"
PARAMS = (HERE / "smoke.yaml", HERE / "companions_smoke.yaml")


def folders(study: Study) -> Iterator[tuple[str, Path]]:
    """Yield name in the archive and folder of all networks and runs."""
    for network in study.networks():
        yield f"{study.name}/networks/{network.name.replace('/', '-')}", network.folder
    for run in study.runs:
        yield f"{study.name}/runs/{run.name.replace('/', '-')}", run.folder


def make() -> None:
    with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        for params in PARAMS:
            study = Study(params)
            shutil.rmtree(study.folder, ignore_errors=True)
            runs.finish_runs(study)
            for name, folder in folders(study):
                # no notebook under test reads weights
                for file in sorted(
                    f for f in folder.rglob("*.*") if f.is_file() and f.name != ".lock" and f.suffix != ".pt"
                ):
                    archive.write(file, f"{name}/{file.relative_to(folder)}")


def restore() -> None:
    with zipfile.ZipFile(ARCHIVE) as archive:
        names = archive.namelist()
        for params in PARAMS:
            study = Study(params)
            shutil.rmtree(study.folder, ignore_errors=True)
            runs.prepare(study, study.prepared_cases())
            for name, folder in folders(study):
                for file in (n for n in names if n.startswith(f"{name}/")):
                    target = folder / file.removeprefix(f"{name}/")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(file))
            runs.write_metrics(study)


if __name__ == "__main__":
    make() if sys.argv[1:] == ["make"] else restore()
