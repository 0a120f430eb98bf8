"""The params file: one YAML file that describes one study. Unknown or ill-typed keys are errors.

The defaults are the thesis's own recipe; ``params/*.yaml`` say what they change.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

import yaml
from pydantic import ValidationError

from .models import SINGLE_TASK, Loss, Model
from .utils.errors import UserError, one_line, suggest

CodeValue = Union[str, list[str]]  # noqa: UP007 - read at run time


@dataclass(frozen=True)
class CohortParams:
    """One cohort: where its cases come from and what its label codes mean."""

    source: str
    """``phantom``, ``table``, or a real layout by name: ``ibsr``, ``mrbrains13``, ``mrbrains17``, ``mrbrains18``,
    ``brats12``, ``brainweb``, ``tumorsim``."""
    preset: str | None = None
    """phantom: which cohort to imitate; the cohort's own name by default."""
    cases: int | None = None
    """phantom: number of cases; as many as in the thesis by default."""
    voxel_mm: float = 1.0
    """phantom: voxel size of the generated images."""
    seed: int = 0
    """phantom: seed of the generator."""
    manifest: str | None = None
    """table: path of the CSV manifest, relative to the params file."""
    codes: dict[int, CodeValue] | None = None
    """table: native code -> label, list of labels, ``background`` or ``ignore``. Layouts: in place of their own."""
    absent: list[str] | None = None
    """table: labels that the subjects are known not to have; none by default. Layouts: in place of their own."""
    complete_codes: dict[int, CodeValue] | None = None
    """table: what the codes of the manifest's column ``complete_labels`` mean; 0 is background, nothing hides in it."""
    folder: str | None = None
    """Layouts: where the cohort lies, relative to the params file; by default ``data_dir``/``source``."""
    variant: str | None = None
    """Layouts: which labels or images to take, where there is a choice, such as ``testing`` or ``training``."""
    exclude: list[str] = field(default_factory=list)
    """Layouts: names of cases to leave out."""
    files: dict[str, str] | None = None
    """Layouts: modality, ``labels`` or ``brain_mask`` -> file pattern in place of the layout's, with wildcards,
    relative to the folder of a case; ``{case}`` stands for its name."""


@dataclass(frozen=True)
class PreprocessingParams:
    """What is done to every case before it is stored (thesis 3.5), and before a prediction; every step is optional."""

    orientation: str = "closest_canonical"
    """``closest_canonical`` (axes reordered and flipped to be nearest to RAS+, nothing is interpolated), ``world``
    (resampled along the scanner axes, so that an oblique acquisition is rotated) or ``native`` (left as it is)."""
    spacing_mm: float | None = 1.0
    """Isotropic voxel size of the store; null keeps that of each case."""
    label_interpolation: str = "auto"
    """``nearest``, ``gaussian`` (a Gaussian per label, then the largest; smooth where grids are rotated) or ``auto``:
    nearest where only the scale changes, gaussian where the grid is rotated, as in the thesis, or where the labels are
    finer than the target by more than half."""
    brain_extraction: str = "auto"
    """Where the brain is. ``auto``: the case's mask; without one, what differs from the background of a
    brain-extracted image; else ROBEX, on the T1 if there is one. ``robex``: the case's mask, or ROBEX on any image.
    ``none``: everywhere, whatever mask the case has."""
    z_score: bool = True
    """Standardise each image inside the brain (eq. 22)."""
    outside_value: float = -4.0
    """Value of all images outside the brain, after z-scoring."""
    crop: bool = True
    """Store no more than the brain, the labels and a small margin. Predictions return to the whole image all the same."""


