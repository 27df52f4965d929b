"""Pickles of strangers: plain content is read, and whatever wants to run is refused by its name and does not run."""

import argparse
import io
import os
import pickle
import subprocess
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from atrous.contract import AtrousError
from atrous.foreign import read_weights
from atrous.foreign.pickles import Storage, View, as_mapping, resolved, unpickled

LAYOUTS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


class Calls:
    """Pickled, it has a function called with arguments when it is read."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def save(content, path, zipped):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@LAYOUTS
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch {marker}",), "os.system"),
        (subprocess.check_output, (["touch", "{marker}"],), "subprocess.check_output"),
        (open, ("{marker}", "w"), "io.open|_io.open|builtins.open"),
        (eval, ("open('{marker}', 'w')",), "builtins.eval"),
        (exec, ("open('{marker}', 'w')",), "builtins.exec"),
        (getattr, (dict, "fromkeys"), "builtins.getattr"),
        (torch.load, ("{marker}",), "torch.serialization.load"),
        (np.load, ("{marker}",), "numpy.load"),
    ],
)
def test_what_wants_to_run_is_refused_by_name_and_does_not(tmp_path, zipped, function, arguments, name):
    marker = tmp_path / "marker"
    filled = [each.format(marker=marker) if isinstance(each, str) else each for each in arguments]
    if filled and isinstance(filled[0], list):
        filled = [[each.format(marker=marker) for each in filled[0]]]
    path = save({"a": torch.ones(2), "x": Calls(function, *filled)}, tmp_path / "weights.pth", zipped)
    with pytest.raises(AtrousError, match=rf"weights\.pth: the pickle wants to call ({name}); refused"):
        read_weights(path)
    assert not marker.exists()


def test_a_plain_pickle_that_wants_to_run_is_refused_too(tmp_path):
    path, marker = tmp_path / "weights.pkl", tmp_path / "marker"
    path.write_bytes(pickle.dumps({"x": Calls(os.system, f"touch {marker}")}))
    with pytest.raises(AtrousError, match=r"wants to call os\.system; refused"):
        read_weights(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cposix\nsystem\n(S'touch MARKER'\ntR.",
        b"(S'touch MARKER'\niposix\nsystem\n.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch MARKER\x85R.",
        b"\x80\x02ccollections\nOrderedDict\n}X\x05\x00\x00\x00clearcposix\nsystem\ns\x86b.",
        b"ctorch._utils\n_rebuild_tensor_v2\nN}X\x09\x00\x00\x00_function" + b"cposix\nsystem\ns\x86b.",
        b"cbuiltins\nlist\n\x8c\x08__init__\x86b.",
    ],
)
def test_hand_written_programs_are_refused(tmp_path, monkeypatch, program):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AtrousError, match=r"a\.pth: (the pickle wants to call|a damaged pickle)"):
        unpickled(io.BytesIO(program), Path("a.pth"))
    assert not (tmp_path / "MARKER").exists()


def test_a_pickle_that_would_take_all_memory_is_refused():
    with pytest.raises(AtrousError, match="step 3 is to be remembered as number 2147483647"):
        unpickled(io.BytesIO(b"\x80\x02}r\xff\xff\xff\x7f."), Path("a.pth"))


def test_a_pickle_cannot_change_what_the_next_one_finds():
    change = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x09\x00\x00\x00_functionI1\ns\x86b."
    with pytest.raises(AtrousError, match="a pickle wants to change a function's _function"):
        unpickled(io.BytesIO(change), Path("a.pth"))
    namespace = b"\x80\x02cargparse\nNamespace\nN}X\x04\x00\x00\x00evilI1\ns\x86b."
    unpickled(io.BytesIO(namespace), Path("a.pth"))
    assert not hasattr(argparse.Namespace, "evil")


@LAYOUTS
def test_a_whole_module_is_refused_with_what_to_do(tmp_path, zipped):
    path = save(nn.Sequential(nn.Conv2d(3, 4, 3)), tmp_path / "model.pth", zipped)
    words = r"model\.pth: a whole pickled module, whose code would run; refused\. Where it was made, torch\.save\(model"
    with pytest.raises(AtrousError, match=words):
        read_weights(path)


class Net(nn.Module):
    pass


def test_a_module_of_a_class_of_its_own_is_refused_with_what_to_do(tmp_path):
    path = save(Net(), tmp_path / "model.pth", True)
    with pytest.raises(AtrousError, match=r"wants to call .*Net; refused\. Was a whole module pickled\?.*state_dict"):
        read_weights(path)


def test_torchscript_is_refused(tmp_path):
    path = tmp_path / "script.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"script/{name}", "")
    with pytest.raises(AtrousError, match=r"script\.pt: a TorchScript program, whose code would run; refused"):
        read_weights(path)


@LAYOUTS
def test_harmless_content_beside_the_weights_is_read_and_said(tmp_path, zipped):
    transposed = torch.arange(12.0).reshape(3, 4).T
    state = OrderedDict(weight=transposed, bias=nn.Parameter(torch.ones(2)), steps=torch.tensor(7))
    content = {
        "args": argparse.Namespace(rate=0.1, device=torch.device("cpu")),
        "epoch": np.float64(3.5),
        "best": np.int64(4),
        "history": defaultdict(list, a=[1]),
        "seen": Counter("aab"),
        "state_dict": state,
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 1, "params": {1, 2}}]},
    }
    weights = read_weights(save(content, tmp_path / "checkpoint.pth", zipped))
    torch.testing.assert_close(weights.tensors, {"weight": transposed, "bias": torch.ones(2), "steps": torch.tensor(7)})
    assert weights.notes == (
        "taken from 'state_dict' of the checkpoint; left out: args, epoch, best, history, seen and 1 more",
    )


@LAYOUTS
def test_views_of_one_storage_come_back(tmp_path, zipped):
    whole = torch.arange(24.0)
    state = {"args": argparse.Namespace(), "model": {"a": whole[4:12].reshape(2, 4), "b": whole[::2]}}
    tensors = read_weights(save(state, tmp_path / "views.pth", zipped)).tensors
    torch.testing.assert_close(tensors, {"a": whole[4:12].reshape(2, 4), "b": whole[::2]})


@LAYOUTS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.uint8, torch.bool])
def test_every_type_of_number_comes_back(tmp_path, zipped, dtype):
    given = torch.tensor([0, 1, 1, 0]).to(dtype)
    content = {"args": argparse.Namespace(), "model": {"a": given}}
    tensors = read_weights(save(content, tmp_path / "a.pth", zipped)).tensors
    expected = given.float() if dtype.is_floating_point else given
    torch.testing.assert_close(tensors["a"], expected)


def test_arrays_of_numpy_come_back(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.arange(6, dtype=">f4").reshape(3, 2))}
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"model": arrays}, protocol=2))
    tensors = read_weights(path).tensors
    for name, array in arrays.items():
        np.testing.assert_array_equal(tensors[name].numpy(), array)


def test_arrays_of_objects_are_refused(tmp_path):
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"a": np.array([{}], object)}, protocol=2))
    with pytest.raises(AtrousError, match="NumPy's type 'O8', which are no numbers"):
        read_weights(path)


def test_a_tensor_beyond_its_storage_is_refused():
    numbers = Storage(torch.float32, 4, torch.zeros(4))
    for view in (View(numbers, 0, (5,), (1,)), View(numbers, 3, (2,), (1,)), View(numbers, 0, (9, 9), (0, 0))):
        with pytest.raises(ValueError, match="lies outside its 4 numbers"):
            resolved(view)
    with pytest.raises(ValueError, match="numbers are not in the file"):
        resolved(View(Storage(torch.float32, 4), 0, (1,), (1,)))
    assert resolved(View(numbers, 0, (2, 2), (2, 1))).shape == (2, 2)


@LAYOUTS
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_file_that_is_cut_off_is_said(tmp_path, zipped, share):
    path = save({"args": argparse.Namespace(), "model": {"a": torch.ones(500)}}, tmp_path / "cut.pth", zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(AtrousError, match=r"cut\.pth: (a damaged|named \.pth, but it begins with)"):
        read_weights(path)


def test_a_namespace_is_a_mapping():
    assert as_mapping(argparse.Namespace(a=1)) == {"a": 1}
