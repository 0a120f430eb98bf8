import base64
import io
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from multiseg.report import notebooks, pages, summary
from multiseg.results.verdicts import COLUMNS, EVERY
from multiseg.study.study import Study
from tests.browsing import look_at
from tests.conftest import ROOT

WIDTHS = (400, 1300)
N_FIGURES = 11
"""In notebook 02 of the smoke study, whose models are all near each other."""

LARGEST_PAGE = 8e6
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LEDGER = pd.read_csv(
    io.StringIO("""finding,endpoint,scenario,thesis,ours,low,high,margin,verdict,claim,measure,replicates
2,any,every,0.73,0.5,0.4,31.44,,holds,The naive model fails,"Dice of ours minus naive, where that is least",4
4,lesion,every,,-0.01,-0.08,0.06,0.05,inconclusive,One network is as good,Dice of ours minus theirs,4
4,lesion,anatomy_wmh,,0.02,0.01,0.03,0.05,holds,One network is as good,Dice of ours minus theirs,4
"""),
    dtype={"finding": str},
)
DEFAULT_ALT = "No description has been provided for this image"


def executed_notebook(path: Path, *cells: nbformat.NotebookNode) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
    return path


def figure(**metadata: object) -> nbformat.NotebookNode:
    """A cell that shows a picture."""
    output = nbformat.v4.new_output("display_data", {"image/png": PIXEL}, metadata={"image/png": metadata})
    return nbformat.v4.new_code_cell("draw()", outputs=[output])


