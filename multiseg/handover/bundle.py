"""A finished run as a MONAI bundle, which runs where this package is not installed."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import torch

from multiseg_core.files import write_json
from multiseg_core.settings import InferenceParams

from ..base.files import atomic_folder
from ..base.fingerprints import ROOT, modules_needed
from .bundle_steps import describe
from .finished import Finished, version
from .model_card import model_card

STEPS = "multiseg.handover.bundle_steps"

LICENCE = """\
The code in scripts/ is part of multiseg and under the MIT licence:

{text}
TODO: say under which licence you pass on the weights in models/.
"""

USE = """\
This is a MONAI bundle. It needs Python with {packages}; multiseg need not be installed. In this folder:

    python -m monai.bundle run --config_file configs/inference.json --image {images} --output seg.nii.gz
    python -m monai.bundle run --config_file configs/inference.json --dataset_dir FOLDER --output_dir RESULTS

{several}`--brain_mask FILE` gives the brain, if it is known. `python -m monai.bundle` itself needs the package fire.
"""


def write_bundle(run: Finished, folder: Path) -> None:
    """Write a bundle: ``configs/``, ``models/model.pt``, ``scripts/``, ``docs/README.md`` and ``LICENSE``.

    Parameters
    ----------
    run
        The run.
    folder
        Where to; it does not exist.
    """
    with atomic_folder(folder) as part:
        for name in ("configs", "models", "docs"):
            (part / name).mkdir()
        copied = _copy_code(part / "scripts")
        write_json(part / "configs" / "inference.json", inference_config(run))
        write_json(part / "configs" / "metadata.json", metadata(run, packages_of(copied)))
        torch.save(run.networks.state_dict(), part / "models" / "model.pt")
        modalities = run.segmenter.modalities
        files = [f"{m}.nii.gz" for m in modalities]
        several = (
            f"Of several images, the list is in the order {', '.join(modalities)}"
            f"{'' if _needs_all(run) else ', with null for those that are not there'}; one 4-D file will do as well. "
            if len(files) > 1
            else ""
        )
        images = files[0] if len(files) == 1 else '"[' + ", ".join(f"'{file}'" for file in files) + ']"'
        use = USE.format(packages=", ".join(["torch", "monai", *packages_of(copied)]), images=images, several=several)
        (part / "docs" / "README.md").write_text(model_card(run, use), encoding="utf-8")
        licence = ROOT / "LICENSE"
        text = licence.read_text(encoding="utf-8") if licence.is_file() else "MIT\n"
        (part / "LICENSE").write_text(LICENCE.format(text=text), encoding="utf-8")


def inference_config(run: Finished) -> dict[str, Any]:
    """Return ``inference.json``, with the keys that bundles have."""
    s, at = run.segmenter, f"scripts.{STEPS}"
    members, how = describe(s), dict(s.preprocessing)
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "image": None,
        "brain_mask": None,
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/eval'",
        "output": None,
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "members": members,
        "preprocessing_params": how,
        "network_def": {"_target_": f"{at}.Networks", "members": "@members"},
        "network": "$@network_def.to(@device)",
        "checkpoint": "$@bundle_root + '/models/model.pt'",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": f"{at}.Prepare", "modalities": list(s.modalities),
                    "preprocessing": "@preprocessing_params", "needs_all": _needs_all(run),
                }
            ],
        },
        "dataset": {
            "_target_": f"{at}.cases", "image": "@image", "brain_mask": "@brain_mask", "dataset_dir": "@dataset_dir",
        },
        "inferer": {
            "_target_": f"{at}.WholeVolume", "preprocessing": "@preprocessing_params", "precision": s.precision,
            "memory_gib": InferenceParams.memory_gib,
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": f"{at}.ToNative", "labels": list(s.labels), "members": "@members",
                    "preprocessing": "@preprocessing_params", "clip_to_brain": s.clip_to_brain,
                }
            ],
        },
        "evaluator": {
            "_target_": f"{at}.Evaluator", "dataset": "@dataset", "preprocessing": "@preprocessing",
            "network": "@network", "inferer": "@inferer", "postprocessing": "@postprocessing", "device": "@device",
            "checkpoint": "@checkpoint", "output_dir": "@output_dir", "output": "@output",
        },
        "run": ["$@evaluator.run()"],
    }  # fmt: skip


def metadata(run: Finished, packages: list[str]) -> dict[str, Any]:
    """Return ``metadata.json``."""
    s = run.segmenter
    is_ct = all(m.upper() == "CT" for m in s.modalities)
    spatial = [f"{n}*n" for n in run.multiple]
    outputs: dict[str, Any] = {
        "type": "probabilities", "format": "segmentation", "num_channels": run.n_channels, "spatial_shape": spatial,
        "dtype": "float32", "value_range": [0, 1], "is_patch_data": False,
        "channel_def": {"0": "background", **{str(k): label for k, label in enumerate(s.labels, start=1)}},
    }  # fmt: skip
    if len(s.members) > 1:
        outputs["note"] = "the classes of each network one after the other; channel_def is that of the segmentation"
    return {
        "version": "1.0.0",
        "changelog": {"1.0.0": "exported by multiseg"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name) for name in packages},
        "name": run.title,
        "task": f"segmentation of {', '.join(s.labels)}",
        "description": f"One of the models of multiseg: {run.title}, run {run.facts.get('key', '')}",
        "authors": "TODO",
        "copyright": "TODO",
        "intended_use": "research only; not a medical device",
        "data_type": "nifti",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image", "format": "hounsfield" if is_ct else "magnitude",
                    "modality": "CT" if is_ct else "MR", "num_channels": len(s.modalities), "spatial_shape": spatial,
                    "dtype": "float32", "value_range": [], "is_patch_data": False,
                    "channel_def": {str(k): m for k, m in enumerate(s.modalities)},
                }
            },
            "outputs": {"pred": outputs},
        },
    }  # fmt: skip


def _needs_all(run: Finished) -> bool:
    return not all(member.reads_any for member in run.segmenter.members)


def _copy_code(folder: Path) -> list[Path]:
    """Copy the steps and all modules of this package that they need; return the copies."""
    copies = []
    for module in modules_needed(STEPS):
        source = ROOT.joinpath(*module.split("."))
        source = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
        place = source.relative_to(ROOT)
        copy = folder / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        # one package names the other by a relative path, as nothing is installed
        above = "." * len(place.parts)
        code = re.sub(
            r"^( *from )(multiseg(?:_core)?\b)", rf"\1{above}\2", source.read_text(encoding="utf-8"), flags=re.M
        )
        copy.write_text(code, encoding="utf-8")
        copies.append(copy)
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
