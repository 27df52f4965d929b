"""Descriptions: the papers' totals, stages as the figures have them, and what atrous rates do."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
import timm
import torch
import torchvision
from torch import nn

from atrous.describing import Description, Stage, described
from atrous.describing.description import COLUMNS, scaled, title_of
from atrous.layers.aspp import ASPP
from atrous.models import TABLE, build, deeplab_v3plus, fcn8s, unet


def on_meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return build(name, 21, **options)


def column(description: Description, field: str) -> dict[str, object]:
    return {stage.name: getattr(stage, field) for stage in description.stages}


# The papers' numbers --------------------------------------------------------------------------------------------------


def test_fcn8s() -> None:
    """FCN (arXiv 1411.4038), section 4 and table 1; sizes at 500 pixels by arithmetic."""
    description = described(on_meta("fcn8s"), (500, 500), name="fcn8s")
    assert description.parameters == 134_362_751
    sizes, fields, reads = (column(description, field) for field in ("size", "receptive_field", "reads"))
    stages = [f"stage{number}" for number in range(1, 6)]
    assert [sizes[name][0] for name in (*stages, "fc6", "fc7", "score_fr")] == [349, 175, 88, 44, 22, 16, 16, 16]
    assert [fields[name] for name in ("stage5", "fc6", "logits")] == [(212, 212), (404, 404), (436, 436)]
    assert reads["upscore_pool4"] == ("upscore2", "score_pool4")
    assert reads["score_pool3"] == ("stage3",)
    assert (sizes["upscore8"], sizes["logits"]) == ((568, 568), (500, 500))
    assert not description.warnings


def test_unet() -> None:
    """U-Net (arXiv 1505.04597), figure 1: pools belong to the level behind them, and skips are read."""
    description = described(on_meta("unet", in_channels=1), (572, 572), 1)
    sides = {name: size[0] for name, size in column(description, "size").items()}
    assert sides == {
        **{"level1": 568, "level2": 280, "level3": 136, "level4": 64, "bottom": 28},
        **{"expand4": 52, "expand3": 100, "expand2": 196, "expand1": 388, "score": 388},
    }
    assert column(description, "receptive_field")["bottom"] == (140, 140)
    assert column(description, "stride")["bottom"] == 16
    assert column(description, "reads")["expand2"] == ("level2", "expand3")
    assert sum(column(description, "parameters").values()) == description.parameters


def test_deeplab_v3plus_has_the_multiply_adds_of_its_paper() -> None:
    """DeepLab v3+ (arXiv 1802.02611): 97.81 G without the padding that the authors' counts include."""
    description = described(on_meta("deeplab_v3plus", encoder="resnet101_beta"))
    assert description.parameters == 59_468_085
    assert round(description.multiply_adds / 1e9, 2) == 97.81
    assert sum(column(description, "multiply_adds").values()) == description.multiply_adds
    names = ["root", "layer1", "layer2", "layer3", "layer4", "reduce", "aspp", "refine", "classify"]
    assert list(column(description, "size")) == names
    whole = column(description, "whole")
    assert [name for name in names if whole[name]] == ["aspp", "refine", "classify"]
    assert column(description, "reads")["refine"] == ("reduce", "aspp")


def test_xception() -> None:
    description = described(on_meta("deeplab_v3plus", encoder="xception65"))
    assert description.parameters == 41_055_413
    assert round(description.multiply_adds / 1e9, 2) == 54.04
    assert "blocks.2-18" in column(description, "size")


def test_deeplab_v2_sees_through_every_rate() -> None:
    description = described(on_meta("deeplab_v2", encoder="vgg16"))
    fields = column(description, "receptive_field")
    assert [fields[f"fc6_{branch}"][0] for branch in (1, 2, 3, 4)] == [323, 419, 515, 611]
    assert fields["logits"] == (611, 611)
    assert column(description, "reads")["fc6_3"] == ("stage5",)


def test_a_net_at_several_scales_counts_its_parameters_once() -> None:
    description = described(on_meta("deeplab_v2", multiscale=True), (321, 321))
    assert description.parameters == 44_048_532 == sum(column(description, "parameters").values())
    assert column(description, "stride")["layer4 (3)"] == 16
    assert column(description, "reads")["conv1 (2)"] == ("image",)
    assert [warning.split(" has ")[0] for warning in description.warnings] == [
        "gridding: layer3 (1)",
        "gridding: layer4 (1)",
        "degenerate rates: aspp",  # 24 on the 21 positions that the smallest scale has
    ]


@pytest.mark.parametrize("name", TABLE)
def test_every_network_is_described(name: str) -> None:
    net = on_meta(name)
    side = net.geometry.valid(224)
    description = described(net, (side, side))
    assert description.parameters == sum(parameter.numel() for parameter in net.parameters())
    assert description.multiply_adds == sum(stage.multiply_adds for stage in description.stages)
    assert sum(stage.parameters for stage in description.stages) == description.parameters
    assert 5 <= len(description.stages) <= 20
    assert not description.notes
    with torch.no_grad(), torch.device("meta"):
        logits = net.eval()(torch.empty(1, 3, side, side))
    assert description.stages[-1].size == tuple(logits.shape[2:])
    assert description.stages[-1].channels == 21


def test_classifiers_of_others() -> None:
    with torch.device("meta"):
        vgg, efficient = torchvision.models.vgg16(weights=None), timm.create_model("efficientnet_b0")
    description = described(vgg, (224, 224))
    assert description.parameters == 138_357_544
    assert round(description.multiply_adds / 1e9, 2) == 15.47
    assert column(description, "size")["features.5-7"] == (112, 112)
    assert description.stages[-1].receptive_field is None
    assert description.stages[-1].whole
    assert round(described(efficient, (224, 224)).multiply_adds / 1e6) == 386


