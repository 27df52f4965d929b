"""Many sources into a folder: the bad ones are told, the good ones are whole, what is finished is not done again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import atrous
from atrous.contract import AtrousError, LabelSpace, Sample
from atrous.data import writers
from atrous.prediction import Outcome, find, folders, predict_into
from atrous.prediction.folders import of_image, predict_source, refusal
from atrous.prediction.journal import JOURNAL, kept
from atrous.prediction.sources import Source
from atrous.prediction.wanted import Wanted

sys.path.append(str(Path(__file__).parent))  # tests are no package, so they import no neighbours
from exported_files import write_exported

SPACE = LabelSpace(names=("dark", "light"))


def bright(images):
    return np.stack([255.0 - images[:, 0], images[:, 0]], 1).astype(np.float32) / 255


def pictures(folder: Path, count: int, *, size: tuple[int, int] = (5, 7)) -> Path:
    folder.mkdir()
    numbers = np.random.default_rng(0)
    for index in range(count):
        Image.fromarray(numbers.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{index:04d}.png")
    return folder


def tree(folder: Path) -> dict[str, str]:
    """Return the files below a folder but the journal, each with the hash of its bytes."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != JOURNAL]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def into(out: Path, source: Path, scorer=bright, *, model: str | None = "m", **wanted) -> Outcome:
    choices = Wanted(save=("masks",), **wanted)
    with kept(out, model=model, options=choices.as_json()) as journal:
        return predict_into(out, scorer, find(source), SPACE, wanted=choices, journal=journal)


