"""A study: what a params file asks for, resolved to cohorts, scenarios, models, runs and folders.

Runs and networks live in folders named by their keys, see `multiseg.study.plan`.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from multiseg_core.errors import UserError, suggest

from ..base.files import located
from ..base.fingerprints import fingerprint
from ..data.cohorts import Case, Cohort
from ..data.loading import in_replicate, load_cohorts
from ..data.store import Store, StoredCase
from ..settings.models import NamedModel, merged
from ..settings.params import Params
from ..settings.params_files import load_params
from .automatic import decide
from .choices import check_scenario, check_swaps, require_known
from .failures import FAILED, failed_networks
from .plan import NetworkPlan, Planner, Run, networks_of
from .scenarios import Scenario, models_in

FIRST_REPLICATE = "MULTISEG_FIRST_REPLICATE"
"""Environment variable: where it is 1, as for a report that comes early, a study is its first replicate alone."""


class Study:
    """A params file, read and resolved. Of images the headers are read at most, and nothing is written.

    Raises `UserError` for anything wrong in the params file, whose stem names the study, or in manifests, a line each.

    Attributes
    ----------
    params, models
        Its params; all models by name, built-in and its own.
    name, folder, store
        Its name; where its products go; its prepared cases.
    cohorts, labels
        Cohorts by name, of the first replicate; all foreground labels in order.
    scenarios, replicates
        Scenarios by name, of the first replicate, and of every replicate that runs some model.
    is_first_replicate
        Whether it is the first replicate alone of a study of several, see `FIRST_REPLICATE`.
    chosen
        What params leave to the data, and what was chosen, a line each.
    """

    def __init__(self, params_file: str | Path) -> None:
        self.params_file = find_params_file(Path(params_file))
        self.params: Params = load_params(self.params_file)
        self.models: Mapping[str, NamedModel] = merged(self.params.models)
        self.name = self.params_file.stem
        base = self.params_file.parent
        reports = (base.resolve().parent if base.resolve().name == "params" else base.resolve()) / "reports"
        if self.params.reports_dir is not None:
            reports = located(base.resolve(), self.params.reports_dir).resolve()
        self.folder = reports / self.name
        try:
            self.cohorts, self.labels = load_cohorts(
                self.params.cohorts, self.params.labels, base, self.folder / "phantoms", self.params.data_dir
            )
        except UserError as error:
            # faults of a manifest name the manifest already
            keys = ("cohorts.", "labels:", "missing key")
            lines = str(error).split("\n")
            raise UserError(
                "\n".join(f"{self.params_file}: {line}" if line.startswith(keys) else line for line in lines)
            ) from None
        with self._named():
            self.params = in_parts(self.params, self.cohorts)
            self.params, self.models, self.chosen = decide(self.params, self.models, self.cohorts)
            require_known("replicated: unknown model", self.params.replicated or (), self.models)
            self.replicates = [self._replicate(r) for r in range(1, 1 + self.params.replicates)]
            check_swaps(self.params, self.labels)
        self.store = Store(self.folder / "store", self.params.preprocessing)
        self.is_first_replicate = os.environ.get(FIRST_REPLICATE) == "1" and len(self.replicates) > 1
        if self.is_first_replicate:
            self.replicates = self.replicates[:1]
            self.params = self.params.changed(folds=None, replicates=1)
        self.scenarios = self.replicates[0]

    def _replicate(self, r: int) -> dict[str, Scenario]:
        """Return the scenarios of a replicate by name."""
        people = 1 if self.params.folds else r  # folds share their subjects
        cohorts = in_replicate(self.cohorts, self.params.cohorts, self.folder / "phantoms", people)
        found = {
            name: Scenario.resolve(name, self.params, cohorts, self.labels, r)
            for name, s in self.params.scenarios.items()
            if models_in(self.params, s, r)
        }
        for scenario in found.values():
            check_scenario(scenario, self.params, self.models, self.labels)
        return found

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Begin what is wrong with the name of the params file."""
        try:
            yield
        except UserError as error:
            raise UserError(f"{self.params_file}: {error}") from None

    @property
    def all_scenarios(self) -> list[Scenario]:
        """The scenarios of all replicates."""
        return [scenario for scenarios in self.replicates for scenario in scenarios.values()]

    def require_writable(self) -> None:
        """Find a folder that cannot be written to before anything is computed. Raises `UserError`."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.params_file}: reports_dir: cannot make {self.folder} ({error.strerror})") from None
        if not os.access(self.folder, os.W_OK):
            raise UserError(f"{self.params_file}: reports_dir: {self.folder} cannot be written to")

    def scenario(self, name: str) -> Scenario:
        """Return a scenario. Raises `UserError` for an unknown name."""
        with self._named():
            require_known("no scenario", [name], self.scenarios)
        return self.scenarios[name]

    def check_networks(self) -> None:
        """Try every loss and network on shapes. Raises `UserError` for what would stop them in training."""
        from .network_shapes import try_models  # torch is slow to import

        with self._named():
            try_models(self.scenarios.values(), self.params, self.models)

    # -- cases -------------------------------------------------------------------------------------------------

    def needed_cases(self, replicates: int | None = None) -> list[Case]:
        """Return every case that the first replicates (default: all) train, validate or test on, once, by cohort."""
        wanted: dict[tuple[str, str], Case] = {}
        for scenarios in self.replicates[:replicates]:
            needed = {(case.cohort, case.name) for scenario in scenarios.values() for case in scenario.cases}
            used = {name: cohort for scenario in scenarios.values() for name, cohort in scenario.cohorts.items()}
            cases = (case for name in self.cohorts if name in used for case in used[name].cases)
            wanted |= {place: case for case in cases if (place := (case.cohort, case.name)) in needed}
        return list(wanted.values())

    def explored_cases(self) -> list[Case]:
        """Return the cases that the data exploration shows: those that scenarios need, and cohorts that none uses.

        Of phantoms, those of the first replicate.
        """
        needed = {(case.cohort, case.name) for case in self.needed_cases(replicates=1)}
        used = {name for scenario in self.scenarios.values() for name in scenario.cohorts}
        return [
            case
            for cohort in self.cohorts.values()
            for case in cohort.cases
            if cohort.name not in used or (case.cohort, case.name) in needed
        ]

    def prepared_cases(self, cohort: str | None = None) -> list[Case]:
        """Return every case that the study prepares, of all cohorts or of one: to train and test on, and to explore."""
        cases = {(case.cohort, case.name): case for case in (*self.needed_cases(), *self.explored_cases())}
        return [case for case in cases.values() if cohort is None or case.cohort == cohort]

    def open(self, case: Case) -> StoredCase:
        """Open a prepared case. Raises `UserError` if it is not prepared."""
        return self.store.open(case, self.cohorts[case.cohort])

    # -- runs --------------------------------------------------------------------------------------------------

    @functools.cached_property
    def planned_runs(self) -> list[Run]:
        """All runs of the study in the order of the params file. Reads the cases' files to fingerprint them."""
        planner = Planner(self.params, self.models, self.store, self.folder, self.replicates)
        return [
            planner.run(scenarios[name], model, seed)
            for name, s in self.params.scenarios.items()
            for model in s.models
            for r, scenarios in enumerate(self.replicates, start=1)
            for seed in self.params.seeds
            if model in models_in(self.params, s, r)
        ]

    @functools.cached_property
    def runs(self) -> list[Run]:
        """The planned runs, but for those that need a network which could not be trained."""
        return [run for run in self.planned_runs if not failed_networks([run])]

    def leave_out_failed(self) -> None:
        """Look again which networks could not be trained."""
        self.__dict__.pop("runs", None)

    def try_again(self) -> None:
        """Forget which networks could not be trained."""
        for network in networks_of(self.planned_runs):
            (network.folder / FAILED).unlink(missing_ok=True)
        self.leave_out_failed()

    def runs_of(self, scenario: str) -> list[Run]:
        """Return the runs of one scenario."""
        self.scenario(scenario)
        return [run for run in self.runs if run.scenario == scenario]

    def find_run(self, name: str) -> Run:
        """Return a run by its name, see `Run.name`, or by its key. Raises `UserError` if there is none."""
        for run in self.runs:
            if name in (run.name, run.key, run.folder.name):
                return run
        known = [run.name for run in self.runs]
        raise UserError(f"{self.params_file}: no run '{name}'{suggest(name, known)}; runs are {', '.join(known)}")

    def find_network(self, key: str) -> NetworkPlan:
        """Return a network by its key. Raises `UserError` if there is none."""
        for network in self.networks():
            if network.key == key:
                return network
        raise UserError(f"{self.params_file}: no network '{key}'; multiseg train PARAMS --list --json tells their keys")

    @functools.cached_property
    def key(self) -> str:
        """Fingerprint of all that the study makes."""
        return fingerprint([[run.key for run in self.runs], [self.cohort_key(name) for name in self.cohorts]])

    def cohort_key(self, cohort: str) -> str:
        """Return the fingerprint of the prepared cases of a cohort."""
        made = self.cohorts[cohort]
        return fingerprint([self.store.key(case, made) for case in self.prepared_cases(cohort)])

    def networks(self) -> list[NetworkPlan]:
        """Return the networks that its runs need, each once, in an order to train them."""
        return networks_of(self.runs)


