"""Cached samples are the samples, whatever happens to the folder, the files or the other processes."""

import json
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from atrous.contract import AtrousError, LabelSpace
from atrous.data import Pair, cache, read_sample, write_image, write_mask
from atrous.data.cache import cached
from atrous.data.dicom_layers import Layer, SegmentedSlice
from atrous.data.layouts.bids import Targets
from atrous.data.opened_volumes import files_of
from atrous.data.parts import Channels, Renumbered, paths_of
from atrous.data.shapes import Shapes
from atrous.data.volumes import Slice

SPACE = LabelSpace(names=("off", "on"))
SIZES = ((5, 7), (1, 1), (16, 3), (8, 8))


@pytest.fixture
def pairs(tmp_path):
    """Four pairs: 8 and 16 bits, grey and colour, odd sizes."""
    made = []
    random = np.random.default_rng(0)
    for place, size in enumerate(SIZES):
        image, mask = tmp_path / f"{place} 사진.png", tmp_path / f"{place}-m.png"
        deep = place % 2
        write_image(image, random.integers(0, 256 << 8 * deep, (*size, 3), np.uint16 if deep else np.uint8))
        write_mask(mask, random.integers(0, 2, size, np.uint8), SPACE)
        made.append(Pair(f"{place}", image, mask))
    return made


def same(one, other):
    assert one.image.dtype == other.image.dtype
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert (one.instances is None) == (other.instances is None)
    if one.instances is not None:
        np.testing.assert_array_equal(one.instances, other.instances)
    assert one.path == other.path


@pytest.fixture
def decoded(monkeypatch):
    """The names that were decoded, in order."""
    names = []

    def counted(pair, space, **options):
        names.append(pair.name)
        return read_sample(pair, space, **options)

    monkeypatch.setattr(cache, "read_sample", counted)
    return names


def test_what_is_cached_is_the_sample_and_is_decoded_once(tmp_path, pairs, decoded):
    reader = cached(tmp_path / "cache", pairs, SPACE)
    for _ in range(3):
        for pair in pairs:
            same(reader(pair), read_sample(pair, SPACE))
    assert decoded == ["0", "1", "2", "3"]


def test_a_later_run_finds_what_was_kept(tmp_path, pairs, decoded):
    for _ in range(2):
        reader = cached(tmp_path / "cache", pairs, SPACE)
        for pair in pairs:
            same(pickle.loads(pickle.dumps(reader))(pair), read_sample(pair, SPACE))
    assert decoded == ["0", "1", "2", "3"]


def test_instances_are_kept(tmp_path, pairs):
    space = LabelSpace(names=("off", "on"), encoding="instances", ignore=None)
    reader = cached(tmp_path / "cache", pairs, space)
    for _ in range(2):
        same(reader(pairs[0]), read_sample(pairs[0], space))
        assert reader(pairs[0]).instances.dtype == np.int32


def test_other_classes_or_pairs_make_it_anew(tmp_path, pairs, decoded):
    cached(tmp_path / "cache", pairs, SPACE)(pairs[0])
    turned = LabelSpace(names=("on", "off"), values=(1, 0))
    assert (
        cached(tmp_path / "cache", pairs, turned)(pairs[0]).labels[0, 0]
        == 1 - read_sample(pairs[0], SPACE).labels[0, 0]
    )
    cached(tmp_path / "cache", pairs[:2], turned)(pairs[0])
    assert decoded == ["0"] * 3
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_reader_goes_on_when_its_cache_is_thrown_away(tmp_path, pairs):
    first = cached(tmp_path / "cache", pairs, SPACE)
    first(pairs[0])
    cached(tmp_path / "cache", pairs[:2], SPACE)
    for pair in pairs:
        same(first(pair), read_sample(pair, SPACE))
    cache._mapped.cache_clear()  # as in a process that has not looked yet
    same(first(pairs[0]), read_sample(pairs[0], SPACE))


def test_a_changed_file_is_decoded_again(tmp_path, pairs, decoded):
    cached(tmp_path / "cache", pairs, SPACE)(pairs[0])
    write_image(pairs[0].image, np.full((*SIZES[0], 3), 9, np.uint8))
    os.utime(pairs[0].image, ns=(1, 1))
    reader = cached(tmp_path / "cache", pairs, SPACE)
    assert int(reader(pairs[0]).image[0, 0, 0]) == 9
    assert int(reader(pairs[0]).image[0, 0, 0]) == 9
    assert decoded == ["0", "0"]


