"""Label-balanced patches of 32^3 from twelve volumes at 1 mm, in batches of 7, half of them mirrored, all with noise.

Every pipeline keeps the volumes where it likes best, aims at the four labels equally often and yields endless batches.
A peer is measured with whichever of its settings was fastest in a short run, with workers or without; ours runs in the
training process. Opening a pipeline is not timed, and peers need not convert their labels to int64.

    python -m benchmarks.sampler N     # only ours: anonymous memory of a process after N batches, MB
"""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import RandomSampler

from multiseg_core.samplers import PatchSampler, SamplingCohort
from multiseg_core.store import StoredCase

from .common import Spread, Table, available, peak_mb, private_mb
from .volumes import stored_cases

BATCH, SIZE = 7, 32
PATCH = (SIZE, SIZE, SIZE)
NOISE_SD = 0.1
MODALITIES = ("T1", "FLAIR")
N_CLASSES = 5  # background, csf, gm, wm, wmh
MEMORY_BATCHES = 300

Batches = Iterator[tuple[Tensor, Tensor]]
"""Endless batches: images (7, 2, 32, 32, 32) and labels (7, 32, 32, 32)."""


@dataclass(frozen=True)
class Volume:
    """A case in memory, with what `PatchSampler` needs of a stored case."""

    images: np.ndarray
    target: np.ndarray
    cohort: str = "volumes"

    @classmethod
    def load(cls, case: StoredCase) -> Volume:
        return cls(np.array(case.images[case.channels(MODALITIES)]), np.array(case.target))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.target.shape

    @property
    def voxels(self) -> dict[int, np.ndarray]:
        return {label: np.flatnonzero(self.target == label).astype(np.int32) for label in range(1, N_CLASSES)}


# -- ours --------------------------------------------------------------------------------------------------------------


def make_sampler(cases: Sequence[Any], channels: Sequence[int]) -> PatchSampler:
    """Return our sampler; classes are the positions in the cases' label sets."""
    lookup = np.arange(N_CLASSES, dtype=np.uint8)
    return PatchSampler([SamplingCohort(cases, lookup, channels)], PATCH, BATCH, seed=0, noise_sd=NOISE_SD)


def our_batches(cases: Sequence[Any], channels: Sequence[int]) -> Batches:
    """Yield batches of our sampler."""
    sampler = make_sampler(cases, channels)
    return (sampler.batch(step) for step in itertools.count())


# -- peers -------------------------------------------------------------------------------------------------------------


@contextmanager
def monai_batches(
    volumes: Sequence[Volume], folder: Path, tuned: bool, per_volume: int, workers: int, thread: bool = False
) -> Iterator[Batches]:
    """MONAI's cached dataset; tuned: no metadata, no copies of the cache, voxels of each label listed ahead."""
    from monai import transforms as tf
    from monai.data import CacheDataset, DataLoader, ThreadDataLoader, set_track_meta

    keys = ("image", "label")
    steps = [
        tf.EnsureTyped(keys),
        *([tf.ClassesToIndicesd("label", num_classes=N_CLASSES)] if tuned else []),
        tf.RandCropByLabelClassesd(
            keys, "label", PATCH, ratios=[0] + [1] * (N_CLASSES - 1), num_classes=N_CLASSES, num_samples=per_volume,
            indices_key="label_cls_indices" if tuned else None,
        ),
        tf.RandFlipd(keys, prob=0.5, spatial_axis=0),
        tf.RandGaussianNoised("image", prob=1, std=NOISE_SD, sample_std=False),
    ]  # fmt: skip

    def batches() -> Batches:
        for batch in loader:
            images, labels = (batch[key].as_subclass(Tensor) for key in keys)
            for k in range(per_volume):  # one patch of every volume
                yield images[k::per_volume], labels[k::per_volume, 0]

    set_track_meta(not tuned)
    try:
        items = [{"image": v.images, "label": v.target[None]} for v in volumes]
        data = CacheDataset(items, tf.Compose(steps), copy_cache=not tuned, progress=False)
        endless = RandomSampler(data, replacement=True, num_samples=10**6)
        loader_class = ThreadDataLoader if thread else DataLoader
        loader = loader_class(data, batch_size=BATCH, sampler=endless, num_workers=workers)
        with contextlib.closing(batches()) as iterator:
            yield iterator
    finally:
        set_track_meta(True)


