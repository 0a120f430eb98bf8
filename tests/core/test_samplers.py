from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from multiseg.data.cohorts import Cohort
from multiseg.data.loading import Case
from multiseg.data.store import Store, StoredCase
from multiseg.settings.preprocessing import PreprocessingParams
from multiseg_core.errors import UserError
from multiseg_core.labels import CodeMap
from multiseg_core.samplers import PatchDraw, PatchSampler, SamplingCohort, _Brain
from tests.conftest import toy_case

SHAPE = (18, 20, 16)
LABELS = ("gm", "wm", "wmh")


def stored(folder: Path, cohort: str, codes: dict, volumes: list[np.ndarray]) -> list[StoredCase]:
    code_map = CodeMap.build(LABELS, codes)
    store = Store(folder / "store", PreprocessingParams(spacing_mm=1))
    result = []
    for i, volume in enumerate(volumes):
        files = toy_case(folder, f"{cohort}{i}", volume, seed=i)
        case = Case(cohort, f"{cohort}{i}", {m: files[m] for m in ("T1", "FLAIR")}, files["labels"])
        result.append(StoredCase.open(store.build(case, Cohort(cohort, (case,), ("T1", "FLAIR"), code_map))))
    return result


@pytest.fixture
def cohorts(tmp_path: Path) -> list[SamplingCohort]:
    return make_cohorts(tmp_path)


def make_cohorts(tmp_path: Path) -> list[SamplingCohort]:
    halves = np.ones(SHAPE, int)
    halves[9:] = 2
    small = np.zeros(SHAPE, int)
    small[8:10, 9:11, 7:9] = 1
    anatomy = stored(tmp_path, "anatomy", {1: "gm", 2: "wm"}, [halves, np.ones(SHAPE, int)])
    lesion = stored(tmp_path, "lesion", {1: "wmh"}, [small, np.zeros(SHAPE, int), small])
    # rows: 0 background, 1 gm, 2 wm, 3 wmh, 4 background of the lesion cohort, 5 of the anatomy cohort
    return [
        SamplingCohort(anatomy, np.array([5, 1, 2], np.uint8), ("T1", "FLAIR")),
        SamplingCohort(lesion, np.array([4, 3], np.uint8), ("FLAIR", "T1")),
    ]


def test_chosen_voxel_has_the_label_and_lies_in_the_patch(cohorts: list[SamplingCohort]) -> None:
    sampler = PatchSampler(cohorts, (6, 5, 4), 40, seed=3, flip=False, noise_sd=0)
    for draw in sampler.draw(0):
        case = cohorts[draw.cohort].cases[draw.case]
        assert case.target[draw.voxel] == draw.label
        assert all(c <= v < c + p for c, v, p in zip(draw.corner, draw.voxel, (6, 5, 4), strict=True))
        assert all(0 <= c <= n - p for c, n, p in zip(draw.corner, case.shape, (6, 5, 4), strict=True))


def test_patch_is_the_volume_at_its_corner(cohorts: list[SamplingCohort]) -> None:
    sampler = PatchSampler(cohorts, (6, 5, 4), 20, seed=0, flip=True, noise_sd=0)
    draws = sampler.draw(1)
    assert {draw.flip for draw in draws} == {True, False}
    for draw in draws:
        cohort = cohorts[draw.cohort]
        case = cohort.cases[draw.case]
        at = tuple(slice(c, c + p) for c, p in zip(draw.corner, (6, 5, 4), strict=True))
        image = np.stack([case.images[c][at] for c in case.channels(tuple(cohort.modalities))])
        target = cohort.lookup[case.target[at]]
        if draw.flip:
            image, target = image[:, ::-1], target[::-1]
        made_image, made_target = sampler.patch(draw)
        assert np.array_equal(made_image, image) and np.array_equal(made_target, target)


