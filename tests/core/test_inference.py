from pathlib import Path

import numpy as np
import pytest
import torch

from multiseg.settings.preprocessing import PreprocessingParams
from multiseg.study import finished_runs
from multiseg.study.study import Study
from multiseg_core.compute import Compute
from multiseg_core.errors import UserError
from multiseg_core.grids import Grid
from multiseg_core.inference import Member, Segmenter, combined, uncertainty_on_grid
from multiseg_core.networks import UNet, build_network
from multiseg_core.tiling import Filling

CPU = Compute(torch.device("cpu"), False)
OUTSIDE = PreprocessingParams().model_dump()


def member(labels: tuple[str, ...]) -> Member:
    return Member(UNet(1, 1 + len(labels), base_filters=2, levels=2), {}, labels, ("T1",))


def test_merge_paints_later_networks_over_earlier_ones() -> None:
    model = Segmenter([member(("gm", "wm")), member(("wmh",))], ("gm", "wm", "wmh"), OUTSIDE)
    anatomy = np.array([[[0, 1, 2, 2]]], np.uint8)
    lesion = np.array([[[0, 0, 1, 0]]], np.uint8)
    assert model.merged([anatomy, lesion]).tolist() == [[[0, 1, 3, 2]]]


def test_each_network_gets_its_own_channels() -> None:
    """Networks that answer with the sign of their first channel, whatever the order of the volume's channels."""

    class Sign(torch.nn.Module):
        size_divisor = 1

        def forward(self, images: torch.Tensor) -> torch.Tensor:  # (N, M, X, Y, Z) -> (N, 2, X, Y, Z)
            x = images[:, 0]
            return torch.stack([-x, x], dim=1)

    members = [Member(Sign(), {}, ("gm",), ("T1",)), Member(Sign(), {}, ("wmh",), ("FLAIR", "T1"))]
    model = Segmenter(members, ("gm", "wmh"), OUTSIDE)
    assert model.modalities == ("T1", "FLAIR")
    t1 = np.array([1, 1, -1, -1], np.float32).reshape(4, 1, 1)
    flair = np.array([1, -1, 1, -1], np.float32).reshape(4, 1, 1)
    assert model.segment(np.stack([t1, flair]), ("T1", "FLAIR"), CPU).ravel().tolist() == [2, 1, 2, 0]
    images = np.stack([flair, t1 * 0, t1])
    assert model.segment(images, ("FLAIR", "T2", "T1"), CPU).ravel().tolist() == [2, 1, 2, 0]
    assert model.seeing(("T1", "T2")).segment(t1[None], ("T1",), CPU).ravel().tolist() == [1, 1, 0, 0]


def test_a_model_file_gives_the_same_segmentation(smoke: Study, tmp_path: Path) -> None:
    run = smoke.find_run("anatomy_wmh/multi_unet/0")
    case = smoke.scenario("anatomy_wmh").test_cases[0]
    stored = smoke.store.open(case, smoke.cohorts[case.cohort])
    loaded = Segmenter.load(run.folder / "model.pt")
    assert loaded.labels == ("csf", "gm", "wm", "wmh") and loaded.modalities == ("T1", "FLAIR")
    again = loaded.segment(np.asarray(stored.images), stored.modalities, CPU)
    assert np.array_equal(again, finished_runs.prediction(run, case))


def test_preprocessing_is_part_of_a_model_file(tmp_path: Path) -> None:
    spec = {"name": "unet", "base_filters": 2, "levels": 2}
    network = build_network(spec, 1, 2)
    chosen = {"label_interpolation": "nearest", "brain_extraction": "none", "z_score": False, "outside_value": -5.0}
    params = PreprocessingParams(orientation="world", spacing_mm=None, crop=False, **chosen).model_dump()
    Segmenter([Member(network, spec, ("gm",), ("T1",))], ("gm",), params).save(tmp_path / "model.pt")
    assert Segmenter.load(tmp_path / "model.pt").preprocessing == params
    # files of before these steps could be chosen know two of them
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    torch.save({**content, "preprocessing": {"spacing_mm": 2.0, "outside_value": -3.0}}, tmp_path / "old.pt")
    old = Segmenter.load(tmp_path / "old.pt").preprocessing
    assert PreprocessingParams(**old) == PreprocessingParams(spacing_mm=2.0, outside_value=-3.0)