def test_bytes_that_changed_on_disk_are_not_believed(tmp_path, pairs, decoded):
    cached(tmp_path / "cache", pairs, SPACE)(pairs[0])
    (samples,) = (tmp_path / "cache").glob("*/samples.bin")
    with samples.open("r+b") as file:
        file.write(b"\x00\x01\x02\x03")
    head = json.loads(samples.with_name("cache.json").read_text("utf-8"))
    cache._checked.discard((head["token"], 0))  # as in a new process
    same(cached(tmp_path / "cache", pairs, SPACE)(pairs[0]), read_sample(pairs[0], SPACE))
    assert decoded == ["0", "0"]


def test_the_limit_holds_and_what_does_not_fit_is_decoded(tmp_path, pairs, decoded):
    limit = 5 * 7 * 4 + 10
    reader = cached(tmp_path / "cache", pairs, SPACE, limit=limit)
    for _ in range(2):
        for pair in pairs:
            same(reader(pair), read_sample(pair, SPACE))
    assert decoded == ["0", "1", "2", "3", "1", "2", "3"]
    assert reader.folder.joinpath("samples.bin").stat().st_size <= limit


def test_a_full_disk_costs_speed_only(tmp_path, pairs, decoded, monkeypatch):
    reader = cached(tmp_path / "cache", pairs, SPACE)

    def full(folder, size, limit):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_taken", full)
    for _ in range(2):
        same(reader(pairs[0]), read_sample(pairs[0], SPACE))
    assert decoded == ["0", "0"]


def _read_all(reader, pairs):
    return [int(reader(pair).image.sum()) for pair in pairs]


def test_many_processes_share_it(tmp_path, pairs):
    reader = cached(tmp_path / "cache", pairs, SPACE)
    wanted = [int(read_sample(pair, SPACE).image.sum()) for pair in pairs]
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        answers = [each.result() for each in [pool.submit(_read_all, reader, pairs) for _ in range(6)]]
    assert answers == [wanted] * 6
    assert _read_all(reader, pairs) == wanted


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"version": 0}'])
def test_a_broken_head_makes_it_anew(tmp_path, pairs, text):
    reader = cached(tmp_path / "cache", pairs, SPACE)
    reader(pairs[0])
    (reader.folder / "cache.json").write_text(text, "utf-8")
    same(cached(tmp_path / "cache", pairs, SPACE)(pairs[0]), read_sample(pairs[0], SPACE))


def test_refusals(tmp_path, pairs):
    with pytest.raises(ValueError, match="a cache of 0 bytes came; give 1 or more, or no cache"):
        cached(tmp_path / "cache", pairs, SPACE, limit=0)
    with pytest.raises(AtrousError, match=r"holds 0 사진.png, which is no cache. Name another folder"):
        cached(tmp_path, pairs[:1], SPACE)
    with pytest.raises(AtrousError, match=r"no cache can be made there \(Not a directory\). Name another folder"):
        cached(pairs[0].image / "cache", pairs, SPACE)


def test_two_pairs_of_one_name_are_refused(tmp_path, pairs):
    twin = Pair(pairs[0].name, pairs[1].image, pairs[1].mask)
    with pytest.raises(AtrousError, match=r"^the name '0' is that of two pairs, .*0 사진.png and .*1 사진.png. Rename"):
        cached(tmp_path / "cache", [*pairs, twin], SPACE)
    assert not (tmp_path / "cache").exists()
    same(cached(tmp_path / "cache", [*pairs, pairs[0]], SPACE)(pairs[0]), read_sample(pairs[0], SPACE))


@pytest.mark.parametrize("name", ["cache-notes", "my cache-folder", ".cache-notes"])
def test_a_folder_of_somebody_that_is_called_cache_is_left_alone(tmp_path, pairs, name):
    other = tmp_path / "cache" / name / "thesis.txt"
    other.parent.mkdir(parents=True)
    other.write_text("years of work")
    with pytest.raises(AtrousError, match=f"holds {name}, which is no cache. Name another folder"):
        cached(tmp_path / "cache", pairs, SPACE)
    assert other.read_text() == "years of work"


def test_empty_folders_files_and_links_called_cache_are_left_alone(tmp_path, pairs):
    (tmp_path / "one" / "cache-x").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "cache-x").write_text("a file")
    made = cached(tmp_path / "real", pairs, SPACE)
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "cache-x").symlink_to(made.folder, target_is_directory=True)
    for folder in ("one", "two", "three"):
        with pytest.raises(AtrousError, match="holds cache-x, which is no cache"):
            cached(tmp_path / folder, pairs, SPACE)
    assert (made.folder / "cache.json").is_file()


