"""What a value of a params file may be: types with rules, and the error that says what was expected."""

from __future__ import annotations

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


def or_auto(value: Any) -> Any:
    """Return a value, or what ``auto`` is read as."""
    return list(AUTO) if value == "auto" else value


class _Open(int):
    """The number 0, for ``auto`` until the data have been looked at; a 0 that somebody wrote is an error."""


def _count_or_auto(value: Any, count: ValidatorFunctionWrapHandler) -> int:
    if value == "auto" or isinstance(value, _Open):
        return _Open(0)
    number: int = count(value)
    return number


CountOrAuto = Annotated[Count, WrapValidator(_count_or_auto, json_schema_input_type=Count | Literal["auto"])]

Size = Annotated[
    list[Int],
    must(lambda v: not v or (len(v) == 3 and min(v) > 0), "must be three positive whole numbers, got {0}"),
    BeforeValidator(or_auto, json_schema_input_type=list[int] | Literal["auto"]),
]
Some = Annotated[list[Text], Field(min_length=1), distinct("an entry")]
