import re

import numpy as np
import pandas as pd

from multiseg.report import table_files


def two_levels() -> pd.DataFrame:
    columns = pd.MultiIndex.from_tuples([("gm", "ours"), ("gm", "thesis")])
    return pd.DataFrame([[0.81234, np.nan]], index=pd.Index(["multi_unet"], name="model"), columns=columns)


def test_numbers_keep_the_digits_that_matter() -> None:
    written = {0.8126: "0.813", 0.0: "0.000", -0.00042: "-0.00042", 0.0000421: "4.2e-05", 123.46: "123.5"}
    assert {value: table_files.number(value) for value in written} == written


def test_rounded_tables_are_texts() -> None:
    table = pd.DataFrame(
        {"dice": [0.5, np.nan], "cases": [12.0, np.nan], "share": [1.0, 0.0], "n": [3, 4], "yes": [True, False]}
    ).assign(text=["a\nb", None])
    texts = table_files.rounded(table)
    assert texts["dice"].tolist() == ["0.500", "–"] and texts["cases"].tolist() == ["12", "–"]
    assert texts["share"].tolist() == ["1.000", "0.000"] and texts["n"].tolist() == ["3", "4"]
    assert texts["yes"].tolist() == ["yes", "no"] and texts["text"].tolist() == ["a b", "–"]


def test_rounding_keeps_columns_of_two_levels_and_columns_of_one_name() -> None:
    assert table_files.rounded(two_levels()).columns.tolist() == [("gm", "ours"), ("gm", "thesis")]
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert table_files.rounded(twice).to_numpy().tolist() == [["1", "2"]]


def test_flat_tables_have_one_row_of_names() -> None:
    assert table_files.flat(two_levels()).columns.tolist() == ["model", "gm_ours", "gm_thesis"]
    facts = pd.DataFrame({"": ["T1"]}, index=["modalities"])
    assert table_files.flat(facts).to_dict("list") == {"name": ["modalities"], "value": ["T1"]}
    counted = pd.DataFrame({"p": [0.1, 0.2]})
    assert table_files.flat(counted).columns.tolist() == ["p"]
    both = pd.DataFrame({"x": [1]}, index=pd.MultiIndex.from_tuples([("a", "b")], names=["scenario", "model"]))
    assert table_files.flat(both).to_dict("list") == {"scenario": ["a"], "model": ["b"], "x": [1]}


def test_html_shows_every_cell_escaped_and_aligns_words() -> None:
    texts = pd.DataFrame({"model": ["a<b>&c", "dice"], "p": ["0.1", "-1.0e-04"], "none": ["–", "–"]})
    parts = [{"table": table_files.html_table(texts)}]
    page = table_files.render("table.html.j2", title="A & B", warnings=[], parts=parts, stem=None)
    assert "<title>A &amp; B</title>" in page and "<h1>A &amp; B</h1>" in page
    assert '<th scope="col" class="t">Model</th><th scope="col">p</th></tr>' in page  # no column of nothing
    assert '<th scope="row" class="t">a&lt;b&gt;&amp;c</th><td>0.1</td>' in page
    assert '<th scope="row" class="t">Dice</th><td>−1.0e-04</td>' in page
    assert not re.search(r"https?://", page)


def test_rows_of_several_scenarios_stand_in_groups() -> None:
    index = pd.MultiIndex.from_product([["one", "two"], ["dice", "oracle"]], names=["scenario", "model"])
    texts = pd.DataFrame({"csf": ["0.1", "0.2", "0.3", "–"]}, index=index)
    body = table_files.html_table(texts)
    assert body.count("<tbody>") == 2 and '<th colspan="2" scope="rowgroup"><span>two</span></th>' in body
    assert '<th scope="row" class="t">Oracle</th><td class="none">–</td>' in body and "Scenario" not in body
    assert "one" not in table_files.html_table(texts.loc[["one"]])  # the page says which
    assert table_files.html_table(texts.reset_index()) == body


def test_long_tables_are_folded() -> None:
    texts = pd.DataFrame({"n": [str(n) for n in range(15)]})
    body = table_files.html_table(texts)
    assert body.startswith('<details class="rows"><summary>All 15 rows</summary>')
    assert table_files.html_table(texts[:14]).startswith('<div class="scroll"><table class="data">')
    assert "details" not in table_files.html_table(texts, fold=False)


