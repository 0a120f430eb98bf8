import json
import subprocess
import sys
import warnings

import pytest
import torch

from multiseg_core.networks import build_network, finished


@pytest.mark.parametrize("spec", [{"name": "unet"}, {"name": "monai.UNet", "channels": [32, 32], "strides": [1]}])
@pytest.mark.parametrize("size", [(2, 2, 2), (2, 4, 4), (3, 3, 3)])
def test_weight_gradients_in_bf16_where_torch_is_wrong(spec: dict, size: tuple[int, int, int]) -> None:
    """Torch's CPU library returns garbage for 3-wide convolutions of inputs whose first size is 2."""
    network = build_network(spec, 2, 3)
    found = [m for m in network.modules() if isinstance(m, torch.nn.Conv3d) and m.in_channels == 32]
    conv = next(m for m in found if m.kernel_size == (3, 3, 3) and m.stride == (1, 1, 1))
    torch.manual_seed(0)
    x = torch.randn(8, 32, *size)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    upstream = torch.randn(y.shape)
    y.float().backward(upstream)
    expected = torch.nn.grad.conv3d_weight(x, conv.weight.shape, upstream, padding=1)
    assert (conv.weight.grad - expected).norm() < 0.01 * expected.norm()


WIDTHS_AND_SIZES = """
import json
import torch
from multiseg_core.networks import finished
worst = {}
for width in (3, 5, 7):
    for size in range(1, 9):
        torch.manual_seed(0)
        conv = finished(torch.nn.Sequential(torch.nn.Conv3d(16, 16, width, padding=width // 2)))[0]
        x = torch.randn(4, 16, size, 4, 4)
        with torch.autocast("cpu", torch.bfloat16):
            y = conv(x)
        upstream = torch.randn(y.shape)
        y.float().backward(upstream)
        expected = torch.nn.grad.conv3d_weight(x, conv.weight.shape, upstream, padding=width // 2)
        worst[f"{width} wide, {size} voxels"] = float((conv.weight.grad - expected).norm() / expected.norm())
print(json.dumps(worst))
"""


def test_weight_gradients_in_bf16_of_wide_kernels() -> None:
    """In a process of its own: torch overwrites memory where it is wrong. V-Net has kernels 5 wide."""
    found = subprocess.run([sys.executable, "-c", WIDTHS_AND_SIZES], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-500:]
    errors = json.loads(found.stdout)
    assert len(errors) == 24 and {case: e for case, e in errors.items() if not e < 0.02} == {}


@pytest.mark.parametrize(
    "kernel, stride, padding, groups",
    [(3, 1, 1, 1), (3, 2, 1, 1), (1, 1, 0, 1), ((3, 3, 1), 1, (1, 1, 0), 1), (3, 1, 1, 8), (3, 1, "same", 1)],
)
def test_a_small_image_alone_is_convolved_as_in_double_precision(kernel, stride, padding, groups) -> None:
    torch.manual_seed(0)
    conv = finished(torch.nn.Sequential(torch.nn.Conv3d(8, 8, kernel, stride, padding, groups=groups)))
    x = torch.randn(1, 8, 9, 10, 11)
    with torch.no_grad():
        found = conv(x)
        assert (found - conv.double()(x.double())).abs().max() < 1e-5


def test_a_network_that_is_written_to_a_file_has_convolutions_that_every_machine_knows() -> None:
    network = build_network({"name": "unet", "base_filters": 4, "levels": 2}, 1, 2).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = torch.jit.trace(network, torch.randn(1, 1, 8, 8, 8))
    assert "mkldnn" not in str(written.inlined_graph) and "_convolution" in str(written.inlined_graph)


@pytest.mark.parametrize(
    ("conv", "size"),
    [
        (torch.nn.Conv3d(8, 8, 3, padding=1, groups=8), (6, 5, 4)),
        (torch.nn.Conv2d(8, 8, 3, padding=1, groups=4), (6, 5)),
    ],
)
def test_filters_of_single_channels_are_computed_in_float32(conv: torch.nn.Module, size: tuple[int, ...]) -> None:
    """In bf16 they take several times as long, and are less exact."""
    torch.manual_seed(0)
    x = torch.randn(2, 8, *size)
    expected = conv(x)
    sound = finished(torch.nn.Sequential(conv))
    with torch.autocast("cpu", torch.bfloat16):
        found = sound(x)
        assert found.dtype == torch.float32 and torch.equal(found, expected)
        assert sound(x.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("spec", [{"name": "unet", "separable": True}, {"name": "lite0_unet", "spatial_dims": 2}])
def test_networks_with_such_filters_use_them(spec: dict) -> None:
    network = build_network(spec, 1, 2)
    grouped = [m for m in network.modules() if getattr(m, "groups", 1) > 1]
    assert grouped
    with torch.autocast("cpu", torch.bfloat16):
        for module in grouped:
            x = torch.zeros(2, module.in_channels, *[8] * (module.weight.ndim - 2))
            assert module(x).dtype == torch.float32
