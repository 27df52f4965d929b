"""What builders refuse in the same words, asked of every builder of the table."""

import inspect

import numpy as np
import pytest

from atrous.models import TABLE, deeplab_v1, deeplab_v2, deeplab_v3plus, fcn8s, fcn32s, unet
from atrous.models.arguments import check_arguments


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 2.0}, "{}: classes 2.0 came; a whole number is accepted"),
        ({"classes": True}, "{}: classes True came"),
        ({"in_channels": "3"}, "{}: in_channels '3' came"),
        ({"in_channels": True}, "{}: in_channels True came"),
        ({"width": float("inf")}, "{}: width inf came; it is a share of the paper's channels, above 0"),
        ({"width": float("nan")}, "{}: width nan came"),
        ({"width": True}, "{}: width True came"),
        ({"width": "1"}, "{}: width '1' came"),
        ({"dropout": 1.0}, "{}: dropout 1.0 came; it is a share from 0 to below 1"),
        ({"dropout": -0.1}, "{}: dropout -0.1 came"),
        ({"dropout": False}, "{}: dropout False came"),
        ({"dropout": "0.5"}, "{}: dropout '0.5' came"),
        ({"output_stride": "8"}, "{}: output_stride '8' came; a whole number is accepted"),
        ({"output_stride": 8.0}, "{}: output_stride 8.0 came"),
        ({"encoder": ""}, "encoder ''"),
        ({"encoder": 5}, "encoder 5 came"),
        ({"encoder": []}, r"encoder \[\] came"),
        ({"pretrained": 5}, "pretrained 5 came"),
        ({"pretrained": None}, "pretrained None came"),
    ],
)
def test_every_builder_refuses(name, options, words):
    assert set(options) <= set(inspect.signature(TABLE[name]).parameters)
    with pytest.raises(ValueError, match=words.format(name)):
        TABLE[name](**({"width": 1 / 64} | options))


@pytest.mark.parametrize(
    ("builder", "options", "words"),
    [
        (deeplab_v1, {"multiscale_features": "no"}, "deeplab_v1: multiscale_features 'no' came; True or False is acc"),
        (deeplab_v1, {"train_branches_only": 0}, "deeplab_v1: train_branches_only 0 came"),
        (deeplab_v1, {"variant": ["7x7"]}, r"deeplab_v1: variant \['7x7'\] came; there are largefov, 7x7"),
        (deeplab_v2, {"multiscale": "no"}, "deeplab_v2: multiscale 'no' came; True or False is accepted"),
        (deeplab_v2, {"head": ["aspp-l"]}, r"deeplab_v2: head \['aspp-l'\] came"),
        (deeplab_v3plus, {"separable": "yes"}, "deeplab_v3plus: separable 'yes' came"),
        (fcn32s, {"auxiliary": "no"}, "fcn32s: auxiliary 'no' came"),
        (fcn32s, {"encoder": "", "head": "torchvision"}, "encoder '' is not known"),
        (fcn8s, {"at_once": 1}, "fcn8s: at_once 1 came"),
        (unet, {"depth": 2.0}, "unet: depth 2.0 came; a whole number is accepted"),
        (unet, {"channels": 2.5}, "unet: channels 2.5 came; a whole number is accepted"),
        (TABLE["deconvnet"], {"hidden": 64.0}, "deconvnet: hidden 64.0 came"),
    ],
)
def test_builders_refuse_of_their_own(builder, options, words):
    with pytest.raises(ValueError, match=words):
        builder(**({"width": 1 / 64} | options))


def test_integers_of_numpy_are_integers():
    check_arguments("unet", np.int64(2), np.int32(3), np.float64(0.5), np.float32(0.5), np.int64(8))
