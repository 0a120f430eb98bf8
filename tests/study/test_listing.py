"""What a scheduler is told, and the jobs that it starts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from multiseg.commands import cli
from multiseg.study import check, costs, listing, runs
from multiseg.study.study import Study
from multiseg_core.errors import UserError
from multiseg_core.networks import build_network
from multiseg_core.settings import TrainingParams

PSEUDO = {"models: [cross_entropy, selective_cross_entropy]": "models: [multi_unet_shared, pseudo_labels]"}


def test_the_list_has_networks_after_their_teachers(
    toy_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = toy_study(PSEUDO)
    assert cli.main(["train", str(file), "--list", "--json"]) == 0
    plan, study = json.loads(capsys.readouterr().out), Study(file)
    assert plan["folder"] == str(study.folder) and plan["threads"] == 1
    assert {c["name"]: c["cases"] for c in plan["cohorts"]} == {"anatomy": 4, "lesion": 3}
    anatomy, lesion, pupil = plan["networks"]  # the teachers are the networks of the other run
    assert anatomy["before"] == lesion["before"] == [] and pupil["before"] == [anatomy["key"], lesion["key"]]
    assert [run["networks"] for run in plan["runs"]] == [[anatomy["key"], lesion["key"]], [pupil["key"]]]
    (evaluation,) = plan["evaluations"]  # of one scenario and replicate
    assert evaluation["runs"] == [run["key"] for run in plan["runs"]] and evaluation["name"] == "both-1"
    assert evaluation["networks"] == [network["key"] for network in plan["networks"]]
    assert not any(entry["finished"] for entry in (*plan["networks"], *plan["runs"]))
    # 4 steps of at least 10 ms; the pupil's teachers also predict whole volumes, 4 GiB by default
    assert anatomy["minutes"] == round(4 * costs.STEP_S / 60, 2)
    assert pupil["memory_mb"] == costs.PROGRAM_MB + 4096 > anatomy["memory_mb"] > costs.PROGRAM_MB


def test_what_a_trained_network_took_is_expected_of_its_like(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study())
    first, second = study.networks()
    first.folder.mkdir(parents=True)
    (first.folder / "network.json").write_text('{"seconds": 90}')
    entries = listing.listing(study)["networks"]
    assert [e["minutes"] for e in entries] == [1.5, 1.5] and [e["finished"] for e in entries] == [True, False]
    assert second.key == entries[1]["key"]


def test_needs_of_a_step_are_those_of_the_whole_patch() -> None:
    """The smallest patch and arithmetic, against a pass over the whole one, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    spec = {"name": "unet", "base_filters": 4, "levels": 3}
    training = TrainingParams(batch_size=3, patch_size=[16, 24, 8])
    kept, flops, weights = costs.step_cost(spec, 2, 4, training)
    network = build_network(spec, 2, 5).train()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(3, 2, 16, 24, 8)).sum().backward()
    # torch leaves out the gradient with respect to the images, which nobody needs
    first = next(m for m in network.modules() if isinstance(m, nn.Conv3d))
    left_out = 2 * 3 * 16 * 24 * 8 * first.weight.numel()
    assert flops == counter.get_total_flops() + left_out
    assert weights == sum(p.numel() for p in network.parameters())
    # at least the images, and each convolution's output once
    assert kept > 4 * 3 * 16 * 24 * 8 * (2 + 4 * 4)
    doubled = costs.step_cost(spec, 2, 4, TrainingParams(batch_size=6, patch_size=[16, 24, 8]))
    assert doubled[:2] == (pytest.approx(2 * kept), 2 * flops)


def test_networks_of_other_libraries_are_tried_by_shapes() -> None:
    spec = {"name": "monai.BasicUNet", "features": [4, 4, 4, 4, 4, 4]}
    kept, flops, weights = costs.step_cost(spec, 1, 2, TrainingParams(batch_size=2, patch_size=[32, 32, 32]))
    assert kept > 4 * 2 * 32**3 * 4 and flops > 0 and weights > 0


