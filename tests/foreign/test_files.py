"""What files of weights are told apart by, and what is said of those that are none."""

import argparse
import builtins
import importlib
import io
import random
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

from atrous.contract import AtrousError
from atrous.foreign import read_weights
from atrous.foreign.files import without_prefixes

ACCEPTED = r"Accepted are \.safetensors, \.pth and \.pt of torch\.save, \.caffemodel, and \.h5 of Keras"


def test_safetensors_come_back(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors")
    kind, found, notes = read_weights(tmp_path / "a.safetensors")
    assert kind == "safetensors"
    torch.testing.assert_close(found, {"a": tensors["a"], "b": torch.ones(2)})
    assert notes == ("bfloat16 became float32",)


@pytest.mark.parametrize("nest", ["state_dict", "model_state", "model", "net"])
def test_nested_states_are_found_and_prefixes_taken_off(saved, nest):
    path = saved({nest: {"module.model.a": torch.ones(1), "module.model.b": torch.ones(2)}, "epoch": 3})
    weights = read_weights(path)
    assert list(weights.tensors) == ["a", "b"]
    assert weights.notes == (
        f"taken from {nest!r} of the checkpoint; left out: epoch",
        "the prefix 'module.' taken off 2 names",
        "the prefix 'model.' taken off 2 names",
    )


def test_what_is_no_tensor_is_left_out_and_said(saved):
    weights = read_weights(saved({"a": torch.ones(1), "version": 3, "names": ["x"]}))
    assert list(weights.tensors) == ["a"]
    assert weights.notes == ("left out, being no tensors: version, names",)


def test_prefixes_that_not_all_names_share_stay():
    notes: list[str] = []
    tensors = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert without_prefixes(tensors, notes) == tensors
    assert notes == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pth", b"", "an empty file; fetch it again"),
        ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a pointer of Git LFS"),
        ("a.pth", b"<!DOCTYPE html><html>", "a web page; the download led to a page, not to the file"),
        ("a.pth", b"\n  <html>", "a web page"),
        ("a.onnx", b"\x08\x07\x12", f"an ONNX model, which is not read. {ACCEPTED}"),
        ("a.tflite", b"\x1c\0\0\0TFL3", r"a TensorFlow Lite model \(\.tflite\), which is not read"),
        ("a.bin", b"\x1c\0\0\0TFL3", r"a TensorFlow Lite model \(\.tflite\), which is not read"),
        ("a.pb", b"\x0a\x05abcde", r"a graph of TensorFlow \(\.pb\), which is not read"),
        ("model.ckpt.index", b"\0\0", "a checkpoint of TensorFlow, which is not read"),
        ("model.ckpt.data-00000-of-00001", b"\0\0", "a checkpoint of TensorFlow, which is not read"),
        ("a.mat", b"MATLAB 5.0 MAT-file", r"a file of MATLAB \(\.mat\), which is not read"),
        ("a.tar", bytes(257) + b"ustar", "a tar archive"),
        ("a.gz", b"\x1f\x8b\x08", "a gzip archive"),
        ("a.npy", b"\x93NUMPY\x01", r"a single array of NumPy \(\.npy\)"),
        ("a.prototxt", b"name: 'x'", r"a network's description without its weights; give the \.caffemodel"),
        ("a.pth", b"junk junk", r"named \.pth, but it begins with b'junk jun': damaged, or of another kind"),
        ("a.h5", b"junk junk", r"named \.h5, but it begins with"),
        ("a.txt", b"hello there", rf"not a file of weights that is known \(it begins with b'hello th'\)\. {ACCEPTED}"),
        ("a.safetensors", b"\x02\0\0\0\0\0\0\0{x", "a damaged safetensors file"),
        ("a.h5", b"\x89HDF\r\n\x1a\n junk", "a damaged HDF5 file"),
        ("a.pth", b"PK\x03\x04 junk", "a damaged zip file"),
        ("a.pkl", b"\x80\x04junk", "a damaged pickle"),
    ],
)
def test_other_and_damaged_files_are_said_by_name(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AtrousError, match=rf"{name}: {words}"):
        read_weights(path)


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("a.npy", r"an archive of NumPy \(\.npz\)"),
        ("config.json", r"a model of Keras 3 \(\.keras\); unpack it and give its model\.weights\.h5"),
        ("a.txt", r"a zip file without the data\.pkl of torch\.save"),
    ],
)
def test_other_zip_files_are_said(tmp_path, member, words):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in (member, *(["model.weights.h5"] if member == "config.json" else [])):
            archive.writestr(name, b"")
    with pytest.raises(AtrousError, match=words):
        read_weights(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (("config.json", "model.safetensors"), "if atrous wrote it, it needs no import"),
        (("best/config.json",), "a run of atrous needs no import"),
        (("saved_model.pb",), "a SavedModel of TensorFlow, which is not read"),
        ((), "give the file of weights in it"),
    ],
)
def test_folders_are_said(tmp_path, make, words):
    for name in make:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    with pytest.raises(AtrousError, match=f": a folder; {words}"):
        read_weights(tmp_path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(AtrousError, match=r"none\.pth: no such file"):
        read_weights(tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.ones(1)], "holds a list; a state_dict of names and tensors is needed"),
        (torch.ones(1), "holds a single tensor; a state_dict"),
        ({"epoch": 3, "lr": 0.1}, "no tensors by name in it; it holds epoch, lr"),
        (
            {"a": torch.tensor([1.0, float("nan")]), "b": torch.ones(1)},
            "1 of 2 tensors hold values that are not finite",
        ),
        ({"a": torch.tensor([float("inf")])}, "first 'a': the training had diverged; take an earlier checkpoint"),
        ({"a": torch.ones(1, dtype=torch.complex64)}, "'a' is torch.strided, torch.complex64; dense real numbers"),
        ({"a": torch.ones(1).expand(10**9)}, "'a' has more values .1,000,000,000. than the file has numbers"),
    ],
)
def test_content_that_is_no_state_is_said(saved, content, words):
    with pytest.raises(AtrousError, match=words):
        read_weights(saved(content))


