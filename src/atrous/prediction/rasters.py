"""Predictions of rasters: read, scored and written block by block, so that images of any size fit in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError, LabelSpace, Prediction, Sample, Scorer
from atrous.prediction import memory
from atrous.prediction.block_sizes import block_side
from atrous.prediction.outputs import write_prediction
from atrous.prediction.probability_stores import Put, probability_store
from atrous.prediction.raster_blocks import Block, labels_in_blocks, plan
from atrous.prediction.raster_overlays import OverlayCanvas, bytes_of_overlay, reduction
from atrous.prediction.raster_readers import ArrayRaster, Raster, open_raster
from atrous.prediction.sources import Source
from atrous.prediction.statistics import write_statistics
from atrous.prediction.tallies import Tally
from atrous.prediction.tiled_tiff import Piece, write_tiled_mask
from atrous.prediction.wanted import Progress, Wanted

_HELD_WHOLE = ("polygons", "coco", "cutouts")
_BYTES_OF_OUTLINES, _BYTES_OF_CUTOUTS = 12, 16  # of a pixel, while regions are numbered and outlined, or cut out


def predict_raster(
    source: Source,
    scorer: Scorer,
    space: LabelSpace,
    out: Path,
    wanted: Wanted,
    *,
    progress: Progress | None = None,
) -> list[Path]:
    """Write what is wanted of a TIFF, a JPEG 2000 or a Zarr array below `out`, and return the files.

    The mask is a tiled TIFF with the source's georeference, 255 where that holds no data. The overlay is a JPEG, above
    16 Mpixel reduced to sides of up to 4096. Probabilities are a `.npz` where the raster is one block, else a Zarr
    array. Statistics are counted block by block; polygons, COCO and cut-outs are made of the whole mask, which must fit
    in the memory. How large blocks are, `block_sizes.block_side` says.

    Raises `AtrousError` for a file that is missing or damaged, for values that the network refuses, for a limit of
    memory that cannot hold, and when the disk refuses; no half-written file stays under its name.
    """
    with closing(open_raster(source.path, max_pixels=wanted.max_pixels, max_memory=wanted.max_memory)) as raster:
        _check_whole(raster, wanted)
        factor = _reduction(raster, wanted)
        fixed = _fixed_bytes(raster, wanted, factor)
        side = block_side(scorer, raster, space, wanted, fixed=fixed, also=partial(_tried, space, wanted, factor))
        count = len(plan(raster, scorer, side))
        writing = _Writing(raster, space, out, source.name, wanted.save, factor=factor, whole=count == 1)
        blocks = labels_in_blocks(scorer, raster, space, size=side, probabilities="probabilities" in wanted.save)
        return writing.write(_counted(blocks, count, wanted, progress))


def predicted_in_blocks(scorer: Scorer, sample: Sample, space: LabelSpace, wanted: Wanted) -> Prediction:
    """Return the labels of a decoded image, scored in blocks that keep to the limits of `wanted`.

    Raises `AtrousError` where the limit cannot hold, `ValueError` for values that the scorer refuses.
    """
    raster = ArrayRaster(sample.image, sample.path or Path("image"))
    side = block_side(scorer, raster, space, wanted)
    labels = np.empty(sample.image.shape[:2], np.uint8)
    for block in labels_in_blocks(scorer, raster, space, size=side):
        labels[block.window.own] = block.own
    return Prediction(labels=labels, space=space, path=sample.path)


class _Writing:
    """What is being written of one raster: each kind takes the blocks as they pass, and the mask pulls them."""

    def __init__(
        self,
        raster: Raster,
        space: LabelSpace,
        out: Path,
        name: str,
        save: tuple[str, ...],
        *,
        factor: int,
        whole: bool,
    ) -> None:
        self.raster, self.space, self.out, self.name, self.save = raster, space, out, name, save
        self.size = (raster.height, raster.width)
        kinds = (*_HELD_WHOLE, "probabilities") if whole else _HELD_WHOLE
        self.held = tuple(kind for kind in kinds if kind in save)
        self.stored = "probabilities" in save and not whole
        self.canvas = OverlayCanvas(raster, space, factor) if "overlays" in save else None
        self.tally = Tally(space, raster.width, place=raster.place) if "statistics" in save else None
        self.labels = np.empty(self.size, np.uint8) if self.held else None
        self.image: NDArray[np.generic] | None = None
        if "cutouts" in self.held:
            self.image = np.empty((*self.size, raster.channels), raster.dtype)
        self.probabilities: NDArray[np.float32] | None = None

    def write(self, blocks: Iterator[Block]) -> list[Path]:
        """Take all blocks, write the files and return them."""
        files = []
        with ExitStack() as stack:
            put: Put | None = None
            if self.stored:
                files.append(self.out / "probabilities" / f"{self.name}.zarr")
                put = stack.enter_context(probability_store(files[-1], self.space, self.size, place=self.raster.place))
            pieces = self._pieces(blocks, put)
            if "masks" in self.save:
                files.append(
                    write_tiled_mask(
                        self.out / "masks" / f"{self.name}.tif", self.size, pieces, self.space,
                        geo_tags=self.raster.geo_tags, nodata=self.raster.marks,
                    )
                )  # fmt: skip
            for _ in pieces:
                pass
        return files + self._finished()

    def _pieces(self, blocks: Iterator[Block], put: Put | None) -> Iterator[Piece]:
        """Hand every block to those who want it, and yield its labels."""
        for block in blocks:
            top, left = block.corner
            if self.canvas is not None:
                self.canvas.paint(block)
            if self.tally is not None:
                self.tally.add(block.own, top, left)
            if put is not None and block.probabilities is not None:
                put(block.probabilities[(slice(None), *block.window.within(block.window.own))], top, left)
            self._hold(block)
            yield block.own, top, left

    def _hold(self, block: Block) -> None:
        if self.labels is not None:
            self.labels[block.window.own] = block.own
        if self.image is not None:
            self.image[block.window.own] = block.image[block.window.within(block.window.own)]
        if "probabilities" in self.held:
            self.probabilities = block.probabilities

    def _finished(self) -> list[Path]:
        """Write what is made of all blocks, and return the files."""
        files = []
        if self.canvas is not None:
            files.append(self.canvas.write(self.out / "overlays" / f"{self.name}.jpg"))
        if self.tally is not None:
            files.append(self.out / "statistics" / f"{self.name}.csv")
            write_statistics(files[-1], self.tally.statistics(), self.space)
        if self.labels is None:
            return files
        image = self.image if self.image is not None else np.empty((0, 0, 0), np.uint8)
        sample = Sample(image=image, path=self.raster.path, place=self.raster.place)
        prediction = Prediction(
            labels=self.labels, space=self.space, path=self.raster.path, probabilities=self.probabilities
        )
        return files + write_prediction(self.out, self.name, prediction, sample, save=self.held)


def _counted(blocks: Iterator[Block], count: int, wanted: Wanted, progress: Progress | None) -> Iterator[Block]:
    """Yield the blocks; between them say how many there were, and give back the memory of each where it is scarce."""
    for done, block in enumerate(blocks, 1):
        yield block
        del block
        if wanted.max_memory is not None:
            memory.give_back()
        if progress is not None:
            progress(done, count)


def _tried(space: LabelSpace, wanted: Wanted, factor: int, block: Block) -> None:
    """Do with a block what is done with those that are written, and forget it."""
    if "overlays" in wanted.save:
        OverlayCanvas(ArrayRaster(block.image), space, factor).paint(block)
    if "statistics" in wanted.save:
        Tally(space, block.labels.shape[1]).add(block.own, 0, 0)
    if block.probabilities is not None:
        block.probabilities.astype(np.float16)


def _reduction(raster: Raster, wanted: Wanted) -> int:
    """Return by how much the sides of a raster's overlay are divided."""
    room = None if wanted.max_memory is None else wanted.max_memory - memory.resident()
    return reduction(raster.height, raster.width, room)


