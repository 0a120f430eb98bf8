"""The models: each is five choices, and a look in figures.

`MODELS` is the table of those that are built in, the thesis's five first. A params file adds its own under ``models:``,
or changes some choices of a built-in one; `merged` puts the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NAIVE = "cross_entropy"
SELECTIVE = "selective_cross_entropy"
SEPARATE = "multi_unet"
SEPARATE_SHARED = "multi_unet_shared"
DICE = "dice"
SELECTIVE_DICE = "selective_dice"
UNIFORM = "selective_cross_entropy_uniform"
ORACLE = "oracle"
"""Names of the models that play a part in the story: text, figures and comparisons ask for them by these."""

SINGLE_TASK = "single_task"
"""Stands beside the models where a network that was trained for one task alone is shown."""


class _Choices(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Loss(_Choices):
    """A loss by name; in a params file a bare name will do."""

    name: str
    """Class name in `multiseg_core.losses`; or ``monai.NAME`` or ``torch.NAME``, a loss of MONAI or torch for complete
    labels, which is made selective."""
    options: dict[str, Any] = {}
    """Keyword arguments of the loss."""


class Sampling(_Choices):
    """Where training patches lie; in a params file a bare name will do."""

    name: Literal["relevant", "uniform"] = "relevant"
    """``relevant``, around a drawn label, or ``uniform``, anywhere in the brain (thesis 3.4 compares the two)."""
    cohorts: dict[str, Annotated[float, Field(gt=0, strict=False)]] = {}
    """Cohort -> how often its patches are drawn, compared with those of others; 1 if it is not named."""
    labels: dict[str, Annotated[float, Field(gt=0, strict=False)]] = {}
    """Label -> how often patches aim at it, compared with the other labels of a case; 1 if it is not named."""


class Pretraining(_Choices):
    """A training without labels that comes first, see `multiseg_core.pretraining`."""

    steps: int = Field(gt=0)
    """Number of its optimiser steps."""
    masked: float = Field(default=0.5, gt=0, lt=1)
    """Part of each patch that is hidden."""
    cube: int = Field(default=4, gt=0)
    """Edge of the hidden cubes in voxels."""
    learning_rate: float | None = Field(default=None, gt=0, strict=False)
    """In place of the training's."""


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Model(_Choices):
    """What a model name stands for."""

    title: str = ""
    """Name in figures and reports, may be on two lines; by default the key, in words."""
    spanish: str = ""
    """The same in Spanish figures; by default the title."""
    colour: Annotated[str, Field(pattern="^#[0-9A-Fa-f]{6}$")] = ""
    """Colour in figures as '#RRGGBB', in quotes; by default one that no other model has."""
    hatch: str = ""
    """Pattern of its bars, as matplotlib writes it."""
    marker: str = "o"
    """Marker of its points, as matplotlib writes it."""
    targets: Literal["naive", "selective", "complete", "pseudo"] = "selective"
    """What is learned where a cohort draws only some labels. ``naive``: all else is background (thesis 3.2.1).
    ``selective``: all else is background or any label that the cohort does not draw. ``complete``: as selective, with
    the background filled from complete labels, an upper bound, where somebody knows the truth. ``pseudo``: networks of
    the single tasks first label what the other cohorts leave out."""
    loss: Annotated[Loss, BeforeValidator(_named, json_schema_input_type=str | Loss)] = Loss(
        name="SelectiveCrossEntropy"
    )
    """The loss; on targets of single classes, such as naive ones, selective cross-entropy is plain cross-entropy."""
    sampling: Annotated[
        Sampling, BeforeValidator(_named, json_schema_input_type=Literal["relevant", "uniform"] | Sampling)
    ] = Sampling()
    """Where training patches lie."""
    networks: Literal["one", "per_task"] = "one"
    """One network for all tasks, or one for each, merged by priority (thesis 3.2.2)."""
    inputs: Literal["shared", "own", "any"] = "shared"
    """``shared``: networks see the scenario's modalities. ``own``: of one per task, each sees what its own cohorts and
    the test cohort have, where the scenario says ``own_modalities``. ``any``: one network for every subset of the
    modalities of its cohorts; absent ones are masked, present ones dropped at random in training
    (``network: {modality_dropout: 0.5}``)."""
    asked: Literal["per_task", "once"] = "per_task"
    """Of ``inputs: any``: ``per_task``, for a prediction it is asked once per task, with what that task's cohorts have,
    for what an image shows beyond that was never supervised for the task; or ``once``, with all that there is."""
    head: Literal["softmax", "sigmoid", "conditioned"] = "softmax"
    """``softmax``: classes that exclude each other. ``sigmoid``: one binary output per label, so that labels may lie
    over each other, see `multiseg_core.wrappers.SigmoidHead`; takes the loss ``SelectiveSigmoid``. ``conditioned``: one
    network that is told which task it works for and is asked for each in turn, see
    `multiseg_core.wrappers.Conditioned`; with naive targets it learns each task as its own cohorts draw it."""
    initial: str | None = None
    """Weights to start from, relative to the params file: the folder of a finished run with one network, or a file of
    tensors by name, of any program; or ``package:NAME``, the file that an installed package brings along. Taken where
    names and shapes agree; of the last layer the classes, and of the first the modalities, that both have."""
    continues: str | None = None
    """Scenario of the same study, or SCENARIO/MODEL, whose network it starts from, in the same replicate and seed: to
    learn one class more, say, with the scenario's ``labels`` naming what it knew before. Of the same model by
    default."""
    pretraining: Pretraining | None = None
    """Learn first, without labels, to fill in what is hidden of the images of all its scenario's training cohorts, also
    those that draw nothing; then start from that. Models that agree in their network, the size and number of their
    patches and this share one such training."""
    network: dict[str, Any] | None = None
    """Changes to the study's ``network``, for this model only; with a ``name``, another network altogether."""
    training: dict[str, Any] | None = None
    """Changes to the study's ``training``, for this model only."""


