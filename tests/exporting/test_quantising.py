"""Networks in 8-bit integers: which nodes, what it costs, and files that are not written."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from atrous.contract import AtrousError
from atrous.exporting.quantising import between_layers, export_int8
from atrous.prediction.exported import read_exported
from atrous.prediction.runtime import open_onnx

sys.path.append(str(Path(__file__).parents[1] / "prediction"))  # tests are no package, so they import no neighbours
from exported_files import SETTINGS, write_exported


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_exported(tmp_path_factory.mktemp("net") / "float.onnx")


def some_images(count: int = 4) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (1, 3, 8, 10 + index), np.uint8) for index in range(count)]


def scores(*values: float) -> Callable[[Any], float]:
    waiting = list(values)
    return lambda scorer: waiting.pop(0)


def test_labels_stay_and_the_loss_is_stored(network: Path, tmp_path: Path) -> None:
    out = tmp_path / "작은 int8.onnx"
    seen = []

    def mean_iou(scorer: Any) -> float:
        seen.append(scorer.labels(some_images(1)[0]))
        return 0.6 if len(seen) == 1 else 0.595

    done = export_int8(network, out, images=some_images(), mean_iou=mean_iou)
    assert (done.precision, done.bytes) == ("int8", out.stat().st_size)
    assert (seen[0] != seen[1]).mean() < 0.05
    stored = read_exported(out)[1]["export"]
    assert stored == done.metadata["export"]
    assert (stored["precision"], stored["calibrated_on"], stored["opset"]) == ("int8", 4, 20)
    assert stored["mean_iou"] == {"fp32": 0.6, "int8": 0.595, "points_lost": pytest.approx(0.5), "limit": 1.0}
    types = {node.op_type for node in onnx.load(out).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Resize", "Softmax"} <= types
    assert open_onnx(out).config == open_onnx(network).config


def test_a_loss_over_the_limit_leaves_nothing(network: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    words = (
        r"small.onnx: was not written: 2.00 points of mean IoU are lost in int8 \(60.00 to 58.00\), and the limit is 1"
    )
    with pytest.raises(AtrousError, match=words):
        export_int8(network, out, images=some_images(), mean_iou=scores(0.6, 0.58))
    with pytest.raises(AtrousError, match=r"nan points of mean IoU are lost"):
        export_int8(network, out, images=some_images(), mean_iou=scores(0.6, float("nan")))
    assert list(tmp_path.iterdir()) == []
    export_int8(network, out, images=some_images(), mean_iou=scores(0.6, 0.58), limit=2.5)
    assert out.is_file()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"images": []}, AtrousError, r"float.onnx: no images came; some tens are needed"),
        ({"limit": -1.0}, ValueError, r"limit -1.0 came; 0 or more points"),
        ({"limit": float("nan")}, ValueError, r"limit nan came"),
        ({"path": "net.xml"}, ValueError, r"net.xml: the name ends in '.xml'; .onnx is wanted"),
        ({"images": [np.zeros((1, 3, 4, 4), np.uint16)]}, ValueError, r"uint16 came, and this network"),
        ({"images": [np.zeros((1, 2, 4, 4), np.uint8)]}, ValueError, r"images of 2 channels came"),
    ],
)
def test_what_cannot_be_quantised(
    network: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    given = {"path": "net.onnx", "images": some_images(), "mean_iou": scores(1, 1), **change}
    with pytest.raises(error, match=words):
        export_int8(network, tmp_path / given.pop("path"), **given)
    assert list(tmp_path.iterdir()) == []


def test_only_float32_files_of_ours(tmp_path: Path) -> None:
    half = {**SETTINGS, "export": {"precision": "fp16"}}
    with pytest.raises(AtrousError, match=r"half.onnx: is in fp16; a float32 file is quantised"):
        export_int8(
            write_exported(tmp_path / "half.onnx", half), tmp_path / "o.onnx", images=some_images(), mean_iou=scores(1)
        )


def test_sizes_are_left_alone(network: Path) -> None:
    assert between_layers(onnx.load(network).graph) == ["logits"]


def test_large_images_tell_their_middle(network: Path, tmp_path: Path) -> None:
    wide = np.zeros((1, 3, 2, 3000), np.uint8)
    wide[..., 1500] = 255
    export_int8(network, tmp_path / "net.onnx", images=[wide], mean_iou=scores(1, 1))
    assert json.loads(json.dumps(read_exported(tmp_path / "net.onnx")[1]))["export"]["calibrated_on"] == 1


def test_every_image_tells_the_ranges(network: Path, tmp_path: Path) -> None:
    dark = [np.zeros((1, 3, 8, 8), np.uint8)] * 31
    bright = np.full((1, 3, 8, 8), 255, np.uint8)
    scales = []
    for name, images in (("first", [bright, *dark]), ("last", [*dark, bright]), ("none", [*dark, dark[0]])):
        done = export_int8(network, tmp_path / f"{name}.onnx", images=images, mean_iou=scores(1, 1))
        assert done.metadata["export"]["calibrated_on"] == 32
        stored = onnx.load(done.path).graph.initializer
        scales.append({each.name: onnx.numpy_helper.to_array(each).tolist() for each in stored if "scale" in each.name})
    assert scales[0] == scales[1] != scales[2]


def test_the_root_logger_is_left_as_it_was(network: Path, tmp_path: Path) -> None:
    before = (logging.getLogger().level, list(logging.getLogger().handlers))
    export_int8(network, tmp_path / "net.onnx", images=some_images(), mean_iou=scores(1, 1))
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before
