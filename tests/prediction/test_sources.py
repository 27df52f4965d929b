"""From a path to sources: kinds, lists, series, and names that stay below the output folder."""

import logging
import os

import numpy as np
import pytest
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import read_image
from atrous.prediction.source_kinds import kind_of
from atrous.prediction.sources import Source, find

PNG = Image.fromarray(np.eye(3, dtype=np.uint8))


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PNG.save(root / name, format="PNG")
    return root


def dicom(path, series, *, number=1, kind="1.2.840.10008.5.1.4.1.1.2", rows=4, along=0.0):
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = f"1.2.{abs(hash(path))}"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.InstanceNumber = series, number
    if rows:
        data.Rows, data.Columns = rows, 4
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, along], [1, 0, 0, 0, 1, 0]
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def shown(sources):
    return [(source.name, source.kind) for source in sources]


def names_of(sources):
    return [source.name for source in sources]


def test_every_kind_in_a_folder_of_several_levels(tmp_path):
    touch(tmp_path, "a.png", "b/c/d.jpg", "b/film.MP4", "b/.hidden.png", ".e/f.png", "map.tif.txt")
    Image.fromarray(np.eye(3, dtype=np.uint8)).save(tmp_path / "map.TIF", format="TIFF")
    (tmp_path / "brain.nii.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "tile.jp2").write_bytes(b"\x00\x00\x00\x0cjP  \r\n\x87\n")
    for name in ("plain/.zarray", "grown/zarr.json", "named.zarr/0/0.0"):
        (tmp_path / "stores" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "stores" / name).write_text("{}")
    touch(tmp_path, "stores/grown/chunk.png")
    assert shown(find(tmp_path)) == [
        ("a", "image"),
        ("b/c/d", "image"),
        ("b/film", "video"),
        ("brain", "volume"),
        ("map", "raster"),
        ("stores/grown", "raster"),
        ("stores/named", "raster"),
        ("stores/plain", "raster"),
        ("tile", "raster"),
    ]
    assert shown(find(tmp_path / "stores" / "grown")) == [("grown", "raster")]
    assert shown(find(f"{tmp_path}/*/*.zarr")) == [("stores/named", "raster")]
    assert shown(find(f"{tmp_path}/**/*.png")) == [("a", "image")]


def test_suffixes_that_lie(tmp_path):
    Image.fromarray(np.eye(3, dtype=np.uint8)).save(tmp_path / "tiff.png", format="TIFF")
    touch(tmp_path, "png.tif")
    (tmp_path / "scan.jpg").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "codestream.png").write_bytes(b"\xff\x4f\xff\x51")
    (tmp_path / "empty.tif").write_bytes(b"")
    kinds = {path.name: kind_of(path) for path in tmp_path.iterdir()}
    assert kinds == {
        "tiff.png": "raster",
        "png.tif": "image",
        "scan.jpg": "volume",
        "codestream.png": "raster",
        "empty.tif": "raster",
    }


def test_dicom_series_are_one_source_each(tmp_path):
    for index in range(3):
        dicom(tmp_path / "one" / f"{index}.dcm", "1.1", number=index, along=index)
        dicom(tmp_path / "two" / f"a{index}", "1.2", number=index, along=index)
        dicom(tmp_path / "two" / f"1.3.{index}", "1.3", number=index, along=3 - index)
    (tmp_path / "two" / "README").write_text("no slice")
    found = find(tmp_path)
    assert [(source.path, source.name, source.kind, len(source.files)) for source in found] == [
        (tmp_path / "one", "one", "volume", 3),
        (tmp_path / "two" / "1.3.2", "two/1.3", "volume", 3),
        (tmp_path / "two" / "a0", "two/a0", "volume", 3),
    ]
    assert [path.name for path in found[1].files] == ["1.3.2", "1.3.1", "1.3.0"]
    assert find(tmp_path / "one") == [Source(tmp_path / "one", "one", "volume", found[0].files)]
    file = tmp_path / "one" / "1.dcm"
    assert find(file) == [Source(file, "1", "volume", (file,))]


def test_what_else_lies_beside_a_series(tmp_path, caplog):
    for index in range(2):
        dicom(tmp_path / f"{index}.dcm", "1.1", number=index, along=index)
    dicom(tmp_path / "report.dcm", "1.2", rows=0)
    dicom(tmp_path / "segments.dcm", "1.3", kind="1.2.840.10008.5.1.4.1.1.66.4")
    (tmp_path / "broken.dcm").write_bytes(b"no dicom at all")
    with caplog.at_level(logging.WARNING, "atrous"):
        found = find(tmp_path)
    assert [(source.path.name, len(source.files)) for source in found] == [(tmp_path.name, 2), ("broken.dcm", 1)]
    assert "report.dcm: no image, such as a report or a plan; left out" in caplog.text
    assert "segments.dcm: a segmentation, not an image; left out" in caplog.text


