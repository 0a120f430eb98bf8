import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from multiseg.base.fingerprints import fingerprint
from multiseg.data.target_sets import completed_sets
from multiseg.study import evaluation, finished_runs, runs
from multiseg.study.finished_runs import load_member
from multiseg.study.plan import Planner
from multiseg.study.pseudo_labels import complete_target
from multiseg.study.study import Study
from multiseg_core.compute import Compute
from multiseg_core.inference import Segmenter
from multiseg_core.labels import CodeMap
from multiseg_core.training import is_trained
from tests.core.test_training import same, weights

LABELS = ("gm", "wm", "wmh")


def test_only_what_may_hide_in_the_background_is_filled_in() -> None:
    # draws wmh, gm may hide, wm is absent; code 2 is gm or wm, code 3 is ignored
    code_map = CodeMap.build(LABELS, {1: "wmh", 2: ["gm", "wm"], 3: "ignore"}, absent=[])
    absent = CodeMap.build((*LABELS, "csf"), {1: "wmh"}, absent=["wm", "csf"])
    target = np.array([0, 0, 0, 1, 1, 0], np.uint8).reshape(6, 1, 1)
    anatomy = np.array([0, 1, 2, 1, 2, 1], np.uint8).reshape(6, 1, 1)  # background, gm, wm, gm, wm, gm
    sets = completed_sets(absent.sets, LABELS)
    assert sets == (frozenset({"background"}), frozenset({"wmh"}), frozenset({"gm"}), frozenset({"wm"}))
    completed = complete_target(target, absent.sets, LABELS, [(("gm", "wm"), anatomy)])
    assert completed.ravel().tolist() == [0, 2, 0, 1, 1, 2]
    # a later network wins, but not with background; and it says nothing about what was drawn
    later = np.array([1, 1, 0, 1, 0, 0], np.uint8).reshape(6, 1, 1)
    completed = complete_target(target, absent.sets, LABELS, [(("gm",), later), (("gm", "wmh"), later * 2)])
    assert completed.ravel().tolist() == [2, 2, 0, 1, 1, 0]
    # coarse and ignored voxels stay as they are
    sets = completed_sets(code_map.sets, LABELS)
    assert sets[:4] == (frozenset({"background"}), *code_map.sets[1:]) and len(sets) == 6
    coarse = np.array([2, 3, 0], np.uint8).reshape(3, 1, 1)
    seen = [(("wmh",), np.ones((3, 1, 1), np.uint8))]
    assert complete_target(coarse, code_map.sets, LABELS, seen).ravel().tolist() == [2, 3, 0]


@pytest.fixture
def study(toy_study: Callable[..., Path]) -> Study:
    return Study(toy_study({"models: [cross_entropy, selective_cross_entropy]": "models: [multi_unet, pseudo_labels]"}))


def test_teachers_are_the_networks_of_multi_unet(study: Study) -> None:
    multi, pseudo = study.find_run("both/multi_unet/0"), study.find_run("both/pseudo_labels/0")
    (network,) = pseudo.networks
    assert [n.key for n in network.teachers] == [n.key for n in multi.networks]
    assert [n.key for n in study.networks()] == [*(n.key for n in multi.networks), network.key]
    assert [[n.key for n in part] for part in runs.training_rounds([pseudo])] == [
        [n.key for n in multi.networks],
        [network.key],
    ]
    # wmh are known to be absent from anatomy, and nothing else hides there
    assert network.cohorts[1].sets[0] == frozenset({"background"})
    assert network.space.sets == ()
    planner = Planner(study.params, study.models, study.store, study.folder)
    other = dataclasses.replace(network.teachers[0], key=fingerprint("another"))
    changed = dataclasses.replace(network, teachers=(other, network.teachers[1]))
    assert planner.network_key(network) == network.key != planner.network_key(changed)


def test_one_task_has_no_teachers(toy_study: Callable[..., Path]) -> None:
    replace = {"train: [anatomy, lesion]": "train: [anatomy]", "selective_cross_entropy]": "pseudo_labels]"}
    study = Study(toy_study(replace))
    assert study.find_run("both/pseudo_labels/0").networks[0].teachers == ()


def test_completed_labels_are_what_the_teachers_say_and_outlive_a_kill(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = study.find_run("both/pseudo_labels/0")
    (network,) = run.networks

    class Killed(Exception):
        pass

    def stop(fraction: float, text: str) -> None:
        if text == "completing labels 4/6":
            raise Killed

    with pytest.raises(Killed):
        runs.train_network(network, study.store, study.params, stop)
    folder = network.folder
    assert all(is_trained(teacher.folder) for teacher in network.teachers) and not is_trained(folder)
    made = {path: path.stat().st_mtime_ns for path in folder.glob("completed/*/*/target.npy")}
    assert len(made) == 4 and finished_runs.state(run) == "begun"
    assert [[n.key for n in part] for part in runs.training_rounds(study.runs)] == [[network.key]]
    runs.train_network(network, study.store, study.params)
    assert all(path.stat().st_mtime_ns == before for path, before in made.items())
    assert len(list(folder.glob("completed/*/*"))) == 6

    data, anatomy_data = (runs.sampling_cohorts(network, planned, study.store)[0] for planned in network.cohorts[::-1])
    (teacher,) = (
        Segmenter([load_member(n)], n.labels, study.params.preprocessing.model_dump()) for n in network.teachers[:1]
    )
    here = Compute(torch.device("cpu"), False)
    for case, drawn in zip(data.cases, study.scenario("both").split("lesion")[0], strict=True):
        stored = study.open(drawn)
        anatomy = teacher.segment(np.asarray(stored.images), stored.modalities, here)
        expected = np.where(stored.target == 1, 4, anatomy)  # csf, gm, wm are 1, 2, 3; wmh is 4
        assert np.array_equal(data.lookup[case.target], expected)
    for case, drawn in zip(anatomy_data.cases, study.scenario("both").split("anatomy")[0], strict=True):
        assert np.array_equal(case.target, study.open(drawn).target)
    assert set(
        finished_runs.read_metrics(evaluation.evaluate_run(run, study.store, study.params) / "metrics.csv")["model"]
    ) == {"pseudo_labels"}


def test_workers_train_teachers_first(toy_study: Callable[..., Path], study: Study) -> None:
    runs.finish_runs(study, [study.find_run("both/pseudo_labels/0")])
    network = study.find_run("both/pseudo_labels/0").networks[0]
    assert finished_runs.is_finished(study.find_run("both/pseudo_labels/0"))
    assert runs.training_rounds(study.runs) == []  # MultiUNet's networks are there
    alone = Study(
        toy_study(
            {
                "models: [cross_entropy, selective_cross_entropy]": "models: [pseudo_labels]",
                "precision: float32": "precision: float32\nreports_dir: alone",
            }
        )
    )
    other = alone.find_run("both/pseudo_labels/0").networks[0]
    runs.train_network(other, alone.store, alone.params)
    assert same(weights(network), weights(other))
