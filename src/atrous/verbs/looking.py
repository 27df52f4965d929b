"""The verbs that look at things: load, describe, inspect, convert."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atrous.contract import Scorer
    from atrous.data.conversion import Converted
    from atrous.data.inspection import Inspection
    from atrous.describing import Description


def load(model: str | Path, *, device: str | None = None, threads: int | None = None) -> Scorer:
    """Open a model folder, or a run (its `best/`, else its `last/`), or an exported file: a scorer.

    Of a run or a model folder it is a `Segmenter` in evaluation mode, which takes tensors; of an exported file
    (.onnx, .xml, .pt2) an `ExportedScorer`, which takes NumPy arrays, and for .onnx and .xml without torch. Nothing is
    downloaded and nothing unpickled. `device` None takes a GPU where there is one, `threads` None one per core.

    Raises `AtrousError` where the path is none of these, or a file in it is missing or damaged.

        segmenter = atrous.load("runs/street")
        labels = segmenter.labels(torch.zeros(1, 3, 360, 480, dtype=torch.uint8))  # (1, 360, 480)
    """
    from atrous.store import open_scorer

    return open_scorer(model, device=device, threads=threads)[0]


def inspect(
    data: str | Path,
    *,
    classes: Sequence[str] | None = None,
    ignore: Any = None,
    labels: Any = None,
    layout: str | None = None,
    masks: str | None = None,
    html: str | Path | None = None,
    fix: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Say what a folder of images and masks holds, and what is wrong with it.

    `classes`, `ignore` and `labels` ("indices", "colours" or "instances") say what the masks cannot; `layout` names a
    layout where another one would be recognised, and `masks` is a template for the path of an image's mask. `html` is
    a file for a page with the report and a contact sheet; `fix` a new folder for a corrected copy.

    Raises `AtrousError` where the folder cannot be read at all, and for `html` that is a folder; a broken file in it is
    a finding. With `fix`, `ValueError` for a folder that lies in `data` or is not empty.
    """
    from atrous.data.diagnosis import examine
    from atrous.data.inspection import report

    wishes: dict[str, Any] = {"classes": classes, "ignore": ignore, "labels": labels, "layout": layout, "masks": masks}
    if fix is not None:
        from atrous.data.conversion import check_out

        check_out(Path(data), Path(fix))  # before anything is read
    if html is not None:
        from atrous.data.writers import refuse_folder

        refuse_folder(html)
    examination = examine(data, **wishes, progress=progress)
    found = report(examination)
    if html is not None:
        from atrous.data.diagnosis.page import write_page

        write_page(html, found, examination)
    if fix is not None:
        from atrous.data.diagnosis.fixing import fixed

        found = replace(found, fixed=fixed(examination, fix, progress=progress))
    return found


