"""Caffe's networks: a file with a narrow net's own weights in Caffe's layout and names comes back identical."""

import re

import numpy as np
import pytest
import torch

from atrous.contract import AtrousError
from atrous.foreign import imported
from atrous.layers.upsample import BilinearDeconvolution
from atrous.models import build
from atrous.models.fcn import CAFFE_PREPROCESSING

WIDTH = 1 / 32
DEEPLAB_MEAN = (104.008, 116.669, 122.675)


def drawn(name, classes=5, **options):
    """Return a narrow net whose every weight, bias and statistic is its own."""
    torch.manual_seed(0)
    net = build(name, classes, width=WIDTH, **options).eval()
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if value.is_floating_point() and "upscore" not in key and "factor" not in key:
                value.uniform_(0.5, 1.5) if key.endswith("running_var") else value.normal_(0, 0.1)
    return net


def layers_of(net, rename):
    """Return {layer: blobs} by Caffe's names: `rename` maps the name of a layer of ours to theirs."""
    layers: dict[str, list[np.ndarray]] = {}
    for key, value in net.state_dict().items():
        module, _, part = key.rpartition(".")
        if part in ("weight", "bias") and rename(module):
            layers.setdefault(rename(module), []).append(value.numpy())
    return layers


def assert_same(found, net):
    ours = found.net.state_dict()
    assert list(ours) == list(net.state_dict())
    for name, value in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(ours[name], value, rtol=1e-6, atol=1e-7)


def last(module):
    return module.rpartition(".")[2]


def fcn_name(module):
    return {"upscore32": "upscore"}.get(module, last(module))


def full(layers, classes=5):
    """Return the layers with bilinear deconvolutions as Caffe keeps them: (classes, classes, k, k)."""
    for name, blobs in layers.items():
        if name.startswith("upscore") and blobs[0].shape[1] == 1:
            stride = blobs[0].shape[-1] // 2
            blobs[0] = BilinearDeconvolution(classes, stride, learnt=True).weight.detach().numpy()
    return layers


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
@pytest.mark.parametrize("legacy", [False, True])
def test_fcn_with_inner_products_and_fixed_deconvolutions(write_caffemodel, name, legacy):
    net = drawn(name)
    layers = full(layers_of(net, fcn_name))
    for layer in ("fc6", "fc7"):
        layers[layer][0] = layers[layer][0].reshape(len(layers[layer][0]), -1)
    found = imported(write_caffemodel(layers, legacy=legacy))
    assert (found.model, found.source) == (name, f"{name} of its authors, trained in Caffe")
    assert found.options == {"in_channels": 3, "deconvolution": "fixed", "width": WIDTH}
    assert found.preprocessing == CAFFE_PREPROCESSING
    assert_same(found, net)


def test_fcn_at_once_keeps_its_scales(write_caffemodel):
    net = drawn("fcn8s", at_once=True)
    layers = full(layers_of(net, fcn_name))
    layers |= {"scale_pool4": [np.full(16, 0.01, np.float32)], "scale_pool3": [np.full(8, 0.0001, np.float32)]}
    found = imported(write_caffemodel(layers))
    assert found.source == "fcn8s of its authors, trained in Caffe, at once"
    assert found.options["at_once"] is True
    assert_same(found, net)


@pytest.mark.parametrize(("changed", "kind"), [("upscore2", "learnt"), ("upscore8", "full")])
def test_deconvolutions_that_are_not_bilinear_are_kept(write_caffemodel, changed, kind):
    net = drawn("fcn8s", deconvolution=kind)
    net.get_submodule(changed).weight.data[0, 1] += 0.25
    found = imported(write_caffemodel(full(layers_of(net, fcn_name))))
    assert found.options["deconvolution"] == kind
    assert f"deconvolutions: {kind}" in found.notes
    assert_same(found, net)


def test_deconvolutions_with_biases_are_refused(write_caffemodel):
    layers = full(layers_of(drawn("fcn16s"), fcn_name))
    layers["upscore2"].append(np.ones(5, np.float32))
    with pytest.raises(
        AtrousError, match=r"file has 37 tensors, fcn16s 36; 36 fit: 'upscore2\.1' \(5,\) is only in the file"
    ):
        imported(write_caffemodel(layers))


@pytest.mark.parametrize("variant", ["largefov", "4x4", "7x7"])
def test_deeplab_v1(write_caffemodel, variant):
    net = drawn("deeplab_v1", variant=variant)
    layers = layers_of(net, lambda module: "fc8_voc12" if module == "fc8" else last(module))
    found = imported(write_caffemodel(layers))
    assert (found.model, found.options["variant"]) == ("deeplab_v1", variant)
    assert (found.preprocessing.order, found.preprocessing.mean) == ("BGR", DEEPLAB_MEAN)
    assert_same(found, net)


@pytest.mark.parametrize("score", ["fc8", "fc8_pascal", "fc8-exp", "fc8_a_b"])
def test_the_data_sets_name_in_fc8_may_be_any(write_caffemodel, score):
    layers = layers_of(drawn("deeplab_v1"), lambda module: score if module == "fc8" else last(module))
    assert imported(write_caffemodel(layers)).classes == 5


def test_deeplab_v1_with_multiscale_features(write_caffemodel):
    net = drawn("deeplab_v1", multiscale_features=True)

    def name(module):
        parts = module.split(".")
        return "_".join(parts[1:]) if parts[0] == "branches" else {"fc8": "fc8_voc12"}.get(module, last(module))

    found = imported(write_caffemodel(layers_of(net, name)))
    assert found.options["multiscale_features"] is True
    assert_same(found, net)