def test_networks_that_compute_while_they_are_built_are_tried_by_shapes_too() -> None:
    spec = {"name": "monai.SwinUNETR", "feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]}
    kept, flops, weights = costs.step_cost(spec, 1, 2, TrainingParams(batch_size=2, patch_size=[64, 64, 64]))
    assert (kept, flops, weights) != costs.UNKNOWN
    assert weights == sum(p.numel() for p in build_network(spec, 1, 3).parameters())
    assert kept < 4e9 and 1e9 < flops < 1e12


def test_jobs_of_a_scheduler_make_what_the_study_makes(
    toy_study: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Study(toy_study({**PSEUDO, "precision: float32": "precision: float32\nreports_dir: whole"}))
    for run in whole.runs:
        for network in run.networks:
            runs.train_network(network, whole.store, whole.params)
        runs.evaluate_run(run, whole.store, whole.params)
    runs.write_metrics(whole)

    file = toy_study({**PSEUDO, "precision: float32": "precision: float32\nreports_dir: jobs"})
    study = Study(file)
    anatomy, lesion, pupil = study.networks()
    assert cli.main(["check", str(file)]) == 0 and check.is_stamped(study)
    monkeypatch.setattr(check, "check_study", lambda study: pytest.fail("a job repeats the check of the whole study"))
    assert cli.main(["train", str(file), "--network", pupil.key]) == 1
    assert f"network {pupil.key}: train {anatomy.key} (both/multi_unet/0 (csf+gm+wm)) before it" in (
        capsys.readouterr().err
    )
    for network in (anatomy, lesion, pupil):
        assert cli.main(["train", str(file), "--network", network.key]) == 0
    assert cli.main(["train", str(file), "--run", *[run.key for run in study.runs], "--later"]) == 0
    assert not (study.folder / "metrics.csv").exists()
    assert cli.main(["train", str(file), "--collect"]) == 0
    assert "2 of 2 runs" in capsys.readouterr().out
    assert (study.folder / "metrics.csv").read_bytes() == (whole.folder / "metrics.csv").read_bytes()


def test_a_stamp_ends_with_a_change(toy_study: Callable[..., Path]) -> None:
    file = toy_study()
    assert cli.main(["check", str(file)]) == 0 and check.is_stamped(Study(file))
    assert not check.is_stamped(Study(toy_study({"steps: 4": "steps: 6"})))
    file = toy_study()
    assert check.is_stamped(Study(file))
    image = file.parent / "data" / "lesion0_T1.nii.gz"
    image.write_bytes(image.read_bytes() + b"\0")
    assert not check.is_stamped(Study(file))
    image.unlink()
    assert not check.is_stamped(Study(file))


def test_bad_questions_are_one_line(toy_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    file = str(toy_study())
    for arguments, message in {
        ("train", file, "--network", "abc"): "no network 'abc'",
        ("train", file, "--collect", "--json"): "--json: only together with --list",
        ("train", file, "--list", "--later"): "--later: only together with --run",
        ("train", file, "--collect"): "no run is finished yet",
        ("prepare", file, "--cohort", "lesions"): "no cohort 'lesions' (did you mean 'lesion'?)",
    }.items():
        assert cli.main(list(arguments)) == 1
        assert message in capsys.readouterr().err


def test_a_report_needs_finished_runs(toy_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["study", str(toy_study()), "--report"]) == 1
    assert "2 runs are not finished, such as both/cross_entropy/0" in capsys.readouterr().err


def test_needs_never_stop_a_study(toy_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> tuple[float, float, int]:
        raise UserError("no")

    study = Study(toy_study())
    monkeypatch.setattr(costs, "step_cost", fail)
    assert costs.Needs(study.params).tensors_gib(study.networks()[0]) > 1
