import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiseg.report.figures import overlays
from multiseg.report.figures.slices import telling_slices
from multiseg.report.live_viewer import LiveViewer
from multiseg.study import finished_runs
from multiseg.study.study import Study
from multiseg_core.errors import UserError


def pictures(viewer: LiveViewer, line: int) -> list[str]:
    """Return what is drawn, without its alternative text."""
    return [picture.value.partition(" alt=")[0] for picture in viewer.pictures[line]]


def test_every_choice_changes_what_is_seen(smoke: Study) -> None:
    viewer = LiveViewer(smoke, "anatomy_wmh")
    assert viewer.upper.value == "ground truth" and viewer.lower.value == "MultiUNet"
    truth, model = pictures(viewer, 0), pictures(viewer, 1)
    assert truth != model
    viewer.lower.value = "ground truth"
    assert pictures(viewer, 1) == truth
    viewer.lower.value = "nothing"
    plain = pictures(viewer, 1)
    viewer.opacity.value = 0
    assert pictures(viewer, 0) == plain
    viewer.places[2].value = 0
    assert pictures(viewer, 0)[:2] == plain[:2] and pictures(viewer, 0)[2] != plain[2]
    viewer.image.value = "T1"
    assert pictures(viewer, 0) != plain


def test_each_model_has_labels_errors_and_uncertainty(smoke: Study) -> None:
    viewer = LiveViewer(smoke, "anatomy_wmh")
    run = next(r for r in smoke.runs_of("anatomy_wmh") if r.model == "selective_cross_entropy")
    case = run.test_cases[0]
    stored, said, uncertainty = (
        smoke.open(case),
        finished_runs.prediction(run, case),
        finished_runs.uncertainty(run, case),
    )
    assert uncertainty is not None
    title = "Selective cross-entropy"
    for kind, overlay in {
        title: overlays.predicted(said, run.labels),
        f"{title}: errors": overlays.errors(stored, said, run.labels),
        f"{title}: uncertainty": overlays.uncertainty(uncertainty),
    }.items():
        viewer.lower.value = kind
        grey = overlays.grey_values(stored, viewer.image.value)
        at = viewer.places[0].value
        expected = overlays.plane_picture(grey, overlay, 0, at, stored.spacing_mm, viewer.opacity.value, 260)
        found = re.fullmatch(r'<img src="data:image/png;base64,(.*)" alt="(.*)">', viewer.pictures[1][0].value)
        assert found is not None and found[2] == f"sagittal plane {at}: {kind} over FLAIR"
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1])))), np.asarray(expected))
    assert "invented" not in viewer.legend.value
    viewer.lower.value = f"{title}: errors"
    assert "invented" in viewer.legend.value


def test_the_button_goes_to_the_most_errors(smoke: Study) -> None:
    viewer = LiveViewer(smoke, "anatomy_wmh")
    run = next(r for r in smoke.runs_of("anatomy_wmh") if r.model == "multi_unet")
    viewer.jump.click()
    found = overlays.errors(smoke.open(run.test_cases[0]), finished_runs.prediction(run, run.test_cases[0]), run.labels)
    wrong = found.numbers > 0
    expected = [int(wrong.sum(axis=tuple({0, 1, 2} - {axis})).argmax()) for axis in range(3)]
    assert [slider.value for slider in viewer.places] == expected
    assert telling_slices(found.numbers + (found.numbers > 0)) == tuple(expected)


def test_cases_and_scenarios_can_be_changed(smoke: Study) -> None:
    viewer = LiveViewer(smoke)
    assert len(viewer.scenario.options) > 1
    before = pictures(viewer, 0)
    for _, name in viewer.scenario.options:
        viewer.scenario.value = name
        run = viewer.runs[name][0]
        metrics = finished_runs.read_metrics(run.folder / "metrics.csv")
        for case in run.test_cases:
            viewer.case.value = f"{case.name} ({case.cohort})"
            known = metrics[metrics["case"] == case.name]["dice"].dropna()
            assert all(f"{dice:.3f}" in viewer.dice.value for dice in known)
    assert pictures(viewer, 0) != before


def test_without_a_finished_run_it_says_what_to_do(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study())
    with pytest.raises(UserError, match="nothing to look at yet; run multiseg study"):
        LiveViewer(study)
    with pytest.raises(UserError, match="no scenario 'other'"):
        LiveViewer(study, "other")