def test_deeplab_v2_on_vgg16(write_caffemodel):
    net = drawn("deeplab_v2", encoder="vgg16")
    found = imported(write_caffemodel(layers_of(net, lambda module: last(module).replace("fc8_", "fc8_voc12_"))))
    assert (found.model, found.options["encoder"]) == ("deeplab_v2", "vgg16")
    assert_same(found, net)


def test_largefov_is_v1s_unless_v2_is_asked_for(write_caffemodel):
    net = drawn("deeplab_v2", encoder="vgg16", head="largefov")
    path = write_caffemodel(layers_of(net, last))
    assert imported(path).model == "deeplab_v1"
    found = imported(path, model="deeplab_v2")
    assert found.options["head"] == "largefov"
    assert_same(found, net)


def caffe_resnet(net, branches=()):
    """Return the layers of a ResNet by Caffe's names: convolutions, and norms as sums with their count, and scales."""
    state = net.state_dict()
    layers: dict[str, list[np.ndarray]] = {}
    for key, value in state.items():
        module = key.rpartition(".")[0]
        if module.startswith("aspp."):
            layers.setdefault(f"fc1_voc12_{last(module)}", []).append(value.numpy())
        elif value.ndim == 4:
            layer = caffe_unit(module)
            norm = re.sub("conv(\\d)$", r"bn\1", module).replace("downsample.0", "downsample.1")
            place = layer.removeprefix("res") if layer != "conv1" else "_conv1"
            layers[layer] = [value.numpy()]
            statistics = [state[f"{norm}.running_{each}"].numpy() * 4 for each in ("mean", "var")]
            layers[f"bn{place}"] = [*statistics, np.array([4], np.float32)]
            layers[f"scale{place}"] = [state[f"{norm}.{each}"].numpy() for each in ("weight", "bias")]
    for branch in branches:
        layers |= {f"{name}_{branch}": blobs for name, blobs in layers.items() if "_res0" not in name}
    return layers


def caffe_unit(module):
    parts = module.removeprefix("encoder.body.").split(".")
    if parts[0] == "conv1":
        return "conv1"
    stage, unit = int(parts[0][5:]) + 1, int(parts[1])
    numbered = stage in (3, 4) and unit > 0
    branch = {"conv1": "2a", "conv2": "2b", "conv3": "2c", "downsample": "1"}[parts[2]]
    return f"res{stage}{f'b{unit}' if numbered else 'abc'[unit]}_branch{branch}"


@pytest.mark.parametrize("branches", [(), ("res075", "res05")])
def test_deeplab_v2_on_resnet101(write_caffemodel, branches):
    net = drawn("deeplab_v2")
    layers = caffe_resnet(net, branches)
    assert {"res3b3_branch2c", "res4b22_branch2a", "res5c_branch2b", "bn_conv1", "scale2a_branch1"} <= set(layers)
    found = imported(write_caffemodel(layers))
    assert (found.model, found.options["encoder"], found.classes) == ("deeplab_v2", "resnet101_caffe", 5)
    assert found.preprocessing.mean == DEEPLAB_MEAN
    assert bool(found.notes) == bool(branches)
    assert_same(found, net)


def test_deeplab_v2_at_three_scales(write_caffemodel):
    net = drawn("deeplab_v2")
    found = imported(write_caffemodel(caffe_resnet(net)), options={"multiscale": True})
    assert found.options["multiscale"] is True
    torch.testing.assert_close(found.net.net.state_dict()["aspp.c0.weight"], net.state_dict()["aspp.c0.weight"])


def deconvnet_layers(net, *, statistics):
    state = net.state_dict()
    layers: dict[str, list[np.ndarray]] = {}
    for key, value in state.items():
        module, _, part = key.rpartition(".")
        name = last(module)
        if "norm" in name:
            if part != "weight":
                continue
            if name in ("norm6", "norm7"):
                theirs = f"bnfc{name[-1]}" if module.startswith("encoder") else "fc6-deconv-bn"
            else:
                theirs = name.replace("norm", "debn" if module.startswith("deconv") else "bn")
            parts = ("weight", "bias", *(("running_mean", "running_var") if statistics else ()))
            layers[theirs] = [state[f"{module}.{each}"].numpy().reshape(1, -1, 1, 1) for each in parts]
        elif part in ("weight", "bias"):
            theirs = {"fc6_deconv": "fc6-deconv", "seg_score": "seg-score-voc"}.get(name, name)
            layers.setdefault(theirs, []).append(value.numpy())
    return layers


def test_deconvnet_with_statistics(write_caffemodel):
    net = drawn("deconvnet")
    found = imported(write_caffemodel(deconvnet_layers(net, statistics=True), legacy=True))
    assert (found.model, found.preprocessing.mean) == ("deconvnet", DEEPLAB_MEAN)
    assert found.notes == ()
    assert_same(found, net)


def test_deconvnet_with_statistics_folded_in(write_caffemodel):
    net = drawn("deconvnet", hidden=64)
    for name, value in net.state_dict().items():
        if name.endswith("running_mean"):
            value.zero_()
        if name.endswith("running_var"):
            value.fill_(1 - 1e-5)
    found = imported(write_caffemodel(deconvnet_layers(net, statistics=False)))
    assert found.options["hidden"] == 64
    assert "statistics folded in" in found.notes[0]
    assert_same(found, net)


def test_a_layer_that_is_missing_is_named(write_caffemodel):
    layers = full(layers_of(drawn("fcn8s"), fcn_name))
    del layers["conv3_2"]
    words = (
        r"the file has 37 tensors, fcn8s 39; 37 fit: 'encoder\.vgg\.stage3\.conv3_2\.weight' .* is only in the network"
    )
    with pytest.raises(AtrousError, match=words):
        imported(write_caffemodel(layers))
