import pandas as pd

from multiseg.data.store import StoredCase
from multiseg.report.figures import cohort_charts
from multiseg.study.study import Study


def test_slices_show_drawn_labels_only(smoke: Study, cohorts: dict[str, list[StoredCase]]) -> None:
    _, table = cohort_charts.cohort_slices([cohorts["mrbrains17"][0]], smoke.labels)
    assert list(table["label"]) == ["wmh"] and table["voxels"].iloc[0] > 0


def test_multi_task_example_shows_each_task_and_both(smoke: Study, cohorts: dict[str, list[StoredCase]]) -> None:
    found = cohort_charts.multi_task_example(cohorts, smoke.labels)
    assert found is not None
    counts = found[1].set_index(["panel", "label"])["voxels"]
    assert counts["CSF + GM + WM", "gm"] == counts["together", "gm"] > 0
    assert counts["WMH", "wmh"] == counts["together", "wmh"] > 0
    assert cohort_charts.multi_task_example({"mrbrains13": cohorts["mrbrains13"]}, smoke.labels) is None


def test_modalities_come_from_the_richest_cohort(cohorts: dict[str, list[StoredCase]]) -> None:
    _, table = cohort_charts.modalities_figure(cohorts)
    assert dict(zip(table["modality"], table["cohort"], strict=True)) == {
        "T1": "brats12", "T1c": "brats12", "T2": "brats12", "FLAIR": "brats12", "IR": "mrbrains13",
    }  # fmt: skip


def test_protocols_are_compared_where_two_cohorts_draw_a_label(cohorts: dict[str, list[StoredCase]]) -> None:
    found = cohort_charts.protocol_figure(cohorts, "csf")
    assert found is not None and list(found[1]["cohort"]) == ["mrbrains13", "mrbrains18", "brainweb", "tumorsim"]
    row: pd.Series = found[1].iloc[0]
    case = cohorts["mrbrains13"][0]
    csf = case.sets.index(frozenset({"csf"}))
    assert row["voxels"] == (case.target[:, :, row["slice"]] == csf).sum()
    assert cohort_charts.protocol_figure({"mrbrains13": cohorts["mrbrains13"]}, "csf") is None
