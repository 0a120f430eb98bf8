from typing import Any

import pytest

from multiseg_core.reporting.summary import mixed_conditions


def trained(device: str = "cpu", bf16: bool = False, torch: str = "2.13.0+cpu", monai: str = "1.6.1") -> dict[str, Any]:
    return {"bf16": bf16, "provenance": {"device": device, "packages": {"torch": torch, "monai": monai}}}


def test_networks_of_one_kind_need_no_warning() -> None:
    assert mixed_conditions([]) == []
    assert mixed_conditions([trained(torch="2.13.0+cpu"), trained(torch="2.13.0+cu130")]) == []
    assert mixed_conditions([trained(device="NVIDIA A"), trained(device="NVIDIA B")]) == []


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"device": "NVIDIA A"}, "kinds of device: CPU (2 networks), GPU (1 networks)"),
        ({"bf16": True}, "precisions: float32 (2 networks), bf16 (1 networks)"),
        ({"torch": "2.14.0"}, "versions of torch: 2.13.0 (2 networks), 2.14.0 (1 networks)"),
        ({"monai": "1.7"}, "versions of MONAI: 1.6.1 (2 networks), 1.7 (1 networks)"),
    ],
)
def test_a_study_that_mixes_them_says_so(other: dict[str, Any], sentence: str) -> None:
    """Networks of a CPU and a GPU, or of bf16 and float32, were compared without a word."""
    assert mixed_conditions([trained(), trained(), trained(**other)]) == [
        f"the networks were trained with different {sentence}"
    ]