def test_hdf5_is_read_with_h5py_and_refused_with_the_reason_without(tmp_path, monkeypatch):
    h5py = importlib.import_module("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["conv/kernel"] = np.arange(6.0).reshape(2, 3)
        file["optimizer_weights/conv/kernel"] = np.zeros(3)
        file.attrs["backend"] = "tensorflow"
    kind, tensors, _ = read_weights(tmp_path / "a.h5")
    assert kind == "keras"
    assert {name: tuple(value.shape) for name, value in tensors.items()} == {"conv/kernel": (2, 3)}
    original = builtins.__import__

    def without(name, *arguments, **options):
        if name == "h5py":
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AtrousError, match=r'h5py is not installed: pip install "atrous\[formats\]"'):
        read_weights(tmp_path / "a.h5")


def test_hdf5_without_numbers_is_said(tmp_path):
    h5py = importlib.import_module("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("conv")
    with pytest.raises(AtrousError, match="no array of numbers in this HDF5 file"):
        read_weights(tmp_path / "a.h5")


def test_compressed_members_are_refused(saved):
    path = saved({"args": argparse.Namespace(), "a": torch.ones(3)})
    copy = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    path.write_bytes(copy.getvalue())
    with pytest.raises(AtrousError, match=r"is compressed, as torch\.save never does"):
        read_weights(path)


def _damaged(content, draw):
    """Return the content with a byte changed, some lost, some added, or its end cut off."""
    content, place = bytearray(content), draw.randrange(len(content))
    change = draw.randrange(4)
    if change == 0:
        content[place] = draw.randrange(256)
    elif change == 1:
        del content[place : place + draw.randrange(1, 9)]
    elif change == 2:
        content[place:place] = draw.randbytes(draw.randrange(1, 5))
    else:
        del content[max(1, place) :]
    return bytes(content)


@pytest.mark.parametrize("form", ["zip.pth", "legacy.pth", "a.safetensors", "a.caffemodel", "a.h5"])
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path, saved, write_caffemodel, form):
    state = {"a": torch.arange(12.0).reshape(3, 4), "b": torch.ones(5).half()}
    if form.endswith(".pth"):
        path = saved(
            {"args": argparse.Namespace(), "state_dict": state}, _use_new_zipfile_serialization=form == "zip.pth"
        )
    elif form == "a.safetensors":
        path = tmp_path / form
        safetensors.torch.save_file(state, path)
    elif form == "a.caffemodel":
        path = write_caffemodel({"conv1": [state["a"], state["b"]]})
    else:
        h5py = importlib.import_module("h5py")
        path = tmp_path / form
        with h5py.File(path, "w") as file:
            file["x/y"] = np.arange(6.0)
    content, draw = path.read_bytes(), random.Random(0)
    read, refused = 0, []
    for _ in range(60):
        path.write_bytes(_damaged(content, draw))
        try:
            read_weights(path)
            read += 1
        except AtrousError as error:
            refused.append(str(error))
    assert read
    assert refused
    assert [words for words in refused if path.name not in words] == []


def test_a_file_without_tensors_is_refused(tmp_path):
    (tmp_path / "none.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (tmp_path / "none.caffemodel").write_bytes(b"\x0a\x02ab")
    torch.save({}, tmp_path / "none.pth")
    words = {
        "none.safetensors": "none.safetensors: holds no tensors; give the file with the weights",
        "none.caffemodel": "none.caffemodel: no layer of it has weights",
        "none.pth": "none.pth: no tensors by name in it; it is empty",
    }
    for name, message in words.items():
        with pytest.raises(AtrousError, match=message):
            read_weights(tmp_path / name)
