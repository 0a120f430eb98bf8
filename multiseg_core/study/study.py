"""A study: what a params file asks for, as runs, networks and folders.

Runs and networks live in folders named by their keys, see `multiseg_core.plans`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..cohorts.loading import Case, load_cohorts
from ..labels import CodeMap, LabelSet, LabelSpace, completed_sets
from ..models import MODELS
from ..networks import build_network
from ..params import Params, ScenarioParams, load_params
from ..preprocessing.store import Store
from ..utils.errors import UserError, one_line, suggest
from .plan import NetworkSpec, Run, plan_run


class Study:
    """A params file, read and resolved. No image is read until its store is built.

    Parameters
    ----------
    params_file
        The YAML file; its stem names the study.

    Raises
    ------
    UserError
        For anything wrong in the params file, the manifests or the folders, one line each.
    """

    def __init__(self, params_file: str | Path) -> None:
        self.params_file = find_params_file(Path(params_file))
        self.params: Params = load_params(self.params_file)
        self.name = self.params_file.stem
        self.folder = self._reports_root() / self.name
        self._check_reports_root()
        base = self.params_file.parent
        try:
            self.cohorts, self.labels = load_cohorts(
                self.params.cohorts, self.params.labels, base, self.folder / "phantoms", self.params.data_dir
            )
        except UserError as error:
            # faults of a manifest name the manifest already
            keys = ("cohorts.", "labels:", "missing key")
            lines = [
                f"{self.params_file}: {line}" if line.startswith(keys) else line for line in str(error).split("\n")
            ]
            raise UserError("\n".join(lines)) from None
        self.store = Store(self.folder / "store", self.params.preprocessing)
        self._check_scenarios()

    def _reports_root(self) -> Path:
        base = self.params_file.resolve().parent
        if self.params.reports_dir is not None:
            return (base / self.params.reports_dir).resolve()
        return (base.parent if base.name == "params" else base) / "reports"

    def _check_reports_root(self) -> None:
        """Find a folder that cannot be written to before anything is computed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.params_file}: reports_dir: cannot make {self.folder} ({error.strerror})") from None
        if not os.access(self.folder, os.W_OK):
            raise UserError(f"{self.params_file}: reports_dir: {self.folder} cannot be written to")

    # -- scenarios ---------------------------------------------------------------------------------------------

    def scenario(self, name: str) -> ScenarioParams:
        """Return a scenario's params. Raises `UserError` for an unknown name."""
        try:
            return self.params.scenarios[name]
        except KeyError:
            known = self.params.scenarios
            raise UserError(f"{self.params_file}: no scenario '{name}'{suggest(name, known)}") from None

    def scenario_labels(self, name: str) -> tuple[str, ...]:
        """Return the foreground labels that a scenario's training cohorts draw, in the study's order."""
        drawn = {label for c in self.scenario(name).train for label in self.cohorts[c].code_map.annotates}
        return tuple(label for label in self.labels if label in drawn)

    def tasks(self, name: str) -> list[tuple[str, ...]]:
        """Group a scenario's training cohorts by the labels that they draw, in order of rising priority."""
        groups: dict[tuple[str, ...], list[str]] = {}
        for cohort in self.scenario(name).train:
            groups.setdefault(self.cohorts[cohort].code_map.annotates, []).append(cohort)
        return [tuple(members) for members in groups.values()]

    def modalities(self, name: str, task: Sequence[str]) -> tuple[str, ...]:
        """Return what the network of one task of MultiUNet sees: the scenario's modalities, or with ``own_modalities``
        all that the task's cohorts and the test cohort share, in the test cohort's order."""
        s = self.scenario(name)
        if not s.own_modalities:
            return tuple(s.modalities)
        return tuple(
            m for m in self.cohorts[s.test].modalities if all(m in self.cohorts[cohort].modalities for cohort in task)
        )

    def _check_scenarios(self) -> None:
        for name, s in self.params.scenarios.items():
            where = f"{self.params_file}: scenarios.{name}"
            for model in s.models:
                if model not in MODELS:
                    raise UserError(f"{where}.models: unknown model '{model}'{suggest(model, MODELS)}")
            for cohort in [*s.train, s.test]:
                have = self.cohorts[cohort].modalities
                for modality in s.modalities:
                    if modality not in have:
                        raise UserError(
                            f"{where}.modalities: cohort {cohort} has no modality '{modality}' (it has: {', '.join(have)})"
                        )
            if not self.test_cases(name):
                raise UserError(f"{where}.test: cohort {s.test} has no case to test on (split 'test')")
            for cohort in s.train:
                if not self.scenario_split(name, cohort)[0]:
                    raise UserError(f"{where}.train: cohort {cohort} has no case to train on")
            self._check_complete_labels(name)
            inputs = [self.modalities(name, task) for task in self.tasks(name)]
            for n_modalities in sorted({len(s.modalities), *map(len, inputs)}):
                self._try_network(n_modalities)

    def _check_complete_labels(self, name: str) -> None:
        for model in self.scenario(name).models:
            for cohort in self.scenario(name).train if MODELS[model].complete else ():
                cases = [case for part in self.scenario_split(name, cohort) for case in part]
                lacking = [case.name for case in cases if case.complete_labels is None]
                if lacking:
                    which = (
                        f"cohort {cohort}" if len(lacking) == len(cases) else f"case {lacking[0]} of cohort {cohort}"
                    )
                    raise UserError(
                        f"{self.params_file}: scenarios.{name}.models: {model} needs complete labels, "
                        f"which {which} does not have"
                    )

    def _try_network(self, n_modalities: int) -> None:
        """Send the shape of a batch through the network, without numbers, to find what would stop it in training."""
        training = self.params.training
        try:
            with torch.device("meta"):
                network = build_network(self.params.network, n_modalities, 2)
        except UserError as error:
            raise UserError(f"{self.params_file}: {error}") from None
        except Exception as error:  # networks of other libraries check their options in their own ways
            raise UserError(f"{self.params_file}: network: {one_line(error)}") from None
        divisor = int(network.size_divisor)  # type: ignore[arg-type]
        for key, n in (("patch_size", training.batch_size), ("validation_patch_size", 1)):
            size = getattr(training, key)
            if any(edge % divisor for edge in size) and self.params.network.get("name", "unet") == "unet":
                raise UserError(f"{self.params_file}: training.{key}: {size} must be multiples of {divisor}")
            network.train(key == "patch_size")
            try:
                network(torch.empty(n, n_modalities, *size, device="meta"))
            except NotImplementedError:
                continue  # some operation has no shape-only form; training will tell
            except Exception as error:
                raise UserError(f"{self.params_file}: training.{key} {size}, batch of {n}: {one_line(error)}") from None

    # -- cases -------------------------------------------------------------------------------------------------

    def split(self, cohort: str, validation_fraction: float | None = None) -> tuple[list[Case], list[Case]]:
        """Return the training and validation cases of a cohort.

        Cases that the manifest marks ``train`` or ``validation`` go there. If none is marked ``validation``, a share of
        them (by default that of the params' ``training``) is kept for validation, after one shuffle with a fixed seed
        (thesis 6): of those without a mark, if there are any. A single case serves for both.
        """
        if validation_fraction is None:
            validation_fraction = self.params.training.validation_fraction
        cases = [case for case in self.cohorts[cohort].cases if case.split != "test"]
        validation = [case for case in cases if case.split == "validation"]
        if validation:
            return [case for case in cases if case.split != "validation"], validation
        if len(cases) < 2:
            return cases, cases
        free = [i for i, case in enumerate(cases) if case.split is None] or list(range(len(cases)))
        order = np.random.default_rng(self.params.training.split_seed).permutation(free)
        n_validation = max(round(validation_fraction * len(cases)), 1)
        kept = set(order[: min(n_validation, len(cases) - 1)].tolist())
        return (
            [case for i, case in enumerate(cases) if i not in kept],
            [case for i, case in enumerate(cases) if i in kept],
        )

    def scenario_split(self, scenario: str, cohort: str) -> tuple[list[Case], list[Case]]:
        """Return the training and validation cases of a cohort in a scenario, which may have a share of its own."""
        return self.split(cohort, self.scenario(scenario).validation_fraction)

    def validation_cases(self, scenario: str) -> list[Case]:
        """Return the validation cases of all training cohorts of a scenario."""
        return [case for cohort in self.scenario(scenario).train for case in self.scenario_split(scenario, cohort)[1]]

    def tests_on_validation(self, scenario: str) -> bool:
        """Whether a scenario is tested on its validation cases, see `test_cases`."""
        s = self.scenario(scenario)
        return s.train == [s.test] and not any(case.split == "test" for case in self.cohorts[s.test].cases)

    def test_cases(self, scenario: str) -> list[Case]:
        """Return a scenario's test cases.

        Those marked ``test``. If the cohort marks none: all of them if it is not trained on; its validation cases if it
        is the only training cohort, as in the thesis's single-task study. The weights and the moment to stop were
        chosen on these cases too, so such results are a little too good.
        """
        s = self.scenario(scenario)
        if self.tests_on_validation(scenario):
            return self.scenario_split(scenario, s.test)[1]
        cases = self.cohorts[s.test].cases
        marked = [case for case in cases if case.split == "test"]
        if marked or s.test in s.train:
            return marked
        return list(cases)

    def needed_cases(self, scenarios: list[str] | None = None) -> list[Case]:
        """Return every case that some scenarios train, validate or test on, once, in cohort order."""
        wanted: set[tuple[str, str]] = set()
        for name in scenarios or self.params.scenarios:
            for cohort in self.scenario(name).train:
                for part in self.scenario_split(name, cohort):
                    wanted.update((case.cohort, case.name) for case in part)
            wanted.update((case.cohort, case.name) for case in self.test_cases(name))
        return [c for cohort in self.cohorts.values() for c in cohort.cases if (c.cohort, c.name) in wanted]

    def explored_cases(self) -> list[Case]:
        """Return the cases that the data exploration shows: those that scenarios need, and cohorts that none uses."""
        needed = {(case.cohort, case.name) for case in self.needed_cases()}
        used = {cohort for s in self.params.scenarios.values() for cohort in (*s.train, s.test)}
        return [
            case
            for cohort in self.cohorts.values()
            for case in cohort.cases
            if cohort.name not in used or (case.cohort, case.name) in needed
        ]

    # -- runs --------------------------------------------------------------------------------------------------

    @functools.cached_property
    def runs(self) -> list[Run]:
        """All runs of the study in the order of the params file. Reads the cases' files to fingerprint them."""
        return [
            plan_run(self, scenario, model, seed)
            for scenario, s in self.params.scenarios.items()
            for model in s.models
            for seed in self.params.seeds
        ]

    def runs_of(self, scenario: str) -> list[Run]:
        """Return the runs of one scenario."""
        self.scenario(scenario)
        return [run for run in self.runs if run.scenario == scenario]

    def find_run(self, name: str) -> Run:
        """Return a run by ``scenario/model/seed`` or by its key. Raises `UserError` if there is none."""
        for run in self.runs:
            if name in (run.name, run.key, self.run_folder(run).name):
                return run
        known = [run.name for run in self.runs]
        raise UserError(f"{self.params_file}: no run '{name}'{suggest(name, known)}; runs are {', '.join(known)}")

    def run_folder(self, run: Run) -> Path:
        """Return the folder of a run."""
        return self.folder / "runs" / f"{run.scenario}-{run.model}-{run.seed}-{run.key}"

    def network_folder(self, network: NetworkSpec) -> Path:
        """Return the folder of a network."""
        return self.folder / "networks" / network.key

    def code_map(self, network: NetworkSpec, cohort: str) -> CodeMap:
        """Return what the labels that a network sees of a cohort mean: the drawn ones, or the complete ones."""
        code_map = self.cohorts[cohort].complete_map if network.complete else self.cohorts[cohort].code_map
        assert code_map is not None  # see _check_scenarios
        return code_map

    def sets(self, network: NetworkSpec, cohort: str) -> tuple[LabelSet, ...]:
        """Return the label sets of the targets that a network sees of a cohort."""
        sets = self.code_map(network, cohort).sets
        return completed_sets(sets, network.labels) if network.teachers else sets

    def label_space(self, network: NetworkSpec) -> LabelSpace:
        """Return the label space of a network: its classes and the label sets of its cohorts."""
        sets = [members for cohort in network.cohorts for members in self.sets(network, cohort)]
        return LabelSpace.covering(network.labels, sets)

    def networks(self, runs: list[Run]) -> list[NetworkSpec]:
        """Return the networks that some runs need, each once, and after its teachers."""
        found: dict[str, NetworkSpec] = {}
        for network in (n for run in runs for planned in run.networks for n in (*planned.teachers, planned)):
            found.setdefault(network.key, network)
        return list(found.values())


def find_params_file(path: Path) -> Path:
    """Find a params file given relative to the working folder, or to a folder above it (as from `notebooks/`)."""
    if path.is_absolute() or path.exists():
        return path
    for folder in Path.cwd().parents:
        if (folder / path).is_file():
            return folder / path
        if (folder / ".git").exists() or (folder / "pyproject.toml").exists():
            break
    return path


def default_workers(params: Params, device: str) -> int:
    """Return how many trainings run at a time."""
    if params.workers is not None:
        return params.workers
    if device != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(cores // params.threads, 1)