def test_bad_model_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="model.pt: no such model; is the run finished?"):
        Segmenter.load(tmp_path / "model.pt")
    (tmp_path / "model.pt").write_text("x")
    with pytest.raises(UserError, match="model.pt: not a model of this program"):
        Segmenter.load(tmp_path / "model.pt")


def test_pickled_code_is_refused(tmp_path: Path) -> None:
    torch.save({"members": [UNet(1, 2, base_filters=2)]}, tmp_path / "model.pt")
    with pytest.raises(UserError, match="not a model of this program .UnpicklingError"):
        Segmenter.load(tmp_path / "model.pt")


class Always(torch.nn.Module):
    """Gives every voxel the same probabilities."""

    size_divisor = 1
    reach = 0

    def __init__(self, *p: float) -> None:
        super().__init__()
        self.p = torch.tensor(p)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.p.log().view(1, -1, 1, 1, 1).expand(len(images), -1, *images.shape[2:])


def always(*p: float, labels: tuple[str, ...] = ("gm", "wm")) -> Segmenter:
    return Segmenter([Member(Always(*p), {}, labels, ("T1",))], labels, OUTSIDE)


GRID = Grid((4, 4, 4), np.eye(4))


def test_of_several_runs_the_mean_probabilities_decide() -> None:
    """Two of three prefer gm, and the third is surer of wm than they are of gm."""
    runs = [always(0.0, 0.6, 0.4), always(0.0, 0.6, 0.4), always(0.0, 0.1, 0.9)]
    model = combined(runs)
    (p,) = model.probabilities(np.zeros((1, 4, 4, 4), np.float32), ["T1"], CPU)
    assert p[:, 0, 0, 0] == pytest.approx([0, 1.3 / 3, 1.7 / 3], abs=1e-6)
    assert (model.segment(np.zeros((1, 4, 4, 4), np.float32), ["T1"], CPU) == 2).all()
    assert (model.on_grid([p], GRID, GRID) == 2).all()
    alone = combined(runs[:1])
    assert (alone.segment(np.zeros((1, 4, 4, 4), np.float32), ["T1"], CPU) == 1).all()


def test_only_runs_of_one_kind_are_combined() -> None:
    with pytest.raises(UserError, match="run 2 differs from the first in its labels"):
        combined([always(0.5, 0.3, 0.2), always(0.5, 0.3, 0.2, labels=("wm", "gm"))])
    other = always(0.5, 0.3, 0.2)
    other.members[0].modalities = ("FLAIR",)
    with pytest.raises(UserError, match="run 2 has other networks than the first"):
        combined([always(0.5, 0.3, 0.2), other])


@pytest.mark.parametrize(
    ("p", "entropy"), [((1 / 3, 1 / 3, 1 / 3), 1.0), ((1.0, 0.0, 0.0), 0.0), ((0.5, 0.5, 0.0), np.log(2) / np.log(3))]
)
def test_uncertainty_is_the_entropy_of_the_probabilities(p: tuple[float, float, float], entropy: float) -> None:
    model = always(*p)
    found = list(model.probabilities(np.zeros((1, 4, 4, 4), np.float32), ["T1"], CPU))
    assert uncertainty_on_grid(found, GRID, GRID) == pytest.approx(np.full((4, 4, 4), entropy), abs=1e-5)


def test_mirrored_prediction_is_the_mean_of_both_ways() -> None:
    """By hand: a network whose left label is certain where the image is 1 and the right one where it is -1."""

    class Sides(torch.nn.Module):
        size_divisor = 1

        def forward(self, images: torch.Tensor) -> torch.Tensor:  # (N, 1, X, Y, Z) -> (N, 3, X, Y, Z)
            x = images[:, 0]
            here = torch.linspace(0, 2, x.shape[1], device=x.device).view(1, -1, 1, 1)  # the place counts too
            return torch.stack([0 * x, here * x, -here * x], dim=1)

    image = np.random.default_rng(0).normal(size=(1, 5, 3, 2)).astype(np.float32)
    one = Member(Sides(), {}, ("left", "right"), ("T1",))
    plain = one.probabilities(image, ("T1",), CPU, Filling(0.0), 1.0)
    of_mirror = one.probabilities(image[:, ::-1], ("T1",), CPU, Filling(0.0), 1.0)[:, ::-1]
    both = Member(Sides(), {}, ("left", "right"), ("T1",), mirror=(0, 2, 1))
    expected = np.stack([plain[0] + of_mirror[0], plain[1] + of_mirror[2], plain[2] + of_mirror[1]]) / 2
    assert np.allclose(both.probabilities(image, ("T1",), CPU, Filling(0.0), 1.0), expected, atol=1e-6)
    twice = Member(Sides(), {}, ("left", "right"), ("T1",), mirror=(0, 2, 1), twins=(both,))
    assert np.allclose(twice.probabilities(image, ("T1",), CPU, Filling(0.0), 1.0), expected, atol=1e-6)
    model = Segmenter([both], ("left", "right"), OUTSIDE)
    assert np.array_equal(model.segment(image, ("T1",), CPU), expected.argmax(0))