def test_columns_of_two_levels_have_two_rows_of_headings() -> None:
    body = table_files.html_table(table_files.rounded(two_levels()))
    assert '<tr><td></td><th scope="colgroup" colspan="1">GM</th></tr>' in body
    assert '<th scope="col" class="t">Model</th><th scope="col">This study</th>' in body


def test_long_words_get_room() -> None:
    texts = pd.DataFrame({"n": ["1"], "what": ["word " * 10]}, index=pd.Index(["x"], name="finding"))
    assert '<th scope="row" class="t">x</th><td>1</td><td class="t long">word' in table_files.html_table(texts)


def test_latex_escapes_names_cells_and_captions() -> None:
    texts = pd.DataFrame({"p_holm": ["5 % & {x}", "–"], "what": ["a<b", "~^\\"]})
    lines = table_files.latex_table(texts, "100 % of #1", "case_test").splitlines()
    assert lines[1:4] == [r"\caption{100 \% of \#1}", r"\label{tab:case_test}", r"\begin{tabular}{rr}"]
    assert lines[4:10] == [
        r"\toprule",
        r"p\_holm & what \\",
        r"\midrule",
        r"5 \% \& \{x\} & a\textless{}b \\",
        r"-- & \~{}\^{}\textbackslash{} \\",
        r"\bottomrule",
    ]


def test_latex_keeps_the_index_and_two_levels_of_columns() -> None:
    text = table_files.latex_table(table_files.rounded(two_levels()), "c", "t")
    assert r"\begin{tabular}{lrr}" in text and r"multi\_unet & 0.812 & -- \\" in text
    assert r"& \multicolumn{2}{r}{gm} \\" in text and r"& ours & thesis \\" in text


def test_latex_breaks_long_texts_and_needs_no_package_but_booktabs() -> None:
    index = pd.MultiIndex.from_tuples([("s", "a"), ("s", "b")], names=["scenario_name", "model"])
    texts = pd.DataFrame({"claim": ["many words " * 8, "few"]}, index=index)
    text = table_files.latex_table(texts, "c", "t")
    assert r"\begin{tabular}{rrp{9cm}}" in text and r"scenario\_name & model &" in text
    assert "multirow" not in text and "cline" not in text


def test_long_columns_share_the_width_of_a_page() -> None:
    text = "many words " * 8
    wide = pd.DataFrame({"a": [text], "b": [text], "c": [text], "d": ["few"]})
    assert r"{p{3cm}p{3cm}p{3cm}l}" in table_files.latex_table(wide, "c", "t")
    assert r"{p{5cm}p{5cm}l}" in table_files.latex_table(wide[["a", "b", "d"]], "c", "t")


def test_a_table_of_facts_has_no_header() -> None:
    facts = pd.DataFrame({"": ["T1"]}, index=["modalities"])
    body = table_files.html_table(facts)
    assert "<thead>" not in body and '<table class="data facts">' in body and ">T1</td>" in body
    lines = table_files.latex_table(facts, "c", "t").splitlines()
    assert lines[3:7] == [r"\begin{tabular}{lr}", r"\toprule", r"modalities & T1 \\", r"\bottomrule"]


def test_writing_a_table_does_not_change_it() -> None:
    table = pd.DataFrame({"p": ["1"]}, index=pd.Index(["x"], name="a_b"))
    table_files.latex_table(table, "c", "t")
    assert table.index.name == "a_b"


def test_a_column_with_infinite_values_holds_numbers() -> None:
    """It was set left, as words are."""
    table = pd.DataFrame({"model": ["a", "b"], "hd95": [1.5, float("inf")]})
    shown = table_files.html_table(table_files.rounded(table))
    assert "<td>inf</td>" in shown and '<th scope="col">hd95</th>' in shown


def test_a_table_of_facts_is_never_folded() -> None:
    facts = pd.DataFrame({"": [str(n) for n in range(20)]}, index=[f"fact {n}" for n in range(20)])
    assert "<details" not in table_files.html_table(facts)
    rows = pd.DataFrame({"x": [str(n) for n in range(20)]})
    assert "<details" in table_files.html_table(rows)
