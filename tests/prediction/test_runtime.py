"""Exported files as scorers: the same answers from every output, and words for files that are not ours."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from atrous.contract import AtrousError, Geometry, Sample
from atrous.prediction import predicted
from atrous.prediction.exported import ExportedScorer, open_exported, read_exported
from atrous.prediction.openvino_runtime import open_openvino, openvino_module
from atrous.prediction.runtime import _computed, open_onnx
from atrous.store import model_hash, open_scorer, read_config

sys.path.append(str(Path(__file__).parent))  # tests are no package, so they import no neighbours
from exported_files import SETTINGS, write_exported

SIZES = [(1, 1), (1, 7), (6, 4), (9, 5)]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_exported(tmp_path_factory.mktemp("망 net") / "tiny.onnx")


def images_of(size: tuple[int, int], *, count: int = 2, channels: int = 3) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, channels, *size), np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_labels_and_logits_agree_with_probabilities(network: Path, size: tuple[int, int]) -> None:
    scorer = open_onnx(network, threads=1)
    images = images_of(size)
    probabilities, labels, logits = scorer(images), scorer.labels(images), scorer.logits(images)
    assert probabilities.shape == logits.shape == (2, 2, *size)
    assert (probabilities.dtype, labels.dtype, labels.shape) == (np.float32, np.uint8, (2, *size))
    np.testing.assert_array_equal(labels, probabilities.argmax(1))
    powers = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), atol=1e-5)


def test_memory_that_runs_out_is_a_memory_error() -> None:
    """ONNX Runtime's own errors are neither `MemoryError` nor `RuntimeError`, and so would end a whole folder."""

    class Session:
        def __init__(self, words: str) -> None:
            self.words = words

        def run(self, *_: object) -> None:
            raise Exception(self.words)

    images = np.zeros((1, 3, 2, 2), np.float32)
    with pytest.raises(MemoryError, match="Failed to allocate memory for requested buffer"):
        _computed(Session("BFCArena: Failed to allocate memory for requested buffer of size 9"), "labels", images)
    with pytest.raises(Exception, match="a bug"):
        _computed(Session("a bug"), "labels", images)


def test_grey_images_are_repeated(network: Path) -> None:
    scorer = open_onnx(network)
    grey = images_of((5, 6), channels=1)
    np.testing.assert_array_equal(scorer(grey), scorer(np.repeat(grey, 3, 1)))
    with pytest.raises(ValueError, match=r"images of 2 channels came; this network takes 3 or 1 \(grey\)"):
        scorer.labels(images_of((5, 6), channels=2))


def test_values_of_another_depth_are_refused(network: Path) -> None:
    scorer = open_onnx(network)
    with pytest.raises(ValueError, match=r"float64 values of 0 to 1 came.*multiply the image by 255"):
        scorer.from_numpy(np.full((1, 3, 2, 2), 0.5))
    with pytest.raises(ValueError, match=r"uint16 came, and this network was trained on 8-bit images"):
        predicted(scorer, Sample(image=np.zeros((2, 2, 3), np.uint16)), scorer.space)
    assert scorer.from_numpy(np.full((1, 3, 2, 2), 9.0)).dtype == np.float32


def test_what_a_file_says_of_itself(network: Path) -> None:
    scorer = open_onnx(network)
    assert scorer.geometry == Geometry(multiple=2, minimum=2, stride=2)
    assert (scorer.space.names, scorer.preprocessing.mean) == (("dark", "light"), (0.5, 0.5, 0.5))
    assert scorer.export == {"precision": "fp32", "opset": 20}
    assert read_config(network) == read_exported(network)[0] == scorer.config
    assert "session" not in repr(scorer)


def test_a_scorer_travels_as_its_path(network: Path) -> None:
    scorer = open_onnx(network, threads=1)
    travelled = pickle.dumps(scorer)
    assert len(travelled) < 1000
    again = pickle.loads(travelled)
    images = images_of((6, 5))
    np.testing.assert_array_equal(again(images), scorer(images))
    assert again.threads == 1