@dataclass(frozen=True)
class TrainingParams:
    """How a network is trained (thesis 3.4, 3.6, 4 and 6.1)."""

    steps: int = 20000
    """Upper bound of the number of optimiser steps."""
    batch_size: int = 7
    """Patches per step."""
    patch_size: list[int] = field(default_factory=lambda: [32, 32, 32])
    """Patch size in voxels."""
    learning_rate: float = 1e-3
    """Adam's rate; the peak if the schedule is one_cycle."""
    schedule: str = "constant"
    """``constant`` or ``one_cycle`` (rise to the peak over 30 % of the steps, then cosine to almost 0)."""
    weight_decay: float = 0.0
    """L2 penalty on the weights of convolutions: adds weight_decay * weight to their gradient."""
    flip: bool = True
    """Mirror half of the patches left to right."""
    noise_sd: float = 0.1
    """Standard deviation of the Gaussian noise added to patches, in z-score units."""
    validation_fraction: float = 0.2
    """Share of a training cohort's cases kept for validation, where the manifest does not say."""
    validation_every: int = 200
    """Steps between two validations; a checkpoint is written at each."""
    validation_patches: int = 10
    """Number of validation patches, the same at every validation."""
    validation_patch_size: list[int] = field(default_factory=lambda: [128, 128, 128])
    """Their size in voxels."""
    patience: int | None = 10
    """Stop after so many validations without a new minimum; null never stops early."""
    split_seed: int = 0
    """Seed of the split into training and validation cases."""


@dataclass(frozen=True)
class InferenceParams:
    """How whole volumes are segmented."""

    memory_gib: float = 4.0
    """Memory that one prediction may take; volumes that need more are cut into tiles that give the same result."""


@dataclass(frozen=True)
class ScenarioParams:
    """One question: which cohorts to train on, which to test on, which models to compare."""

    train: list[str]
    """Training cohorts. Where networks of MultiUNet disagree, later cohorts win: put lesions last."""
    test: str
    """Test cohort; cases whose split is ``test``, or all if the cohort states no split. The validation cases, if it is
    the only training cohort and marks none (the thesis's single tasks)."""
    modalities: list[str]
    """Modalities that the networks see."""
    models: list[str] = field(
        default_factory=lambda: [
            "multi_unet", "cross_entropy", "selective_cross_entropy", "dice", "selective_dice",
        ]
    )  # fmt: skip
    """Models to compare."""
    validation_fraction: float | None = None
    """In place of ``training.validation_fraction``, in this scenario."""
    own_modalities: bool = False
    """MultiUNet's networks each see every modality that their own cohorts and the test cohort share (thesis 3.2.2)."""
    notebook: str = "02_anatomy_wmh"
    """The notebook that tells this scenario."""
    title: str | None = None
    """Heading in reports."""


@dataclass(frozen=True)
class Params:
    """A whole params file."""

    cohorts: dict[str, CohortParams]
    scenarios: dict[str, ScenarioParams]
    labels: list[str] | None = None
    """Order of the foreground labels; by default the order in which the cohorts name them."""
    preprocessing: PreprocessingParams = field(default_factory=PreprocessingParams)
    network: dict[str, Any] = field(default_factory=lambda: {"name": "unet", "base_filters": 32})
    """``name`` and keyword arguments of the network."""
    training: TrainingParams = field(default_factory=TrainingParams)
    inference: InferenceParams = field(default_factory=InferenceParams)
    seeds: list[int] = field(default_factory=lambda: [0])
    """One run of every model per seed."""
    device: str = "auto"
    """``auto``, ``cpu`` or ``cuda``."""
    precision: str = "auto"
    """``auto``, ``float32`` or ``bf16``; auto takes bf16 where the hardware computes in it."""
    threads: int = 1
    """Threads per training on a CPU; weights are repeatable bit for bit for a fixed number."""
    workers: int | None = None
    """Trainings at a time; by default cores / threads on a CPU, 1 on a GPU."""
    data_dir: str | None = None
    """Folder of the real data, relative to the params file: each real layout has a sub-folder called like its source."""
    reports_dir: str | None = None
    """Where reports go, relative to the params file; by default the folder `reports` beside `params`."""
    title: str | None = None
    """Heading of the report."""
    figure_language: str = "en"
    """Language of the texts inside figures: ``en``, or ``es`` for the thesis's Spanish."""
    models: dict[str, Any] = field(default_factory=dict)
    """Models of the study's own by name, see `multiseg_core.models.Model`; an entry with the name of a built-in model
    changes only the choices that it states."""

    def network_for(self, model: Model) -> dict[str, Any]:
        """Return the ``network`` of a model: the study's, with what the model changes."""
        own = model.network or {}
        return dict(own) if "name" in own else {**self.network, **own}

    def training_for(self, model: Model) -> TrainingParams:
        """Return the ``training`` of a model: the study's, with what the model changes."""
        return dataclasses.replace(self.training, **(model.training or {}))


