"""Every text that figure code can draw has a translation."""

import itertools
import re
from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from multiseg.report.figures import (
    case_viewer,
    cohort_charts,
    comparison_charts,
    curves,
    endpoint_chart,
    language,
    result_charts,
    slices,
    style,
)
from multiseg.results import cohort_tables, model_comparison, thesis_test
from multiseg.settings.label_styles import LABEL_STYLES
from multiseg.settings.models import MODELS as ALL_MODELS
from multiseg.settings.models import SINGLE_TASK, SINGLE_TASK_MODEL
from multiseg.study.study import Study
from multiseg.thesis import reported
from tests.report.figures.test_kinds import all_kinds
from tests.report.figures.texts import faults

PHRASES = language.CATALOGUE["phrases"]
LABELS = [*LABEL_STYLES]
MODELS = [*ALL_MODELS]
TITLES = [
    *((x.title, x.spanish) for x in (*ALL_MODELS.values(), SINGLE_TASK_MODEL)),
    *((x.name, x.spanish) for x in LABEL_STYLES.values()),
]
"""English and Spanish names of models and labels."""


@pytest.fixture(autouse=True)
def in_spanish() -> Iterator[None]:
    style.use_style("es")
    yield
    style.use_style()
    plt.close("all")


def draw_everything(study: Study) -> Iterator[Figure]:
    """Draw every figure of the study, with all models and labels, one at a time."""
    for figure in every_figure(study):
        yield figure
        plt.close("all")


CURVE = ["model", "panel", "series", "x", "mean", "low", "high"]


def every_figure(study: Study) -> Iterator[Figure]:
    rng = np.random.default_rng(0)
    metrics = pd.DataFrame(
        [
            {"scenario": "s", "model": model, "replicate": 1, "seed": 0, "cohort": "c", "subject": f"case{i}",
             "case": f"case{i}", "label": label, "dice": rng.uniform()}
            for model, i, label in itertools.product(MODELS, range(3), LABELS)
        ]
    )  # fmt: skip
    single = pd.DataFrame({"model": SINGLE_TASK, "label": LABELS, "dice": 0.5})
    yield result_charts.dice_boxes(pd.concat([single, metrics]), LABELS)
    yield result_charts.significance_axis(thesis_test.thesis_test(metrics), metrics.groupby("model")["dice"].mean())
    pairs = model_comparison.paired_comparison(metrics, resamples=20)
    yield comparison_charts.difference_intervals(pairs)
    matrix = comparison_charts.difference_matrix(pairs)
    assert matrix is not None
    yield matrix
    better = metrics.assign(dice=metrics["dice"].where(metrics["model"] == MODELS[0], 0.7 + metrics["dice"] / 10))
    zoom = result_charts.dice_zoomed(better, LABELS)
    means = better.groupby("model")["dice"].mean()
    axis = result_charts.significance_zoomed(
        thesis_test.thesis_test(better), means.where(means.index != MODELS[0], 0.2)
    )
    assert zoom is not None and axis is not None
    yield zoom
    yield axis
    recognised = comparison_charts.recognition_figure(
        pd.DataFrame({"scenario": "s", "model": list(MODELS), "share": 0.5})
    )
    assert recognised is not None
    yield recognised
    yield comparison_charts.shift_figure(
        pd.DataFrame(
            [{"model": "multi_unet", "cohort": "mrbrains13", "test_cohort": "mrbrains18", "label": label,
              "divergence": 0.01, "loss": 0.1} for label in LABELS]
        )
    )  # fmt: skip
    names = ["scenario", "endpoint", "model"]
    places = pd.MultiIndex.from_product([["s"], ["anatomy", "lesion"], MODELS], names=names)
    drawn = endpoint_chart.difference_figure(
        pd.DataFrame(0.1, index=places, columns=["dice", "oracle", "oracle low", "oracle high"]), "oracle"
    )
    assert drawn is not None
    yield drawn[0]
    rows = [(s, e, m, 0.8 - k / 50, 0.75 - k / 50, 0.85 - k / 50) for s in ("s", "t") for e in ("anatomy", "lesion")
            for k, m in enumerate(MODELS)]  # fmt: skip
    endpoints = pd.DataFrame(rows, columns=[*names[:2], "model", "dice", "low", "high"])
    everything = endpoint_chart.endpoint_figure(endpoints.assign(reference=0.78, margin=0.02))
    assert everything is not None
    yield everything
    counts = pd.DataFrame({"bin": [0, 30], "voxels": [90, 10], "wrong": [10, 5], "scenario": "s", "model": MODELS[0]})
    found_errors = curves.errors_found_figure(counts)
    assert found_errors is not None
    yield found_errors[0]
    points = pd.DataFrame([(MODELS[0], "s", "s", x, 0.5, 0.4, 0.6) for x in (1, 2)], columns=CURVE)
    yield curves.setting_curves(points, "s")
    losses = {"network": 0, "seed": 0, "step": 1, "training_loss": 1.0, "validation_loss": 1.0}
    yield result_charts.training_curves(pd.DataFrame([{"model": model, **losses} for model in MODELS]))

    explored = cohort_tables.open_cases(study)
    case = explored["mrbrains18"][0]
    nothing = np.zeros(case.target.shape, dtype=np.uint8)
    ranked = [slices.RankedCase(rank, case, nothing, 0.5, nothing / 2) for rank in ("worst", "median", "best")]
    cases = slices.case_panel(ranked, LABELS, "wmh", "FLAIR", "dice")
    assert cases is not None
    yield cases[0]
    case_viewer.case_viewer(case, {"dice": nothing}, LABELS, "FLAIR")
    yield slices.prediction_panel(case, dict.fromkeys(MODELS, nothing), LABELS, "FLAIR")[0]
    yield slices.naive_panel([case], [nothing], LABELS, "FLAIR")[0]
    yield cohort_charts.divergence_figure(*reported.divergences_beside_thesis(study.cohorts, explored))[0]
    yield cohort_charts.cohort_slices([case], study.labels)[0]
    yield cohort_charts.modalities_figure(explored)[0]
    for found in (
        cohort_charts.multi_task_example(explored, study.labels), cohort_charts.protocol_figure(explored, "csf")
    ):  # fmt: skip
        assert found is not None
        yield found[0]
    volumes = cohort_tables.volumes(explored, study.labels)
    coarse = volumes[:1].assign(label=cohort_tables.describe_set(frozenset({"oedema", "tumour"}), LABELS))
    yield cohort_charts.volume_figure(pd.concat([volumes, coarse]))
    yield cohort_charts.intensity_histograms(cohort_tables.intensities(explored))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]


