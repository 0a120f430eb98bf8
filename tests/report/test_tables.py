from pathlib import Path

import numpy as np
import pandas as pd

from multiseg.report import tables


def test_what_most_models_have_is_told_and_how_many_have_another() -> None:
    assert tables.most_have(["900 steps", "900 steps", "900 steps"]) == "900 steps"
    assert tables.most_have(["900 steps", "450 steps", "900 steps"]) == "900 steps; 1 of 3 models another"
    assert tables.most_have(["a", "b", "b", "c"]) == "3 kinds, told by the models' names"


def test_saved_tables_are_csv_html_and_latex(tmp_path: Path) -> None:
    index = pd.MultiIndex.from_product([["anatomy_wmh"], ["dice", "oracle"]], names=["scenario", "model"])
    table = pd.DataFrame({"gm": [1 / 3, 0.5], "wmh": [np.nan, 0.25]}, index=index)
    assert tables.save(table, tmp_path, "anatomy_wmh_mean_dice").table is table
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"anatomy_wmh_mean_dice.{ending}" for ending in ("csv", "html", "tex")
    ]
    stem = tmp_path / "anatomy_wmh_mean_dice"
    read = pd.read_csv(stem.with_suffix(".csv"))
    assert read.columns.tolist() == ["scenario", "model", "gm", "wmh"] and read["gm"].tolist() == [1 / 3, 0.5]
    page = stem.with_suffix(".html").read_text(encoding="utf-8")
    assert "<h1>Mean Dice on the test cases: anatomy wmh</h1>" in page and ">0.333</td>" in page
    assert 'href="anatomy_wmh_mean_dice.csv"' in page and 'href="anatomy_wmh_mean_dice.tex"' in page
    latex = stem.with_suffix(".tex").read_text(encoding="utf-8")
    assert r"\caption{Mean Dice on the test cases: anatomy wmh}" in latex and r"\toprule" in latex
    assert r"Oracle & 0.500 & 0.250" in latex


def test_a_table_without_columns_leaves_no_files(tmp_path: Path) -> None:
    assert tables.save(pd.DataFrame(), tmp_path, "predicted_volumes").table.empty
    assert list(tmp_path.iterdir()) == []


def test_a_table_without_rows_is_a_header_for_programs_alone(tmp_path: Path) -> None:
    tables.save(pd.DataFrame(columns=["scenario", "p"]), tmp_path, "thesis_test")
    assert (tmp_path / "thesis_test.csv").read_text() == "scenario,p\n"
    assert not list(tmp_path.glob("*.html"))  # an empty table was linked by the index


def test_titles_name_the_scenario() -> None:
    assert (
        tables.title("thesis_test") == "The thesis's test: Wilcoxon on pairs of image and label, Bonferroni-corrected"
    )
    assert tables.title("ibsr_wmh_predicted_volumes") == "Mean predicted volume (ml) on validation images: ibsr wmh"
    assert tables.title("my_own") == "my own"
