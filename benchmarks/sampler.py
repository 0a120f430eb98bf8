"""Label-balanced patches of 32^3 from twelve volumes at 1 mm, in batches of 7, half of them mirrored, all with noise.

Every pipeline keeps the volumes where it likes best, aims at the four labels equally often and yields endless batches.
A peer is measured with whichever of its settings was fastest in a short run, with workers or without; ours runs in the
training process. Opening a pipeline is not timed, and peers need not convert labels to int64. Ours takes its noise
from a pool of normal numbers, peers draw a new number for every voxel; files are in the page cache.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import RandomSampler

from benchmarks.common import REPEATS, Spread, Table, available, private_mb
from benchmarks.volumes import stored_cases
from multiseg_core.samplers import PatchSampler, SamplingCohort

BATCH, SIZE = 7, 32
PATCH = (SIZE, SIZE, SIZE)
NOISE_SD = 0.1
MODALITIES = ("T1", "FLAIR")
N_CLASSES = 5  # background, csf, gm, wm, wmh
MEMORY_BATCHES = 300

Cases = Sequence[Any]
"""Stored cases, or what `volume` returns."""
Batches = Generator[tuple[Tensor, Tensor], None, None]
"""Endless batches: images (7, 2, 32, 32, 32) and labels (7, 32, 32, 32)."""
Setting = dict[str, Any]
Pipeline = Callable[..., AbstractContextManager[Batches]]
"""Called with cases, a folder for files, and the setting but for its threads."""


def volume(images: np.ndarray, target: np.ndarray) -> SimpleNamespace:
    """Return a case in memory, with what `PatchSampler` needs of a stored case."""
    voxels = {label: np.flatnonzero(target == label) for label in range(1, N_CLASSES)}
    return SimpleNamespace(
        images=images,
        target=target,
        shape=target.shape,
        voxels=voxels,
        cohort="",
        mirror_axis=0,
        channels_or_none=lambda names: [0, 1],
    )


@contextmanager
def our_batches(cases: Cases, folder: Path) -> Iterator[Batches]:
    """Our sampler; classes are the positions in the cases' label sets."""
    cohort = SamplingCohort(cases, np.arange(N_CLASSES, dtype=np.uint8), MODALITIES)
    sampler = PatchSampler([cohort], PATCH, BATCH, seed=0, noise_sd=NOISE_SD)
    yield (sampler.batch(step)[:2] for step in itertools.count())


