"""Exported .pt2 programs as scorers, and archives that would run code when they are opened."""

from __future__ import annotations

import json
import pickle
import re
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from torch.export import Dim

from atrous.contract import AtrousError
from atrous.prediction.exported import open_exported
from atrous.store import read_config

sys.path.append(str(Path(__file__).parent))  # tests are no package, so they import no neighbours
from exported_files import SETTINGS

PLAIN = {**SETTINGS, "geometry": {"stride": 1}}


class Bright(torch.nn.Module):
    """Calls a pixel light where red, green and blue are bright."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        light = images.mean(1, keepdim=True) - 127.5
        logits = torch.cat([-light, light], 1) / 16
        return logits, logits.softmax(1), logits.argmax(1).to(torch.uint8)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("programs") / "net.pt2"
    sizes = {"images": {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}}
    found = torch.export.export(Bright(), (torch.zeros(2, 3, 5, 7),), dynamic_shapes=sizes)
    torch.export.save(found, path, extra_files={"atrous": json.dumps(PLAIN)})
    return path


def rewritten(source: Path, path: Path, changes: dict[str, bytes]) -> Path:
    """Copy an archive with other contents for members that end so; those that are not there are added."""
    with ZipFile(source) as old, ZipFile(path, "w") as new:
        top = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            content = next((changes.pop(end) for end in tuple(changes) if name == f"{top}/{end}"), old.read(name))
            new.writestr(name, content)
        for end, content in changes.items():
            new.writestr(f"{top}/{end}", content)
    return path


@pytest.mark.parametrize("size", [(1, 1), (4, 9)])
def test_a_program_is_a_scorer(program: Path, size: tuple[int, int]) -> None:
    scorer = pickle.loads(pickle.dumps(open_exported(program, device="cpu")))
    images = np.random.default_rng(0).integers(0, 256, (2, 3, *size), np.uint8)
    probabilities = scorer(images)
    assert (probabilities.shape, probabilities.dtype) == ((2, 2, *size), np.float32)
    np.testing.assert_array_equal(scorer.labels(images), images.mean(1) > 127.5)
    assert read_config(program) == scorer.config


class Evil:
    """Unpickled, it ends the process."""

    def __reduce__(self) -> Any:
        return exit, (3,)


def test_what_would_run_code_is_refused(program: Path, tmp_path: Path) -> None:
    table = {"config": {"b": {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}}}
    changes = {
        "sample_inputs": {"data/sample_inputs/model.pt": pickle.dumps(Evil())},
        "weight_0": {"data/weights/model_weights_config.json": json.dumps(table).encode()},
        "data/aotinductor/model/a.so": {"data/aotinductor/model/a.so": b"code"},
        "data/weights/model.pt": {"data/weights/model.pt": pickle.dumps(Evil())},
    }
    for word, change in changes.items():
        path = rewritten(program, tmp_path / "evil.pt2", dict(change))
        with pytest.raises(AtrousError, match=rf"evil.pt2: holds what opening it would run \(.*{word}"):
            open_exported(path)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("\"Symbol('", "\"print('run') or Symbol('", 'expr_str "print'),
        ("\"Symbol('", "\"Max('exit(3)', 1) or Symbol('", "expr_str"),
        ("\"Symbol('", "\"Symbol.__class__('", "expr_str"),
        ('"torch.ops.aten.div.Tensor"', '"torch.ops.aten.from_file.default"', "target 'torch.ops.aten.from_file"),
        ('"torch.ops.aten.div.Tensor"', '"torch.hub.load"', "target 'torch.hub.load'"),
        ('"guards_code": []', '"guards_code": ["exit(3)"]', "guards_code"),
    ],
)
def test_what_would_be_evaluated_is_refused(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, word: str
) -> None:
    """Sizes are stored as Python expressions, which torch evaluates."""
    with ZipFile(program) as archive:
        graph = next(archive.read(name) for name in archive.namelist() if name.endswith("models/model.json")).decode()
    assert old in graph
    changed = {"models/model.json": graph.replace(old, new, 1).encode()}
    with pytest.raises(AtrousError, match=rf"evil.pt2: holds what opening it would run \({re.escape(word)}"):
        open_exported(rewritten(program, tmp_path / "evil.pt2", changed))
    assert capsys.readouterr().out == ""


def test_what_is_no_program_of_ours(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    with pytest.raises(AtrousError, match=r"net.pt2: there is no such file"):
        open_exported(path)
    path.write_bytes(program.read_bytes()[:2000])
    with pytest.raises(AtrousError, match=r"net.pt2: not a readable .pt2 file"):
        open_exported(path)
    with ZipFile(path, "w") as archive:
        archive.writestr("net/other", "1")
    with pytest.raises(AtrousError, match=r"net.pt2: has no metadata 'atrous'"):
        open_exported(path)
    with ZipFile(path, "w") as archive:
        archive.writestr("net/extra/atrous", json.dumps(PLAIN))
    with pytest.raises(AtrousError, match=r"net.pt2: (not a readable .pt2 file|holds what)"):
        open_exported(path)
