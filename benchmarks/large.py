"""Images too large for memory: peak memory and time per megapixel, in blocks, whole, and on a full canvas of scores.

    python benchmarks/large.py [--sides 5000 10000 20000] [--limit 1GB] [--classes 150] [--model RUN_OR_ONNX]
                               [--peer-sides 2000 5000] [--folder DIR]

A tiled GeoTIFF is made for every side, in little memory, and each run is a process of its own, whose peak is that of
the kernel. The network is a DeepLab v3+ with ResNet-18 at an eighth of its width and random weights, unless `--model`
names one. `whole` scores the image at once and takes the best class of each pixel, as the documentation of torchvision
and segmentation_models_pytorch shows; `canvas` adds windows into a map of all classes, as MONAI's sliding window does.
Those two hold the image in memory from the start, are not asked to read or write files, and may take 16 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

TILE, WINDOW = 512, 1024
CAP = 16_000_000_000
PLACE = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 500_000.0, 4_100_000.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32652), True),
]


def make_raster(path: Path, side: int) -> None:
    """Write a tiled GeoTIFF of fields and noise, a tile at a time."""
    import cv2
    from tifffile import TiffWriter

    def tiles() -> Iterator[bytes]:
        generator = np.random.default_rng(0)
        for _ in range((-(-side // TILE)) ** 2):
            fields = generator.integers(0, 256, (8, 8, 3), np.uint8)
            tile = cv2.resize(fields, (TILE, TILE), interpolation=cv2.INTER_CUBIC)
            yield zlib.compress(tile + generator.integers(0, 8, (TILE, TILE, 1), np.uint8), 1)

    with TiffWriter(path, bigtiff=True) as file:
        file.write(
            tiles(), shape=(side, side, 3), dtype=np.uint8, tile=(TILE, TILE), photometric="rgb",
            compression="adobe_deflate", extratags=PLACE, metadata=None,
        )  # fmt: skip


def network(classes: int) -> Any:
    """Return a narrow network with spread-out weights, so that labels are not all one class."""
    import torch

    from atrous.contract import LabelSpace, Preprocessing
    from atrous.models import Segmenter, deeplab_v3plus

    torch.manual_seed(0)
    net = deeplab_v3plus(classes, encoder="resnet18", width=1 / 8).eval()
    for name, buffer in net.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(0.5)
    space = LabelSpace(names=tuple(f"class {index}" for index in range(classes)))
    return Segmenter(net, space, Preprocessing()).eval()


def in_blocks(options: argparse.Namespace) -> dict[str, float]:
    """Predict the file into a tiled mask below the limit."""
    import atrous
    from atrous.prediction import memory
    from atrous.prediction.rasters import predict_raster
    from atrous.prediction.sources import Source
    from atrous.prediction.wanted import Wanted

    scorer: Any = atrous.load(options.model) if options.model else network(options.classes)
    wanted = Wanted(save=("masks",), max_memory=memory.as_bytes(options.limit) if options.limit else None)
    began, before = time.perf_counter(), time.process_time()
    predict_raster(Source(options.file, options.file.stem), scorer, scorer.space, options.file.parent, wanted)
    seconds, processor = time.perf_counter() - began, time.process_time() - before
    return {"seconds": seconds, "processor": processor, "peak": memory.peak()}


def of_all_at_once(options: argparse.Namespace) -> dict[str, float]:
    """Score the whole image, or windows of it into a map of all classes; only the scoring is timed."""
    import torch

    segmenter = network(options.classes)
    side = options.child_side
    image = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    began, before = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        if options.child == "whole":
            segmenter.logits(image).argmax(1)
        else:
            _on_canvas(segmenter, image, options.classes)
    seconds, processor = time.perf_counter() - began, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "processor": processor, "peak": peak}


def _on_canvas(segmenter: Any, image: Any, classes: int) -> Any:
    import torch

    side = image.shape[2]
    total, times = torch.zeros(1, classes, side, side), torch.zeros(1, 1, side, side)
    last = max(side - WINDOW, 0)
    starts = [*range(0, last, WINDOW * 3 // 4), last]
    for top in starts:
        for left in starts:
            part = (..., slice(top, top + WINDOW), slice(left, left + WINDOW))
            total[part] += segmenter.logits(image[part])
            times[part] += 1
    return (total / times).argmax(1)


def child(options: argparse.Namespace) -> None:
    """Do one run and print what it took."""
    if options.child == "blocks":
        found = in_blocks(options)
    else:
        resource.setrlimit(resource.RLIMIT_AS, (CAP, CAP))
        found = of_all_at_once(options)
    print(json.dumps(found))


def run(options: argparse.Namespace, way: str, side: int, file: Path | None = None) -> None:
    """Start one run in a process of its own and print a line of the table."""
    command = [sys.executable, __file__, "--child", way, "--child-side", str(side), "--classes", str(options.classes)]
    command += ["--limit", options.limit] if options.limit else ["--limit", ""]
    command += ["--model", options.model] if options.model else []
    command += ["--file", str(file)] if file is not None else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    head = f"{way:8} {side:>7,} x {side:<7,}"
    if done.returncode:
        words = (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]
        print(f"{head} did not survive: {words[:120]}", flush=True)
        return
    found = json.loads(done.stdout.strip().splitlines()[-1])
    pixels = side * side / 1e6
    print(
        f"{head} peak {found['peak'] / 1e6:>8,.0f} MB   {found['seconds']:>8.1f} s   "
        f"per Mpixel {1000 * found['seconds'] / pixels:>7.1f} ms, {1000 * found['processor'] / pixels:>7.1f} of CPU",
        flush=True,
    )


def main() -> None:
    """Make the files, run every way, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="*", default=[5_000, 10_000, 20_000])
    parser.add_argument("--peer-sides", type=int, nargs="*", default=[2_000, 5_000])
    parser.add_argument("--limit", default="1GB", help="of resident memory, libraries included; empty for none")
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--model", help="a run, a model folder or an exported file instead of the narrow network")
    parser.add_argument("--folder", type=Path, help="where the temporary files are made")
    for name, kind in (("--child", str), ("--child-side", int), ("--file", Path)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for side in options.sides:
            file = Path(folder, f"scene-{side}.tif")
            make_raster(file, side)
            run(options, "blocks", side, file)
            file.unlink()
    for side in options.peer_sides:
        for way in ("whole", "canvas"):
            run(options, way, side)


if __name__ == "__main__":
    main()
