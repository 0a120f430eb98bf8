"""No text of any figure lies over another, or is cut."""

from __future__ import annotations

import matplotlib.pyplot as plt

from multiseg.report.figures import style
from multiseg.study.study import Study
from tests.report.figures.test_kinds import all_kinds
from tests.report.figures.test_spanish import draw_everything
from tests.report.figures.texts import faults


def test_the_overlap_of_texts_is_seen() -> None:
    figure, axes = plt.subplots()
    axes.text(0.5, 0.5, "one text")
    axes.text(0.52, 0.51, "another")
    axes.text(0.5, 0.9, "far away")
    axes.text(0.9, 0.2, "cut at the edge of the axes", clip_on=True)
    assert faults(figure) == ["'one text' over 'another'", "'cut at the edge of the axes' is cut"]
    figure, axes = plt.subplots()
    axes.set_xticks(
        [0.1, 0.16, 0.22], ["a long name", "another long name", "a third long name"], rotation=35, ha="right"
    )
    assert faults(figure) == []
    axes.set_xticks(
        [0.1, 0.12, 0.22], ["a long name", "another long name", "a third long name"], rotation=35, ha="right"
    )
    assert len(faults(figure)) == 1


def test_no_text_of_a_figure_overlaps(smoke: Study) -> None:
    """In English; `test_spanish` looks at the Spanish ones."""
    style.use_style(scenarios={"s": "Anatomy (Cohort A) and lesions (Cohort B), tested on Cohort C"})
    found = {}
    for figure in draw_everything(smoke):
        if lines := faults(figure):
            found[figure.get_label() or f"figure {figure.number}"] = lines
        plt.close(figure)
    style.use_style()
    assert found == {}


def test_every_kind_of_figure_is_looked_at() -> None:
    """Those that `draw_everything` does not draw are named here, with the reason."""
    import inspect

    from tests.report.figures import test_spanish

    text = inspect.getsource(test_spanish.every_figure)
    others = {"patch_draws"}  # needs a sampler; its only texts are names of cohorts
    assert {kind.__name__ for kind in all_kinds()} - others == {
        k.__name__ for k in all_kinds() if f".{k.__name__}(" in text
    }
