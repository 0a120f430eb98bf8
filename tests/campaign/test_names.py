"""Names with every printable character go through the whole chain: files, figures, tables, LaTeX, HTML, papermill."""

import string
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import toy_case

pytestmark = pytest.mark.campaign

PRINTABLE = "".join(c for c in string.printable if c.isprintable() and c not in "/") + "ñéß–漢🧠"


class Texts(HTMLParser):
    """Collects the texts of a page, and fails on none: browsers do not either."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def test_every_printable_character(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "a {x} $y% ñ 'q'"
    halves = [PRINTABLE[: len(PRINTABLE) // 2].strip(), PRINTABLE[len(PRINTABLE) // 2 :].strip()]
    cases = [f"c{half}" for half in halves] + ["third", "fourth"]
    rows = ["case,T1,labels,split"]
    for i, name in enumerate(cases):
        files = toy_case(folder / "data", f"file{i}", rng.integers(0, 3, (20, 22, 18)), seed=i)
        cell = '"' + name.replace('"', '""') + '"'
        rows.append(f"{cell},{files['T1'].name},{files['labels'].name},{'test' if i in (0, 1) else ''}")
    (folder / "data" / "all.csv").write_text("\n".join(rows), encoding="utf-8")
    labels = [f"l{half}" for half in halves]
    file = folder / "names.yaml"
    file.write_text(
        "title: " + quoted(f"t{PRINTABLE}") + "\ncohorts:\n  all: {source: table, manifest: data/all.csv, codes: {1: "
        f"{quoted(labels[0])}, 2: {quoted(labels[1])}}}}}\n"
        "preprocessing: {spacing_mm: 1}\nnetwork: {name: unet, base_filters: 2, levels: 2}\n"
        "training: {steps: 4, batch_size: 2, patch_size: [8, 8, 8], validation_every: 2, validation_patches: 1, "
        "validation_patch_size: [8, 8, 8], patience: null}\nprecision: float32\n"
        f"models: {{cross_entropy: {{title: {quoted('m' + PRINTABLE)}}}, dice: {{title: 'd'}}}}\n"
        f"scenarios:\n  s: {{title: {quoted('s' + PRINTABLE)}, train: [all], test: all, modalities: [T1], "
        "models: [cross_entropy, dice]}\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "multiseg.commands.cli", "study", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = folder / "reports" / "names"
    metrics = pd.read_csv(report / "metrics.csv", keep_default_na=False, dtype=str)
    assert set(metrics["case"]) == set(cases[:2]) and set(metrics["label"]) == set(labels)
    page = Texts()
    page.feed((report / "index.html").read_text(encoding="utf-8"))
    whole = " ".join(" ".join(page.texts).split())
    for text in (f"t{PRINTABLE}", f"s{PRINTABLE}"):
        assert " ".join(text.split()) in whole
    assert len(list((report / "figures").glob("*.png"))) > 5
    assert len(list((report / "tables").glob("*.tex"))) > 5
