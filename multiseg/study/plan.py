"""Plans: what each run trains, and the keys that name its products.

A *run* is one (scenario, model, seed). It has one network, or several whose predictions are merged. The key of a run or
network is a fingerprint of everything that can change its numbers: data, settings, and the code that it depends on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from multiseg_core.labels import BACKGROUND, LabelSet, LabelSpace, swapped
from multiseg_core.models import Model, Pretraining, Sampling
from multiseg_core.settings import BUDGETS, TrainingParams, swaps

from ..base.fingerprints import code_fingerprint, fingerprint
from ..data.cohorts import Case, Cohort
from ..data.loading import APART
from ..data.store import Store
from ..data.target_sets import completed_sets, filled_sets, filled_table
from ..settings.models import SEPARATE
from ..settings.params import Params
from .scenarios import Question, Scenario

TRAINING_CODE = tuple(
    f"multiseg_core.{name}"
    for name in (
        "augmentation", "compute", "convolutions", "labels", "networks", "resident_sampler", "samplers", "training",
        "wrappers",
    )
)  # fmt: skip
"""What trains every network, but for its loss and, of one that is not the U-Net, its own file."""
PREDICTION_CODE = ("multiseg_core.grids", "multiseg_core.inference", "multiseg_core.resampling", "multiseg_core.tiling")
EVALUATION_CODE = (*PREDICTION_CODE, "multiseg_core.metrics", "multiseg.study.uncertainty", "multiseg.study.evaluation")
COMPLETION_CODE = (*PREDICTION_CODE, "multiseg.study.pseudo_labels")


@dataclass(frozen=True)
class PlannedCohort:
    """A training cohort as one network sees it: its cases, the label sets of their targets, and what task it is for."""

    cohort: Cohort
    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    sets: tuple[LabelSet, ...]
    task: int = 0

    @property
    def cases(self) -> tuple[Case, ...]:
        """Its training cases, then its validation cases."""
        return self.train + self.validation


@dataclass(frozen=True)
class NetworkPlan:
    """One network to train: everything that determines its weights."""

    name: str  # for people: scenario, model, task and seed of the first run that needs it
    labels: tuple[str, ...]  # foreground, in class order
    modalities: tuple[str, ...]  # its input channels
    cohorts: tuple[PlannedCohort, ...]
    model: Model  # targets, loss and sampling count here
    network: Mapping[str, Any]  # settings of the params file, or those of the model
    training: TrainingParams
    seed: int  # of initial weights, sampling and dropout
    teachers: tuple[NetworkPlan, ...] = ()  # must be trained before, by rising priority: complete its cases' labels
    start: NetworkPlan | None = None  # trained before: it starts from its weights
    pretraining: Pretraining | None = None  # it learns images rather than labels: how
    key: str = ""  # fingerprint of all the rest
    folder: Path = Path()  # where it is trained

    @property
    def before(self) -> tuple[NetworkPlan, ...]:
        """The networks that must be trained before it."""
        return self.teachers if self.start is None else (*self.teachers, self.start)

    @property
    def space(self) -> LabelSpace:
        """Its classes and the label sets of its cohorts, as drawn and in mirrored patches."""
        sets = [members for planned in self.cohorts for members in planned.sets]
        return LabelSpace.covering(self.labels, [*sets, *swapped(sets, swaps(self.training))])

    @property
    def outputs(self) -> tuple[str, ...]:
        """What its last layer stands for: its classes, the background first unless it has an output per label."""
        if self.pretraining is not None:
            return tuple(f"image of {modality}" for modality in self.modalities)
        return self.labels if self.model.head == "sigmoid" else (BACKGROUND, *self.labels)

    def facts(self) -> dict[str, Any]:
        """Return what people want to know of it, as plain values."""
        return {
            "key": self.key, "name": self.name, "labels": self.labels, "modalities": self.modalities,
            "cohorts": [planned.cohort.name for planned in self.cohorts], "seed": self.seed,
            **self.model.model_dump(include={"targets", "loss", "sampling"}),
            "network": dict(self.network), "training": self.training.model_dump(),
            "teachers": [teacher.key for teacher in self.teachers],
            **({} if self.start is None else {"continues": self.start.key}),
            **({} if self.pretraining is None else {"pretraining": self.pretraining.model_dump()}),
        }  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One (scenario, model, replicate, seed)."""

    key: str  # fingerprint of all the rest
    scenario: str
    model: str
    replicate: int
    seed: int
    networks: tuple[NetworkPlan, ...]  # in order of rising priority
    labels: tuple[str, ...]  # all foreground labels of its predictions
    test_cases: tuple[Case, ...]
    validation_cases: tuple[Case, ...]
    cohorts: Mapping[str, Cohort]  # of these cases, by name
    folder: Path  # where its results go
    questions: tuple[Question, ...] = ()  # to one network that predicts task by task, in order of rising priority

    @property
    def name(self) -> str:
        """``scenario/model/seed``, the name on the command line; ``scenario/model/replicate/seed`` after the first."""
        return _name(self.scenario, self.model, self.replicate, self.seed)

    @property
    def cases(self) -> tuple[Case, ...]:
        """What it is evaluated on; a case may come twice, see `scenarios.cases_to_test`."""
        return self.test_cases + self.validation_cases

    @property
    def has_own_inputs(self) -> bool:
        """Whether each task has a network of its own, with the inputs that its own cohorts have."""
        return len(self.networks) > 1 and self.networks[0].model.inputs == "own"


