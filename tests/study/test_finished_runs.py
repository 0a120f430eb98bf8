from pathlib import Path

import pytest

from multiseg.study import finished_runs


def test_a_table_is_read_again_when_it_changes_and_never_changed_by_its_readers(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("case,dice\n007,0.5\nNA,0.25\n")
    first = finished_runs.read_metrics(path)
    assert list(first["case"]) == ["007", "NA"]
    first["dice"] = 0.0
    assert list(finished_runs.read_metrics(path)["dice"]) == [0.5, 0.25]
    path.write_text("case,dice\n007,0.75\n")
    assert list(finished_runs.read_metrics(path)["dice"]) == [0.75]
    path.unlink()
    with pytest.raises(FileNotFoundError):
        finished_runs.read_metrics(path)
