"""Proof that a change of the code changes no number: fingerprints of all that some studies make.

    python -m tools.golden write FILE.json [--pages] params/smoke.yaml ...     before the change
    python -m tools.golden check FILE.json [--pages] params/smoke.yaml ...     after it: prints what differs

Studies run on a CPU in float32 by one thread, in a folder that is removed. Everything is fingerprinted under a name
that a change of the code's structure does not touch: cohort and case, or scenario, model, replicate and seed. `check`
ends with status 0 if all is equal, 1 if something differs, and 2 on other versions or another processor.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import nibabel as nib
import numpy as np
import pandas as pd
import torch
import yaml

from multiseg.base.provenance import provenance
from multiseg.report import notebooks, pages
from multiseg.study import runs
from multiseg.study.study import Study

FIXED = {"device": "cpu", "precision": "float32", "threads": 1, "workers": 1}
ROOT = Path(__file__).resolve().parents[1]
TABLE = "golden_table.yaml"
"""A study of files, which the tool writes itself."""

NOT_NUMBERS = frozenset({"seconds", "minutes", "ms", "key", "commit", "version", "memory", "MB", "GiB", "date", "time"})
"""Columns, and rows of facts, whose names hold one of these words differ from run to run."""


def digest(array: np.ndarray) -> str:
    """Return a short hash of an array with its type and shape."""
    a = np.ascontiguousarray(array)
    return hashlib.sha256(f"{a.dtype} {a.shape}".encode() + a.tobytes()).hexdigest()[:16]


def _differs(name: object) -> bool:
    return not NOT_NUMBERS.isdisjoint(re.split(r"[\W_]+", str(name)))


def table_digest(path: Path) -> str:
    """Return a short hash of a table without columns and rows of times, keys and the like."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = table.drop(columns=[c for c in table if _differs(c)])
    if len(table.columns):
        table = table[[not _differs(name) for name in table.iloc[:, 0]]]
    return hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()[:16]


def write_table_study(folder: Path) -> Path:
    """Write a few images of two cohorts, their manifests, and the params file `TABLE` beside them; return that."""
    rng = np.random.default_rng(3)
    for kind in ("anatomy", "lesion"):
        rows = ["case,T1,labels"]
        affine = np.diag([2.0, 2.0, 2.5 if kind == "lesion" else 2.0, 1.0])
        for name in (f"{kind}{case}" for case in range(4)):
            grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in (20, 22, 18)], indexing="ij"))
            distance = np.linalg.norm(grid * rng.uniform(0.9, 1.1, (3, 1, 1, 1)), axis=0)
            spot = np.linalg.norm(grid - rng.uniform(-0.3, 0.3, (3, 1, 1, 1)), axis=0) < 0.25
            brain = distance < 0.9
            labels = np.where(brain, np.where(distance < 0.5, 2, 1), 0)
            image = brain * (100 + 30 * labels + 60 * spot) + brain * rng.normal(0, 5, brain.shape)
            drawn = labels if kind == "anatomy" else spot * 3
            nib.save(nib.Nifti1Image(image.astype(np.float32), affine), folder / f"{name}_image.nii.gz")
            nib.save(nib.Nifti1Image(drawn.astype(np.uint8), affine), folder / f"{name}_labels.nii.gz")
            rows.append(f"{name},{name}_image.nii.gz,{name}_labels.nii.gz")
        (folder / f"{kind}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return Path(shutil.copy(Path(__file__).with_name(TABLE), folder))


def facts(params: Path, with_pages: bool) -> dict[str, str]:
    """Run a study in a temporary folder and return the fingerprints of what it made, by name."""
    with tempfile.TemporaryDirectory() as folder:
        base = write_table_study(Path(folder)) if params.name == TABLE else params.resolve()
        file = Path(folder) / "golden" / params.name
        file.parent.mkdir()
        own = {"base": str(base), "reports_dir": f"{folder}/reports", **FIXED}
        file.write_text(yaml.safe_dump(own), encoding="utf-8")
        study = Study(file)
        runs.finish_runs(study)
        found = dict(_products(study))
        if with_pages:
            plan = notebooks.planned_notebooks(study, ROOT / "notebooks")
            pages.make_pages(study, plan, 1)
            pages.write_index(study, [output for _, output, _ in plan])
            found |= {
                f"{kind}/{table.stem}": table_digest(table)
                for kind in ("tables", "figures")
                for table in sorted((study.folder / kind).glob("*.csv"))
            }
    return found


def _products(study: Study) -> Iterator[tuple[str, str]]:
    for case in study.needed_cases():
        at = study.store.path(case, study.cohorts[case.cohort])
        for array in sorted(at.glob("*.npy")):
            yield f"store/{case.cohort}/{case.name}/{array.stem}", digest(np.load(array))
        with np.load(at / "native.npz") as native:
            for name in native.files:
                yield f"store/{case.cohort}/{case.name}/native.{name}", digest(native[name])
    for network in study.networks():
        state = torch.load(network.folder / "model.pt", map_location="cpu", weights_only=True)
        weights = [(name, digest(state[name].numpy())) for name in sorted(state)]
        yield f"weights/{network.name}", hashlib.sha256(json.dumps(weights).encode()).hexdigest()[:16]
        yield f"history/{network.name}", table_digest(network.folder / "history.csv")
    for run in study.runs:
        for table in sorted(run.folder.glob("*.csv")):
            yield f"metrics/{run.name}/{table.stem}", table_digest(table)
        for image in sorted(run.folder.rglob("*.nii.gz")):
            name = str(image.relative_to(run.folder))
            yield f"predictions/{run.name}/{name}", digest(np.asarray(nib.Nifti1Image.from_filename(image).dataobj))


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("write", "check"))
    parser.add_argument("file", type=Path, help="where the fingerprints are")
    parser.add_argument("params", nargs="+", type=Path, help=f"params files; {TABLE} for a study of made-up files")
    parser.add_argument("--pages", action="store_true", help="run the notebooks too, for tables and figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    where = {name: version(name) for name in ("torch", "numpy", "scipy", "monai", "pandas")}
    where |= {"cpu": str(provenance()["cpu"]), "capability": torch.backends.cpu.get_cpu_capability()}
    where |= {"python": platform.python_version()}
    known = json.loads(options.file.read_text(encoding="utf-8")) if options.what == "check" else {}
    if known and known["where"] != where:
        print("other versions or another processor:", known["where"], "and here", where)
        return 2
    found = {p.stem: facts(p, options.pages) for p in options.params}
    if options.what == "write":
        options.file.parent.mkdir(parents=True, exist_ok=True)
        options.file.write_text(json.dumps({"where": where, "found": found}, indent=1, sort_keys=True) + "\n")
        print(sum(map(len, found.values())), "fingerprints written")
        return 0
    equal: Counter[str] = Counter()
    differ: Counter[str] = Counter()
    for study, now in found.items():
        before = known["found"].get(study, {})
        for name in sorted(before.keys() | now.keys()):
            kind = name.partition("/")[0]
            if kind in ("tables", "figures") and not options.pages:
                continue
            (equal if before.get(name) == now.get(name) else differ)[kind] += 1
            if before.get(name) != now.get(name):
                change = "is missing" if name not in now else "is new" if name not in before else "differs"
                print(f"{study}: {name} {change}")
    for kind in sorted(equal | differ):
        print(f"{kind:12} {equal[kind]:5} equal {differ[kind]:5} not")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
