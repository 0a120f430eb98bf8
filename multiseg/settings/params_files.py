"""Reading params files: YAML with bases, checked against the schema of `params`, with errors of one line.

`json_schema` tells editors what a file may hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from multiseg_core.errors import UserError, one_line, suggest
from multiseg_core.models import Loss, Pretraining, Sampling
from multiseg_core.settings import InferenceParams, TrainingParams

from ..base.files import PACKAGE, located, weights_file
from .models import NamedModel
from .params import CohortParams, Params, ScenarioParams, joined
from .preprocessing import PreprocessingParams

# -- reading -------------------------------------------------------------------------------------------------------


def load_params(path: Path) -> Params:
    """Read and check a params file.

    Raises
    ------
    UserError
        If the file is missing or not YAML, or a key is unknown, missing or of the wrong type.
    """
    raw = _read(path, ())
    try:
        params = _validated(Params, raw)
        models = {name: _with_training(params, name, model) for name, model in params.models.items()}
        models = {name: _with_initial(name, model, path.parent.absolute()) for name, model in models.items()}
        for name, s in params.scenarios.items():
            for cohort in (*s.train, *s.test):
                # part of a cohort whose cases draw different labels; `Study` knows which there are
                is_part = any(cohort.startswith(f"{name}.") for name in params.cohorts)
                if cohort not in params.cohorts and not is_part:
                    known = suggest(cohort, params.cohorts)
                    raise UserError(f"scenarios.{name}: unknown cohort '{cohort}'{known}")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return params.changed(models=models)


def params_files(path: Path) -> list[Path]:
    """Return a readable params file and those that it starts from, nearest first."""
    found = {path.resolve(): path}
    for base in _bases(yaml.safe_load(path.read_text(encoding="utf-8"))):
        for file in params_files(located(path.parent, base)):
            found.setdefault(file.resolve(), file)
    return list(found.values())


def json_schema() -> dict[str, Any]:
    """Return what `load_params` asks for as a JSON schema, for editors that complete and check YAML.

    Nothing is required in it: what a file leaves out may stand in its base. An entry of a section may be null.
    """
    schema = Params.model_json_schema()
    schema["$defs"]["NamedModel"]["properties"]["training"] |= {
        "anyOf": [{"$ref": "#/$defs/TrainingParams"}, {"type": "null"}]
    }
    for part in (schema, *schema["$defs"].values()):
        part.pop("required", None)
        for entry in part.get("properties", {}).values():
            default = entry.get("default")
            if default == [] or (isinstance(default, dict) and "name" not in default):
                del entry["default"]  # says nothing, or what its section says
    for section in ("cohorts", "scenarios", "models"):
        entry = schema["properties"][section].pop("additionalProperties")
        schema["properties"][section]["additionalProperties"] = {"anyOf": [entry, {"type": "null"}]}
    return schema


def _with_training(params: Params, name: str, model: NamedModel) -> NamedModel:
    """Check what a model changes of the training, which may depend on the rest; return it with numbers as numbers."""
    if model.training is None:
        return model
    where = ("models", name, "training")
    own = _validated(TrainingParams, {**params.training.model_dump(), **model.training}, where)
    return model.model_copy(update={"training": {key: getattr(own, key) for key in model.training}})


def _with_initial(name: str, model: NamedModel, folder: Path) -> NamedModel:
    """Return a model that says where its initial weights lie, whatever the place of the program."""
    if not model.initial:
        return model
    try:
        return model.model_copy(update={"initial": str(weights_file(folder, model.initial))})
    except UserError as error:
        raise UserError(f"models.{name}.initial: {error}") from None


def _read(path: Path, above: tuple[Path, ...]) -> Any:
    """Read a params file and those that it starts from; `above` are those that start from it."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        missing = f"{above[-1]}: base: no such params file: {path}" if above else f"{path}: no such params file"
        raise UserError(missing) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or one_line(error)
        raise UserError(f"{path}:{line} not valid YAML ({problem})") from None
    if above and isinstance(raw, dict):
        _keep_paths(raw, path.parent)
    whole: Any = None
    for name in _bases(raw):
        base = located(path.parent, name)
        if base.resolve() in [file.resolve() for file in (*above, path)]:
            raise UserError(f"{path}: base: '{name}' starts from this file")
        read = _read(base, (*above, path))
        if whole is not None and (key := _disputed(whole, read, raw)):
            raise UserError(f"{path}: base: {name} and those before it differ in {key}; say here what holds")
        whole = read if whole is None else joined(whole, read)
    if whole is None:
        return raw
    whole = joined(whole, raw)
    for section in _NAMED:
        if isinstance(entries := whole.get(section), dict):
            whole[section] = {name: entry for name, entry in entries.items() if entry is not None}
    return whole


_NAMED = ("cohorts", "scenarios", "models", "label_titles")
"""Sections of entries with names. All else concerns a whole study."""


def _bases(raw: Any) -> list[str]:
    """Return what stands under ``base``, if it is a file or a list of files."""
    given = raw.get("base") if isinstance(raw, dict) else None
    listed = [given] if isinstance(given, str) else given
    return listed if isinstance(listed, list) and all(isinstance(name, str) for name in listed) else []


