"""Saving figures with their numbers and texts, and showing them in a notebook."""

from __future__ import annotations

import base64
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from multiseg_core.files import atomic_path

DPI = 200
"""Of saved figures."""

SHOWN_DPI = 96
"""At which notebooks show them: what browsers take for an inch."""


def save(figure: Figure, table: pd.DataFrame, folder: Path, name: str, alt: str = "", caption: str = "") -> None:
    """Write ``name.png``, ``.svg`` and ``.csv``, the table that it was drawn from. Equal figures are equal files.

    The PNG carries its caption and alternative text, as ``Title`` and ``Description``; `read_texts` reads them.
    """
    for text in figure.findobj(Text):  # a dollar in a name begins no formula; the numbers of axes may be formulas
        assert isinstance(text, Text)
        text.set_parse_math("$" not in text.get_text() or "\\mathdefault" in text.get_text())
    with atomic_path(folder / f"{name}.csv") as part:
        table.to_csv(part, index=False)
    texts = {"Software": None, "Title": caption or None, "Description": alt or None}
    with atomic_path(folder / f"{name}.png") as part:
        figure.savefig(part, format="png", metadata=texts)
    with atomic_path(folder / f"{name}.svg") as part, plt.rc_context({"svg.hashsalt": name}):
        figure.savefig(part, format="svg", metadata={"Date": None, "Title": caption, "Description": alt})


def read_texts(path: Path) -> tuple[str, str]:
    """Return the caption and the alternative text of a saved figure; empty if it has none."""
    with Image.open(path) as image:
        return str(image.info.get("Title", "")), str(image.info.get("Description", ""))


def show(figure: Figure, table: pd.DataFrame, folder: Path, name: str, alt: str, caption: str = "") -> None:
    """Save a figure and its table, close it, and display the saved file in the notebook, with a caption in Markdown.

    `alt` says what the figure shows, for readers who do not see it. It is the text of the output as well, so that nbval
    compares the numbers in it.
    """
    save(figure, table, folder, name, alt, caption)
    plt.close(figure)
    path = folder / f"{name}.png"
    with Image.open(path) as image:
        width = round(image.width * SHOWN_DPI / DPI)
    bundle = {"image/png": base64.b64encode(path.read_bytes()).decode(), "text/plain": alt}
    display(bundle, metadata={"image/png": {"alt": alt, "width": width}}, raw=True)
    if caption:
        display({"text/markdown": f"*{caption}*", "text/plain": caption}, raw=True)
