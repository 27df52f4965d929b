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
    monkeypatch.setattr(cache, "read_sample", lambda pair, space: names.append(pair.name) or read_sample(pair, space))
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
