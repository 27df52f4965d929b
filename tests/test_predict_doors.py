"""The door of predict: words, exit codes and files of the command line, with an exported network."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.cli import predict_command
from atrous.prediction import Outcome

sys.path.append(str(Path(__file__).parent / "prediction"))  # tests are no package, so they import no neighbours
from exported_files import write_exported

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_exported(tmp_path_factory.mktemp("network") / "tiny.onnx")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "street").mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for name in ("a", "street/b c", "도로"):
        Image.fromarray(numbers.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


def test_what_is_finished_is_skipped_and_said(run: Run, network: Path, photos: Path, tmp_path: Path) -> None:
    command = ("predict", network, photos, "--out", tmp_path / "out", "--save", "masks,statistics")
    code, out, _ = run(*command)
    assert code == 0
    first, *rest = out.splitlines()
    assert first.startswith(f"3 predicted, 0 failed: {tmp_path / 'out/masks'}, ")
    assert not rest
    code, out, _ = run(*command)
    assert out.splitlines() == [
        "0 predicted, 0 failed: nothing was written",
        "3 skipped, which the same model had finished (--redo does them again)",
    ]
    code, out, _ = run(*command, "--redo")
    assert out.startswith("3 predicted, 0 failed")
    code, out, _ = run(*command, "--tta")
    assert "3 had been finished by another model, with other options, or have changed since" in out
    assert (tmp_path / "out/statistics.csv").read_text(encoding="utf-8").startswith("image,")


def test_as_json(run: Run, network: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"")
    code, out, err = run("predict", network, photos, "--out", tmp_path / "out", "--save", "coco", "--json")
    assert code == 1
    found = json.loads(out)
    assert (found["predicted"], found["skipped"], found["redone"], found["refined"]) == (3, 0, 0, None)
    assert list(found["failed"]) == [str(photos / "bad.png")]
    assert str(tmp_path / "out/coco.json") in found["written"]
    assert "bad.png" in err


def test_standard_input(run: Run, network: Path, photos: Path, tmp_path: Path, monkeypatch) -> None:
    data = (photos / "a.png").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    code, out, _ = run("predict", network, "-", "--out", tmp_path / "out", "--save", "masks")
    assert (code, out) == (0, f"1 predicted, 0 failed: {tmp_path / 'out/masks'}\n")
    run("predict", network, photos / "a.png", "--out", tmp_path / "file", "--save", "masks")
    assert (tmp_path / "out/masks/stdin.png").read_bytes() == (tmp_path / "file/masks/a.png").read_bytes()


def test_several_models_are_averaged(run: Run, network: Path, photos: Path, tmp_path: Path) -> None:
    one = ("predict", network, photos, "--out", tmp_path / "one", "--save", "masks")
    two = ("predict", f"{network},{network}", photos, "--out", tmp_path / "two", "--save", "masks")
    assert run(*one)[0] == run(*two)[0] == 0
    for name in ("a", "street/b c", "도로"):
        assert (tmp_path / f"one/masks/{name}.png").read_bytes() == (tmp_path / f"two/masks/{name}.png").read_bytes()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--scales", "1,x"), "--scales 1,x: numbers like 0.75,1,1.25 are accepted"),
        (("--window", "0"), "window size (0, 0) came"),
        (("--overlap", "0.5"), "overlap 0.5 came without a window"),
        (("--save", "maks"), "save 'maks' is not known; there are masks, overlays"),
        (("--max-memory", "lots"), "--max-memory lots: a size like 500MB or 16GB is accepted"),
        (("--max-pixels", "0"), "max_pixels 0 came; 1 or more is accepted"),
        (("--smoothing", "1"), "smoothing 1.0 came; a share from 0 to below 1 is accepted"),
        (("--cluster", "--watch"), "cluster came with watch, smoothing or an array"),
        (("--workers", "2"), "workers 2 came without cluster"),
        (("--cluster", "--workers", "0"), "workers 0 came; 1 or more is accepted"),
    ],
)
def test_choices_that_cannot_be_are_refused(
    run: Run, network: Path, photos: Path, tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    code, out, err = run("predict", network, photos, "--out", tmp_path / "out", *flags)
    assert (code, out) == (2, "")
    assert words in err
    assert not (tmp_path / "out").exists()


def test_sources_and_models_that_are_not_there_are_told(run: Run, network: Path, photos: Path, tmp_path: Path) -> None:
    code, _, err = run("predict", network, tmp_path / "gone", "--out", tmp_path / "out")
    assert code == 2
    assert "gone: no such file or folder" in err
    code, _, err = run("predict", tmp_path / "gone.onnx", photos, "--out", tmp_path / "out")
    assert code == 2
    assert "gone.onnx: there is no such file" in err
    code, _, err = run("predict", photos / "a.png", photos, "--out", tmp_path / "out")
    assert code == 2
    assert "a.png" in err
    assert not (tmp_path / "out").exists()


def test_a_limit_that_cannot_hold_is_refused_with_the_smallest_that_can(
    run: Run, network: Path, photos: Path, tmp_path: Path
) -> None:
    code, out, err = run("predict", network, photos / "a.png", "--out", tmp_path / "out", "--max-memory", "20MB")
    assert code == 1
    assert out.startswith("0 predicted, 1 failed")
    assert "a.png" in err
    assert "20MB" in err


def test_an_interrupted_prediction_says_how_it_goes_on(
    run: Run, network: Path, photos: Path, tmp_path: Path, monkeypatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("atrous.prediction.folders.of_image", interrupted)
    code, _, err = run("predict", network, photos, "--out", tmp_path / "out")
    assert code == 130
    assert err.endswith("interrupted; the same command goes on with what is left\n")
    assert not list((tmp_path / "out").rglob("*.png"))


def test_a_dataset_is_not_written_into(run: Run, network: Path, photos: Path, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "set" / kind / "a.png")
    code, _, err = run("predict", network, photos, "--out", tmp_path / "set")
    assert code == 2
    assert "whose masks predictions would replace; choose another --out" in err


def test_addresses_of_stores_need_the_cluster(
    run: Run, network: Path, photos: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("predict", network, photos, "--out", "s3://bucket/out")
    assert code == 2
    assert "s3://bucket/out: this is in a store, which --cluster alone reads and writes" in err
    code, _, err = run("predict", network, "gs://bucket/photos", "--out", "out")
    assert code == 2
    assert "gs://bucket/photos: this is in a store" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_a_limit_holds_for_standard_input_too(
    run: Run, network: Path, photos: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((photos / "a.png").read_bytes())))
    code, out, err = run("predict", network, "-", "--out", tmp_path / "out", "--max-memory", "20MB")
    assert (code, out) == (2, "")
    assert "20MB" in err


def test_results_in_a_store_are_told_by_their_addresses() -> None:
    outcome = Outcome(written=[Path("s3://bucket/out/masks/a.png")], failed={}, predicted=1)
    assert predict_command._told(outcome, "s3://bucket/out/") == "1 predicted, 0 failed: s3://bucket/out/masks"
    assert predict_command._place(outcome.written[0], "s3://bucket/out") == "s3://bucket/out/masks/a.png"