def test_only_the_output_that_is_asked_for_is_computed(network: Path) -> None:
    scorer = open_onnx(network)
    asked: list[str] = []

    def noted(name: str, images: Any) -> Any:
        asked.append(name)
        return open_onnx(network).compute(name, images)

    object.__setattr__(scorer, "compute", noted)
    space = scorer.space
    predicted(scorer, Sample(image=np.zeros((3, 3, 3), np.uint8)), space)
    predicted(scorer, Sample(image=np.zeros((3, 3, 3), np.uint8)), space, probabilities=True)
    assert asked == ["logits", "probabilities"]


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in SETTINGS.items() if key not in keys}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"entry": "other"}, r"net.onnx: has no metadata 'atrous', so it was not exported from here"),
        ({"settings": "{"}, r"net.onnx: its metadata 'atrous' is damaged \(Expecting property name"),
        ({"settings": "3"}, r"metadata 'atrous' is damaged \(no settings are in it"),
        ({"settings": without("classes")}, r"metadata 'atrous' is damaged \('classes' is missing"),
        ({"settings": {**SETTINGS, "format": 2}}, r"\(format 2; this version reads up to 1: update atrous\)"),
        ({"settings": {**SETTINGS, "format": "one"}}, r"\(format 'one'; a whole number up to 1 is wanted\)"),
        ({"settings": {**SETTINGS, "options": [1]}}, r"\(options \[1\]; a table of the network's options is wanted\)"),
        ({"settings": {**SETTINGS, "geometry": {"multiple": 0}}}, r"damaged \(multiple: input should be greater"),
        ({"settings": {**SETTINGS, "geometry": 7}}, r"net.onnx: its metadata 'atrous' is damaged \("),
        ({"settings": {**SETTINGS, "export": 7}}, r"damaged \(export is 7, a table is wanted\)"),
        ({"leave_out": ("logits",)}, r"the output 'logits' is missing; it has 'probabilities', 'labels'"),
        ({"leave_out": ("logits", "labels")}, r"the output 'logits' and 'labels' is missing"),
        ({"input_name": "x"}, r"the input 'images' alone is wanted, and its inputs are 'x'"),
        ({"classes": 3}, r"metadata 'atrous' name 2 classes and its logits are \['n', 3, 'gh', 'gw'\]"),
    ],
)
def test_files_that_are_not_ours_are_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    path = write_exported(tmp_path / "net.onnx", **options)
    with pytest.raises(AtrousError, match=words):
        open_onnx(path)


