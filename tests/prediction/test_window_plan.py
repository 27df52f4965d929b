"""Windows cover every pixel, once as their own, stay in the image and in their size, and lie on the network's grid."""

from math import lcm

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrous.contract import Geometry, mirrored
from atrous.prediction.window_plan import Span, Window, sides, windows

UNET = Geometry(multiple=16, offset=12, minimum=188, margin=92)
DEEPLAB = Geometry(multiple=16, offset=1, minimum=17, stride=16, align_corners=True)
SHALLOW = Geometry(multiple=4, offset=0, minimum=20, margin=8, stride=1)
GEOMETRIES = (Geometry(), DEEPLAB, UNET, SHALLOW, Geometry(multiple=32, minimum=64, stride=32), Geometry(stride=8))


@st.composite
def plans(draw):
    """An image, a size that is possible for the geometry, and the windows."""
    geometry = draw(st.sampled_from(GEOMETRIES))
    grid = lcm(geometry.multiple, geometry.stride)
    least = geometry.valid(grid + 2 * geometry.margin) + -geometry.margin % grid
    size = draw(st.tuples(st.integers(least, least + 300), st.integers(least + 40, least + 300)))
    height, width = draw(st.integers(1, 1200)), draw(st.integers(1, 150))
    overlap = draw(st.floats(0, 0.9))
    return (
        (height, width),
        size,
        overlap,
        geometry,
        windows(height, width, size=size, overlap=overlap, geometry=geometry),
    )


@given(plans())
@settings(max_examples=80, deadline=None)
def test_every_pixel_is_kept_and_is_one_windows_own(plan):
    (height, width), _, _, _, found = plan
    for axis, side in (("rows", height), ("columns", width)):
        spans = list(dict.fromkeys(getattr(window, axis) for window in found))
        kept, own = np.zeros(side, int), np.zeros(side, int)
        for span in spans:
            assert 0 <= span.start <= span.kept_start <= span.own_start < span.own_stop <= span.kept_stop <= span.stop
            assert span.stop <= side
            kept[span.kept_start : span.kept_stop] += 1
            own[span.own_start : span.own_stop] += 1
        assert kept.min() >= 1
        assert own.min() == own.max() == 1
    rows, columns = (list(dict.fromkeys(getattr(window, axis) for window in found)) for axis in ("rows", "columns"))
    assert [(window.rows, window.columns) for window in found] == [(row, column) for row in rows for column in columns]


@given(plans())
@settings(max_examples=80, deadline=None)
def test_windows_are_no_larger_than_said_and_on_the_grid(plan):
    sizes, most, _, geometry, found = plan
    grid = lcm(geometry.multiple, geometry.stride)
    for window in found:
        for span, side, size in zip((window.rows, window.columns), sizes, most, strict=True):
            assert span.stop - span.start <= size
            assert span.start % grid == 0
            assert span.start == 0 or span.kept_start - span.start >= geometry.margin
            assert span.stop == side or span.stop - span.kept_stop >= geometry.margin
            if side > size and geometry.margin == 0:
                # Nothing is padded inside the image: only the last window may be of a side that is not taken as it is.
                assert span.stop == side or geometry.valid(span.stop - span.start) == span.stop - span.start


@given(plans())
@settings(max_examples=50, deadline=None)
def test_windows_with_a_margin_abut(plan):
    _, _, _, geometry, found = plan
    if geometry.margin:
        assert all(window.kept == window.own for window in found)


WITH_MARGIN = (UNET, SHALLOW, Geometry(multiple=4, offset=2, minimum=14, margin=5), Geometry(margin=3))


@st.composite
def tilings(draw):
    """A side, a size that is possible for the geometry, and the spans for a scorer that offers `surrounded`."""
    geometry = draw(st.sampled_from(WITH_MARGIN))
    least = geometry.valid(2 * geometry.multiple - 1 + 2 * geometry.margin)
    size, side = draw(st.integers(least, least + 4 * geometry.multiple)), draw(st.integers(1, 900))
    found = windows(1, side, size=(least, size), geometry=geometry, surrounded=True)
    return side, size, geometry, [window.columns for window in found]


@given(tilings())
@settings(max_examples=300, deadline=None)
def test_surrounded_windows_show_the_network_parts_of_the_whole_images_input(tiling):
    side, size, geometry, spans = tiling
    margin = geometry.margin
    whole = mirrored(side, *geometry.padding(side))
    for span in spans:
        inside = span.inside
        before, after = geometry.padding(inside.stop - inside.start)
        seen = span.start + mirrored(span.stop - span.start, before - span.context[0], after - span.context[1])
        assert len(seen) <= size
        assert inside.start % geometry.multiple == 0
        assert inside.start <= span.own_start < span.own_stop <= inside.stop
        # Pixel `start - margin` of the image is pixel `start` of its input.
        np.testing.assert_array_equal(seen, whole[inside.start : inside.start + len(seen)])
        assert max(span.context) <= margin
    assert [spans[0].own_start, *(span.own_stop for span in spans)] == [*(span.own_start for span in spans), side]


