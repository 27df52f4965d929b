"""A cluster writes what one process does, byte for byte, also when workers die; stores are folders like others."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

import atrous
from atrous.contract import AtrousError, LabelSpace
from atrous.prediction import cluster
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


@pytest.mark.slow
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


def test_a_disk_that_is_full_for_a_worker_ends_the_run(tmp_path, monkeypatch):
    class Full:
        def done(self, source, scorer, space):
            raise AtrousError(f"{source.path}: no space") from OSError(errno.ENOSPC, "No space left on device")

        def opened(self):
            return opened()

    fake = SimpleNamespace(get=lambda number: number)
    monkeypatch.setitem(sys.modules, "ray", fake)
    tries = SimpleNamespace(begun=SimpleNamespace(remote=lambda number: 1))
    sources = find(pictures(tmp_path / "in", 2))
    worker = cluster.Worker(Full(), tries)
    rows = [worker({"number": number, "source": cluster._row_of(source)}) for number, source in enumerate(sources)]
    answers = [(sources[row["number"]], json.loads(row["answer"])) for row in rows]
    monkeypatch.setattr(cluster, "_answers", lambda *_: iter(answers))
    task = Task(opened=opened, wanted=Wanted(), out=tmp_path)
    with pytest.raises(AtrousError, match=r"0 a.png: no space"):
        cluster.predict_on_cluster(task, sources)


def test_results_are_said_below_the_folder_that_was_given(tmp_path, monkeypatch):
    def answered(task, sources, address, workers):
        for source in sources:
            yield source, {"files": task.done(source, *opened())}

    monkeypatch.setattr(cluster, "_answers", answered)
    monkeypatch.chdir(tmp_path)
    folder = pictures(tmp_path / "in", 1)
    settings = {"space": SPACE, "save": "masks", "cluster": True}
    outcome = atrous.predict(bright, folder, out="out", **settings)
    assert outcome.written == [Path("out/masks/도로/0 a.png")]
    outcome = atrous.predict(bright, folder.as_uri(), out="file://" + quote(str(tmp_path / "store")), **settings)
    assert (tmp_path / "store/masks/도로/0 a.png").is_file()
