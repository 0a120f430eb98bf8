"""What a MONAI bundle does with an image. A copy of this file, and of those that it needs, lies in each bundle.

So a bundle does what ``multiseg predict`` does, by the same code, where this package is not installed. Its steps are
those that bundles have: preprocessing, network, inferer, postprocessing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor, nn

from multiseg_core.compute import Compute
from multiseg_core.errors import UserError
from multiseg_core.files import atomic_path
from multiseg_core.inference import Member, Segmenter
from multiseg_core.networks import build_network
from multiseg_core.wrappers import Conditioned

from ..data.brain_masks import brain_modality
from ..data.cohorts import Case
from ..data.image_files import like_input
from ..data.prepare import Prepared, prepare
from ..settings.preprocessing import PreprocessingParams


class Networks(nn.Module):
    """The networks of a run as one, made of what `describe` returns.

    Input (N, M, X, Y, Z) of preprocessed modalities, sizes multiples of `size_divisor`; output the probabilities of
    each network's classes, one after the other, (N, sum of C, X, Y, Z).
    """

    def __init__(self, members: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.members = [dict(m) for m in members]
        self.networks = nn.ModuleList(
            build_network(m["spec"], len(m["modalities"]), 1 + len(m["labels"])) for m in members
        )

    @property
    def modalities(self) -> tuple[str, ...]:
        """The channels of the input."""
        return tuple(dict.fromkeys(name for m in self.members for name in m["modalities"]))

    def forward(self, x: Tensor) -> Tensor:
        """Return the probabilities."""
        given = {name: x[:, k] for k, name in enumerate(self.modalities)}
        found = []
        for m, network in zip(self.members, self.networks, strict=True):
            seen = m["modalities"] if m["sees"] is None else m["sees"]
            absent = torch.full_like(x[:, 0], torch.nan)
            channels = [given[name] if name in seen else absent for name in m["modalities"]]
            task = [torch.full((len(x),), m["task"] or 0, device=x.device)] if isinstance(network, Conditioned) else []
            logits = network(torch.stack(channels, dim=1), *task)
            found.append(torch.softmax(logits.float(), dim=1))
        return torch.cat(found, dim=1)

    def segmenter(self, labels: Sequence[str], preprocessing: Mapping[str, Any]) -> Segmenter:
        """Return the networks as a `Segmenter`; clipping to the brain is left to `ToNative`."""
        members = [Member.of(network, m) for m, network in zip(self.members, self.networks, strict=True)]
        return Segmenter(members, tuple(labels), preprocessing)


def describe(segmenter: Segmenter) -> list[dict[str, Any]]:
    """Return what `Networks` is made of, as plain values."""
    return [m.described() for m in segmenter.members]


@dataclass
class Prepare:
    """Preprocessing as `PreprocessingParams` have it: from files to what networks see, a channel per modality.

    ``image`` may be one file, which of several modalities is 4-D; or a list of files in the order of the modalities,
    with null for those that are not there, unless `needs_all`.
    """

    modalities: Sequence[str]
    preprocessing: Mapping[str, Any]
    needs_all: bool

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Replace ``image`` by (M, X, Y, Z) float32, NaN where a modality is absent; keep what leads back."""
        with tempfile.TemporaryDirectory() as scratch:
            files = self._files(data["image"], Path(scratch))
            mask = data.get("brain_mask")
            how = PreprocessingParams(**self.preprocessing)
            prepared = prepare(Case("", "", files, brain_mask=Path(mask) if mask else None), how)
            like = files[brain_modality(files)]
            header = like_input(np.zeros(prepared.native_grid.shape, np.uint8), prepared.native_grid.affine, like)
        images = np.full((len(self.modalities), *prepared.images.shape[1:]), np.nan, dtype=np.float32)
        images[[self.modalities.index(m) for m in files]] = prepared.images
        affine = prepared.native_grid.affine
        meta = {"affine": affine, "original_affine": affine, "spatial_shape": prepared.native_grid.shape}
        meta["filename_or_obj"] = str(like)
        known = {"image": torch.from_numpy(images), "image_meta_dict": meta, "prepared": prepared, "like": header}
        return {**data, **known}

    def _files(self, given: Any, scratch: Path) -> dict[str, Path]:
        if isinstance(given, str | Path):
            given = [given] if len(self.modalities) == 1 else _volumes(Path(given), len(self.modalities), scratch)
        listed = ", ".join(self.modalities)
        if len(given) != len(self.modalities) or not any(given):
            raise UserError(f"image: {len(given)} files for {len(self.modalities)} modalities ({listed})")
        if self.needs_all and not all(given):
            raise UserError(f"image: every modality is needed: {listed}")
        return {m: Path(path) for m, path in zip(self.modalities, given, strict=True) if path}