def _fixed_bytes(raster: Raster, wanted: Wanted, factor: int) -> int:
    """Return how much memory is taken, beside the scoring, by what is written."""
    height, width = raster.height, raster.width
    taken = 512 * width if "masks" in wanted.save else 0
    if "overlays" in wanted.save:
        taken += bytes_of_overlay(height, width, factor)
    if "statistics" in wanted.save:
        taken += 32 * width
    return taken + _held_bytes(raster, wanted)


def _held_bytes(raster: Raster, wanted: Wanted) -> int:
    """Return how much memory the kinds take that are made of the whole mask."""
    if not set(_HELD_WHOLE) & set(wanted.save):
        return 0
    cutouts = _BYTES_OF_CUTOUTS + raster.channels * raster.dtype.itemsize if "cutouts" in wanted.save else 0
    return raster.height * raster.width * (_BYTES_OF_OUTLINES + cutouts)


def _check_whole(raster: Raster, wanted: Wanted) -> None:
    """Raise `AtrousError` where the kinds that are made of the whole mask do not fit in the memory."""
    held = _held_bytes(raster, wanted)
    if wanted.max_memory is None:
        left, words = memory.available(), "is left on this machine"
    else:
        left, words = wanted.max_memory - memory.resident(), "is left of --max-memory"
    if held <= max(left, 0):
        return
    kinds = ", ".join(kind for kind in _HELD_WHOLE if kind in wanted.save)
    raise AtrousError(
        f"{raster.path}: {kinds} of {raster.height:,} x {raster.width:,} pixels are made of the whole mask, which "
        f"takes {memory.in_words(held)}, and {memory.in_words(max(left, 0))} {words}. Save masks, and make them of "
        "parts of those."
    )
