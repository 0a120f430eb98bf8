import re
import shutil
from pathlib import Path

import pytest

from multiseg.report import progress
from multiseg.study import costs, runs
from multiseg.study.study import Study
from tests.conftest import ROOT


@pytest.fixture
def fresh(tmp_path: Path) -> Study:
    """The smoke study, of which nothing is made."""
    (tmp_path / "params").mkdir()
    return Study(shutil.copy(ROOT / "params" / "smoke.yaml", tmp_path / "params" / "smoke.yaml"))


def rows(page: str) -> dict[str, list[int]]:
    found = re.findall(r'<th scope="row" class="t">(.*?)</th><td>(\d+)</td><td>(\d+)</td><td>(\d+)</td>', page)
    return {what: [int(n) for n in numbers] for what, *numbers in found}


def test_the_index_is_there_before_anything_is_made(fresh: Study) -> None:
    said: list[str] = []
    with progress.followed(fresh, ["04_statistical_comparison"], said.append):
        page = (fresh.folder / "index.html").read_text(encoding="utf-8")
    n = len(fresh.networks())
    assert rows(page)["networks trained"] == [0, n, n] and rows(page)["pages written"] == [0, 1, 1]
    assert f"At its start: {n} networks to train: about 1 min on this machine" in page
    assert said[0].startswith(f"{n} networks to train: about 1 min") and said[0].endswith("index.html")
    assert "make study PARAMS=params/smoke.yaml" in page and "Mean Dice so far" not in page


def test_what_is_done_counts(smoke: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    index = smoke.folder / "index.html"
    before = index.read_bytes() if index.exists() else None
    progress.write_progress(smoke, [])
    page = index.read_text(encoding="utf-8")
    index.write_bytes(before) if before is not None else index.unlink()
    n = len(smoke.networks())
    assert rows(page)["networks trained"] == [n, n, 0] and "Mean Dice so far" in page
    said: list[str] = []
    with progress.followed(smoke, [], said.append):  # all is trained: nothing to follow
        assert said == [] and (not index.exists() or index.read_bytes() == before)


def test_the_estimate_counts_what_is_left(fresh: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "seconds_per_step", lambda network, compute: 0.5)
    left = costs.time_left(fresh.networks(), fresh.params)
    n = len(fresh.networks())
    assert left == (n, 6 * n, 2.0) and left.minutes == pytest.approx(6 * n / 2 / 60)
    assert str(costs.TimeLeft(3, 7200, 1.0)).startswith("3 networks to train: about 2.0 hours on this machine (7200")
    runs.prepare(fresh, fresh.needed_cases())
    told: list[str] = []
    runs.train_network(fresh.networks()[0], fresh.store, fresh.params, lambda fraction, text: told.append(text))
    assert told[1] == "step 1/6" and re.fullmatch(r"step 6/6, [\d.]+/s", told[-1])
    assert costs.time_left(fresh.networks(), fresh.params) == (n - 1, 6 * (n - 1), 2.0)
    assert costs.time_left([], fresh.params) is None