def test_what_a_process_left_half_made_is_no_hindrance(tmp_path, pairs):
    (tmp_path / "cache" / ".cache-0123-4567").mkdir(parents=True)
    (tmp_path / "cache" / ".cache-0123-4567" / "index.bin").write_bytes(b"")
    same(cached(tmp_path / "cache", pairs, SPACE)(pairs[0]), read_sample(pairs[0], SPACE))


def _changed(path, array):
    write_image(path, array)
    os.utime(path, ns=(1, 1))


def test_every_file_of_a_part_counts(tmp_path, pairs):
    size = (6, 9)
    for name in ("a", "b", "m", "n", "picture"):
        write_image(tmp_path / "parts" / f"{name}.png", np.zeros(size, np.uint8))
    a, b, m, n, picture = (tmp_path / "parts" / f"{name}.png" for name in ("a", "b", "m", "n", "picture"))
    channels, numbers = Channels((a, b)), Renumbered(Targets((m, n), (0, 1)), ((1, 1),))
    drawn = Shapes(tmp_path / "parts" / "a.json", size, (), image=picture)
    for pair, file in (
        (Pair("x", channels, m), b),
        (Pair("x", a, numbers), n),
        (Pair("x", Channels((a, channels)), m), b),
    ):
        cached(tmp_path / "cache", [pair], SPACE)(pair)
        _changed(file, np.ones(size, np.uint8))
        same(cached(tmp_path / "cache", [pair], SPACE)(pair), read_sample(pair, SPACE))
        write_image(file, np.zeros(size, np.uint8))
    assert paths_of(drawn) == (tmp_path / "parts" / "a.json", picture)
    layers = tuple(Layer(tmp_path / f"{number}.dcm", 0, ()) for number in (1, 2, 1))
    assert [path.name for path in paths_of(SegmentedSlice(layers, size, tmp_path / "1.dcm"))] == ["1.dcm", "2.dcm"]


@pytest.mark.parametrize(
    ("name", "head", "files"),
    [
        ("a.mhd", "ObjectType = Image\nElementDataFile = a.raw\n", ["a.raw"]),
        ("a.mhd", "ElementDataFile = LOCAL\n", []),
        ("a.nhdr", "NRRD0004\ntype: uchar\ndata file: sub/a.raw.gz\n", ["sub/a.raw.gz"]),
        ("a.nhdr", "NRRD0004\ndatafile: LIST\none.raw\ntwo.raw\n", ["one.raw", "two.raw"]),
        ("a.nhdr", "NRRD0004\ndata file: s%02d.raw 1 3 1\n", ["s01.raw", "s02.raw", "s03.raw"]),
        ("a.nhdr", "NRRD0004\ndata file: s%d%s.raw 1 3 0\n", ["s%d%s.raw 1 3 0"]),
        ("a.nhdr", "NRRD0004\ndata file: s%d%s.raw 1 3 1\n", ["s%d%s.raw 1 3 1"]),
        ("a.nhdr", "", []),
        ("a.nrrd", "NRRD0004\ndata file: a.raw\n", []),
    ],
)
def test_headers_of_volumes_name_their_files(tmp_path, name, head, files):
    (tmp_path / name).write_bytes(head.encode())
    assert files_of(tmp_path / name) == (tmp_path / name, *(tmp_path / file for file in files))


def test_voxels_that_changed_beside_their_header_are_read_again(tmp_path):
    head = "NDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = a.raw\n"
    (tmp_path / "a.mhd").write_text(head)
    (tmp_path / "a.raw").write_bytes(bytes(24))
    (pair,) = (Pair("a", Slice(tmp_path / "a.mhd", 1), Slice(tmp_path / "a.mhd", 1, labels=True)),)
    assert cached(tmp_path / "cache", [pair], SPACE)(pair).image.max() == 0
    (tmp_path / "a.raw").write_bytes(b"\1" * 24)
    os.utime(tmp_path / "a.raw", ns=(1, 1))
    assert cached(tmp_path / "cache", [pair], SPACE)(pair).image.min() == 1


def test_instances_are_held_where_they_are_asked_for(pairs, tmp_path):
    space = LabelSpace(names=("background", "object"), encoding="instances", ignore=None)
    path = tmp_path / "numbers.png"
    write_image(path, np.uint16([[0, 1, 1, 700], [2, 2, 0, 700]]))
    pair = Pair("numbers", path, path)
    for instances in (False, True, False, True):  # one after the other, in one folder
        reader = cached(tmp_path / "cache", [pair], space, instances=instances)
        for _ in range(2):
            same(reader(pair), read_sample(pair, space, instances=instances))
        assert (reader(pair).instances is not None) == instances
    assert reader(pair).instances.tolist() == [[0, 1, 1, 700], [2, 2, 0, 700]]
