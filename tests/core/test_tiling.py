import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from multiseg_core import networks, tiling
from multiseg_core.compute import Compute
from multiseg_core.errors import UserError
from multiseg_core.networks import UNet, build_network
from multiseg_core.tiling import SCRATCH, Filling, fold_normalisation, pass_gib, plan_tiles, predict, predict_views

CPU = Compute(torch.device("cpu"), False)
PLENTY = 100.0


def make_network(levels: int = 2, seed: int = 0) -> UNet:
    """A network with the statistics of some batches, as after training."""
    torch.manual_seed(seed)
    network = UNet(2, 3, base_filters=2, levels=levels)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    return network.eval()


def images(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)


def test_volumes_of_any_size_are_padded_and_cut_back() -> None:
    network, volume = make_network(levels=3), images((9, 12, 7))
    p = predict(network, volume, CPU, Filling(), PLENTY, labels_only=False)
    assert p.shape == (3, 9, 12, 7) and np.allclose(p.sum(0), 1, atol=1e-5)
    # by hand: 9 -> 12, 12 -> 12, 7 -> 8 with the value outside the brain
    padded = np.full((1, 2, 12, 12, 8), -4.0, np.float32)
    padded[0, :, 1:10, :, 0:7] = volume
    with torch.no_grad():
        expected = torch.softmax(network(torch.from_numpy(padded)), 1)[0, :, 1:10, :, 0:7].numpy()
    assert np.allclose(p, expected, atol=1e-5)
    labels = predict(network, volume, CPU, Filling(), PLENTY, labels_only=True)
    assert labels.dtype == np.uint8 and np.array_equal(labels, expected.argmax(0))


def test_a_volume_is_filled_as_patches_were() -> None:
    unet, other = make_network(levels=3), nn.Identity()
    other.size_divisor = 16
    assert Filling().size(unet, (9, 12, 7)) == (12, 12, 8)
    assert Filling(at_least=(10, 16, 1)).size(unet, (9, 12, 7)) == (12, 16, 8)
    assert Filling(at_least=(10, 16, 1), has_outside=False).size(unet, (9, 12, 7)) == (10, 16, 7)
    assert Filling(at_least=(10, 20, 1), has_outside=False).size(other, (9, 12, 7)) == (16, 32, 16)  # cannot do without
    volume = images((9, 12, 7))
    p = predict(unet, volume, CPU, Filling(5.0, (10, 16, 1), False), PLENTY, labels_only=False)
    padded = np.full((1, 2, 10, 16, 7), 5.0, np.float32)
    padded[0, :, 0:9, 2:14] = volume
    with torch.no_grad():
        expected = torch.softmax(unet(torch.from_numpy(padded)), 1)[0, :, 0:9, 2:14].numpy()
    assert np.allclose(p, expected, atol=1e-5)


def test_where_there_is_no_outside_borders_are_repeated_for_networks_that_need_multiples() -> None:
    network = nn.Identity()
    network.size_divisor = (4, 2, 1)
    volume = np.arange(6, dtype=np.float32).reshape(1, 3, 2, 1)
    filled, place = Filling(has_outside=False).fill(network, volume)
    assert place == (slice(0, 3), slice(0, 2), slice(0, 1)) and filled[0, :, 0, 0].tolist() == [0, 2, 4, 4]
    filled, place = Filling(7.0, (5, 1, 1), has_outside=False).fill(network, volume)
    assert place == (slice(2, 5), slice(0, 2), slice(0, 1))  # 3 to 5 as patches were, then 5 to 8
    assert filled[0, :, 1, 0].tolist() == [7, 7, 1, 3, 5, 7, 7, 7]
    filled, place = Filling(7.0).fill(network, volume)
    assert place[0] == slice(0, 3) and filled[0, :, 0, 0].tolist() == [0, 2, 4, 7]


