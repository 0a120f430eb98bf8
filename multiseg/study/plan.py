"""Plans: what each run trains, and the keys that name its products.

A *run* is one (scenario, model, seed). It has one network, or several whose predictions are merged. The key of a run or
network is a fingerprint of everything that can change its numbers: data, settings, and the code that it depends on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
from .scenarios import Ask, Scenario

_TRAINING = tuple(
    f"multiseg_core.{name}"
    for name in (
        "augmentation", "compute", "convolutions", "labels", "networks", "resident_sampler", "samplers", "training",
        "wrappers",
    )
)  # fmt: skip
"""What trains every network, but for its loss and, of one that is not the U-Net, its own file."""
_PREDICTION = ("multiseg_core.grids", "multiseg_core.inference", "multiseg_core.resampling", "multiseg_core.tiling")
_EVALUATION = (*_PREDICTION, "multiseg_core.metrics", "multiseg.study.doubts", "multiseg.study.evaluation")
_COMPLETION = (*_PREDICTION, "multiseg.study.pseudo_labels")


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
    """One network to train: everything that determines its weights.

    Attributes
    ----------
    key
        Fingerprint of all the rest.
    name
        For people: scenario, model, task and seed of the first run that needs it.
    folder
        Where it is trained.
    labels
        Its foreground labels in class order.
    modalities
        Its input channels.
    cohorts
        What it learns from.
    model
        How: targets, loss and sampling count here.
    network, training
        Settings of the params file, or those of the model.
    seed
        Seed of initial weights, sampling and dropout.
    teachers
        Networks that must be trained before, in order of rising priority: they complete the labels of its cases.
    start
        The network, trained before, whose weights it starts from.
    pretraining
        It learns images rather than labels: how.
    """

    key: str
    name: str
    folder: Path
    labels: tuple[str, ...]
    modalities: tuple[str, ...]
    cohorts: tuple[PlannedCohort, ...]
    model: Model
    network: Mapping[str, Any]
    training: TrainingParams
    seed: int
    teachers: tuple[NetworkPlan, ...] = ()
    start: NetworkPlan | None = None
    pretraining: Pretraining | None = None

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
            "network": dict(self.network), "training": asdict(self.training),
            "teachers": [teacher.key for teacher in self.teachers],
            **({} if self.start is None else {"continues": self.start.key}),
            **({} if self.pretraining is None else {"pretraining": self.pretraining.model_dump()}),
        }  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One (scenario, model, replicate, seed).

    Attributes
    ----------
    key
        Fingerprint of all the rest.
    scenario, model, replicate, seed
        Which run, as in the params file.
    networks
        What it needs, in order of rising priority.
    labels
        All foreground labels of its predictions.
    test_cases, validation_cases, cohorts
        What it is evaluated on, and the cohorts of these cases by name.
    folder
        Where its results go.
    asks
        Of one network that is asked task by task: the questions, in order of rising priority.
    """

    key: str
    scenario: str
    model: str
    replicate: int
    seed: int
    networks: tuple[NetworkPlan, ...]
    labels: tuple[str, ...]
    test_cases: tuple[Case, ...]
    validation_cases: tuple[Case, ...]
    cohorts: Mapping[str, Cohort]
    folder: Path
    asks: tuple[Ask, ...] = ()

    @property
    def name(self) -> str:
        """``scenario/model/seed``, the name on the command line; ``scenario/model/replicate/seed`` after the first."""
        return _name(self.scenario, self.model, self.replicate, self.seed)

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


def cases_of(runs: Iterable[Run]) -> list[Case]:
    """Return every case that some runs train, validate or test on, each once."""
    runs = list(runs)
    trained = [case for network in networks_of(runs) for planned in network.cohorts for case in planned.cases]
    evaluated = [case for run in runs for case in (*run.test_cases, *run.validation_cases)]
    return list({(case.cohort, case.name): case for case in (*trained, *evaluated)}.values())