def _name(scenario: str, model: str, replicate: int, seed: int) -> str:
    return "/".join([scenario, model, *([str(replicate)] if replicate > 1 else []), str(seed)])


def continued(name: str, model: Model) -> tuple[str, str] | None:
    """Return the scenario and the model whose network a model continues; None if it begins on its own."""
    if model.continues is None:
        return None
    scenario, slash, other = model.continues.partition("/")
    return scenario, other if slash else name


def networks_of(runs: Iterable[Run]) -> list[NetworkPlan]:
    """Return the networks that some runs need, each once, and after those that must be trained before it."""
    found: dict[str, NetworkPlan] = {}

    def add(network: NetworkPlan) -> None:
        for earlier in network.before:
            add(earlier)
        found.setdefault(network.key, network)

    for network in (n for run in runs for n in run.networks):
        add(network)
    return list(found.values())


def cases_of(runs: Sequence[Run]) -> list[Case]:
    """Return every case that some runs train, validate or test on, each once."""
    trained = [case for network in networks_of(runs) for planned in network.cohorts for case in planned.cases]
    evaluated = [case for run in runs for case in run.cases]
    return list({(case.cohort, case.name): case for case in (*trained, *evaluated)}.values())


@dataclass(frozen=True)
class Planner:
    """Plans the runs of a study: its params, all models by name, its store, its folder and scenarios by replicate."""

    params: Params
    models: Mapping[str, Model]
    store: Store
    folder: Path
    replicates: Sequence[Mapping[str, Scenario]] = ()
    _contents: dict[tuple[str, str], str] = field(default_factory=dict)  # of cases by cohort and name: runs share them

    def run(self, scenario: Scenario, name: str, seed: int) -> Run:
        """Plan a run of the model called `name`, with its networks. Reads the cases' files to fingerprint them."""
        model = self.models[name]
        if model.networks == "per_task":
            networks = tuple(self._network(scenario, name, seed, task) for task in scenario.tasks)
        else:
            teachers = self._teachers(scenario, seed) if model.targets == "pseudo" else ()
            networks = (self._network(scenario, name, seed, teachers=teachers),)
        cohorts, questions = scenario.cohorts, scenario.questions(model)
        place, parts = (scenario.name, name, scenario.replicate, seed), (scenario.test_cases, scenario.validation_cases)
        cases = [(case, cohorts[case.cohort]) for part in parts for case in part]
        key = fingerprint(
            {
                "questions": questions,
                "run": _name(*place),
                "networks": [(n.key, n.labels) for n in networks],
                "cases": [(c.cohort, c.name, self.store.key(c, of, self._content(c, of))) for c, of in cases],
                "space": scenario.labels,
                "inference": self.params.inference.model_dump(),
                "code": code_fingerprint(*EVALUATION_CODE),
            }
        )
        folder = self.folder / "runs" / f"{_name(*place).replace('/', '-')}-{key}"
        return Run(key, *place, networks, scenario.labels, *parts, cohorts, folder, questions)

    def _content(self, case: Case, cohort: Cohort) -> str:
        place = case.cohort, case.name
        if place not in self._contents:
            self._contents[place] = self.store.content(case, cohort)
        return self._contents[place]

    def _teachers(self, scenario: Scenario, seed: int) -> tuple[NetworkPlan, ...]:
        """Return a network per task, all with the scenario's modalities, for they must read the others' cases."""
        if len(scenario.tasks) < 2 and all(cohort.says_something for cohort in scenario.train):
            return ()  # nothing is left to be filled in
        return tuple(self._network(scenario, SEPARATE, seed, task, shared=True) for task in scenario.tasks)

    def _start(self, scenario: Scenario, name: str, seed: int) -> NetworkPlan | None:
        """Return the network that a model continues, or its own pretraining, if there is one."""
        if self.models[name].pretraining is not None:
            return self._pretraining(scenario, name, seed)
        place = continued(name, self.models[name])
        if place is None:
            return None
        earlier = self.replicates[scenario.replicate - 1][place[0]]
        return self.run(earlier, place[1], seed).networks[0]

    def _pretraining(self, scenario: Scenario, name: str, seed: int) -> NetworkPlan:
        """Return the pretraining of a model: nothing of it depends on labels, or on how long the model trains."""
        model = self.models[name]
        how, training = model.pretraining, self.params.training_for(model)
        assert how is not None
        rate = how.learning_rate or training.learning_rate
        return self._with_key(
            NetworkPlan(
                name=f"{_name(scenario.name, name, scenario.replicate, seed)} (pretraining)",
                labels=(),
                modalities=scenario.modalities,
                cohorts=tuple(PlannedCohort(c, *scenario.split(c.name), c.code_map.sets) for c in scenario.train),
                model=Model(sampling=Sampling(name="uniform")),
                network=self.params.network_for(model),
                training=training.changed(
                    phases=[], steps=how.steps, learning_rate=rate, validation_every=how.steps, patience=None
                ),
                seed=seed + APART * (scenario.replicate - 1),
                pretraining=how,
            )
        )

    def _network(
        self,
        scenario: Scenario,
        name: str,
        seed: int,
        task: Sequence[Cohort] = (),
        teachers: tuple[NetworkPlan, ...] = (),
        shared: bool = False,
    ) -> NetworkPlan:
        """Plan the network of a task, which may have to share the scenario's modalities, or the one of all tasks."""
        model = self.models[name].model_copy(update={"inputs": "shared"} if shared else {})
        cohorts = [c for c in task or scenario.train if teachers or c.says_something]
        known = {label for c in cohorts for label in c.code_map.annotates} | set(() if task else scenario.params.labels)
        labels = tuple(label for label in scenario.labels if label in known)
        modalities = scenario.any_input if model.inputs == "any" else scenario.modalities
        planned = []
        for c in cohorts:
            sets = completed_sets(c.code_map.sets, labels) if teachers else c.code_map.sets
            if model.targets == "complete" and c.complete_map is not None:  # it has one, see `choices`
                sets = filled_sets(sets, c.complete_map.sets)
            planned.append(PlannedCohort(c, *scenario.split(c.name), sets, scenario.task_of(c)))
        return self._with_key(
            NetworkPlan(
                name=_name(scenario.name, name, scenario.replicate, seed) + (f" ({'+'.join(labels)})" if task else ""),
                labels=labels,
                modalities=scenario.inputs(cohorts) if task and model.inputs == "own" else modalities,
                cohorts=tuple(planned),
                model=model,
                network=self.params.network_for(model, len(scenario.tasks)),
                training=self.params.training_for(model),
                seed=seed + APART * (scenario.replicate - 1),
                teachers=teachers,
                start=None if task else self._start(scenario, name, seed),
            )
        )

    def _with_key(self, network: NetworkPlan) -> NetworkPlan:
        key = self.network_key(network)
        return replace(network, key=key, folder=self.folder / "networks" / key)

    def network_key(self, network: NetworkPlan) -> str:
        """Return the fingerprint of everything that determines a network's weights, whatever its scenario is called."""
        model, start, teachers, how = network.model, network.start, network.teachers, network.pretraining
        inference = self.params.inference
        facts: dict[str, Any] = {
            "cases": [self._taught(network, planned) for planned in network.cohorts],
            "labels": network.labels,
            "membership": network.space.membership().tolist(),
            "modalities": network.modalities,
            "loss": model.loss.model_dump(),
            "sampling": model.sampling.model_dump(exclude={"cohorts"}),
            "weights": [model.sampling.cohorts.get(planned.cohort.name, 1.0) for planned in network.cohorts],
            "network": dict(network.network),
            "tasks": [planned.task for planned in network.cohorts] if "tasks" in network.network else [],
            "training": {key: v for key, v in network.training.model_dump().items() if key not in BUDGETS},
            "seed": network.seed,
            "compute": [self.params.device, self.params.precision, self.params.threads],
            "code": _training_code(network),
            "start": start and start.key,
            "initial": model.initial and self.store.file_content(_weights_file(Path(model.initial))),
            "pretraining": how and how.model_dump(),
            "teachers": [teacher.key for teacher in teachers],
            # what may hide in which background, and how it is looked for
            "completion": teachers
            and [
                [sorted(p.cohort.code_map.sets[0] & set(network.labels)) for p in network.cohorts],
                [inference.memory_gib, inference.clip_to_brain],
                code_fingerprint(*COMPLETION_CODE),
            ],
        }
        return fingerprint(facts)

    def _taught(self, network: NetworkPlan, planned: PlannedCohort) -> list[Any]:
        """Return the contents of a cohort's cases, and what each code teaches a network.

        The codes' label sets would not do, for they are those of the whole study: a cohort that is added to it must not
        change the networks that do not see it.
        """
        cohort, targets = planned.cohort, network.model.targets
        rows = network.space.lookup(planned.sets, naive=targets == "naive")
        parts = [[self._content(case, cohort) for case in part] for part in (planned.train, planned.validation)]
        if targets == "complete" and cohort.complete_map is not None:
            truth = cohort.complete_map
            filled = rows[filled_table(cohort.code_map.sets, truth.sets)[0]]
            parts.append([self.store.complete_content(case) for case in planned.cases])
            parts.append([str((code, int(filled[at]))) for code, at in sorted(truth.code_to_set.items())])
        codes = [*sorted(cohort.code_map.code_to_set.items()), ("other", cohort.code_map.other)]
        return [parts, [(code, at == 0, int(rows[at])) for code, at in codes if at is not None]]


def _weights_file(path: Path) -> Path:
    return path / "model.pt" if path.is_dir() else path


def _training_code(network: NetworkPlan) -> list[str]:
    """Return the fingerprint of the code that trains a network, and the version of MONAI if it takes part."""
    from multiseg_core.losses import loss_modules  # torch is slow to import
    from multiseg_core.networks import network_class

    made_by, loss = network_class(str(network.network.get("name", "unet"))), network.model.loss.name
    of_monai = made_by.__module__.startswith("monai.")
    modules = [*TRAINING_CODE, *([] if of_monai else [made_by.__module__])]
    if network.model.initial is not None or network.start is not None:
        modules.append("multiseg.study.initial")
    modules += loss_modules(loss) if network.pretraining is None else ["multiseg.study.pretraining"]
    needs_monai = (
        of_monai or getattr(made_by, "of_monai", False) or loss.startswith("monai.") or "window" in network.network
    )
    return [code_fingerprint(*modules), *([version("monai")] if needs_monai else [])]
