"""Work spread over processes, with progress that a person can follow in a terminal or a log file."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, TextIO

from tqdm import tqdm

from multiseg_core.errors import UserError

from .errors import is_full_disk

Report = Callable[[float, str], None]
"""Called by a job as report(fraction done, short text)."""


def no_report(fraction: float, text: str) -> None:
    """Report to nobody."""


_channel: Any = None
"""In a worker: the queue to the parent."""


@dataclass(frozen=True)
class Job:
    """One piece of work: a module-level function ``function(*arguments, report)``, and its name for people."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class _Lines(io.TextIOBase):
    """Turns the carriage returns of a progress bar into lines, for output that is not a terminal."""

    def __init__(self, target: TextIO) -> None:
        self.target = target

    def write(self, text: str) -> int:
        if line := text.replace("\r", "").strip():
            self.target.write(line + "\n")
        return len(text)

    def flush(self) -> None:
        self.target.flush()


def progress_bar(title: str, total: float) -> tqdm:
    """Return a plain-text bar on stderr; in a log file it prints a line now and then."""
    terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=title,
        ascii=True,
        file=sys.stderr if terminal else _Lines(sys.stderr),
        mininterval=0.5 if terminal else 15,
        maxinterval=1 if terminal else 30,
        bar_format="{desc}: {percentage:3.0f}% |{bar:20}| {elapsed}, {remaining} left{postfix}",
        dynamic_ncols=terminal,
    )


def allow_open_files() -> int:
    """Let this process open as many files as the system allows it to; return how many that are."""
    try:
        import resource  # not on Windows
    except ImportError:
        return 2**16
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2**16 if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS says without end, and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return 2**16 if soft == resource.RLIM_INFINITY else soft


def _start_worker(channel: Any, parent: int, turn: Any, gpus: Sequence[str]) -> None:
    """Set up a worker: remember the queue, take a GPU, and die with the parent rather than work on for nobody."""
    global _channel
    _channel = channel
    if gpus:  # before torch looks for them
        with turn.get_lock():
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus[turn.value % len(gpus)]
            turn.value += 1
    allow_open_files()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C and ends the workers

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run_job(index: int, job: Job) -> Any:
    last = 0.0

    def report(fraction: float, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= 0.3 or fraction >= 1:
            last = now
            _channel.put((index, fraction, text))

    return job.function(*job.arguments, report)


class _Progress:
    """What jobs report, on a bar."""

    def __init__(self, jobs: Sequence[Job], title: str, channel: Any) -> None:
        self.jobs, self.channel = jobs, channel
        self.fractions, self.texts = [0.0] * len(jobs), [""] * len(jobs)
        self.bar = progress_bar(title, len(jobs))

    def running(self) -> list[tuple[str, str]]:
        """Return name and text of all jobs that have begun and not ended."""
        each = zip(self.jobs, self.fractions, self.texts, strict=True)
        return [(job.name, text) for job, fraction, text in each if text and fraction < 1]

    def show(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                index, self.fractions[index], self.texts[index] = self.channel.get_nowait()
        done = sum(fraction >= 1 for fraction in self.fractions)
        names = "; ".join(f"{name} {text}".strip() for name, text in self.running())
        self.bar.set_postfix_str(f"{done}/{len(self.jobs)} done; {names}", refresh=False)
        self.bar.update(sum(self.fractions) - self.bar.n)


def run_jobs(
    jobs: Sequence[Job], title: str, n_workers: int, gpus: Sequence[str] = (), keep_going: bool = False
) -> list[Any]:
    """Run jobs in worker processes and return their results in order; `title` heads the progress bar.

    Jobs must leave finished work on disk, because the first failure ends the call. With `keep_going` the error of a job
    stands in place of its result; a full disk and a worker that was killed end the call all the same. Processes see one
    GPU each, in turn, see `cores.visible_gpus`. Raises `UserError` as raised by a job, or naming the jobs that were
    running when a worker process was killed.
    """
    if not jobs:
        return []
    context = multiprocessing.get_context("spawn")
    channel = context.Queue()
    setup = (channel, os.getpid(), context.Value("i", 0), tuple(gpus))
    pool = ProcessPoolExecutor(min(n_workers, len(jobs)), context, _start_worker, setup)
    progress = _Progress(jobs, title, channel)
    try:
        futures = [pool.submit(_run_job, index, job) for index, job in enumerate(jobs)]
        waiting = set(futures)
        while waiting:
            finished, waiting = concurrent.futures.wait(waiting, 0.3, concurrent.futures.FIRST_COMPLETED)
            progress.show()
            for future in finished:
                error = future.exception()
                if error is not None and not (keep_going and _is_its_own(error)):
                    raise error
                progress.fractions[futures.index(future)] = 1.0
            progress.show()
        progress.bar.refresh()
        return [future.exception() or future.result() for future in futures]
    except BrokenProcessPool:
        names = ", ".join(name for name, _ in progress.running())
        raise UserError(
            f"a worker process was killed while working on {names or 'its first job'}; "
            "run the command again: finished work is kept"
        ) from None
    finally:
        progress.bar.close()
        _stop(pool)


def _is_its_own(error: BaseException) -> bool:
    """Whether an error concerns the job alone that it ended."""
    known = isinstance(error, UserError | RuntimeError) and not isinstance(error, BrokenProcessPool)
    return known and not is_full_disk(error)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers now; what they have written is whole."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(5)