def test_views_are_averaged_over_the_voxels_that_they_show() -> None:
    network, volume = make_network(levels=3), images((11, 9, 4))  # windows of 4: of the last axis, views leave out none
    filling = Filling(has_outside=False, at_least=(1, 1, 1))
    whole, cut = (predict(network, v, CPU, filling, PLENTY, labels_only=False) for v in (volume, volume[:, 2:, 2:]))
    expected = whole.copy()
    expected[:, 2:, 2:] = (whole[:, 2:, 2:] + cut) / 2
    assert np.allclose(predict_views(network, volume, CPU, filling, PLENTY, 2), expected, atol=1e-6)
    assert np.array_equal(predict_views(network, volume, CPU, filling, PLENTY, 1), whole)
    # patches were larger along the first axis, so the image stays in its place there; along the second, views may be
    # smaller than patches
    filling = Filling(has_outside=False, at_least=(12, 8, 1))
    whole = predict(network, volume, CPU, filling, PLENTY, labels_only=False)
    cut = predict(network, volume[:, :, 2:], CPU, replace(filling, at_least=(12, 1, 1)), PLENTY, labels_only=False)
    expected = whole.copy()
    expected[:, :, 2:] = (whole[:, :, 2:] + cut) / 2
    assert np.allclose(predict_views(network, volume, CPU, filling, PLENTY, 2), expected, atol=1e-6)