def test_only_networks_that_learned_mirror_images_are_asked_for_them(smoke: Study, tmp_path: Path) -> None:
    params = smoke.params.changed(inference=smoke.params.inference.changed(mirrored=True))
    run = smoke.find_run("anatomy_wmh/multi_unet/0")
    model = finished_runs.load_segmenter(run, params)
    assert [m.mirror for m in model.members] == [(0, 1, 2, 3), (0, 1)]  # brains have no labels of one side
    model.save(tmp_path / "model.pt")
    assert [m.mirror for m in Segmenter.load(tmp_path / "model.pt").members] == [(0, 1, 2, 3), (0, 1)]
    assert [m.mirror for m in finished_runs.load_segmenter(run, smoke.params).members] == [None, None]


def test_volumes_are_filled_only_where_there_is_an_outside() -> None:
    """The network pools over 4; of 9 voxels it is given 12 where there is an outside, or where patches had as many."""
    torch.manual_seed(0)
    network = UNet(1, 2, base_filters=2, levels=3).eval()
    image = np.random.default_rng(0).normal(size=(1, 9, 9, 9)).astype(np.float32)

    def answer(filled: int) -> np.ndarray:
        padded = np.pad(image, [(0, 0), *[((filled - 9) // 2, (filled - 8) // 2)] * 3], constant_values=-4.0)
        low = (filled - 9) // 2
        with torch.no_grad():
            p = torch.softmax(network(torch.from_numpy(padded)[None]), 1)[0]
        return p[:, low : low + 9, low : low + 9, low : low + 9].numpy()

    for extraction, patch, filled in (("auto", 8, 12), ("none", 8, 9), ("none", 12, 12), ("none", 10, 10)):
        one = Member(network, {}, ("wm",), ("T1",), at_least=(patch,) * 3)
        model = Segmenter([one], ("wm",), {**OUTSIDE, "brain_extraction": extraction})
        (p,) = model.probabilities(image, ("T1",), CPU)
        assert np.allclose(p, answer(filled), atol=1e-5), (extraction, patch)
        assert np.array_equal(model.segment(image, ("T1",), CPU), answer(filled).argmax(0)), (extraction, patch)


def test_views_and_patches_are_kept_in_the_model_file(smoke: Study, tmp_path: Path) -> None:
    params = smoke.params.changed(inference=smoke.params.inference.changed(views=4))
    run = smoke.find_run("anatomy_wmh/multi_unet/0")
    model = finished_runs.load_segmenter(run, params)
    model.save(tmp_path / "model.pt")
    for one in (*model.members, *Segmenter.load(tmp_path / "model.pt").members):
        assert one.views == 4 and one.at_least == (8, 8, 8)  # the patch size of params/smoke.yaml
    # an older file says nothing of either
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    for m in content["members"]:
        del m["views"], m["at_least"], m["mirror"]
    torch.save(content, tmp_path / "old.pt")
    assert {(m.views, m.at_least, m.mirror) for m in Segmenter.load(tmp_path / "old.pt").members} == {
        (1, (1, 1, 1), None)
    }
    case = smoke.scenario("anatomy_wmh").test_cases[0]
    stored = smoke.store.open(case, smoke.cohorts[case.cohort])
    images = np.asarray(stored.images)
    found = [p.argmax(0) for p in model.probabilities(images, stored.modalities, CPU)]
    assert np.array_equal(model.segment(images, stored.modalities, CPU), model.merged(found))
