import math

import pytest
import torch
from torch import nn

from multiseg.study.network_shapes import shapes_only
from multiseg.thesis.networks.encoder_decoder import EncoderDecoder
from multiseg_core.errors import UserError
from multiseg_core.networks import UNet, build_network, count_parameters
from multiseg_core.tiling import fold_normalisation
from multiseg_core.wrappers import SliceWise, Windowed, divisors


def test_number_of_parameters_is_the_thesis_networks() -> None:
    """Counted by hand for base b = 2, 1 channel in, 3 classes out, 2 levels."""
    down = 27 * 1 * 2 + 27 * 2 * 2 + 2 * (2 + 2)  # two convolutions, two normalisations
    bottom = 27 * 2 * 4 + 27 * 4 * 4 + 2 * (4 + 4)
    up = 8 * 4 * 2 + 2
    merge = 27 * 2 * 2 + 27 * 2 * 2 + 2 * (2 + 2)  # skips are added: 2 filters in, not 4
    head = 2 * 3 + 3
    assert count_parameters(UNet(1, 3, base_filters=2, levels=2)) == down + bottom + up + merge + head


def test_filters_of_every_level_can_be_chosen() -> None:
    same = UNet(2, 3, filters=[2, 4, 8])
    assert count_parameters(same) == count_parameters(UNet(2, 3, base_filters=2, levels=3))
    network = UNet(1, 2, filters=[3, 8, 5])
    assert network.size_divisor == (4, 4, 4)
    assert [network.down[0][0].out_channels, network.down[1][0].out_channels, network.bottom[0].out_channels] == [
        3,
        8,
        5,
    ]
    assert network(torch.zeros(1, 1, 8, 4, 12)).shape == (1, 2, 8, 4, 12)
    # one convolution per block at the first level: 27 * 2 * 2 weights and 2 * 2 of normalisation less, twice
    fewer = UNet(2, 3, filters=[2, 4, 8], convolutions=[1, 2, 2])
    assert count_parameters(fewer) == count_parameters(same) - 2 * (27 * 2 * 2 + 2 * 2)


