"""What a value of a params file may be, beyond the values of the method's own settings."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator

from multiseg_core.param_values import Positive, Text, must, or_auto


def is_device(name: str) -> bool:
    """Whether a device of torch, or ``auto``, is meant."""
    return name.split(":")[0] in ("auto", "cpu", "cuda")


Millimetres = Annotated[Positive, must(lambda v: 0.1 <= v <= 20, "must lie between 0.1 and 20 mm, got {0:g}")]
Spacing = Annotated[
    Millimetres
    | Annotated[list[Millimetres], must(lambda v: len(v) in (0, 3), "must be one number or three, got {0}")],
    BeforeValidator(or_auto, json_schema_input_type=float | list[float] | Literal["auto"]),
]
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,60}")
"""What cohorts, scenarios and models may be called."""

Name = Annotated[
    Text,
    must(lambda v: NAME.fullmatch(v) is not None, "'{0}' is not a name: use letters, digits and _ . + -, 61 at most"),
]
CodeValue = Text | list[Text]
