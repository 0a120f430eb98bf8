"""Look through every test case of a finished study in JupyterLab, two models at a time, by ipywidgets."""

from __future__ import annotations

import functools
import html
from collections.abc import Sequence

import ipywidgets as widgets
import pandas as pd

from multiseg_core.errors import UserError

from ..data.cohorts import Case
from ..study import finished_runs
from ..study.plan import Run
from ..study.study import Study
from .figures import overlays
from .figures.names import label_title, plain, scenario_title
from .figures.overlays import MISSED, Overlay
from .figures.slices import PLANES, telling_slices
from .tables import first_seed

HEIGHT = 260
"""Of a plane (pixels)."""

TRUTH, NOTHING = "ground truth", "nothing"


class LiveViewer:
    """Widgets that show a test case in three planes, above with one overlay and below with another; display `box`.

    Runs of the first replicate and seed are shown, and only those that are finished. The scenario to begin with is the
    first that has such a run by default. Raises `UserError` without one, or for an unknown scenario.
    """

    def __init__(self, study: Study, scenario: str | None = None) -> None:
        self.study = study
        asked = [scenario] if scenario else list(study.params.scenarios)
        finished = {name: [r for r in first_seed(study, name) if finished_runs.is_finished(r)] for name in asked}
        self.runs = {name: runs for name, runs in finished.items() if runs}
        if not self.runs:
            file = study.params_file
            raise UserError(f"{file}: nothing to look at yet; run multiseg study {file} before")
        self._ready = False
        """Whether all choices belong together: while some follow others, nothing is drawn."""

        names = [(scenario_title(name), name) for name in self.runs]
        self.scenario = widgets.Dropdown(options=names, description="scenario")
        choices = [widgets.Dropdown(description=what) for what in ("case", "image", "above", "below")]
        self.case, self.image, self.upper, self.lower = choices
        self.opacity = widgets.FloatSlider(0.6, min=0, max=1, step=0.05, description="opacity")
        self.places = [widgets.IntSlider(description=plane, readout=False) for plane in PLANES]
        self.jump = widgets.Button(description="Go to the most errors", layout={"width": "auto"})
        self.pictures = [[widgets.HTML() for plane in PLANES] for _ in range(2)]
        self.dice, self.legend = widgets.HTML(), widgets.HTML()

        self.scenario.observe(lambda _: self._choose_scenario(), "value")
        self.case.observe(lambda _: self._choose_case() if self._ready else None, "value")
        for choice in (self.image, self.upper, self.lower, self.opacity):
            choice.observe(lambda _: self._draw(), "value")
        for axis, place in enumerate(self.places):
            place.observe(lambda _, axis=axis: self._draw([axis]), "value")
        self.jump.on_click(lambda _: self._jump())
        lines = [[self.scenario, self.case, self.image], [self.upper, self.lower, self.opacity]]
        lines += [[*self.places, self.jump], *self.pictures, [self.legend], [self.dice]]
        self.box = widgets.VBox([widgets.HBox(line, layout={"flex_flow": "row wrap"}) for line in lines])
        self._choose_scenario()

    # -- choices -----------------------------------------------------------------------------------------------

    @property
    def _run_by_title(self) -> dict[str, Run]:
        return {plain(run.model): run for run in self.runs[self.scenario.value]}

    def _choose_scenario(self) -> None:
        self._ready = False
        cases = self.runs[self.scenario.value][0].test_cases
        self._cases: dict[str, Case] = {f"{case.name} ({case.cohort})": case for case in cases}
        models = list(self._run_by_title)
        kinds = [NOTHING, TRUTH, *models, *(f"{m}: errors" for m in models), *(f"{m}: uncertainty" for m in models)]
        for choice, first in ((self.upper, TRUTH), (self.lower, models[0])):
            choice.options, choice.value = kinds, first
        self.case.options = list(self._cases)
        self.case.index = 0
        self._choose_case()

    def _choose_case(self) -> None:
        self._ready = False
        self._case = self.study.open(self._cases[self.case.value])
        self._overlay = functools.cache(self._made)
        self._grey = functools.cache(functools.partial(overlays.grey_values, self._case))
        seen = self.image.value or self.study.scenario(self.scenario.value).modalities[-1]
        self.image.options = self._case.modalities
        self.image.value = seen if seen in self._case.modalities else self._case.modalities[0]
        for slider, n in zip(self.places, self._case.target.shape, strict=True):
            slider.max, slider.value = n - 1, n // 2
        self.dice.value = self._dice()
        self._ready = True
        self._draw()

    def _jump(self) -> None:
        """Move to the slices in which most is wrong."""
        for choice in (self.lower, self.upper):
            model = choice.value.removesuffix(": errors")
            if model in self._run_by_title:
                wrong = self._overlay(f"{model}: errors").numbers > 0
                self._ready = False
                for slider, at in zip(self.places, telling_slices(MISSED * wrong), strict=True):
                    slider.value = at
                self._ready = True
                self._draw()
                return

    # -- what is shown -----------------------------------------------------------------------------------------

    def _made(self, what: str) -> Overlay:
        case = self._cases[self.case.value]
        if what == NOTHING:
            return overlays.no_overlay(self._case)
        if what == TRUTH:
            return overlays.truth(self._case, self.runs[self.scenario.value][0].labels)
        if run := self._run_by_title.get(what):
            return overlays.predicted(finished_runs.prediction(run, case), run.labels)
        model, _, kind = what.rpartition(": ")
        run = self._run_by_title[model]
        if kind == "errors":
            return overlays.errors(self._case, finished_runs.prediction(run, case), run.labels)
        uncertainty = finished_runs.uncertainty(run, case)
        return overlays.no_overlay(self._case) if uncertainty is None else overlays.uncertainty(uncertainty)

    def _draw(self, axes: Sequence[int] = range(3)) -> None:
        """Draw some planes anew, those that a moved slider leaves as they are not among them."""
        if not self._ready:
            return
        grey, spacing = self._grey(self.image.value), self._case.spacing_mm
        for choice, line in zip((self.upper, self.lower), self.pictures, strict=True):
            for axis in axes:
                at, over = self.places[axis].value, self._overlay(choice.value)
                drawn = overlays.plane_picture(grey, over, axis, at, spacing, self.opacity.value, HEIGHT)
                what = f"{PLANES[axis]} plane {at}: {choice.value} over {self.image.value}"
                line[axis].value = f'<img src="{overlays.data_uri(drawn, "PNG")}" alt="{html.escape(what)}">'
        wrong = any(choice.value.endswith(": errors") for choice in (self.upper, self.lower))
        self.legend.value = overlays.legend(self.runs[self.scenario.value][0].labels, wrong)

    def _dice(self) -> str:
        """Return the Dice of every model on the case, a column per label."""
        chosen = self._cases[self.case.value]
        rows = {}
        for title, run in self._run_by_title.items():
            metrics = finished_runs.read_metrics(run.folder / "metrics.csv")
            own = metrics[(metrics["cohort"] == chosen.cohort) & (metrics["case"] == chosen.name)]
            rows[title] = {label_title(k): v for k, v in zip(own["label"], own["dice"], strict=True)}
        return pd.DataFrame(rows).T.to_html(float_format="%.3f", na_rep="–", border=0)
