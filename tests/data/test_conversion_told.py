"""What a conversion tells of splits, names, disks and georeferences."""

import errno
import json

import nibabel
import numpy as np
import pytest

from atrous.contract import AtrousError
from atrous.data import examine, open_dataset, read_sample, write_image
from atrous.data.conversion import convert, placing

HASHED = "the source has no split: one in five is val, by a hash of the name"


def pictures(root, count=6):
    for number in range(count):
        write_image(root / "images" / f"{number}.png", np.full((6, 8, 3), number, np.uint8))
        write_image(root / "masks" / f"{number}.png", np.tri(6, 8, dtype=np.uint8))
    return open_dataset(root)


def volumes(root, *names):
    for name in names:
        for folder, array in (("images", np.arange(120)), ("labels", np.arange(120) % 2)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            image = nibabel.Nifti1Image(array.reshape(4, 5, 6).astype(np.int16), np.eye(4))
            nibabel.save(image, root / folder / f"{name}.nii.gz")
    return open_dataset(root)


@pytest.mark.parametrize("to", ["masks", "voc", "cvat", "coco", "yolo", "geojson"])
def test_a_split_by_hash_is_told_where_the_format_holds_it(tmp_path, to):
    assert convert(pictures(tmp_path / "old"), tmp_path / "new", to=to).notes[0] == HASHED


def test_nifti_says_nothing_of_a_split_that_it_does_not_write(tmp_path):
    assert convert(pictures(tmp_path / "old"), tmp_path / "new", to="nifti").notes == ()


def test_nifti_says_that_a_split_is_lost(tmp_path):
    for split in ("train", "val"):
        write_image(tmp_path / "old" / "images" / split / "a.png", np.zeros((3, 4), np.uint8))
        write_image(tmp_path / "old" / "masks" / split / "a.png", np.eye(3, 4, dtype=np.uint8))
    notes = convert(open_dataset(tmp_path / "old"), tmp_path / "new", to="nifti").notes
    assert notes == ("nifti holds no split: train, val and test are together",)


@pytest.mark.parametrize("to", ["masks", "voc", "cvat", "coco", "coco-polygons", "yolo"])
def test_a_copy_of_one_volume_is_not_divided_either(tmp_path, to):
    old = volumes(tmp_path / "old", "a")
    assert set(old.splits) == {"train"}
    convert(old, tmp_path / "new", to=to)
    new = open_dataset(tmp_path / "new")
    assert {split: len(pairs) for split, pairs in new.splits.items()} == {"train": len(old.splits["train"])}
    assert (new.made_split, new.space.names) == (False, old.space.names)
    assert examine(tmp_path / "new").splits.keys() == {"train"}


@pytest.mark.parametrize("to", ["masks", "voc", "coco", "yolo"])
def test_volumes_stay_whole_in_the_copy(tmp_path, to):
    old = volumes(tmp_path / "old", "a", "b")
    convert(old, tmp_path / "new", to=to)
    new = open_dataset(tmp_path / "new")
    assert {split: len(pairs) for split, pairs in new.splits.items()} == {"train": 6, "val": 6}
    assert not new.made_split


@pytest.mark.parametrize("to", ["masks", "nifti", "geojson", "voc"])
def test_names_do_not_tell_where_images_lay(tmp_path, to):
    for number in range(4):
        write_image(tmp_path / "home" / "pics" / f"{number}.png", np.full((5, 4), number, np.uint8))
        write_image(tmp_path / "home" / "drawn" / f"{number}.png", np.eye(5, 4, dtype=np.uint8))
    (tmp_path / "home" / "set").mkdir()
    lines = [f"../pics/{number}.png ../drawn/{number}.png" for number in range(4)]
    (tmp_path / "home" / "set" / "train.txt").write_text("\n".join(lines))
    convert(open_dataset(tmp_path / "home" / "set"), tmp_path / "new", to=to)
    files = [path.relative_to(tmp_path / "new") for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert {path.name.partition(".")[0] for path in files} >= {"0", "1", "2", "3"}
    assert not any(part in {"home", tmp_path.name} for path in files for part in path.parts)


def test_images_from_two_folders_elsewhere_stay_apart(tmp_path):
    for city in ("bonn", "ulm"):
        write_image(tmp_path / "far" / city / "a.png", np.full((5, 4), len(city), np.uint8))
        write_image(tmp_path / "far" / city / "a_m.png", np.eye(5, 4, dtype=np.uint8))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.txt").write_text("../far/bonn/a.png ../far/bonn/a_m.png\n")
    (tmp_path / "set" / "val.txt").write_text("../far/ulm/a.png ../far/ulm/a_m.png\n")
    convert(open_dataset(tmp_path / "set"), tmp_path / "new", to="masks")
    assert (tmp_path / "new" / "images" / "train" / "bonn" / "a.png").is_file()
    assert (tmp_path / "new" / "images" / "val" / "ulm" / "a.png").is_file()


@pytest.mark.parametrize("to", ["masks", "coco", "yolo"])
def test_a_full_disk_is_said_of_the_folder_that_was_named(tmp_path, to, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    old = pictures(tmp_path / "old")
    monkeypatch.setattr(placing.shutil, "copyfile", full)
    with pytest.raises(AtrousError, match=r"new: could not be written \(No space left on device\)") as error:
        convert(old, tmp_path / "new", to=to)
    assert str(error.value).endswith("and nothing of it was kept; free some space or choose another folder.")
    assert "/.new-" not in str(error.value)
    assert "unchanged" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_masks_that_lose_their_georeference_are_told_of(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}
    for folder, name in ((folder, name) for folder in ("images", "masks") for name in "ab"):
        (tmp_path / "old" / folder).mkdir(parents=True, exist_ok=True)
        with rasterio.open(
            tmp_path / "old" / folder / f"{name}.tif", "w", driver="GTiff", width=6, height=5, count=1, dtype="uint8",
            **place,
        ) as file:  # fmt: skip
            file.write(np.eye(5, 6, dtype=np.uint8)[None])
    old = open_dataset(tmp_path / "old")
    assert "2 masks with a georeference, which the new labels do not hold, as images do" in (
        convert(old, tmp_path / "new", to="masks").notes
    )
    assert not any("georeference" in note for note in convert(old, tmp_path / "map", to="geojson").notes)


def test_objects_drawn_for_cvat_are_told_to_be_classes_here(tmp_path):
    for name in "ab":
        write_image(tmp_path / "old" / "images" / f"{name}.png", np.zeros((8, 8, 3), np.uint8))
        write_image(tmp_path / "old" / "masks" / f"{name}.png", np.arange(64, dtype=np.uint8).reshape(8, 8) // 30)
    made = convert(open_dataset(tmp_path / "old", labels="instances"), tmp_path / "new", to="cvat")
    assert any("drawn in SegmentationObject/ for CVAT; opened again here, masks hold" in note for note in made.notes)
    new = open_dataset(tmp_path / "new")
    assert read_sample(new.splits["train"][0], new.space).instances is None


@pytest.mark.parametrize(("low", "suffix"), [(-1024, ".tif"), (0, ".tif")])
def test_slices_of_16_bits_keep_every_value(tmp_path, low, suffix):
    (tmp_path / "old" / "images").mkdir(parents=True)
    (tmp_path / "old" / "labels").mkdir()
    array = (np.arange(120).reshape(4, 5, 6) * 250 + low).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "old/images/a.nii.gz")
    nibabel.save(nibabel.Nifti1Image((array > 0).astype(np.uint8), np.eye(4)), tmp_path / "old/labels/a.nii.gz")
    old = open_dataset(tmp_path / "old")
    convert(old, tmp_path / "new", to="masks")
    files = sorted((tmp_path / "new" / "images").rglob("*.*"))
    assert {path.suffix for path in files} == {suffix}
    new = open_dataset(tmp_path / "new", split=None)
    again = {pair.name[-3:]: pair for pairs in new.splits.values() for pair in pairs}
    for pair in old.splits["train"]:
        before, after = read_sample(pair, old.space), read_sample(again[pair.name[-3:]], new.space)
        assert before.image.dtype == after.image.dtype
        np.testing.assert_array_equal(before.image, after.image)


def test_real_ade20k_is_coco_afterwards(data_dir, tmp_path):
    old = open_dataset(data_dir / "ade20k_sample")
    convert(old, tmp_path / "new", to="coco")
    new = open_dataset(tmp_path / "new")
    assert new.layout == "coco"
    assert json.loads((tmp_path / "new" / "classes.json").read_text())
    assert sum(map(len, new.splits.values())) == sum(map(len, old.splits.values()))