def convert(
    source: str | Path,
    out: str | Path,
    *,
    to: str,
    values: bool = False,
    classes: Sequence[str] | None = None,
    ignore: Any = None,
    labels: Any = None,
    layout: str | None = None,
    masks: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Converted:
    """Write a folder's images and labels as a new folder in another format, and say what was written.

    `to` is one of `atrous.data.conversion.FORMATS`; with `values` masks hold the numbers that the source's do. The
    other options are those of `inspect`. The new folder is there only when it is whole.

    Raises `AtrousError` for a folder that cannot be read, and for labels or an `out` that the format or the disk does
    not take; `ValueError` for an unknown format.
    """
    from atrous.data import conversion, open_dataset

    conversion.check_format(to)
    conversion.check_out(Path(source), Path(out))
    dataset = open_dataset(source, classes=classes, ignore=ignore, labels=labels, layout=layout, masks=masks)
    return conversion.convert(dataset, out, to=to, values=values, progress=progress)


def describe(
    model: str | Path,
    *,
    size: int | tuple[int, int] = 513,
    classes: int | None = None,
    in_channels: int | None = None,
    plot: str | Path | None = None,
    image: str | Path | NDArray[Any] | None = None,
    **options: Any,
) -> Description:
    """Describe a network: its stages with size, stride, receptive field and cost, and what its atrous rates do.

    `model` is a name of the table of models, with `classes` (21), `in_channels` (3) and further keywords of its builder
    in `options`; or a run, a model folder or an exported file, which say all that themselves. `size` is that of
    the image, (height, width) or one number, and is enlarged to one that the network takes. Nothing is computed, and
    no weights are read, unless `plot` names a picture to write: the pyramid of maps, and what the middle logit sees of
    `image`, a file or an array (h, w, c), by default a synthetic street. A run's own weights look at it there, and
    random ones where there are none.

    Raises `AtrousError` for a file or folder that is no model, `ValueError` for a name, a size or an option that
    cannot be.

    >>> description = describe("unet", size=572, classes=2, in_channels=1)
    >>> description.parameters, description.stages[4].receptive_field
    (31030658, (140, 140))
    """
    size = (size, size) if isinstance(size, int) else size
    if min(size) < 1:  # before torch is imported, which takes longer than to say so
        raise ValueError(f"size {size[0]} x {size[1]} came; both sides are 1 or more")
    import torch

    from atrous.models import build

    name, count, options = _architecture(model, classes, in_channels, options)
    with torch.device("meta"):
        net = build(name, count, **options)
    from atrous.describing import described, title_of

    description = described(net, size, options["in_channels"], name=title_of(name, options))
    if plot is not None:
        _plot(Path(plot), description, model, (name, count, options), image)
    return description


def _architecture(
    model: str | Path, classes: int | None, in_channels: int | None, options: dict[str, Any]
) -> tuple[str, int, dict[str, Any]]:
    """Return the network that `model` means: its name in the table, its classes, and its builder's keywords."""
    from atrous.contract import AtrousError
    from atrous.models import TABLE
    from atrous.store import EXPORTED, is_exported, model_folder, read_config

    path = Path(model)
    if options.get("pretrained"):
        raise ValueError("pretrained came, but weights have no part in a description: train with them, give the run")
    if str(model) in TABLE or not (path.exists() or path.suffix in EXPORTED or len(path.parts) > 1):
        return (
            str(model),
            21 if classes is None else classes,
            {**options, "in_channels": 3 if in_channels is None else in_channels},
        )
    wishes = {"classes": classes, "in_channels": in_channels, **options}
    given = [name for name, value in wishes.items() if value is not None]
    if given:
        raise ValueError(f"{model}: is a model and says itself what it is; leave {', '.join(given)} out")
    config = read_config(path if is_exported(path) else model_folder(path))
    name, count, options = config.model, len(config.space), config.options
    if name not in TABLE:
        raise AtrousError(f"{model}: its network {name!r} is not known here; there are {', '.join(TABLE)}")
    return name, count, {"in_channels": config.preprocessing.channels, **options}


def _plot(
    path: Path, description: Description, model: str | Path, built: tuple[str, int, dict[str, Any]], image: Any
) -> None:
    """Write the picture of a description: with the weights of a run or model folder, else with random ones."""
    import numpy as np

    from atrous.data import read_image
    from atrous.data.writers import check_figure
    from atrous.describing.figure import write_figure
    from atrous.describing.seeing import seen
    from atrous.models import TABLE, build
    from atrous.store import open_model

    check_figure(path)
    if image is not None and not isinstance(image, np.ndarray):
        image = read_image(image)
    trained = str(model) not in TABLE and Path(model).is_dir()
    if trained:
        segmenter, config = open_model(model)
        sight = seen(segmenter.net, description.size, image=image, preprocessing=config.preprocessing, trained=True)
    else:
        name, classes, options = built
        net = build(name, classes, **options)
        sight = seen(net, description.size, channels=description.in_channels, image=image)
    write_figure(path, description, sight)
