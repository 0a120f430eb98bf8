"""Phantoms of the heart: a wide field of view, ten slices of 8 mm, three cohorts that draw one structure each.

``python -m benchmarks.wide_field FOLDER`` writes them, with the manifests of a study and its params file, which leaves
voxels, patches, strides and mirroring to ``auto``. They are no hearts; what they share with heart MRI is that the
structures fill a hundredth of the image, lie amid others of the same brightness, and that voxels are five times as long
across slices as within one.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

SHAPE = (256, 224, 10)
VOXEL_MM = (1.4, 1.4, 8.0)
CAVITY, MUSCLE, RIGHT = 1, 2, 3
"""Codes: left cavity, the muscle around it, right cavity."""
COHORTS = ("cavity", "muscle", "right")
TRAIN_CASES, TEST_CASES = 12, 20

PARAMS = """\
title: "Phantoms of the heart"
cohorts:
  cavity:
    {source: table, manifest: cavity.csv, codes: {1: cavity}, complete_codes: &all {1: cavity, 2: muscle, 3: right}}
  muscle: {source: table, manifest: muscle.csv, codes: {2: muscle}, complete_codes: *all}
  right: {source: table, manifest: right.csv, codes: {3: right}, complete_codes: *all}
  test: {source: table, manifest: test.csv, codes: *all}
preprocessing: {spacing_mm: auto, brain_extraction: none}
network: {name: unet, base_filters: 16, convolutions: 1, strides: auto}
training:
  steps: 2000
  batch_size: 4
  patch_size: auto
  validation_patch_size: auto
  flip: auto
  learning_rate: 0.01
  schedule: one_cycle
  contrast: 0.3
  shape: 0.3
  validation_every: 200
  patience: null
inference: {views: 4}
models:
  oracle: {loss: {name: monai.DiceCELoss, options: {batch: true, include_background: false}}}   # as selective_dice_ce
scenarios:
  heart:
    train: [cavity, muscle, right]
    test: test
    modalities: [MR]
    models: [multi_unet, cross_entropy, selective_cross_entropy, selective_dice_ce, oracle]