def test_without_pydicom_a_folder_is_one_series(tmp_path, monkeypatch):
    for index in range(2):
        dicom(tmp_path / f"{index}.dcm", f"1.{index}", along=index)
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    assert [(source.path, len(source.files)) for source in find(tmp_path)] == [(tmp_path, 2)]


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-8", "utf-16"])
def test_a_list_of_paths(tmp_path, monkeypatch, mark):
    touch(tmp_path / "lists", "a.png", "b c/d.png", "odd #1.png", "#e.png")
    touch(tmp_path / "work", "far.png", "lists2/g.png")
    monkeypatch.chdir(tmp_path / "work")
    text = (
        "# photos\r\na.png  # the first\r\n\r\n./b c\\d.png\r\n'odd #1.png'\r\n#e.png\r\nfar.png\r\na.png\r\nlists2\r\n"
    )
    (tmp_path / "lists" / "all.txt").write_bytes(text.encode(mark))
    assert names_of(find(tmp_path / "lists" / "all.txt")) == ["#e", "a", "b c/d", "odd #1", "far", "lists2/g"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_paths(tmp_path, delimiter):
    touch(tmp_path, "a,b.png", "c.png")
    rows = [["id", "Image", "split"], ["1", '"a,b.png"', "x"], ["2", "c.png", ""], ["3", "", "x"]]
    (tmp_path / "t.csv").write_text("\n".join(delimiter.join(row) for row in rows))
    assert names_of(find(tmp_path / "t.csv")) == ["a,b", "c"]


def test_lists_that_cannot_be_used(tmp_path):
    touch(tmp_path, "a.png")
    path = tmp_path / "l.txt"
    path.write_text("a.png\ngone.png\n\n" + "\n".join(f"{n}.png # x" for n in range(6)) + "\nbad\0name\n" + "x" * 300)
    words = r"l.txt: 9 of the listed files are not there, .*: line 2: gone.png; line 4: 0.png # x; .*; \.\.\.\. Correct"
    with pytest.raises(AtrousError, match=words):
        find(path)
    path.write_text("# nothing\n")
    with pytest.raises(AtrousError, match=r"l.txt: this list names no files; write one path per line"):
        find(path)
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(AtrousError, match=r"l.txt: this is not text in UTF-8"):
        find(path)
    (tmp_path / "t.csv").write_text("name,split\na.png,x\n")
    with pytest.raises(AtrousError, match=r"t.csv: the columns are name, split; one of them must be image, path, file"):
        find(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("image\ngone.png\n")
    with pytest.raises(AtrousError, match=r"t.csv: 1 of the listed files are not there, .*: line 2: gone.png"):
        find(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("image\n" + "x" * 200_000)
    with pytest.raises(AtrousError, match=r"t.csv: line 2 is no row of a table \(field larger"):
        find(tmp_path / "t.csv")


def test_listed_names_never_leave_the_output_folder(tmp_path):
    touch(tmp_path, "in/a.png", "out/a.png", "in/deep/b.png")
    inside = tmp_path / "in" / "list.txt"
    inside.write_text(f"../out/a.png\na.png\n{tmp_path}/out/../in/deep/b.png\ndeep/../deep/b.png\n")
    found = find(inside)
    for source in found:
        assert not source.name.startswith(("/", ".")), source
        assert ".." not in source.name.split("/")
    assert len(found) == 3
    assert len(set(names_of(found))) == 3


def test_results_of_a_list_are_left_out(tmp_path):
    touch(tmp_path, "a.png", "masks/a.png")
    (tmp_path / "l.txt").write_text("a.png\nmasks/a.png\nmasks\n")
    assert names_of(find(tmp_path / "l.txt", apart_from=[tmp_path / "masks"])) == ["a"]
    (tmp_path / "l.txt").write_text("masks\n")
    with pytest.raises(AtrousError, match=r"l.txt: names nothing to predict; images end in .jpg.*videos in .mp4"):
        find(tmp_path / "l.txt", apart_from=[tmp_path / "masks"])


def test_folders_that_links_lead_round_and_cannot_be_read(tmp_path, caplog, monkeypatch):
    touch(tmp_path, "a/b.png", "c/d.png")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    (tmp_path / "c" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert names_of(find(tmp_path)) == ["a/b", "c/d", "c/gone"]
    walk = __import__("os").walk

    def refusing(folder, *, onerror, **options):
        onerror(PermissionError(13, "Permission denied", f"{folder}/locked"))
        return walk(folder, **options)

    monkeypatch.setattr("atrous.prediction.sources.os.walk", refusing)
    find(tmp_path)
    assert "locked: the folder cannot be read (Permission denied; skipped)" in caplog.text


def test_names_of_files_that_no_file_can_have():
    for name in ("a\0b.png", "x" * 300):
        with pytest.raises(AtrousError, match="no such file or folder"):
            find(name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_among_the_files_of_a_folder_or_a_list_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "IM0001")
    (tmp_path / "list.txt").write_text("pipe.png\n")
    assert [source.path.name for source in find(tmp_path)] == ["pipe.png"]
    assert [source.kind for source in find(tmp_path / "list.txt")] == ["image"]
    with pytest.raises(AtrousError, match=r"pipe.png: this is a pipe or a device, and one image file is wanted"):
        read_image(tmp_path / "pipe.png")