def _disputed(one: Any, other: Any, own: Any, place: tuple[str, ...] = ()) -> str | None:
    """Return the first key of which two bases say different things, and the file that joins them nothing.

    What concerns a whole study must stand in both, or one would lend it to the other, whose numbers would change; of
    cohorts, scenarios, models and titles each may have its own.
    """
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return None if one == other else ".".join(place)
    for key in dict.fromkeys([*one, *other]):
        said = own.get(key) if isinstance(own, Mapping) else None
        settled = isinstance(own, Mapping) and key in own and not isinstance(said, Mapping)
        apart = len(place) == 1 and place[0] in _NAMED and not (key in one and key in other)
        if not settled and not apart:
            found = _disputed(one.get(key, {}), other.get(key, {}), said, (*place, str(key)))
            if found:
                return found
    return None


def _keep_paths(raw: dict[str, Any], folder: Path) -> None:
    """Make what is relative to a params file relative to the place where the program runs."""
    entries: list[Any] = [raw]
    for section in (raw.get("cohorts"), raw.get("models")):
        entries += section.values() if isinstance(section, dict) else ()
    for entry in entries:
        for key in ("data_dir", "reports_dir", "manifest", "folder", "initial"):
            value = entry.get(key) if isinstance(entry, dict) else None
            if isinstance(value, str) and not value.startswith(PACKAGE):
                entry[key] = str(located(folder.absolute(), value))


class _UniqueKeyLoader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses a key written twice instead of keeping the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # <<: *anchor, whose keys may be overridden
                continue
            key = self.construct_object(key_node, deep=deep)
            if isinstance(key, str | int) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' appears twice", key_node.start_mark)
            if isinstance(key, str | int):
                seen.add(key)
        return super().construct_mapping(node, deep)


# -- errors of one line --------------------------------------------------------------------------------------------

_SECTIONS: Mapping[str, Any] = {
    "cohorts": CohortParams, "scenarios": ScenarioParams, "models": NamedModel, "preprocessing": PreprocessingParams,
    "training": TrainingParams, "inference": InferenceParams, "loss": Loss, "sampling": Sampling,
    "pretraining": Pretraining,
}  # fmt: skip
_KINDS: Mapping[str, str] = {
    "int": "a whole number", "float": "a number", "string": "a text", "bool": "true or false", "list": "a list",
    "dict": "a mapping", "model": "a mapping of keys to values",
}  # fmt: skip


def _validated(kind: Any, raw: Any, where: tuple[str, ...] = ()) -> Any:
    """Return a section made from what YAML holds. Raises `UserError` in one line for the first error."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    order = ("extra_forbidden", "missing")
    # of a value that may be of several types, what is wrong with it says more than that it is not of the others

    def weight(e: Any) -> tuple[int, bool]:
        return (
            order.index(e["type"]) if e["type"] in order else len(order),
            e["type"].endswith(("_type", "literal_error")),
        )

    first = min(errors, key=weight)
    kind_of, value, loc = first["type"], first["input"], first["loc"]
    parts: list[str] = []
    node = raw
    for part in loc:  # a place in the file, without the branches of unions
        if (isinstance(node, Mapping) and part in node) or (kind_of == "missing" and part == loc[-1]):
            parts.append(str(part))
            node = node[part] if part != loc[-1] or kind_of != "missing" else None
        elif isinstance(node, list) and isinstance(part, int):
            parts[-1] += f"[{part}]"
            node = node[part]
    if loc and loc[-1] == "[key]":
        parts = parts[:-1]
    parts = [*where, *parts]
    place = ".".join(parts)
    if kind_of == "extra_forbidden":
        section = next((p for i, p in reversed(list(enumerate(parts[:-1]))) if p in _SECTIONS and i != 1), None)
        known = (_SECTIONS[section] if section else kind).model_fields
        raise UserError(f"unknown key '{place}'{suggest(parts[-1], known)}")
    raise UserError(f"missing key '{place}'" if kind_of == "missing" else f"{place or 'file'}: {_reason(first, value)}")


def _reason(error: Any, value: Any) -> str:
    """Say what is wrong with a value."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "greater_than":
        return f"must be above {context['gt']:g}, got {value}"
    if kind == "too_short":
        return "at least one is needed"
    if kind == "literal_error":
        options = re.findall("'([^']*)'", context["expected"])
        return f"'{value}' is not one of {', '.join(options)}{suggest(value, options)}"
    shown = "nothing" if value is None else f"'{value}'"
    if isinstance(value, bool) and not kind.startswith("bool"):
        word = "true, yes or on" if value else "false, no or off"
        shown += f" (YAML takes {word} for a truth value; if it is a name, quote it)"
    expected = _KINDS.get(kind.partition("_")[0])
    return (
        f"expected {expected}, got {shown}"
        if expected
        else f"{error['msg'][:1].lower()}{error['msg'][1:]}, got {shown}"
    )


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1))
