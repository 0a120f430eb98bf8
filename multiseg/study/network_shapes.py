"""What would stop a network in training or prediction is found before, by shapes alone (torch's meta device)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from multiseg_core.compute import Compute
from multiseg_core.errors import UserError, one_line
from multiseg_core.networks import build_network
from multiseg_core.settings import TrainingParams
from multiseg_core.tiling import Filling, plan_tiles
from multiseg_core.wrappers import divisors, require_parts


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
        usual = spec.get("name", "unet") == "unet" and "spatial_dims" not in spec
        if usual and n * math.prod(a // b for a, b in zip(size, multiples, strict=True)) > 1:
            continue  # nothing else can be wrong, and torch's arithmetic of shapes is slow to import
        network.train(key == "patch_size")
        try:
            network(torch.empty(n, n_modalities, *size, device="meta"))
        except NotImplementedError:
            continue  # some operation has no shape-only form; training will tell
        except Exception as error:
            raise UserError(f"training.{key} {size}, batch of {n}: {one_line(error)}") from None


def try_volumes(
    spec: Mapping[str, Any], n_modalities: int, shapes: Sequence[Sequence[int]], filling: Filling,
    compute: Compute, memory_gib: float,
) -> None:  # fmt: skip
    """Plan the prediction of whole volumes, (X, Y, Z) each. Raises `UserError` if a network cannot take one."""
    network = shapes_only(spec, n_modalities).eval()
    for shape in shapes:
        padded = filling.size(network, shape)
        try:
            plan_tiles(network, (n_modalities, *padded), compute, memory_gib)
        except UserError:
            raise
        except Exception as error:
            whole = " x ".join(map(str, padded))
            raise UserError(
                f"network: cannot predict a whole volume of {whole} voxels, only patches: {one_line(error)}"
            ) from None
