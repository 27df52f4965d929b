"""Exported networks at the doors: export and bench, and what takes an exported file like a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import atrous
from atrous.contract import AtrousError, LabelSpace, Preprocessing
from atrous.data.writers import write_image, write_mask
from atrous.models import Segmenter, build
from atrous.store import Config, model_hash, open_scorer, plain, read_crf, save_model, write_crf

Run = Callable[..., tuple[int, str, str]]
SPACE = LabelSpace(names=("dark", "light"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model folder with a network that is not trained, and the numbers of a CRF."""
    torch.manual_seed(0)
    small = {"width": 1 / 16, "depth": 1, "padding": "same", "norm": "batch", "upsampling": "bilinear"}
    options = {"in_channels": 3, "pretrained": False, **small}
    segmenter = Segmenter(build("unet", 2, **options), SPACE, Preprocessing()).eval()
    config = Config(
        model="unet",
        options=options,
        space=SPACE,
        preprocessing=segmenter.preprocessing,
        geometry=plain(segmenter.geometry),
    )
    folder = tmp_path_factory.mktemp("models") / "a model 모델"
    save_model(folder, segmenter, config)
    write_crf(folder, {"crf": {"w1": 1.0, "iterations": 1}})
    return folder


@pytest.fixture(scope="module")
def exported(model: Path) -> Path:
    return atrous.export(model, out=model.parent / "net.onnx").path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of images and masks: light where the image is."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for index in range(4):
        labels = np.repeat(np.repeat(random.integers(0, 2, (3, 4), np.uint8), 8, 0), 8, 1)
        image = labels[..., None] * 200 + random.integers(0, 50, (24, 32, 3), np.uint8)
        write_image(root / "images" / f"{index}.png", image.astype(np.uint8))
        write_mask(root / "masks" / f"{index}.png", labels, SPACE)
    (root / "classes.json").write_text(json.dumps({"names": list(SPACE.names)}))
    return root


