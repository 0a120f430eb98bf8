"""Nothing is lost: studies that are killed, run out of disk or share a folder end with the numbers of others."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.campaign

KILLS = int(os.environ.get("CAMPAIGN_KILLS", "100"))
SETTINGS = {"steps: 4": "steps: 60", "validation_every: 2": "validation_every: 6"}


def start(file: Path, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "multiseg.commands.cli", "study", str(file)]
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore Ctrl-C
        **options,
    )  # fmt: skip


def results(file: Path) -> dict[str, object]:
    """The numbers of a finished study: its metrics, and the weights of every run."""
    folder = file.parent / "reports" / "toy"
    found: dict[str, object] = {"metrics": (folder / "metrics.csv").read_text()}
    for path in sorted(folder.glob("runs/*/model.pt")):
        members = torch.load(path, weights_only=True)["members"]
        found[path.parent.name] = [{k: v.numpy().tobytes() for k, v in m["weights"].items()} for m in members]
    assert (folder / "index.html").exists()
    return found


def descendants(pid: int) -> list[tuple[int, str]]:
    """Processes below one, with their command lines."""
    children: dict[int, list[int]] = {}
    names = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            names[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    found, todo = [], [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append((child, names[child]))
            todo.append(child)
    return found


def copy_of(file: Path, folder: Path) -> Path:
    """The study at another place, without its products; keys do not know where data lie."""
    shutil.copytree(file.parent / "data", folder / "data")
    shutil.copy(file, folder)
    return folder / file.name


@pytest.fixture
def undisturbed(toy_study: Callable[..., Path]) -> tuple[Path, dict[str, object]]:
    file = toy_study(SETTINGS)
    process = start(file)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out + err
    return file, results(file)


def test_kills_at_random_moments(undisturbed: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    """SIGKILL of the study, of a worker or of a kernel; SIGTERM; Ctrl-C."""
    original, expected = undisturbed
    rng = random.Random(0)
    count: dict[str, int] = {}
    kills = studies = 0
    while kills < KILLS:
        studies += 1
        folder = tmp_path / f"study{studies}"
        file = copy_of(original, folder)
        for _ in range(200):
            process = start(file)
            try:
                process.communicate(timeout=rng.uniform(0.5, 25))
            except subprocess.TimeoutExpired:
                kind = rng.choice(["study", "worker", "kernel", "TERM", "INT"])
                below = descendants(process.pid)
                workers = [pid for pid, name in below if "multiprocessing.spawn" in name]
                kernels = [pid for pid, name in below if "ipykernel" in name]
                if kind == "worker" and workers:
                    os.kill(rng.choice(workers), signal.SIGKILL)
                elif kind == "kernel" and kernels:
                    os.kill(kernels[0], signal.SIGKILL)
                elif kind in ("TERM", "INT"):
                    os.kill(process.pid, getattr(signal, f"SIG{kind}"))
                else:
                    kind = "study"
                    process.kill()
                _, err = process.communicate(timeout=120)
                assert "Traceback" not in err or kind in ("study", "TERM"), err
                kills += 1
                count[kind] = count.get(kind, 0) + 1
                if kills >= KILLS:
                    rng = random.Random(1)  # and now let it end
                continue
            if process.returncode == 0:
                break
        if kills >= KILLS:
            process = start(file)
            _, err = process.communicate(timeout=600)
            assert process.returncode == 0, err
        assert results(file) == expected
        shutil.rmtree(folder)
    print(f"{kills} kills in {studies} studies: {count}")


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield lambda more: subprocess.run(["mount", "-o", f"remount,size={more}", folder], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def test_a_full_disk_in_every_stage(undisturbed: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    """The disk grows by little: each time the study gets a little further, says so in one line, and goes on."""
    original, expected = undisturbed
    told = []
    with small_disk(tmp_path / "disk", "400k") as resize:
        file = copy_of(original, tmp_path / "disk" / "project")
        for kilobytes in range(500, 12000, 150):
            process = start(file)
            _, err = process.communicate(timeout=600)
            if process.returncode == 0:
                break
            lines = [line for line in err.splitlines() if line.startswith("multiseg: error")]
            assert process.returncode == 1 and "Traceback" not in err, err
            assert any("No space left" in line for line in lines), err
            told.append(lines[-1])
            resize(f"{kilobytes}k")
        assert process.returncode == 0, err
        assert results(file) == expected
    print(f"{len(told)} times full:", *sorted(set(told)), sep="\n")


def test_a_project_that_cannot_be_written_to(undisturbed: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    """Reports go elsewhere."""
    original, expected = undisturbed
    folder = tmp_path / "readonly"
    file = copy_of(original, folder)
    elsewhere = tmp_path / "elsewhere"
    file.write_text(file.read_text() + f"reports_dir: {elsewhere}\n")
    made = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        process = start(file)
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
    finally:
        subprocess.run(["umount", "-l", folder], check=False)
    assert (elsewhere / "toy" / "metrics.csv").read_text() == expected["metrics"]
    assert {path.name for path in folder.iterdir()} == {"data", "toy.yaml"}


def test_three_studies_in_one_folder_at_once(undisturbed: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    original, expected = undisturbed
    file = copy_of(original, tmp_path / "shared")
    processes = []
    for _ in range(3):
        processes.append(start(file))
        time.sleep(1.5)
    ends = [process.communicate(timeout=900) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ends
    assert results(file) == expected
