"""The verb that times a network on this machine, in torch and exported: bench."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atrous.exporting.timing import Bench, Side, Work
    from atrous.models import Segmenter
    from atrous.store import Config

RUNTIMES = ("torch", "torch-bf16", "onnx", "onnx-int8", "openvino", "openvino-bf16")
"""What `bench` times of a run or model folder: the network as it is, and exported."""


def bench(
    model: str | Path,
    *,
    size: int | tuple[int, int] = 512,
    runtimes: Sequence[str] | None = None,
    rounds: int = 10,
    batch: int = 4,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Bench:
    """Time a run or a model folder on this machine: one image and a batch, per runtime and precision, beside the floor.

    Timed is the way from stored values to labels, without reading and writing. `runtimes` are some of "torch",
    "torch-bf16", "onnx", "onnx-int8", "openvino" and "openvino-bf16"; without it all that are installed. They take
    turns, `rounds` times, and all have the same `threads`, by default as many as torch takes. The network is exported
    for them into a folder that is gone afterwards; its ranges for int8 are those of synthetic images, which serve for
    times and not for scores.

    Raises `AtrousError` for what `load` refuses, and for a runtime that was named and is not installed; `ValueError`
    for a name, a size or a number that cannot be.
    """
    size = (size, size) if isinstance(size, int) else size
    _check_bench(size, runtimes, rounds, batch, threads)
    import torch

    from atrous.exporting import timing
    from atrous.store import open_model

    segmenter, config = open_model(model)
    before = torch.get_num_threads()
    threads = threads or before
    inputs = _inputs(config.preprocessing.channels, config.preprocessing.high, batch, size)
    try:
        torch.set_num_threads(threads)
        with TemporaryDirectory(prefix="atrous-") as folder:
            sides, left_out = _sides(segmenter, config, Path(folder), runtimes, threads, inputs)
            work = _work(segmenter, size)
            measure = partial(timing.rates_of, [side.precision for side in sides], threads=threads)
            timings, rates = timing.timed(sides, inputs, work, rounds=rounds, rates=measure, progress=progress)
    finally:
        torch.set_num_threads(before)
    return timing.Bench(
        model=config.model,
        size=size,
        batch=batch,
        threads=threads,
        machine=timing.machine(),
        work=work,
        rates=rates,
        timings=timings,
        left_out=left_out,
    )


def _check_bench(
    size: tuple[int, int], runtimes: Sequence[str] | None, rounds: int, batch: int, threads: int | None
) -> None:
    if min(size) < 1:
        raise ValueError(f"size {size[0]} x {size[1]} came; both sides are 1 or more")
    unknown = sorted(set(runtimes or ()) - set(RUNTIMES))
    if unknown or (runtimes is not None and not runtimes):
        raise ValueError(f"runtimes {unknown[0] if unknown else 'none'!r} came; there are {', '.join(RUNTIMES)}")
    for name, value in (("rounds", rounds), ("batch", batch), ("threads", threads)):
        if value is not None and value < 1:
            raise ValueError(f"{name} {value} came; 1 or more is accepted")


def _inputs(channels: int, high: float, batch: int, size: tuple[int, int]) -> NDArray[Any]:
    """Return a batch of synthetic streets (n, c, h, w) in the range that a network takes."""
    import numpy as np

    from atrous.data.scenes import street_scene

    scenes = np.stack([street_scene(seed, size=size).image for seed in range(batch)]).transpose(0, 3, 1, 2)
    images = np.take(scenes, np.arange(channels) % 3, axis=1)
    return np.ascontiguousarray(images if high == 255 else images * np.float32(high / 255))


def _work(segmenter: Segmenter, size: tuple[int, int]) -> Work:
    from atrous.describing.cost import FLOAT, costs
    from atrous.exporting.timing import Work
    from atrous.layers.probing import without_weights

    geometry, channels = segmenter.geometry, segmenter.preprocessing.channels
    height, width = (sum(geometry.padding(side)) + side for side in size)
    cost = costs(without_weights(segmenter.net), (height, width), channels)[-1]
    weights = FLOAT * sum(parameter.numel() for parameter in segmenter.net.parameters())
    return Work(multiply_adds=cost.multiply_adds, outputs=cost.memory, weights=weights)


def _sides(
    segmenter: Segmenter,
    config: Config,
    folder: Path,
    runtimes: Sequence[str] | None,
    threads: int,
    inputs: NDArray[Any],
) -> tuple[list[Side], dict[str, str]]:
    """Return what is to be timed, and why some runtimes are left out, where none was named."""
    from atrous.contract import AtrousError

    sides: list[Side] = []
    left_out: dict[str, str] = {}
    for name in runtimes or RUNTIMES:
        try:
            sides.append(_side(name, segmenter, config, folder, threads, inputs))
        except AtrousError as error:
            if runtimes is not None:
                raise
            left_out[name] = str(error)
    return sides, left_out


def _side(name: str, segmenter: Segmenter, config: Config, folder: Path, threads: int, inputs: NDArray[Any]) -> Side:
    from atrous.exporting.timing import Side

    runtime, _, special = name.partition("-")
    precision = special or "fp32"
    if runtime == "torch":
        return Side(runtime, precision, _with_torch(segmenter, half=precision == "bf16"))
    from atrous.prediction.exported import open_exported

    file = _file_for(name, segmenter, config, folder, inputs)
    if runtime == "onnx":
        return Side("onnxruntime", precision, open_exported(file, threads=threads, device="cpu").labels)
    from atrous.prediction.openvino_runtime import open_openvino

    scorer = open_openvino(file, threads=threads, precision="bf16" if precision == "bf16" else "f32")
    return Side(runtime, precision, scorer.labels)


def _file_for(name: str, segmenter: Segmenter, config: Config, folder: Path, inputs: NDArray[Any]) -> Path:
    """Return the file that a runtime needs, exported where it is not there yet."""
    from atrous.exporting import export_onnx, export_openvino
    from atrous.exporting.quantising import export_int8
    from atrous.store import config_json

    whole, small, model = folder / "whole.onnx", folder / "small.onnx", folder / "model.xml"
    if name.startswith("openvino"):
        return model if model.is_file() else export_openvino(segmenter, config_json(config), model).path
    if not whole.is_file():
        export_onnx(segmenter, config_json(config), whole)
    if name == "onnx":
        return whole
    return export_int8(whole, small, images=[each[None] for each in inputs], mean_iou=lambda _: 1.0).path


def _with_torch(segmenter: Segmenter, *, half: bool) -> Callable[[Any], Any]:
    import torch

    def labels(images: Any) -> Any:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            return segmenter.labels(segmenter.from_numpy(images))

    return labels
