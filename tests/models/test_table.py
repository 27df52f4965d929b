"""The table of models: every name builds a network of the common form, and a wrong name finds the nearest."""

import pytest
import torch
from torch import nn

import atrous.models
from atrous.contract import Geometry
from atrous.models import TABLE, build


def test_names_are_the_builders():
    assert [builder.__name__ for builder in TABLE.values()] == list(TABLE)
    assert {name: getattr(atrous.models, name) for name in TABLE} == TABLE
    assert {*TABLE, "TABLE", "Segmenter", "build"} <= set(atrous.models.__all__)


@pytest.mark.parametrize("name", TABLE)
def test_every_model_has_the_common_options_and_attributes(name):
    encoder = "resnet18" if name in ("deeplab_v2", "deeplab_v3", "deeplab_v3plus") else None
    with torch.device("meta"):
        net = build(name, 5, in_channels=2, encoder=encoder, pretrained=False, output_stride=None, width=1 / 16)
        side = net.geometry.valid(2 * net.geometry.margin + 1)
        assert net(torch.empty(1, 2, side, side)).shape[:2] == (1, 5)
    assert isinstance(net, nn.Module)
    assert isinstance(net.geometry, Geometry)
    assert net.preprocessing_padding in ("mirror", "mean")
    assert net.encoder.training


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fcn8", r"model 'fcn8' is not known; there are fcn32s, .*deeplab_v3plus\. Did you mean fcn8s"),
        ("deeplabv3+", r"Did you mean deeplab_v3plus\?"),
        ("zzz", r"model 'zzz' is not known; there are .*deeplab_v3plus\.$"),
    ],
)
def test_an_unknown_name_finds_the_nearest(name, words):
    with pytest.raises(ValueError, match=words):
        build(name, 3)
