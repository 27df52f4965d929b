"""Our whole way from image file to written mask against the same network used as its documentation shows.

    python benchmarks/predict.py [--peer smp] [--images 12] [--rounds 7] [--threads 1] [--sides peer,torch,onnx]
    python benchmarks/predict.py --run RUN --data DATA

Both sides hold the same weights: segmentation_models_pytorch's DeepLab v3+ with ResNet-18 at 512, or torchvision's
DeepLab v3 with ResNet-50 at 513 (--peer torchvision), called as that library documents on one side, and on the other
by our `predict` in torch and exported: ONNX Runtime in float32 and int8, OpenVINO in float32 and bfloat16, torch in
bfloat16. One process, the sides in turn, medians, all with the same threads. Peak memory is that of each side in a
process of its own, libraries included. With --run it is measured instead what bfloat16 and int8 cost a trained network
in mean IoU.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from predict_sides import SIDES, SIZES, scorers_of, segmenter_of, side, write_files

from atrous.data.scenes import street_scene
from atrous.data.writers import write_image


def main() -> None:
    """Race the sides, or score them, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=sorted(SIZES), default="smp")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--size", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--run", type=Path, help="a trained run, to be scored on --data")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        side(options.alone, options.peer, options.folder, options.folder / "images", options.threads)(
            options.folder / "alone"
        )
        print(_peak())
    elif options.run:
        score(options)
    else:
        with tempfile.TemporaryDirectory() as folder:
            race(options, Path(folder))


def race(options: argparse.Namespace, folder: Path) -> None:
    """Time the sides in turn and print milliseconds per image, ratios, equal labels and peak memory."""
    from predict_sides import peer_network

    images, length = folder / "images", options.size or SIZES[options.peer]
    for index in range(options.images):
        write_image(images / f"{index:03}.jpg", street_scene(index, size=(length, length)).image)
    write_files(options.peer, segmenter_of(options.peer, peer_network(options.peer, images)), folder, images)
    names = [name for name in options.sides.split(",") if "openvino" not in name or (folder / "net.xml").is_file()]
    sides = [side(name, options.peer, folder, images, options.threads) for name in names]
    taken: list[list[float]] = [[] for _ in names]
    for turn in range(options.rounds + 1):
        for times, name, run in zip(taken, names, sides, strict=True):
            began = time.perf_counter()
            run(folder / name)
            if turn:
                times.append(time.perf_counter() - began)
    print(f"{options.peer}, decode to written mask, {length} x {length}, threads {options.threads}, ms per image\n")
    print(f"{'side':<16}{'ms':>9}{'ratio':>8}{'labels equal %':>16}{'peak MB':>9}")
    first = statistics.median(taken[0])
    for name, times in zip(names, taken, strict=True):
        median = statistics.median(times)
        print(
            f"{name:<16}{1000 * median / options.images:>9.1f}{first / median:>8.2f}"
            f"{100 * _equal(folder, names[0], name):>16.4f}{_peak_of(name, options, folder):>9.0f}"
        )


def score(options: argparse.Namespace) -> None:
    """Print the mean IoU of a trained run on every side, and what is lost."""
    from atrous.runs import data_of, pairs_in, scored

    if options.data is None:
        raise SystemExit("--run is scored on labelled images: give --data too")
    dataset = data_of(options.run, options.data)
    pairs, first = pairs_in(dataset, "val"), None
    print(f"{'side':<16}{'mean IoU':>10}{'lost':>8}   {options.run.name}, {len(pairs)} images")
    with tempfile.TemporaryDirectory() as folder:
        for name, scorer in scorers_of(options.run, options.data, Path(folder), options.threads):
            found = 100 * scored(scorer, pairs, dataset.space).mean_iou
            first = found if first is None else first
            print(f"{name:<16}{found:>10.2f}{first - found:>8.2f}", flush=True)


def _equal(folder: Path, first: str, second: str) -> float:
    shares = [
        np.mean(_mask(path) == _mask(_masks(folder / second) / path.name))
        for path in sorted(_masks(folder / first).glob("*.png"))
    ]
    return float(np.mean(shares))


def _masks(out: Path) -> Path:
    return out / "masks" if (out / "masks").is_dir() else out


def _mask(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def _peak_of(name: str, options: argparse.Namespace, folder: Path) -> float:
    """Return the most resident megabytes that a side takes in a process of its own."""
    given: Sequence[str] = ("--alone", name, "--peer", options.peer, "--folder", str(folder))
    command = [sys.executable, __file__, *given, "--threads", str(options.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def _peak() -> float:
    """Return the most resident megabytes that this program has taken.

    `getrusage` would say what the process that started it had taken, where that is more.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