def _volumes(path: Path, n: int, scratch: Path) -> list[Path]:
    """Write the volumes of a 4-D file apart."""
    image: Any = nib.load(path)
    if len(image.shape) != 4 or image.shape[3] != n:
        raise UserError(f"{path}: expected {n} volumes in one 4-D file, or a list of {n} files, got {image.shape}")
    files = [scratch / f"{k}.nii.gz" for k in range(n)]
    for k, file in enumerate(files):
        nib.save(image.slicer[..., k], file)
    return files


@dataclass
class WholeVolume:
    """Inferer: a whole volume in one pass, or in tiles that give the same numbers and take `memory_gib` at most."""

    preprocessing: Mapping[str, Any]
    precision: str
    memory_gib: float

    def __call__(self, inputs: Tensor, network: Networks, *_: Any, **__: Any) -> Tensor:
        """Return the probabilities of a batch, see `Networks`; on the CPU."""
        network.eval()
        compute = Compute.resolve(str(next(network.parameters()).device), self.precision)
        segmenter = network.segmenter((), self.preprocessing)
        found = []
        for image in inputs.cpu().numpy():
            there = [k for k in range(len(image)) if not np.isnan(image[k]).all()]
            seen = [network.modalities[k] for k in there]
            parts = segmenter.probabilities(image[there], seen, compute, self.memory_gib)
            found.append(torch.from_numpy(np.concatenate(list(parts))))
        return torch.stack(found)


@dataclass
class ToNative:
    """Postprocessing: from the probabilities of `Networks` of some members to a segmentation on the grid of the files.

    Label k of `labels` is number k + 1. With `clip_to_brain`, nothing is predicted outside the brain.
    """

    labels: Sequence[str]
    members: Sequence[Mapping[str, Any]]
    preprocessing: Mapping[str, Any]
    clip_to_brain: bool

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Replace ``pred`` by (1, X, Y, Z) uint8 on the grid of the files."""
        with torch.device("meta"):  # only how the networks go together is asked
            segmenter = Networks(self.members).segmenter(self.labels, self.preprocessing)
        prepared: Prepared = data["prepared"]
        volume = np.asarray(data["pred"].cpu(), dtype=np.float32)
        parts = np.split(volume, np.cumsum([1 + len(m.labels) for m in segmenter.members])[:-1])
        if self.clip_to_brain:
            for p in parts:
                p[:, ~prepared.mask] = np.eye(len(p), 1, dtype=p.dtype)  # background for certain
        numbers = segmenter.on_grid(parts, prepared.grid, prepared.native_grid)
        return {**data, "pred": torch.from_numpy(numbers)[None]}


@dataclass(kw_only=True)
class Evaluator:
    """Runs the steps over the `cases` of a dataset and writes the segmentations.

    `checkpoint` is the file of the network's weights. Results go to the folder `output_dir`, named after the images, or
    of a single case to the file `output`.
    """

    dataset: Sequence[Mapping[str, Any]]
    preprocessing: Any
    network: Networks
    inferer: WholeVolume
    postprocessing: Any
    device: torch.device
    checkpoint: str
    output_dir: str
    output: str | None

    def run(self) -> list[Path]:
        """Segment all cases; return the files."""
        if self.output and len(self.dataset) != 1:
            raise UserError(f"output: names one file, but there are {len(self.dataset)} cases")
        self.network.load_state_dict(torch.load(self.checkpoint, map_location="cpu", weights_only=True))
        self.network.to(self.device)
        written = []
        for case in self.dataset:
            data = self.preprocessing(case)
            data["pred"] = self.inferer(data["image"][None], self.network)[0]
            data = self.postprocessing(data)
            numbers = np.asarray(data["pred"][0], dtype=np.uint8)
            name = Path(data["image_meta_dict"]["filename_or_obj"]).name.removesuffix(".gz").removesuffix(".nii")
            path = Path(self.output or Path(self.output_dir) / f"{name}_seg.nii.gz")
            with atomic_path(path) as part:
                nib.save(type(data["like"])(numbers, None, data["like"].header), part)
            print(path)
            written.append(path)
        return written


def cases(image: Any, brain_mask: str | None, dataset_dir: str) -> list[dict[str, Any]]:
    """Return the cases of a run: the image that is named, or every NIfTI file of a folder. Raises `UserError`."""
    if image:
        return [{"image": image, "brain_mask": brain_mask}]
    files = sorted(path for path in Path(dataset_dir).glob("*.nii*") if not path.name.startswith("."))
    if not files:
        raise UserError(f"{dataset_dir}: no images; give --image FILE, or --dataset_dir FOLDER")
    return [{"image": str(path), "brain_mask": brain_mask} for path in files]