@contextmanager
def torchio_batches(volumes: Sequence[Volume], folder: Path, per_volume: int, workers: int) -> Iterator[Batches]:
    """TorchIO's queue of patches from seven volumes at a time; the patches are augmented, not the volumes."""
    import torchio as tio

    subjects = [
        tio.Subject(
            image=tio.ScalarImage(tensor=torch.from_numpy(v.images)),
            label=tio.LabelMap(tensor=torch.from_numpy(v.target[None])),
        )
        for v in volumes
    ]
    sampler = tio.LabelSampler(SIZE, "label", {label: float(label > 0) for label in range(N_CLASSES)})
    flip = tio.RandomFlip(axes=0, flip_probability=0.5, copy=False)
    noise = tio.RandomNoise(std=(NOISE_SD, NOISE_SD), copy=False)

    def collate(patches: list[Any]) -> tuple[Tensor, Tensor]:
        patches = [noise(flip(patch)) for patch in patches]
        return torch.stack([p["image"].data for p in patches]), torch.stack([p["label"].data[0] for p in patches])

    queue = tio.Queue(tio.SubjectsDataset(subjects * 70), BATCH * per_volume, per_volume, sampler, num_workers=workers)
    loader = tio.SubjectsLoader(queue, batch_size=BATCH, collate_fn=collate)
    with contextlib.closing(batch for _ in itertools.count() for batch in loader) as iterator:
        yield iterator


@contextmanager
def nnunet_batches(volumes: Sequence[Volume], folder: Path, store: str, workers: int) -> Iterator[Batches]:
    """nnU-Net's loader; store: its compressed files (b2nd, its default) or plain arrays by memory map (npy)."""
    with contextlib.redirect_stdout(io.StringIO()):  # it asks for environment variables that are not needed here
        from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
        from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
        from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
        from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
        from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
        from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2, nnUNetDatasetNumpy
        from nnunetv2.utilities.label_handling.label_handling import LabelManager

        names = _write_nnunet(volumes, folder)
    data = (nnUNetDatasetBlosc2 if store == "b2nd" else nnUNetDatasetNumpy)(str(folder), names)
    labels = LabelManager({"background": 0, "csf": 1, "gm": 2, "wm": 3, "wmh": 4}, None)
    # the transform's "variance" is used as a standard deviation
    augment = ComposeTransforms([MirrorTransform((0,)), GaussianNoiseTransform(NOISE_SD)])
    loader = nnUNetDataLoader(data, BATCH, PATCH, PATCH, labels, 1.0, transforms=augment)
    if workers:
        loader = NonDetMultiThreadedAugmenter(loader, None, workers, num_cached=6, wait_time=0.002)
    try:
        yield ((batch["data"], batch["target"][:, 0]) for batch in loader)
    finally:
        if workers:
            loader._finish()


def _write_nnunet(volumes: Sequence[Volume], folder: Path) -> list[str]:
    """Write a preprocessed dataset as nnU-Net does, compressed and not, unless it is there; return its cases' names."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    folder.mkdir(exist_ok=True)
    names = [f"case{i:02}" for i in range(len(volumes))]
    for name, volume in zip(names, volumes, strict=True):
        if (folder / f"{name}.npy").exists():
            continue
        seg = volume.target[None].astype(np.int16)
        places = DefaultPreprocessor._sample_foreground_locations(seg, list(range(1, N_CLASSES)))
        blocks, chunks = comp_blosc2_params(volume.images.shape, PATCH, volume.images.itemsize)
        blocks_seg, chunks_seg = comp_blosc2_params(seg.shape, PATCH, seg.itemsize)
        nnUNetDatasetBlosc2.save_case(
            volume.images, seg, {"class_locations": places}, str(folder / name),
            chunks=chunks, blocks=blocks, chunks_seg=chunks_seg, blocks_seg=blocks_seg,
        )  # fmt: skip
        np.save(folder / f"{name}_seg.npy", seg)
        np.save(folder / f"{name}.npy", volume.images)
    return names


Open = Callable[..., AbstractContextManager[Batches]]
PEERS: list[tuple[str, str, Open, list[dict[str, Any]]]] = [
    ("MONAI, as documented", "monai", monai_batches, [
        {"tuned": False, "per_volume": n, "workers": w} for n in (1, 8) for w in (0, 2)
    ]),
    ("MONAI, tuned", "monai", monai_batches, [
        *({"tuned": True, "per_volume": n, "workers": w} for n in (1, 8) for w in (0, 2)),
        {"tuned": True, "per_volume": 8, "workers": 0, "thread": True},
    ]),
    ("TorchIO", "torchio", torchio_batches, [{"per_volume": n, "workers": w} for n in (10, 100) for w in (0, 2)]),
    ("nnU-Net", "nnunetv2", nnunet_batches, [{"store": s, "workers": w} for s in ("b2nd", "npy") for w in (0, 2)]),
]  # fmt: skip


# -- measurement -------------------------------------------------------------------------------------------------------


def measure(batches: Batches, per_round: int = 1, repeats: int = 7, seconds: float = 1.0) -> Spread:
    """Return patches per second over a second or more, in whole rounds after which a pipeline's work repeats."""

    def timed(n: int) -> float:
        started = time.perf_counter()
        for _ in range(n):
            images, labels = next(batches)
            assert images.shape == (BATCH, len(MODALITIES), *PATCH) and labels.shape == (BATCH, *PATCH)
        return time.perf_counter() - started

    timed(per_round)  # starts the workers
    n, spent = 0, 0.0
    while spent < seconds:
        spent += timed(per_round)
        n += per_round
    return Spread(tuple(BATCH * n / timed(n) for _ in range(repeats)))


