import dataclasses
import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import nibabel as nib
import numpy as np
import pytest
import torch

from multiseg.settings.models import MODELS
from multiseg.study import evaluation, finished_runs, plan, runs
from multiseg.study.plan import Planner
from multiseg.study.study import Study, find_params_file
from multiseg_core import networks
from multiseg_core.errors import UserError
from multiseg_core.inference import Segmenter
from tests.conftest import ROOT, save


def test_label_order_and_spaces(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study({"models: [cross_entropy,": "models: [multi_unet, cross_entropy,"}))
    assert study.labels == ("csf", "gm", "wm", "wmh")
    assert [[c.name for c in task] for task in study.scenario("both").tasks] == [["anatomy"], ["lesion"]]
    multi = study.find_run("both/multi_unet/0")
    # one network per task, which knows the classes of its task only; lesions last, so that they win
    assert [n.labels for n in multi.networks] == [("csf", "gm", "wm"), ("wmh",)]
    single = study.find_run("both/selective_cross_entropy/0").networks[0]
    assert single.space.sets == (frozenset({"background", "csf", "gm", "wm"}),)


def test_split_by_manifest_and_by_seed(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    study = Study(file)
    train, validation = study.scenario("both").split("anatomy")
    assert [c.name for c in train] == ["anatomy0", "anatomy1"] and [c.name for c in validation] == ["anatomy2"]
    assert [c.name for c in study.scenario("both").test_cases] == ["anatomy3"]
    manifest = file.parent / "data" / "anatomy.csv"
    manifest.write_text(manifest.read_text().replace("validation", "train"))
    train, validation = Study(file).scenario("both").split("anatomy")
    assert len(train) == 2 and len(validation) == 1  # 20 % of three, at least one
    assert {c.name for c in train + validation} == {"anatomy0", "anatomy1", "anatomy2"}


def test_cases_of_a_subject_stay_together(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    manifest = file.parent / "data" / "anatomy.csv"
    lines = manifest.read_text().replace("validation", "").replace("train", "").split("\n")
    subjects = ["subject", "p1", "p1", "p2", "p3"]
    manifest.write_text("\n".join(f"{line},{who}" for line, who in zip(lines, subjects, strict=False)))
    for seed in range(6):
        text = file.read_text().replace("steps: 4\n", f"steps: 4\n  split_seed: {seed}\n")
        other = file.with_name(f"seed{seed}.yaml")
        other.write_text(text)
        train, validation = Study(other).scenario("both").split("anatomy")
        assert {c.subject for c in train} | {c.subject for c in validation} == {"p1", "p2"}
        assert not {c.subject for c in train} & {c.subject for c in validation}


REPLICATED = """
cohorts:
  mrbrains13: {source: phantom, cases: 2, voxel_mm: 6}
  mrbrains17: {source: phantom, cases: 2, voxel_mm: 6, seed: 3}
  mrbrains18: {source: phantom, cases: 1, voxel_mm: 6}
scenarios:
  both:
    train: [mrbrains13, mrbrains17]
    test: mrbrains18
    modalities: [T1]
    models: [multi_unet, cross_entropy]
replicates: 3
replicated: [cross_entropy]
seeds: [5, 6]
"""


def test_a_replicate_has_subjects_seeds_and_a_name_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(REPLICATED)
    study = Study(file)
    names = [f"both/multi_unet/{s}" for s in (5, 6)]
    names += [f"both/cross_entropy/{place}" for place in ("5", "6", "2/5", "2/6", "3/5", "3/6")]
    assert [run.name for run in study.runs] == names
    runs_ = {run.name: run for run in study.runs}
    first, second = runs_["both/cross_entropy/5"], runs_["both/cross_entropy/2/5"]
    assert (first.replicate, second.replicate, second.seed) == (1, 2, 5)
    assert (first.networks[0].seed, second.networks[0].seed) == (5, 1005)
    assert [c.name for c in first.test_cases] == ["mrbrains18_01"]
    assert [c.name for c in second.test_cases] == ["mrbrains18_r2_01"]
    heads = [c.person for run in (first, second, runs_["both/cross_entropy/3/5"]) for n in run.networks
             for planned in n.cohorts for c in planned.cases]  # fmt: skip
    assert len(set(heads)) == len(heads) == 3 * (2 + 2)
    # without replicates the keys of the first are what they were
    file.write_text(REPLICATED.replace("replicates: 3", "replicates: 1"))
    alone = Study(file)
    assert [run.key for run in alone.runs][:4] == [run.key for run in study.runs][:4]
    assert len(study.needed_cases()) == 3 * len(alone.needed_cases()) == 3 * 5
    assert study.explored_cases() == alone.explored_cases()


def test_a_scenario_may_take_part_in_some_replicates(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(REPLICATED.replace("    modalities: [T1]\n", "    modalities: [T1]\n    replicates: 2\n"))
    study = Study(file)
    assert [run.name for run in study.runs if run.model == "cross_entropy" and run.seed == 5] == [
        "both/cross_entropy/5", "both/cross_entropy/2/5"
    ]  # fmt: skip
    assert [list(scenarios) for scenarios in study.replicates] == [["both"], ["both"], []]


def test_folds_let_every_case_validate_once(toy_study: Callable[..., Path], tmp_path: Path) -> None:
    file = toy_study({"precision: float32": "precision: float32\nfolds: 3"})
    for cohort in ("anatomy", "lesion"):
        manifest = tmp_path / "data" / f"{cohort}.csv"
        manifest.write_text(manifest.read_text().replace(",validation", ",").replace(",train", ","))
    study = Study(file)
    assert study.params.replicates == 3 and len(study.replicates) == 3
    for cohort in ("anatomy", "lesion"):
        parts = [scenarios["both"].split(cohort) for scenarios in study.replicates]
        everyone = {case.name for case in study.cohorts[cohort].cases if case.split != "test"}
        assert len(everyone) == 3
        assert sorted(case.name for _, validation in parts for case in validation) == sorted(everyone)
        for train, validation in parts:
            assert {c.name for c in train} == everyone - {c.name for c in validation}
    assert len({run.networks[0].key for run in study.runs_of("both")}) == 6
    file.write_text(file.read_text().replace("folds: 3", "folds: 4"))
    with pytest.raises(UserError, match="folds: cohort anatomy has 3 subjects to train on, too few for 4 folds"):
        Study(file)
    file.write_text(file.read_text().replace("folds: 4", "folds: 3\nreplicates: 2"))
    with pytest.raises(UserError, match="give folds or replicates, not both"):
        Study(file)


def test_real_cases_are_split_anew_in_a_replicate(toy_study: Callable[..., Path]) -> None:
    file = toy_study({"precision: float32": "precision: float32\nreplicates: 6"})
    for name in ("anatomy", "lesion"):
        manifest = file.parent / "data" / f"{name}.csv"
        manifest.write_text(manifest.read_text().replace("validation", "train"))
    study = Study(file)
    splits = [tuple(c.name for c in scenario.split("anatomy")[1]) for scenario in study.all_scenarios]
    assert len(splits) == 6 and len(set(splits)) > 1
    assert {tuple(case.name for case in run.test_cases) for run in study.runs} == {("anatomy3",)}


def test_unknown_replicated_model(toy_study: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="replicated: unknown model 'oracel' \\(did you mean 'oracle'"):
        Study(toy_study({"precision: float32": "precision: float32\nreplicated: [oracel]"}))


def test_networks_are_shared_between_runs_that_need_the_same(toy_study: Callable[..., Path]) -> None:
    more = """    models: [cross_entropy, selective_cross_entropy]
  mono:
    train: [lesion]
    test: lesion
    modalities: [T1, FLAIR]
    models: [cross_entropy]
  again:
    train: [anatomy, lesion]
    test: lesion
    modalities: [T1, FLAIR]
    models: [multi_unet]
"""
    study = Study(toy_study({"    models: [cross_entropy, selective_cross_entropy]\n": more}))
    mono, again = study.find_run("mono/cross_entropy/0"), study.find_run("again/multi_unet/0")
    # the lesion network of MultiUNet is the mono-task network
    assert mono.networks[0].key == again.networks[1].key
    assert len(study.networks()) == 2 + 1 + 1


def test_run_keys_cover_what_changes_numbers(toy_study: Callable[..., Path]) -> None:
    base = {run.name: run.key for run in Study(toy_study()).runs}
    for replace in (
        {"steps: 4": "steps: 5"},
        {"base_filters: 2": "base_filters: 4"},
        {"spacing_mm: 1": "spacing_mm: 2"},
        {"absent: [wmh]": "absent: []"},
        {"modalities: [T1, FLAIR]": "modalities: [FLAIR, T1]"},
        {"precision: float32": "precision: bf16"},
    ):
        other = {run.name: run.key for run in Study(toy_study(replace)).runs}
        assert other.keys() == base.keys() and not set(other.values()) & set(base.values()), replace
    # titles and the number of workers change no number
    for replace in (
        {"precision: float32": "precision: float32\nworkers: 1"},
        {"test: anatomy": "test: anatomy\n    title: x"},
    ):
        assert {run.name: run.key for run in Study(toy_study(replace)).runs} == base


def test_uniform_sampling_is_another_network(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study({"selective_cross_entropy]": "selective_cross_entropy, selective_cross_entropy_uniform]"}))
    usual, uniform = (study.find_run(f"both/selective_cross_entropy{x}/0").networks[0] for x in ("", "_uniform"))
    assert usual.key != uniform.key and usual.model.sampling.name == "relevant"
    as_usual = dataclasses.replace(uniform, key=usual.key, name=usual.name, folder=usual.folder, model=usual.model)
    assert as_usual == usual
    for network in (usual, uniform):
        runs.train_network(network, study.store, study.params)
    a, b = (torch.load(n.folder / "model.pt", weights_only=True) for n in (usual, uniform))
    assert not all(torch.equal(a[name], b[name]) for name in a)


def complete_study(toy_study: Callable[..., Path], replace: dict[str, str] | None = None) -> Path:
    """The toy study with complete labels: those of anatomy are the drawn ones, those of lesion show all as gm (20)."""
    codes = {
        "    codes: {1: csf, 2: gm, 3: wm}\n": (
            "    codes: {1: csf, 2: gm, 3: wm}\n    complete_codes: {1: csf, 2: gm, 3: wm}\n"
        ),
        "    codes: {1: wmh}\n": "    codes: {1: wmh}\n    complete_codes: {1: wmh, 20: gm}\n",
        "selective_cross_entropy]": "oracle]",
    }
    file = toy_study({**codes, **(replace or {})})
    for cohort in ("anatomy", "lesion"):
        manifest = file.parent / "data" / f"{cohort}.csv"
        header, *rows = manifest.read_text().splitlines()
        lines = [header + ",complete_labels"]
        for i, row in enumerate(rows):
            name = f"{cohort}{i}_labels.nii.gz"
            if cohort == "lesion":
                labels = nib.load(file.parent / "data" / name)
                volume = np.asarray(labels.dataobj)
                brain = np.asarray(nib.load(file.parent / "data" / f"{cohort}{i}_T1.nii.gz").dataobj) > 0
                name = f"{cohort}{i}_complete.nii.gz"
                save(file.parent / "data" / name, np.where(brain & (volume == 0), 20, volume).astype(np.uint8))
            lines.append(f"{row},{name}")
        manifest.write_text("\n".join(lines) + "\n")
    return file


def test_oracle_learns_from_complete_labels(toy_study: Callable[..., Path]) -> None:
    study = Study(complete_study(toy_study))
    run = study.find_run("both/oracle/0")
    (network,) = run.networks
    space = network.space
    assert network.model.targets == "complete" and space.rows == tuple(
        frozenset([c]) for c in ("background", "csf", "gm", "wm", "wmh")
    )
    data, _ = runs.sampling_cohorts(network, network.cohorts[1], study.store)
    case = data.cases[0]
    rows = data.lookup[case.target]
    # what lesion draws as background is gm within the brain, and background outside
    assert np.array_equal(rows == 4, study.open(study.scenario("both").split("lesion")[0][0]).target == 1)
    assert (rows[case.mask & (rows != 4)] == 2).all() and (rows[~case.mask] == 0).all()
    # but patches are aimed as those of the selective model are, which it bounds: at what was drawn
    assert sorted(int(data.lookup[position]) for position in case.voxels) == [4]
    runs.train_network(network, study.store, study.params)
    folder = evaluation.evaluate_run(run, study.store, study.params)
    # evaluated on what is drawn, as any other model
    rows = finished_runs.read_metrics(folder / "metrics.csv")
    assert set(rows["label"][rows["dice"].notna()]) == {"csf", "gm", "wm"}


def test_complete_labels_are_part_of_the_oracles_key_only(toy_study: Callable[..., Path]) -> None:
    file = complete_study(toy_study)
    before = {run.model: run.networks[0].key for run in Study(file).runs}
    path = file.parent / "data" / "lesion0_complete.nii.gz"
    save(path, np.where(np.asarray(nib.load(path).dataobj) == 20, 0, 1).astype(np.uint8))
    after = {run.model: run.networks[0].key for run in Study(file).runs}
    assert before["cross_entropy"] == after["cross_entropy"] and before["oracle"] != after["oracle"]


def test_labels_outside_the_scenario_teach_the_oracle_nothing(toy_study: Callable[..., Path]) -> None:
    file = complete_study(toy_study, {"train: [anatomy, lesion]": "train: [lesion]", "test: anatomy": "test: lesion"})
    study = Study(file)
    network = study.find_run("both/oracle/0").networks[0]
    space = network.space
    assert network.labels == ("wmh",) and space.sets == (frozenset({"background", "wmh"}),)
    lookup = runs.sampling_cohorts(network, network.cohorts[0], study.store)[0].lookup
    sets = study.cohorts["lesion"].complete_map.sets
    assert {min(s): int(lookup[i]) for i, s in enumerate(sets)} == {"background": 0, "wmh": 1, "gm": 2}


def test_oracle_without_complete_labels(toy_study: Callable[..., Path]) -> None:
    with pytest.raises(
        UserError, match="both.models: oracle needs complete labels, which cohort anatomy does not have"
    ):
        Study(toy_study({"selective_cross_entropy]": "oracle]"}))
    file = complete_study(toy_study)
    manifest = file.parent / "data" / "lesion.csv"
    text = manifest.read_text()
    manifest.write_text(text.replace("lesion1_complete.nii.gz", ""))
    with pytest.raises(UserError, match="which case 001 of cohort lesion does not have"):
        Study(file)
    manifest.write_text(text)
    file.write_text(file.read_text().replace("20: gm", "20: gn"))
    with pytest.raises(UserError, match=r"cohorts.lesion.complete_codes: .*unknown label 'gn' \(did you mean 'gm'"):
        Study(file)
    with pytest.raises(UserError, match="cohorts.lesion.complete_codes: needed with a column 'complete_labels' in the"):
        Study(toy_study({"codes: {1: wmh}": "codes: {1: wmh}\n    complete_codes: {1: wmh}"}))


def test_the_complete_truth_of_phantoms(tmp_path: Path) -> None:
    text, test = (ROOT / "params" / "smoke.yaml").read_text(), "    test: mrbrains18\n"
    (tmp_path / "x.yaml").write_text(text.replace(test, test + "    models: [oracle]\n"))
    study = Study(tmp_path / "x.yaml")
    assert study.find_run("anatomy_wmh/oracle/0").networks[0].model.targets == "complete"
    cohort = study.cohorts["mrbrains17"]
    runs.prepare(study, cohort.cases[:1])
    stored = study.open(cohort.cases[0])
    complete = stored.completed()
    wmh = complete.sets.index(frozenset({"wmh"}))
    assert np.array_equal(complete.target == wmh, stored.target == stored.sets.index(frozenset({"wmh"})))
    assert {frozenset([label]) for label in ("csf", "gm", "wm", "wmh")} <= {
        complete.sets[k] for k in np.unique(complete.target)
    }
    # all of the brain is labelled, but for its rim, where grids of labels and mask round in different ways
    assert np.mean(complete.target[stored.mask] > 0) > 0.9
    assert np.array_equal(complete.images, stored.images)


def test_runs_with_the_same_network_are_still_two_runs(toy_study: Callable[..., Path]) -> None:
    one_task = {"train: [anatomy, lesion]": "train: [anatomy]", "models: [cross": "models: [multi_unet, cross"}
    study = Study(toy_study(one_task))
    multi, single = study.find_run("both/multi_unet/0"), study.find_run("both/cross_entropy/0")
    assert multi.networks[0].key == single.networks[0].key and multi.key != single.key


def test_renamed_cases_are_evaluated_again_but_not_trained_again(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    before = Study(file).runs
    manifest = file.parent / "data" / "anatomy.csv"
    manifest.write_text(manifest.read_text().replace("anatomy3,", "renamed,"))
    after = Study(file).runs
    for a, b in zip(before, after, strict=True):
        assert a.key != b.key and [n.key for n in a.networks] == [n.key for n in b.networks]


def test_a_new_cohort_leaves_the_networks_of_others_alone(toy_study: Callable[..., Path]) -> None:
    before = {n.name: n.key for n in Study(toy_study()).networks()}
    new = """  tumours:
    source: table
    manifest: data/lesion.csv
    codes: {1: tumour}
preprocessing:"""
    study = Study(toy_study({"preprocessing:": new}))
    assert "tumour" in study.labels and {n.name: n.key for n in study.networks()} == before


MONO = """scenarios:
  mono:
    train: [lesion]
    test: lesion
    modalities: [T1, FLAIR]
    models: [cross_entropy]
"""


def unmarked(file: Path, cohort: str) -> Study:
    """Take all marks from a manifest."""
    manifest = file.parent / "data" / f"{cohort}.csv"
    manifest.write_text(re.sub(",(train|validation|test)$", ",", manifest.read_text(), flags=re.M))
    return Study(file)


def test_a_single_cohort_without_test_cases_is_tested_on_its_validation_cases(toy_study: Callable[..., Path]) -> None:
    default = unmarked(toy_study({"scenarios:\n": MONO}), "lesion")
    assert default.scenario("mono").tests_on_validation and not default.scenario("both").tests_on_validation
    assert (
        default.scenario("mono").test_cases == default.scenario("both").split("lesion")[1]
        and len(default.scenario("mono").test_cases) == 1
    )
    # 60/40 of four cases: 1.6 is 2, in this scenario only
    forty = MONO.replace("models:", "validation_fraction: 0.4\n    models:")
    study = unmarked(toy_study({"scenarios:\n": forty}), "lesion")
    assert [len(part) for part in study.scenario("mono").split("lesion")] == [2, 2]
    assert (
        study.scenario("mono").test_cases
        == study.scenario("mono").validation_cases
        == study.scenario("mono").split("lesion")[1]
    )
    assert [len(part) for part in study.scenario("both").split("lesion")] == [3, 1]
    for name, same in (("mono/cross_entropy/0", False), ("both/cross_entropy/0", True)):
        ours, other = study.find_run(name), default.find_run(name)
        assert (ours.key == other.key) == same and (ours.networks[0].key == other.networks[0].key) == same
    # marks win over shares
    assert Study(toy_study({"scenarios:\n": forty})).scenario("mono").split("lesion")[1][0].name == "002"


def test_a_case_that_validates_and_tests_is_evaluated_once(toy_study: Callable[..., Path]) -> None:
    study = unmarked(toy_study({"scenarios:\n": MONO}), "lesion")
    run = study.find_run("mono/cross_entropy/0")
    runs.train_network(run.networks[0], study.store, study.params)
    folder = evaluation.evaluate_run(run, study.store, study.params)
    tables = [finished_runs.read_metrics(folder / f"{name}.csv") for name in ("metrics", "validation")]
    assert tables[0]["case"].tolist() == [study.scenario("mono").test_cases[0].name] and tables[0].equals(tables[1])


def test_several_cohorts_need_test_cases(toy_study: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="scenarios.both.test: cohort anatomy has no case to test on"):
        unmarked(toy_study(), "anatomy")


def test_the_anatomical_network_of_multi_unet_is_the_single_task_network(toy_study: Callable[..., Path]) -> None:
    def study(mono: str) -> Study:
        other = {"test: anatomy": "test: lesion", "[cross_entropy, sel": "[multi_unet, sel"}
        return unmarked(toy_study({**other, "scenarios:\n": mono}), "anatomy")

    def keys(study: Study) -> tuple[str, str]:
        mono, multi = study.find_run("mono/cross_entropy/0"), study.find_run("both/multi_unet/0")
        return mono.networks[0].key, multi.networks[0].key

    text = MONO.replace("lesion", "anatomy")
    same = study(text)
    assert same.scenario("mono").tests_on_validation and len(set(keys(same))) == 1
    assert len(same.networks()) == 3  # two of MultiUNet, one of them the single task's; selective
    assert len(set(keys(study(text.replace("models:", "validation_fraction: 0.4\n    models:"))))) == 2
    assert len(set(keys(study(text.replace("[T1, FLAIR]", "[T1]"))))) == 2


def test_networks_of_multi_unet_may_see_modalities_of_their_own(toy_study: Callable[..., Path]) -> None:
    replace = {
        "test: anatomy": "test: lesion",
        "[T1, FLAIR]": "[T1]",
        "[cross_entropy, sel": "[multi_unet, cross_entropy, sel",
    }
    file = toy_study(replace)
    for cohort in ("anatomy", "lesion"):  # anatomy without FLAIR, lesion with FLAIR before T1
        manifest = file.parent / "data" / f"{cohort}.csv"
        rows = [line.split(",") for line in manifest.read_text().splitlines()]
        order = [0, 1, 3, 4] if cohort == "anatomy" else [0, 2, 1, 3, 4]
        manifest.write_text("\n".join(",".join(row[i] for i in order) for row in rows) + "\n")
    shared = Study(file)
    file.write_text(file.read_text().replace("modalities:", "own_modalities: true\n    modalities:"))
    own = Study(file)
    networks = own.find_run("both/multi_unet/0").networks
    assert [n.modalities for n in networks] == [("T1",), ("FLAIR", "T1")]
    before = shared.find_run("both/multi_unet/0").networks
    assert [n.modalities for n in before] == [("T1",), ("T1",)]
    assert [a.key == b.key for a, b in zip(networks, before, strict=True)] == [True, False]
    for model in ("cross_entropy", "selective_cross_entropy"):
        a, b = (study.find_run(f"both/{model}/0") for study in (shared, own))
        assert b.networks[0].modalities == ("T1",) and a.key == b.key
    run = own.find_run("both/multi_unet/0")
    for network in networks:
        runs.train_network(network, own.store, own.params)
    folder = evaluation.evaluate_run(run, own.store, own.params)
    # anatomy's validation case has no FLAIR: the lesion network is left out, and sees no lesion there
    assert set(finished_runs.read_metrics(folder / "validation.csv")["cohort"]) == {"anatomy", "lesion"}
    assert finished_runs.prediction(run, own.scenario("both").split("anatomy")[1][0]).max() <= 3
    assert Segmenter.load(folder / "model.pt").modalities == ("T1", "FLAIR")


def test_validation_cases_are_drawn_from_those_without_a_mark(toy_study: Callable[..., Path]) -> None:
    file = toy_study({"test: anatomy": "test: lesion"})
    manifest = file.parent / "data" / "anatomy.csv"
    text = manifest.read_text().replace(",validation", ",").replace(",test", ",")
    manifest.write_text(text)
    for seed in range(5):
        file.write_text(file.read_text().replace("  steps:", f"  split_seed: {seed}\n  steps:"))
        study = Study(file)
        assert {c.name for c in study.scenario("both").split("lesion")[1]} == {"002"}  # marked
        assert {c.name for c in study.scenario("both").split("anatomy")[1]} <= {"anatomy2", "anatomy3"}
        file.write_text(file.read_text().replace(f"  split_seed: {seed}\n", ""))


def test_unknown_names(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study())
    with pytest.raises(UserError, match=r"no scenario 'bothh' \(did you mean 'both'\?\)"):
        study.scenario("bothh")
    with pytest.raises(UserError, match="no run 'both/cross_entropy/7'"):
        study.find_run("both/cross_entropy/7")


def test_reports_folder(tmp_path: Path, toy_study: Callable[..., Path]) -> None:
    assert Study(toy_study()).folder == tmp_path / "reports" / "toy"
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "x.yaml").write_text((ROOT / "params" / "smoke.yaml").read_text())
    assert Study(tmp_path / "params" / "x.yaml").folder == tmp_path / "reports" / "x"


def test_params_file_is_found_from_the_notebooks_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "notebooks")
    assert find_params_file(Path("params/quick.yaml")) == ROOT / "params" / "quick.yaml"
    assert find_params_file(Path("params/none.yaml")) == Path("params/none.yaml")


def test_the_five_models_of_the_thesis() -> None:
    assert list(MODELS)[:5] == ["multi_unet", "cross_entropy", "selective_cross_entropy", "dice", "selective_dice"]


EMBEDDED = sorted(file for file in (ROOT / "params").glob("*.yaml") if file.stem != "thesis")


@pytest.mark.parametrize("file", EMBEDDED, ids=lambda p: p.name)
def test_params_files_of_the_project_are_valid(file: Path) -> None:
    study = Study(file)
    assert study.params.scenarios


def test_multi_unet_with_shared_inputs_is_made_of_the_teachers_of_pseudo_labels() -> None:
    """In the IBSR scenario the lesion network of MultiUNet sees FLAIR too; this one does not, and costs no training."""
    study = Study(ROOT / "params" / "smoke.yaml")
    params = study.params.scenarios["anatomy_wmh"].changed(modalities=["T1"], own_modalities=True)
    scenario = dataclasses.replace(study.scenario("anatomy_wmh"), params=params)
    planner = Planner(study.params, study.models, study.store, study.folder)
    plans = {model: planner.run(scenario, model, 0) for model in ("multi_unet", "multi_unet_shared", "pseudo_labels")}
    shared = plans["multi_unet_shared"].networks
    assert [network.modalities for network in shared] == [("T1",), ("T1",)]
    assert [n.modalities[-1] for n in plans["multi_unet"].networks] == ["FLAIR", "FLAIR"]
    assert [n.key for n in shared] == [n.key for n in plans["pseudo_labels"].networks[0].teachers]


def test_the_thesis_asks_for_its_data(tmp_path: Path) -> None:
    (tmp_path / "params").mkdir()
    file = shutil.copy(ROOT / "params" / "thesis.yaml", tmp_path / "params")
    with pytest.raises(UserError) as raised:
        Study(file)
    lines = str(raised.value).splitlines()
    providers = {
        **dict.fromkeys(("mrbrains13", "mrbrains17", "mrbrains18"), "DataverseNL"), "ibsr": "NITRC",
        "brainweb": "the McConnell", "brats12": "the MIDAS archive", "tumorsim": "your own simulations",
    }  # fmt: skip
    for (name, provider), line in zip(providers.items(), lines, strict=True):
        assert f"thesis.yaml: cohorts.{name}.folder: no such folder: {tmp_path / 'data' / name}; " in line
        assert f"is obtained from {provider}" in line


def own_models(toy_study: Callable[..., Path], entry: str) -> Path:
    models = {"models: [cross_entropy, selective_cross_entropy]": "models: [cross_entropy, mine]"}
    return toy_study({**models, "scenarios:\n": f"models:\n  mine: {entry}\nscenarios:\n"})


def test_a_params_file_adds_models_with_their_own_network_and_training(toy_study: Callable[..., Path]) -> None:
    study = Study(own_models(toy_study, "{title: Mine, network: {base_filters: 4}, training: {steps: 6}}"))
    usual, mine = (study.find_run(f"both/{model}/0").networks[0] for model in ("cross_entropy", "mine"))
    assert (usual.network["base_filters"], mine.network) == (2, {"name": "unet", "base_filters": 4, "levels": 2})
    assert (usual.training.steps, mine.training.steps) == (4, 6)
    runs.finish_runs(study)
    assert list(dict.fromkeys(finished_runs.metrics(study)["model"])) == ["cross_entropy", "mine"]
    # a model that is written otherwise but chooses the same costs no training
    same = Study(own_models(toy_study, "{targets: naive, title: Same}"))
    assert len({run.networks[0].key for run in same.runs}) == 1


def test_numbers_of_an_own_training_are_read_as_those_of_the_study(toy_study: Callable[..., Path]) -> None:
    """YAML takes 1e-3 for a text, which reached the optimiser."""
    study = Study(own_models(toy_study, "{training: {learning_rate: 1e-3, noise_sd: 0}}"))
    training = study.find_run("both/mine/0").networks[0].training
    assert (training.learning_rate, training.noise_sd) == (0.001, 0.0)
    assert isinstance(training.learning_rate, float) and isinstance(training.noise_sd, float)


@pytest.mark.parametrize("name", ["a/b", "single_task", "$x"])
def test_names_of_models_are_names_of_files(toy_study: Callable[..., Path], name: str) -> None:
    with pytest.raises(UserError, match="models: '.*' is not a name"):
        Study(toy_study({"scenarios:\n": f"models:\n  {name}: {{}}\nscenarios:\n"}))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{los: Dice}", r"unknown key 'models.mine.los' \(did you mean 'loss'\?\)"),
        ("{targets: some}", "models.mine.targets: 'some' is not one of naive, selective, complete, pseudo"),
        ("{training: {stepps: 5}}", r"unknown key 'models.mine.training.stepps' \(did you mean 'steps'\?\)"),
        ("{training: {steps: 0}}", "models.mine.training.steps: must be above 0, got 0"),
    ],
)
def test_bad_models_of_a_params_file(toy_study: Callable[..., Path], entry: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Study(own_models(toy_study, entry))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{loss: SoftDise}", r"models.mine.loss: unknown name 'SoftDise' \(did you mean 'SoftDice'\?\)"),
        (
            "{loss: {name: SoftDice, options: {eps: 1}}}",
            "models.mine.loss: SoftDice: .*unexpected keyword argument 'eps'",
        ),
        ("{network: {levels: 5}}", "models.mine.training.patch_size: .* must be multiples of 16"),
    ],
)
def test_models_are_tried_before_training(toy_study: Callable[..., Path], entry: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Study(own_models(toy_study, entry)).check_networks()


def test_a_network_that_cannot_take_whole_volumes_is_found_before_training(
    toy_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was trained to the end, and failed then."""

    class Fixed(torch.nn.Module):
        size_divisor = 4

        def __init__(self, in_channels: int, out_channels: int) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(out_channels, 8, 8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :1] * self.scale

    monkeypatch.setitem(networks.NETWORKS, "fixed", Fixed)  # type: ignore[arg-type]
    monkeypatch.setattr(networks, "Fixed", Fixed, raising=False)
    monkeypatch.setattr(plan, "code_fingerprint", lambda *roots: "")
    study = Study(toy_study({"{name: unet, base_filters: 2, levels: 2}": "{name: fixed}"}))
    with pytest.raises(UserError, match="network: cannot predict a whole volume of .* voxels, only patches"):
        runs.finish_runs(study)
    assert not any(network.folder.exists() for network in study.networks())


def test_a_study_makes_no_folder(toy_study: Callable[..., Path]) -> None:
    """So that what only reads works on a folder that cannot be written to."""
    study = Study(toy_study())
    assert not study.folder.exists()
    assert [finished_runs.state(run) for run in study.runs] == ["missing", "missing"]


def test_reading_writes_nothing(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study())
    runs.finish_runs(study)
    (study.folder / "metrics.csv").unlink()
    rows = finished_runs.metrics(study)
    assert len(rows) == 8  # two models, a case, three labels, and one that is known not to be there
    assert list(rows["label"][rows["dice"].isna()]) == ["wmh", "wmh"]
    assert not (study.folder / "metrics.csv").exists()


def test_data_are_not_loaded_while_another_process_trains(
    toy_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were loaded before the lock was asked for: with several processes, in each of them."""
    study = Study(toy_study())
    runs.prepare(study, workers=1)
    network = study.networks()[0]
    network.folder.mkdir(parents=True)
    made: list[object] = []
    usual = runs.make_trainer
    monkeypatch.setattr(runs, "make_trainer", lambda *arguments: (made.append(1), usual(*arguments))[1])
    waiting = threading.Thread(target=runs.train_network, args=(network, study.store, study.params))
    with filelock.FileLock(network.folder / ".lock"):
        waiting.start()
        time.sleep(1)
        assert not made
    waiting.join()
    assert made == [1]
