import math

import pytest
import torch
from torch import nn

from multiseg_core.errors import UserError
from multiseg_core.models import UNet, build_network, count_parameters


def test_number_of_parameters_is_the_thesis_networks() -> None:
    """Counted by hand for base b = 2, 1 channel in, 3 classes out, 2 levels."""
    down = 27 * 1 * 2 + 27 * 2 * 2 + 2 * (2 + 2)  # two convolutions, two normalisations
    bottom = 27 * 2 * 4 + 27 * 4 * 4 + 2 * (4 + 4)
    up = 8 * 4 * 2 + 2
    merge = 27 * 2 * 2 + 27 * 2 * 2 + 2 * (2 + 2)  # skips are added: 2 filters in, not 4
    head = 2 * 3 + 3
    assert count_parameters(UNet(1, 3, base_filters=2, levels=2)) == down + bottom + up + merge + head


@pytest.mark.parametrize("spatial", [(16, 24), (16, 8, 24)])
def test_output_has_the_input_grid(spatial: tuple[int, ...]) -> None:
    network = UNet(2, 5, base_filters=2, spatial_dims=len(spatial))
    assert network(torch.zeros(1, 2, *spatial)).shape == (1, 5, *spatial)
    assert network.size_divisor == 8


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
        ({"name": "unet", "dropout": 1.5}, "0 <= dropout < 1"),
    ],
)
def test_bad_descriptions(spec: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_network(spec, 1, 2)
