"""Auto3DSeg on a toy study: its data list and its analyser."""

from collections.abc import Callable
from pathlib import Path

import pytest

from multiseg.study.study import Study
from multiseg.thesis import auto3dseg


def test_data_list_and_analyser(toy_study: Callable[..., Path], tmp_path: Path) -> None:
    study = Study(
        toy_study({"train: [anatomy, lesion]": "train: [anatomy]", "modalities: [T1, FLAIR]": "modalities: [T1]"})
    )
    listed = auto3dseg.data_list(study.scenario("both"))
    names = {key: [(Path(e["image"]).name, e.get("fold")) for e in part] for key, part in listed.items()}
    assert names["training"] == [("anatomy2_T1.nii.gz", 0), ("anatomy0_T1.nii.gz", 1), ("anatomy1_T1.nii.gz", 1)]
    assert names["testing"] == [("anatomy3_T1.nii.gz", None)]
    table = auto3dseg.analyse(listed, tmp_path / "out")
    assert list(table.index) == [0, 1, 2, 3] and table["share"].sum() == pytest.approx(100)
    assert table.loc[2, "mean"] == pytest.approx(140, abs=1)  # 100 + 20 * code
    assert (tmp_path / "out" / "datastats.yaml").exists()
