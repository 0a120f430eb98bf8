"""Whole-volume prediction, and merging of several networks by priority."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .compute import Compute
from .errors import UserError
from .files import atomic_path
from .grids import Grid
from .networks import build_network
from .resampling import most_probable_on, reached, resample
from .settings import InferenceParams
from .tiling import Filling, fold_normalisation, predict, predict_views
from .wrappers import Conditioned

FORMAT = 3

_DESCRIBED = ("spec", "labels", "modalities", "sees", "paints", "task", "mirror", "views", "at_least")
_CHOICES = ("clip_to_brain", "precision", "brain_from", "codes")


@dataclass
class Member:
    """One network of a segmenter."""

    network: nn.Module
    """Ready to predict."""
    spec: dict[str, Any]
    """How it was built, see `build_network`."""
    labels: tuple[str, ...]
    """Its foreground labels in class order."""
    modalities: tuple[str, ...]
    """Its input channels."""
    sees: tuple[str, ...] | None = None
    """Those that it is given if they are there, of one that reads any subset; None for all."""
    paints: tuple[str, ...] | None = None
    """Those of its labels that count; None for all."""
    task: int | None = None
    """That it is asked for, of one that is conditioned."""
    mirror: tuple[int, ...] | None = None
    """Its classes in the order in which a mirror image (of the first axis) shows them, if it is asked for that too; the
    probabilities of both are averaged."""
    views: int = 1
    """How many views of a volume are predicted and averaged, see `predict_views`."""
    at_least: tuple[int, ...] = (1, 1, 1)
    """Smaller volumes are filled up to this size, as small images were in training: its patch size."""
    twins: tuple[Member, ...] = ()
    """Networks of the same kind that were trained apart; the probabilities of all are averaged."""

    @classmethod
    def of(cls, network: nn.Module, described: Mapping[str, Any]) -> Member:
        """Return a member of what `described` said of it, or of what an older version did, which said less."""
        known = {key: described[key] for key in _DESCRIBED if key in described}
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in known.items()}
        return cls(network, **values)

    def described(self) -> dict[str, Any]:
        """Return all but its network and its twins, as plain values."""
        values = {key: getattr(self, key) for key in _DESCRIBED}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}

    @property
    def kind(self) -> tuple[object, ...]:
        """What it has in common with its twins."""
        return (self.labels, self.modalities, self.sees, self.paints, self.task, self.spec.get("head"))

    @property
    def reads_any(self) -> bool:
        """Whether it can do without some of its channels."""
        return "modality_dropout" in self.spec

    def can_see(self, modalities: Sequence[str]) -> bool:
        """Whether images of some modalities are enough for it."""
        common = set(self.modalities) & set(modalities)
        return bool(common) if self.reads_any else len(common) == len(self.modalities)

    def inputs(self, images: np.ndarray, modalities: Sequence[str]) -> np.ndarray:
        """Return its channels of images (M, X, Y, Z) of some modalities; those that it is not given hold NaN."""
        names = list(modalities)
        if not self.reads_any:
            return images[[names.index(m) for m in self.modalities]]
        there = [m for m in self.modalities if m in names]
        given = [m for m in there if self.sees is None or m in self.sees] or there
        absent = np.full(images.shape[1:], np.nan, dtype=np.float32)
        return np.stack([images[names.index(m)] if m in given else absent for m in self.modalities])

    @functools.cached_property
    def ready(self) -> nn.Module:
        """The network as it predicts fastest, see `fold_normalisation`."""
        network = self.network.bound(self.task or 0) if isinstance(self.network, Conditioned) else self.network
        return fold_normalisation(network)

    def probabilities(
        self, images: np.ndarray, modalities: Sequence[str], compute: Compute, filling: Filling, memory_gib: float
    ) -> np.ndarray:
        """Return the probabilities of its classes, (C, X, Y, Z) float32, the mean of its own and its twins'."""
        inputs = self.inputs(images, modalities)
        predictions = [
            one for member in (self, *self.twins) for one in member._predictions(inputs, compute, filling, memory_gib)
        ]
        total = predictions[0]
        for other in predictions[1:]:
            total += other
        return total / len(predictions) if len(predictions) > 1 else total

    def _predictions(
        self, inputs: np.ndarray, compute: Compute, filling: Filling, memory_gib: float
    ) -> Iterator[np.ndarray]:
        """Yield the probabilities that it alone gives to its inputs, and to their mirror image."""
        how = compute, replace(filling, at_least=self.at_least), memory_gib, self.views
        yield predict_views(self.ready, inputs, *how)
        if self.mirror is not None:
            p = predict_views(self.ready, np.ascontiguousarray(inputs[:, ::-1]), *how)
            yield p[list(self.mirror), ::-1]

    def classes(
        self, images: np.ndarray, modalities: Sequence[str], compute: Compute, filling: Filling, memory_gib: float
    ) -> np.ndarray:
        """Return its most probable classes, (X, Y, Z) uint8: of `probabilities`, which a single look does without."""
        if self.twins or self.mirror or self.views > 1:
            p = self.probabilities(images, modalities, compute, filling, memory_gib)
            return p.argmax(0).astype(np.uint8)
        inputs = self.inputs(images, modalities)
        filling = replace(filling, at_least=self.at_least)
        return predict(self.ready, inputs, compute, filling, memory_gib, labels_only=True)


