"""The documentation: every command in it can be parsed, every params snippet is valid, every link leads somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from multiseg.commands.cli import build_parser
from multiseg.settings.params_files import load_params
from tests.conftest import ROOT
from tools import reference

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WRITTEN = [page for page in PAGES if page.parent.name != "reference"]
MINIMAL = {
    "cohorts": {"a": {"source": "phantom"}},
    "scenarios": {"s": {"train": ["a"], "test": "a", "modalities": ["T1"]}},
}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """The lines of indented blocks, and what stands between backticks and begins like a command."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^ {4,}((?:make|multiseg|papermill|python|conda) .*)$", text, re.MULTILINE)
    inline = re.findall(r"`((?:make|multiseg|papermill|python|conda) [^`]+)`", text)
    return [re.sub(r"\s+#.*| {3,}.*", "", line) for line in [*lines, *inline]]


def test_there_are_commands() -> None:
    assert sum(len(commands(page)) for page in WRITTEN) >= 20


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_every_command_can_be_parsed(page: Path) -> None:
    for line in commands(page):
        program, *words = shlex.split(line)
        if "..." in words or words[0].startswith("-"):
            continue  # a fragment of a sentence
        if program == "multiseg":
            if len(words) > 1 and words[1] not in ("PARAMS",):
                build_parser().parse_args(words)  # ends the test if it cannot
            else:
                assert words[0] in reference.pages()["commands.md"]
        elif program == "make":
            subprocess.run(["make", "-n", "-C", str(ROOT), *words], check=True, capture_output=True)
        elif program == "papermill":
            assert (ROOT / words[0]).exists(), line
        for word in words:
            file = word.partition("=")[2] or word
            if file.startswith(("params/", "notebooks/", "benchmarks/", "tests/")):
                assert (ROOT / file).exists(), line


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_params_in_the_documentation_are_valid(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(fenced(page, "yaml")):
        given = yaml.safe_load(text)
        base = given.pop("base", None)
        assert base is None or (ROOT / "params" / base).exists()
        params = {**MINIMAL, **given}
        params["cohorts"] = {**MINIMAL["cohorts"], **given.get("cohorts", {})}
        if base:  # scenarios of the base are changed in part
            params["scenarios"] = {k: {**MINIMAL["scenarios"]["s"], **v} for k, v in given.get("scenarios", {}).items()}
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(params))
        load_params(file)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "notebooks" / "START.md"], ids=name)
def test_links_lead_to_files(page: Path) -> None:
    for address in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not address.startswith("http"):
            assert (page.parent / address).exists(), address


def test_python_in_the_documentation_runs() -> None:
    snippets = [text for page in WRITTEN for text in fenced(page, "python")]
    assert snippets
    for text in snippets:
        labels = np.zeros((1, 4, 4, 4), dtype=np.uint8)
        labels[0, 1] = 1
        exec(textwrap.dedent(text), {"label_volume": labels, "logits": torch.randn(1, 5, 4, 4, 4)})


def test_the_reference_is_what_the_code_says() -> None:
    for file, text in reference.pages().items():
        if file == "commands.md" and sys.version_info[:2] != (3, 11):
            continue  # argparse words its help a little differently
        path = ROOT / "docs" / "reference" / file
        assert path.read_text(encoding="utf-8") == text, "run `make references`"
