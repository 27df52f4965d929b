"""What a run says of itself: at its beginning, and where something is not as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from atrous.contract import LabelSpace, Recipe
from atrous.data import Dataset
from atrous.evaluation import Scores
from atrous.layers.rates import degenerate
from atrous.runs.events import Note
from atrous.training import Tally, Training, resolved_precision

_STARVING = 0.3
"""The share of the time spent on waiting for crops from which on it is told."""


def notes(training: Training, dataset: Dataset, recipe: Recipe) -> Iterator[Note]:
    """Yield what is worth knowing before the first step."""
    parameters = sum(p.numel() for p in training.segmenter.net.parameters())
    device, processes = training.accelerator.device, training.accelerator.num_processes
    precision = resolved_precision(recipe.precision, device.type)
    encoder = f" {recipe.encoder}" if recipe.encoder else ""
    counts = ", ".join(f"{len(pairs)} {name}" for name, pairs in dataset.splits.items())
    machine = f"{precision} on {device}" + (f", {processes} processes" if processes > 1 else "")
    yield Note(
        text=f"{recipe.model}{encoder}, {parameters / 1e6:.1f} M parameters; {len(dataset.space)} classes; "
        f"{counts} images; {machine}"
    )
    if not recipe.pretrained and not training.step and _has_published(recipe):
        yield Note(
            text="random weights; --pretrained would start the encoder from its published ImageNet weights (a download)"
        )
    size = training.crops.size
    if size != recipe.crop:
        yield Note(text=f"crop {recipe.crop[0]}x{recipe.crop[1]} became {size[0]}x{size[1]}, a size this network takes")
    lost = degenerate((training.copy or training.segmenter).net, *size)
    if lost:
        rates = ", ".join(
            f"{rate} on a map of {side}" for rate, side in sorted({(each.rate, each.side) for each in lost})
        )
        yield Note(text=f"atrous rates as large as the map see its centre only ({rates}); a larger --crop helps")
    if training.step:
        yield Note(text=f"resumed at step {training.step} of {training.total}")


def _has_published(recipe: Recipe) -> bool:
    """Return whether there are weights of the network's encoder to fetch."""
    encoder = recipe.encoder or {"unet": "its own", "deeplab_v2": "resnet101_caffe"}.get(recipe.model, "")
    return encoder != "its own" and not encoder.endswith(("_beta", "_caffe", "_paper"))


def starving(tally: Tally) -> Note | None:
    """Return a warning where the network waits for its crops."""
    share = tally.waited / tally.seconds if tally.seconds else 0.0
    if share < _STARVING:
        return None
    return Note(
        text=f"the network waits for its crops {100 * share:.0f} % of the time: atrous bench-data tells what helps "
        "(--cache, more --workers, a lighter --augment)",
        warning=True,
    )


def never_seen(seen: Sequence[int], space: LabelSpace) -> Note | None:
    """Return a warning where an epoch's crops held nothing of a class."""
    names = [name for name, count in zip(space.names, seen, strict=False) if not count]
    if not names:
        return None
    return Note(
        text=f"no pixel of {', '.join(names)} was in the crops of a whole epoch: such a class is not learnt; is it in "
        "the training masks (atrous inspect), and does --crops balanced find it?",
        warning=True,
    )


def one_class(scores: Scores) -> Note | None:
    """Return a warning where one class is predicted everywhere, and the masks hold more."""
    predicted, present = scores.confusion.sum(0) > 0, scores.confusion.sum(1) > 0
    if predicted.sum() != 1 or present.sum() < 2:
        return None
    name = scores.space.names[int(predicted.argmax())]
    return Note(
        text=f"every pixel of val is predicted to be {name}: at first that may be; if it stays so, a lower "
        "--learning-rate, --class-weights root or --loss cross_entropy+dice may help",
        warning=True,
    )