@contextmanager
def monai_batches(
    volumes: Cases, folder: Path, tuned: bool, per_volume: int, workers: int, background: bool = False
) -> Iterator[Batches]:
    """MONAI's cached dataset; tuned: no metadata, no copies of the cache, voxels of each label listed ahead."""
    from monai import transforms as tf
    from monai.data import CacheDataset, DataLoader, ThreadDataLoader, set_track_meta

    keys = ("image", "label")
    steps = [
        tf.EnsureTyped(keys),
        *([tf.ClassesToIndicesd("label", num_classes=N_CLASSES)] if tuned else []),
        tf.RandCropByLabelClassesd(
            keys, "label", PATCH, ratios=[0.0] + [1.0] * (N_CLASSES - 1), num_classes=N_CLASSES, num_samples=per_volume,
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
        loader_class = ThreadDataLoader if background else DataLoader
        loader = loader_class(data, batch_size=BATCH, sampler=endless, num_workers=workers)
        with contextlib.closing(batches()) as iterator:
            yield iterator
    finally:
        set_track_meta(True)


@contextmanager
def torchio_batches(volumes: Cases, folder: Path, per_volume: int, workers: int) -> Iterator[Batches]:
    """TorchIO's queue of patches from seven volumes at a time; the patches are augmented, not the volumes."""
    import torchio as tio

    tensors = [(torch.from_numpy(v.images), torch.from_numpy(v.target[None])) for v in volumes]
    subjects = [tio.Subject(image=tio.ScalarImage(tensor=a), label=tio.LabelMap(tensor=b)) for a, b in tensors]
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
def nnunet_batches(volumes: Cases, folder: Path, workers: int) -> Iterator[Batches]:
    """nnU-Net's loader on its compressed files."""
    with contextlib.redirect_stdout(io.StringIO()):  # it asks for environment variables that are not needed here
        from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
        from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
        from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
        from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
        from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
        from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
        from nnunetv2.utilities.label_handling.label_handling import LabelManager

        write_nnunet(volumes, folder)
    labels = LabelManager({"background": 0, "csf": 1, "gm": 2, "wm": 3, "wmh": 4}, None)
    # the transform's "variance" is used as a standard deviation
    augment = ComposeTransforms([MirrorTransform((0,)), GaussianNoiseTransform(NOISE_SD)])
    data = nnUNetDatasetBlosc2(str(folder))
    loader: Any = nnUNetDataLoader(data, BATCH, PATCH, PATCH, labels, 1.0, transforms=augment)
    if workers:
        loader = NonDetMultiThreadedAugmenter(loader, None, workers, num_cached=6, wait_time=0.002)
    try:
        yield ((batch["data"], batch["target"][:, 0]) for batch in loader)
    finally:
        if workers:
            loader._finish()


def write_nnunet(volumes: Cases, folder: Path) -> None:
    """Write a dataset as nnU-Net's preprocessing does, unless the folder is there."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    if folder.exists():
        return
    folder.mkdir()
    for i, case in enumerate(volumes):
        seg = case.target[None].astype(np.int16)
        places = DefaultPreprocessor._sample_foreground_locations(seg, list(range(1, N_CLASSES)))
        blocks, chunks = comp_blosc2_params(case.images.shape, PATCH, case.images.itemsize)
        blocks_seg, chunks_seg = comp_blosc2_params(seg.shape, PATCH, seg.itemsize)
        nnUNetDatasetBlosc2.save_case(
            case.images, seg, {"class_locations": places}, str(folder / f"case{i:02}"),
            chunks=chunks, blocks=blocks, chunks_seg=chunks_seg, blocks_seg=blocks_seg,
        )  # fmt: skip


MODES = ({"workers": 0, "threads": 1}, {"workers": 0, "threads": 2}, {"workers": 2, "threads": 1})
OURS: list[Setting] = [{"threads": 1}, {"threads": 2}]
PEERS: dict[str, tuple[str, Pipeline, list[Setting]]] = {
    "MONAI, as documented": ("monai", monai_batches, [
        {**mode, "per_volume": n, "tuned": False} for mode in MODES for n in (1, 8)
    ]),
    "MONAI, tuned": ("monai", monai_batches, [
        *({**mode, "per_volume": n, "tuned": True} for mode in MODES for n in (1, 8)),
        {**MODES[0], "per_volume": 8, "tuned": True, "background": True},
    ]),
    "TorchIO": ("torchio", torchio_batches, [{**mode, "per_volume": n} for mode in MODES for n in (10, 100)]),
    "nnU-Net": ("nnunetv2", nnunet_batches, list(MODES)),
}  # fmt: skip


@contextmanager
def opened(pipeline: Pipeline, cases: Cases, folder: Path, setting: Setting) -> Iterator[Batches]:
    """Open a pipeline with a setting."""
    options = dict(setting)
    torch.set_num_threads(options.pop("threads"))
    with pipeline(cases, folder, **options) as batches:
        yield batches


def measure(batches: Batches, per_round: int = 1, repeats: int = 0) -> Spread:
    """Return patches per second over a second or more, in whole rounds after which a pipeline's work repeats."""

    def timed(n: int) -> float:
        started = time.perf_counter()
        for _ in range(n):
            images, labels = next(batches)
            assert images.shape == (BATCH, len(MODALITIES), *PATCH) and labels.shape == (BATCH, *PATCH)
        return time.perf_counter() - started

    timed(per_round)  # starts the workers
    n, spent = 0, 0.0
    while spent < 1:
        spent += timed(per_round)
        n += per_round
    return Spread(tuple(BATCH * n / timed(n) for _ in range(repeats)) or (BATCH * n / spent,))


def toys() -> Cases:
    """Return volumes for `check`: one cube per label, of different sizes and further apart than a patch is wide.

    The first channel tells the position from left to right, the second is 0.
    """
    target = np.zeros((48 * (N_CLASSES - 1), 40, 40), np.uint8)
    for label in range(1, N_CLASSES):
        across = slice(20 - label, 21 + label)
        target[48 * label - 24 - label : 48 * label - 23 + label, across, across] = label
    place = np.broadcast_to(np.arange(len(target), dtype=np.float32)[:, None, None], target.shape)
    return [volume(np.stack([place, np.zeros_like(place)]), target)] * 3


def check(batches: Batches) -> None:
    """Assert that patches of `toys` are balanced, mirrored together with their labels, and noisy."""
    images, labels = (torch.cat(part) for part in zip(*itertools.islice(batches, 60), strict=True))
    labels = labels.long()
    shares = torch.bincount(labels.flatten(1).amax(1), minlength=N_CLASSES) / len(labels)
    assert shares[0] == 0 and (shares[1:] - 1 / (N_CLASSES - 1)).abs().max() < 0.1, f"labels are drawn {shares}"
    place = images[:, 0]
    mirrored = (place[:, 0] > place[:, -1]).float().mean()
    assert abs(mirrored - 0.5) < 0.12, f"{mirrored} of the patches are mirrored"
    inside = labels > 0
    assert (place[inside] - (48 * labels[inside] - 24)).abs().max() < N_CLASSES, "labels and images differ in place"
    assert abs(images[:, 1].std() - NOISE_SD) < 0.003, f"sd of the noise is {images[:, 1].std()}"


def fastest(
    table: Table, name: str, pipeline: Pipeline, cases: Cases, folder: Path, settings: list[Setting]
) -> Setting:
    """Return the setting that wins a short run, after a check of what it yields."""
    rates = []
    for setting in settings:
        with opened(pipeline, cases, folder / "volumes", setting) as batches:
            rates.append(measure(batches, setting.get("per_volume", 1)).median)
        text = ", ".join(f"{key} {value}" for key, value in setting.items())
        table.note(f"  short run of {name}: {rates[-1]:.0f} patches/s with {text}")
    best = settings[int(np.argmax(rates))]
    with opened(pipeline, toys(), folder / "toys", best) as batches:
        check(batches)
    return best


def our_memory(n: int) -> tuple[float, float]:
    """Return the anonymous memory of this process in MB before our sampler is made and after n batches."""
    cases = stored_cases()
    before = private_mb()
    with our_batches(cases, Path()) as batches:
        for _ in itertools.islice(batches, n):
            pass
    return before, private_mb()


def run(table: Table) -> None:
    """Add the rows of this benchmark."""
    cases, limit = stored_cases(), torch.get_num_threads()
    volumes = [volume(np.array(c.images[c.channels(MODALITIES)]), np.array(c.target)) for c in cases]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        our_setting = fastest(table, "ours", our_batches, cases, folder, OURS[:limit])
        for peer, (module, pipeline, settings) in PEERS.items():
            if not available(table, module, f"patch sampling, {peer}"):
                continue
            allowed = [setting for setting in settings if setting["threads"] <= limit]
            setting = fastest(table, peer, pipeline, volumes, folder, allowed)
            with opened(pipeline, volumes, folder / "volumes", setting) as batches:
                theirs = measure(batches, setting.get("per_volume", 1), REPEATS)
            with opened(our_batches, cases, folder, our_setting) as batches:  # never beside a peer's workers
                ours = measure(batches, repeats=REPEATS)
            table.add("patch sampling, 32^3", peer, ours, theirs, "patches/s")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        before, after = pool.submit(our_memory, MEMORY_BATCHES).result()
    disk = sum(file.stat().st_size for case in cases for file in case.folder.iterdir()) / 2**20
    table.note(
        f"our sampler: {before:.0f} MB of anonymous memory before it is made, {after:.0f} MB after "
        f"{MEMORY_BATCHES} batches; the store of {len(cases)} cases has {disk:.0f} MB on disk"
    )
