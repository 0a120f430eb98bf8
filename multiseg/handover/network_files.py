"""The networks of a run alone, as TorchScript or ONNX, with what must be done before and after as JSON."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import torch

from multiseg_core.errors import UserError, one_line
from multiseg_core.files import write_json

from ..base.files import atomic_folder
from .bundle_steps import describe
from .finished import Finished
from .model_card import model_card

TOLERANCE = 1e-4
"""Probabilities of the exported networks differ by less from those of the run."""


def write_network(run: Finished, folder: Path, kind: str) -> None:
    """Write ``model.ts`` or ``model.onnx``, ``preprocessing.json`` and a model card into a folder that does not exist.

    Raises
    ------
    UserError
        If a package is missing, or the networks cannot be written down so that other sizes give the same numbers.
    """
    if kind == "onnx" and (missing := [n for n in ("onnx", "onnxscript") if importlib.util.find_spec(n) is None]):
        raise UserError(f"--to onnx needs the package{'s' * (len(missing) > 1)} {' and '.join(missing)} (pip install)")
    if any("window" in m.spec for m in run.segmenter.members):
        raise UserError(f"--to {kind}: networks that read windows cannot be written down alone; use --to bundle")
    name = {"torchscript": "model.ts", "onnx": "model.onnx"}[kind]
    with atomic_folder(folder) as part:
        (_torchscript if kind == "torchscript" else _onnx)(run, part / name)
        write_json(part / "preprocessing.json", facts(run))
        (part / "README.md").write_text(model_card(run, "use_network.md.j2", name=name), encoding="utf-8")


def facts(run: Finished) -> dict[str, object]:
    """Return what must be done to images before the networks, and to probabilities after them."""
    s = run.segmenter
    return {
        "modalities": list(s.modalities),
        "labels": list(s.labels),
        "preprocessing": dict(s.preprocessing),
        "brain_from": run.shows_brain,
        "pad": {
            "at_least": np.max([m.at_least for m in s.members], axis=0).tolist(),
            "value": s.preprocessing["outside_value"],
            "multiple": run.multiple,
            "multiple_by": "value" if s.filling.has_outside else "repeating the outermost voxels",
            "where": "both sides",
        },
        "networks": [
            {key: m[key] for key in ("labels", "modalities", "sees", "paints", "mirror", "views")} for m in describe(s)
        ],
        "after": [
            *_means(run),
            "interpolate each probability linearly to the grid of the image",
            "take the most probable class of each network",
            "paint the labels of later networks over those of earlier ones",
        ],
    }


def _means(run: Finished) -> list[str]:
    """Return of what the probabilities of one volume must be means, if of anything."""
    found, members = [], run.segmenter.members
    if (n := members[0].views) > 1:
        windows = " x ".join(map(str, run.windows))
        found.append(f"average {n} views: view k of 0 to {n - 1} lacks the first k / {n} of {windows} planes")
    if any(m.mirror for m in members):
        found.append("average with the mirror image (first axis), whose classes have the order of networks.mirror")
    return found


def _examples(run: Finished) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two inputs of other sizes, also along the batch, with all that a network may do to a size."""
    generator = torch.Generator().manual_seed(0)
    n, windows = len(run.segmenter.modalities), np.array(run.windows)
    sizes = [np.array(k) * windows for k in ((2, 2, 2), (3, 2, 4))]
    # where any size is allowed, the first leaves one voxel over at every level: what is done about it must be recorded
    sizes[0] = sizes[0] + ((windows > 1) & (np.array(run.multiple) == 1))
    small, other = (torch.randn(k + 1, n, *size, generator=generator) for k, size in enumerate(sizes))
    return small, other


def _torchscript(run: Finished, path: Path) -> None:
    small, other = _examples(run)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # branches on sizes, tried below; tracing has a successor that ONNX uses
        try:
            traced = torch.jit.trace(run.networks, small, check_trace=False)
        except Exception as error:  # of networks from elsewhere, anything may be untraceable
            raise UserError(f"--to torchscript: the network cannot be traced ({one_line(error)[:200]})") from None
        try:
            apart = max(float((traced(x) - run.networks(x)).abs().max()) for x in (small, other))
        except RuntimeError:
            apart = torch.inf
        if not apart < TOLERANCE:
            raise UserError("--to torchscript: the network depends on the size of its input; use --to bundle")
        torch.jit.save(traced, path)


def _onnx(run: Finished, path: Path) -> None:
    small, _ = _examples(run)
    axes = {name: {0: "n", 2: "x", 3: "y", 4: "z"} for name in ("image", "probabilities")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        try:
            torch.onnx.export(
                run.networks, (small,), path, input_names=["image"], output_names=["probabilities"],
                dynamic_axes=axes, dynamo=False, opset_version=18,
            )  # fmt: skip
        except Exception as error:  # what networks from elsewhere do may have no counterpart
            raise UserError(f"--to onnx: the network cannot be written ({one_line(error)[:200]})") from None
