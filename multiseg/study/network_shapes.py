"""What would stop a network in training or prediction is found before, by shapes alone (torch's meta device)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from multiseg_core.compute import Compute
from multiseg_core.errors import UserError, one_line
from multiseg_core.losses import build_loss
from multiseg_core.models import Loss, Model
from multiseg_core.networks import build_network
from multiseg_core.settings import TrainingParams
from multiseg_core.tiling import Filling, plan_tiles
from multiseg_core.wrappers import divisors, require_parts

from ..data.store import Store
from ..settings.params import Params
from .initial import read_weights, start_from
from .plan import Run, networks_of
from .scenarios import Scenario


def shapes_only(spec: Mapping[str, Any], n_modalities: int, n_classes: int = 2) -> nn.Module:
    """Build a network without numbers, on torch's meta device. Raises `UserError`."""
    try:
        try:
            with torch.device("meta"):
                return build_network(spec, n_modalities, n_classes)
        except RuntimeError:  # some compute with tensors while they are built, as SwinUNETR
            return build_network(spec, n_modalities, n_classes).to("meta")
    except UserError:
        raise
    except Exception as error:  # networks of other libraries check their options in their own ways
        raise UserError(f"network: {one_line(error)}") from None


def is_plain(spec: Mapping[str, Any]) -> bool:
    """Whether a network is the U-Net on volumes, which cuts its input into equal parts, whatever its size."""
    return spec.get("name", "unet") == "unet" and "spatial_dims" not in spec


def try_network(spec: Mapping[str, Any], n_modalities: int, training: TrainingParams) -> None:
    """Send the shapes of a training and a validation batch through a network. Raises `UserError` naming the key."""
    network = shapes_only(spec, n_modalities)
    for phase in training.phases:
        require_parts(network, phase.frozen)
    multiples = divisors(network)
    for key, n in (("patch_size", training.batch_size), ("validation_patch_size", 1)):
        size = getattr(training, key)
        if any(edge % n for edge, n in zip(size, multiples, strict=True)) and spec.get("name", "unet") == "unet":
            of = f"{multiples[0]}" if len(set(multiples)) == 1 else f"{list(multiples)}"
            raise UserError(f"training.{key}: {size} must be multiples of {of}")
        if is_plain(spec) and n * math.prod(a // b for a, b in zip(size, multiples, strict=True)) > 1:
            continue  # nothing else can be wrong, and torch's arithmetic of shapes is slow to import
        network.train(key == "patch_size")
        try:
            network(torch.empty(n, n_modalities, *size, device="meta"))
        except NotImplementedError:
            continue  # some operation has no shape-only form; training will tell
        except Exception as error:
            raise UserError(f"training.{key} {size}, batch of {n}: {one_line(error)}") from None


def try_models(scenarios: Iterable[Scenario], params: Params, models: Mapping[str, Model]) -> None:
    """Build the losses and networks of scenarios, and try weights that they start from. Raises `UserError`."""
    tried: list[object] = []
    for scenario, name in ((s, name) for s in scenarios for name in s.models):
        model, networks = models[name], scenario.networks(models[name])
        spec, training = params.network_for(model, len(scenario.tasks)), params.training_for(model)
        batches = [(spec, n, training) for n in sorted({len(modalities) for _, modalities in networks})]
        things: list[Loss | tuple[dict[str, Any], int, TrainingParams]] = [model.loss, *batches]
        for what in things:
            if what in tried:
                continue
            tried.append(what)
            try:
                if isinstance(what, Loss):
                    build_loss(what.name, torch.eye(2, dtype=torch.bool), what.options)
                else:
                    try_network(*what)
            except UserError as error:
                is_own = what is model.loss or model.network or model.training
                raise UserError(f"models.{name}.{error}" if is_own else str(error)) from None
        if model.initial is None:
            continue
        try:
            source = read_weights(Path(model.initial))
            for labels, modalities in networks:
                network = build_network(spec, len(modalities), 1 + len(labels))
                start_from(network, source, labels, modalities, model.head == "sigmoid")
        except UserError as error:
            raise UserError(f"models.{name}.initial: {error}") from None


def check_volumes(runs: Iterable[Run], store: Store, params: Params) -> None:
    """Find networks that could not predict the volumes that they are to be evaluated on. Raises `UserError`."""
    compute = Compute.resolve(params.device, params.precision)
    tried: list[object] = []
    for run in runs:
        shapes = sorted({store.opened(case, run.cohorts[case.cohort]).shape for case in run.cases}, key=math.prod)
        for plan in networks_of([run]):
            n, patch = len(plan.modalities), tuple(plan.training.patch_size)
            filling = Filling(at_least=patch, has_outside=params.preprocessing.has_outside)
            for shape in (shapes[0], shapes[-1]):
                what = (plan.network, n, shape, filling)
                if what in tried:
                    continue
                tried.append(what)
                network = shapes_only(plan.network, n).eval()
                padded = filling.size(network, shape)
                try:
                    plan_tiles(network, (n, *padded), compute, params.inference.memory_gib)
                except UserError:
                    raise
                except Exception as error:
                    whole = " x ".join(map(str, padded))
                    raise UserError(
                        f"network: cannot predict a whole volume of {whole} voxels, only patches: {one_line(error)}"
                    ) from None