def load_params(path: Path) -> Params:
    """Read and check a params file.

    Raises
    ------
    UserError
        If the file is missing or not YAML, or a key is unknown, missing or of the wrong type.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such params file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    try:
        raw = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        raise UserError(
            f"{path}:{line} not valid YAML ({getattr(error, 'problem', None) or one_line(error)})"
        ) from None
    try:
        params = parse(Params, raw, "")
        params = dataclasses.replace(params, models={k: _parse_model(k, v) for k, v in params.models.items()})
        _check_values(params)
        for name, model in params.models.items():
            _check_model(params, name, model)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return params


def _parse_model(name: str, value: Any) -> Model:
    """Read an entry of ``models``. Raises `UserError` in one line."""
    where = f"models.{name}"
    try:
        model = Model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([where, *(str(part) for part in first["loc"] if part != "Loss")])
        if first["type"] == "extra_forbidden":
            known = Loss.model_fields if first["loc"][:-1] else Model.model_fields
            raise UserError(f"unknown key '{place}'{suggest(str(first['loc'][-1]), known)}") from None
        raise UserError(f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}, got {_show(first['input'])}") from None
    if model.training is None:
        return model
    own = _parse_dataclass(TrainingParams, model.training, f"{where}.training")
    return model.model_copy(update={"training": {key: getattr(own, key) for key in model.training}})


def _check_model(params: Params, name: str, model: Model) -> None:
    """Check the values of the training of a model."""
    try:
        _check_values(dataclasses.replace(params, training=params.training_for(model)))
    except UserError as error:
        raise UserError(f"models.{name}.{error}") from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses a key written twice instead of keeping the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if isinstance(key, str | int) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' appears twice", key_node.start_mark)
            if isinstance(key, str | int):
                seen.add(key)
        return super().construct_mapping(node, deep)


def parse(kind: Any, value: Any, where: str) -> Any:
    """Convert a value read from YAML to `kind` (a dataclass or a plain type), naming `where` it stands on error."""
    if dataclasses.is_dataclass(kind):
        return _parse_dataclass(kind, value, where)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, Union):
        if value is None and type(None) in args:
            return None
        errors = []
        for option in args:
            if option is type(None):
                continue
            try:
                return parse(option, value, where)
            except UserError as error:
                errors.append(error)
        raise errors[0]
    if origin is list:
        if not isinstance(value, list):
            raise UserError(f"{where}: expected a list, got {_show(value)}")
        return [parse(args[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{where}: expected a mapping, got {_show(value)}")
        return {parse(args[0], k, where): parse(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is Any:
        return value
    if kind is float and isinstance(value, str):
        try:
            return float(value)  # YAML reads 1e-3 (without a dot) as text
        except ValueError:
            pass
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, bool) and kind is not bool or not isinstance(value, kind):
        raise UserError(f"{where}: expected {_NAMES.get(kind, kind.__name__)}, got {_show(value)}")
    return value


_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _show(value: Any) -> str:
    return "nothing" if value is None else f"'{value}'"


def _parse_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise UserError(f"{where or 'file'}: expected a mapping of keys to values, got {_show(value)}")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in fields:
            raise UserError(f"unknown key '{prefix}{key}'{suggest(key, fields)}")
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in value:
            raise UserError(f"missing key '{prefix}{name}'")
    return kind(**{key: parse(hints[key], item, f"{prefix}{key}") for key, item in value.items()})


def _check_values(params: Params) -> None:
    """Check what types cannot say."""

    def require(condition: bool, message: str) -> None:
        if not condition:
            raise UserError(message)

    t = params.training
    p = params.preprocessing
    positive: dict[str, Any] = {
        "training.steps": t.steps, "training.batch_size": t.batch_size, "training.learning_rate": t.learning_rate,
        "training.validation_every": t.validation_every, "training.validation_patches": t.validation_patches,
        "threads": params.threads,
        "inference.memory_gib": params.inference.memory_gib,
        **({"preprocessing.spacing_mm": p.spacing_mm} if p.spacing_mm is not None else {}),
        **({"workers": params.workers} if params.workers is not None else {}),
        **({"training.patience": t.patience} if t.patience is not None else {}),
        **{f"cohorts.{name}.voxel_mm": c.voxel_mm for name, c in params.cohorts.items()},
        **{f"cohorts.{name}.cases": c.cases for name, c in params.cohorts.items() if c.cases is not None},
    }  # fmt: skip
    for name, value in positive.items():
        require(value > 0, f"{name}: must be above 0, got {value}")
    for key in ("patch_size", "validation_patch_size"):
        size: Sequence[int] = getattr(t, key)
        require(len(size) == 3 and min(size) > 0, f"training.{key}: must be three positive whole numbers, got {size}")
    sizes = {"preprocessing.spacing_mm": p.spacing_mm} if p.spacing_mm is not None else {}
    sizes.update({f"cohorts.{name}.voxel_mm": c.voxel_mm for name, c in params.cohorts.items()})
    for name, value in sizes.items():
        require(0.1 <= value <= 20, f"{name}: must lie between 0.1 and 20 mm, got {value:g}")
    for kind, names in (("cohorts", params.cohorts), ("scenarios", params.scenarios), ("models", params.models)):
        for name in names:
            require(re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,60}", name) is not None, f"{kind}: '{name}' is not a name: "
                    "use letters, digits and _ . + -, 61 at most")  # fmt: skip
    require(SINGLE_TASK not in params.models, f"models: '{SINGLE_TASK}' is not a name of a model: figures need it")
    labels = params.labels or []
    require(len(set(labels)) == len(labels), "labels: a label appears twice")
    require(t.noise_sd >= 0, f"training.noise_sd: must not be negative, got {t.noise_sd}")
    require(t.weight_decay >= 0, f"training.weight_decay: must not be negative, got {t.weight_decay}")
    require(0 < t.validation_fraction < 1, "training.validation_fraction: must lie between 0 and 1")
    require(math.isfinite(p.outside_value), f"preprocessing.outside_value: must be finite, got {p.outside_value}")
    _require_choice("preprocessing.orientation", p.orientation, ("closest_canonical", "world", "native"))
    _require_choice("preprocessing.label_interpolation", p.label_interpolation, ("auto", "nearest", "gaussian"))
    _require_choice("preprocessing.brain_extraction", p.brain_extraction, ("auto", "robex", "none"))
    _require_choice("training.schedule", t.schedule, ("constant", "one_cycle"))
    _require_choice("device", params.device.split(":")[0], ("auto", "cpu", "cuda"))
    _require_choice("precision", params.precision, ("auto", "float32", "bf16"))
    _require_choice("figure_language", params.figure_language, ("en", "es"))
    require(bool(params.cohorts), "cohorts: at least one is needed")
    require(bool(params.scenarios), "scenarios: at least one is needed")
    require(bool(params.seeds), "seeds: at least one is needed")
    seeds = {"training.split_seed": t.split_seed, **{f"seeds[{i}]": seed for i, seed in enumerate(params.seeds)}}
    seeds.update({f"cohorts.{name}.seed": c.seed for name, c in params.cohorts.items()})
    for name, value in seeds.items():
        require(0 <= value < 2**32, f"{name}: must lie between 0 and 2^32 - 1, got {value}")
    require(len(set(params.seeds)) == len(params.seeds), "seeds: a seed appears twice")
    for name, s in params.scenarios.items():
        where = f"scenarios.{name}"
        for key, values in (("train", s.train), ("modalities", s.modalities), ("models", s.models)):
            require(bool(values), f"{where}.{key}: at least one is needed")
            require(len(set(values)) == len(values), f"{where}.{key}: an entry appears twice")
        fraction = s.validation_fraction
        require(fraction is None or 0 < fraction < 1, f"{where}.validation_fraction: must lie between 0 and 1")
        for cohort in [*s.train, s.test]:
            require(
                cohort in params.cohorts,
                f"{where}: unknown cohort '{cohort}'{suggest(cohort, params.cohorts)}",
            )


def _require_choice(where: str, value: str, options: Sequence[str]) -> None:
    if value not in options:
        raise UserError(f"{where}: '{value}' is not one of {', '.join(options)}{suggest(value, options)}")
