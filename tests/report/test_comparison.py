import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from multiseg.commands import cli
from multiseg.report import comparison
from multiseg.report.figures import comparison_charts
from multiseg.results import model_comparison, results_csv, summaries

DICE = {"ours": [0.81, 0.74, 0.66, 0.9, 0.71, 0.8], "peer": [0.79, 0.75, 0.6, 0.85, 0.64, 0.77]}
SMALL = "model,case,dice\n" + "".join(f"{m},{i:03d},{d}\n" for m, values in DICE.items() for i, d in enumerate(values))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "results.csv"
    path.write_text(SMALL)
    return path


def test_tables_of_a_small_file(file: Path) -> None:
    metrics = results_csv.read_results(file)
    assert metrics["case"].tolist()[:2] == ["000", "001"] and set(metrics["seed"]) == {results_csv.ABSENT}
    tables = comparison.compare(metrics).tables
    difference = np.array(DICE["ours"]) - np.array(DICE["peer"])
    row = tables["differences"].iloc[0]
    assert row["difference"] == pytest.approx(difference.mean())
    assert row["effect"] == pytest.approx(difference.mean() / difference.std(ddof=1))
    assert row["p_holm"] == pytest.approx(stats.wilcoxon(difference.round(12)).pvalue)
    assert tables["means"]["mean"].tolist() == pytest.approx([np.mean(DICE["ours"]), np.mean(DICE["peer"])])
    assert list(tables["ranks"]["model"]) == ["ours", "peer"] and len(tables["subjects_needed"]) == 1


def test_columns_may_come_in_any_order_with_others_between(tmp_path: Path) -> None:
    rows = "\n".join(f"{d},x,{i} , {m}" for m, values in DICE.items() for i, d in enumerate(values))
    path = tmp_path / "r.csv"
    path.write_bytes(
        b"\xef\xbb\xbf" + f"jaccard,note,case,model\r\n\r\n{rows}\n,,,\n".encode()
    )  # as a spreadsheet does
    result = comparison.compare(results_csv.read_results(path, "jaccard"), "jaccard").tables["differences"].iloc[0]
    assert result["model_a"] == "ours" and result["difference"] == pytest.approx(
        np.mean(DICE["ours"]) - np.mean(DICE["peer"])
    )


def test_the_study_s_own_file_gives_what_the_statistics_give(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    keys = [
        (s, m, 1, seed, "c", f"{i:03d}", f"{i:03d}", label)
        for s in ("z", "a") for m in ("dice", "multi_unet") for seed in (0, 1) for i in range(5)
        for label in ("gm", "NA")
    ]  # fmt: skip
    table = pd.DataFrame(keys, columns=list(summaries.KEY)).assign(dice=generator.random(len(keys)))
    table.loc[3, "dice"] = np.nan
    table.to_csv(tmp_path / "metrics.csv", index=False)
    found = comparison.compare(results_csv.read_results(tmp_path / "metrics.csv"))
    pd.testing.assert_frame_equal(found.tables["differences"], model_comparison.paired_comparison(table))
    assert list(dict.fromkeys(found.tables["means"]["scenario"])) == ["z", "a"]
    assert {"gm", "NA"} <= set(found.tables["means"].columns)
    assert found.warnings[0] == "scenario z: 1 of 40 values are missing and are left out"
    assert found.warnings[1] == "scenario z: 5 subjects are too few for intervals, which need 6"


def test_a_label_named_like_a_column_keeps_its_own(file: Path) -> None:
    rows = [f"{m},{i},{label},{d}" for m, v in DICE.items() for i, d in enumerate(v) for label in ("mean", "low")]
    file.write_text("model,case,label,dice\n" + "\n".join(rows))
    means = comparison.compare(results_csv.read_results(file)).tables["means"]
    assert {"mean", "mean (label)", "low", "low (label)"} <= set(means.columns)


def test_models_with_other_seeds_or_cases_are_warned_of(file: Path) -> None:
    file.write_text("model,case,seed,dice\na,1,0,.5\na,2,0,.5\nb,1,1,.6\nb,2,1,.6\n")
    warnings = comparison.compare(results_csv.read_results(file)).warnings
    assert warnings == [
        "models have different seeds; a pair is compared on the seeds that both have",
        "a and b have 0 subjects in common; nothing to compare",
    ]


# -- the command ---------------------------------------------------------------------------------------------------


def test_command_prints_all_tables_and_writes_nothing_unasked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(file)]) == 0
    out, err = capsys.readouterr()
    for name, title in comparison.TITLES.items():
        assert (f"{title}: dice\n" in out) == (name != "non_inferiority")
    assert "scenario" not in out.split("\n")[1] and err == ""
    assert list(file.parent.iterdir()) == [file]


