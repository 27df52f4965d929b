"""What results are called, whatever their sources are called."""

import os
from pathlib import Path, PurePath

import pytest

from atrous.data.writers import atomic
from atrous.prediction.result_names import LONGEST, Titled, result_names, safe_name
from atrous.prediction.sources import find


def titled(*names, opens=()):
    return [Titled(Path(name), PurePath(name), opens=name in opens) for name in names]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/etc/passwd", "etc/passwd"),
        ("../../etc/x", "etc/x"),
        ("a/../../b", "b"),
        ("a/./b//c", "a/b/c"),
        ("C:\\photos\\a", "photos/a"),
        ("C:/photos/../a", "a"),
        ("\\\\server\\share\\a", "a"),
        ("..\\..\\a", ".._.._a"),
        ("bell\a\x7f", "bell__"),
        ("bad\udcff", "bad_"),
        ("도로/사진 😀", "도로/사진 😀"),
        ("..", "source"),
        ("/", "source"),
    ],
)
def test_names_stay_below_a_folder(path, name):
    assert safe_name(path) == name


@pytest.mark.parametrize("letter", ["x", "한", "😀"])
def test_long_names_are_cut_between_letters(letter, tmp_path):
    one, two = safe_name(letter * 90 + "x" * 230), safe_name(letter * 90 + "x" * 231)
    assert one != two
    for name in (one, two):
        assert LONGEST - 4 <= len(name.encode()) <= LONGEST
        assert name.startswith(letter * 50)
        assert name[-9] == "~"
    for path in (tmp_path / f"{one}.probabilities.tiff", tmp_path / f"{two}.nii.gz"):
        with atomic(path) as temporary:
            temporary.write_text("")
        assert path.is_file()


def test_names_that_differ_only_in_capitals_or_in_composed_letters():
    names = result_names(titled("A.png", "a.png", "b.png", "\u00e9.png", "e\u0301.png"))
    assert [name[:-9] for name in names[:2]] == ["A.png", "a.png"]
    assert names[2] == "b"
    assert len({name.casefold() for name in names}) == 5
    assert result_names(titled("b.png", "a.png", "A.png"))[1:] == [names[1], names[0]]


def test_names_that_a_file_system_takes_for_one():
    names = result_names(titled("a\nb.png", "a_b.png", "../a_b.png"))
    assert len(set(names)) == 3
    assert all(name.startswith("a_b.png~") for name in names)


def test_a_video_gives_way_to_a_folder_of_its_name():
    names = titled("clip.mp4", "clip/000000.png", opens=("clip.mp4",))
    assert result_names(names) == ["clip.mp4", "clip/000000"]
    assert result_names(titled("clip.png", "clip/000000.png")) == ["clip", "clip/000000"]
    assert result_names(titled("brain.nii.gz", "brain.nii", "brain.png")) == ["brain.nii.gz", "brain.nii", "brain.png"]


def test_a_file_whose_name_is_no_text(tmp_path):
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    assert [source.name for source in find(tmp_path)] == ["_"]
