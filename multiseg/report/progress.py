"""The index of a report while its study runs: what is done, what is to come, and what is known so far."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from multiseg_core.errors import UserError
from multiseg_core.training import is_trained

from ..base.files import write_text
from ..study import finished_runs
from ..study.costs import time_left
from ..study.study import Study
from . import notebook_setup, summary
from .table_files import html_table, render, rounded

SECONDS = 20
"""Between two versions of the page; browsers load it anew as often."""


def write_progress(study: Study, outputs: Sequence[str], note: str = "") -> None:
    """Write ``index.html`` as it is while the study runs. Everything is read from what lies on the disk.

    `outputs` are the names of its pages; `note` is what the command says of the time that is left.
    """
    notebook_setup.use_study_style(study)
    cases = study.needed_cases()
    networks, runs = study.networks(), study.runs
    done = {
        "cases prepared": (sum(study.store.path(c, study.cohorts[c.cohort]).exists() for c in cases), len(cases)),
        "networks trained": (sum(is_trained(n.folder) for n in networks), len(networks)),
        "runs evaluated": (sum(finished_runs.is_finished(r) for r in runs), len(runs)),
        "pages written": (sum((study.folder / f"{o}.html").exists() for o in outputs), len(outputs)),
    }
    table = pd.DataFrame([(n, total, total - n) for n, total in done.values()], list(done), ["done", "of", "to come"])
    results = ""
    with contextlib.suppress(UserError):  # no run is finished yet
        results = html_table(rounded(summary.results_table(study)), fold=False)
    page = render(
        "progress.html.j2",
        title=study.params.title or f"multiseg: {study.name}",
        seconds=SECONDS,
        note=note,
        at=time.strftime("%Y-%m-%d %H:%M:%S"),
        table=html_table(rounded(table.rename_axis("what")), fold=False),
        results=results,
        pages=[o for o in outputs if (study.folder / f"{o}.html").exists()],
        params_name=study.params_file.name,
    )
    write_text(study.folder / "index.html", page)


@contextlib.contextmanager
def followed(study: Study, outputs: Sequence[str], say: Callable[[str], None]) -> Iterator[None]:
    """Say how long a study will take, and keep its page up to date while the body runs; at its end too.

    Nothing is said or written where nothing is left to train.
    """
    left = time_left(study.networks(), study.params)
    if left is None:
        yield
        return
    note = str(left)
    say(f"{note}\nwhat is done so far: {os.path.relpath(study.folder / 'index.html')}")
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(SECONDS):
            with contextlib.suppress(OSError, ValueError):  # a file that is just being written; the next one will do
                write_progress(study, outputs, note)

    write_progress(study, outputs, note)
    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        write_progress(study, outputs)
