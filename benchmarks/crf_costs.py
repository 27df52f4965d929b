"""What else a CRF costs: memory, its first call in a process, an iteration beside its floor, no compiler."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from crf_inputs import Photo
from crf_sides import HEADLINE, PARAMETERS, SIZES, Race, medians, peer, races, sides

from atrous.crf import DenseCRF, Lattice


def memory_table(options: argparse.Namespace) -> None:
    """Print both sides' peak memory, each in a process of its own."""
    if not Path("/proc/self/clear_refs").exists():
        print("\nPeak memory is not measured: it takes Linux's /proc.")
        return
    print("\nMiB by which a call raises the peak, each side in a fresh process; what came is there already.\n")
    print("| photo | labels | peer | ours, 2 threads | ratio |\n|---|---|---|---|---|")
    wanted = [race for race in races(options) if race.parameters == "DeepLab v2" and race.size != (512, 512)]
    for race in wanted:
        if race.photo != SIZES.get(race.size) or not race.fits:
            continue
        theirs, ours = (in_fresh_process(peak, race, side) for side in ("peer", "2 threads"))
        size = f"{race.photo} {race.size[0]}x{race.size[1]}"
        print(f"| {size} | {race.labels} | {theirs:.0f} | {ours:.0f} | {ours / theirs:.2f} |", flush=True)


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a new process, which shares no memory with this one."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak(race: Race, side: str) -> float:
    """Return by how many MiB one call raises the peak of this process."""
    image, probabilities = race.inputs()
    run = sides(PARAMETERS[race.parameters])[side]
    run(image[:16, :16].copy(), probabilities[:, :16, :16].copy())  # what is imported at the first call
    # The peak that resource.getrusage knows may be the parent's; this one is of this memory, and can be set back.
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    before = memory_line("VmRSS")
    run(image, probabilities)
    return memory_line("VmHWM") - before


def memory_line(name: str) -> float:
    """Return a line of the kernel's account of this process, in MiB."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


FIRST_CALL = """
import sys, time
import numpy as np
image, probabilities = (np.load(name) for name in sys.argv[1:3])
taken = []
for call in range(10):
    began = time.perf_counter()
    if not taken:
        from atrous.crf import DenseCRF
        crf = DenseCRF(w1=4, sigma_alpha=67, sigma_beta=3, w2=3, sigma_gamma=3)
    crf(image, probabilities)
    taken.append(time.perf_counter() - began)
print(taken[0], taken[9])
"""


def first_call(options: argparse.Namespace) -> None:
    """Print what the first call costs in a fresh process, imports beyond NumPy included, and what the tenth does."""
    image, probabilities = Race("coffee", *HEADLINE).inputs()
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("image.npy", "probabilities.npy")]
        np.save(files[0], image), np.save(files[1], probabilities)
        pairs = []
        for _ in range(options.rounds):
            done = subprocess.run(
                [sys.executable, "-c", FIRST_CALL, *files], capture_output=True, text=True, check=True
            )
            pairs.append([float(word) for word in done.stdout.split()])
    first, tenth = (statistics.median(each) for each in zip(*pairs, strict=True))
    more = statistics.median(one - other for one, other in pairs)
    print(f"\nFirst call in a fresh process {first:.3f} s, imports beyond NumPy included; tenth {tenth:.3f} s;")
    print(f"the first takes {more:.3f} s more (375x500, 21 labels, median of {options.rounds} processes).")


def floor_table(options: argparse.Namespace) -> None:
    """Print what an iteration takes beside the time to stream its arrays once through memory."""
    print("\nOne iteration, 21 labels, DeepLab v2's parameters, beside what its bytes take at the speed of a copy.\n")
    print("| photo | threads | MB | GB/s of a copy | floor, ms | measured, ms | measured / floor |\n|" + "---|" * 7)
    for size, photo in list(SIZES.items())[: 1 if options.quick else None]:
        image, probabilities = Race(photo, size, 21, "DeepLab v2").inputs()
        for threads in (1, 2):
            crf = replace(PARAMETERS["DeepLab v2"], threads=threads)
            moved, speed = bytes_moved(crf, image, 21), copy_speed(threads)
            few, many = (replace(crf, iterations=count) for count in (2, 12))
            runs = [partial(crf, image, probabilities) for crf in (few, many)]
            short, long = medians(options.rounds, *runs)
            least, taken = 1000 * moved / speed, 100 * (long - short)
            print(
                f"| {photo} {size[0]}x{size[1]} | {threads} | {moved / 1e6:.0f} | {speed / 1e9:.0f} | {least:.1f} "
                f"| {taken:.1f} | {taken / least:.1f} |",
                flush=True,
            )


def bytes_moved(crf: DenseCRF, image: Photo, labels: int) -> int:
    """Return the bytes of an iteration if every array were streamed once.

    Logits are read; so are the corners and weights of every pixel, once for both kernels. Vertices' values are read by
    the slice, set to zero, and written by the splat, which reads them first; along each axis the blur reads and writes
    those that have neighbours. A row holds the labels, filled up to eight; of two labels it holds one number.
    """
    lattices = [
        crf.lattice(image).core,
        Lattice.of_positions(image.shape[:2], sigma_gamma=crf.sigma_gamma, threads=crf.threads).core,
    ]
    row = 4 if labels == 2 else 4 * -(-labels // 8) * 8
    pixels = sum(each.vertices.nbytes + each.splat.nbytes for each in lattices)
    vertices = sum(each.size + len(each.owners) for each in lattices)
    chained = sum(len(each.chains) for each in lattices)
    return lattices[0].points * row + pixels + vertices * 4 * row + chained * (2 * row + 4)


def copy_speed(threads: int) -> float:
    """Return the bytes per second, read and written, of the fastest of some copies of 256 MiB."""
    parts = [(np.ones(2**25 // threads), np.ones(2**25 // threads)) for _ in range(threads)]
    taken = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(7):
            began = time.perf_counter()
            list(pool.map(lambda part: np.copyto(*part), parts))
            taken.append(time.perf_counter() - began)
    return 2 * 8 * 2**25 / min(taken)


def without_compiler(options: argparse.Namespace) -> None:
    """Print what the NumPy twin takes beside the compiled kernels."""
    crf = PARAMETERS["DeepLab v2"]
    image, probabilities = Race("coffee", *HEADLINE).inputs()

    def twin() -> None:
        os.environ["ATROUS_CORE"] = "numpy"
        try:
            crf(image, probabilities)
        finally:
            del os.environ["ATROUS_CORE"]

    theirs, ours, slow = medians(
        min(options.rounds, 3), lambda: peer(crf, image, probabilities), lambda: crf(image, probabilities), twin
    )
    print("\nWithout a compiler, 375x500, 21 labels: NumPy and SciPy's sparse products", end=" ")
    print(f"{slow:.2f} s, compiled {ours:.3f} s, peer {theirs:.3f} s.")