def markdown(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(text)


def rendered(tmp_path: Path, *cells: nbformat.NotebookNode) -> str:
    source = executed_notebook(tmp_path / "notebooks" / "n.ipynb", *cells)
    pages.render_notebook(source, tmp_path / "n.html")
    return (tmp_path / "n.html").read_text(encoding="utf-8")


# -- notebooks -----------------------------------------------------------------------------------------------------


def test_alt_texts_of_figures_are_in_the_page(tmp_path: Path) -> None:
    text = 'Dice "by" model, a < b & c'
    page = rendered(tmp_path, figure(alt=text, width=30), figure(alt="Second"))
    images = re.findall(r"<img[^>]*>", page)
    assert len(images) == 2 and DEFAULT_ALT not in page
    # a quote in an attribute may be written as it is between single quotes
    assert re.search(r"""alt=('Dice "by" model, a |"Dice &quot;by&quot; model, a )&lt; b &amp; c['"]""", images[0])
    assert 'width="30"' in images[0] and "width=" not in images[1] and 'alt="Second"' in images[1]
    assert DEFAULT_ALT in rendered(tmp_path, figure())  # what a figure without one gets


def test_contents_link_the_sections_below_the_title(tmp_path: Path) -> None:
    page = rendered(tmp_path, markdown("# T\n\ntext"), markdown("## One & `two`\n"), markdown("### Deep\n\n## Last?"))
    links = re.findall(r'<li><a href="#([^"]+)">(.*?)</a></li>', page)
    assert links == [("One-&amp;-two", "One &amp; <code>two</code>"), ("Last?", "Last?")]
    assert all(f'<h2 id="{name}">' in page for name, _ in links)
    assert page.index("</h1>") < page.index('<nav class="contents"') < page.index("<p>text</p>")


def test_a_page_without_sections_or_title_has_no_contents(tmp_path: Path) -> None:
    assert "<nav" not in rendered(tmp_path, markdown("# T"))
    assert "<nav" not in rendered(tmp_path, markdown("## only a section"))


def test_code_is_folded_and_the_files_are_linked(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("x\n")
    page = rendered(tmp_path, markdown("# The title"), nbformat.v4.new_code_cell("secret = 1"))
    assert re.search(r'<details class="code">.*secret.*</details>', page, re.DOTALL) and "<details open" not in page
    assert "<title>The title</title>" in page
    for address in ("index.html", "notebooks/n.ipynb", "metrics.csv"):
        assert f'<a href="{address}">' in page


def test_titles_tell_pages_of_one_notebook_apart(tmp_path: Path) -> None:
    source = executed_notebook(tmp_path / "01_mono_task-wmh.ipynb", markdown("text\n# 01 One task"))
    assert pages.notebook_title(source) == "01 One task: wmh"
    assert pages.notebook_title(source, {"wmh": "Lesions"}) == "01 One task: Lesions"
    assert pages.notebook_title(executed_notebook(tmp_path / "plain.ipynb", markdown("## no"))) == "plain"


# -- the report ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(smoke: Study) -> Path:
    """The smoke report with one notebook, and a ledger with every kind of row."""
    names = []
    for source, output, parameters in notebooks.planned_notebooks(smoke, ROOT / "notebooks"):
        if source.stem == "02_anatomy_wmh":
            executed = smoke.folder / "notebooks" / f"{output}.ipynb"
            notebooks.execute_notebook(source, executed, parameters)
            pages.render_notebook(executed, smoke.folder / f"{output}.html")
            names.append(output)
    return pages.write_index(smoke, names)


def test_pages_need_no_network(report: Path) -> None:
    pages = [*report.parent.glob("*.html"), *(report.parent / "tables").glob("*.html")]
    assert len(pages) >= 6
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=[\"']([^\"']+)", text) + re.findall(
            r"<link[^>]+href=[\"']([^\"']+)", text
        )
        assert all(address.startswith("data:") for address in loaded), loaded
        assert "import(" not in text and "@import" not in text


def test_every_link_of_a_page_leads_to_a_file_or_a_place(report: Path) -> None:
    missing_here = {"04_statistical_comparison.html"}  # made by a notebook that is not executed here
    for page in [*report.parent.glob("*.html"), *(report.parent / "tables").glob("*.html")]:
        text = page.read_text(encoding="utf-8")
        for address in re.findall(r'<a [^>]*?href="([^"]+)"', text):
            if address.startswith("#"):
                assert f'id="{address[1:]}"' in text, address
            elif address not in missing_here:
                assert (page.parent / address).exists(), (page.name, address)


def test_index_shows_results_figures_and_links(report: Path, smoke: Study) -> None:
    text = report.read_text(encoding="utf-8")
    images = re.findall(r'<img src="data:image/png[^>]*alt="([^"]+)"', text)
    assert len(images) == text.count("<img") == 3
    assert images[0].startswith("Dice on the test cases, by label and model.") and "Highest mean: " in images[0]
    assert "Labelled voxels: ground truth " in images[2] and "Selective cross-entropy " in images[2]
    assert "<figcaption>Thesis figure 26. Dice on the test cases" in text
    assert 'href="02_anatomy_wmh.html"' in text and "02 Anatomy and white matter hyperintensities" in text
    assert 'href="tables/anatomy_wmh_beside_thesis.tex"' in text
    assert str(Path.home()) not in text and str(smoke.folder) not in text
    page = (report.parent / "02_anatomy_wmh.html").read_text(encoding="utf-8")
    assert page.count("<details") >= 6 and "params/smoke.yaml" in page and page.count("<nav") == 1


def test_index_goes_from_the_ledger_to_the_provenance(report: Path) -> None:
    places = ["answers", "findings", "figures", "results", "notebooks", "tables", "provenance"]
    assert re.findall(r'<h2 id="(\w+)"', report.read_text(encoding="utf-8")) == places


def test_verdicts_need_no_notebook(report: Path, smoke: Study) -> None:
    """They were computed by a cell of notebook 04, and a study without it had none."""
    (smoke.folder / "ledger.csv").unlink()
    pages.write_index(smoke, ["02_anatomy_wmh"])
    saved = pd.read_csv(smoke.folder / "ledger.csv")
    assert tuple(saved.columns) == COLUMNS and (saved["scenario"] == EVERY).any()


def test_companions_do_not_say_which_loss_to_use(report: Path, smoke: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "is_companion", lambda study: True)
    text = pages.write_index(smoke, ["02_anatomy_wmh"]).read_text(encoding="utf-8")
    monkeypatch.undo()
    pages.write_index(smoke, ["02_anatomy_wmh"])
    assert 'id="answers"' not in text and 'id="findings"' in text


def test_index_of_a_study_that_can_judge_nothing_has_no_ledger(
    report: Path, smoke: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = pd.DataFrame(columns=[*COLUMNS, "claim", "measure", "replicates"])
    monkeypatch.setattr(pages, "ledger", lambda study: nothing)
    text = pages.write_index(smoke, ["02_anatomy_wmh"]).read_text(encoding="utf-8")
    monkeypatch.undo()
    pages.write_index(smoke, ["02_anatomy_wmh"])
    assert "findings" not in text and "ledger.csv" not in text


def test_ledger_rows_are_texts() -> None:
    assert pages.ledger_rows(LEDGER[:0]) == []
    first, second = pages.ledger_rows(LEDGER)  # scenario by scenario in the notebook only
    assert (first["thesis"], first["ours"], first["interval"], first["note"]) == ("0.730", "0.500", "0.400 to 31.4", "")
    assert second.pop("bar").startswith('<svg class="interval" role="img" aria-label="95 % interval -0.080 to 0.060')
    assert second == {
        "finding": "4",
        "claim": "One network is as good",
        "endpoint": "lesions",
        "measure": "Dice of ours minus theirs; margin 0.050",
        "thesis": "–",
        "ours": "-0.010",
        "interval": "-0.080 to 0.060",
        "verdict": "inconclusive",
        "note": "replicates: 4",
    }


def test_results_of_many_scenarios_keep_all_columns(
    smoke: Study, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pd.DataFrame({"scenario": "anatomy_wmh", "model": ["dice", "oracle"], "csf": 0.5, "wmh": [0.25, None]})
    table["mean"] = [0.4, 0.5]
    monkeypatch.setattr(summary, "results_table", lambda study: table)
    try:
        text = pages.write_index(smoke, ["02_anatomy_wmh"]).read_text(encoding="utf-8")
    finally:
        monkeypatch.undo()
        pages.write_index(smoke, ["02_anatomy_wmh"])
    assert '<tr><th scope="row" class="t">Dice</th><td>0.500</td><td>0.250</td><td>0.400</td></tr>' in text
    assert '<tr><th scope="row" class="t">Oracle</th><td>0.500</td><td class="none">–</td><td>0.500</td></tr>' in text


def test_every_figure_of_a_notebook_has_an_alt_text_of_its_own(report: Path) -> None:
    page = (report.parent / "02_anatomy_wmh.html").read_text(encoding="utf-8")
    images = [image for image in re.findall(r"<img [^>]*>", page) if 'id="case-' not in image]  # the viewer's
    assert len(images) == N_FIGURES and DEFAULT_ALT not in page
    assert len({re.search(r'alt="([^"]{60,})"', image)[1] for image in images}) == N_FIGURES
    assert all(re.search(r'width="\d+"', image) for image in images)
    assert page.count("<em>Thesis figure 2") == 3  # captions of 26, 27 and 28


def test_figures_and_tables_are_saved(report: Path) -> None:
    figures = {path.stem for path in (report.parent / "figures").glob("*.png")}
    assert figures == {
        "anatomy_wmh_patches", "anatomy_wmh_training", "26_anatomy_wmh_dice", "27_anatomy_wmh_significance",
        "28_anatomy_wmh_panel", "anatomy_wmh_naive", "anatomy_wmh_dice_zoomed", "anatomy_wmh_cases_csf",
        "anatomy_wmh_cases_gm", "anatomy_wmh_cases_wm", "anatomy_wmh_cases_wmh",
    }  # fmt: skip
    for ending in ("csv", "svg"):  # tables that are no figures are elsewhere
        assert {path.stem for path in (report.parent / "figures").glob(f"*.{ending}")} == figures
    names = ("scenario", "mean_dice", "beside_thesis", "surface_distances", "lesions", "predicted_volumes")
    files = {path.name for path in (report.parent / "tables").iterdir()}
    saved = {f"anatomy_wmh_{name}.{ending}" for name in names for ending in ("csv", "html", "tex")}
    assert files == saved


# -- in a browser --------------------------------------------------------------------------------------------------


def test_pages_open_in_a_browser_without_network(report: Path, tmp_path: Path) -> None:
    pages = [report, report.parent / "02_anatomy_wmh.html", *sorted((report.parent / "tables").glob("*.html"))]
    n_images, faults = look_at(pages, WIDTHS, tmp_path)
    assert faults == []
    assert n_images == 2 * (3 + N_FIGURES + 2)  # two belong to the viewer
    assert all(page.stat().st_size < LARGEST_PAGE for page in pages)


def test_the_browser_sees_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(base64.b64decode(PIXEL)[:20])
    bodies = {
        "good": f'<img alt="a" src="data:image/png;base64,{PIXEL}"><details><p>folded</p></details>',
        "broken": '<img alt="b" src="broken.png">',
        "missing": '<img alt="m" src="missing.png">',
        "wide": '<div style="width: 900px">x</div>',
        "folded": '<details><div style="width: 900px">x</div></details>',
        "error": "<script>nothing_of_this_name()</script>",
        "cut": '<div style="width: 900px; overflow: hidden"><p style="width: 1400px">a long line</p></div>',
        "scrolled": '<div style="overflow: auto"><p style="width: 1400px">a long line</p></div>',
        "request": '<script src="https://example.org/a.js"></script>',
    }
    for name, body in bodies.items():
        head = '<!DOCTYPE html><html><head><link rel="icon" href="data:,"></head>'
        (tmp_path / f"{name}.html").write_text(f"{head}<body>{body}</body></html>")
    faults = look_at([tmp_path / f"{name}.html" for name in bodies], WIDTHS, tmp_path)[1]

    def seen(*words: str) -> int:
        return sum(all(word in fault for word in words) for fault in faults)

    assert seen("good.html") == 0
    assert seen("broken.html at 400: image not shown: b") == 1 and seen("missing.html at 1300: image not shown: m") == 1
    assert seen("wide.html at 400: page is") == 1 and seen("wide.html at 1300") == 0
    assert seen("folded.html at 400: page is") == 1
    assert seen("cut.html at 1300: text is cut: a long line") == 1 and seen("scrolled.html") == 0
    assert seen("CONSOLE", "nothing_of_this_name") == 2
    assert seen("request.html at 400: requested: https://example.org/a.js") == 1
    assert seen("missing.html at 400: requested: file:") == 1
