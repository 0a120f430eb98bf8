"""Whether the choices of a params file go together: what the types of its keys cannot say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from multiseg_core.errors import UserError, suggest
from multiseg_core.models import Model
from multiseg_core.settings import swaps

from ..data.cohorts import Cohort
from ..settings.params import Params
from .plan import continued
from .scenarios import Scenario, models_in


def require_known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `UserError`, as "`what` 'name'", for the first name that is not known, with the known one next to it."""
    for name in names:
        if name not in known:
            raise UserError(f"{what} '{name}'{suggest(name, known)}")


def check_scenario(scenario: Scenario, params: Params, models: Mapping[str, Model], labels: Iterable[str]) -> None:
    """Find what does not go together in a scenario and its models. Raises `UserError` that names the key."""
    where = f"scenarios.{scenario.name}"
    require_known(f"{where}.models: unknown model", scenario.models, models)
    for name in scenario.models:
        _check_model(f"models.{name}", models[name], params.cohorts, labels)
        _check_start(name, scenario, params, models)
    for cohort in (*scenario.train, *scenario.tests):
        for modality in scenario.modalities:
            if modality not in cohort.modalities:
                has = ", ".join(cohort.modalities)
                raise UserError(
                    f"{where}.modalities: cohort {cohort.name} has no modality '{modality}' (it has: {has})"
                )
    for cohort in scenario.tests:
        if not any(case.cohort == cohort.name for case in scenario.test_cases):
            raise UserError(f"{where}.test: cohort {cohort.name} has no case to test on (split 'test')")
    require_known(f"{where}.labels: unknown label", scenario.params.labels, labels)
    if not scenario.labels:
        raise UserError(f"{where}.train: none of its cohorts draws a label")
    for cohort in scenario.train:
        if not scenario.split(cohort.name)[0]:
            raise UserError(f"{where}.train: cohort {cohort.name} has no case to train on")
    for name in scenario.models:
        for cohort in scenario.train if models[name].targets == "complete" else ():
            _check_complete(f"{where}.models: {name}", scenario, cohort)


def _check_complete(who: str, scenario: Scenario, cohort: Cohort) -> None:
    cases = [case for part in scenario.split(cohort.name) for case in part]
    lacking = [case.name for case in cases if case.complete_labels is None]
    if lacking:
        all_lack = len(lacking) == len(cases)
        which = f"cohort {cohort.name}" if all_lack else f"case {lacking[0]} of cohort {cohort.name}"
        raise UserError(f"{who} needs complete labels, which {which} does not have")


def _check_model(where: str, model: Model, cohorts: Iterable[str], labels: Iterable[str]) -> None:
    from multiseg_core.losses import LOSSES, OTHERS  # torch is slow to import

    one, any_input = model.networks == "one", model.inputs == "any"
    conditioned, sigmoid, pseudo = model.head == "conditioned", model.head == "sigmoid", model.targets == "pseudo"
    sigmoid_loss = LOSSES.get(model.loss.name, OTHERS).head == "sigmoid"
    plain, pretrained = (one, model.inputs, model.head) == (True, "shared", "softmax"), model.pretraining is not None
    has_start = model.initial is not None or model.continues is not None
    faults = {
        ".inputs: 'any' needs one network for all tasks": any_input and not one,
        ".head: 'sigmoid' and the loss SelectiveSigmoid need each other": sigmoid != sigmoid_loss,
        ".head: 'conditioned' needs one network for all tasks": conditioned and not one,
        ".head: 'conditioned' has one task per set of drawn labels; pseudo-labels end them": conditioned and pseudo,
        f".initial: no such file: {model.initial}": model.initial is not None and not Path(model.initial).exists(),
        ".pretraining: needs networks: one, inputs: shared and head: softmax": pretrained and not plain,
        ": a model has one start: 'initial', 'continues' or 'pretraining'": pretrained and has_start,
    }
    for text, is_wrong in faults.items():
        if is_wrong:
            raise UserError(where + text)
    require_known(f"{where}.sampling.cohorts: unknown", model.sampling.cohorts, cohorts)
    require_known(f"{where}.sampling.labels: unknown", model.sampling.labels, labels)


def _check_start(name: str, scenario: Scenario, params: Params, models: Mapping[str, Model]) -> None:
    """Follow what a model continues to its beginning."""
    where, seen = f"models.{name}.continues", [(scenario.name, name)]
    while (place := continued(seen[-1][1], models[seen[-1][1]])) is not None:
        earlier, other = place
        require_known(f"{where}: unknown scenario", [earlier], params.scenarios)
        require_known(f"{where}: unknown model", [other], models)
        if not models_in(params, params.scenarios[earlier], scenario.replicate):
            raise UserError(f"{where}: scenario {earlier} has no replicate {scenario.replicate}")
        if place in seen:
            raise UserError(f"{where}: scenario {scenario.name} would continue itself")
        if "per_task" in (models[name].networks, models[other].networks):
            raise UserError(f"{where}: only models with one network for all tasks can continue, or be continued")
        if models[name].initial is not None:
            raise UserError(f"{where}: a model has one start: leave out 'initial'")
        seen.append(place)


def check_swaps(params: Params, labels: Iterable[str]) -> None:
    """Find unknown labels that would change places in mirrored patches. Raises `UserError`."""
    trainings = {f"models.{name}.": params.training_for(model) for name, model in params.models.items()}
    for where, training in {"": params.training, **trainings}.items():
        require_known(f"{where}training.flip.swap: unknown label", swaps(training), labels)
