"""The fully connected CRF against pydensecrf2: time, agreement, peak memory, the first call, and the floor.

    python benchmarks/crf.py [--rounds 7] [--only 375x500/21] [--quick] [--softmax FILE.npz ...]

Both sides go from a photo (h, w, 3) uint8 and probabilities (labels, h, w) float32 to marginals of that shape, ten
iterations, symmetric normalisation, logarithms of probabilities clipped to 1e-5..1. One process, the sides in turn in
an order that changes every round, medians; a ratio is the peer's time over ours. The peer has one thread. Ours keeps
the spatial lattice of a size from the call before, as it does for its users.

Photos are real, the probabilities synthetic (`crf_inputs.softmax_like`); `--softmax` adds real ones: arrays `image`
and `probabilities` of a file. With ATROUS_DATA set, the photos of its folder `crf` are raced too.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

import numpy as np
from crf_costs import first_call, floor_table, memory_table, without_compiler
from crf_sides import PARAMETERS, Floats, Race, available_memory, medians, races, sides

MANY = 50_000_000  # from so many values on, three rounds are enough


def raced(race: Race, rounds: int) -> str:
    """Run a race and return its row of the table."""
    image, probabilities = race.inputs()
    runs = sides(PARAMETERS[race.parameters])
    theirs = runs["peer"](image, probabilities)
    ours, fast = (runs[name](image, probabilities) for name in ("2 threads", "fast, 2 threads"))
    told = [
        f"{100 * same_label(theirs, ours):.4f}",
        *differences(theirs, ours),
        f"{100 * same_label(theirs, fast):.3f}",
    ]
    del theirs, ours, fast
    rounds = min(rounds, 3) if race.values > MANY else rounds
    first, *rest = medians(rounds, *(partial(run, image, probabilities) for run in runs.values()))
    times = [f"{first:.3f}", *(f"{each:.3f} ({first / each:.1f}x)" for each in rest)]
    place = f"{race.photo} {race.size[0]}x{race.size[1]}"
    return f"| {' | '.join([place, str(race.labels), race.parameters, *times, *told])} |"


def same_label(one: Floats, other: Floats) -> float:
    """Return the share of pixels whose likeliest label is the same."""
    return float((one.argmax(0) == other.argmax(0)).mean())


def differences(one: Floats, other: Floats) -> list[str]:
    """Return the mean difference of the marginals, and the one below which 99.99 % of them lie."""
    difference = np.abs(one - other).ravel()
    mean = difference.mean(dtype=np.float64)
    place = int(0.9999 * (difference.size - 1))
    difference.partition(place)
    return [f"{mean:.0e}", f"{difference[place]:.0e}"]


def race_all(options: argparse.Namespace) -> None:
    """Print the table of all races."""
    print("Seconds (and how many times as fast as the peer); agreement with the peer's marginals.\n")
    print("| photo | labels | parameters | peer | " + " | ".join(list(sides(PARAMETERS["DeepLab v2"]))[1:]), end=" | ")
    print("same label, % | mean difference | 99.99 % below | fast: same label, % |")
    print("|---" * 12 + "|")
    for race in races(options):
        if options.only not in race.name:
            continue
        if race.fits:
            print(raced(race, options.rounds), flush=True)
        else:
            why = f"needs about {race.gibibytes:.1f} GiB, {available_memory():.1f} are free"
            print(f"| {race.name}: left out, {why} |" + " |" * 11, flush=True)


def main() -> None:
    """Run all parts, or with `--only` the races of that name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="nothing but races whose name holds this, such as 375x500/21")
    parser.add_argument("--quick", action="store_true", help="the smallest size, 2 and 21 labels")
    parser.add_argument("--softmax", type=Path, nargs="*", default=[], help="files of real image and probabilities")
    options = parser.parse_args()
    if hasattr(os, "getloadavg"):
        print(f"{os.cpu_count()} processors, of which {os.getloadavg()[0]:.1f} were busy during the last minute.")
    race_all(options)
    if not options.only:
        for part in (memory_table, first_call, floor_table, without_compiler):
            part(options)


if __name__ == "__main__":
    main()