@dataclass
class Segmenter:
    """A finished run: one or several networks that together give every voxel a label."""

    members: list[Member]
    """Networks in order of rising priority."""
    labels: tuple[str, ...]
    """All foreground labels; the prediction holds 0 for background and k for ``labels[k - 1]``."""
    preprocessing: Mapping[str, Any]
    """What the images must undergo first, as in a params file; it says ``outside_value`` and ``brain_extraction``."""
    clip_to_brain: bool = False
    """Nothing is predicted outside the brain, see `InferenceParams`."""
    precision: str = "auto"
    """In which its run predicted, see `Params`."""
    brain_from: str = ""
    """The image on which its run found the brains of test cases; '' if they had masks."""
    codes: dict[str, int] = field(default_factory=dict)
    """Label -> native code, where all cohorts of its run agree on them; else empty."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """All modalities that some network needs, each once."""
        return tuple(dict.fromkeys(m for member in self.members for m in member.modalities))

    @property
    def filling(self) -> Filling:
        """How volumes are filled up, but for the size that each network saw in training."""
        has_outside = self.preprocessing.get("brain_extraction") != "none"  # of old files that do not say, too
        return Filling(self.preprocessing["outside_value"], has_outside=has_outside)

    def seeing(self, modalities: Sequence[str]) -> Segmenter:
        """Return the part of it that needs no other modalities than some."""
        members = [member for member in self.members if member.can_see(modalities)]
        return replace(self, members=members)

    def save(self, path: Path) -> None:
        """Write everything that `load` needs into one file of tensors and plain values."""
        content = {
            "format": FORMAT,
            "labels": list(self.labels),
            "preprocessing": dict(self.preprocessing),
            **{key: getattr(self, key) for key in _CHOICES},
            "members": [
                {"weights": {name: t.cpu() for name, t in m.network.state_dict().items()}, **m.described()}
                for m in self.members
            ],
        }
        with atomic_path(path) as part:
            torch.save(content, part)

    @classmethod
    def load(cls, path: Path) -> Segmenter:
        """Read a model file. Raises `UserError` if it is missing or not one."""
        if not path.is_file():
            raise UserError(f"{path}: no such model; is the run finished?")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            members = [
                Member.of(load_network(m["spec"], m["weights"], len(m["modalities"]), 1 + len(m["labels"])), m)
                for m in content["members"]
            ]
            choices = {key: content[key] for key in _CHOICES}
            return cls(members, tuple(content["labels"]), content["preprocessing"], **choices)
        except UserError:
            raise
        except Exception as error:  # a foreign or damaged file fails in many ways
            raise UserError(f"{path}: not a model of this program ({type(error).__name__})") from None

    def segment(self, *volume: Any, **options: Any) -> np.ndarray:
        """Return the segmentation of a preprocessed volume, (X, Y, Z) uint8 class numbers, from `class_maps`."""
        return self.merged(self.class_maps(*volume, **options))

    def class_maps(
        self,
        images: np.ndarray,
        modalities: Sequence[str],
        compute: Compute,
        memory_gib: float = InferenceParams().memory_gib,
        mask: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """Return what each network says of a preprocessed volume, (X, Y, Z) uint8 in its own classes.

        Parameters
        ----------
        images
            (M, X, Y, Z) float32.
        modalities
            Names of the M channels.
        compute
            Where to compute.
        memory_gib
            See `predict`.
        mask
            (X, Y, Z) bool, inside the brain; needed only to clip to it.
        """
        maps = [m.classes(images, modalities, compute, self.filling, memory_gib) for m in self.members]
        if self.clip_to_brain:
            assert mask is not None
            maps = [np.where(mask, class_map, np.uint8(0)) for class_map in maps]
        return maps

    def probabilities(
        self,
        images: np.ndarray,
        modalities: Sequence[str],
        compute: Compute,
        memory_gib: float = InferenceParams().memory_gib,
        mask: np.ndarray | None = None,
    ) -> Iterator[np.ndarray]:
        """Yield the probabilities that each network gives its own classes, (C, X, Y, Z) float32; see `class_maps`."""
        for m in self.members:
            p = m.probabilities(images, modalities, compute, self.filling, memory_gib)
            if self.clip_to_brain:
                assert mask is not None
                p[:, ~mask] = np.eye(len(p), 1, dtype=p.dtype)  # background for certain
            yield p

    def on_grid(self, probabilities: Sequence[np.ndarray], source: Grid, to: Grid) -> np.ndarray:
        """Return the segmentation on another grid, ``to.shape`` uint8, from `probabilities`."""
        return self.merged([most_probable_on(p, source, to) for p in probabilities])

    def masks_on_grid(self, probabilities: Sequence[np.ndarray], source: Grid, to: Grid) -> dict[str, np.ndarray]:
        """Return the segmentation label by label: label -> ``to.shape`` bool.

        Masks of binary outputs may lie over each other, see `SigmoidHead`; others are the parts of `on_grid`.
        """
        if not any(m.spec.get("head") == "sigmoid" for m in self.members):
            whole = self.on_grid(probabilities, source, to)
            return {label: whole == k for k, label in enumerate(self.labels, start=1)}
        masks = {label: np.zeros(to.shape, dtype=bool) for label in self.labels}
        for m, p in zip(self.members, probabilities, strict=True):
            for k, label in enumerate(m.labels, start=1):
                pair = p[[0, k]] / np.maximum(p[0] + p[k], 1e-12)  # background and label alone
                masks[label] |= most_probable_on(pair, source, to) > 0
        return masks

    def merged(self, maps: list[np.ndarray]) -> np.ndarray:
        """Paint the class maps of the networks over each other in order of rising priority (thesis 3.2.2)."""
        merged = np.zeros(maps[0].shape, dtype=np.uint8)
        for member, class_map in zip(self.members, maps, strict=True):
            painted_labels = member.labels if member.paints is None else member.paints
            numbers = [1 + self.labels.index(label) if label in painted_labels else 0 for label in member.labels]
            table = np.array([0, *numbers], dtype=np.uint8)
            painted = table[class_map]
            merged = np.where(painted > 0, painted, merged)
        return merged


def uncertainty(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Return how uncertain networks are, 0 to 1, (X, Y, Z) float32.

    The entropy of the class probabilities (C, X, Y, Z) as a part of the largest possible one; of several networks, the
    largest.
    """
    found = [-(p * np.log(np.maximum(p, 1e-12))).sum(0) / np.log(len(p)) for p in probabilities]
    largest: np.ndarray = functools.reduce(np.maximum, [entropy.astype(np.float32) for entropy in found])
    return np.maximum(largest, 0)