# Cost -----------------------------------------------------------------------------------------------------------------


def test_memory_is_what_layers_put_out() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 3, stride=2, padding=1))
    description = described(net, (10, 20))
    assert [stage.memory for stage in description.stages] == [4 * 8 * 10 * 20, 4 * 4 * 5 * 10]
    assert [stage.multiply_adds for stage in description.stages] == [27 * 8 * 200, 72 * 4 * 50]
    assert description.memory == sum(stage.memory for stage in description.stages)
    assert description.weights == 4 * (3 * 8 * 9 + 8 + 8 * 4 * 9 + 4)


def test_parameters_that_do_not_run_are_said() -> None:
    net = on_meta("deeplab_v3", head="torchvision", auxiliary=True)
    assert described(net, (65, 65)).notes[-1] == (
        "2,365,205 parameters are in no stage, of auxiliary: this forward does not run them"
    )


def test_the_network_stays_as_it_was() -> None:
    net = deeplab_v3plus(2, encoder="resnet18", width=1 / 8).train()
    described(net, (65, 65))
    assert net.training
    assert next(net.parameters()).device.type == "cpu"


# Rates ----------------------------------------------------------------------------------------------------------------


def atrous(*rates: int) -> nn.Sequential:
    layers = [nn.Conv2d(8, 8, 3, padding=rate, dilation=rate) for rate in rates]
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Sequential(nn.Conv2d(8, 8, 1), *layers, nn.Conv2d(8, 16, 1))
    )


def test_successive_rates_with_a_common_divisor_are_warned_of() -> None:
    (warning,) = described(atrous(2, 2), (65, 65)).warnings
    assert warning == (
        "gridding: 1 has atrous convolutions of rates 2, 2 in a row, whose common divisor is 2: "
        "along each axis a position reads 5 of 9 positions of the map that enters"
    )


@pytest.mark.parametrize("rates", [(1, 2, 3), (1, 2, 2), (2,), (2, 3)])
def test_rates_that_close_their_holes_are_not(rates: tuple[int, ...]) -> None:
    assert not described(atrous(*rates), (65, 65)).warnings


def test_parallel_rates_are_not_gridding() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), ASPP(8, 8, rates=(6, 12, 18)))
    assert not described(net, (65, 65)).warnings


def test_residual_units_are_a_chain() -> None:
    warnings = described(on_meta("deeplab_v2"), (321, 321)).warnings
    assert "layer3 has atrous convolutions of rates 2 (23 times) in a row" in warnings[0]
    assert warnings[1].endswith(
        "rates 4, 4, 4 in a row, whose common divisor is 4: "
        "along each axis a position reads 7 of 25 positions of the map that enters"
    )


def test_rates_that_outgrow_their_map_are_warned_of() -> None:
    net = deeplab_v3plus(2, encoder="resnet18", width=1 / 8)
    (warning,) = described(net, (193, 257)).warnings
    assert warning == (
        "degenerate rates: aspp has rate 18 on a map whose shorter side is 13; "
        "the outer taps of its kernels read only padding there, as if they were 1x1"
    )
    assert not described(net, (513, 513)).warnings


# Words ----------------------------------------------------------------------------------------------------------------


def test_a_size_that_is_not_taken_is_enlarged_and_said() -> None:
    description = described(unet(2, width=1 / 64), (200, 572), name="unet")
    assert description.size == (204, 572)
    assert description.notes == ("unet does not take 200 x 572 pixels; described at the next size, 204 x 572",)
    assert description.notes[0] in description.as_text()


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_sizes_below_one_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"size {size[0]} x {size[1]} came; both sides are 1 or more"):
        described(fcn8s(2, width=1 / 64), size)


def test_text_has_aligned_columns() -> None:
    text = described(fcn8s(2, width=1 / 64), (65, 97), name="fcn8s").as_text().splitlines()
    assert text[0] == "fcn8s on 65 x 97 pixels of 3 channels"
    rows = text[2 : text.index("", 2)]
    assert re.split("  +", rows[0]) == list(COLUMNS)
    assert len({len(row) for row in rows}) == 1
    assert rows[-1].startswith("total ")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (999, "999 B"),
        (1e3, "1.00 kB"),
        (999_994e6, "999.99 GB"),
        (999_996e6, "1.00 TB"),
        (2.5e12, "2.50 TB"),
        (12.3e15, "12.30 PB"),
    ],
)
def test_counts_have_the_letter_of_their_thousands(count: float, text: str) -> None:
    assert scaled(count, "B") == text


def test_titles_have_the_options() -> None:
    assert title_of("unet", {"in_channels": 1, "encoder": None}) == "unet"
    options = {"in_channels": 3, "encoder": "resnet18", "output_stride": 8, "width": 1 / 3, "multiscale": True}
    assert title_of("deeplab_v3", {**options, "auxiliary": False}) == (
        "deeplab_v3 (encoder resnet18, output stride 8, width 0.3333, multiscale, no auxiliary)"
    )


def test_json_has_everything() -> None:
    description = described(fcn8s(2, width=1 / 64), (65, 97))
    values = json.loads(json.dumps(description.as_json()))
    assert set(values) == {field.name for field in dataclasses.fields(Description)} | {"weights"}
    assert set(values["stages"][0]) == {field.name for field in dataclasses.fields(Stage)}
    assert values["stages"][0]["receptive_field"] == [6, 6]
    assert values["size"] == [65, 97]