def test_command_writes_tables_a_page_and_a_figure(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.parent / "new" / "out"
    file.write_text(SMALL.replace("ours", "our_<b>&model"))
    assert cli.main(["compare", str(file), "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith("comparison.html\n")
    names = [f"{name}.{end}" for name in comparison.TITLES if name != "non_inferiority" for end in ("csv", "tex")]
    assert {path.name for path in out.iterdir()} == {
        *names,
        "comparison.html",
        "forest.png",
        "forest.svg",
        "forest.csv",
    }
    expected = comparison.compare(results_csv.read_results(file)).tables["differences"]
    pd.testing.assert_frame_equal(pd.read_csv(out / "differences.csv"), expected)
    drawn = pd.read_csv(out / "forest.csv")
    assert drawn["low"].tolist() == expected["low"].tolist()
    latex = (out / "differences.tex").read_text()
    assert (
        r"our \textless{}b\textgreater{}\&model" in latex
        and r"95 \% intervals that hold" in latex
        and r"p (Holm)" in latex
    )
    page = (out / "comparison.html").read_text()
    assert "our &lt;b&gt;&amp;model" in page and "<b>" not in page
    assert not re.search(r"https?://", page) and "data:image/png;base64," in page
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert cli.main(["compare", str(file), "--out", str(out)]) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_named_contrasts_and_a_margin(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(file), "--contrast", "ours,peer", "--margin", "0.05"]) == 0
    out = capsys.readouterr().out
    assert "Is the first model not worse" in out and "holds" in out
    for text in ("ours", "ours,", "ours,peer,third"):
        assert cli.main(["compare", str(file), "--contrast", text]) == 1
        assert "expected two models, as in --contrast" in capsys.readouterr().err


def test_lower_is_better_turns_the_ranking(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def first(*arguments: str) -> str:
        assert cli.main(["compare", str(file), *arguments]) == 0
        return capsys.readouterr().out.splitlines()[2].split()[0]

    assert first() == "ours" and first("--lower-is-better") == "peer"
    for name in ("hd95_mm", "HD95", "ASSD (mm)", "Hausdorff", "MAE"):
        file.write_text(SMALL.replace("dice", name))
        assert first("--value", name) == "peer" and first("--value", name, "--higher-is-better") == "ours"
    for name in ("DSC", "IoU", "lesion_f1"):
        file.write_text(SMALL.replace("dice", name))
        assert first("--value", name) == "ours"
    file.write_text(SMALL.replace("dice", "goodness"))
    assert cli.main(["compare", str(file), "--value", "goodness"]) == 1
    assert "--value goodness: is more of it better, or less? Say --higher-is-better" in capsys.readouterr().err
    assert first("--value", "goodness", "--higher-is-better") == "ours"


def test_command_s_errors_are_one_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(file), "--value", "dise"]) == 1
    assert capsys.readouterr().err == (
        f"multiseg: error: {file}: no value column 'dise' (did you mean 'dice'?); the columns are model, case, dice\n"
    )
    assert cli.main(["compare", str(file), "--out", str(file)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_undefined_and_infinite_numbers_are_shown() -> None:
    table = pd.DataFrame(
        {"n_subjects": [3, 4], "subjects_needed": [np.inf, np.nan], "p": [np.nan, 2e-5], "significant": [True, False]}
    )
    assert json.loads(comparison.shown(table).to_json(orient="split"))["data"] == [
        ["3", "inf", "–", "yes"],
        ["4", "–", "<0.001", "no"],
    ]


def test_forest_plot_has_a_line_for_every_pair_with_values() -> None:
    comparison = pd.DataFrame(
        {
            "scenario": ["s", "s", "t"], "model_a": ["a", "a", "dice"], "model_b": ["b", "c", "multi_unet"],
            "difference": [0.1, np.nan, -0.2], "low": [0.05, np.nan, np.nan], "high": [0.15, np.nan, np.nan],
            "significant": [True, False, False],
        }
    )  # fmt: skip
    figure = comparison_charts.difference_intervals(comparison)
    names = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    assert names == [["a − b"], ["Dice − MultiUNet"]]
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0.05, 0.15]


def test_nothing_to_draw_is_drawn() -> None:
    nothing = pd.DataFrame(
        {"scenario": ["s"], "model_a": ["a"], "model_b": ["b"], "difference": [np.nan], "low": [np.nan]}
    )
    comparison_charts.difference_intervals(nothing)
