"""DeepLab v2 under the names of kazuto1011/deeplab-pytorch comes back, from either of its two ways to name it."""

import re

import pytest
import torch

from atrous.foreign import imported
from atrous.models import build

PARTS = {"1": "reduce", "2": "conv3x3", "3": "increase"}


def renamed(name, shortcut="shortcut", stages=""):
    name = name.removeprefix("encoder.body.")
    name = re.sub(r"^aspp\.", f"aspp.{stages}", name)
    name = re.sub(r"^(conv|bn)1\.", r"layer1.conv1.\1.", name)

    def unit(match):
        start = f"layer{int(match[1]) + 1}.block{int(match[2]) + 1}."
        if match[3].startswith("downsample"):
            return f"{start}{shortcut}.{'conv' if match[3].endswith('0') else 'bn'}."
        return f"{start}{PARTS[match[3][-1]]}.{match[3][:-1]}."

    return re.sub(r"^layer(\d)\.(\d+)\.((?:conv|bn)\d|downsample\.\d)\.", unit, name)


@pytest.mark.parametrize(
    ("encoder", "wrapper", "shortcut", "stages"),
    [
        ("resnet101_caffe", "base.", "shortcut", ""),
        ("resnet101_caffe", "scale.", "proj", "stages."),
        ("resnet50_caffe", "", "shortcut", ""),
    ],
)
def test_both_namings_come_back(saved, shaken, encoder, wrapper, shortcut, stages):
    torch.manual_seed(0)
    net = shaken(build("deeplab_v2", 5, encoder=encoder, width=1 / 32))
    state = {f"{wrapper}{renamed(name, shortcut, stages)}": value for name, value in net.state_dict().items()}
    if encoder == "resnet101_caffe":
        assert f"{wrapper}layer4.block23.conv3x3.bn.running_var" in state
        assert f"{wrapper}layer2.block1.{shortcut}.conv.weight" in state
        assert f"{wrapper}aspp.{stages}c3.bias" in state
    found = imported(saved(state))
    assert (found.model, found.options) == ("deeplab_v2", {"encoder": encoder, "in_channels": 3, "width": 1 / 32})
    assert (found.preprocessing.order, found.preprocessing.high) == ("BGR", 1.0)
    assert ("it was applied at three scales; --option multiscale=true does so here" in found.notes) == bool(wrapper)
    torch.testing.assert_close(dict(found.net.state_dict()), dict(net.state_dict()))


def test_at_three_scales(saved):
    torch.manual_seed(0)
    net = build("deeplab_v2", 5, encoder="resnet50_caffe", width=1 / 32)
    path = saved({f"base.{renamed(name)}": value for name, value in net.state_dict().items()})
    found = imported(path, options={"multiscale": True})
    torch.testing.assert_close(dict(found.net.net.state_dict()), dict(net.state_dict()))