@dataclass(frozen=True)
class Planner:
    """Plans the runs of a study.

    Attributes
    ----------
    params, models
        The study's params, and all models by name.
    store
        Where prepared cases lie; fingerprints their files.
    folder
        The study's folder.
    replicates
        The scenarios by name of every replicate.
    """

    params: Params
    models: Mapping[str, Model]
    store: Store
    folder: Path
    replicates: Sequence[Mapping[str, Scenario]] = ()
    _contents: dict[tuple[str, str], str] = field(default_factory=dict)  # of cases by cohort and name: runs share them

    def run(self, scenario: Scenario, name: str, seed: int) -> Run:
        """Plan a run of the model called `name`, with its networks. Reads the cases' files to fingerprint them."""
        model, replicate = self.models[name], scenario.replicate
        title = _name(scenario.name, name, replicate, seed)
        teachers = self._teachers(scenario, seed) if model.targets == "pseudo" else ()
        if model.networks == "per_task":
            networks = tuple(self._network(scenario, model, title, task, seed) for task in scenario.tasks)
        else:
            start = self._start(scenario, name, seed)
            networks = (self._network(scenario, model, title, scenario.train, seed, teachers, start),)
        cohorts = scenario.cohorts
        asks = scenario.asks(model)
        key = fingerprint(
            {
                **({"asks": asks} if asks else {}),
                "run": [title],
                "networks": [(n.key, n.labels) for n in networks],
                "cases": [
                    (case.cohort, case.name, self._case_key(case, cohorts[case.cohort]))
                    for case in [*scenario.test_cases, *scenario.validation_cases]
                ],
                "space": scenario.labels,
                "inference": asdict(self.params.inference),
                "code": code_fingerprint(*_EVALUATION),
            }
        )
        folder = self.folder / "runs" / f"{title.replace('/', '-')}-{key}"
        cases = scenario.test_cases, scenario.validation_cases
        return Run(key, scenario.name, name, replicate, seed, networks, scenario.labels, *cases, cohorts, folder, asks)

    def _content(self, case: Case, cohort: Cohort) -> str:
        place = case.cohort, case.name
        if place not in self._contents:
            self._contents[place] = self.store.content(case, cohort)
        return self._contents[place]

    def _case_key(self, case: Case, cohort: Cohort) -> str:
        return self.store.key(case, cohort, self._content(case, cohort))

    def _teachers(self, scenario: Scenario, seed: int) -> tuple[NetworkPlan, ...]:
        """Return a network per task, all with the scenario's modalities, for they must read the others' cases."""
        if len(scenario.tasks) < 2 and all(cohort.says_something for cohort in scenario.train):
            return ()  # nothing is left to be filled in
        model = self.models[SEPARATE].model_copy(update={"inputs": "shared"})
        name = _name(scenario.name, SEPARATE, scenario.replicate, seed)
        return tuple(self._network(scenario, model, name, task, seed) for task in scenario.tasks)

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
        network = NetworkPlan(
            key="",
            name=f"{_name(scenario.name, name, scenario.replicate, seed)} (pretraining)",
            folder=self.folder,
            labels=(),
            modalities=scenario.modalities,
            cohorts=tuple(PlannedCohort(c, *scenario.split(c.name), c.code_map.sets) for c in scenario.train),
            model=Model(sampling=Sampling(name="uniform")),
            network=self.params.network_for(model),
            training=replace(
                training,
                phases=[],
                steps=how.steps,
                learning_rate=how.learning_rate or training.learning_rate,
                validation_every=how.steps,
                patience=None,
            ),
            seed=seed + APART * (scenario.replicate - 1),
            pretraining=how,
        )
        key = self.network_key(network)
        return replace(network, key=key, folder=self.folder / "networks" / key)

    def _network(
        self,
        scenario: Scenario,
        model: Model,
        name: str,
        cohorts: Sequence[Cohort],
        seed: int,
        teachers: tuple[NetworkPlan, ...] = (),
        start: NetworkPlan | None = None,
    ) -> NetworkPlan:
        cohorts = [c for c in cohorts if teachers or c.says_something]
        per_task = model.networks == "per_task"
        known = [label for c in cohorts for label in c.code_map.annotates]
        known += [] if per_task else scenario.params.labels
        labels = tuple(label for label in scenario.labels if label in known)
        planned = [
            PlannedCohort(
                c, *scenario.split(c.name), completed_sets(sets, labels) if teachers else sets, scenario.task_of(c)
            )
            for c in cohorts
            for sets in [_sets(c, model)]
        ]
        own = per_task and model.inputs == "own"
        spec = self.params.network_for(model, len(scenario.tasks))
        network = NetworkPlan(
            key="",
            name=name + (f" ({'+'.join(labels)})" if per_task else ""),
            folder=self.folder,
            labels=labels,
            modalities=(
                scenario.inputs(cohorts)
                if own
                else scenario.any_input
                if model.inputs == "any"
                else scenario.modalities
            ),
            cohorts=tuple(planned),
            model=model,
            network=spec,
            training=self.params.training_for(model),
            seed=seed + APART * (scenario.replicate - 1),
            teachers=teachers,
            start=start,
        )
        key = self.network_key(network)
        return replace(network, key=key, folder=self.folder / "networks" / key)

    def network_key(self, network: NetworkPlan) -> str:
        """Return the fingerprint of everything that determines a network's weights, whatever its scenario is called."""
        from multiseg_core.losses import loss_modules  # torch is slow to import
        from multiseg_core.networks import network_class

        space, model = network.space, network.model
        cases = []
        for planned in network.cohorts:
            rows = space.lookup(planned.sets, naive=model.targets == "naive")
            parts = [
                [self._content(case, planned.cohort) for case in part] for part in (planned.train, planned.validation)
            ]
            if model.targets == "complete" and planned.cohort.complete_map is not None:
                truth = planned.cohort.complete_map
                parts += [[self.store.complete_content(case) for case in planned.cases]]
                filled = rows[filled_table(planned.cohort.code_map.sets, truth.sets)[0]]
                parts += [[str((code, int(filled[at]))) for code, at in sorted(truth.code_to_set.items())]]
            # what each code teaches this network, rather than the label sets of the whole study: a cohort that is
            # added to the study must not change the networks that do not see it
            codes = sorted(planned.cohort.code_map.code_to_set.items())
            taught = [
                (code, at == 0, int(rows[at]))
                for code, at in [*codes, ("other", planned.cohort.code_map.other)]
                if at is not None
            ]
            cases.append([parts, taught])
        made_by = network_class(str(network.network.get("name", "unet")))
        is_ours = not made_by.__module__.startswith("monai.")
        own = [made_by.__module__] if is_ours else []
        own += ["multiseg.study.initial"] if model.initial is not None or network.start is not None else []
        own += loss_modules(model.loss.name) if network.pretraining is None else ["multiseg.study.pretraining"]
        foreign_loss = model.loss.name.startswith("monai.")
        own_blocks = is_ours and not getattr(made_by, "of_monai", False)
        monai = None if own_blocks and not foreign_loss and "window" not in network.network else version("monai")
        facts: dict[str, Any] = {
            "cases": cases,
            "labels": network.labels,
            "membership": space.membership().tolist(),
            "modalities": network.modalities,
            "loss": model.loss.model_dump(),
            "sampling": model.sampling.model_dump(exclude={"cohorts"}),
            "network": dict(network.network),
            "training": {key: v for key, v in asdict(network.training).items() if key not in BUDGETS},
            "seed": network.seed,
            "compute": [self.params.device, self.params.precision, self.params.threads],
            "code": code_fingerprint(*_TRAINING, *own),
            "monai": monai,
        }
        if model.initial is not None:
            file = Path(model.initial)
            facts["initial"] = self.store.file_content(file / "model.pt" if file.is_dir() else file)
        if network.start is not None:
            facts["start"] = network.start.key
        if network.pretraining is not None:
            facts["pretraining"] = network.pretraining.model_dump()
        if "tasks" in network.network:
            facts["tasks"] = [planned.task for planned in network.cohorts]
        if model.sampling.cohorts:
            facts["weights"] = [model.sampling.cohorts.get(p.cohort.name, 1.0) for p in network.cohorts]
        if network.teachers:
            facts["teachers"] = [teacher.key for teacher in network.teachers]
            # what may hide in which background, and how it is looked for
            facts["hidden"] = [sorted(p.cohort.code_map.sets[0] & set(network.labels)) for p in network.cohorts]
            facts["inference"] = [self.params.inference.memory_gib, self.params.inference.clip_to_brain]
            facts["completion"] = code_fingerprint(*_COMPLETION)
        return fingerprint(facts)


def _sets(cohort: Cohort, model: Model) -> tuple[LabelSet, ...]:
    """Return the label sets of the targets that a model's networks see of a cohort: drawn, or filled from the truth."""
    if model.targets != "complete":
        return cohort.code_map.sets
    assert cohort.complete_map is not None  # see Study
    return filled_sets(cohort.code_map.sets, cohort.complete_map.sets)
