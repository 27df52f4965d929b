"""The verb that writes a network as a file for other programs: export."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atrous.contract import LabelSpace, Scorer
    from atrous.data import Pair
    from atrous.exporting import Exported

FORMATS = {"onnx": ("fp32", "fp16", "int8"), "openvino": ("fp32",), "program": ("fp32",)}
"""What `export` writes, and in which precisions."""
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "program": ".pt2"}
"""What the names of the files end in."""
IMAGES = 32
"""How many images tell the ranges of the layers for int8."""


def export(
    model: str | Path,
    *,
    out: str | Path,
    to: Literal["onnx", "openvino", "program"] = "onnx",
    precision: Literal["fp32", "fp16", "int8"] = "fp32",
    data: str | Path | None = None,
    split: str = "val",
    images: int = IMAGES,
    limit: float = 1.0,
    layout: str | None = None,
    masks: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write a run or a model folder as one file that runs without the code that built it, and compare the two.

    `to` is "onnx" (a name in .onnx; ONNX Runtime, without torch), "openvino" (.xml, with a .bin beside it) or "program"
    (.pt2; torch). The file takes images of any height, width and number as they are stored, and carries classes,
    colours, preprocessing, the numbers of a tuned CRF, and the names of the images that the run was trained and scored
    with; `predict`, `evaluate` and `describe` take it like a run. In "fp32" and "fp16" it is only written where logits,
    probabilities and labels agree with torch's.

    "int8" needs labelled `data`: `images` of its split train tell the ranges of the layers, or of `split` where there
    is none, and `split` what is lost. Where that is more than `limit` points of mean IoU, of 100, nothing is written.
    `layout` and `masks` are `inspect`'s. OpenVINO chooses its precision when it runs.

    Raises `AtrousError` where the file would not be equal, or lose too much, for what `load` and `evaluate` refuse, and
    where a package of the extra `export` or `openvino` is missing; `ValueError` for a format, a precision, a name or a
    number that cannot be.

        atrous.export("runs/street", out="street.onnx")
        atrous.export("runs/street", out="street-int8.onnx", precision="int8", data="data/street")
    """
    out = Path(out)
    _check_wishes(to, precision, out, data, images)
    from atrous.exporting import export_onnx, export_openvino, export_program
    from atrous.store import config_json, open_model

    segmenter, config = open_model(model)
    values = {**config_json(config), **_crf_of(model), **_split_of(Path(model))}
    if to == "program":
        return export_program(segmenter, values, out)
    if to == "openvino":
        return export_openvino(segmenter, values, out)
    if precision != "int8":
        return export_onnx(segmenter, values, out, precision=precision)
    from atrous.exporting.quantising import export_int8
    from atrous.runs import data_of, pairs_in

    dataset = data_of(Path(model), str(data), space=config.space, layout=layout, masks=masks)
    scored_on = pairs_in(dataset, split)
    with TemporaryDirectory(prefix="atrous-") as folder:
        return export_int8(
            export_onnx(segmenter, values, Path(folder, "whole.onnx")).path,
            out,
            images=_spread(dataset.splits.get("train") or scored_on, dataset.space, images),
            mean_iou=_mean_iou(scored_on, dataset.space, progress),
            limit=limit,
        )


def _check_wishes(to: str, precision: str, out: Path, data: Any, images: int) -> None:
    """Raise `ValueError` before anything is read, which takes longer than to say so."""
    if to not in FORMATS:
        raise ValueError(f"to {to!r} came; {', '.join(FORMATS)} are accepted")
    if precision not in FORMATS[to]:
        hint = "; OpenVINO chooses its precision when it runs" if to == "openvino" else ""
        raise ValueError(f"precision {precision!r} came for {to}; {', '.join(FORMATS[to])} can be written{hint}")
    if out.suffix.lower() != SUFFIXES[to]:
        raise ValueError(f"{out}: the name ends in {out.suffix or 'nothing'!r}; {SUFFIXES[to]} is wanted for {to}")
    if precision == "int8" and data is None:
        raise ValueError("int8 came without data; labelled images tell the ranges of its layers and what it loses")
    if precision != "int8" and data is not None:
        raise ValueError(f"data came for {precision}; only int8 is fitted to images: leave it out")
    if images < 1:
        raise ValueError(f"images {images} came; 1 or more is accepted")


def _crf_of(model: str | Path) -> dict[str, Any]:
    """Return the numbers tuned for a model as it is, to be carried by its file; nothing where there are none."""
    from atrous.store import read_crf

    stored = read_crf(model)
    return {"crf": stored[0]} if stored is not None and stored[1] else {}


def _split_of(model: Path) -> dict[str, Any]:
    """Return which images a run was trained with, so that its file is not scored on them unawares."""
    from atrous.runs import split_of
    from atrous.store import model_folder

    split = split_of(model, model_folder(model))
    return {} if split is None else {"split": split}


def _spread(pairs: Sequence[Pair], space: LabelSpace, count: int) -> Iterator[NDArray[Any]]:
    """Yield some images (1, c, h, w) of labelled pairs, from the first to the last."""
    from dataclasses import replace

    from atrous.data import read_sample
    from atrous.data.facts import spaced

    for pair in spaced(pairs, count):
        yield read_sample(replace(pair, mask=None), space).image.transpose(2, 0, 1)[None]


def _mean_iou(pairs: Sequence[Pair], space: LabelSpace, progress: Any) -> Callable[[Scorer], float]:
    from atrous.runs import scored

    return lambda scorer: scored(scorer, pairs, space, progress=progress).mean_iou
