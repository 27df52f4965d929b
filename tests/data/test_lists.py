"""Which file a listed path means: one that ends so, unless the path says that it is another."""

import pytest

from atrous.data.lists import Endings

NAMES = ("train/img/a", "train/img/b", "val/img/b", "val/img/c", "pictures/x/d", "pictures/y/e", "masks/x/d", "f")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("val/img/c", ("val/img/c",)),
        ("/home/me/val/img/b", ("val/img/b",)),
        ("D:/data/val/img/b", ("val/img/b",)),
        ("b", ("train/img/b", "val/img/b")),
        ("img/b", ("train/img/b", "val/img/b")),
        ("old/img/c", ("val/img/c",)),
        ("/home/test/data/project/img/a", ("train/img/a",)),
        ("elsewhere/d", ("pictures/x/d", "masks/x/d")),
        ("../data/f", ("f",)),
        ("nothing", ()),
    ],
)
def test_endings(path, found):
    assert set(Endings(NAMES).find(path)) == set(found)


@pytest.mark.parametrize(
    "path",
    [
        "train/img/c",  # that folder is here, and holds no c
        "/home/me/train/img/c",
        "x/e",
        "/data/pictures/x/e",
        "val/other/a",  # another split's, whatever the folder
        "/data/val/other/a",
        "images/val2017/a",
        "train_images/c",
    ],
)
def test_a_path_that_contradicts_means_no_other_file(path):
    assert Endings(NAMES).find(path) == ()


def test_many_files_of_one_name():
    names = [f"case_{number:05d}/image" for number in range(5_000)]
    endings = Endings(names)
    assert all(endings.find(f"/home/me/{name}") == (name,) for name in names)
    assert all(len(endings.find(f"/train/{number}/image")) == len(names) for number in range(5_000))
    assert all(endings.find(f"case_{number}/other/image") == tuple(names) for number in range(5_000))