def test_bad_images_among_many_good_ones_are_told_and_the_rest_is_done(tmp_path):
    folder = pictures(tmp_path / "in", 200)
    data = (folder / "0007.png").read_bytes()
    (folder / "0007.png").write_bytes(data[: len(data) // 2])
    (folder / "0008.png").write_bytes(b"")
    (folder / "0009.png").write_text("no image")
    Image.fromarray(np.full((1, 1, 3), 200, np.uint8)).save(folder / "0010.png")
    outcome = into(tmp_path / "out", folder)
    assert (outcome.predicted, outcome.skipped, outcome.redone) == (197, 0, 0)
    assert sorted(path.name for path in outcome.failed) == ["0007.png", "0008.png", "0009.png"]
    assert "truncated or damaged" in outcome.failed[folder / "0007.png"]
    assert len(list((tmp_path / "out/masks").iterdir())) == 197
    with Image.open(tmp_path / "out/masks/0010.png") as mask:
        assert np.asarray(mask).tolist() == [[1]]


def test_what_failed_is_tried_again_and_what_is_finished_is_not(tmp_path):
    folder = pictures(tmp_path / "in", 3)
    whole = (folder / "0001.png").read_bytes()
    (folder / "0001.png").write_bytes(whole[:30])
    assert into(tmp_path / "out", folder).predicted == 2
    (folder / "0001.png").write_bytes(whole)
    asked = []

    def scorer(images):
        asked.append(images.shape)
        return bright(images)

    outcome = into(tmp_path / "out", folder, scorer)
    assert (outcome.predicted, outcome.skipped, len(asked)) == (1, 2, 1)


def test_another_model_redoes_all_and_says_so(tmp_path):
    folder = pictures(tmp_path / "in", 3)
    into(tmp_path / "out", folder)
    outcome = into(tmp_path / "out", folder, model="other")
    assert (outcome.predicted, outcome.skipped, outcome.redone) == (3, 0, 3)


_PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_folders import bright, into

def slow(images):
    time.sleep(0.01)
    return bright(images)

into(Path(sys.argv[3]), Path(sys.argv[2]), slow)
"""


def test_killed_and_repeated_gives_the_files_of_one_that_was_not(tmp_path):
    folder = pictures(tmp_path / "in", 40, size=(60, 80))
    into(tmp_path / "whole", folder)
    command = [sys.executable, "-c", _PROGRAM, str(Path(__file__).parent), str(folder), str(tmp_path / "out")]
    with subprocess.Popen(command) as process:
        while process.poll() is None and len(list((tmp_path / "out").rglob("*.png"))) < 17:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    assert len(list((tmp_path / "out/masks").glob("[!.]*"))) < 40
    outcome = into(tmp_path / "out", folder)
    assert outcome.skipped >= 3
    assert outcome.predicted + outcome.skipped == 40
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_full_disk_ends_the_run_and_leaves_no_half_file(tmp_path, monkeypatch):
    folder = pictures(tmp_path / "in", 20)
    real = writers._save

    def full(path, image):
        if path.stem == "0004":
            with writers.atomic(path) as temporary:
                temporary.write_bytes(b"half")
                raise OSError(28, "No space left on device")
        real(path, image)

    monkeypatch.setattr(writers, "_save", full)
    with pytest.raises(AtrousError, match=r"0004.png: could not be written \(No space left on device\)"):
        into(tmp_path / "out", folder)
    left = sorted(path.name for path in (tmp_path / "out/masks").iterdir())
    assert left == [f"{index:04d}.png" for index in range(len(left) + 1) if index != 4]
    monkeypatch.undo()
    outcome = into(tmp_path / "out", folder)
    assert (outcome.skipped, outcome.predicted) == (4, 16)


def test_a_scorer_that_runs_out_of_memory_costs_one_source(tmp_path):
    folder = pictures(tmp_path / "in", 3)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / "0001.png")

    def scorer(images):
        if images.shape[2] == 9:
            raise MemoryError
        return bright(images)

    outcome = into(tmp_path / "out", folder, scorer)
    assert list(outcome.failed.values()) == [
        f"{folder / '0001.png'}: too large for this machine's memory; give --max-memory, which cuts it into parts"
    ]


def test_an_error_of_the_program_is_not_taken_for_a_bad_file(tmp_path):
    folder = pictures(tmp_path / "in", 1)

    def scorer(images):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        into(tmp_path / "out", folder, scorer)
    with pytest.raises(RuntimeError, match="a bug"):
        refusal(Source(Path("a.png"), "a"), RuntimeError("a bug"))


def test_too_many_pixels_are_refused_by_the_limit_given(tmp_path):
    folder = pictures(tmp_path / "in", 1)
    outcome = into(tmp_path / "out", folder, max_pixels=34)
    assert "pixels came, and 34 are accepted" in next(iter(outcome.failed.values()))


def test_progress_counts_what_was_finished_before(tmp_path):
    folder = pictures(tmp_path / "in", 4)
    into(tmp_path / "out", folder)
    (tmp_path / "out/masks/0002.png").unlink()
    told = []
    choices = Wanted(save=("masks",))
    with kept(tmp_path / "out", model="m", options=choices.as_json()) as journal:
        predict_into(
            tmp_path / "out",
            bright,
            find(folder),
            SPACE,
            wanted=choices,
            journal=journal,
            progress=lambda *counts: told.append(counts),
        )
    assert told == [(4, 4)]


def test_blocks_give_what_the_whole_image_does(tmp_path):
    folder = pictures(tmp_path / "in", 1, size=(50, 70))
    asked = []

    def scorer(images):
        asked.append(images.shape[2:])
        return bright(images)

    into(tmp_path / "blocks", folder, scorer, block=32)
    into(tmp_path / "whole", folder)
    assert max(side for sides in asked for side in sides) == 32
    assert tree(tmp_path / "blocks") == tree(tmp_path / "whole")


def test_one_source_alone(tmp_path):
    folder = pictures(tmp_path / "in", 1)
    (source,) = find(folder)
    files = predict_source(source, bright, SPACE, tmp_path / "out", Wanted(save=("masks",)))
    assert files == [tmp_path / "out/masks/0000.png"]


def test_outcomes_add_up():
    first = Outcome(written=[Path("a")], failed={}, predicted=1, skipped=2)
    second = Outcome(written=[Path("b")], failed={Path("c"): "bad"}, predicted=1, redone=1)
    both = first + second
    assert both.written == [Path("a"), Path("b")]
    assert (both.predicted, both.skipped, both.redone, both.failed) == (2, 2, 1, {Path("c"): "bad"})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"save": ("masks", "maks")}, "save 'maks' is not known; there are masks, overlays"),
        ({"save": ()}, "save is empty; there are masks"),
        ({"smoothing": 1.0}, "smoothing 1.0 came; a share from 0 to below 1 is accepted"),
        ({"max_memory": 0}, "max_memory 0 came; 1 or more is accepted"),
    ],
)
def test_wishes_out_of_range_are_told(wrong, words):
    with pytest.raises(ValueError, match=words):
        Wanted(**wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"frames": 3}, "frames 3 came, and the source is no webcam; leave them away"),
        ({"watch": True}, "watch, cluster, redo, max_memory and block are about files; give out="),
        ({"out": "OUT", "watch": True}, "watch came with .*, and only a folder can be watched; give one"),
        ({"out": "OUT", "cluster": True, "smoothing": 0.5}, "cluster came with watch, smoothing or an array"),
    ],
)
def test_choices_that_do_not_go_together_are_told(tmp_path, wrong, words):
    folder = pictures(tmp_path / "in", 1)
    wrong = {key: str(tmp_path / "out") if value == "OUT" else value for key, value in wrong.items()}
    with pytest.raises(ValueError, match=words):
        atrous.predict(bright, folder / "0000.png", space=SPACE, **wrong)
    assert not (tmp_path / "out").exists()


def test_a_video_in_memory_is_told(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(AtrousError, match=r"a.mp4: a video is predicted into files; give out="):
        atrous.predict(bright, tmp_path / "a.mp4", space=SPACE)


def test_sample_is_what_the_scorer_sees(tmp_path):
    folder = pictures(tmp_path / "in", 1)
    seen = []
    atrous.predict(lambda images: seen.append(images) or bright(images), folder, out=tmp_path / "out", space=SPACE)
    assert seen[0].dtype == np.uint8
    assert isinstance(Sample(image=seen[0][0].transpose(1, 2, 0)), Sample)


def test_an_image_that_does_not_fit_into_memory_when_it_is_read_costs_one_source(tmp_path, monkeypatch):
    folder = pictures(tmp_path / "in", 3)
    real = folders.read_image

    def read(path, **limits):
        if path.stem == "0001":
            raise MemoryError
        return real(path, **limits)

    monkeypatch.setattr(folders, "read_image", read)
    outcome = into(tmp_path / "out", folder)
    assert outcome.predicted == 2
    assert "0001.png: too large for this machine's memory" in next(iter(outcome.failed.values()))
    assert len(list(atrous.predict(bright, folder, space=SPACE))) == 2


def test_the_limit_of_pixels_holds_without_files_too(tmp_path, caplog):
    folder = pictures(tmp_path / "in", 2)
    assert list(atrous.predict(bright, folder, space=SPACE, max_pixels=34)) == []
    assert "pixels came, and 34 are accepted" in caplog.text


def test_limits_that_change_no_byte_do_nothing_again(tmp_path):
    folder, model = pictures(tmp_path / "in", 2), write_exported(tmp_path / "tiny.onnx")
    first = atrous.predict(model, folder, out=tmp_path / "out", save="masks", max_pixels=1000)
    assert first.predicted == 2
    again = atrous.predict(model, folder, out=tmp_path / "out", save="masks", max_pixels=2000)
    assert (again.predicted, again.skipped, again.redone) == (0, 2, 0)


def test_other_colours_are_other_masks(tmp_path):
    folder, model = pictures(tmp_path / "in", 2), write_exported(tmp_path / "tiny.onnx")
    atrous.predict(model, folder, out=tmp_path / "out", save="masks")
    space = atrous.load(model).space
    turned = dataclasses.replace(space, colours=space.colours[::-1])
    assert atrous.predict(model, folder, out=tmp_path / "out", save="masks", space=turned).redone == 2


def test_a_name_that_is_no_text_is_predicted_like_others(tmp_path):
    folder = pictures(tmp_path / "in", 1)
    (folder / "0000.png").rename(folder / os.fsdecode(b"caf\xe9.png"))
    outcome = atrous.predict(bright, folder, space=SPACE, out=tmp_path / "out", save=("polygons", "coco", "statistics"))
    assert outcome.failed == {}
    assert json.loads((tmp_path / "out/polygons/caf_.geojson").read_text(encoding="utf-8"))["image"] == "caf?.png"


def test_a_limit_that_cannot_hold_probabilities_is_refused():
    choices = Wanted(save=("probabilities",), max_memory=5_000_000)
    words = r"a limit of 5 ?MB cannot hold the probabilities of an image of 5 x 7 pixels and 2 classes"
    with pytest.raises(AtrousError, match=words):
        of_image(bright, Sample(image=np.zeros((5, 7, 3), np.uint8)), SPACE, choices)


def test_a_watched_file_that_is_whole_at_last_has_not_failed(tmp_path, monkeypatch):
    folder = pictures(tmp_path / "in", 2)
    whole = (folder / "0001.png").read_bytes()

    def watched(*_, **__):
        (folder / "0001.png").write_bytes(whole[:50])
        yield find(folder)
        (folder / "0001.png").write_bytes(whole)
        yield find(folder)[1:]
        raise KeyboardInterrupt

    monkeypatch.setattr("atrous.prediction.watching.watched", watched)
    outcome = atrous.predict(bright, folder, space=SPACE, out=tmp_path / "out", save="masks", watch=True)
    assert (outcome.predicted, outcome.failed) == (2, {})
