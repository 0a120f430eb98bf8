"""One class more: a scenario whose models go on from the networks of another."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from multiseg.study.check import check_study
from multiseg.study.evaluation import evaluate_run
from multiseg.study.plan import networks_of
from multiseg.study.runs import train_network, training_rounds
from multiseg.study.study import Study
from multiseg_core.errors import UserError

ToyStudy = Callable[..., Path]

MORE = {
    "scenarios:\n  both:\n    train: [anatomy, lesion]\n    test: anatomy\n    modalities: [T1, FLAIR]\n"
    "    models: [cross_entropy, selective_cross_entropy]": """models:
  further: {continues: first/selective_cross_entropy}
  head_only:
    continues: first/selective_cross_entropy
    training: {phases: [{steps: 4, frozen: [down, bottom, up, merge]}]}
  furthest: {continues: then/further}
scenarios:
  first: {train: [anatomy], test: anatomy, modalities: [T1, FLAIR], models: [selective_cross_entropy]}
  then: {train: [lesion], test: anatomy, labels: [csf, gm, wm], modalities: [T1, FLAIR], models: [further, head_only]}
  last: {train: [anatomy, lesion], test: anatomy, modalities: [T1, FLAIR], models: [furthest]}
"""
}


def test_a_class_is_added_and_others_are_kept(toy_study: ToyStudy) -> None:
    study = Study(toy_study({**MORE, "steps: 4": "steps: 2"}))
    first, further, head_only, furthest = study.runs
    assert further.labels == ("csf", "gm", "wm", "wmh") and first.labels == ("csf", "gm", "wm")
    # the lesion cohort's background may hold any tissue
    row = further.networks[0].space.lookup(further.networks[0].cohorts[0].sets)[0]
    assert further.networks[0].space.membership()[row].tolist() == [True, True, True, True, False]
    rounds = training_rounds(study.runs)
    assert [[n.name for n in part] for part in rounds] == [
        ["first/selective_cross_entropy/0"], ["then/further/0", "then/head_only/0"], ["last/furthest/0"],
    ]  # fmt: skip
    assert [n.name for n in networks_of([furthest])] == [
        "first/selective_cross_entropy/0", "then/further/0", "last/furthest/0",
    ]  # fmt: skip
    assert not [line for line in check_study(study).warnings if "cannot learn" in line]
    for run in study.runs:
        train_network(run.networks[0], study.store, study.params)
    evaluate_run(head_only, study.store, study.params)
    old, new = (torch.load(r.networks[0].folder / "model.pt", weights_only=True) for r in (first, head_only))
    assert torch.equal(old["bottom.0.weight"], new["bottom.0.weight"])  # frozen, and taken over
    assert not torch.equal(old["head.weight"], new["head.weight"][:4]) and len(new["head.weight"]) == 5
    metrics = pd.read_csv(head_only.folder / "metrics.csv")
    assert set(metrics["label"]) == {"csf", "gm", "wm", "wmh"}
    assert furthest.networks[0].facts()["continues"] == further.networks[0].key


def test_what_was_before_is_part_of_the_key(toy_study: ToyStudy) -> None:
    one = Study(toy_study(MORE))
    keys = {run.model: run.networks[0].key for run in one.runs}
    changed = dict(MORE)
    old, new = next(iter(MORE.items()))
    changed[old] = new.replace(
        "scenarios:\n  first", "  selective_cross_entropy: {network: {base_filters: 4}}\nscenarios:\n  first"
    )
    other = {run.model: run.networks[0].key for run in Study(toy_study(changed)).runs}
    assert all(keys[name] != other[name] for name in keys)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("continues: then/further", "continues: before", r"models.furthest.continues: unknown scenario 'before'"),
        ("continues: then/further", "continues: then/furter", r"unknown model 'furter' \(did you mean 'further'\?\)"),
        ("continues: then/further", "continues: last", "scenario last would continue itself"),
        ("{continues: first/selective_cross_entropy}", "{continues: first/multi_unet}", "only models with one network"),
        ("labels: [csf, gm, wm]", "labels: [csf, gn, wm]", r"scenarios.then.labels: unknown label 'gn'"),
        ("modalities: [T1, FLAIR], models: [further", "replicates: 2, modalities: [T1, FLAIR], models: [further",
         "scenario first has no replicate 2"),
    ],
)  # fmt: skip
def test_starts_that_cannot_be(toy_study: ToyStudy, old: str, new: str, message: str) -> None:
    before, text = next(iter(MORE.items()))
    assert old in text
    text = text.replace(old, new)
    if "replicates: 2" in new:
        text = text.replace("{train: [anatomy], test", "{replicates: 1, train: [anatomy], test")
    replace = {
        before: text,
        "precision: float32": "precision: float32\nreplicates: 2" if "replicates" in new else "precision: float32",
    }
    with pytest.raises(UserError, match=message):
        Study(toy_study(replace))
