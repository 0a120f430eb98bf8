import pytest
import torch
from monai.networks.nets import VNet as MonaiVNet

from multiseg.thesis.networks.vnet import VNet
from multiseg_core.errors import UserError
from multiseg_core.networks import build_network


def test_with_16_filters_it_is_monai_s() -> None:
    with torch.device("meta"):
        ours, theirs = VNet(1, 3), MonaiVNet(in_channels=1, out_channels=3)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    drops = [[m.p for m in net.modules() if isinstance(m, torch.nn.Dropout3d)] for net in (ours, theirs)]
    assert drops[0] == drops[1]
    x = torch.empty(1, 1, 32, 32, 16, device="meta")
    assert ours(x).shape == theirs(x).shape == (1, 3, 32, 32, 16)


def test_width() -> None:
    network = build_network({"name": "vnet", "base_filters": 2}, 1, 4).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 4, 16, 16, 16)
    with pytest.raises(UserError, match="vnet's base_filters must be a multiple of the 3 modalities, got 4"):
        build_network({"name": "vnet", "base_filters": 4}, 3, 2)
