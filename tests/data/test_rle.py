"""Run lengths agree with COCO's own code, and broken ones are told from whole ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atrous.contract import AtrousError
from atrous.data.rle import counts_of_string, decode, decode_brush, encode, string_of_counts

coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


def theirs(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]


@given(MASKS)
def test_the_string_is_that_of_coco_and_back(mask):
    text = theirs(mask)
    assert string_of_counts(encode(mask)) == text.decode()
    np.testing.assert_array_equal(decode(text, mask.shape), mask)
    np.testing.assert_array_equal(decode(encode(mask), mask.shape), mask)
    np.testing.assert_array_equal(decode(encode(mask).tolist(), mask.shape), mask)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=30))
def test_counts_of_any_size_survive_the_string(counts):
    assert counts_of_string(string_of_counts(counts)).tolist() == counts


def test_large_masks(tmp_path):
    random = np.random.default_rng(0)
    for density in (0.0, 0.001, 0.5, 1.0):
        mask = random.random((300, 500)) < density
        assert string_of_counts(encode(mask)) == theirs(mask).decode()
        np.testing.assert_array_equal(decode(theirs(mask), mask.shape), mask)


@pytest.mark.parametrize(
    ("counts", "size", "match"),
    [
        ([1, 2], (2, 2), r"add up to 3, and 2 x 2 pixels are 4"),
        ([1, 2, 2], (2, 2), r"add up to 5"),
        ([5, -1], (2, 2), r"a count of -1 came, and counts are 0 or more"),
        ([1.5, 2.5], (2, 2), r"no list of whole numbers"),
        (["4"], (2, 2), r"no list of whole numbers"),
        ([[1], [2, 3]], (2, 2), r"no list of whole numbers"),
        ([], (2, 2), r"add up to 0"),
        ([2**70], (2, 2), r"no list of whole numbers"),
        ([2**62, 2**62, 2**62, 2**62], (2, 2), r"add up to 18,446,744,073,709,551,616"),
        ([4], (0, 2), r"a mask of 0 x 2 pixels"),
        ([4], (-2, -2), r"a mask of -2 x -2 pixels"),
        ([10**12], (10**6, 10**6), r"a mask of 1,000,000 x 1,000,000 pixels .* are read"),
        ("4~", (2, 2), r"the character '~' is none of the string's"),
        ("4 ", (2, 2), r"the character ' ' is none"),
        ("한", (2, 2), r"the character '한' is none"),
        ("", (2, 2), r"the string is empty"),
        ("o" * 20 + "0", (2, 2), r"a count of 21 characters"),
        ("12o", (2, 2), r"ends within a count: it was cut off"),
        ("12", (2, 2), r"add up to 3"),
    ],
)
def test_broken_run_lengths(counts, size, match):
    with pytest.raises(AtrousError, match=match) as caught:
        decode(counts, size)
    assert caught.value.kind == "broken-rle"


def mask_or_kind(read, data, size):
    try:
        return read(data, size).shape
    except AtrousError as error:
        return error.kind


@given(st.binary(max_size=40))
def test_any_bytes_are_a_mask_or_an_error(data):
    assert mask_or_kind(decode, data, (3, 4)) in ((3, 4), "broken-rle")


def brush(values, *, word=8, lengths=(3, 4, 8, 16), repeats=True):
    """Pack bytes as Label Studio does: runs of one value, and stretches of values."""
    bits = f"{len(values):032b}{word - 1:05b}" + "".join(f"{length - 1:04b}" for length in lengths)
    start = 0
    while start < len(values):
        stop = start + 1
        while stop < len(values) and values[stop] == values[start] and repeats:
            stop += 1
        if not repeats:
            stop = min(start + 5, len(values))
        stop = min(stop, start + 2 ** lengths[-1])
        kind = next(kind for kind, length in enumerate(lengths) if stop - start <= 2**length)
        bits += f"{int(repeats)}{kind:02b}{stop - start - 1:0{lengths[kind]}b}"
        bits += "".join(f"{value:0{word}b}" for value in values[start : start + 1 if repeats else stop])
        start = stop
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))


def rgba(mask, alpha=255):
    return np.repeat(np.where(mask, alpha, 0).ravel(), 4).tolist()


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)), st.booleans())
def test_brushes_of_label_studio(mask, repeats):
    np.testing.assert_array_equal(decode_brush(brush(rgba(mask), repeats=repeats), mask.shape), mask)


def test_brushes_with_other_word_sizes():
    mask = np.eye(5, 7, dtype=bool)
    for word in (1, 4, 12):
        data = brush(rgba(mask, alpha=1), word=word, lengths=(1, 2, 3, 4))
        np.testing.assert_array_equal(decode_brush(data, mask.shape), mask)


def test_broken_brushes():
    data = brush(rgba(np.eye(4, dtype=bool)))
    with pytest.raises(AtrousError, match=r"holds 64 bytes, and 5 x 4 pixels have 80") as caught:
        decode_brush(data, (5, 4))
    assert caught.value.kind == "broken-rle"
    for length in range(len(data)):
        with pytest.raises(AtrousError, match="cut off"):
            decode_brush(data[:length], (4, 4))
    with pytest.raises(AtrousError, match="passes the end of the picture"):
        decode_brush(brush([1] * 8)[:7] + b"\x1c\x04" * 9, (1, 2))


@given(st.binary(min_size=7, max_size=60))
def test_any_bytes_are_a_brush_or_an_error(data):
    assert mask_or_kind(decode_brush, (2 * 2 * 4).to_bytes(4, "big") + data, (2, 2)) in ((2, 2), "broken-rle")
