"""The networks that no library of today has, written plainly: the same layers, as the public ports have them.

These are what a reader of the papers writes first: full deconvolutions, features enlarged before they are classified.
They are here to be raced, not used.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class Answer(nn.Module):
    """A torchvision network, whose answer is a dictionary, as a network of one tensor."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)["out"]


def vgg_stage(inputs: int, outputs: int, depth: int, *, rate: int = 1, first_padding: int | None = None) -> list[Any]:
    """Return the convolutions of a VGG stage, without its pool."""
    layers: list[Any] = []
    for place in range(depth):
        padding = first_padding if first_padding is not None and place == 0 else rate
        layers += [
            nn.Conv2d(inputs if place == 0 else outputs, outputs, 3, padding=padding, dilation=rate),
            nn.ReLU(inplace=True),
        ]
    return layers


class FCN(nn.Module):
    """FCN at 32, 16 or 8: padding 100, full deconvolutions of classes x classes, as Caffe's and PyTorch's ports."""

    def __init__(self, classes: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        inputs = 3
        for index, (outputs, depth) in enumerate(WIDTHS, 1):
            padding = 100 if index == 1 else None
            stage = [*vgg_stage(inputs, outputs, depth, first_padding=padding), nn.MaxPool2d(2, 2, ceil_mode=True)]
            self.add_module(f"stage{index}", nn.Sequential(*stage))
            inputs = outputs
        self.classifier = nn.Sequential(
            nn.Conv2d(512, 4096, 7), nn.ReLU(inplace=True), nn.Dropout2d(),
            nn.Conv2d(4096, 4096, 1), nn.ReLU(inplace=True), nn.Dropout2d(),
            nn.Conv2d(4096, classes, 1),
        )  # fmt: skip
        self.score_pool4, self.score_pool3 = nn.Conv2d(512, classes, 1), nn.Conv2d(256, classes, 1)
        self.upscore2 = nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        self.upscore_pool4 = nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        self.upscore = nn.ConvTranspose2d(classes, classes, 2 * stride, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        pool3: Tensor = self.stage3(self.stage2(self.stage1(x)))
        pool4: Tensor = self.stage4(pool3)
        scores = self.classifier(self.stage5(pool4))
        crop = {32: 19, 16: 27, 8: 31}[self.stride]
        if self.stride < 32:
            scores = self.upscore2(scores)
            skip = self.score_pool4(pool4)
            scores = scores + skip[:, :, 5 : 5 + scores.shape[2], 5 : 5 + scores.shape[3]]
        if self.stride < 16:
            scores = self.upscore_pool4(scores)
            skip = self.score_pool3(pool3)
            scores = scores + skip[:, :, 9 : 9 + scores.shape[2], 9 : 9 + scores.shape[3]]
        return self.upscore(scores)[:, :, crop : crop + height, crop : crop + width].contiguous()


class Hypercolumn(nn.Module):
    """Hypercolumns taken literally: every map enlarged to the finest one, concatenated, then classified."""

    def __init__(self, classes: int, grid: int = 5) -> None:
        super().__init__()
        self.grid, self.classes = grid, classes
        inputs = 3
        for index, (outputs, depth) in enumerate(WIDTHS, 1):
            stage = [*vgg_stage(inputs, outputs, depth), nn.MaxPool2d(2, 2, ceil_mode=True)]
            self.add_module(f"stage{index}", nn.Sequential(*stage))
            inputs = outputs
        self.fc = nn.Sequential(
            nn.Conv2d(512, 4096, 7, padding=3), nn.ReLU(inplace=True), nn.Dropout(),
            nn.Conv2d(4096, 4096, 1), nn.ReLU(inplace=True), nn.Dropout(),
        )  # fmt: skip
        self.classify = nn.Conv2d(256 + 512 + 4096, classes * grid**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        pool3: Tensor = self.stage3(self.stage2(self.stage1(x)))
        pool4: Tensor = self.stage4(pool3)
        fc7 = self.fc(self.stage5(pool4))
        size = pool3.shape[2:]
        column = torch.cat([pool3, *(F.interpolate(each, size, mode="bilinear") for each in (pool4, fc7))], 1)
        scores = self.classify(column).unflatten(1, (self.classes, self.grid**2))
        return (scores * self.shares(*size, scores)).sum(2)

    def shares(self, height: int, width: int, like: Tensor) -> Tensor:
        """Return how much each classifier of the grid counts at each place: (1, 1, grid * grid, h, w)."""
        eye = torch.eye(self.grid**2, dtype=like.dtype).reshape(1, self.grid**2, self.grid, self.grid)
        return F.interpolate(eye, (height, width), mode="bilinear")[:, None]


class UNet(nn.Module):
    """The valid U-Net of the paper."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (64, 128, 256, 512, 1024)
        self.down = nn.ModuleList(self.pair(*each) for each in zip((3, *widths), widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[3::-1])
        self.merge = nn.ModuleList(self.pair(2 * w, w) for w in widths[3::-1])
        self.dropout = nn.Dropout(0.5)
        self.score = nn.Conv2d(64, classes, 1)

    @staticmethod
    def pair(inputs: int, outputs: int) -> nn.Sequential:
        """Return two valid 3x3 convolutions."""
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3), nn.ReLU(), nn.Conv2d(outputs, outputs, 3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for index, pair in enumerate(self.down):
            x = pair(x if index == 0 else F.max_pool2d(x, 2))
            x = self.dropout(x) if index > 2 else x
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[3::-1], strict=True):
            x = up(x)
            edge = (skip.shape[2] - x.shape[2]) // 2
            x = merge(torch.cat([x, skip[:, :, edge : edge + x.shape[2], edge : edge + x.shape[3]]], 1))
        return self.score(x)


class DeconvNet(nn.Module):
    """DeconvNet with PyTorch's own pools with indices and unpools."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        inputs = 3
        for outputs, depth in WIDTHS:
            layers: list[Any] = []
            for place in range(depth):
                layers += self.unit(nn.Conv2d(inputs if place == 0 else outputs, outputs, 3, padding=1))
            self.down.append(nn.Sequential(*layers))
            inputs = outputs
        self.fc = nn.Sequential(
            *self.unit(nn.Conv2d(512, 4096, 7)), *self.unit(nn.Conv2d(4096, 4096, 1)),
            *self.unit(nn.ConvTranspose2d(4096, 512, 7)),
        )  # fmt: skip
        for channels in (
            (512, 512, 512, 512),
            (512, 512, 512, 256),
            (256, 256, 256, 128),
            (128, 128, 64),
            (64, 64, 64),
        ):
            layers = []
            for before, after in pairwise(channels):
                layers += self.unit(nn.ConvTranspose2d(before, after, 3, padding=1))
            self.up.append(nn.Sequential(*layers))
        self.score = nn.Conv2d(64, classes, 1)

    @staticmethod
    def unit(layer: Any) -> list[nn.Module]:
        """Return the layer with its norm and ReLU."""
        return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]

    def forward(self, x: Tensor) -> Tensor:
        switches = []
        for stage in self.down:
            x, indices = F.max_pool2d(stage(x), 2, 2, return_indices=True)
            switches.append(indices)
        x = self.fc(x)
        for stage, indices in zip(self.up, reversed(switches), strict=True):
            x = stage(F.max_unpool2d(x, indices, 2, 2))
        return self.score(x)


def deeplab_v1(classes: int) -> nn.Module:
    """Return DeepLab-LargeFOV in a row."""
    layers: list[Any] = []
    inputs = 3
    for index, (outputs, depth) in enumerate(WIDTHS, 1):
        layers += vgg_stage(inputs, outputs, depth, rate=2 if index == 5 else 1)
        layers.append(nn.MaxPool2d(3, 2 if index < 4 else 1, 1))
        inputs = outputs
    return nn.Sequential(
        *layers, nn.AvgPool2d(3, 1, 1),
        nn.Conv2d(512, 1024, 3, padding=12, dilation=12), nn.ReLU(inplace=True), nn.Dropout(),
        nn.Conv2d(1024, 1024, 1), nn.ReLU(inplace=True), nn.Dropout(),
        nn.Conv2d(1024, classes, 1),
    )  # fmt: skip


class DeepLabV2(nn.Module):
    """DeepLab v2 on torchvision's ResNet-101, dilated to stride 8, with four parallel classifiers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        from torchvision.models import resnet101

        dilated = [False, True, True]
        body = resnet101(weights=None, replace_stride_with_dilation=dilated)
        self.body = nn.Sequential(*list(body.children())[:-2])
        self.aspp = nn.ModuleList(nn.Conv2d(2048, classes, 3, padding=rate, dilation=rate) for rate in (6, 12, 18, 24))

    def train(self, mode: bool = True) -> DeepLabV2:
        """Keep the norms as they are, as the ports of this network do."""
        super().train(mode)
        for layer in self.body.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
                layer.requires_grad_(False)
        return self

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        return sum(branch(features) for branch in self.aspp)  # type: ignore[return-value]
