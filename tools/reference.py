"""The reference part of the documentation, made from the code: keys of params files, commands, models.

``python -m tools.reference docs/reference`` writes it; a test compares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from multiseg.commands.cli import build_parser
from multiseg.report.glossary import describe
from multiseg.settings.models import MODELS
from multiseg.settings.params_files import json_schema
from multiseg_core.files import atomic_path


def pages() -> dict[str, str]:
    """Return the pages as Markdown: file name -> text."""
    return {"params.md": _params(), "commands.md": _commands(), "models.md": _models()}


def _params() -> str:
    schema: dict[str, Any] = json_schema()
    parts = ["# Params files\n\nMade from `params/schema.json`, by which editors complete and check them.\n"]
    parts.append(_table("A params file", schema))
    for name, part in schema.get("$defs", {}).items():
        if "properties" in part:
            parts.append(_table(name.removesuffix("Params"), part))
    return "\n".join(parts)


def _table(title: str, schema: Mapping[str, Any]) -> str:
    lines = [f"## {title}\n", "| key | values | default | what it is |", "|---|---|---|---|"]
    required = set(schema.get("required", ()))
    for key, about in schema["properties"].items():
        default = "required" if key in required else f"`{_plain(about['default'])}`" if "default" in about else ""
        text = " ".join(str(about.get("description", "")).split()).replace("|", "\\|").replace("``", "`")
        lines.append(f"| `{key}` | {' or '.join(dict.fromkeys(_kinds(about)))} | {default} | {text} |")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    names = {None: "null", True: "true", False: "false"}
    return names[value] if value is None or isinstance(value, bool) else str(value).replace("|", "\\|")


def _kinds(about: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a value may be, in words."""
    if "enum" in about:
        yield ", ".join(f"`{value}`" for value in about["enum"])
    elif "const" in about:
        yield f"`{_plain(about['const'])}`"
    elif "$ref" in about:
        yield about["$ref"].rpartition("/")[2].removesuffix("Params")
    elif "anyOf" in about or "oneOf" in about:
        for part in about.get("anyOf") or about["oneOf"]:
            yield from _kinds(part)
    elif about.get("type") == "array":
        inner = " or ".join(dict.fromkeys(_kinds(about["items"]))) if about.get("items") else ""
        yield f"list of {inner}" if inner else "list"
    elif about.get("type") == "object":
        yield "mapping"
    else:
        names = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true, false"}
        yield names.get(str(about.get("type")), "null" if about.get("type") == "null" else "anything")


def _commands() -> str:
    parser = build_parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    parts = ["# Commands\n\nMade from `multiseg --help`. `multiseg` is in `.venv/bin`.\n", _help(parser)]
    parts += [f"## multiseg {name}\n\n{_help(sub)}" for name, sub in commands.choices.items()]
    return "\n".join(parts)


def _help(parser: argparse.ArgumentParser) -> str:
    parser.formatter_class = partial(parser.formatter_class, width=98)  # type: ignore[call-arg]
    return f"```text\n{parser.format_help().rstrip()}\n```\n"


def _models() -> str:
    lines = ["# Models\n", "Made from `multiseg/settings/models.yaml`. A params file adds its own under `models:`.\n"]
    lines += ["| model | called | what it is |", "|---|---|---|"]
    for name, model in MODELS.items():
        lines.append(f"| `{name}` | {' '.join(model.title.split())} | {describe(model)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for file, text in pages().items():
        with atomic_path(Path(sys.argv[1]) / file) as part:
            part.write_text(text, encoding="utf-8")
