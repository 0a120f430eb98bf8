import itertools
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from multiseg.report.figures import language, saving, style
from multiseg.report.figures.names import drawn_name, label_title, model_title
from multiseg.settings import models
from multiseg.settings.label_styles import label_name

MAIN = ("multi_unet", "cross_entropy", "selective_cross_entropy", "dice", "selective_dice")


def line() -> plt.Figure:
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    return figure


def test_equal_figures_are_equal_files(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [1, 2]})
    for name in ("a", "b"):
        saving.save(line(), table, tmp_path, name, "A line − rising", "A caption.")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    vector = (tmp_path / "a.svg").read_text()
    assert "<svg" in vector and "A caption." in vector and not re.search(r"\d\d:\d\d", vector)  # no time
    assert (tmp_path / "a.csv").read_text() == "x\n1\n2\n"
    assert saving.read_texts(tmp_path / "a.png") == ("A caption.", "A line − rising")
    saving.save(line(), table, tmp_path, "c")
    assert saving.read_texts(tmp_path / "c.png") == ("", "")


def test_what_is_shown_is_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: list[tuple[dict, dict]] = []
    monkeypatch.setattr(saving, "display", lambda data, metadata=None, raw=False: outputs.append((data, metadata)))
    style.use_style()
    saving.show(line(), pd.DataFrame({"x": [1]}), tmp_path, "a", "A line.", "Figure 1.")
    assert plt.get_fignums() == []  # else the notebook would show it once more
    (picture, about), (caption, _) = outputs
    with Image.open(tmp_path / "a.png") as image:
        width = image.width
    assert about == {"image/png": {"alt": "A line.", "width": round(width * 96 / 200)}}
    assert picture["text/plain"] == "A line." and picture["image/png"].startswith("iVBORw0KGgo")
    assert caption == {"text/markdown": "*Figure 1.*", "text/plain": "Figure 1."}


def test_colours_are_the_thesis_s_and_never_shared() -> None:
    colours = style.label_colours(["csf", "gm", "wm", "wmh"])
    assert colours == {"csf": "#2ca02c", "gm": "#1f5fd0", "wm": "#f2d32b", "wmh": "#e0201b"}
    assert style.label_colours(["oedema", "tumour"]) == {"oedema": "#e0201b", "tumour": "#2ca02c"}
    many = style.label_colours(["csf", "tumour", "wmh", "oedema", "liver"])
    assert len(set(many.values())) == 5


# Machado, Oliveira and Fernandes 2009, IEEE Transactions on Visualization and Computer Graphics 15, 1291-1298, table 1,
# severity 1.0; for linear RGB
COLOUR_BLINDNESS = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ],
}  # fmt: skip


def seen(colour: str, kind: str) -> np.ndarray:
    """CIELAB (D65) of a colour as somebody with a kind of colour blindness sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(COLOUR_BLINDNESS[kind]) @ linear, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.array(to_xyz) @ linear / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_lab_is_lab() -> None:
    assert seen("white", "none") == pytest.approx([100, 0, 0], abs=0.02)
    assert seen("red", "none") == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    # what the test below is about: red and green of the same lightness, far apart for most, close for some
    assert np.linalg.norm(seen("#b05a00", "none") - seen("#4f7f00", "none")) > 45
    assert np.linalg.norm(seen("#b05a00", "deuteranopia") - seen("#4f7f00", "deuteranopia")) < 15


@pytest.mark.parametrize("kind", COLOUR_BLINDNESS)
def test_main_models_can_be_told_apart(kind: str) -> None:
    for a, b in itertools.combinations(MAIN, 2):
        distance = np.linalg.norm(seen(models.MODELS[a].colour, kind) - seen(models.MODELS[b].colour, kind))
        assert distance > 25, (a, b, distance)


def test_every_model_has_a_name_and_a_look_of_its_own() -> None:
    names = [*models.MODELS, models.SINGLE_TASK]
    styles = list(style.model_styles(names).values())
    assert len({(s.colour, s.hatch) for s in styles}) == len(styles)  # in box plots
    assert len({(s.colour, s.marker) for s in styles}) == len(styles)  # on the axis of means
    assert len({model_title(name) for name in names}) == len(styles)


def test_names_are_drawn_in_the_language_of_figures() -> None:
    try:
        style.use_style("es")
        assert drawn_name("selective_dice") == "Dice\nselectivo"
        assert label_title("tumour") == "Tumor"
        assert drawn_name("somebody_s_model") == "somebody s model"
        assert label_name("tumour") == "Tumour"  # tables stay English
    finally:
        style.use_style()
    assert language.language() == "en" and drawn_name("selective_dice") == "Selective\nDice"


@pytest.mark.parametrize("n", [13, 25, 60])
def test_any_number_of_labels_have_colours_of_their_own(n: int) -> None:
    """13 labels shared six colours, and 25 were one too many."""
    colours = style.label_colours([f"label{i}" for i in range(n)])
    assert len(set(colours.values())) == n
    assert list(colours.values())[:2] == ["#9b30c9", "#ff7f0e"]