_DICE_CE = Loss(name="monai.DiceCELoss", options={"batch": True, "include_background": False})
_PALER = "#7FC8B5"  # variants of selective cross-entropy: its colour, paler, with a pattern

MODELS: Mapping[str, Model] = {
    SEPARATE: Model(
        title="MultiUNet", spanish="MultiUNet", colour="#005A9C", targets="naive", networks="per_task", inputs="own",
    ),
    NAIVE: Model(
        title="Cross-entropy\n(naive)", spanish="Entropía cruzada\n(naive)", colour="#C4470C", targets="naive",
    ),
    SELECTIVE: Model(
        title="Selective\ncross-entropy", spanish="Entropía cruzada\nselectiva", colour="#00876A",
    ),
    DICE: Model(
        title="Dice", spanish="Dice", colour="#DDA0CB", targets="naive", loss=Loss(name="SoftDice"),
    ),
    SELECTIVE_DICE: Model(
        title="Selective\nDice", spanish="Dice\nselectivo", colour="#F2C230",
        targets="naive", loss=Loss(name="SelectiveDice"),
    ),
    "selective_dice_ce": Model(
        title="Selective\nDice + CE", spanish="Dice + E. C.\nselectivos", colour="#B08900", marker="<",
        loss=_DICE_CE,
    ),
    "selective_focal": Model(
        title="Selective\nfocal", spanish="Focal\nselectiva", colour="#9E5BB5", marker=">",
        loss=Loss(name="monai.FocalLoss"),
    ),
    "selective_exclusion": Model(
        title="Selective CE\n+ exclusion", spanish="E. C. selectiva\n+ exclusión", colour="#5E7F2A", marker="*",
        loss=Loss(name="SelectiveExclusion"),
    ),
    "sigmoid": Model(
        title="Sigmoid\nheads", spanish="Salidas\nsigmoides", colour="#A65E2E", marker="8", head="sigmoid",
        loss=Loss(name="SelectiveSigmoid"),
    ),
    "conditioned": Model(
        title="Conditioned\non the task", spanish="Condicionada\na la tarea", colour="#7A7F1C", marker="H",
        targets="naive", head="conditioned",
    ),
    "any_modalities": Model(
        title="Any\nmodalities", spanish="Cualquier\nmodalidad", colour="#2F6F7E", marker="h", inputs="any",
        loss=_DICE_CE,
    ),
    "patchwise_selective_cross_entropy": Model(
        title="Patch-wise\nselective CE", spanish="E. C. selectiva\npor parche",
        colour=_PALER, hatch="///", marker="^", loss=Loss(name="PatchwiseSelectiveCrossEntropy"),
    ),
    UNIFORM: Model(
        title="Selective CE,\nuniform patches", spanish="E. C. selectiva,\nparches uniformes",
        colour=_PALER, hatch="...", marker="v", sampling=Sampling(name="uniform"),
    ),
    # patches around labels nearly always hold what their cohort draws; elsewhere the set of the patch is another one
    "patchwise_selective_cross_entropy_uniform": Model(
        title="Patch-wise sel. CE,\nuniform patches", spanish="E. C. sel. por parche,\nparches uniformes",
        colour=_PALER, hatch="xxx", marker="X", loss=Loss(name="PatchwiseSelectiveCrossEntropy"),
        sampling=Sampling(name="uniform"),
    ),
    # as pseudo-labels need them, so they are trained but once
    SEPARATE_SHARED: Model(
        title="MultiUNet,\nshared inputs", spanish="MultiUNet,\nmismas entradas",
        colour="#8DBBE0", hatch="++", marker="p", targets="naive", networks="per_task",
    ),
    # plain cross-entropy: completed labels are single classes, but for coarse, ignored and foreign ones
    ORACLE: Model(
        title="Oracle", spanish="Oráculo", colour="#3A3A3A", marker="D", targets="complete",
    ),
    "pseudo_labels": Model(  # its colour: it learns from the networks of MultiUNet
        title="Pseudo-labels", spanish="Pseudoetiquetas", colour="#8DBBE0", hatch="\\\\\\", marker="s",
        targets="pseudo",
    ),
}  # fmt: skip
"""The built-in models by name. Five main ones whose colours stay apart for colour-blind readers (after Okabe and Ito,
but of more different lightness); the others differ in pattern and marker as well."""

