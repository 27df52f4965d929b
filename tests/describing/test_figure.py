"""The picture: what it needs, what it shows, and that it replaces nothing when it fails."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from atrous.contract import AtrousError, Geometry, Preprocessing
from atrous.data.writers import check_figure
from atrous.describing import described
from atrous.describing.figure import Sight, draw_pyramid, write_figure
from atrous.describing.seeing import draw_zeros, fitted, pixel_of, seen
from atrous.layers.receptive_field import receptive_field
from atrous.models import deeplab_v3plus, fcn8s, unet


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return deeplab_v3plus(3, encoder="resnet18", width=1 / 8)


def test_a_picture_is_written_whole_or_not_at_all(net: nn.Module, tmp_path: Path, monkeypatch) -> None:
    description, sight = described(net, (65, 97), name="deeplab"), seen(net, (65, 97))
    path = tmp_path / "new" / "deeplab.png"
    write_figure(path, description, sight)
    picture = np.asarray(Image.open(path).convert("L"))
    assert picture.shape[0] == 9 * 160
    assert picture.std() > 20
    assert [each.name for each in path.parent.iterdir()] == ["deeplab.png"]

    from matplotlib.figure import Figure

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(AtrousError, match=r"deeplab.png: could not be written \(No space left on device\)"):
        write_figure(path, description, sight)
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


def test_other_suffixes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"--plot net.docx: a figure is written as .*png.*; choose one of these"):
        check_figure("net.docx")


def test_without_matplotlib_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(AtrousError, match=r'^--plot needs matplotlib: pip install "atrous\[plots\]"$'):
        check_figure("net.png")


def test_sight_of_a_synthetic_street(net: nn.Module) -> None:
    sight = seen(net, (65, 97))
    assert sight.image.shape == (65, 97, 3)
    assert sight.image.std() > 10
    assert sight.effective.shape == (65, 97)
    assert sight.effective.sum() == pytest.approx(1, abs=1e-5)
    assert "random weights, mean of 2 noisy copies" in sight.caption
    np.testing.assert_array_equal(sight.field.rows, receptive_field(net, 65, 97).rows)
    np.testing.assert_array_equal(seen(net, (65, 97)).effective, sight.effective)


def test_sight_is_of_a_size_that_the_network_takes_and_memory_holds() -> None:
    sight = seen(unet(2, width=1 / 64), (2000, 190))
    assert sight.effective.shape == (588, 204)


@pytest.mark.parametrize(("channels", "shape"), [(1, (40, 60, 3)), (5, (40, 60, 3)), (3, (60, 40, 1)), (4, (9, 9, 4))])
def test_images_of_other_channels_are_taken(channels: int, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    net = fcn8s(2, in_channels=channels, width=1 / 64)
    sight = seen(net, (33, 33), channels=channels, image=image)
    assert sight.image.shape == (33, 33, 3)
    assert sight.effective.sum() == pytest.approx(1, abs=1e-5)


def test_deep_images_are_shown_by_the_range_of_the_network() -> None:
    preprocessing = Preprocessing(low=100, high=1100, mean=(0.5,), std=(0.25,))
    net = fcn8s(2, in_channels=1, width=1 / 64)
    image = np.full((33, 33, 1), 600, np.uint16)
    assert seen(net, (33, 33), image=image, preprocessing=preprocessing).image[0, 0].tolist() == [127] * 3


def test_the_middle_of_an_image_is_taken_in_proportion() -> None:
    image = np.zeros((10, 40, 3), np.uint8)
    image[:, 15:25] = 200
    assert fitted(image, (20, 20)).min() == 200
    assert fitted(image[..., :1], (5, 20)).shape == (5, 20, 1)


def test_layers_that_start_at_zero_are_drawn_and_others_kept() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1))
    nn.init.zeros_(net[1].weight)
    nn.init.zeros_(net[2].weight)
    kept = net[0].weight.detach().clone()
    draw_zeros(net)
    assert torch.equal(net[0].weight, kept)
    assert net[1].weight.tolist() == [1, 1]
    assert net[2].weight.detach().any()


# The place of the logit -----------------------------------------------------------------------------------------------


def sight_of(middle: tuple[float, float]) -> Sight:
    field = receptive_field(nn.Conv2d(3, 1, 5), 9, 11)  # rows 2 to 6, columns 3 to 7
    shapes = np.zeros((9, 11, 3), np.uint8), np.ones((9, 11), np.float32)
    return Sight(image=shapes[0], field=field, effective=shapes[1], middle=middle, trained=True, copies=1)


def test_the_window_ends_where_its_sides_are() -> None:
    assert sight_of((4, 5)).ends == (2.5, 2.5)
    assert sight_of((3, 6)).ends == (1.5, 3.5)
    assert "trained weights" in sight_of((4, 5)).caption


@pytest.mark.parametrize(
    ("geometry", "pixel"),
    [(Geometry(stride=8, align_corners=True), 24), (Geometry(stride=8), 27.5), (Geometry(margin=92), 95)],
)
def test_a_logit_lies_where_the_geometry_says(geometry: Geometry, pixel: float) -> None:
    assert pixel_of(3, geometry) == pixel


def test_the_middle_is_the_place_of_the_logit_not_that_of_its_window() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # narrow as it is, another draw may leave the middle logit without a gradient
        sight = seen(unet(2, encoder="resnet18", width=1 / 2), (96, 160))
    assert sight.middle == (48, 80)
    window = [(read[0] + read[-1]) / 2 for read in (sight.field.rows, sight.field.columns)]
    assert max(abs(np.subtract(window, sight.middle))) > 10
    heaviest = np.unravel_index(cv2.GaussianBlur(sight.effective, (0, 0), 4).argmax(), sight.effective.shape)
    assert np.hypot(*np.subtract(heaviest, sight.middle)) < 10
    assert seen(deeplab_v3plus(2, encoder="resnet18", width=1 / 8), (65, 97)).middle == (32, 48)


# The pyramid ----------------------------------------------------------------------------------------------------------


def test_neighbours_are_linked_where_one_reads_the_other(net: nn.Module) -> None:
    from matplotlib.figure import Figure

    description = described(net, (65, 97))
    axes = Figure().add_subplot()
    draw_pyramid(axes, description)
    names = [stage.name for stage in description.stages]
    flat = [each for each in axes.texts if not each.get_text() and each.xyann[1] == each.xy[1]]
    linked = [names[round(float(each.xy[0]))] for each in flat]
    assert linked == [name for name in names if name not in ("conv1", "reduce", "aspp")]
