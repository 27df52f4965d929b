"""Every command and every line of Python in the README is executed, on a small folder and with a small recipe."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from atrous import cli, verbs
from atrous.data import write_image
from atrous.data.scenes import write_scenes

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = {"epochs": 1, "batch": 4, "crop": (33, 33), "width": 1 / 8, "workers": 0}


def blocks(kind: str) -> list[str]:
    """Return the README's fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def made_small(verb: Callable[..., Any], **small: Any) -> Callable[..., Any]:
    """Return a verb with some of its arguments replaced by small ones."""
    return lambda data, **options: verb(data, **{**options, **small})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the README's sources of data and predictions, training made small there."""
    write_scenes(tmp_path / "street", train=6, val=2, size=(40, 52))
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, path in enumerate(sorted((tmp_path / "street" / "images" / "val").iterdir())):
        (photos / f"{index}.png").write_bytes(path.read_bytes())
    shutil.copytree(tmp_path / "street" / "masks" / "val", tmp_path / "theirs")
    write_image(tmp_path / "scene.tif", np.zeros((60, 70, 3), np.uint8))
    film = cv2.VideoWriter(str(tmp_path / "drive.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for value in (0, 120):
        film.write(np.full((48, 64, 3), value, np.uint8))
    film.release()
    for verb, more in (("train", {}), ("tune", {"trials": 1}), ("lr_find", {"steps": 20})):
        monkeypatch.setattr(verbs, verb, made_small(getattr(verbs, verb), **SMALL, **more))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_opens_with_the_two_commands() -> None:
    first = blocks("console")[0].splitlines()
    assert [line.split()[1:3] for line in first] == [["make", "demo"], ["make", "test"]]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test", "test-slow", "check", "docs", "bench", "wheel"} <= set(targets)


def test_commands_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ atrous")]
    assert len(commands) >= 5
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            cli.main(shlex.split(command, comments=True)[1:])
        assert stop.value.code == 0, (command, capsys.readouterr().err)
    assert (place / "out" / "masks" / "1.png").is_file()
    assert (place / "out" / "overlays" / "1.jpg").is_file()


def test_python_runs(place: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert (place / "runs" / "python" / "best" / "model.safetensors").is_file()
    assert names["probabilities"].shape == (1, 8, 97, 131)
    assert names["labels"].shape == (1, 97, 131)
    assert names["logits"].shape == (1, 19, 65, 129)
