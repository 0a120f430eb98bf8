"""A study: what a params file asks for, resolved to cohorts, scenarios, models, runs and folders.

Runs and networks live in folders named by their keys, see `multiseg.study.plan`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from multiseg_core.errors import UserError, suggest
from multiseg_core.models import Loss
from multiseg_core.settings import swaps

from ..base.files import located
from ..base.fingerprints import fingerprint
from ..data.cohorts import Case, Cohort
from ..data.loading import in_replicate, load_cohorts
from ..data.store import Store, StoredCase
from ..settings.models import NamedModel, merged
from ..settings.params import Params, ScenarioParams
from ..settings.params_files import load_params
from .automatic import decide
from .failures import FAILED, failed_networks
from .plan import NetworkPlan, Planner, Run, continued, networks_of
from .scenarios import Scenario

FIRST_REPLICATE = "MULTISEG_FIRST_REPLICATE"
"""Environment variable: where it is 1, as for a report that comes early, a study is its first replicate alone."""


class Study:
    """A params file, read and resolved. Of images the headers are read at most, and nothing is written.

    Parameters
    ----------
    params_file
        The YAML file; its stem names the study.

    Attributes
    ----------
    params, models
        Its params; all models by name, built-in and its own.
    name, folder
        Its name; where its products go.
    cohorts, labels
        Cohorts by name, of the first replicate; all foreground labels in order.
    scenarios
        Scenarios by name, of the first replicate.
    replicates
        The scenarios by name of every replicate that runs some model.
    store
        Its prepared cases.
    is_first_replicate
        Whether it is the first replicate alone of a study of several, see `FIRST_REPLICATE`.
    chosen
        What params leave to the data, and what was chosen, a line each.

    Raises
    ------
    UserError
        For anything wrong in the params file or the manifests, one line each.
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
            lines = [
                f"{self.params_file}: {line}" if line.startswith(keys) else line for line in str(error).split("\n")
            ]
            raise UserError("\n".join(lines)) from None
        try:
            self.params = in_parts(self.params, self.cohorts)
            self.params, self.models, self.chosen = decide(self.params, self.models, self.cohorts)
        except UserError as error:
            raise UserError(f"{self.params_file}: {error}") from None
        self.store = Store(self.folder / "store", self.params.preprocessing)
        for model in self.params.replicated or ():
            if model not in self.models:
                raise UserError(f"{self.params_file}: replicated: unknown model '{model}'{suggest(model, self.models)}")
        self.replicates: list[dict[str, Scenario]] = []
        for r in range(1, 1 + self.params.replicates):
            people = 1 if self.params.folds else r  # folds share their subjects
            cohorts = in_replicate(self.cohorts, self.params.cohorts, self.folder / "phantoms", people)
            resolved = {
                name: self._resolve(name, s, cohorts, r)
                for name, s in self.params.scenarios.items()
                if self._models_in(r, s)
            }
            for scenario in resolved.values():
                self._check(scenario)
            self.replicates.append(resolved)
        self.is_first_replicate = os.environ.get(FIRST_REPLICATE) == "1" and len(self.replicates) > 1
        if self.is_first_replicate:
            self.replicates = self.replicates[:1]
            self.params = replace(self.params, folds=None, replicates=1)
        self.scenarios = self.replicates[0]
        self._check_swaps()

    def _resolve(self, name: str, s: ScenarioParams, cohorts: Mapping[str, Cohort], replicate: int) -> Scenario:
        try:
            return Scenario.resolve(
                name, s, cohorts, self.labels, self.params.training, replicate, self.params.folds or 0
            )
        except UserError as error:
            raise UserError(f"{self.params_file}: {error}") from None

    def _models_in(self, replicate: int, scenario: ScenarioParams) -> list[str]:
        """Return those of a scenario's models that run in a replicate."""
        chosen, n = self.params.replicated, scenario.replicates or self.params.replicates
        return [m for m in scenario.models if replicate == 1 or (replicate <= n and (chosen is None or m in chosen))]

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

    # -- scenarios ---------------------------------------------------------------------------------------------

    def scenario(self, name: str) -> Scenario:
        """Return a scenario. Raises `UserError` for an unknown name."""
        try:
            return self.scenarios[name]
        except KeyError:
            raise UserError(f"{self.params_file}: no scenario '{name}'{suggest(name, self.scenarios)}") from None

    def _check(self, scenario: Scenario) -> None:
        where = f"{self.params_file}: scenarios.{scenario.name}"
        for model in scenario.models:
            if model not in self.models:
                raise UserError(f"{where}.models: unknown model '{model}'{suggest(model, self.models)}")
            if self.models[model].inputs == "any" and self.models[model].networks != "one":
                raise UserError(f"{self.params_file}: models.{model}.inputs: 'any' needs one network for all tasks")
            self._check_choices(model, scenario)
        for cohort in (*scenario.train, *scenario.tests):
            for modality in scenario.modalities:
                if modality not in cohort.modalities:
                    raise UserError(
                        f"{where}.modalities: cohort {cohort.name} has no modality '{modality}' "
                        f"(it has: {', '.join(cohort.modalities)})"
                    )
        for cohort in scenario.tests:
            if not any(case.cohort == cohort.name for case in scenario.test_cases):
                raise UserError(f"{where}.test: cohort {cohort.name} has no case to test on (split 'test')")
        for label in scenario.params.labels:
            if label not in self.labels:
                raise UserError(f"{where}.labels: unknown label '{label}'{suggest(label, self.labels)}")
        if not scenario.labels:
            raise UserError(f"{where}.train: none of its cohorts draws a label")
        for cohort in scenario.train:
            if not scenario.split(cohort.name)[0]:
                raise UserError(f"{where}.train: cohort {cohort.name} has no case to train on")
        for model in scenario.models:
            for cohort in scenario.train if self.models[model].targets == "complete" else ():
                cases = [case for part in scenario.split(cohort.name) for case in part]
                lacking = [case.name for case in cases if case.complete_labels is None]
                if lacking:
                    all_lack = len(lacking) == len(cases)
                    which = f"cohort {cohort.name}" if all_lack else f"case {lacking[0]} of cohort {cohort.name}"
                    raise UserError(f"{where}.models: {model} needs complete labels, which {which} does not have")

    def _check_choices(self, name: str, scenario: Scenario) -> None:
        """Find choices of a model that do not go together, and names that do not exist."""
        model, where = self.models[name], f"{self.params_file}: models.{name}"
        from multiseg_core.losses import LOSSES, OTHERS  # torch is slow to import

        binary = LOSSES.get(model.loss.name, OTHERS).head == "sigmoid"
        if (model.head == "sigmoid") != binary:
            raise UserError(f"{where}.head: 'sigmoid' and the loss SelectiveSigmoid need each other")
        if model.head == "conditioned" and model.networks != "one":
            raise UserError(f"{where}.head: 'conditioned' needs one network for all tasks")
        if model.head == "conditioned" and model.targets == "pseudo":
            raise UserError(f"{where}.head: 'conditioned' has one task per set of drawn labels; pseudo-labels end them")
        if model.initial is not None and not Path(model.initial).exists():
            raise UserError(f"{where}.initial: no such file: {model.initial}")
        if model.pretraining is not None:
            if (model.networks, model.inputs, model.head) != ("one", "shared", "softmax"):
                raise UserError(f"{where}.pretraining: needs networks: one, inputs: shared and head: softmax")
            if model.initial is not None or model.continues is not None:
                raise UserError(f"{where}: a model has one start: 'initial', 'continues' or 'pretraining'")
        self._check_continued(name, scenario)
        for kind, given, known in (
            ("cohorts", model.sampling.cohorts, self.cohorts),
            ("labels", model.sampling.labels, self.labels),
        ):
            for key in given:
                if key not in known:
                    raise UserError(f"{where}.sampling.{kind}: unknown '{key}'{suggest(key, known)}")

    def _check_continued(self, name: str, scenario: Scenario) -> None:
        """Follow what a model continues to its beginning."""
        where, seen = f"{self.params_file}: models.{name}.continues", [(scenario.name, name)]
        while (place := continued(seen[-1][1], self.models[seen[-1][1]])) is not None:
            earlier, other = place
            if earlier not in self.params.scenarios:
                raise UserError(f"{where}: unknown scenario '{earlier}'{suggest(earlier, self.params.scenarios)}")
            if other not in self.models:
                raise UserError(f"{where}: unknown model '{other}'{suggest(other, self.models)}")
            if not self._models_in(scenario.replicate, self.params.scenarios[earlier]):
                raise UserError(f"{where}: scenario {earlier} has no replicate {scenario.replicate}")
            if place in seen:
                raise UserError(f"{where}: scenario {scenario.name} would continue itself")
            if "per_task" in (self.models[name].networks, self.models[other].networks):
                raise UserError(f"{where}: only models with one network for all tasks can continue, or be continued")
            if self.models[name].initial is not None:
                raise UserError(f"{where}: a model has one start: leave out 'initial'")
            seen.append(place)

    def _check_swaps(self) -> None:
        for where, training in (
            ("", self.params.training),
            *((f"models.{name}.", self.params.training_for(model)) for name, model in self.params.models.items()),
        ):
            for label in swaps(training):
                if label not in self.labels:
                    raise UserError(
                        f"{self.params_file}: {where}training.flip.swap: unknown label '{label}'"
                        f"{suggest(label, self.labels)}"
                    )

    def check_networks(self) -> None:
        """Build every loss, and send the shapes of batches through every network, without numbers.

        Raises `UserError` for what would stop them in training.
        """
        import torch  # slow to import

        from multiseg_core.losses import build_loss

        from .network_shapes import try_network

        tried: list[object] = []
        for scenario in self.scenarios.values():
            for name in scenario.models:
                model = self.models[name]
                own = model.networks == "per_task" and model.inputs == "own"
                inputs = [scenario.inputs(task) for task in scenario.tasks] if own else [scenario.modalities]
                spec, training = self.params.network_for(model, len(scenario.tasks)), self.params.training_for(model)
                for what in [model.loss, *((spec, n, training) for n in sorted(set(map(len, inputs))))]:
                    if what in tried:
                        continue
                    tried.append(what)
                    try:
                        if isinstance(what, tuple):
                            try_network(*what)
                        elif isinstance(what, Loss):
                            build_loss(what.name, torch.eye(2, dtype=torch.bool), what.options)
                    except UserError as error:
                        place = f"models.{name}." if what is model.loss or model.network or model.training else ""
                        raise UserError(f"{self.params_file}: {place}{error}") from None
                if model.initial is not None:
                    self._check_initial(name, scenario)

    def _check_initial(self, name: str, scenario: Scenario) -> None:
        """Try the weights that a model starts from on its networks. Raises `UserError` if nothing fits."""
        from multiseg_core.networks import build_network

        from .initial import read_weights, start_from

        model = self.models[name]
        assert model.initial is not None
        groups = [(task[0].code_map.annotates, scenario.inputs(task)) for task in scenario.tasks]
        if model.networks == "one":
            groups = [(scenario.labels, scenario.any_input if model.inputs == "any" else scenario.modalities)]
        spec = self.params.network_for(model, len(scenario.tasks))
        try:
            source = read_weights(Path(model.initial))
            for labels, modalities in groups:
                network = build_network(spec, len(modalities), 1 + len(labels))
                start_from(network, source, labels, modalities, model.head == "sigmoid")
        except UserError as error:
            raise UserError(f"{self.params_file}: models.{name}.initial: {error}") from None

    # -- cases -------------------------------------------------------------------------------------------------

    def needed_cases(self, replicates: int | None = None) -> list[Case]:
        """Return every case that the first replicates (default: all) train, validate or test on, once, by cohort."""
        wanted: list[Case] = []
        for scenarios in self.replicates[:replicates]:
            needed = {(case.cohort, case.name) for scenario in scenarios.values() for case in scenario.cases}
            used = {name: cohort for scenario in scenarios.values() for name, cohort in scenario.cohorts.items()}
            ordered = [used[name] for name in self.cohorts if name in used]
            wanted += [c for cohort in ordered for c in cohort.cases if (c.cohort, c.name) in needed]
        return list({(case.cohort, case.name): case for case in wanted}.values())

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
            if model in self._models_in(r, s)
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

    def networks(self, runs: Sequence[Run] | None = None) -> list[NetworkPlan]:
        """Return the networks that some runs need (default: all), each once, in an order to train them."""
        return networks_of(self.runs if runs is None else runs)


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

    def spread(names: Sequence[str], of: Mapping[str, list[str]]) -> list[str]:
        for name in names:
            if name not in parts and name not in cohorts:
                raise UserError(f"scenarios: unknown cohort '{name}'{suggest(name, [*parts, *cohorts])}")
        return list(dict.fromkeys(part for name in names for part in of.get(name, [name])))

    # of a cohort that marks test cases, the parts that have some, or that have others
    tested, trained = (
        {
            name: [part for part in found if any((case.split == "test") is test for case in cohorts[part].cases)]
            or found
            for name, found in parts.items()
        }
        for test in (True, False)
    )

    return replace(
        params,
        cohorts={part: params.cohorts[name] for name, found in parts.items() for part in found},
        scenarios={
            name: replace(s, train=spread(s.train, trained), test=spread(s.test, tested))
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
