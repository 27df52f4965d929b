"""Drawing: known pixels, any depth and size, legends that grow, and words for what is wrong."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrous.contract import LabelSpace
from atrous.draw import background, colourise, contact_sheet, displayed, overlay

SPACE = LabelSpace(names=("road", "car", "tree"), colours=((200, 0, 100), (0, 250, 50), (10, 20, 30)))


def test_colourise_gives_each_class_its_colour_and_ignore_black() -> None:
    colours = colourise(np.array([[0, 1], [2, 255]]), SPACE)
    assert colours.dtype == np.uint8
    assert colours.tolist() == [[[200, 0, 100], [0, 250, 50]], [[10, 20, 30], [0, 0, 0]]]


@pytest.mark.parametrize("label", [3, 254, -1, 256])
def test_labels_outside_the_space_are_named(label: int) -> None:
    labels = np.zeros((3, 4), np.int64)
    labels[1, 1:3] = label
    words = rf"label {label} is outside 0\.\.2 and is not the ignore value 255; 2 pixels"
    with pytest.raises(ValueError, match=words):
        colourise(labels, SPACE)
    with pytest.raises(ValueError, match=words):
        overlay(np.zeros((3, 4), np.uint8), labels, SPACE)


@pytest.mark.parametrize("labels", [np.zeros((2, 2, 1), np.uint8), np.zeros((2, 2)), np.zeros((0, 2), np.uint8)])
def test_labels_of_another_shape_or_type_are_refused(labels) -> None:
    with pytest.raises(ValueError, match=r"labels of shape .* came; they are \(h, w\) integers"):
        colourise(labels, SPACE)


def test_overlay_blends_inside_darkens_borders_and_leaves_ignored_pixels() -> None:
    image = np.full((3, 5, 3), 100, np.uint8)
    labels = np.array([[0, 0, 0, 1, 255]] * 3)
    drawn = overlay(image, labels, SPACE)
    assert drawn[0].tolist() == [
        [150, 50, 100],
        [150, 50, 100],
        # 0.55 of the colour, laid on with a strength of 0.8
        [108, 20, 64],
        [20, 130, 42],
        [100, 100, 100],
    ]


@pytest.mark.parametrize("name", ["background", "_background_", "BG", " Void ", "unlabeled"])
def test_background_is_known_by_its_name_wherever_it_stands(name: str) -> None:
    assert background(LabelSpace(names=("road", name, "car"))) == 1
    assert background(LabelSpace(names=("sky", "building", "car background"))) is None


def test_background_shows_the_image_and_objects_keep_borders_of_their_own() -> None:
    space = LabelSpace(names=("background", "cell"), colours=((255, 255, 255), (200, 0, 100)))
    image = np.random.default_rng(2).integers(0, 256, (9, 80, 3), dtype=np.uint8)
    labels = np.zeros((9, 80), np.uint8)
    labels[2:7, 10:20] = 1
    drawn = overlay(image, labels, space)
    np.testing.assert_array_equal(drawn[:9][labels == 0], image[labels == 0])
    firm = (0.55 * 0.8 * np.array([200, 0, 100]) + 0.2 * image).round().astype(np.uint8)
    border = labels == 1
    border[3:6, 11:19] = False
    np.testing.assert_array_equal(drawn[:9][border], firm[border])
    assert (drawn[3:6, 11:19] != firm[3:6, 11:19]).any(-1).all()
    assert not (drawn[9:] == (255, 255, 255)).all(-1).any()
    assert overlay(image, labels * 0, space).shape == (9, 80, 3)


def test_limits_show_pictures_alike() -> None:
    first, second = np.array([[0, 50]], np.int16), np.array([[50, 300]], np.int16)
    assert displayed(first, limits=(0, 100))[..., 0].tolist() == [[0, 128]]
    assert displayed(second, limits=(0, 100))[..., 0].tolist() == [[128, 255]]
    assert displayed(np.array([[10]], np.uint8), limits=(0, 20))[..., 0].tolist() == [[128]]
    assert displayed(np.array([[np.nan, 5.0]]), limits=(0, 5))[..., 0].tolist() == [[0, 255]]


def test_strength_runs_from_the_image_to_the_colours() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    labels = np.repeat([[0, 1, 2]], 20, 0).repeat(10, 1)
    np.testing.assert_array_equal(overlay(image, labels, SPACE, strength=0), image)
    full = overlay(image, labels, SPACE, strength=1)
    np.testing.assert_array_equal(full[:, :9], colourise(labels, SPACE)[:, :9])
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"strength .* came; it runs from 0"):
            overlay(image, labels, SPACE, strength=strength)


def test_sizes_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match=r"the image is 4 x 5 and the labels are 5 x 4 \(height x width\)"):
        overlay(np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8), SPACE)


def test_inputs_are_not_changed_and_results_are_no_views() -> None:
    image, labels = np.full((80, 90, 3), 7, np.uint8), np.eye(80, 90, dtype=np.uint8)
    image.flags.writeable = labels.flags.writeable = False
    drawn, shown = overlay(image, labels, SPACE), displayed(image)
    sheet = contact_sheet([[image, labels]])
    for result in (drawn, shown, sheet, colourise(labels, SPACE)):
        result[:] = 255
    assert (image == 7).all()
    np.testing.assert_array_equal(labels, np.eye(80, 90))


def test_legend_is_below_lists_what_is_present_and_grows() -> None:
    image = np.zeros((40, 100, 3), np.uint8)
    space = LabelSpace(names=tuple(f"class number {index}" for index in range(12)))
    labels = np.zeros((40, 100), np.uint8)
    heights = []
    for classes in (1, 3, 12):
        labels[0, :classes] = np.arange(classes)
        drawn = overlay(image, labels, space)
        assert drawn.shape[1:] == (100, 3)
        np.testing.assert_array_equal(drawn[:40], overlay(image, labels, space, legend=False))
        for index in range(12):
            swatch = (drawn[40:] == space.colours[index]).all(-1).sum()
            assert (swatch > 50) == (index < classes)
        heights.append(drawn.shape[0])
    assert 40 < heights[0] < heights[1] < heights[2]


def test_legend_is_left_out_where_it_says_nothing() -> None:
    assert overlay(np.zeros((9, 63), np.uint8), np.zeros((9, 63), np.uint8), SPACE).shape == (9, 63, 3)
    assert overlay(np.zeros((9, 64), np.uint8), np.zeros((9, 64), np.uint8), SPACE).shape[0] > 9
    assert overlay(np.zeros((9, 90), np.uint8), np.full((9, 90), 255), SPACE).shape == (9, 90, 3)


@pytest.mark.parametrize("width", [64, 100, 400, 2000])
@pytest.mark.parametrize(
    "name", ["x", "a name much longer than the picture is wide " * 9, "Gebäude", "道路", "two\nlines", ""]
)
def test_any_name_fits_the_width(name: str, width: int) -> None:
    space = LabelSpace(names=(name,), colours=((255, 0, 0),))
    strip = overlay(np.zeros((2, width), np.uint8), np.zeros((2, width), np.uint8), space)[2:]
    assert strip.shape[1] == width
    assert (strip[:, -1] == 250).all()
    dark = (strip.astype(int).sum(-1) < 300) & (strip[..., 0] < 100)
    assert dark.any() == bool(name)


def test_names_beyond_ascii_are_written_in_their_own_letters() -> None:
    def written(name: str) -> np.ndarray:
        space = LabelSpace(names=(name,), colours=((255, 0, 0),))
        return overlay(np.zeros((2, 200), np.uint8), np.zeros((2, 200), np.uint8), space)[2:]

    assert (written("道路") != written("樹木")).any()
    assert (written("é") != written("è")).any()


def test_without_the_font_of_opencv_accents_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "FontFace", raising=False)
    zeros = np.zeros((2, 200), np.uint8)

    def written(name: str) -> np.ndarray:
        return overlay(zeros, zeros, LabelSpace(names=(name,), colours=((255, 0, 0),)))

    np.testing.assert_array_equal(written("Gebäude"), written("Gebaude"))
    np.testing.assert_array_equal(written("道路"), written("??"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64, np.bool_])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4, 7])
def test_any_depth_and_number_of_channels_is_shown(dtype, channels) -> None:
    shape = (6, 5) if channels is None else (6, 5, channels)
    image = np.random.default_rng(1).integers(0, 2 if dtype is np.bool_ else 200, shape).astype(dtype)
    shown = displayed(image)
    assert shown.shape == (6, 5, 3)
    assert shown.dtype == np.uint8
    if channels in (None, 1, 2):
        np.testing.assert_array_equal(shown[..., 0], shown[..., 2])
    if dtype is np.uint8 and channels == 7:
        np.testing.assert_array_equal(shown, image[..., :3])
    if dtype is not np.uint8:
        assert (shown.min(), shown.max()) == (0, 255)


def test_other_depths_are_stretched_by_their_percentiles() -> None:
    image = np.arange(1001, dtype=np.float32).reshape(-1, 1) * 1000
    image[1000] = 1e30
    shown = displayed(image)[:, 0, 0]
    assert shown[:6].tolist() == [0, 0, 0, 0, 0, 0]
    assert shown[500] == 127 or shown[500] == 128
    assert shown[995:].tolist() == [255] * 6


def test_constant_sparse_and_unreal_values() -> None:
    assert (displayed(np.full((3, 3), 40000, np.uint16)) == 128).all()
    sparse = np.zeros((100, 100), np.uint16)
    sparse[50, 50] = 9
    assert displayed(sparse)[50, 50].tolist() == [255, 255, 255]
    holes = np.array([[0.0, 1.0, np.nan, np.inf, -np.inf]], np.float32)
    assert displayed(holes)[0, :, 0].tolist() == [0, 255, 0, 0, 0]
    assert (displayed(np.full((2, 2), np.nan)) == 0).all()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros(4), r"an image of shape \(4,\) came; it is \(h, w\) or \(h, w, c\)"),
        (np.zeros((0, 3)), "none of them 0"),
        (np.zeros((2, 2, 0)), "none of them 0"),
        (np.zeros((2, 2), complex), "an image of complex128 came"),
    ],
)
def test_images_that_cannot_be_shown_are_refused(image, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        displayed(image)


@given(height=st.integers(1, 9), width=st.integers(1, 130), seed=st.integers(0, 99))
def test_overlay_of_any_size(height: int, width: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.choice([0, 1, 2, 255], (height, width))
    drawn = overlay(generator.integers(0, 65536, (height, width, 3), dtype=np.uint16), labels, SPACE)
    assert drawn.dtype == np.uint8
    assert drawn.shape[0] >= height
    assert drawn.shape[1:] == (width, 3)


def test_contact_sheet_lays_pictures_in_columns() -> None:
    small, large = np.full((2, 3), 10, np.uint8), np.full((4, 5, 3), 20, np.uint8)
    sheet = contact_sheet([[small, large], [large]], gap=1)
    assert sheet.shape == (1 + 4 + 1 + 4 + 1, 1 + 5 + 1 + 5 + 1, 3)
    assert (sheet[1:3, 1:4] == 10).all()
    assert (sheet[3:5, 1:6] == 255).all()
    assert (sheet[1:5, 7:12] == 20).all()
    assert (sheet[6:10, 1:6] == 20).all()
    assert (sheet[6:10, 7:12] == 255).all()


def test_contact_sheet_titles_stand_above() -> None:
    picture = np.zeros((10, 120, 3), np.uint8)
    plain = contact_sheet([[picture, picture]])
    titled = contact_sheet([[picture, picture]], titles=["image", "Wörter " * 40])
    np.testing.assert_array_equal(titled[-plain.shape[0] :], plain)
    head = titled[: -plain.shape[0]]
    assert (head < 128).any()
    assert (head[:, -4:] == 255).all()


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([], {}, "no pictures came"),
        ([[], []], {}, "no pictures came"),
        ([[np.zeros((2, 2))]], {"gap": -1}, "gap -1 came"),
        ([[np.zeros((2, 2))]], {"titles": ["a", "b"]}, "2 titles came for 1 columns"),
    ],
)
def test_contact_sheets_that_are_refused(rows, options, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        contact_sheet(rows, **options)