def test_surrounded_windows_of_unet():
    found = windows(300, 1000, size=572, geometry=UNET, surrounded=True)
    assert [window.rows for window in found] == [Span(0, 300, 0, 300, 0, 300, (0, 0))] * 3
    assert [window.columns for window in found] == [
        Span(0, 480, 0, 384, 0, 384, (0, 92)),
        Span(292, 864, 384, 768, 384, 768, (92, 92)),
        Span(676, 1000, 768, 1000, 768, 1000, (92, 0)),
    ]
    assert found[1].context == (0, 0, 92, 92)
    assert found[1].inside == (slice(0, 300), slice(384, 772))
    assert len(windows(388, 388, size=572, geometry=UNET, surrounded=True)) == 1
    assert len(windows(389, 388, size=572, geometry=UNET, surrounded=True)) == 2


def test_without_a_margin_nothing_surrounds():
    assert windows(90, 90, size=40, surrounded=True) == windows(90, 90, size=40)
    assert windows(90, 90, size=40)[0].context is None
    with pytest.raises(ValueError, match="surrounded windows of stride 8 came; only those of stride 1 are exact"):
        windows(90, 90, size=40, geometry=Geometry(stride=8, margin=3), surrounded=True)
    with pytest.raises(ValueError, match=r"windows of 219 pixels came; this network needs 220 or more \(margin 92"):
        windows(90, 90, size=219, geometry=UNET, surrounded=True)


def test_unet_uses_384_of_388():
    spans = [window.columns for window in windows(500, 2000, size=576, geometry=UNET)][:3]
    assert [(span.start, span.stop) for span in spans] == [(0, 576), (384, 960), (768, 1344)]
    assert spans[1].own_stop - spans[1].own_start == 384
    # A side between two multiples gives no more than the lower one, and is not read in vain.
    assert windows(500, 2000, size=580, geometry=UNET) == windows(500, 2000, size=576, geometry=UNET)


def test_deeplab_takes_sides_that_need_no_padding():
    found = windows(360, 600, size=(300, 272), overlap=0.25, geometry=DEEPLAB)
    assert [window.read for window in found][:4] == [
        (slice(0, 289), slice(0, 257)),
        (slice(0, 289), slice(192, 449)),
        (slice(0, 289), slice(352, 600)),
        (slice(80, 360), slice(0, 257)),
    ]


def test_overlap_is_the_share_of_a_window():
    for overlap, step in ((0, 100), (0.25, 75), (0.5, 50), (0.9, 10)):
        first, second = windows(1, 1000, size=100, overlap=overlap)[:2]
        assert second.columns.start - first.columns.start == step
        assert first.columns.own_stop == second.columns.own_start == (100 + step) // 2


def test_windows_of_networks_that_name_no_grid_start_at_multiples_of_32():
    starts = [[window.columns.start for window in windows(1, 1500, size=size)] for size in (700, 340)]
    assert starts == [[0, 512, 800], [0, 255, 510, 765, 1020, 1160]]
    # A step below 256 stays what the overlap says; and networks that do name one keep to it.
    assert windows(1, 1500, size=700, geometry=Geometry(stride=2))[1].columns.start == 524


def test_an_image_no_larger_than_the_window_is_one():
    for height, width in ((1, 1), (300, 576), (576, 576)):
        whole = Window(Span(0, height, 0, height, 0, height), Span(0, width, 0, width, 0, width))
        assert windows(height, width, size=576, geometry=UNET) == (whole,)
        assert windows(height, width, size=577, geometry=DEEPLAB) == (whole,)


def test_regions_in_the_windows_own_coordinates():
    window = windows(40, 10, size=20, overlap=0.5)[2]
    assert (window.read, window.own) == ((slice(20, 40), slice(0, 10)), (slice(25, 40), slice(0, 10)))
    assert window.within(window.own) == (slice(5, 20), slice(0, 10))
    image = np.arange(400).reshape(40, 10)
    assert (image[window.read][window.within(window.own)] == image[window.own]).all()


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"windows of 207 pixels came; this network needs 208 or more \(margin 92"):
        windows(500, 500, size=(300, 207), geometry=UNET)
    with pytest.raises(ValueError, match="windows of 16 pixels came; this network needs 17 or more"):
        windows(500, 500, size=16, geometry=DEEPLAB)
    for overlap in (-0.1, 0.91, float("nan"), True, "0.5", None):
        with pytest.raises(ValueError, match=r"overlap .* came; a share of a window from 0 to 0\.9 is accepted"):
            windows(5, 5, size=3, overlap=overlap)
    for height, width in ((0, 5), (5, -1)):
        with pytest.raises(ValueError, match=f"an image of {height} x {width} came; windows need at least 1 x 1"):
            windows(height, width, size=3)


@pytest.mark.parametrize("size", [0, -3, 2.5, "512", None, True, (1, 2, 3), (5,), (0, 5), ("a", 1)])
def test_sizes_that_are_none(size):
    with pytest.raises(
        ValueError, match=r"window size .* came; one side in pixels or \(height, width\), each 1 or more"
    ):
        sides(size)


def test_sizes():
    assert sides(np.int64(7)) == (7, 7)
    assert sides((3, 4)) == sides([3, 4]) == (3, 4)