@pytest.mark.slow
def test_a_file_is_written_and_said_to_agree(model: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "net.onnx"
    code, text, errors = run("export", model, "--to", "onnx", "--precision", "fp32", "--out", out, "--quiet")
    assert (code, errors) == (0, "")
    assert text.startswith(f"{out}: fp32, ")
    assert "like torch at 4 sizes" in text
    assert f"next: atrous predict {out} IMAGES" in text


def test_an_exported_file_predicts_what_the_model_does(model: Path, exported: Path, data: Path) -> None:
    for path in sorted((data / "images").iterdir()):
        np.testing.assert_array_equal(atrous.predict(exported, path).labels, atrous.predict(model, path).labels)
    reports = [atrous.evaluate(each, data, split="val") for each in (exported, model)]
    of_file, of_folder = (report.evaluation.scores.mean_iou for report in reports)
    assert of_file == pytest.approx(of_folder, abs=1e-6)


def test_an_exported_file_is_described_and_carries_the_crf(model: Path, exported: Path) -> None:
    assert atrous.describe(exported).parameters == atrous.describe(model).parameters
    values, current = read_crf(exported) or ({}, False)
    assert (values["crf"], current) == ({"w1": 1.0, "iterations": 1}, True)
    with pytest.raises(AtrousError, match=r"net.onnx: an exported file is not changed; tune the run"):
        write_crf(exported, {"crf": None})
    with pytest.raises(AtrousError, match=r"net.onnx: an exported network has no torch weights"):
        atrous.export(exported, out=exported.with_name("again.onnx"))
    assert len({model_hash(model), model_hash(exported)}) == 2
    assert open_scorer(exported)[1].geometry == open_scorer(model)[1].geometry


def test_commands_with_an_exported_file_take_no_torch(exported: Path, data: Path, tmp_path: Path) -> None:
    commands = [
        ["predict", str(exported), str(data / "images"), "--out", str(tmp_path / "out"), "--quiet"],
        ["evaluate", str(exported), str(data), "--quiet"],
    ]
    for command in commands:
        program = (
            "import sys\nfrom atrous import cli\n"
            f"try: cli.main({command!r})\nexcept SystemExit as stop: code = stop.code\n"
            "print(code, *{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        code, *modules = done.stderr.splitlines()[-1].split()
        assert code == "0", done.stderr
        assert {"torch", "torchvision", "timm", "onnx", "onnxscript"} & set(modules) == set()


@pytest.mark.slow
def test_int8_at_the_door(model: Path, data: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "small.onnx"
    given = ("export", model, "--precision", "int8", "--data", data, "--out", out, "--quiet")
    code, text, errors = run(*given, "--limit", 100, "--images", 2, "--json")
    assert code == 0, errors
    assert json.loads(text)["export"]["calibrated_on"] == 2
    assert atrous.predict(out, next((data / "images").iterdir())).labels.shape == (24, 32)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--precision", "int8"), "int8 came without data; labelled images tell the ranges"),
        (("--data", "photos"), "data came for fp32; only int8 is fitted to images"),
        (("--to", "program", "--precision", "fp16"), "precision 'fp16' came for program; fp32 can be written"),
        (("--to", "openvino", "--precision", "int8"), "OpenVINO chooses its precision when it runs"),
        (("--to", "caffe"), "caffe"),
        (("--precision", "int8", "--data", "photos", "--images", "0"), "images 0 came; 1 or more is accepted"),
        (("--to", "openvino"), "net.onnx: the name ends in '.onnx'; .xml is wanted"),
    ],
)
def test_what_cannot_be_exported(model: Path, tmp_path: Path, run: Run, words: tuple[str, ...], message: str) -> None:
    code, _, errors = run("export", model, "--out", tmp_path / "net.onnx", "--quiet", *words)
    assert code == 2
    assert message in errors
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there(tmp_path: Path, run: Run) -> None:
    code, _, errors = run("export", tmp_path / "none", "--out", tmp_path / "net.onnx")
    assert (code, "no such model folder or run" in errors) == (2, True)
    (tmp_path / "foreign.onnx").write_bytes(b"no graph")
    code, _, errors = run("predict", tmp_path / "foreign.onnx", tmp_path, "--out", tmp_path / "out")
    assert (code, "foreign.onnx: not a readable .onnx file" in errors) == (2, True)


@pytest.mark.slow
def test_bench_prints_a_table(model: Path, run: Run) -> None:
    given = ("bench", model, "--size", "32x48", "--rounds", 1, "--batch", 2, "--threads", 1, "--quiet")
    code, text, errors = run(*given, "--runtimes", "torch,torch-bf16,onnx,onnx-int8")
    assert (code, errors) == (0, "")
    rows = [line.split()[:2] for line in text.splitlines() if line.startswith(("torch", "onnxruntime"))]
    assert rows == [["torch", "fp32"], ["torch", "bf16"], ["onnxruntime", "fp32"], ["onnxruntime", "int8"]]
    assert "unet, 32 x 48, threads 1" in text
    assert "G multiply-adds" in text


def test_bench_as_json(model: Path, run: Run) -> None:
    code, text, _ = run("bench", model, "--size", 32, "--rounds", 1, "--runtimes", "torch", "--quiet", "--json")
    found: dict[str, Any] = json.loads(text)
    timing = found["timings"][0]
    assert (code, found["size"], timing["runtime"]) == (0, [32, 32], "torch")
    assert timing["floor"] > 0
    assert 0 < timing["median"] <= timing["p95"]
    assert found["work"]["multiply_adds"] > 1e5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--runtimes", "torch,tpu"), "runtimes 'tpu' came; there are torch, torch-bf16, onnx"),
        (("--size", "0"), "size 0 x 0 came"),
        (("--rounds", "0"), "rounds 0 came; 1 or more is accepted"),
        (("--threads", "-1"), "threads -1 came"),
    ],
)
def test_what_cannot_be_timed(model: Path, run: Run, words: tuple[str, ...], message: str) -> None:
    code, _, errors = run("bench", model, "--quiet", *words)
    assert (code, message in errors) == (2, True), errors
