"""What a run says of itself: at its beginning, and where something is not as it should be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from atrous.contract import LabelSpace, Recipe
from atrous.data import Dataset
from atrous.evaluation import Scores
from atrous.layers.rates import degenerate
from atrous.runs.events import Note
from atrous.training import Tally, Training, resolved_precision

_STARVING = 0.3
"""The share of the time spent on waiting for crops from which on it is told."""
_FEW = 1000
"""Images to train on below which published weights help most."""
_OVERLAPS = ("dice", "jaccard", "tversky", "lovasz")
_NAMED = 5
"""How many classes a line names."""
_MANY = 20
"""From more classes without names on, they may be objects that were numbered."""


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
        few = "; few images need it most" if len(dataset.splits.get("train", ())) < _FEW else ""
        yield Note(
            text="random weights; --pretrained would start the encoder from its published ImageNet weights "
            f"(a download){few}"
        )
    yield from _about_freezing(training, recipe)
    if recipe.separation and not _tells_objects(dataset) and len(dataset.space) > 2:
        yield Note(
            text="separation: the masks tell no objects apart, so that a connected region of each class counts as one "
            "object; gaps are learnt between those"
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


def _about_freezing(training: Training, recipe: Recipe) -> Iterator[Note]:
    """Yield what of the network does not learn, and a warning where norms are kept that know nothing."""
    if recipe.freeze or recipe.freeze_norm:
        epochs = recipe.freeze_epochs
        time = f" for {epochs} epoch{'s' * (epochs > 1)}" if epochs else ""
        kept = [f"{', '.join(recipe.freeze)}{time}"] * bool(recipe.freeze) + ["every norm"] * recipe.freeze_norm
        share = _learning(training.segmenter.net, recipe.freeze)
        yield Note(
            text=f"frozen: {', and '.join(kept)}; {share:.1%} of the parameters learn{' meanwhile' * bool(epochs)}"
        )
    if recipe.freeze_norm and not recipe.pretrained and not training.step:
        yield Note(
            text="--freeze-norm keeps the norms of random weights: a mean of 0 and a variance of 1 normalise nothing; "
            "give --pretrained, or leave it out",
            warning=True,
        )


def _learning(net: Any, frozen: Sequence[str]) -> float:
    """Return the share of the parameters that learn while the parts that `frozen` names do not."""
    total = learning = 0
    for name, parameter in net.named_parameters():
        total += parameter.numel()
        within = re.sub(r"^(net\.)*", "", name)  # of a network within another
        kept = any(within == part or within.startswith(f"{part}.") for part in frozen)
        learning += 0 if kept or not parameter.requires_grad else parameter.numel()
    return learning / max(1, total)


def _tells_objects(dataset: Dataset) -> bool:
    """Return whether the masks of a dataset number its objects, or are drawn from shapes that do."""
    pairs = dataset.splits.get("train", ())
    return dataset.space.encoding == "instances" or any(hasattr(pair.mask, "instances") for pair in pairs[:1])


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
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    unnamed = [name for name in space.names if name.startswith("class ")]
    objects = "; or do the masks number objects (--labels instances)?" if len(unnamed) > _MANY else ""
    return Note(
        text=f"no pixel of {', '.join(names[:_NAMED])}{more} was in the crops of a whole epoch: such a class is not "
        f"learnt; is it in the training masks (atrous inspect), and does --crops balanced find it?{objects}",
        warning=True,
    )


def one_class(scores: Scores, recipe: Recipe) -> Note | None:
    """Return a warning where one class is predicted everywhere, and the masks hold more; it names what is not tried."""
    predicted, present = scores.confusion.sum(0) > 0, scores.confusion.sum(1) > 0
    if predicted.sum() != 1 or present.sum() < 2:
        return None
    name = scores.space.names[int(predicted.argmax())]
    untried = ["a lower --learning-rate"]
    untried += ["--class-weights root"] * (recipe.class_weights == "none" and "cross_entropy" in recipe.loss)
    untried += [f"--loss {recipe.loss}+dice"] * (not any(word in recipe.loss for word in _OVERLAPS))
    advice = " or ".join(filter(None, (", ".join(untried[:-1]), untried[-1])))
    return Note(
        text=f"every pixel of val is predicted to be {name}: at first that may be; if it stays so, {advice} may help",
        warning=True,
    )
