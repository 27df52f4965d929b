"""A folder that is watched."""

import threading
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.prediction import watching
from atrous.prediction.watching import watched


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(3, dtype=np.uint8)).save(path)
    return path


class Clock:
    """A stop that, in place of waiting, lets a second pass and does what comes next; then it is set."""

    def __init__(self, monkeypatch, *deeds):
        self.now, self.deeds = 0.0, list(deeds)
        monkeypatch.setattr(watching.time, "monotonic", lambda: self.now)

    def is_set(self):
        return not self.deeds

    def wait(self, seconds):
        self.now += seconds
        self.deeds.pop(0)()


def nothing():
    pass


def names_of(batches):
    return [[source.name for source in batch] for batch in batches]


def test_what_is_there_comes_first_and_what_comes_later_then(tmp_path, monkeypatch):
    image(tmp_path / "a.png")
    clock = Clock(monkeypatch, nothing, nothing, lambda: image(tmp_path / "b" / "c.png"), *[nothing] * 4)
    assert names_of(watched(tmp_path, stop=clock)) == [["a"], ["b/c"]]


def test_a_file_that_is_being_copied_waits_until_it_has_settled(tmp_path, monkeypatch):
    path = tmp_path / "big.png"
    seen = []

    def grow(part):
        return lambda: (seen.append(part), path.write_bytes(b"x" * part))

    clock = Clock(monkeypatch, grow(0), nothing, nothing, nothing, grow(1), grow(2), grow(3), nothing, nothing, nothing)
    found = watched(tmp_path, stop=clock)
    assert names_of(islice(found, 1)) == [["big"]]
    assert seen == [0, 1, 2, 3]
    assert clock.now == 9
    assert list(found) == []


def test_replaced_it_comes_again_under_the_same_name(tmp_path, monkeypatch):
    path = image(tmp_path / "a.jpg")

    def replaced():
        image(tmp_path / "new.tmp.png").replace(path)
        image(tmp_path / "a.png")

    clock = Clock(monkeypatch, nothing, nothing, replaced, *[nothing] * 4)
    assert names_of(watched(tmp_path, stop=clock)) == [["a"], ["a", "a.png"]]


def test_what_vanishes_before_it_has_settled_is_forgotten(tmp_path, monkeypatch):
    path = image(tmp_path / "a.png")
    clock = Clock(monkeypatch, path.unlink, nothing, nothing, lambda: image(path), *[nothing] * 3)
    found = watched(tmp_path, stop=clock)
    assert names_of(islice(found, 1)) == [["a"]]
    assert clock.now == 6


def test_results_hidden_files_and_other_files_do_not_come(tmp_path, monkeypatch):
    for name in ("a.png", "masks/a.png", ".part.png", "deep/masks/b.png"):
        image(tmp_path / name)
    (tmp_path / "a.txt").write_text("no image")
    clock = Clock(monkeypatch, *[nothing] * 3)
    found = names_of(watched(tmp_path, stop=clock, apart_from=[tmp_path / "masks"]))
    assert found == [["a", "deep/masks/b"]]


def test_a_store_comes_once_all_its_files_have_settled(tmp_path, monkeypatch):
    def chunk(number):
        def write():
            path = tmp_path / "map.zarr" / "c" / str(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")

        return write

    clock = Clock(monkeypatch, chunk(0), chunk(1), chunk(2), nothing, nothing, nothing)
    found = list(watched(tmp_path, stop=clock))
    assert [(source.name, source.kind) for source in found[0]] == [("map", "raster")]
    assert len(found) == 1
    assert clock.now == 6


def test_it_stops_and_waits_with_a_real_clock(tmp_path):
    image(tmp_path / "a.png")
    stop = threading.Event()
    found = watched(tmp_path, every=0.01, settled=0.02, stop=stop)
    assert [source.name for source in next(found)] == ["a"]
    stop.set()
    assert list(found) == []


def test_folders_and_times_that_are_none(tmp_path, monkeypatch):
    with pytest.raises(AtrousError, match=r"gone: no such folder; name one that is there to be watched"):
        next(watched(tmp_path / "gone"))
    folder = image(tmp_path / "f" / "a.png").parent
    clock = Clock(monkeypatch, lambda: folder.rename(tmp_path / "g"), nothing)
    with pytest.raises(AtrousError, match=r"f: no such folder"):
        list(watched(folder, stop=clock))
    for times in ({"every": 0}, {"settled": -1}, {"every": float("nan")}):
        with pytest.raises(ValueError, match=r"every .* and settled .* came; both are seconds above 0"):
            next(watched(tmp_path, **times))
