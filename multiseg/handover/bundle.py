"""A finished run as a MONAI bundle, which runs where this package is not installed."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from multiseg_core.files import write_json
from multiseg_core.settings import InferenceParams

from ..base.files import atomic_folder
from ..base.fingerprints import ROOT, modules_needed
from .bundle_steps import describe
from .finished import Finished, version
from .model_card import TEMPLATES, model_card


def write_bundle(run: Finished, folder: Path) -> None:
    """Write a bundle: ``configs/``, ``models/model.pt``, ``scripts/``, ``docs/README.md`` and ``LICENSE``.

    The folder does not exist yet.
    """
    with atomic_folder(folder) as part:
        for name in ("configs", "models", "docs"):
            (part / name).mkdir()
        packages = packages_of(_copy_code(part / "scripts"))
        write_json(part / "configs" / "inference.json", inference_config(run))
        write_json(part / "configs" / "metadata.json", metadata(run, packages))
        torch.save(run.networks.state_dict(), part / "models" / "model.pt")
        card = model_card(run, "use_bundle.md.j2", needed=["torch", "monai", *packages])
        (part / "docs" / "README.md").write_text(card, encoding="utf-8")
        licence = ROOT / "LICENSE"
        text = licence.read_text(encoding="utf-8") if licence.is_file() else "MIT\n"
        text = f"The code in scripts/ is part of multiseg and under the MIT licence:\n\n{text}\n"
        text += "TODO: say under which licence you pass on the weights in models/.\n"
        (part / "LICENSE").write_text(text, encoding="utf-8")


def inference_config(run: Finished) -> dict[str, Any]:
    """Return ``inference.json``, with the keys that bundles have."""
    s = run.segmenter
    config = _template("inference.json")
    config |= {"members": describe(s), "preprocessing_params": dict(s.preprocessing)}
    config["preprocessing"]["transforms"][0] |= {"modalities": list(s.modalities), "needs_all": run.needs_all}
    config["inferer"] |= {"precision": s.precision, "memory_gib": InferenceParams().memory_gib}
    config["postprocessing"]["transforms"][0] |= {"labels": list(s.labels), "clip_to_brain": s.clip_to_brain}
    return config


def metadata(run: Finished, packages: list[str]) -> dict[str, Any]:
    """Return ``metadata.json``; `packages` are needed beside torch, MONAI and numpy."""
    s = run.segmenter
    about = _template("metadata.json")
    about |= {
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name) for name in packages},
        "name": run.title,
        "task": f"segmentation of {', '.join(s.labels)}",
        "description": f"One of the models of multiseg: {run.title}, run {run.facts.get('key', '')}",
    }
    spatial = [f"{n}*n" for n in run.multiple]
    is_ct = all(m.upper() == "CT" for m in s.modalities)
    image, pred = about["network_data_format"]["inputs"]["image"], about["network_data_format"]["outputs"]["pred"]
    image |= {"format": "hounsfield", "modality": "CT"} if is_ct else {"format": "magnitude", "modality": "MR"}
    image |= {"num_channels": len(s.modalities), "spatial_shape": spatial, "channel_def": _numbered(s.modalities)}
    pred |= {"num_channels": run.n_channels, "spatial_shape": spatial}
    pred["channel_def"] = _numbered(["background", *s.labels])
    if len(s.members) > 1:
        pred["note"] = "the classes of each network one after the other; channel_def is that of the segmentation"
    return about


def _template(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((TEMPLATES / name).read_text(encoding="utf-8"))
    return content


def _numbered(names: Iterable[str]) -> dict[str, str]:
    return {str(k): name for k, name in enumerate(names)}


def _copy_code(folder: Path) -> list[Path]:
    """Copy the steps and all modules of this package that they need; return the copies."""
    copies = []
    for module in modules_needed("multiseg.handover.bundle_steps"):
        source = ROOT.joinpath(*module.split("."))
        source = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
        place = source.relative_to(ROOT)
        # one package names the other by a relative path, as nothing is installed
        above = "." * len(place.parts)
        code = source.read_text(encoding="utf-8")
        code = re.sub(r"^( *from )(multiseg(?:_core)?\b)", rf"\1{above}\2", code, flags=re.M)
        copies.append(folder / place)
        copies[-1].parent.mkdir(parents=True, exist_ok=True)
        copies[-1].write_text(code, encoding="utf-8")
    for inside in {folder, *(copy.parent for copy in copies)}:
        (inside / "__init__.py").touch()
    return copies


def packages_of(files: list[Path]) -> list[str]:
    """Return the packages beside torch, MONAI and numpy that some files import when they are imported themselves."""
    found = set()
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).partition(".")[0])
    return sorted(found - set(sys.stdlib_module_names) - {"torch", "monai", "numpy", "__future__"})
