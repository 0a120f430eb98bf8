import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from multiseg.base.cores import default_workers, visible_gpus
from multiseg.base.workers import Job, Report, run_jobs
from multiseg.study import runs
from multiseg.study.study import Study
from multiseg_core.errors import UserError
from tests.core.test_training import same, weights


def double(x: int, report: Report) -> int:
    report(0.5, "half")
    return 2 * x


def visible(wait_s: float, report: Report) -> str:
    time.sleep(wait_s)
    return os.environ["CUDA_VISIBLE_DEVICES"]


def fail(report: Report) -> None:
    raise UserError("this file is bad")


def die(report: Report) -> None:
    report(0, "dying")
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_come_back_in_order() -> None:
    assert run_jobs([Job(str(x), double, (x,)) for x in range(5)], "doubling", 2) == [0, 2, 4, 6, 8]
    assert run_jobs([], "nothing", 2) == []


def test_workers_take_the_gpus_in_turn() -> None:
    """Every worker took the first GPU, so that the others of a machine were idle."""
    jobs = [Job(str(x), visible, (0.5,)) for x in range(2)]
    assert sorted(run_jobs(jobs, "looking", 2, ["3", "5"])) == ["3", "5"]


def fake_gpus(monkeypatch: pytest.MonkeyPatch, n: int, gib: float, cores: int = 64) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
    properties = types.SimpleNamespace(total_memory=int(gib * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: properties)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)


def test_all_gpus_of_a_machine_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake_gpus(monkeypatch, 4, 24)
    assert visible_gpus("auto") == visible_gpus("cuda") == ["0", "1", "2", "3"]
    assert visible_gpus("cpu") == visible_gpus("cuda:1") == []  # that one, and no other
    assert default_workers(None, 1, "cuda", 4, 18.5) == 4  # 18.5 + 1.5 GiB of .9 x 24: one on each
    assert default_workers(None, 1, "cuda", 4, 5.5) == 12  # 7 GiB each: three
    assert default_workers(None, 1, "cuda", 4, 0.1) == 16  # no more than four, however small
    assert default_workers(None, 1, "cuda", 4, 100) == 4  # let it try
    assert default_workers(None, 8, "cuda", 4, 0.1) == 8  # 64 cores, 8 a training
    assert default_workers(3, 1, "cuda", 4, 0.1) == 3
    assert default_workers(None, 1, "cuda") == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a1, GPU-b2")
    fake_gpus(monkeypatch, 2, 24)
    assert visible_gpus("auto") == ["GPU-a1", "GPU-b2"]
    fake_gpus(monkeypatch, 0, 0)
    assert visible_gpus("auto") == []


def test_errors_of_a_job_reach_the_caller() -> None:
    with pytest.raises(UserError, match="this file is bad"):
        run_jobs([Job("a", double, (1,)), Job("b", fail, ())], "failing", 1)


def test_a_killed_worker_is_one_line() -> None:
    with pytest.raises(
        UserError, match="a worker process was killed while working on network A; run the command again"
    ):
        run_jobs([Job("network A", die, ())], "dying", 1)


def test_kill_9_on_the_parent_stops_the_workers_and_the_next_call_goes_on(toy_study: Callable[..., Path]) -> None:
    long = {"steps: 4": "steps: 300", "validation_every: 2": "validation_every: 20"}
    whole = Study(toy_study({**long, "precision: float32": "precision: float32\nreports_dir: whole"}))
    for run in whole.runs:
        runs.train_network(run.networks[0], whole.store, whole.params)

    file = toy_study({**long, "precision: float32": "precision: float32\nreports_dir: killed"})
    killed = Study(file)
    networks = [run.networks[0] for run in killed.runs]
    code = f"from multiseg.study import runs, study; runs.finish_runs(study.Study({str(file)!r}))"
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = [n.folder / "checkpoint.pt" for n in networks]
    deadline = time.monotonic() + 120
    while not any(c.exists() for c in checkpoints) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(2)  # the workers look for their parent twice a second
    steps = [torch.load(c, weights_only=True)["step"] if c.exists() else 0 for c in checkpoints]
    time.sleep(1)
    assert steps == [torch.load(c, weights_only=True)["step"] if c.exists() else 0 for c in checkpoints]

    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    for ours, theirs in zip(whole.runs, killed.runs, strict=True):
        assert same(weights(ours.networks[0]), weights(theirs.networks[0]))