def test_nothing_is_drawn_that_was_not_translated(smoke: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """With translations in brackets, what stands outside of them are names of cohorts and modalities, and numbers."""
    marked = {english: f"[[{text}]]" for english, text in PHRASES.items()}
    monkeypatch.setattr(language, "CATALOGUE", {**language.CATALOGUE, "phrases": marked})
    names = {*smoke.cohorts, *(m for c in smoke.cohorts.values() for m in c.modalities)}
    names |= {"s", "t", "mrbrains18_01"}  # scenarios, a case
    names |= {
        word
        for _, text in [*TITLES, *language.CATALOGUE["endpoints"].values()]
        for word in re.findall(r"[A-Za-z]\w*", text)
    }
    left, drawn = set(), 0
    for figure in draw_everything(smoke):
        for text in texts(figure):
            drawn += text.count("[[")
            while "[[" in text:  # brackets in brackets: the name of a model in a sentence
                text = re.sub(r"\[\[(?:(?!\[\[|\]\]).)*\]\]", " ", text, flags=re.DOTALL)
            left |= {word for word in re.findall(r"[A-Za-z]\w*", text) if word not in names}
    assert left == set()
    assert drawn > 30


def test_no_english_is_left_in_spanish_figures(smoke: Study) -> None:
    english = {e.replace("\n", " ") for e, s in [*PHRASES.items(), *TITLES] if e != s and "{" not in e and e != " or "}
    found, wrong = [], []
    for figure in draw_everything(smoke):
        found += [text.replace("\n", " ") for text in texts(figure)]
        wrong += faults(figure)  # drawn here already; `test_texts` looks at the English ones
    assert english & set(found) == set()
    assert wrong == []
    for text in ("Entropía cruzada selectiva", "Edema", "Mono-tarea", "Modelo Naive", "Edema o Tumor", "paso"):
        assert text in found


def test_every_kind_of_figure_has_a_caption_in_both_languages() -> None:
    captions = language.CATALOGUE["captions"]
    assert {kind.name for kind in all_kinds()} == set(captions)
    assert all(
        len(both) == 2 for part in ("captions", "tables", "columns") for both in language.CATALOGUE[part].values()
    )


def test_translations_hold_the_same_values() -> None:
    for english, text in PHRASES.items():
        assert re.findall(r"{(\w+)", english) == re.findall(r"{(\w+)", text), english


def test_phrases_are_filled_in() -> None:
    assert language.say("{percent:.0f} % of the slice", percent=3.4) == "3 % del corte"
    assert language.word("columns", "mean") == "Media"
    with pytest.raises(ValueError, match="no language 'fr'; there are en, es"):
        language.use_language("fr")
