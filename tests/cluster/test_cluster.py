"""The workflow on one machine, and on a real SLURM that has two nodes: `make test-cluster`."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from multiseg.study import runs
from multiseg.study.evaluation import evaluate_run
from multiseg.study.plan import NetworkPlan
from multiseg.study.study import Study
from tests.conftest import ROOT
from tests.core.test_training import same, weights

SNAKEMAKE = ROOT / ".venv-cluster" / "bin" / "snakemake"
SLURM = ROOT / "tests" / "cluster" / "slurm.sh"
STEPS = 600
SMALL = {
    "steps: 4": f"steps: {STEPS}",
    "validation_every: 2": "validation_every: 20",
    "[cross_entropy, selective_cross_entropy]": "[cross_entropy, selective_cross_entropy, dice]",
    "precision: float32": "precision: float32\nworkers: 1\nnotebooks: []",
}

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not SNAKEMAKE.exists(), reason="needs Snakemake: make cluster-setup"),
]


def start(study: Study, profile: str, *options: str) -> subprocess.Popen[str]:
    """Start the workflow of a study in the folder of its params file, as `make study-cluster` does."""
    multiseg, folder = Path(sys.executable).parent / "multiseg", study.params_file.parent
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    plan = folder / "plan.json"
    listed = [multiseg, "train", study.params_file, "--list", "--json"]
    plan.write_text(subprocess.run(listed, capture_output=True, text=True, check=True, env=environment).stdout)
    profiles = ROOT / "workflow" / "profiles"
    command = [
        SNAKEMAKE, "--snakefile", ROOT / "workflow" / "Snakefile", "--directory", folder,
        "--workflow-profile", profiles / "default", "--profile", profiles / profile, *options,
        "--config", f"plan={plan}", f"multiseg={multiseg}",
    ]  # fmt: skip
    with open(folder / f"{profile}.log", "w") as log:  # the process keeps it open
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, env=environment)


def require_done(process: subprocess.Popen[str], study: Study, profile: str, seconds: float) -> None:
    try:
        assert process.wait(seconds) == 0, (study.params_file.parent / f"{profile}.log").read_text()[-5000:]
    finally:
        process.terminate()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Start SLURM; options that tell Snakemake how this one differs from a cluster's."""
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run(["bash", SLURM, "start", folder], capture_output=True, text=True, check=False)
    if started.returncode == 77:
        pytest.skip("SLURM cannot be started here")
    assert started.returncode == 0, started.stderr
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    yield [
        "--slurm-no-account", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5",
        "--seconds-between-status-checks", "5", "--latency-wait", "20",
        "--default-resources", "slurm_partition=main", "runtime=30", "mem_mb=1000",
    ]  # fmt: skip
    subprocess.run(["bash", SLURM, "stop", folder], check=False)
    del os.environ["SLURM_CONF"]


def queue() -> list[dict[str, str]]:
    """Running jobs: number, what for, state and node."""
    shown = subprocess.run(
        ["squeue", "--noheader", "--format=%i|%k|%T|%N"], capture_output=True, text=True, check=True
    ).stdout
    return [dict(zip(("id", "what", "state", "node"), line.split("|"), strict=True)) for line in shown.splitlines()]


def control(*arguments: str) -> None:
    subprocess.run(["scontrol", "update", *arguments], check=True)


def step_of(network: NetworkPlan) -> int:
    """The step that a network's checkpoint is at."""
    if (network.folder / "network.json").exists():
        return STEPS
    with contextlib.suppress(OSError):
        return int(torch.load(network.folder / "checkpoint.pt", weights_only=True)["step"])
    return STEPS if (network.folder / "network.json").exists() else 0


def copy_of(smoke: Study, folder: Path) -> Study:
    (folder / "params").mkdir()
    return Study(shutil.copy(smoke.params_file, folder / "params"))


def require_equal(ours: Study, theirs: Study) -> None:
    assert (ours.folder / "metrics.csv").read_bytes() == (theirs.folder / "metrics.csv").read_bytes()
    for one, other in zip(ours.networks(), theirs.networks(), strict=True):
        assert one.key == other.key and same(weights(one), weights(other))


def test_snakemake_finds_nothing_to_complain_of(toy_study: Callable[..., Path]) -> None:
    study = Study(toy_study())
    require_done(start(study, "local", "--lint"), study, "local", 120)
    assert "in a good condition" in (study.params_file.parent / "local.log").read_text()