def in_parts(params: Params, cohorts: Mapping[str, Cohort]) -> Params:
    """Return params that speak of the parts of cohorts whose cases draw different labels, in place of the whole.

    Raises `UserError` if a scenario names a part that does not exist.
    """
    parts: dict[str, list[str]] = {}
    for cohort in cohorts.values():
        parts.setdefault(cohort.part_of or cohort.name, []).append(cohort.name)
    named = {name for s in params.scenarios.values() for name in (*s.train, *s.test)}
    if all(found == [name] for name, found in parts.items()) and named <= cohorts.keys():
        return params

    def spread(names: Sequence[str], is_test: bool) -> list[str]:
        """Name the parts of cohorts that have cases for tests, or others; all, where none has."""
        found: dict[str, None] = {}
        for name in names:
            require_known("scenarios: unknown cohort", [name], [*parts, *cohorts])
            of = parts.get(name, [name])
            fit = [part for part in of if any((case.split == "test") is is_test for case in cohorts[part].cases)]
            found |= dict.fromkeys(fit or of)
        return list(found)

    return params.changed(
        cohorts={part: params.cohorts[name] for name, found in parts.items() for part in found},
        scenarios={
            name: s.changed(train=spread(s.train, is_test=False), test=spread(s.test, is_test=True))
            for name, s in params.scenarios.items()
        },
    )


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
