from collections.abc import Iterator

import pandas as pd
import pytest

from multiseg.report.figures import language, names
from multiseg.settings.models import MODELS, NamedModel


@pytest.fixture(autouse=True)
def named() -> Iterator[None]:
    own = {**MODELS, "wide": NamedModel(title="Wide\nnetwork", spanish="Red\nancha")}
    names.use_names("en", own, {"anatomy_wmh": "Anatomy (A) and WMH (B), tested on C"}, {"gm": "Grey matter"})
    yield
    names.use_names()


def test_names_of_params_files_become_titles() -> None:
    assert names.model_title("cross_entropy") == "Cross-entropy (naive)" and names.model_title("wide") == "Wide network"
    assert names.model_title("somebody_s") == "somebody s"
    assert names.label_title("csf") == "CSF" and names.label_title("gm or wm") == "Grey matter or WM"
    assert names.scenario_title("anatomy_wmh") == "Anatomy (A) and WMH (B), tested on C"
    assert names.short_scenario("anatomy_wmh") == "Anatomy (A) and WMH (B)"
    assert names.short_scenario("my_own") == "my own" and names.scenario_title("every") == "every scenario"
    assert names.endpoint_title("lesion") == "lesions" and names.endpoint_title("gm+wmh") == "Grey matter + WMH"
    assert names.endpoint_title("a+b+c+d+e") == "5 labels"
    assert names.column_title("p_holm") == "p (Holm)" and names.column_title("rank_3") == "Rank 3"
    assert names.column_title("wmh") == "WMH" and names.column_title("my_column") == "my column"


def test_tables_are_read_in_the_language_of_the_report() -> None:
    index = pd.MultiIndex.from_tuples([("anatomy_wmh", "dice")], names=["scenario", "model"])
    table = pd.DataFrame({("csf", "HD95"): [1.0], ("csf", "ASSD"): [2.0]}, index=index)
    shown = names.readable(table)
    assert shown.columns.tolist() == [("CSF", "HD95 (mm)"), ("CSF", "ASSD (mm)")]
    assert shown.index.tolist() == [("Anatomy (A) and WMH (B), tested on C", "Dice")]
    assert list(shown.index.names) == ["Scenario", "Model"]
    assert table.index.names == ["scenario", "model"]  # as it was
    pairs = pd.DataFrame({"model_a": ["oracle"], "verdict": ["holds"], "p": [0.5]})
    names.use_names("es")
    shown = names.readable(pairs)
    assert shown.columns.tolist() == ["Modelo A", "Veredicto", "p"]
    assert shown.iloc[0].tolist() == ["Oráculo", "se cumple", 0.5]


def test_captions_without_a_translation_stay() -> None:
    assert language.say("All {n} rows", n=3) == "All 3 rows"
    names.use_names("es")
    assert language.say("All {n} rows", n=3) == "Las 3 filas"
    assert language.say("My {own} caption.") == "My {own} caption."