def test_what_is_no_onnx_file_is_refused(tmp_path: Path, network: Path) -> None:
    path = tmp_path / "net.onnx"
    for opened in (open_onnx, read_config, open_scorer):
        with pytest.raises(AtrousError, match=r"net.onnx: there is no such file"):
            opened(path)
    whole = network.read_bytes()
    for content in (b"", b"no graph", whole[: len(whole) // 2], whole[:-40]):
        path.write_bytes(content)
        with pytest.raises(AtrousError, match=r"net.onnx: (not a readable .onnx file|has no metadata|its metadata)"):
            open_onnx(path)


def test_devices_that_are_not_here(network: Path) -> None:
    assert open_onnx(network, device="cpu").labels(images_of((2, 2))).shape == (2, 2, 2)
    with pytest.raises(AtrousError, match=r"device 'tpu' is not here for an exported network; ONNX Runtime has .*cpu"):
        open_onnx(network, device="tpu")


def test_the_store_opens_it_and_knows_it_by_its_hash(tmp_path: Path, network: Path) -> None:
    scorer, config = open_scorer(network, threads=1)
    assert scorer.space is config.space
    other = write_exported(tmp_path / "net.onnx", {**SETTINGS, "classes": ["dark", "bright"]})
    assert model_hash(network) == model_hash(network)
    assert model_hash(other) != model_hash(network)
    with pytest.raises(AtrousError, match=r"none.onnx: cannot be read \(No such file"):
        model_hash(tmp_path / "none.onnx")


def test_predicting_takes_neither_torch_nor_onnx(network: Path, tmp_path: Path) -> None:
    from atrous.data.writers import write_image

    write_image(tmp_path / "photo.png", np.full((5, 4, 3), 250, np.uint8))
    program = (
        "import sys, atrous\n"
        f"labels = atrous.predict({str(network)!r}, {str(tmp_path / 'photo.png')!r}).labels\n"
        "assert labels.min() == 1, labels\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) & {"torch", "onnx", "onnxscript", "timm", "scipy", "openvino"} == set()


def test_onnxruntime_tells_nobody_that_it_is_used(network: Path, tmp_path: Path) -> None:
    """By default it gives the machine an identifier when it is imported, stores it, and reports to its makers."""
    program = f"from atrous.prediction.runtime import open_onnx; open_onnx({str(network)!r})"
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(tmp_path))
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment | places
    )
    assert (done.returncode, list(tmp_path.iterdir())) == (0, []), done.stderr


@pytest.fixture
def openvino_file(network: Path, tmp_path: Path) -> Path:
    if find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    openvino = openvino_module()
    model = openvino.Core().read_model(network)
    model.set_rt_info(json.dumps(SETTINGS), ["atrous"])
    openvino.save_model(model, tmp_path / "tiny.xml", compress_to_fp16=False)
    return tmp_path / "tiny.xml"


def test_openvino_gives_the_same(network: Path, openvino_file: Path) -> None:
    reference = open_onnx(network)
    scorer = pickle.loads(pickle.dumps(open_openvino(openvino_file, threads=1, precision="f32")))
    for size in SIZES:
        images = images_of(size)
        np.testing.assert_allclose(scorer(images), reference(images), atol=1e-5)
        np.testing.assert_array_equal(scorer.labels(images), reference.labels(images))
    coarse = open_openvino(openvino_file, precision="bf16")(images_of((6, 4)))
    np.testing.assert_allclose(coarse, reference(images_of((6, 4))), atol=0.2)
    assert read_config(openvino_file) == reference.config
    assert isinstance(open_exported(openvino_file), ExportedScorer)


def test_openvino_refusals(tmp_path: Path, openvino_file: Path) -> None:
    with pytest.raises(AtrousError, match=r"device 'cuda' is not here for an OpenVINO network"):
        open_exported(openvino_file, device="cuda")
    with pytest.raises(ValueError, match=r"precision 'int4' came; bf16, f32 or none is accepted"):
        open_openvino(openvino_file, precision="int4")  # type: ignore[arg-type]
    text = openvino_file.read_text()
    openvino_file.write_text(text[: len(text) // 2])
    with pytest.raises(AtrousError, match=r"tiny.xml: not a readable OpenVINO network"):
        open_exported(openvino_file)
    openvino_file.write_text(re.sub(r"<atrous .*?/>", "", text))
    with pytest.raises(AtrousError, match=r"tiny.xml: has no metadata 'atrous'"):
        open_exported(openvino_file)
    openvino_file.with_suffix(".bin").unlink()
    with pytest.raises(AtrousError, match=r"tiny.bin: there is no such file"):
        open_exported(openvino_file)


def test_openvino_tells_nobody_that_it_is_used(openvino_file: Path) -> None:
    program = (
        "import socket, sys\n"
        "def told(*arguments, **options): print(arguments, flush=True); raise OSError\n"
        "socket.getaddrinfo = told\n"
        "from atrous.prediction.exported import open_exported\n"
        "import numpy as np\n"
        f"open_exported({str(openvino_file)!r})(np.zeros((1, 3, 4, 4), np.uint8))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_tiny_network_is_valid(network: Path) -> None:
    onnx.checker.check_model(onnx.load(network), full_check=True)
