"""A model is five choices, targets, loss, sampling, networks and inputs, and what else differs from its study."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Settings(BaseModel):
    """A section of a params file: unknown and ill-typed keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def changed(self, **values: Any) -> Self:
        """Return the section with other values, which are checked."""
        return type(self)(**{**dict(self), **values})


class _Choices(Settings):
    model_config = ConfigDict(strict=True)


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
    """A training without labels that comes first, see `multiseg.study.pretraining`."""

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