def test_networks_that_others_wait_for_come_first(toy_study: Callable[..., Path]) -> None:
    """Of 508 networks on 64 places, five were left over for a ninth round."""
    study = Study(toy_study({"[cross_entropy, selective_cross_entropy]": "[selective_cross_entropy, pseudo_labels]"}))
    require_done(start(study, "local", "--dry-run"), study, "local", 120)
    jobs = dict(
        re.findall(r"^(network\w*) +(\d+)$", (study.params_file.parent / "local.log").read_text(), re.MULTILINE)
    )
    assert jobs == {"network_before_others": "2", "network": "2"}  # two teachers; their pupil, and another


def test_one_machine_gives_the_numbers_of_make_study(smoke: Study, tmp_path: Path) -> None:
    study = copy_of(smoke, tmp_path)
    require_done(start(study, "local", "--cores", "2", "metrics"), study, "local", 900)
    require_equal(study, smoke)
    # a second call finds all done, and touches nothing
    again = start(study, "local", "--dry-run", "metrics")
    require_done(again, study, "local", 60)
    assert "Nothing to be done" in (study.params_file.parent / "local.log").read_text()


def test_slurm_gives_the_numbers_and_report_of_make_study(smoke: Study, tmp_path: Path, slurm: list[str]) -> None:
    study = copy_of(smoke, tmp_path)
    require_done(start(study, "slurm", *slurm), study, "slurm", 1800)
    require_equal(study, smoke)
    assert "02_anatomy_wmh.html" in (study.folder / "index.html").read_text()


def test_killed_jobs_go_on_from_their_checkpoints(
    toy_study: Callable[..., Path], tmp_path: Path, slurm: list[str]
) -> None:
    """One job is cancelled, the node of one goes down, and one reaches its time limit."""
    whole = Study(toy_study({**SMALL, "precision: float32": f"{SMALL['precision: float32']}\nreports_dir: whole"}))
    for network in whole.networks():
        runs.train_network(network, whole.store, whole.params)
    for run in whole.runs:
        evaluate_run(run, whole.store, whole.params)
    runs.write_metrics(whole)

    study = Study(toy_study({**SMALL, "precision: float32": f"{SMALL['precision: float32']}\nreports_dir: killed"}))
    # one job at a time, so that only those that are meant are killed
    process = start(study, "slurm", *slurm, "--jobs", "1", "metrics")
    networks = dict(zip(("CANCELLED", "NODE_FAIL", "TIMEOUT"), study.networks(), strict=True))
    killed: dict[str, tuple[int, str]] = {}  # step of the checkpoint, and job
    lowest = dict.fromkeys(networks, 10**9)
    try:
        kill_each(process, networks, killed, lowest)
        require_done(process, study, "slurm", 1)
    finally:
        process.terminate()
    command = ["squeue", "--noheader", "--states=all", "--format=%i %T"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    states = dict(line.split() for line in shown.splitlines())
    print({fate: [f"killed at step {step}", f"then {lowest[fate]}"] for fate, (step, _) in killed.items()})
    assert {fate: states[job] for fate, (_, job) in killed.items()} == {fate: fate for fate in networks}
    assert all(lowest[fate] >= step for fate, (step, _) in killed.items())  # nothing begins again
    require_equal(study, whole)


def kill_each(
    process: subprocess.Popen[str],
    networks: dict[str, NetworkPlan],
    killed: dict[str, tuple[int, str]],
    lowest: dict[str, int],
) -> None:
    """Kill the job of each network once it has a checkpoint, and see that its checkpoint never goes back."""
    deadline = time.monotonic() + 2400
    while process.poll() is None and time.monotonic() < deadline:
        for fate, network in networks.items():
            step = step_of(network)
            if fate in killed:
                lowest[fate] = min(lowest[fate], step)
            elif 0 < step < STEPS:
                for job in queue():
                    if network.key in job["what"] and job["state"] == "RUNNING":
                        killed[fate] = step, job["id"]
                        kill(job, fate, network)
        time.sleep(0.3)


def kill(job: dict[str, str], fate: str, network: NetworkPlan) -> None:
    """Let a running job of SLURM come to an end of some kind."""
    if fate == "CANCELLED":
        subprocess.run(["scancel", job["id"]], check=True)
    elif fate == "NODE_FAIL":
        control(f"NodeName={job['node']}", "State=DOWN", "Reason=test")  # it comes back by itself (ReturnToService)
    else:
        # a minute is the shortest limit; the job would be done by then, so its program is halted
        subprocess.run(["pkill", "-STOP", "-f", f"multiseg train .* --network {network.key}"], check=True)
        control(f"JobId={job['id']}", "TimeLimit=1")
