"""What params leave to the data is decided: the headers of the training images are read, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np

from multiseg_core.errors import UserError
from multiseg_core.grids import voxel_sizes
from multiseg_core.param_values import AUTO
from multiseg_core.settings import BUDGETS, TrainingParams

from ..data.cohorts import Case, Cohort
from ..data.phantom.source import HEAD_MM
from ..settings.models import NamedModel
from ..settings.params import Params
from ..settings.recipe import plan_batch, plan_levels, plan_patch, plan_spacing, plan_steps, typical

Settings = tuple[dict[str, Any], TrainingParams]
"""Of a network and its training."""

LEVELS = 4
"""Of a U-Net whose params do not say."""

OPEN = ("patch_size", "validation_patch_size", "batch_size", "steps")
"""What a training may leave to the data."""


def decide(
    params: Params, models: Mapping[str, NamedModel], cohorts: Mapping[str, Cohort]
) -> tuple[Params, dict[str, NamedModel], list[str]]:
    """Return params and models without any ``auto`` of sizes, and what was chosen, a line each.

    Raises `UserError` naming a key that does not go with others.
    """
    asked = {name: (params.network_for(model), params.training_for(model)) for name, model in models.items()}
    spacing = params.preprocessing.spacing_mm
    if spacing != AUTO and not any(map(_is_open, [(params.network, params.training), *asked.values()])):
        return params, dict(models), []
    trained = {name for s in params.scenarios.values() for name in s.train if name in cohorts}
    geometry = [found for name in trained for case in cohorts[name].cases if (found := _geometry(case, params))]
    nothing_there = not geometry  # check says which files are missing; nothing can be trained without them
    size_mm, extent_mm = typical(*zip(*(geometry or [([round(e) for e in HEAD_MM], [1.0] * 3)]), strict=True))
    chosen = [f"the typical training image has {_of(extent_mm)} mm, in voxels of {_of(size_mm)} mm"]
    if spacing == AUTO:
        planned = plan_spacing(size_mm, extent_mm, params.training.patch_voxels)
        is_own = planned == [round(float(s), 2) for s in size_mm]
        why = "its own" if is_own else "coarser than its own, so that a patch shows a third of its longest side"
        chosen.append(f"preprocessing.spacing_mm: {_of(planned)}: {why}")
        spacing = planned[0] if len(set(planned)) == 1 else planned
        params = params.changed(preprocessing=params.preprocessing.changed(spacing_mm=spacing))
    voxel: list[float] = (np.ones(3) * (size_mm if spacing is None else spacing)).tolist()
    image = _Image([max(int(n), 1) for n in np.round(extent_mm / voxel)], voxel, chosen)

    network, training = image.settle("", dict(params.network), params.training)
    params, settled = params.changed(network=network, training=training), dict(models)
    for name, model in models.items():
        own = model.training or {}
        says = model.network or ({*OPEN, *BUDGETS} - {"steps"}) & own.keys() or own.get("steps") == "auto"
        if says and _is_open(asked[name]):
            network, training = image.settle(f"models.{name}.", *asked[name])
            sizes = {key: getattr(training, key) for key in OPEN if key != "steps" or not training.phases}
            drawn = {key: network[key] for key in ("levels", "strides", "kernels") if key in network}
            update: dict[str, Any] = {"training": {**own, **sizes}, "network": {**(model.network or {}), **drawn}}
            settled[name] = model.model_copy(update=update)
    return params, settled, [] if nothing_there else chosen


@dataclass(frozen=True)
class _Image:
    """The typical training image, and what was chosen for it."""

    shape: list[int]
    voxel: list[float]  # mm
    chosen: list[str]

    def settle(
        self, where: str, spec: dict[str, Any], training: TrainingParams
    ) -> tuple[dict[str, Any], TrainingParams]:
        """Decide for the study, or for a model."""
        patch, most, multiple = training.patch_size, training.patch_voxels, None
        if spec.get("strides") == "auto":
            _require_plain(spec)
            wanted = plan_patch(self.shape, self.voxel, [1, 1, 1], most) if patch == AUTO else patch
            levels = plan_levels(wanted, self.voxel, spec.get("levels", LEVELS))
            strides, kernels = ([list(step) for step in steps] for steps in (levels.strides, levels.kernels))
            spec = {**spec, "levels": len(kernels), "strides": strides, "kernels": kernels}
            steps = " ".join("x".join(map(str, step)) for step in strides)
            self.chosen.append(f"{where}network.strides: {steps}: axes of like voxel sizes are halved together")
            multiple = levels.multiple
        if patch == AUTO:
            patch = plan_patch(self.shape, self.voxel, multiple or _multiple(spec), most)
            covers = _of(100 * np.minimum(np.asarray(patch) / self.shape, 1), 0)
            self.chosen.append(f"{where}training.patch_size: {' x '.join(map(str, patch))}: {covers} % of the image")
        seen = patch if training.validation_patch_size == AUTO else training.validation_patch_size
        training = training.changed(patch_size=patch, validation_patch_size=seen)
        if not training.batch_size:
            training = training.changed(batch_size=plan_batch(patch, most))
            n = training.batch_size * math.prod(patch)
            self.chosen.append(f"{where}training.batch_size: {training.batch_size}: {n} voxels a step")
        if not training.steps:
            from .costs import step_cost  # torch is slow to import

            flops = step_cost(spec, 1, 1, training)[1]  # of a network of one modality and two classes
            training = training.changed(steps=plan_steps(flops, training.minutes))
            self.chosen.append(
                f"{where}training.steps: {training.steps}: {training.minutes:g} minutes of a thread at "
                f"{flops / 1e9:.2g} billion operations a step"
            )
        return spec, training


def _is_open(asked: Settings) -> bool:
    network, training = asked
    return network.get("strides") == "auto" or not all(getattr(training, key) for key in OPEN)


def _require_plain(spec: Mapping[str, Any]) -> None:
    if spec.get("name", "unet") != "unet":
        raise UserError(f"network: strides: auto is for the unet, not for {spec['name']}")
    for key in ("filters", "kernels"):
        if key in spec:
            raise UserError(f"network: strides: auto chooses levels and kernels; leave out '{key}'")
    if isinstance(spec.get("convolutions", 2), list | tuple):
        raise UserError("network: strides: auto chooses the levels; give convolutions as one number")


def _multiple(spec: Mapping[str, Any]) -> tuple[int, ...]:
    """Return what patch sizes must be multiples of for a network."""
    from multiseg_core.wrappers import divisors

    from .network_shapes import shapes_only  # torch is slow to import

    return divisors(shapes_only(spec, 1))


def _geometry(case: Case, params: Params) -> tuple[list[int], list[float]] | None:
    """Return shape and voxel size (mm) of a case, axes as in the store; None if its image cannot be read."""
    if case.made_by is not None:
        size = float(case.made_by["voxel_mm"])  # type: ignore[arg-type]
        return [round(e / size) for e in HEAD_MM], [size] * 3
    try:
        image: Any = nib.load(next(iter(case.images.values())))
        shape, sizes = image.shape[:3], voxel_sizes(np.asarray(image.affine))
    except Exception:  # check says what is wrong with it
        return None
    if len(shape) < 3:
        return None
    is_native = params.preprocessing.orientation == "native"
    axes = range(3) if is_native else np.argsort(nib.io_orientation(image.affine)[:, 0])
    return [int(shape[a]) for a in axes], [float(sizes[a]) for a in axes]


def _of(values: Iterable[float], digits: int = 2) -> str:
    return " x ".join(f"{round(float(v), digits):g}" for v in values)