@pytest.mark.parametrize(("levels", "share"), [(2, 0.8), (2, 0.55), (2, 0.4), (3, 0.8), (3, 0.55)])
def test_tiles_give_what_one_pass_gives(levels: int, share: float) -> None:
    network, volume = make_network(levels), images((70, 41, 90))
    padded = (2, *(-(-n // d) * d for n, d in zip(volume.shape[1:], network.size_divisor, strict=True)))
    budget = share * pass_gib(network, padded, CPU)
    tiles = plan_tiles(network, padded, CPU, budget)
    assert len(tiles) > 1
    for tile in tiles:  # the budget is kept
        size = tuple(s.stop - s.start for s in tile.read)
        assert pass_gib(network, (2, *size), CPU) <= budget * 1.001
    whole = predict(network, volume, CPU, Filling(), PLENTY, labels_only=False)
    tiled = predict(network, volume, CPU, Filling(), budget, labels_only=False)
    assert np.allclose(whole, tiled, atol=1e-5)
    unfilled = Filling(has_outside=False)
    whole = predict(network, volume, CPU, unfilled, PLENTY, labels_only=False)
    assert np.allclose(whole, predict(network, volume, CPU, unfilled, budget, labels_only=False), atol=1e-5)


@pytest.mark.parametrize("spec", [
    {"base_filters": 2, "levels": 3, "strides": [[2, 2, 1], [2, 2, 2]], "kernels": [[3, 3, 1], [3, 3, 3], [3, 3, 3]]},
    {"base_filters": 2, "levels": 3, "spatial_dims": 2},
])  # fmt: skip
def test_tiles_of_thick_slices_give_what_one_pass_gives(spec: dict) -> None:
    torch.manual_seed(0)
    network, volume = build_network({"name": "unet", **spec}, 2, 3).eval(), images((160, 61, 9))
    padded = (2, 160, 64, 10 if "strides" in spec else 9)
    budget = 0.7 * pass_gib(network, padded, CPU)
    assert len(plan_tiles(network, padded, CPU, budget)) > 1
    whole = predict(network, volume, CPU, Filling(), PLENTY, labels_only=False)
    assert np.allclose(whole, predict(network, volume, CPU, Filling(), budget, labels_only=False), atol=1e-5)


class _OneSize(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(in_channels * 8**3, out_channels * 8**3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x.flatten(1)).view(len(x), -1, 8, 8, 8)


def test_networks_of_one_size_predict_whole_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(networks.NETWORKS, "one_size", _OneSize)
    with pytest.raises(RuntimeError):
        predict(
            build_network({"name": "one_size"}, 2, 3), images((10, 8, 9)), CPU, Filling(), PLENTY, labels_only=False
        )
    network = build_network({"name": "one_size", "window": [8, 8, 8]}, 2, 3).eval()
    p = predict(network, images((10, 8, 9)), CPU, Filling(), PLENTY, labels_only=False)
    assert p.shape == (3, 10, 8, 9) and np.allclose(p.sum(0), 1, atol=1e-5)
    with pytest.raises(UserError, match="inference.memory_gib"):
        predict(network, images((10, 8, 9)), CPU, Filling(), 1e-6, labels_only=False)


def test_tiles_cover_every_voxel_once() -> None:
    network = make_network()
    shape = (2, 72, 42, 90)
    seen = np.zeros(shape[1:], int)
    for tile in plan_tiles(network, shape, CPU, 0.4 * pass_gib(network, shape, CPU)):
        seen[tile.write] += 1
        for read, keep, write in zip(tile.read, tile.keep, tile.write, strict=True):
            assert read.start + keep.start == write.start and read.start + keep.stop == write.stop
            assert read.start % network.size_divisor[0] == 0
    assert (seen == 1).all()


def test_memory_of_one_pass() -> None:
    """The most is alive in the last block: the map that the block got, one that a layer reads, one that it writes."""
    network = UNet(1, 2, base_filters=8, levels=2).eval()
    voxels = 16 * 32 * 24
    image, one_map = 4 * voxels, 4 * 8 * voxels  # bytes: 1 channel, 8 filters
    estimate = pass_gib(network, (1, 16, 32, 24), CPU) * 2**30
    assert 3 * one_map < (estimate - 2 * image) / SCRATCH < 3.7 * one_map  # and smaller ones of the level below
    half = pass_gib(network, (1, 16, 32, 24), Compute(torch.device("cpu"), True)) * 2**30
    assert half == pytest.approx(2 * image + (estimate - 2 * image) / 2)


def test_a_volume_that_fits_by_far_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """To measure a pass may take longer than to make it; tiles stay as they are where memory is short."""
    network, shape, larger = make_network(), (2, 32, 32, 32), (2, 64, 64, 64)
    took = pass_gib(network, shape, CPU)
    in_tiles = plan_tiles(copy.deepcopy(network), larger, CPU, 0.5 * pass_gib(network, larger, CPU))
    measured = []

    def counted(*args: object) -> float:
        measured.append(args[1])
        return pass_gib(*args)

    monkeypatch.setattr(tiling, "pass_gib", counted)
    for size in (shape, larger, (2, 8, 8, 8), larger):  # the second may take eight times as much, for what is known
        whole = plan_tiles(network, size, CPU, 17 * took)
        assert [tile.write for tile in whole] == [tuple(slice(0, n) for n in size[1:])]
    assert measured == [shape]
    assert plan_tiles(network, larger, CPU, 0.5 * pass_gib(network, larger, CPU)) == in_tiles
    assert measured == [shape, larger] and len(in_tiles) > 1


def test_folded_normalisation_gives_the_same_numbers() -> None:
    network = make_network()
    before = copy.deepcopy(network.state_dict())
    folded = fold_normalisation(network)
    assert not any(isinstance(m, nn.BatchNorm3d) for m in folded.modules())
    x = torch.randn(1, 2, 8, 12, 16)
    with torch.no_grad():
        assert torch.allclose(network(x), folded(x), atol=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_too_little_memory_is_an_error() -> None:
    with pytest.raises(UserError, match=r"inference.memory_gib: 1e-06 is too little for this network"):
        predict(make_network(), images((16, 16, 16)), CPU, Filling(), 1e-6, labels_only=True)
    # its normalisation looks at the whole volume: tiles would change the result
    network = build_network({"name": "unet", "base_filters": 2, "norm": "instance"}, 2, 3).eval()
    with pytest.raises(UserError, match=r"one pass over 64 x 64 x 64 voxels takes .* cannot be cut into exact tiles"):
        predict(network, images((64, 64, 64)), CPU, Filling(), 1e-3, labels_only=True)
    assert predict(network, images((16, 16, 16)), CPU, Filling(), 1.0, labels_only=True).shape == (16, 16, 16)


def test_threads_find_weights_where_they_were() -> None:
    """Every prediction gave the weights other memory: while one thread read them, another one's weights went."""
    network = CPU.place_network(make_network())
    weights = [p for p in network.parameters() if p.ndim == 5]
    assert all(w.is_contiguous(memory_format=torch.channels_last_3d) for w in weights)
    places = [p.data_ptr() for p in network.parameters()]
    predict(network, images((8, 8, 8)), CPU, Filling(), PLENTY, labels_only=True)
    assert [p.data_ptr() for p in network.parameters()] == places
