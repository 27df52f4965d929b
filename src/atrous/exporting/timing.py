"""How long a network takes per runtime and precision on this machine, beside the least it could take."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from atrous.prediction.runtime import onnxruntime_module

LARGE = 1024
"""The side of the matrices whose product tells how fast this machine multiplies."""
_COPIED = 1 << 28


class Side(NamedTuple):
    """A runtime and a precision: `labels` turns uint8 images (n, c, h, w) into labels."""

    runtime: str
    precision: str
    labels: Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one image costs a network: multiply-adds, bytes of what its layers put out, and bytes of its weights."""

    multiply_adds: int
    outputs: int
    weights: int


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What this machine does in a second: multiply-adds per precision, and bytes that are read or written."""

    multiply_adds: dict[str, float]
    bandwidth: float

    def __or__(self, other: Rates) -> Rates:
        """Return the faster of two measurements, each: what disturbs a machine only slows it."""
        products = {name: max(rate, other.multiply_adds[name]) for name, rate in self.multiply_adds.items()}
        return Rates(multiply_adds=products, bandwidth=max(self.bandwidth, other.bandwidth))

    def floor(self, work: Work, precision: str) -> float:
        """Return the seconds below which an image can hardly be done: all products, and all bytes once.

        Layers write and read what lies between them, and read their weights; values of `precision` are 4, 2 or 1 bytes
        wide. A runtime that keeps values in the cache from one layer to the next can be below the second part of it.
        """
        width = {"fp32": 4, "bf16": 2, "int8": 1}[precision] / 4
        moved = (2 * work.outputs + work.weights) * width
        return work.multiply_adds / self.multiply_adds[precision] + moved / self.bandwidth


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds for one image (`median`, and `p95`, which 95 of 100 stay below), and images per second in batches.

    `floor` is what `Rates.floor` says, in milliseconds.
    """

    runtime: str
    precision: str
    median: float
    p95: float
    throughput: float
    floor: float


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What `bench` measured, and where."""

    model: str
    size: tuple[int, int]
    batch: int
    threads: int
    machine: str
    work: Work
    rates: Rates
    timings: tuple[Timing, ...]
    left_out: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers and words."""
        return asdict(self)

    def as_text(self) -> str:
        """Return a table, and below it what the columns are."""
        rates = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in self.rates.multiply_adds.items())
        return "\n".join(
            [
                f"{self.model}, {self.size[0]} x {self.size[1]}, threads {self.threads}: {self.machine}",
                "",
                f"{'runtime':<14}{'precision':<10}{'median ms':>10}{'p95 ms':>9}{'images/s':>10}{'floor ms':>10}"
                f"{'floor/median':>14}",
                *(
                    f"{row.runtime:<14}{row.precision:<10}{row.median:>10.1f}{row.p95:>9.1f}{row.throughput:>10.1f}"
                    f"{row.floor:>10.1f}{row.floor / row.median:>14.0%}"
                    for row in self.timings
                ),
                *(f"{name}: left out, {reason}" for name, reason in self.left_out.items()),
                "",
                "stored values to labels; images/s in batches of "
                f"{self.batch}. The floor is {self.work.multiply_adds / 1e9:.1f} G multiply-adds at the rate of a "
                f"product of matrices (G/s: {rates}), and {self.work.outputs / 1e6:.0f} MB between the layers, written "
                f"and read once, and {self.work.weights / 1e6:.0f} MB of weights, at {self.rates.bandwidth / 1e9:.1f} "
                "GB/s: in fp32; a half in bf16, a quarter in int8. A runtime passes 100% where its convolutions need "
                "fewer multiplications (Winograd), or are faster than that product: torch's, in int8 ONNX Runtime's.",
            ]
        )


def timed(
    sides: Sequence[Side],
    images: np.ndarray,
    work: Work,
    *,
    rounds: int,
    rates: Callable[[], Rates],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[tuple[Timing, ...], Rates]:
    """Time every side in turn, `rounds` times after one that is not counted, so that all share the machine's moods.

    `images` (n, c, h, w) uint8 are a batch, of which the first alone is timed for the latency. `rates` measures what
    this machine does, before the rounds and after them.
    """
    before = rates()
    alone: list[list[float]] = [[] for _ in sides]
    together: list[list[float]] = [[] for _ in sides]
    for turn in range(rounds + 1):
        for side, single, batched in zip(sides, alone, together, strict=True):
            seconds = _seconds(side.labels, images[:1]), _seconds(side.labels, images)
            if turn:
                single.append(seconds[0])
                batched.append(seconds[1])
        if progress is not None:
            progress(turn + 1, rounds + 1)
    found = before | rates()
    timings = tuple(
        Timing(
            runtime=side.runtime,
            precision=side.precision,
            median=1000 * statistics.median(single),
            p95=1000 * float(np.percentile(single, 95)),
            throughput=len(images) / statistics.median(batched),
            floor=1000 * found.floor(work, side.precision),
        )
        for side, single, batched in zip(sides, alone, together, strict=True)
    )
    return timings, found


def rates_of(precisions: Iterable[str], *, threads: int) -> Rates:
    """Measure how fast this machine multiplies matrices in some precisions, and copies memory, with so many threads."""
    makers = {"fp32": _float_product, "bf16": _half_product, "int8": _byte_product}
    found = {name: LARGE**3 / _least(makers[name](threads)) for name in dict.fromkeys(precisions)}
    source = torch.zeros(_COPIED // 4)
    copy = torch.empty_like(source)
    return Rates(multiply_adds=found, bandwidth=2 * _COPIED / _least(lambda: copy.copy_(source)))


def machine() -> str:
    """Return the name of the processor, and of the system where it has none."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123  (no file of a user)
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _float_product(threads: int) -> Callable[[], Any]:
    matrix = torch.randn(LARGE, LARGE)
    return lambda: matrix @ matrix


def _half_product(threads: int) -> Callable[[], Any]:
    matrix = torch.randn(LARGE, LARGE).bfloat16()
    return lambda: matrix @ matrix


def _byte_product(threads: int) -> Callable[[], Any]:
    """Return a product of unsigned and signed bytes on ONNX Runtime, which is what runs networks in int8 here."""
    from onnx import TensorProto, helper, numpy_helper

    onnxruntime = onnxruntime_module()
    random = np.random.default_rng(0)
    bytes_ = random.integers(0, 256, (LARGE, LARGE), np.uint8)
    constants = {
        "weights": bytes_.view(np.int8),
        "scale": np.float32(1),
        "zero": np.uint8(128),
        "none": np.int8(0),
        "coarse": np.float32(1e4),
    }
    names = ["values", "scale", "zero", "weights", "scale", "none", "coarse", "zero"]
    graph = helper.make_graph(
        [helper.make_node("QLinearMatMul", names, ["product"])],
        "product",
        [helper.make_tensor_value_info("values", TensorProto.UINT8, [LARGE, LARGE])],
        [helper.make_tensor_value_info("product", TensorProto.UINT8, [LARGE, LARGE])],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"values": bytes_})


def _least(work: Callable[[], Any], times: int = 7) -> float:
    """Return the shortest of some times: what disturbs only adds."""
    return min(_seconds(lambda _: work(), None) for _ in range(times))


def _seconds(work: Callable[[Any], Any], argument: Any) -> float:
    began = time.perf_counter()
    work(argument)
    return time.perf_counter() - began
