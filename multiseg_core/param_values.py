"""What a value of a params file may be: types with rules, and the error that says what was expected."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidatorFunctionWrapHandler, WrapValidator


def must(condition: Callable[[Any], bool], message: str) -> AfterValidator:
    """Return a rule for a value; `message` may hold ``{0}``, the value."""

    def check(value: Any) -> Any:
        if value is not None and not condition(value):
            raise ValueError(message.format(value))
        return value

    return AfterValidator(check)


def _number(value: Any) -> Any:
    """YAML reads 1e-3, without a dot, as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def distinct(what: str) -> AfterValidator:
    """Return the rule that no value of a list stands in it twice."""
    return must(lambda values: len(set(values)) == len(values), f"{what} appears twice")


def is_device(name: str) -> bool:
    """Whether a device of torch, or ``auto``, is meant."""
    return name.split(":")[0] in ("auto", "cpu", "cuda")


_NAME = "'{0}' is not a name: use letters, digits and _ . + -, 61 at most"
SHARE = must(lambda v: 0 <= v < 1, "must be 0 or lie between 0 and 1")

Text = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Int = Annotated[int, Field(strict=True)]
Count = Annotated[Int, Field(gt=0)]
Seed = Annotated[Int, must(lambda v: 0 <= v < 2**32, "must lie between 0 and 2^32 - 1, got {0}")]
Number = Annotated[float, Field(strict=True), BeforeValidator(_number)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, must(lambda v: v >= 0, "must not be negative, got {0}")]
AUTO: list[Any] = []
"""What ``auto`` is read as, until the data have been looked at, see `study.automatic`."""


def _auto(value: Any) -> Any:
    return list(AUTO) if value == "auto" else value


class _Open(int):
    """The number 0, for ``auto`` until the data have been looked at; a 0 that somebody wrote is an error."""


def _count_or_auto(value: Any, count: ValidatorFunctionWrapHandler) -> int:
    if value == "auto" or isinstance(value, _Open):
        return _Open(0)
    number: int = count(value)
    return number


CountOrAuto = Annotated[Count, WrapValidator(_count_or_auto, json_schema_input_type=Count | Literal["auto"])]

Millimetres = Annotated[Positive, must(lambda v: 0.1 <= v <= 20, "must lie between 0.1 and 20 mm, got {0:g}")]
Spacing = Annotated[
    Millimetres
    | Annotated[list[Millimetres], must(lambda v: len(v) in (0, 3), "must be one number or three, got {0}")],
    BeforeValidator(_auto, json_schema_input_type=float | list[float] | Literal["auto"]),
]
Size = Annotated[
    list[Int],
    must(lambda v: not v or (len(v) == 3 and min(v) > 0), "must be three positive whole numbers, got {0}"),
    BeforeValidator(_auto, json_schema_input_type=list[int] | Literal["auto"]),
]
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,60}")
"""What cohorts, scenarios and models may be called."""

Name = Annotated[Text, must(lambda v: NAME.fullmatch(v) is not None, _NAME)]
Some = Annotated[list[Text], Field(min_length=1), distinct("an entry")]
CodeValue = Text | list[Text]