"""


def phantom(rng: np.random.Generator, scanner: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (float32) and its labels (uint8), both of `SHAPE`; `scanner` gives what a cohort shares."""
    contrast = {name: value * scanner.uniform(0.75, 1.3) * rng.uniform(0.9, 1.1) for name, value in BRIGHTNESS.items()}
    mm = np.stack(np.meshgrid(*(np.arange(n) * v for n, v in zip(SHAPE, VOXEL_MM, strict=True)), indexing="ij"))
    middle = np.array(SHAPE) * VOXEL_MM / 2
    mm = mm - middle[:, None, None, None] + _waves(rng)
    mm[:2] += rng.uniform(-30, 30, 2)[:, None, None, None]
    size = rng.uniform(0.85, 1.15)
    x, y, z = mm / size

    def ellipsoid(centre: Sequence[float], radii: tuple[float, float, float], degrees: float = 0) -> np.ndarray:
        """Return the squared distance from a centre in units of radii; mm, turned about the long axis of the body."""
        at = np.deg2rad(degrees)
        u, v = x - centre[0], y - centre[1]
        turned = u * np.cos(at) + v * np.sin(at), v * np.cos(at) - u * np.sin(at)
        return (turned[0] / radii[0]) ** 2 + (turned[1] / radii[1]) ** 2 + ((z - centre[2]) / radii[2]) ** 2

    far = 1e4  # mm: as long as the image
    image = np.full(SHAPE, contrast["air"])
    body = ellipsoid((0, 0, 0), (150, 110, far))
    image[body < 1] = contrast["fat"]
    image[body < 0.82] = contrast["flesh"]
    for side in (-1, 1):
        image[ellipsoid((side * 72, 5, 30), (52, 72, 75), side * 8) < 1] = contrast["air"]
        image[ellipsoid((side * 62, -88, 0), (9, 6, far)) < 1] = contrast["fat"]  # ribs, behind
        image[ellipsoid((side * 105, 30, 0), (5, 14, far)) < 1] = contrast["fat"]
    image[ellipsoid((0, -70, 0), (20, 17, far)) < 1] = contrast["marrow"]
    image[ellipsoid((0, -92, 0), (8, 8, far)) < 1] = contrast["blood"]
    image[ellipsoid((-60, 5, -60), (75, 60, 35)) < 1] = contrast["liver"]
    turn = rng.uniform(-40, 40)
    centre = np.array([20, 22, -4]) + rng.uniform(-1, 1, 3) * (18, 14, 8)
    for place, radii in (((62, -15, -42), (32, 26, 24)), ((-48, 30, -45), (18, 14, 30)), ((18, -48, 0), (13, 13, far))):
        hollow = ellipsoid(np.array(place) + rng.uniform(-8, 8, 3), radii, rng.uniform(-40, 40))
        image[hollow < 1] = contrast["muscle"]  # bright with a dark wall, as the heart is: stomach, gall bladder, aorta
        image[hollow < rng.uniform(0.35, 0.7)] = contrast["blood"]

    radius, wall = rng.uniform(17, 29), rng.uniform(6, 14)
    length = rng.uniform(30, 44)
    away = np.array([np.cos(np.deg2rad(turn + 200)), np.sin(np.deg2rad(turn + 200)), 0]) * (radius + wall)
    wide, long = radius * rng.uniform(0.8, 1.2), radius * rng.uniform(1.2, 1.6)
    right = ellipsoid(centre + away, (wide, long, length * 0.9), turn + 20)
    outer = ellipsoid(centre, (radius + wall, radius + wall, length + wall), turn)
    inner = ellipsoid(centre, (radius, radius, length), turn)
    base = centre[2] + rng.uniform(12, 24) + 0.15 * (x - centre[0])  # above it the same cavities go on as others
    image[ellipsoid(centre + away * 0.35, (66, 50, length + 12), turn + 20) < 1] = contrast["fat"]
    image[right < 1.25] = contrast["muscle"]
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[right < 1] = RIGHT
    labels[outer < 1] = MUSCLE
    labels[inner < 1] = CAVITY
    image[(labels == RIGHT) | (labels == CAVITY)] = contrast["blood"]
    image[labels == MUSCLE] = contrast["muscle"]
    for _ in range(2):  # within the left cavity, and part of it
        at = rng.uniform(0, 2 * np.pi)
        bump = centre + 0.6 * radius * np.array([np.cos(at), np.sin(at), 0])
        image[(ellipsoid(bump, (5, 5, 18)) < 1) & (labels == CAVITY)] = contrast["muscle"]
    rough = ndimage.gaussian_filter(rng.standard_normal(SHAPE), (2.5, 2.5, 0.7))
    image[(labels == RIGHT) & (rough > 1.2 * rough.std()) & (right > 0.4)] = contrast["muscle"]
    labels[z > base] = 0
    image = ndimage.gaussian_filter(image, (0.7, 0.7, 0.3)) * _shading(rng)
    texture = ndimage.gaussian_filter(rng.standard_normal(SHAPE), (2, 2, 0.5))
    image = image + 0.06 * texture / texture.std() + rng.normal(0, rng.uniform(0.03, 0.08), SHAPE)
    return (1000 * image * rng.uniform(0.5, 2)).astype(np.float32), labels


BRIGHTNESS = {
    "air": 0.05, "fat": 0.85, "flesh": 0.4, "marrow": 0.5, "blood": 1.0, "liver": 0.45, "muscle": 0.35,
}  # fmt: skip


def _smooth(rng: np.random.Generator) -> np.ndarray:
    """Return a smooth random field of `SHAPE`, of standard deviation 1."""
    knots = rng.standard_normal((6, 6, 4))
    field = ndimage.zoom(knots, np.array(SHAPE) / knots.shape, order=3)
    return field / field.std()


def _waves(rng: np.random.Generator) -> np.ndarray:
    """Return a smooth displacement, (3, *SHAPE) mm, some 6 mm within slices and 2 mm across."""
    return np.stack([_smooth(rng) * mm for mm in (6, 6, 2)])


def _shading(rng: np.random.Generator) -> np.ndarray:
    return np.exp(0.3 * _smooth(rng))


def write(folder: Path, seed: int, train_cases: int = TRAIN_CASES, test_cases: int = TEST_CASES) -> None:
    """Write the images, manifests and params of a study into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for c, name in enumerate((*COHORTS, "test")):
        rows = []
        for i in range(test_cases if name == "test" else train_cases):
            scanner = np.random.default_rng([seed, 99, c])
            image, labels = phantom(np.random.default_rng([seed, c, i]), scanner)
            case = f"{name}{i:02d}"
            drawn = labels if name == "test" else np.where(labels == c + 1, labels, 0)
            for what, data in (("MR", image), ("labels", drawn), ("complete", labels)):
                nib.save(nib.Nifti1Image(data, np.diag([*VOXEL_MM, 1])), folder / f"{case}_{what}.nii.gz")
            rows.append([case, *(f"{case}_{what}.nii.gz" for what in ("MR", "labels", "complete"))])
        columns = ["case", "MR", "labels", "complete_labels"]
        with open(folder / f"{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows([row[:3] if name == "test" else row for row in [columns, *rows]])
    (folder / "heart.yaml").write_text(PARAMS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write(given.folder, given.seed)
