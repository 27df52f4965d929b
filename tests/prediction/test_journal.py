"""What is finished is told from what is not, whatever happened to the process, the model or the source."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from atrous.contract import AtrousError
from atrous.prediction.journal import JOURNAL, Journal, kept
from atrous.prediction.sources import Source


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in" / "뇌 1.png"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    return Source(path, "뇌 1")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def noted(out: Path, source: Source, *files: str, model: str | None = "m", **options: object) -> None:
    with kept(out, model=model, options=options) as journal:
        for file in files:
            (out / file).parent.mkdir(exist_ok=True)
            (out / file).write_text(f"by {model}")
        journal.note(source, files)


def is_finished(out: Path, source: Source, *, model: str | None = "m", **options: object) -> tuple[bool, int]:
    with kept(out, model=model, options=options) as journal:
        return journal.finished(source), journal.redone


def test_same_model_options_and_source_are_finished(out, source):
    noted(out, source, "masks/a.png", tta=True)
    assert is_finished(out, source, tta=True) == (True, 0)
    record = json.loads((out / JOURNAL).read_text(encoding="utf-8"))
    assert record["name"] == "뇌 1"
    assert record["files"] == ["masks/a.png"]


def test_what_differs_is_redone(out, source):
    noted(out, source, "masks/a.png", tta=True)
    assert is_finished(out, source, model="other", tta=True) == (False, 1)
    assert is_finished(out, source, tta=False) == (False, 1)
    source.path.write_bytes(b"abcd")
    assert is_finished(out, source, tta=True) == (False, 1)


def test_a_result_that_is_gone_is_made_again(out, source):
    noted(out, source, "masks/a.png")
    (out / "masks/a.png").unlink()
    assert is_finished(out, source) == (False, 0)


def test_a_model_without_a_hash_finishes_nothing(out, source):
    noted(out, source, "masks/a.png", model=None)
    assert is_finished(out, source, model=None) == (False, 1)


def test_a_folder_is_the_state_of_its_files(out, tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(b"a")
    source = Source(folder, "series", "volume")
    noted(out, source, "masks/series.dcm")
    assert is_finished(out, source) == (True, 0)
    (folder / "2.dcm").write_bytes(b"b")
    assert is_finished(out, source) == (False, 1)


def test_lines_cut_off_and_foreign_ones_are_passed_over(out, source):
    noted(out, source, "masks/a.png")
    with (out / JOURNAL).open("a", encoding="utf-8") as file:
        file.write('[1]\n{"name": "x", "files": "masks/x.png"}\n{"name": "b", "files": ["masks/b')
    assert is_finished(out, source) == (True, 0)
    noted(out, source, "masks/c.png")
    assert is_finished(out, source) == (True, 0)
    assert (out / JOURNAL).read_text(encoding="utf-8").endswith("\n")


def test_results_of_another_model_do_not_stay_beside_new_ones(out, source):
    noted(out, source, "masks/a.png", "overlays/a.jpg", model="first", save=["masks", "overlays"])
    noted(out, source, "masks/a.png", model="second", save=["masks"])
    assert not (out / "overlays/a.jpg").exists()
    assert (out / "masks/a.png").read_text() == "by second"


def test_results_of_the_same_model_stay_beside_new_kinds(out, source):
    noted(out, source, "masks/a.png", save=["masks"])
    noted(out, source, "overlays/a.jpg", save=["overlays"])
    assert (out / "masks/a.png").exists()


def test_nothing_outside_the_folder_is_removed(out, source, tmp_path):
    noted(out, source, "masks/a.png", model="first")
    line = json.loads((out / JOURNAL).read_text(encoding="utf-8"))
    line["files"] = ["../precious.txt"]
    (out / JOURNAL).write_text(json.dumps(line) + "\n", encoding="utf-8")
    (tmp_path / "precious.txt").write_text("x")
    noted(out, source, "masks/a.png", model="second")
    assert (tmp_path / "precious.txt").exists()


def test_temporary_files_of_a_killed_process_are_removed_and_others_stay(out, source):
    noted(out, source, "masks/a.png")
    left = out / "masks" / f".a-{'0' * 32}.png"
    mine = out / "masks" / ".mine.png"
    left.write_text("half")
    store = out / "probabilities" / f".a-{'1' * 32}.zarr"
    store.mkdir(parents=True)
    (store / "zarr.json").write_text("half")
    mine.write_text("whole")
    is_finished(out, source)
    assert not left.exists()
    assert not store.exists()
    assert mine.exists()


def test_two_processes_do_not_predict_into_one_folder(out):
    program = (
        "import sys, pathlib\n"
        "from atrous.prediction.journal import kept\n"
        "with kept(pathlib.Path(sys.argv[1]), model='m', options={}):\n"
        "    print('in', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(AtrousError, match="another process is predicting into this folder; wait for it"):
            is_finished(out, Source(Path("a.png"), "a"))
        other.stdin.close()
        assert other.wait() == 0
    assert is_finished(out, Source(Path("a.png"), "a")) == (False, 0)


def test_an_output_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(AtrousError, match=r"file/out: cannot be written \(Not a directory\); choose another --out"):
        is_finished(tmp_path / "file" / "out", Source(Path("a.png"), "a"))


def test_redo_forgets(out, source):
    noted(out, source, "masks/a.png")
    with kept(out, model="m", options={}) as journal:
        assert isinstance(journal, Journal)
        journal.forget()
        assert not journal.finished(source)


def test_a_source_that_changes_while_it_is_predicted_is_not_finished(out, source):
    with kept(out, model="m", options={}) as journal:
        assert not journal.finished(source)
        source.path.write_bytes(b"replaced meanwhile")
        (out / "masks").mkdir()
        (out / "masks/a.png").write_text("of what was there before")
        journal.note(source, ["masks/a.png"])
    assert is_finished(out, source) == (False, 1)


def test_redo_by_another_model_leaves_no_results_of_the_first(out, source):
    noted(out, source, "masks/a.png", "overlays/a.jpg", model="first")
    with kept(out, model="second", options={}) as journal:
        journal.forget()
        journal.note(source, ["masks/a.png"])
    assert not (out / "overlays/a.jpg").exists()


@pytest.mark.parametrize("name", ["line\u2028feed\x85.png", os.fsdecode(b"latin \xe9.png")])
def test_names_of_any_letters_are_found_again(out, tmp_path, name):
    source = Source(tmp_path / name, "safe")
    source.path.write_bytes(b"abc")
    noted(out, source, "masks/safe.png")
    assert is_finished(out, source) == (True, 0)


class _Full:
    """A file on a disk with room for ten bytes."""

    def __init__(self, file):
        self.file, self.room = file, 10

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written, self.room = self.file.write(data[: self.room]), 0
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_journal_on_a_full_disk_is_told_and_read_again(out, source):
    noted(out, source, "masks/a.png")
    other = Source(source.path, "other")
    with (  # noqa: PT012  (the block must end while the disk is full)
        pytest.raises(
            AtrousError, match=r"predictions.jsonl: could not be written \(No space left on device\)"
        ) as told,
        kept(out, model="m", options={}) as journal,
    ):
        journal.file = _Full(journal.file)
        journal.note(other, ["masks/a.png"])
    assert told.value.__cause__.errno == errno.ENOSPC
    assert is_finished(out, source) == (True, 0)
    assert is_finished(out, other) == (False, 0)


def test_temporary_files_of_joined_results_are_removed(out, source):
    noted(out, source, "masks/a.png")
    left = out / f".coco-{'0' * 32}.json"
    left.write_text("half")
    is_finished(out, source)
    assert not left.exists()
