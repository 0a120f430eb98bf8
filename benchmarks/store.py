"""Building the store: load, orient, resample, normalise, index and write 12 cases of two 1 mm images."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import yaml

from benchmarks import volumes
from benchmarks.common import FOLDER, Spread, Table, rate
from multiseg.data.loading import ensure_files
from multiseg.study import runs
from multiseg.study.study import Study

MODALITIES = ("T1", "FLAIR")
SPACINGS_MM = (1.0, 1.25)
REPEATS = 1


def table_study(spacing_mm: float) -> Study:
    """Return a study that reads the phantoms' files as anybody's own data."""
    source = volumes.make_study().cohorts["bench"]
    for case in source.cases:
        ensure_files(case)
    columns = {m: [c.images[m] for c in source.cases] for m in MODALITIES}
    manifest = pd.DataFrame({
        "case": [c.name for c in source.cases], **columns,
        "labels": [c.labels for c in source.cases], "brain_mask": [c.brain_mask for c in source.cases],
        "split": ["test", *["train"] * (len(source.cases) - 1)],
    })  # fmt: skip
    manifest.to_csv(FOLDER / "store.csv", index=False)
    codes = {code: sorted(source.code_map.sets[at]) for code, at in source.code_map.code_to_set.items() if code}
    scenario = {"train": ["bench"], "test": "bench", "modalities": list(MODALITIES), "models": ["cross_entropy"]}
    params = {
        "cohorts": {"bench": {"source": "table", "manifest": "store.csv", "codes": codes}},
        "labels": ["csf", "gm", "wm", "wmh"],
        "preprocessing": {"spacing_mm": spacing_mm},
        "reports_dir": ".",
        "scenarios": {"bench": scenario},
    }
    file = FOLDER / f"store_{spacing_mm:g}mm.yaml"
    file.write_text(yaml.safe_dump(params, sort_keys=False))
    return Study(file)


def ours(study: Study, workers: int) -> None:
    """Build all cases as `multiseg prepare` does."""
    runs.prepare(study, study.cohorts["bench"].cases, workers)


def monai(study: Study, workers: int) -> None:
    """The same steps with MONAI's transforms in its data loader, one .npy file per array."""
    from monai.data import DataLoader, Dataset

    folder, cases = study.store.folder, study.cohorts["bench"].cases
    folder.mkdir(parents=True)
    files = [
        {"image": [str(c.images[m]) for m in MODALITIES], "label": str(c.labels), "mask": str(c.brain_mask),
         "name": c.name}
             for c in cases]  # fmt: skip
    transform = monai_transform(study.params.preprocessing.spacing_mm)
    loader = DataLoader(Dataset(files, transform), batch_size=1, num_workers=workers)
    for batch in loader:
        label = batch["label"][0, 0].numpy()
        np.save(folder / f"{batch['name'][0]}_images.npy", batch["image"][0].numpy())
        np.save(folder / f"{batch['name'][0]}_target.npy", label.astype(np.uint8))
        for code in np.unique(label)[1:]:
            np.save(folder / f"{batch['name'][0]}_{int(code)}.npy", np.flatnonzero(label == code).astype(np.int32))


def monai_transform(spacing_mm: float) -> Callable:
    """Load, orient, resample, crop to the brain, z-score in it, -4 outside."""
    from monai import transforms as t

    keys = ["image", "label", "mask"]
    return t.Compose([
        t.LoadImaged(keys, ensure_channel_first=True),
        t.Orientationd(keys, axcodes="RAS", labels=None),
        t.Spacingd(keys, (spacing_mm,) * 3, mode=("bilinear", "nearest", "nearest")),
        t.CropForegroundd(keys, source_key="mask", margin=4),
        t.MaskIntensityd(["image"], mask_key="mask"),
        t.NormalizeIntensityd(["image"], nonzero=True, channel_wise=True),
    ])  # fmt: skip


def run(table: Table) -> None:
    """Add the rows of this benchmark."""
    volumes.stored_cases()
    ways = {"ours": (ours, 2), "one process": (ours, 1), "MONAI transforms, 2 workers": (monai, 2)}
    for spacing in SPACINGS_MM:
        study = table_study(spacing)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        megabytes = 0.0
        for _ in range(REPEATS):
            for name, (function, workers) in ways.items():
                shutil.rmtree(study.store.folder, ignore_errors=True)
                started = time.perf_counter()
                function(study, workers)
                seconds[name].append(time.perf_counter() - started)
                if name == "ours":
                    megabytes = sum(f.stat().st_size for f in study.store.folder.rglob("*") if f.is_file()) / 1e6
        shutil.rmtree(study.folder)
        what = f"building the store at {spacing:g} mm, {volumes.CASES} cases of 2 images"
        per_minute = {name: rate(Spread(tuple(values)), 60 * volumes.CASES) for name, values in seconds.items()}
        for peer in list(ways)[1:]:
            table.add(what, peer, per_minute["ours"], per_minute[peer], "cases/min")
        table.note(f"    {rate(Spread(tuple(seconds['ours'])), megabytes)} MB/s written, starting the workers included")