def toys() -> list[Volume]:
    """Return volumes for `check`: one cube per label, of different sizes and further apart than a patch is wide.

    The first channel tells the position from left to right, the second is 0.
    """
    target = np.zeros((64 * (N_CLASSES - 1), 64, 64), np.uint8)
    for label in range(1, N_CLASSES):
        cube = slice(32 - label, 32 + label + 1)
        target[64 * (label - 1) :][cube, cube, cube] = label
    place = np.broadcast_to(np.arange(len(target), dtype=np.float32)[:, None, None], target.shape)
    return [Volume(np.stack([place, np.zeros_like(place)]), target) for _ in range(3)]


def check(batches: Batches) -> None:
    """Assert that patches of `toys` are balanced, mirrored together with their labels, and noisy."""
    image_list, label_list = zip(*itertools.islice(batches, 60), strict=True)
    images, labels = torch.cat(image_list), torch.cat(label_list).long()
    aimed = labels.flatten(1).amax(1)
    shares = torch.bincount(aimed, minlength=N_CLASSES) / len(aimed)
    assert shares[0] == 0 and (shares[1:] - 1 / (N_CLASSES - 1)).abs().max() < 0.1, f"labels are drawn {shares}"
    place = images[:, 0]
    mirrored = (place[:, 0] > place[:, -1]).float().mean()
    assert abs(mirrored - 0.5) < 0.12, f"{mirrored} of the patches are mirrored"
    inside = labels > 0
    assert (place[inside] - (64 * labels[inside] - 32)).abs().max() < N_CLASSES, "labels and images differ in place"
    assert abs(images[:, 1].std() - NOISE_SD) < 0.003, f"sd of the noise is {images[:, 1].std()}"


def run(table: Table) -> None:
    """Add the rows of this benchmark."""
    cases, small = stored_cases(), toys()
    channels = cases[0].channels(MODALITIES)
    check(our_batches(small, [0, 1]))
    volumes = [Volume.load(case) for case in cases]
    with tempfile.TemporaryDirectory() as folder:
        for peer, module, pipeline, settings in PEERS:
            if not available(table, module, f"patch sampling, {peer}"):
                continue
            short = []
            for setting in settings:
                per_round = setting["per_volume"] if pipeline is not nnunet_batches else 1
                with pipeline(volumes, Path(folder) / "volumes", **setting) as batches:
                    short.append(measure(batches, per_round, repeats=1).median)
            for setting, rate in sorted(zip(settings, short, strict=True), key=lambda s: -s[1]):
                table.note(f"  {peer}, short run: {rate:.0f} patches/s with {setting}")
            best = settings[int(np.argmax(short))]
            per_round = best.get("per_volume", 1)
            with pipeline(small, Path(folder) / "toys", **best) as batches:
                check(batches)
            with pipeline(volumes, Path(folder) / "volumes", **best) as batches:
                theirs = measure(batches, per_round)
            # next to the peer's in time, and never beside its workers
            table.add("patch sampling, 32^3", peer, measure(our_batches(cases, channels)), theirs, "patches/s")
    before, after = (peak_mb("sampler", str(n)) for n in (0, MEMORY_BATCHES))
    disk = sum(file.stat().st_size for case in cases for file in case.folder.iterdir()) / 2**20
    table.note(
        f"our sampler: {before:.0f} MB of anonymous memory before it is made, {after:.0f} MB after "
        f"{MEMORY_BATCHES} batches; the store of {len(cases)} cases has {disk:.0f} MB on disk"
    )


def main(n: int) -> None:
    """Print the anonymous memory after n batches; before there is a sampler if n is 0."""
    cases = stored_cases()
    if n:
        for _ in itertools.islice(our_batches(cases, cases[0].channels(MODALITIES)), n):
            pass
    print(private_mb())


if __name__ == "__main__":
    main(int(sys.argv[1]))
