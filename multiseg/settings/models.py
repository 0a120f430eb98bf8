"""Models by name: choices of the method, what each is called, and how it looks in figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from multiseg_core.models import Model

from ..base.files import yaml_beside

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


class NamedModel(Model):
    """What a model name stands for, and how it looks."""

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


MODELS: Mapping[str, NamedModel] = {
    name: NamedModel(**choices) for name, choices in yaml_beside(__file__, "models.yaml").items()
}
"""The built-in models by name."""

SINGLE_TASK_MODEL = NamedModel(title="Single task", spanish="Mono-tarea", colour="#C8C8C8", hatch="||", marker="P")
"""How `SINGLE_TASK` looks; its choices mean nothing."""

_SPARE_COLOURS = ("#6A3D9A", "#8C564B", "#17BECF", "#B2182B", "#9A9A1A", "#E377C2")
_SPARE_HATCHES = ("", "//", "oo", "--", "**", "\\\\")


def merged(own: Mapping[str, NamedModel]) -> dict[str, NamedModel]:
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