def uncertainty_on_grid(probabilities: Sequence[np.ndarray], source: Grid, to: Grid) -> np.ndarray:
    """Return `uncertainty` on another grid, ``to.shape`` float32; interpolated linearly, 0 beyond `source`."""
    result = np.zeros(to.shape, dtype=np.float32)
    window = reached(source, to)
    if all(part.stop > part.start for part in window):
        result[window] = resample(uncertainty(probabilities), source, to.cropped(window)).clip(0, 1)
    return result


def combined(models: Sequence[Segmenter]) -> Segmenter:
    """Return one model of several that were trained alike, as of other seeds or folds: their mean probabilities.

    Raises
    ------
    UserError
        If they have other labels, inputs, preprocessing or numbers of networks.
    """
    first, *others = models
    for number, other in enumerate(others, start=2):
        for what in ("labels", "preprocessing", "clip_to_brain"):
            if getattr(other, what) != getattr(first, what):
                raise UserError(f"run {number} differs from the first in its {what.replace('_', ' ')}")
        if [m.kind for m in other.members] != [m.kind for m in first.members]:
            raise UserError(f"run {number} has other networks than the first: labels, modalities or heads differ")
    members = [replace(m, twins=tuple(other.members[k] for other in others)) for k, m in enumerate(first.members)]
    return replace(first, members=members)


def load_network(
    spec: dict[str, Any], weights: dict[str, torch.Tensor], in_channels: int, out_channels: int
) -> nn.Module:
    """Build a network and fill in its weights."""
    network = build_network(spec, in_channels, out_channels)
    network.load_state_dict(weights)
    return network.eval()
