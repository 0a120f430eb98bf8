from types import SimpleNamespace

import numpy as np
import pytest

from multiseg.data.store import StoredCase
from multiseg.report.figures import cohort_charts
from multiseg.results import cohort_tables, domain_distance
from multiseg.study.study import Study
from multiseg.thesis import reported


def test_all_cohorts_are_opened(cohorts: dict[str, list[StoredCase]]) -> None:
    names = ["mrbrains13", "mrbrains17", "mrbrains18", "brainweb", "brats12", "tumorsim"]
    assert {name: len(cases) for name, cases in cohorts.items()} == dict.fromkeys(names, 2)


def test_cohort_table(smoke: Study, cohorts: dict[str, list[StoredCase]]) -> None:
    table = cohort_tables.cohort_table(smoke, cohorts)
    assert table.loc["mrbrains17", "background means"] == "background, CSF, GM or WM"
    assert table.loc["mrbrains13", "background means"] == "background"
    assert list(table["role"]) == ["training", "training and test", "test", "training", "training", "test"]
    assert table.loc["mrbrains13", "voxel (mm)"] == "6 x 6 x 6"
    shape = cohorts["mrbrains13"][0].native_grid.shape
    assert table.loc["mrbrains13", "field of view (mm)"] == " x ".join(str(6 * n) for n in shape)


def test_volumes_are_counted_voxels(smoke: Study, cohorts: dict[str, list[StoredCase]]) -> None:
    each = cohort_tables.volumes(cohorts, smoke.labels)
    case = cohorts["mrbrains17"][1]
    wmh = case.sets.index(frozenset({"wmh"}))
    row = each[(each["case"] == case.name) & (each["label"] == "WMH")].iloc[0]
    assert row["ml"] == pytest.approx((case.target == wmh).sum() * 0.216)  # 6 mm voxels
    assert row["percent_of_brain"] == pytest.approx(100 * (case.target == wmh).sum() / case.mask.sum())
    table = cohort_tables.volume_table(each)
    both = each[(each["cohort"] == "mrbrains17") & (each["label"] == "WMH")]["ml"]
    assert table.loc[("mrbrains17", "WMH"), "mean ml"] == pytest.approx(both.sum() / 2)
    assert table.loc[("mrbrains17", "WMH"), "cases with it"] == 2
    marks = [[line.get_ydata().tolist() for line in cohort_charts.volume_figure(each).axes[0].lines] for _ in range(2)]
    assert marks[0] == marks[1]  # they were placed at random
    assert len(cohort_charts.volume_figure(each).axes) == 8  # six labels, in two rows of four


def test_histograms_are_densities(smoke: Study, cohorts: dict[str, list[StoredCase]]) -> None:
    table = cohort_tables.intensities(cohorts)
    area = table.groupby(["cohort", "modality"])["density"].sum() * 0.1
    assert np.allclose(area, 1, atol=1e-6) and len(area) == 17  # 3 + 2 + 3 + 1 + 4 + 4 modalities
    assert len(cohort_charts.intensity_histograms(table).axes) == 6  # five modalities, in two rows of three


def test_divergences_stand_in_the_thesis_s_order(smoke: Study, cohorts: dict[str, list[StoredCase]]) -> None:
    ours, theirs = reported.divergences_beside_thesis(smoke.cohorts, cohorts)
    assert theirs is not None
    order = ["mrbrains18", "mrbrains17", "mrbrains13", "tumorsim", "brats12", "brainweb"]
    assert list(ours.index) == list(ours.columns) == list(theirs.index) == order
    a, b = (domain_distance.intensity_histogram(case) for case in cohorts["mrbrains13"])
    assert ours.loc["mrbrains13", "mrbrains13"] == pytest.approx(domain_distance.divergence(a, b))
    assert theirs.loc["mrbrains13", "mrbrains13"] == 0.002698
    assert len(cohort_charts.divergence_figure(ours, theirs)[0].axes) == 3
    assert len(cohort_charts.divergence_figure(ours, None)[0].axes) == 1


def test_groups_are_named_after_their_task(smoke: Study, cohorts: dict[str, list[StoredCase]]) -> None:
    groups = dict(cohort_tables.example_groups(cohorts, smoke.labels))
    tissues = ("csf", "gm", "wm")
    assert {drawn: [case.cohort for case in cases] for drawn, cases in groups.items()} == {
        tissues: ["mrbrains13", "brainweb"], ("wmh",): ["mrbrains17"], ("oedema", "tumour"): ["brats12"],
        (*tissues, "wmh"): ["mrbrains18"], (*tissues, "oedema", "tumour"): ["tumorsim"],
    }  # fmt: skip
    assert [reported.COHORT_GROUPS[drawn][0] for drawn in list(groups)[:2]] == ["anatomy", "wmh"]


def test_coarse_labels_of_three_classes_are_drawn(cohorts: dict[str, list[StoredCase]]) -> None:
    """They were left out, so that their cohort seemed to draw nothing."""
    coarse = SimpleNamespace(sets=(frozenset({"background"}), frozenset({"a", "b", "c"})))
    assert cohort_tables.drawn_labels(coarse, ["c", "a", "d", "b"]) == ["c", "a", "b"]  # type: ignore[arg-type]


def test_sets_in_words() -> None:
    labels = ("csf", "gm", "wm", "wmh")
    assert cohort_tables.describe_set(frozenset({"background"}), labels) == "background"
    assert cohort_tables.describe_set(frozenset({"background", "gm", "csf"}), labels) == "background, CSF or GM"
    assert cohort_tables.describe_set(frozenset({"background", *labels}), labels) == "ignored (any class)"
