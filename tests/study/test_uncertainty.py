import numpy as np
import pandas as pd
import pytest

from multiseg.study.uncertainty import EDGES, allowed_classes, count_by_uncertainty, errors_found, reliability


def test_voxels_are_counted_by_their_uncertainty() -> None:
    uncertainty = np.array([0.0, 0.00005, 0.5, 1.0, 0.7]).reshape(5, 1, 1)
    wrong = np.array([False, True, True, False, True]).reshape(5, 1, 1)
    inside = np.array([True, True, True, True, False]).reshape(5, 1, 1)
    table = count_by_uncertainty(uncertainty, wrong, inside)
    assert table[["voxels", "wrong"]].to_numpy().tolist() == [[2, 1], [1, 1], [1, 0]]
    assert table["bin"].tolist()[0] == 0 and table["bin"].tolist()[-1] == len(EDGES) - 2


def counts(rows: list[tuple[int, int, int]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["bin", "voxels", "wrong"])
    return table.assign(scenario="s", model="m")


def test_reliability_by_hand() -> None:
    """Certain: 80 right, 10 wrong; less: 5 and 5. 5 of 15 errors beat 80 of 85 right ones; ties count half."""
    found = reliability(counts([(0, 90, 10), (30, 10, 5)])).loc[("s", "m")]
    assert found["error rate"] == pytest.approx(0.15)
    pairs = 5 * 80 + (10 * 80 + 5 * 5) / 2
    assert found["AUROC"] == pytest.approx(pairs / (15 * 85))
    assert found["found"] == pytest.approx(2.5 / 15)  # half of the ten uncertain ones are the 5 % looked at
    split = reliability(counts([(0, 40, 5), (0, 50, 5), (30, 10, 5)])).loc[("s", "m")]  # cases are put together
    assert split.equals(found)


def test_auroc_is_that_of_an_independent_implementation() -> None:
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    uncertainty = EDGES[rng.integers(0, 61, 4000)] + 1e-9
    wrong = rng.random(4000) < 0.1 + 0.4 * uncertainty
    table = count_by_uncertainty(uncertainty.reshape(-1, 1, 1), wrong.reshape(-1, 1, 1), np.ones((4000, 1, 1), bool))
    u = mannwhitneyu(uncertainty[wrong], uncertainty[~wrong]).statistic / (wrong.sum() * (~wrong).sum())
    assert reliability(table.assign(scenario="s", model="m"))["AUROC"].iloc[0] == pytest.approx(u)


def test_without_errors_there_is_nothing_to_find() -> None:
    found = reliability(counts([(0, 10, 0)])).iloc[0]
    assert found["error rate"] == 0 and np.isnan(found["AUROC"]) and np.isnan(found["found"])
    assert reliability(counts([])).empty


def test_what_label_sets_allow() -> None:
    sets = [frozenset({"background", "gm"}), frozenset({"wmh"})]
    assert allowed_classes(sets, ("gm", "wmh"), "background").tolist() == [[True, True, False], [False, False, True]]


def test_errors_found_by_hand() -> None:
    """Of 100 voxels the ten most uncertain hold 5 of 15 errors; at best they would hold 10."""
    curve = errors_found(counts([(0, 90, 10), (30, 10, 5)]))
    assert curve["looked_at"].tolist() == pytest.approx([0, 0.1, 1])
    assert curve["found"].tolist() == pytest.approx([0, 1 / 3, 1])
    assert curve["best"].tolist() == pytest.approx([0, 2 / 3, 1])
    assert errors_found(counts([(0, 10, 0)])).empty and errors_found(counts([])).empty
