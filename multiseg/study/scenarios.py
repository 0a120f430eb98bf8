"""Scenarios: what a question trains on and tests on, resolved to cohorts and cases."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from multiseg_core.errors import UserError
from multiseg_core.models import Model

from ..data.cohorts import Case, Cohort
from ..settings.params import Params, ScenarioParams

Parts = tuple[tuple[Case, ...], tuple[Case, ...]]
"""Training and validation cases of a cohort."""


class Question(NamedTuple):
    """What a network that predicts task by task is asked for one task."""

    sees: tuple[str, ...] | None  # the modalities that it is given if they are there; None for all
    paints: tuple[str, ...]  # the labels that count in its answer
    task: int | None  # what it is told to do, of a network that is conditioned on the task


@dataclass(frozen=True)
class Scenario:
    """One question of a study."""

    name: str
    params: ScenarioParams
    train: tuple[Cohort, ...]  # in order of rising priority
    tests: tuple[Cohort, ...]
    labels: tuple[str, ...]  # foreground: that training cohorts draw or its params add, in the study's order
    parts: Mapping[str, Parts]  # training cohort -> its training and validation cases
    test_cases: tuple[Case, ...]  # see `cases_to_test`
    tests_on_validation: bool  # they are the validation cases
    replicate: int = 1

    @classmethod
    def resolve(
        cls, name: str, params: Params, cohorts: Mapping[str, Cohort], labels: Sequence[str], replicate: int = 1
    ) -> Scenario:
        """Resolve a scenario of some params with the cohorts of a replicate, all labels of the study known.

        Every replicate, from 1, splits its cohorts in another way; number n of folds leaves out the n-th part. Raises
        `UserError` if a cohort has too few subjects for the folds.
        """
        own, seed, folds = params.scenarios[name], params.training.split_seed, params.folds
        train, tests = (tuple(cohorts[c] for c in names) for names in (own.train, own.test))
        share = params.training.validation_fraction if own.validation_fraction is None else own.validation_fraction
        parts = {
            cohort.name: fold_of(cohort, folds, replicate - 1, seed)
            if folds
            else split(cohort, share, seed + replicate - 1)
            for cohort in train
        }
        marked = any(case.split == "test" for cohort in tests for case in cohort.cases)
        on_validation = set(own.train) == set(own.test) and not marked
        tested = [parts[c.name][1] if on_validation else cases_to_test(c, c in train) for c in tests]
        drawn = {label for cohort in train for label in cohort.code_map.annotates}
        return cls(
            name=name,
            params=own,
            train=train,
            tests=tests,
            labels=tuple(label for label in labels if label in drawn or label in own.labels),
            parts=parts,
            test_cases=tuple(itertools.chain.from_iterable(tested)),
            tests_on_validation=on_validation,
            replicate=replicate,
        )

    @property
    def title(self) -> str:
        """Heading in reports."""
        return self.params.title or self.name

    @property
    def modalities(self) -> tuple[str, ...]:
        """What its networks see."""
        return tuple(self.params.modalities)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models to compare."""
        return tuple(self.params.models)

    @property
    def cohorts(self) -> dict[str, Cohort]:
        """All its cohorts by name."""
        return {cohort.name: cohort for cohort in (*self.train, *self.tests)}

    @property
    def test_name(self) -> str:
        """The names of its test cohorts."""
        return " and ".join(cohort.name for cohort in self.tests)

    @property
    def tested_labels(self) -> tuple[str, ...]:
        """The labels that some test cohort draws, in the order in which they do."""
        return tuple(dict.fromkeys(label for cohort in self.tests for label in cohort.code_map.annotates))

    @property
    def place(self) -> tuple[list[str], str]:
        """The known cohorts that its training cohorts, and its test cohorts, are or imitate."""
        return [c.imitates for c in self.train], "+".join(c.imitates for c in self.tests)

    @property
    def validation_cases(self) -> tuple[Case, ...]:
        """The validation cases of all training cohorts whose labels say something: of others nothing can be scored."""
        told = [self.parts[cohort.name] for cohort in self.train if cohort.says_something]
        return tuple(case for _, validation in told for case in validation)

    @property
    def cases(self) -> Iterable[Case]:
        """Every case that it trains, validates or tests on; some may come twice."""
        return (*(case for parts in self.parts.values() for part in parts for case in part), *self.test_cases)

    def split(self, cohort: str) -> Parts:
        """Return the training and validation cases of a training cohort."""
        return self.parts[cohort]

    @property
    def tasks(self) -> list[tuple[Cohort, ...]]:
        """The training cohorts grouped by the labels that they draw, in order of rising priority.

        Cohorts of controls, who have none of the labels, are part of every group, and cohorts without labels of none.
        """
        groups: dict[tuple[str, ...], list[Cohort]] = {}
        controls = [c for c in self.train if c.says_something and not c.code_map.annotates]
        for cohort in self.train:
            if cohort.code_map.annotates:
                groups.setdefault(cohort.code_map.annotates, []).append(cohort)
        return [(*members, *controls) for members in groups.values()]

    @property
    def any_input(self) -> tuple[str, ...]:
        """Every modality that some training case has: those of the test cohorts first, in their order."""
        had = {m for parts in self.parts.values() for part in parts for case in part for m in case.images}
        ordered = dict.fromkeys(m for cohort in (*self.tests, *self.train) for m in cohort.modalities)
        return tuple(m for m in ordered if m in had)

    def questions(self, model: Model) -> tuple[Question, ...]:
        """Return what the one network of a model is asked, by rising priority; nothing if it predicts all at once."""
        any_input, told = model.inputs == "any" and model.asked == "per_task", model.head == "conditioned"
        if not any_input and not told:
            return ()
        found = []
        drawn = {label for cohort in self.train for label in cohort.code_map.annotates}
        for number, task in enumerate(self.tasks):
            cases = [case for cohort in task for part in self.split(cohort.name) for case in part]
            seen = tuple(m for m in self.any_input if any(m in case.images for case in cases))
            known_before = sorted(set(self.params.labels) - drawn) if number == 0 else ()
            labels = (*task[0].code_map.annotates, *known_before)
            found.append(Question(seen if any_input else None, labels, number if told else None))
        return tuple(found)

    def task_of(self, cohort: Cohort) -> int:
        """Return the number of the task that a training cohort is for; of controls, the first that they inform."""
        own, hidden = cohort.code_map.annotates, cohort.code_map.sets[0]
        of_tasks = [task[0].code_map.annotates for task in self.tasks]
        return next((n for n, of in enumerate(of_tasks) if of == own or (not own and set(of) - hidden)), 0)

    def inputs(self, task: Sequence[Cohort]) -> tuple[str, ...]:
        """Return what the network of a task sees if it has inputs of its own.

        The scenario's modalities, or with ``own_modalities`` all that the task's cohorts and the test cohorts share.
        """
        if not self.params.own_modalities:
            return self.modalities
        cases = [*self.test_cases, *(case for c in task for part in self.split(c.name) for case in part)]
        known = dict.fromkeys(m for cohort in self.tests for m in cohort.modalities)
        return tuple(m for m in known if all(m in case.images for case in cases))

    def networks(self, model: Model) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Return the foreground labels and the modalities of each network of a model, in order of rising priority."""
        if model.networks == "one":
            return [(self.labels, self.any_input if model.inputs == "any" else self.modalities)]
        own = model.inputs == "own"
        return [(task[0].code_map.annotates, self.inputs(task) if own else self.modalities) for task in self.tasks]


def models_in(params: Params, scenario: ScenarioParams, replicate: int) -> list[str]:
    """Return those of a scenario's models that run in a replicate of the study."""
    chosen, n = params.replicated, scenario.replicates or params.replicates
    return [m for m in scenario.models if replicate == 1 or (replicate <= n and (chosen is None or m in chosen))]


