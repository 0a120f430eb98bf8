from pathlib import Path

import pytest
import torch

from multiseg_core.resident_sampler import ResidentSampler
from multiseg_core.samplers import PatchSampler, SamplingCohort
from tests.core.test_samplers import make_cohorts

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.fixture
def cohorts(tmp_path: Path) -> list[SamplingCohort]:
    return make_cohorts(tmp_path)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("patch_size", [(6, 5, 4), (32, 8, 17)])  # inside the volume, and larger than it
@pytest.mark.parametrize("noise_sd", [0, 0.2])
def test_batches_made_on_the_device_are_the_same(
    cohorts: list[SamplingCohort], device: str, patch_size: tuple[int, ...], noise_sd: float
) -> None:
    plain = PatchSampler(cohorts, patch_size, 12, seed=4, noise_sd=noise_sd)
    resident = ResidentSampler(cohorts, patch_size, 12, seed=4, noise_sd=noise_sd, device=torch.device(device))
    assert {draw.flip for draw in plain.draw(3)} == {True, False}
    for a, b in zip(plain.batch(3), resident.batch(3), strict=True):
        assert a.dtype == b.dtype and b.device.type == device and torch.equal(a, b.cpu())
    n_voxels = 18 * 20 * 16
    assert ResidentSampler.bytes_needed(cohorts) == 5 * n_voxels * (2 * 4 + 1)


def test_uniform_batches_made_on_the_device_are_the_same(cohorts: list[SamplingCohort]) -> None:
    plain = PatchSampler(cohorts, (6, 5, 4), 12, seed=4, uniform=True)
    resident = ResidentSampler(cohorts, (6, 5, 4), 12, seed=4, uniform=True, device=torch.device("cpu"))
    for a, b in zip(plain.batch(3), resident.batch(3), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(plain.batch(3)[0], PatchSampler(cohorts, (6, 5, 4), 12, seed=4).batch(3)[0])
