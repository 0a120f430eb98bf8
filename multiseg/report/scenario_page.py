"""What the notebooks of scenarios show alike: one call per step, in the order in which a notebook tells it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display

from ..data.store import StoredCase
from ..results import domain_distance, summaries, thesis_test
from ..settings.models import NAIVE, SELECTIVE
from ..study import finished_runs, runs
from ..study.plan import Run
from ..thesis import reported
from . import show_figure, summary, tables
from .figures import case_viewer, result_charts, slices


@dataclass(frozen=True)
class ScenarioPage(show_figure.Page):
    """The page of a scenario; results are those of its first replicate."""

    scenario: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Its foreground labels."""
        return self.study.scenario(self.scenario).labels

    @property
    def modality(self) -> str:
        """The image that pictures show."""
        return self.study.scenario(self.scenario).modalities[-1]

    @property
    def runs(self) -> list[Run]:
        """Its runs."""
        return self.study.runs_of(self.scenario)

    @property
    def first_runs(self) -> list[Run]:
        """Its runs of the first replicate."""
        return [run for run in self.runs if run.replicate == 1]

    @property
    def metrics(self) -> pd.DataFrame:
        """A row per model, test case and label, of the first replicate."""
        found = finished_runs.metrics(self.study)
        return found[(found["scenario"] == self.scenario) & (found["replicate"] == 1)]

    @property
    def beside_single(self) -> pd.DataFrame:
        """As `metrics`, with the networks that were trained for one task alone, where there are some."""
        return domain_distance.with_single_task(self.first_runs, self.metrics)

    @functools.cached_property
    def example(self) -> tuple[StoredCase, dict[str, np.ndarray]]:
        """A typical test case, and what every model makes of it."""
        return tables.example_predictions(self.study, self.scenario)

    # -- steps -------------------------------------------------------------------------------------------------

    def show_what_is_trained(self) -> tables.Shown:
        """Show what the scenario trains and tests on."""
        return self.table("scenario", tables.scenario_table(self.study, self.scenario))

    def train(self) -> None:
        """Train and evaluate what is not finished yet."""
        runs.finish_runs(self.study, self.runs)

    def show_findings(self) -> None:
        """Show what came out, in a sentence."""
        display(Markdown(summary.scenario_in_short(self.study, self.scenario)))

    def show_training(self) -> None:
        """Show the curves of training and validation loss."""
        self.figure(result_charts.training_curves, finished_runs.history(self.first_runs))

    def show_mean_dice(self) -> tables.Shown:
        """Show the mean Dice of every model, by label."""
        return self.table("mean_dice", summaries.mean_dice(self.beside_single))

    def show_dice(self) -> None:
        """Show the Dice of every case, by label and model."""
        self.figure(result_charts.dice_boxes, self.beside_single, self.labels)

    def show_dice_closely(self) -> None:
        """Show the same, each label on an axis of its own."""
        self.figure(result_charts.dice_zoomed, self.beside_single, self.labels)

    def show_surface_distances(self) -> tables.Shown:
        """Show the median distances between surfaces."""
        return self.table("surface_distances", summaries.surface_distances(self.metrics))

    def show_lesions(self) -> tables.Shown:
        """Show how many lesions are found and invented."""
        lesions = [label for label in self.labels if label not in reported.ANATOMY]
        return self.table("lesions", summaries.lesion_table(self.metrics, lesions))

    def show_significance(self) -> None:
        """Show which models differ in the thesis's test."""
        means = self.metrics.groupby("model", sort=False)["dice"].mean()
        tests = thesis_test.thesis_test(self.metrics)
        self.figure(result_charts.significance_axis, tests, means)
        self.figure(result_charts.significance_zoomed, tests, means)

    def show_beside_thesis(self) -> tables.Shown | None:
        """Show the medians of each label beside the thesis's, if it has such a scenario."""
        beside = reported.beside_thesis(self.study.scenario(self.scenario), self.metrics)
        if len(beside):
            return self.table("beside_thesis", beside)
        print("The thesis has no such scenario.")
        return None

    def show_slice(self) -> None:
        """Show a slice of a typical case, with the labels of every model."""
        self.figure(slices.prediction_panel, *self.example, self.labels, self.modality)

    def show_cases(self) -> None:
        """Show the errors of one model on the worst, the median and the best case of each label."""
        shown = tables.shown_model(self.study, self.scenario)
        for label in self.labels:
            ranked = tables.ranked_cases(self.study, self.scenario, label, shown)
            self.figure(slices.case_panel, ranked, self.labels, label, self.modality, shown, name=f"cases_{label}")

    def show_viewer(self) -> None:
        """Show a typical case in three planes, to scroll through."""
        display(HTML(case_viewer.case_viewer(*self.example, self.labels, self.modality)))

    def show_predicted_volumes(self) -> tables.Shown:
        """Show how much of each label the naive and the selective model find on images of each cohort."""
        return self.table("predicted_volumes", tables.predicted_volumes(self.study, self.scenario, [NAIVE, SELECTIVE]))

    def show_naive_examples(self) -> None:
        """Show what the naive model leaves out on images of each training cohort."""
        naive = tables.naive_examples(self.study, self.scenario)
        if naive:
            self.figure(slices.naive_panel, *naive, self.labels, self.modality)
