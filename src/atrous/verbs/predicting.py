"""The verb that labels images: predict."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atrous.contract import LabelSpace, Prediction, Scorer
    from atrous.prediction import Outcome, Refiner
    from atrous.prediction.wanted import Progress, Wanted

from atrous.verbs.opening import Opened, absolute, opened


@overload
def predict(
    model: str | Path | Scorer | Sequence[str | Path],
    source: str | Path,
    *,
    out: str | Path,
    save: Collection[str] = ...,
    space: LabelSpace | None = ...,
    progress: Progress | None = ...,
    **settings: Any,
) -> Outcome: ...


@overload
def predict(
    model: str | Path | Scorer | Sequence[str | Path],
    source: str | Path | NDArray[Any],
    *,
    space: LabelSpace | None = ...,
    probabilities: bool = ...,
    **settings: Any,
) -> Prediction | Iterator[Prediction]: ...


def predict(  # type: ignore[misc]  # noqa: PLR0913  (a door: what decides the result has a name each)
    model: str | Path | Scorer | Sequence[str | Path],
    source: str | Path | NDArray[Any],
    *,
    out: str | Path | None = None,
    save: Collection[str] = ("masks", "overlays"),
    space: LabelSpace | None = None,
    probabilities: bool = False,
    crf: bool | str | Path | Refiner = False,
    tta: bool = False,
    scales: Sequence[float] | None = None,
    window: int | tuple[int, int] | None = None,
    overlap: float | None = None,
    max_memory: int | None = None,
    max_pixels: int | None = None,
    block: int | None = None,
    smoothing: float = 0.0,
    frames: int | None = None,
    redo: bool = False,
    watch: bool = False,
    cluster: bool | str = False,
    workers: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Prediction | Iterator[Prediction] | Outcome:
    """Label every pixel of images of any size, of rasters, volumes and videos.

    `model` is a run, a model folder, an exported file, several of them (a sequence, or one text with commas), whose
    probabilities are averaged, or any scorer with `space` given. `source` is a file, a folder, a glob, a `.txt` or
    `.csv` list, "-" for one image on standard input, "webcam", or an array (h, w) or (h, w, c).

    Without `out`: one `Prediction` for a file, standard input or an array, an iterator for the rest. With `out`: files
    `OUT/KIND/NAME`, of the kinds in `save` (`prediction.KINDS`), and an `Outcome`. What is finished there, by the same
    model with the same options, is skipped, unless `redo`. A source that cannot be read is reported and the rest goes
    on. With `watch`, a folder's new files are predicted as they come, until Ctrl-C.

    `tta` averages over the mirror image and three scales, `scales` over those given; `window` cuts images into windows
    of a side, or (height, width), in pixels, that overlap by the share `overlap`. `crf` refines the probabilities: True
    with the numbers that `crf_tune` stored in the run, or else with mild ones, which is logged as a warning; other
    choices are logged as info, and `Outcome.refined` names each. "mild", "deeplab_v1", "deeplab_v2", "crf_as_rnn",
    "pydensecrf_example", "superpixels" and "guided" are ready-made; a JSON file has the keywords of `crf.DenseCRF`; a
    function takes an image (h, w, c) in 0..255 and its probabilities (classes, h, w), and returns refined ones. Images
    that are not uint8 are brought there from the range the model was trained on; those for a scorer without
    `preprocessing` are taken to be there.

    `max_memory` is the most resident memory, in bytes, that this process may ever take, libraries included;
    `max_pixels` bounds images that are decoded whole, 200 million by default; `block` is the side of the parts of large
    images, found out without it. `smoothing` is the share of the frame
    before in a video's frame, `frames` how many are taken of a webcam. `cluster` predicts by many processes of Ray, on
    this machine or at an address, at most `workers`; sources and `out` may then be in stores, as s3://bucket/folder.

    Raises `AtrousError` for a model or a source that is not there, `ValueError` for an unknown kind in `save`, an
    unknown `crf`, and settings out of range.

    >>> import atrous, numpy as np
    >>> from atrous.contract import LabelSpace
    >>> bright = lambda images: np.stack([255.0 - images[:, 0], images[:, 0]], 1).astype(np.float32) / 255
    >>> photo = np.array([[0, 250]], np.uint8)
    >>> atrous.predict(bright, photo, space=LabelSpace(names=("dark", "light"))).labels.tolist()
    [[0, 1]]
    """
    import numpy as np

    from atrous.data.images import MAX_PIXELS
    from atrous.prediction.streams import camera_index
    from atrous.prediction.wanted import Wanted

    wanted = Wanted(
        save=(save,) if isinstance(save, str) else tuple(save),
        max_memory=max_memory,
        max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
        block=block,
        smoothing=smoothing,
        frames=frames,
    )
    if frames is not None and (isinstance(source, np.ndarray) or camera_index(str(source)) is None):
        raise ValueError(f"frames {frames} came, and the source is no webcam; leave them away")
    if cluster is not False:  # a worker may stand in another folder
        model = absolute(model)
    opening = partial(
        opened, model, space=space, crf=crf, tta=tta, scales=scales, window=window, overlap=overlap, device=device
    )
    if out is None:
        if watch or cluster is not False or redo or max_memory is not None or block is not None:
            raise ValueError("watch, cluster, redo, max_memory and block are about files; give out=, a folder for them")
        return _in_memory(opening(), source, wanted, probabilities=probabilities)
    _check_cluster(source, out, cluster=cluster is not False, workers=workers)
    if cluster is not False:
        from atrous.verbs.clusters import predict_on

        if watch or smoothing or isinstance(source, np.ndarray):
            raise ValueError("cluster came with watch, smoothing or an array; leave one of the two out")
        address = None if cluster is True else str(cluster)
        return predict_on(
            opening, str(source), str(out), wanted, address=address, workers=workers, redo=redo, progress=progress
        )
    from atrous.verbs.files import predict_files

    if isinstance(source, np.ndarray):
        raise ValueError("an array came with out; files are written of files: leave out away, or give the file's path")
    return predict_files(opening(), source, Path(out), wanted, redo=redo, watch=watch, progress=progress)


def _check_cluster(source: Any, out: str | Path, *, cluster: bool, workers: int | None) -> None:
    """Raise `ValueError` for what only a cluster can do, without one, and for fewer workers than one."""
    from atrous.prediction.remote import is_remote

    if workers is not None and workers < 1:
        raise ValueError(f"workers {workers} came; 1 or more is accepted")
    if cluster:
        return
    if workers is not None:
        raise ValueError(f"workers {workers} came without cluster; give both, or neither")
    for place in (source, out):
        if isinstance(place, str) and is_remote(place):
            raise ValueError(f"{place}: this is in a store, which --cluster alone reads and writes; give it too")


def _in_memory(
    opened: Opened, source: Any, wanted: Wanted, *, probabilities: bool
) -> Prediction | Iterator[Prediction]:
    """Return the prediction of one image, or yield those of many."""
    import numpy as np

    from atrous.contract import Sample
    from atrous.prediction import each_predicted, find, predicted
    from atrous.prediction.folders import read_source
    from atrous.prediction.streams import STANDARD_INPUT, read_stream

    scorer, space = opened.scorer, opened.space
    if isinstance(source, np.ndarray):
        if source.ndim not in (2, 3) or not source.size:
            raise ValueError(f"an array of shape {source.shape} came; one image is (h, w) or (h, w, c)")
        image = source[..., None] if source.ndim == 2 else source
        return predicted(scorer, Sample(image=image), space, probabilities=probabilities)
    if str(source) == STANDARD_INPUT:
        return predicted(scorer, read_stream(max_pixels=wanted.max_pixels), space, probabilities=probabilities)
    sources = find(source)
    if len(sources) == 1 and Path(source).is_file():
        sample = read_source(sources[0], max_pixels=wanted.max_pixels)
        return predicted(scorer, sample, space, probabilities=probabilities)
    return each_predicted(scorer, sources, space, probabilities=probabilities, max_pixels=wanted.max_pixels)
