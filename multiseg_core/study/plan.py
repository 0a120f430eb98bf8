"""Plans: what each run trains, and the keys that name its products.

A *run* is one (scenario, model, seed). It has one network, or several whose predictions are merged (MultiUNet). The key
of a run or network is a fingerprint of everything that can change its numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ..models import MODELS, ModelSpec
from ..utils.fingerprints import code_fingerprint, fingerprint

if TYPE_CHECKING:
    from .study import Study

_TRAINING = ("training.Trainer", "preprocessing.store.write_labels")
_EVALUATION = ("study.runs.evaluate_run",)


@dataclass(frozen=True)
class NetworkSpec:
    """One network to train: everything that determines its weights.

    Attributes
    ----------
    key
        Fingerprint of all the rest.
    name
        For people: scenario, model, task and seed of the first run that needs it.
    labels
        Its foreground labels in class order.
    modalities
        Its input channels.
    cohorts
        Names of its training cohorts.
    loss, naive, uniform_sampling, complete
        See `ModelSpec`.
    seed
        Seed of initial weights, sampling and dropout.
    validation_fraction
        See `Study.split`.
    teachers
        Networks that must be trained before, in order of rising priority: they complete the labels of its cases.
    """

    key: str
    name: str
    labels: tuple[str, ...]
    modalities: tuple[str, ...]
    cohorts: tuple[str, ...]
    loss: str
    naive: bool
    seed: int
    validation_fraction: float | None = None
    uniform_sampling: bool = False
    complete: bool = False
    teachers: tuple[NetworkSpec, ...] = ()


@dataclass(frozen=True)
class Run:
    """One (scenario, model, seed), with the networks it needs in order of rising priority."""

    key: str
    scenario: str
    model: str
    seed: int
    networks: tuple[NetworkSpec, ...]

    @property
    def name(self) -> str:
        """``scenario/model/seed``, the name of the run on the command line."""
        return f"{self.scenario}/{self.model}/{self.seed}"


def plan_run(study: Study, scenario: str, model: str, seed: int) -> Run:
    """Return a run with its networks. Reads the cases' files to fingerprint them."""
    spec = MODELS[model]
    s = study.scenario(scenario)
    groups = study.tasks(scenario) if spec.per_task else [tuple(s.train)]
    teachers = _plan_teachers(study, scenario, seed) if spec.pseudo_labels else ()
    networks = tuple(_plan_network(study, scenario, model, spec, group, seed, teachers) for group in groups)
    key = fingerprint(
        {
            "run": [scenario, model, seed],
            "networks": [(n.key, n.labels) for n in networks],
            "cases": [
                (case.cohort, case.name, study.store.key(case, study.cohorts[case.cohort]))
                for case in [*study.test_cases(scenario), *study.validation_cases(scenario)]
            ],
            "space": study.scenario_labels(scenario),
            "inference": asdict(study.params.inference),
            "code": code_fingerprint(*_EVALUATION),
        }
    )
    return Run(key, scenario, model, seed, networks)


def _plan_teachers(study: Study, scenario: str, seed: int) -> tuple[NetworkSpec, ...]:
    """Return MultiUNet's networks, all with the scenario's modalities, for they must read the others' cases."""
    groups = study.tasks(scenario)
    if len(groups) < 2:
        return ()
    spec = MODELS["multi_unet"]
    modalities = tuple(study.scenario(scenario).modalities)
    return tuple(
        _plan_network(study, scenario, "multi_unet", spec, group, seed, modalities=modalities) for group in groups
    )


def _plan_network(
    study: Study,
    scenario: str,
    model: str,
    spec: ModelSpec,
    cohorts: tuple[str, ...],
    seed: int,
    teachers: tuple[NetworkSpec, ...] = (),
    modalities: tuple[str, ...] | None = None,
) -> NetworkSpec:
    labels = tuple(
        label
        for label in study.scenario_labels(scenario)
        if any(label in study.cohorts[c].code_map.annotates for c in cohorts)
    )
    s = study.scenario(scenario)
    if modalities is None:
        own = spec.per_task and not spec.shared_modalities
        modalities = study.modalities(scenario, cohorts) if own else tuple(s.modalities)
    name = f"{scenario}/{model}/{seed}" + (f" ({'+'.join(labels)})" if spec.per_task else "")
    network = NetworkSpec(
        key="",
        name=name,
        labels=labels,
        modalities=modalities,
        cohorts=cohorts,
        loss=spec.loss,
        naive=spec.naive,
        seed=seed,
        validation_fraction=s.validation_fraction,
        uniform_sampling=spec.uniform_sampling,
        complete=spec.complete,
        teachers=teachers,
    )
    return replace(network, key=_network_key(study, network))


def _network_key(study: Study, network: NetworkSpec) -> str:
    """Return the fingerprint of everything that determines a network's weights, whatever its scenario is called."""
    space = study.label_space(network)
    cases = []
    for name in network.cohorts:
        cohort = study.cohorts[name]
        code_map = study.code_map(network, name)
        rows = space.lookup(study.sets(network, name), naive=network.naive)
        split = study.split(name, network.validation_fraction)
        parts = [[study.store.content(case, cohort) for case in part] for part in split]
        if network.complete:
            parts += [[study.store.complete_content(case) for case in part] for part in split]
        # what each code teaches this network, rather than the label sets of the whole study: a cohort that is
        # added to the study must not change the networks that do not see it
        cases.append([parts, [(code, at == 0, int(rows[at])) for code, at in sorted(code_map.code_to_set.items())]])
    facts: dict[str, Any] = {
        "cases": cases,
        "labels": network.labels,
        "membership": space.membership().tolist(),
        "modalities": network.modalities,
        "loss": network.loss,
        "naive": network.naive,
        "network": study.params.network,
        "training": asdict(study.params.training),
        "seed": network.seed,
        "compute": [study.params.device, study.params.precision, study.params.threads],
        "code": code_fingerprint(*_TRAINING),
    }
    if network.uniform_sampling:
        facts["uniform_sampling"] = True
    if network.teachers:
        facts["teachers"] = [teacher.key for teacher in network.teachers]
        # what may hide in which background, and how it is looked for
        facts["hidden"] = [
            sorted(study.cohorts[name].code_map.sets[0] & set(network.labels)) for name in network.cohorts
        ]
        facts["inference"] = asdict(study.params.inference)
        facts["completion"] = code_fingerprint("study.pseudo_labels.complete_case")
    return fingerprint(facts)
