"""The wire format of Caffe: every layout of it comes back, and what is cut off is said."""

import numpy as np
import pytest

from atrous.contract import AtrousError
from atrous.foreign import read_weights
from atrous.foreign.caffe import read_caffe

LAYERS = {
    "conv1_1": [np.arange(2 * 3 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 3), np.array([5, -7], np.float32)],
    "relu1_1": [],
    "fc-deconv": [np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2, 1, 1)],
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_every_layout_comes_back(write_caffemodel, legacy, packed, double):
    blobs = read_caffe(write_caffemodel(LAYERS, legacy=legacy, packed=packed, double=double))
    assert list(blobs) == ["conv1_1.0", "conv1_1.1", "fc-deconv.0"]
    np.testing.assert_array_equal(blobs["conv1_1.0"], LAYERS["conv1_1"][0])
    assert blobs["conv1_1.1"].shape == ((1, 1, 1, 2) if legacy else (2,))
    np.testing.assert_array_equal(blobs["conv1_1.1"].ravel(), LAYERS["conv1_1"][1])
    np.testing.assert_array_equal(blobs["fc-deconv.0"], LAYERS["fc-deconv"][0])


def test_numbers_stay_in_the_file_until_they_are_used(write_caffemodel):
    blobs = read_caffe(write_caffemodel(LAYERS))
    for blob in blobs.values():
        owner = blob
        while not isinstance(owner, np.memmap):
            owner = owner.base
        assert owner is not None


def test_tensors_are_float32_and_double_precision_is_noted(write_caffemodel):
    weights = read_weights(write_caffemodel(LAYERS, double=True))
    assert weights.kind == "caffe"
    assert {str(tensor.dtype) for tensor in weights.tensors.values()} == {"torch.float32"}
    assert weights.notes == ("float64 became float32",)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_file_that_is_cut_off_is_said(write_caffemodel, share):
    path = write_caffemodel(LAYERS)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(AtrousError, match=r"net\.caffemodel: not a whole \.caffemodel \(.*fetch it again"):
        read_weights(path)


def test_shapes_that_do_not_hold_the_values_are_said(write_caffemodel):
    path = write_caffemodel({"a": [np.zeros((2, 3), np.float32)]})
    path.write_bytes(path.read_bytes().replace(b"\x3a\x04\x0a\x02\x02\x03", b"\x3a\x04\x0a\x02\x02\x7f"))
    with pytest.raises(AtrousError, match=r"a blob of shape \(2, 127\) has 6 values"):
        read_weights(path)


def test_a_net_without_weights_is_said(write_caffemodel):
    with pytest.raises(AtrousError, match=r"no layer of it has weights; give the \.caffemodel, not a solver state"):
        read_weights(write_caffemodel({"data": []}))


def test_numbers_without_an_end_are_said(tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(b"\x0a" + b"\xff" * 40)
    with pytest.raises(AtrousError, match="does not end"):
        read_weights(path)
