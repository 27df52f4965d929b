"""A cluster writes what one process does, byte for byte, also when workers die; stores are folders like others."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import atrous
from atrous.contract import AtrousError, LabelSpace
from atrous.prediction.cluster import Task
from atrous.prediction.remote import Store, is_remote
from atrous.prediction.sources import find
from atrous.prediction.wanted import Wanted

SPACE = LabelSpace(names=("dark", "light"))
pytest.importorskip("pyarrow")


def bright(images):
    return np.stack([255.0 - images[:, 0], images[:, 0]], 1).astype(np.float32) / 255


def opened():
    return bright, SPACE


def pictures(folder: Path, count: int) -> Path:
    (folder / "도로").mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for index in range(count):
        array = numbers.integers(0, 256, (20 + index, 30, 3), dtype=np.uint8)
        Image.fromarray(array).save(folder / "도로" / f"{index} a.png")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "predictions.jsonl"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_store_is_read_and_written_like_a_folder(tmp_path):
    folder = pictures(tmp_path / "in", 3)
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_text("x")
    come_from, out = Store(folder.as_uri()), Store((tmp_path / "out").as_uri())
    sources = come_from.sources()
    assert [source.name for source in sources] == ["도로/0 a", "도로/1 a", "도로/2 a"]
    task = Task(opened=opened, wanted=Wanted(save=("masks",)), out=out, come_from=come_from)
    assert [task.done(source, *opened()) for source in sources] == [[f"masks/도로/{index} a.png"] for index in range(3)]
    atrous.predict(bright, folder / "도로", out=tmp_path / "here", space=SPACE, save="masks")
    names = {name.replace("도로/", ""): data for name, data in tree(tmp_path / "out").items()}
    assert names == tree(tmp_path / "here")
    assert come_from.state(sources[0])[0] == (folder / "도로/0 a.png").stat().st_size
    assert out.there("masks/도로/0 a.png")
    out.remove("masks/도로/0 a.png")
    assert not out.there("masks/도로/0 a.png")


def test_what_is_no_store_is_told(tmp_path):
    assert not is_remote(tmp_path)
    with pytest.raises(AtrousError, match=r"nowhere://bucket: no store that can be opened"):
        Store("nowhere://bucket").sources()
    with pytest.raises(AtrousError, match="no images in this folder"):
        Store(tmp_path.as_uri()).sources()
    with pytest.raises(AtrousError, match="gone"):
        Store((tmp_path / "gone").as_uri()).sources()
    with pytest.raises(AtrousError, match=r"gone\.png"):
        Store(tmp_path.as_uri()).fetched(Path("gone.png"), tmp_path / "here.png")


def test_a_cluster_without_ray_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    folder = pictures(tmp_path / "in", 1)
    with pytest.raises(
        AtrousError, match=r'ray is not installed, and --cluster needs it: pip install "atrous\[cluster\]"'
    ):
        atrous.predict(bright, folder, out=tmp_path / "out", space=SPACE, cluster=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_workers_that_die_cost_nothing_but_what_kills_them(tmp_path):
    pytest.importorskip("ray")
    folder = pictures(tmp_path / "in", 6)
    marker = tmp_path / "died"

    def deadly(images):
        if images.shape[2] == 22 and not marker.exists():  # kills its first worker
            marker.write_text("x")
            os.kill(os.getpid(), signal.SIGKILL)
        if images.shape[2] == 24:  # kills all
            os.kill(os.getpid(), signal.SIGKILL)
        return bright(images)

    (folder / "bad.png").write_text("no image")
    outcome = atrous.predict(deadly, folder, out=tmp_path / "out", space=SPACE, save="masks", cluster=True, workers=2)
    assert outcome.predicted == 5
    assert outcome.failed.keys() == {folder / "bad.png", folder / "도로/4 a.png"}
    assert outcome.failed[folder / "도로/4 a.png"].endswith("4 a.png: its worker died, 3 times")
    atrous.predict(bright, folder, out=tmp_path / "here", space=SPACE, save="masks")
    expected = tree(tmp_path / "here")
    del expected["masks/도로/4 a.png"]
    assert tree(tmp_path / "out") == expected
    assert [source.name for source in find(folder)] == ["bad", *(f"도로/{index} a" for index in range(6))]