SINGLE_TASK_MODEL = Model(title="Single task", spanish="Mono-tarea", colour="#C8C8C8", hatch="||", marker="P")
"""How `SINGLE_TASK` looks; its choices mean nothing."""

_SPARE_COLOURS = ("#6A3D9A", "#8C564B", "#17BECF", "#B2182B", "#9A9A1A", "#E377C2")
_SPARE_HATCHES = ("", "//", "oo", "--", "**", "\\\\")


def merged(own: Mapping[str, Model]) -> dict[str, Model]:
    """Return the built-in models and those of a params file, by name.

    An entry with the name of a built-in model changes only the choices that it states. All others get what figures
    need, where they do not say it: a title, and a colour and pattern of their own.
    """
    models = dict(MODELS)
    for i, (name, model) in enumerate((name, model) for name, model in own.items() if name not in MODELS):
        title = model.title or name.replace("_", " ")
        look = {"title": title, "spanish": model.spanish or title}
        if not model.colour:
            look["colour"] = _SPARE_COLOURS[i % len(_SPARE_COLOURS)]
            look["hatch"] = model.hatch or _SPARE_HATCHES[i // len(_SPARE_COLOURS) % len(_SPARE_HATCHES)]
        models[name] = model.model_copy(update=look)
    for name in own.keys() & MODELS.keys():
        models[name] = MODELS[name].model_copy(
            update={key: getattr(own[name], key) for key in own[name].model_fields_set}
        )
    return models