@pytest.mark.parametrize("convolutions", [[2, 2], [2, 2, 2], [2, 2, 2, 2], [1, 3, 2]])
def test_reach_is_the_farthest_input_that_a_voxel_sees(convolutions: list[int]) -> None:
    filters = [1] * len(convolutions)
    network = UNet(1, 1, filters=filters, convolutions=convolutions, spatial_dims=2, dropout=0).double().eval()
    for name, parameter in network.named_parameters():
        nn.init.constant_(parameter, 0 if name.endswith("bias") else 0.1)  # nothing cancels, every ReLU is open
    (d, _), (reach, _) = network.size_divisor, network.reach
    size = -(-(2 * reach + 2 * d) // d) * d
    farthest = 0
    for centre in range(size // 2, size // 2 + d):  # every position in a pooling window
        for order in (1, -1):  # max-pooling passes one voxel of a window on: let it be the one at either end
            ramp = 1 + 1e-6 * order * torch.arange(size, dtype=torch.float64)
            x = (ramp[:, None] * torch.ones(1, d, dtype=torch.float64))[None, None].requires_grad_()
            network(x)[0, 0, centre, d // 2].backward()
            seen = x.grad[0, 0].abs().sum(1).nonzero().flatten()
            farthest = max(farthest, (seen - centre).abs().max().item())
    assert farthest == reach


def test_reach_follows_strides_and_kernels_of_each_axis() -> None:
    """By hand, one convolution per block: 3-wide ones see 1 voxel of their level further, twice but for the deepest."""
    strides, kernels = [[2, 2, 1], [2, 1, 2]], [[3, 3, 1], [3, 3, 3], [1, 3, 3]]
    network = UNet(1, 2, filters=[2, 2, 2], convolutions=1, strides=strides, kernels=kernels).eval()
    assert network.size_divisor == divisors(network) == (4, 2, 2)
    # x: levels of 1, 2, 4 voxels; y: 1, 2, 2; z: 1, 1, 2, and one less than a window of the deepest level
    assert network.reach == (2 * (1 + 2) + 0 + 3, 2 * (1 + 2) + 2 + 1, 2 * (0 + 1) + 2 + 1)
    assert network(torch.zeros(1, 1, 8, 4, 6)).shape == (1, 2, 8, 4, 6)
    for axis, reach in enumerate(network.reach):  # nothing beyond it is seen
        x = torch.rand(1, 1, 24, 24, 24)
        other = x.clone()
        other.movedim(2 + axis, 0)[12 + reach + 1 :] += 1
        with torch.no_grad():
            same = (network(x) == network(other)).movedim(2 + axis, 0)
        assert same[:13].all() and not same[12 + reach + 1 :].all()


def test_separable_convolutions_are_counted_by_hand() -> None:
    """Base 4, one convolution per block, two levels: the first is whole, all others one per channel and one across."""
    first = 27 * 4 * 4 + 2 * 4
    bottom = 27 * 4 + 4 * 8 + 2 * 8
    up = 8 * 8 * 4 + 4
    merge = 27 * 4 + 4 * 4 + 2 * 4
    head = 4 * 3 + 3
    network = UNet(4, 3, base_filters=4, levels=2, convolutions=1, separable=True).eval()
    assert count_parameters(network) == first + bottom + up + merge + head
    x = torch.randn(1, 4, 8, 8, 8)
    with torch.no_grad():
        assert torch.allclose(network(x), fold_normalisation(network)(x), atol=1e-5)


def test_plain_encoder_and_decoder() -> None:
    """No skips: what the first level saw but pooling dropped is gone. Dropout after each pooling, in training only."""
    network = EncoderDecoder(2, 3, base_filters=2, levels=3, dropout=0.5, spatial_dims=2)
    weights = 9 * (2 * 2 + 2 * 4 + 4 * 8 + 8 * 4 + 4 * 2)
    assert count_parameters(network) == weights + 2 * (2 + 4 + 8 + 4 + 2) + (2 * 3 + 3)
    x = torch.rand(1, 2, 8, 12)
    assert network(x).shape == (1, 3, 8, 12) and network.size_divisor == 4
    assert not torch.equal(network(x), network(x)) and torch.equal(network.eval()(x), network(x))
    assert build_network({"name": "encoder_decoder"}, 1, 2)(torch.rand(2, 1, 8, 8, 8)).shape == (2, 2, 8, 8, 8)
    for options in ({"levels": 1}, {"dropout": 1}, {"spatial_dims": 4}, {"base_filters": 0}):
        with pytest.raises(UserError, match="^network: encoder_decoder"):
            EncoderDecoder(1, 2, **options)


def test_ones_and_threes_make_a_network_of_slices() -> None:
    """Without width or stride across slices, a 3-D network is a 2-D one on each."""
    flat = UNet(2, 3, filters=[2, 4], spatial_dims=2).eval()
    deep = UNet(2, 3, filters=[2, 4], strides=[[2, 2, 1]], kernels=[[3, 3, 1]] * 2).eval()
    weights = {k: v[..., None] if v.ndim == 4 else v for k, v in flat.state_dict().items()}
    deep.load_state_dict(weights)
    x = torch.randn(2, 2, 8, 12, 5)
    with torch.no_grad():
        assert torch.allclose(deep(x), SliceWise(flat, 2)(x), atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["unet", "monai.UNet"])
def test_slices_are_read_one_by_one(axis: int, name: str) -> None:
    options = {"base_filters": 2, "levels": 2} if name == "unet" else {"channels": [2, 4], "strides": [2]}
    network = build_network({"name": name, "spatial_dims": 2, "slice_axis": axis, **options}, 2, 3).eval()
    assert isinstance(network, SliceWise) and divisors(network)[axis] == 1 and len(divisors(network)) == 3
    edge = 2 if name == "unet" else 32
    size = [edge * 4] * 3
    size[axis] = 3
    x = torch.randn(2, 2, *size)
    with torch.no_grad():
        y = network(x)
        for n in range(3):
            one = network.network(x.select(2 + axis, n))
            assert torch.allclose(y.select(2 + axis, n), one, atol=1e-5)


def test_conditioned_slices_each_get_the_task_of_their_volume() -> None:
    network = build_network(
        {"name": "unet", "base_filters": 2, "levels": 2, "spatial_dims": 2, "tasks": 2}, 1, 2
    ).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".scale.1" in name or ".shift.1" in name:
                parameter.fill_(0.5)
        x = torch.randn(2, 1, 4, 4, 3)
        both = network(x, torch.tensor([0, 1]))
        assert torch.allclose(both[:1], network(x[:1], torch.tensor([0])), atol=1e-6)
        assert torch.allclose(both[1:], network(x[1:], torch.tensor([1])), atol=1e-6)
        assert torch.allclose(both[1:], network.bound(1)(x[1:]), atol=1e-5)


class _SizeBound(nn.Module):
    """Takes 4^3 only; the logit is the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[2:] == (4, 4, 4)
        return x.clone()


def test_networks_of_one_size_read_volumes_by_windows() -> None:
    network = Windowed(_SizeBound(), [4, 4, 4]).eval()
    x = torch.randn(1, 1, 9, 4, 7)
    assert torch.allclose(network(x), x, atol=1e-6)  # windows that agree: their mean is what each says
    assert network(x.to("meta")).shape == x.shape
    network.train()
    with pytest.raises(AssertionError):
        network(x)  # training is by patches of its own size


def test_windows_stay_between_what_windows_say() -> None:
    """A voxel's logit is a mean over the windows that hold it: of windows that count themselves, within their range."""

    class Counter(nn.Module):
        n = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.n += 1
            return torch.full_like(x, float(self.n))

    counter = Counter()
    y = Windowed(counter, [4, 4, 4]).eval()(torch.zeros(1, 1, 6, 4, 4))
    assert counter.n == 2 and (y[0, 0, :2] == 1).all() and (y[0, 0, 4:] == 2).all()
    assert ((y[0, 0, 2:4] > 1) & (y[0, 0, 2:4] < 2)).all()


@pytest.mark.parametrize("spatial", [(16, 24), (16, 8, 24)])
def test_output_has_the_input_grid(spatial: tuple[int, ...]) -> None:
    network = UNet(2, 5, base_filters=2, spatial_dims=len(spatial))
    assert network(torch.zeros(1, 2, *spatial)).shape == (1, 5, *spatial)
    assert network.size_divisor == (8,) * len(spatial)


@pytest.mark.parametrize("spatial", [(33, 25), (29, 24, 19)])
def test_where_a_size_is_no_multiple_the_rest_is_what_a_larger_image_has(spatial: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = UNet(2, 3, base_filters=2, levels=3, convolutions=1, spatial_dims=len(spatial)).eval()
    larger = torch.randn(1, 2, *(64 for _ in spatial))
    cut = larger[:, :, *map(slice, spatial)]
    with torch.no_grad():
        found, expected = network(cut), network(larger)
    assert found.shape == (1, 3, *spatial)
    far = tuple(slice(max(n - r, 0)) for n, r in zip(spatial, network.reach, strict=True))
    assert found[:, :, *far].numel() > 0
    assert torch.allclose(found[:, :, *far], expected[:, :, *far], atol=1e-5)


def test_the_last_window_holds_what_is_left() -> None:
    """By hand: a network of one filter that hands down the largest value of each window of three voxels' line."""
    network = UNet(1, 1, filters=[1, 1], convolutions=1, dropout=0, spatial_dims=2).eval()
    with torch.no_grad():
        for block in (network.down[0], network.bottom, network.merge[0]):
            block[0].weight.zero_()
            block[0].weight[0, 0, 1, 1] = math.sqrt(1 + 1e-3)  # undoes the normalisation's 1 / sqrt(var + eps)
        network.up[0].weight.fill_(1)
        network.head.weight.fill_(1)
        # each voxel and the largest of its window: 1 + 4, 4 + 4, 2 + 2 for the last, which is alone
        x = torch.tensor([[1.0, 4.0, 2.0]])[None, None]
        assert network(x).flatten().tolist() == pytest.approx([5, 8, 4], abs=1e-5)


def test_dropout_stands_before_the_deepest_block_only() -> None:
    network = UNet(1, 2, base_filters=2, dropout=0.3)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.3]
    seen = []
    network.dropout.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    network(torch.zeros(1, 1, 16, 16, 16))
    assert seen == [(1, 8, 2, 2, 2)]  # base 2, third level's filters, three poolings


def test_running_statistics_average_over_many_batches() -> None:
    """As in Keras: new = 0.99 old + 0.01 batch."""
    network = UNet(1, 2, base_filters=2, levels=2)
    norm = network.down[0][1]
    norm(torch.full((1, 2, 4, 4, 4), 3.0))
    assert torch.allclose(norm.running_mean, torch.tensor(0.01 * 3.0))


def test_initial_weights_have_he_variance() -> None:
    torch.manual_seed(0)
    weight = UNet(2, 2, base_filters=32).bottom[3].weight
    # a normal distribution cut at two standard deviations keeps 0.88 of the standard deviation
    assert weight.std().item() == pytest.approx(0.8796 * math.sqrt(2 / (256 * 27)), rel=0.01)


def test_monai_networks_by_name() -> None:
    network = build_network(
        {"name": "monai.SegResNet", "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}, 2, 3
    )
    assert network(torch.zeros(1, 2, 32, 32, 32)).shape == (1, 3, 32, 32, 32)
    assert network.size_divisor == 32


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "unett"}, r"network: unknown name 'unett' \(did you mean 'unet'\?\)"),
        ({"name": "unet", "base_filter": 8}, r"unet has no option 'base_filter' \(did you mean 'base_filters'\?\)"),
        ({"name": "monai.SegResNett"}, r"MONAI has no 'monai.SegResNett' \(did you mean 'monai.SegResNet'\?\)"),
        ({"name": "unet", "dropout": 1.5}, r"dropout must lie in \[0, 1\), got 1.5"),
        ({"name": "unet", "base_filters": 2.5}, "whole numbers of filters"),
        ({"name": "unet", "filters": [8]}, "two levels or more"),
        ({"name": "unet", "filters": "8, 16"}, "filters must be a list of whole numbers"),
        ({"name": "unet", "convolutions": [1, 2]}, "convolutions must be a whole number above 0, or a list of one per"),
        ({"name": "unet", "norm": "layer"}, "norm must be batch or instance, got 'layer'"),
        ({"name": "unet", "spatial_dims": 4}, "spatial_dims must be 2 or 3, got 4"),
        ({"name": "unet", "levels": 2, "strides": [[2, 2]]}, r"strides must be 1 lists of 3 numbers, each 1 or 2, got"),
        (
            {"name": "unet", "levels": 2, "kernels": [[3, 3, 5]] * 2},
            "kernels must be 2 lists of 3 numbers, each 1 or 3",
        ),
        ({"name": "unet", "separable": "yes"}, "separable must be true or false, got yes"),
        ({"name": "unet", "window": [8, 8]}, "window must be three whole numbers above 0, got"),
        ({"name": "unet", "slice_axis": 3}, "slice_axis must be 0, 1 or 2, got 3"),
        ({"name": "unet", "slice_axis": 1}, "slice_axis is for networks with spatial_dims: 2"),
    ],
)
def test_bad_descriptions(spec: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_network(spec, 1, 2)


def test_networks_that_compute_while_they_are_built_have_shapes_too() -> None:
    """SwinUNETR asks a tensor for its value in its constructor, which torch's meta device cannot answer."""
    spec = {"name": "monai.SwinUNETR", "feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8],
            "window_size": 4, "norm_name": ["group", {"num_groups": 4}]}  # fmt: skip
    network = shapes_only(spec, 1)
    assert network(torch.empty(1, 1, 32, 32, 32, device="meta")).shape == (1, 2, 32, 32, 32)
    with pytest.raises(UserError, match="^network: "):
        shapes_only({**spec, "feature_size": 7}, 1)
