"""The whole way from stored values to labels as one graph that torch can trace for every height, width and batch."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges

from atrous.contract import Geometry
from atrous.models import Segmenter

INPUT = "images"
OUTPUTS = ("logits", "probabilities", "labels")
_ASSERTS = ("_assert_scalar", "_assert_tensor_metadata", "sym_constrain")


class Graph(nn.Module):
    """A `Segmenter` as a graph: (n, c, h, w) float32 stored values to logits, probabilities and labels.

    The logits (n, classes, h', w') lie on the net's own grid of the padded image; probabilities (n, classes, h, w) and
    labels (n, h, w) uint8, the lowest class on a tie, have the image's size. Sizes are computed from the input's, so
    that every height and width of at least one pixel will do, and every number of images. `images` has as many
    channels as the network takes.

    >>> from atrous.contract import LabelSpace, Preprocessing
    >>> from atrous.models import unet
    >>> space, grey = LabelSpace(names=("cell", "border")), Preprocessing(mean=(0.5,), std=(0.5,), padding="mirror")
    >>> graph = Graph(Segmenter(unet(2, in_channels=1, width=1 / 64), space, grey).eval())
    >>> [tuple(each.shape) for each in graph(torch.zeros(1, 1, 5, 7))]
    [(1, 2, 20, 20), (1, 2, 5, 7), (1, 5, 7)]
    """

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, probabilities and labels."""
        height, width = images.shape[2:]
        geometry = self.segmenter.geometry
        x = self.segmenter.normalised(images)
        x = self._padded(x, _padding(geometry, height), _padding(geometry, width))
        logits = self.segmenter.net(x).float()  # (n, classes, h', w')
        size = (x.shape[2] - 2 * geometry.margin, x.shape[3] - 2 * geometry.margin)
        enlarged = self._enlarged(logits, size)[:, :, :height, :width]  # (n, classes, h, w)
        return logits, enlarged.softmax(1), enlarged.argmax(1).to(torch.uint8)

    def _padded(self, x: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        if self.segmenter.preprocessing.padding == "mean":  # the mean is zero once normalised
            return functional.pad(x, (*columns, *rows))
        for axis, (before, after) in ((2, rows), (3, columns)):
            x = x.index_select(axis, _mirrored(x.shape[axis], before, after))
        return x

    def _enlarged(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        # Whether to resize is asked of the geometry, since a question about sizes would fix the answer in the graph.
        geometry = self.segmenter.geometry
        if geometry.stride == 1:
            return logits
        return functional.interpolate(logits, size, mode="bilinear", align_corners=geometry.align_corners)


def _padding(geometry: Geometry, side: int) -> tuple[int, int]:
    """Return `geometry.padding(side)` for a side that is a symbol."""
    wanted: Any = torch.sym_max(side + 2 * geometry.margin, geometry.minimum)
    valid = wanted + (geometry.offset - wanted) % geometry.multiple
    return geometry.margin, valid - side - geometry.margin


def _mirrored(side: int, before: int, after: int) -> Tensor:
    """Return `contract.mirrored(side, before, after)` for sizes that are symbols, one pixel included."""
    period = torch.full((1,), torch.sym_max(2 * side - 2, 1), dtype=torch.int64)
    position = torch.remainder(torch.arange(-before, side + after), period)
    return torch.minimum(position, period - position)


def on_host(segmenter: Segmenter) -> Segmenter:
    """Return a copy in evaluation mode, on the host, in float32, that asks for no gradients."""
    return copy.deepcopy(segmenter).cpu().float().eval().requires_grad_(False)


@torch.no_grad()
def traced(graph: Graph) -> ExportedProgram:
    """Return `graph` as torch traces it, with any number of images, height and width.

    Tracing an example notes bounds that only its own way through torch needed, such as two images or more where
    memory formats were told apart. They do not hold for the calculation and are taken away: that it is right for one
    image of one pixel is for the comparison to show.
    """
    geometry, channels = graph.segmenter.geometry, graph.segmenter.preprocessing.channels
    # Neither side is valid, and they differ, so that no size is taken for another.
    height = geometry.valid(geometry.minimum + 2 * geometry.multiple + 35) - 2 * geometry.margin + 3
    example = torch.zeros(2, channels, height, height + 8 + geometry.multiple)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            graph,
            (example,),
            dynamic_shapes={INPUT: {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}},
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    return _unbounded(program)


def _unbounded(program: ExportedProgram) -> ExportedProgram:
    """Take away what a program asserts of sizes, in place, and return it: every size of at least one pixel will do."""
    for size in program.range_constraints:
        program.range_constraints[size] = ValueRanges(1, int_oo)
    module = program.graph_module
    for node in list(module.graph.nodes):
        if node.op == "call_function" and any(name in str(node.target) for name in _ASSERTS):
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return program
