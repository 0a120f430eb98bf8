"""Plans: what each run trains, and the keys that name its products.

A *run* is one (scenario, model, seed). It has one network, or several whose predictions are merged (MultiUNet). The key
of a run or network is a fingerprint of everything that can change its numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from .files import code_fingerprint, fingerprint

if TYPE_CHECKING:
    from .study import Study

_TRAINING_MODULES = ("labels", "losses", "models", "samplers", "training", "store")
_EVALUATION_MODULES = ("inference", "metrics", "runs", "tiling")


@dataclass(frozen=True)
class ModelSpec:
    """What a model name stands for.

    Attributes
    ----------
    loss
        Class name in `multiseg_core.losses`.
    naive
        Targets hold single classes only: every background code is background (thesis 3.2.1).
    uniform_sampling
        Training patches lie anywhere in the brain rather than around a drawn label (thesis 3.4 compares the two).
    complete
        Trained on the complete labels of the same cases: an upper bound, where somebody knows the truth.
    per_task
        One network per task, merged by priority, instead of one for all (thesis 3.2.2).
    """

    loss: str
    naive: bool
    per_task: bool = False
    uniform_sampling: bool = False
    complete: bool = False


MODELS: dict[str, ModelSpec] = {
    "multi_unet": ModelSpec("SelectiveCrossEntropy", naive=True, per_task=True),
    "cross_entropy": ModelSpec("SelectiveCrossEntropy", naive=True),
    "selective_cross_entropy": ModelSpec("SelectiveCrossEntropy", naive=False),
    "dice": ModelSpec("SoftDice", naive=True),
    "selective_dice": ModelSpec("SelectiveDice", naive=True),
    "patchwise_selective_cross_entropy": ModelSpec("PatchwiseSelectiveCrossEntropy", naive=False),
    "selective_cross_entropy_uniform": ModelSpec("SelectiveCrossEntropy", naive=False, uniform_sampling=True),
    # cross-entropy: complete labels are single classes, but for those that the scenario does not have
    "oracle": ModelSpec("SelectiveCrossEntropy", naive=False, complete=True),
}
"""The models by name."""


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
    networks = tuple(_plan_network(study, scenario, model, spec, group, seed) for group in groups)
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
            "code": code_fingerprint(*_EVALUATION_MODULES),
        }
    )
    return Run(key, scenario, model, seed, networks)


def _plan_network(
    study: Study, scenario: str, model: str, spec: ModelSpec, cohorts: tuple[str, ...], seed: int
) -> NetworkSpec:
    labels = tuple(
        label
        for label in study.scenario_labels(scenario)
        if any(label in study.cohorts[c].code_map.annotates for c in cohorts)
    )
    s = study.scenario(scenario)
    name = f"{scenario}/{model}/{seed}" + (f" ({'+'.join(labels)})" if spec.per_task else "")
    network = NetworkSpec(
        key="",
        name=name,
        labels=labels,
        modalities=study.modalities(scenario, cohorts) if spec.per_task else tuple(s.modalities),
        cohorts=cohorts,
        loss=spec.loss,
        naive=spec.naive,
        seed=seed,
        validation_fraction=s.validation_fraction,
        uniform_sampling=spec.uniform_sampling,
        complete=spec.complete,
    )
    return replace(network, key=_network_key(study, network))


def _network_key(study: Study, network: NetworkSpec) -> str:
    """Return the fingerprint of everything that determines a network's weights, whatever its scenario is called."""
    space = study.label_space(network)
    cases = []
    for name in network.cohorts:
        cohort = study.cohorts[name]
        code_map = study.code_map(network, name)
        rows = space.lookup(code_map.sets, naive=network.naive)
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
        "code": code_fingerprint(*_TRAINING_MODULES),
    }
    if network.uniform_sampling:
        facts["uniform_sampling"] = True
    return fingerprint(facts)