def split(cohort: Cohort, validation_fraction: float, seed: int) -> Parts:
    """Return the training and validation cases of a cohort.

    Cases that the manifest marks ``train`` or ``validation`` go there. If none is marked ``validation``, a share
    of them is kept for validation, after a shuffle with a fixed seed (thesis 6): of those without a mark, if there are
    any. The cases of a subject stay together. A single case serves for both, and so do all cases if the share is 0.
    """
    cases = tuple(case for case in cohort.cases if case.split != "test")
    validation = tuple(case for case in cases if case.split == "validation")
    if validation:
        return tuple(case for case in cases if case.split != "validation"), validation
    if len(cases) < 2 or not validation_fraction:
        return cases, cases
    free = [i for i, case in enumerate(cases) if case.split is None] or list(range(len(cases)))
    order = np.random.default_rng(seed).permutation(free)
    n_validation = max(round(validation_fraction * len(cases)), 1)
    chosen = set(order[: min(n_validation, len(cases) - 1)].tolist())
    people = {cases[i].person for i in chosen}
    together = {i for i in free if cases[i].person in people}
    chosen = together if len(together) < len(cases) else chosen
    return tuple(c for i, c in enumerate(cases) if i not in chosen), tuple(cases[i] for i in sorted(chosen))


def fold_of(cohort: Cohort, folds: int, fold: int, seed: int) -> Parts:
    """Return the training and validation cases of a fold: each case that is not for tests validates in one of them.

    The cases of a subject stay together. What a manifest marks ``validation`` stays so in every fold.
    """
    cases = [case for case in cohort.cases if case.split != "test"]
    if any(case.split == "validation" for case in cases):
        return split(cohort, 0, seed)
    people = list(dict.fromkeys(case.person for case in cases))
    if len(people) < folds:
        raise UserError(
            f"folds: cohort {cohort.name} has {len(people)} subjects to train on, too few for {folds} folds"
        )
    order = np.random.default_rng(seed).permutation(len(people)).tolist()
    left_out = {people[i] for i in order[fold::folds]}
    return tuple(c for c in cases if c.person not in left_out), tuple(c for c in cases if c.person in left_out)


def cases_to_test(cohort: Cohort, is_trained: bool) -> tuple[Case, ...]:
    """Return the test cases of a cohort: those marked ``test``; if there are none, all of one that is not trained on.

    A scenario whose training cohorts are its test cohorts, and that marks none, tests on its validation cases
    instead, as in the thesis's single-task study. The weights and the moment to stop were chosen on these cases too, so
    such results are a little too good.
    """
    marked = tuple(case for case in cohort.cases if case.split == "test")
    return marked if marked or is_trained else cohort.cases