def test_distribution_of_the_five_steps(cohorts: list[SamplingCohort]) -> None:
    sampler = PatchSampler(cohorts, (4, 4, 4), 4000, seed=7)
    draws = sampler.draw(0)

    def uniform(observed: list[int]) -> None:
        assert stats.chisquare(observed).pvalue > 1e-3

    # 1 cohorts, 2 cases (the lesion case without lesion is never drawn)
    uniform([sum(d.cohort == k for d in draws) for k in (0, 1)])
    uniform([sum(d.cohort == 0 and d.case == i for d in draws) for i in (0, 1)])
    uniform([sum(d.cohort == 1 and d.case == i for d in draws) for i in (0, 2)])
    assert not any(d.cohort == 1 and d.case == 1 for d in draws)
    # 3 labels present in the case, whatever their size
    uniform([sum(d.cohort == 0 and d.case == 0 and d.label == s for d in draws) for s in (1, 2)])
    # 4 voxels of the label
    lesion = [d for d in draws if d.cohort == 1 and d.case == 0]
    voxels = sorted({d.voxel for d in lesion})
    assert len(voxels) == 8
    uniform([sum(d.voxel == v for d in lesion) for v in voxels])
    # 5 the place of the voxel in the patch, away from the border of the volume
    uniform(np.bincount([d.voxel[1] - d.corner[1] for d in lesion], minlength=4).tolist())
    uniform([sum(d.flip for d in draws), sum(not d.flip for d in draws)])


def test_cohorts_and_labels_are_drawn_by_their_weights(cohorts: list[SamplingCohort]) -> None:
    weighted = [replace(cohorts[0], weight=3, label_weights={1: 0.5}), cohorts[1]]
    draws = PatchSampler(weighted, (4, 4, 4), 4000, seed=7).draw(0)
    counts = [sum(d.cohort == k for d in draws) for k in (0, 1)]
    assert stats.chisquare(counts, [3000, 1000]).pvalue > 1e-3
    both = [d.label for d in draws if d.cohort == 0 and d.case == 0]
    assert stats.chisquare(np.bincount(both)[1:], [len(both) / 3, 2 * len(both) / 3]).pvalue > 1e-3
    # equal weights of any size are no weights
    equal = [replace(cohort, weight=2.5) for cohort in cohorts]
    assert PatchSampler(equal, (4, 4, 4), 50, seed=7).draw(3) == PatchSampler(cohorts, (4, 4, 4), 50, seed=7).draw(3)


def test_a_batch_tells_tasks_and_backgrounds(cohorts: list[SamplingCohort]) -> None:
    told = [replace(cohorts[0], task=1, mirrored=np.array([4, 2, 1], np.uint8)), replace(cohorts[1], task=0)]
    sampler = PatchSampler(told, (4, 4, 4), 40, seed=1)
    batch, draws = sampler.batch(0), sampler.draw(0)
    assert batch.task.tolist() == [1 - d.cohort for d in draws]
    assert batch.background.tolist() == [4 if d.cohort or d.flip else 5 for d in draws]


def test_batches_are_a_function_of_seed_and_step(cohorts: list[SamplingCohort]) -> None:
    a, b = (PatchSampler(cohorts, (4, 4, 4), 5, seed=1) for _ in range(2))
    a.batch(0)
    images, target, *_ = a.batch(1)  # the second batch of one sampler, the first of the other
    again, target_again, *_ = b.batch(1)
    assert np.array_equal(images, again) and np.array_equal(target, target_again)
    assert images.shape == (5, 2, 4, 4, 4) and target.shape == (5, 4, 4, 4)
    other = PatchSampler(cohorts, (4, 4, 4), 5, seed=2).batch(1).images
    assert not np.array_equal(images, other)


def test_noise_has_the_stated_size_and_never_reaches_the_store(cohorts: list[SamplingCohort]) -> None:
    before = [np.array(case.images) for c in cohorts for case in c.cases]
    clean = PatchSampler(cohorts, (8, 8, 8), 30, seed=5, noise_sd=0)
    noisy = PatchSampler(cohorts, (8, 8, 8), 30, seed=5, noise_sd=0.2)
    for step in range(3):
        noisy.batch(step)
    residual = np.stack([noisy.patch(draw)[0] - clean.patch(draw)[0] for draw in noisy.draw(0)])
    assert residual.std() == pytest.approx(0.2, rel=0.02) and abs(residual.mean()) < 0.005
    # no two patches, channels or halves of a patch share their noise
    parts = residual.reshape(30 * 2 * 2, -1)
    assert np.abs(np.corrcoef(parts) - np.eye(120)).max() < 0.3
    for kept, case in zip(before, (case for c in cohorts for case in c.cases), strict=True):
        assert np.array_equal(kept, case.images)
        with pytest.raises(ValueError, match="read-only"):
            case.images[0, 0, 0, 0] = 1


def test_a_patch_larger_than_the_pool_of_noise(cohorts: list[SamplingCohort], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiseg_core.samplers.NOISE_POOL", 10)
    sampler = PatchSampler(cohorts, (8, 8, 8), 3, seed=5, noise_sd=0.2)
    assert len({draw.noise_start for draw in sampler.draw(0)}) == 3
    assert sampler.batch(0)[0].shape == (3, 2, 8, 8, 8)


@pytest.mark.parametrize("size", [SHAPE[0] + 1, 32])
def test_volume_smaller_than_the_patch_is_filled_up(cohorts: list[SamplingCohort], size: int) -> None:
    sampler = PatchSampler(cohorts, (size, 8, 8), 8, seed=0, flip=False, noise_sd=0)
    for draw in sampler.draw(0):
        case = cohorts[draw.cohort].cases[draw.case]
        image, target = sampler.patch(draw)
        n = case.shape[0]
        first = (size - n) // 2
        assert draw.corner[0] == -first
        assert (image[:, :first] == -4).all() and (image[:, first + n :] == -4).all()
        assert (target[:first] == cohorts[draw.cohort].lookup[0]).all()


def test_uniform_sampling_takes_every_brain_voxel_alike(cohorts: list[SamplingCohort]) -> None:
    sampler = PatchSampler(cohorts, (4, 4, 4), 6000, seed=7, uniform=True)
    draws = sampler.draw(0)
    # also the lesion case without a lesion
    assert stats.chisquare([sum(d.cohort == 1 and d.case == i for d in draws) for i in range(3)]).pvalue > 1e-3
    for d in draws:
        case = cohorts[d.cohort].cases[d.case]
        assert case.mask[d.voxel] and case.target[d.voxel] == d.label
        assert all(c <= v < c + 4 for c, v in zip(d.corner, d.voxel, strict=True))
    # eight octants of the brain of one case, by the voxels that each of them holds
    mask = cohorts[0].cases[0].mask
    voxels = np.array([d.voxel for d in draws if d.cohort == 0 and d.case == 0])
    expected = np.bincount((np.argwhere(mask) >= np.array(mask.shape) // 2) @ [1, 2, 4], minlength=8)
    observed = np.bincount((voxels >= np.array(mask.shape) // 2) @ [1, 2, 4], minlength=8)
    assert stats.chisquare(observed, expected * len(voxels) / mask.sum()).pvalue > 1e-3
    # the other steps take the same random numbers as ever
    usual = PatchSampler(cohorts[:1], (4, 4, 4), 50, seed=7).draw(0)
    uniform = PatchSampler(cohorts[:1], (4, 4, 4), 50, seed=7, uniform=True).draw(0)
    for a, b in zip(usual, uniform, strict=True):
        assert (a.case, a.flip, a.noise_start) == (b.case, b.flip, b.noise_start)


def test_uniform_sampling_by_hand() -> None:
    mask = np.zeros((2, 2, 3), bool)
    mask[0, 1, 2] = mask[1, 1, 0] = mask[1, 1, 2] = True  # flat 5, 9 and 11
    brain = _Brain(mask)
    assert [brain.voxel(number) for number in (0, 0.33, 0.34, 0.66, 0.67, 0.999)] == [5, 5, 9, 9, 11, 11]


def test_draws_stay_what_they_are(cohorts: list[SamplingCohort]) -> None:
    draw = PatchSampler(cohorts, (4, 4, 4), 1, seed=1).draw(0)[0]
    assert draw == PatchDraw(1, 2, 1, (9, 10, 8), (7, 8, 8), True, 2305093)


def test_cohort_without_any_label_is_an_error(cohorts: list[SamplingCohort]) -> None:
    empty = SamplingCohort([cohorts[1].cases[1]], cohorts[1].lookup, ("T1", "FLAIR"))
    with pytest.raises(UserError, match="cohort lesion: none of 1 cases carries a label to sample"):
        PatchSampler([cohorts[0], empty], (4, 4, 4), 2, seed=0)
