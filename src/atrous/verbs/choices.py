"""What several verbs ask of the model: what refines, and what is put around a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.contract import Scorer
    from atrous.prediction import Refiner
    from atrous.tuning import Chosen


def chosen_refiner(crf: Any, model: Any) -> Chosen | None:
    """Return what `crf` means for a model, and log what is taken, as a warning where it is not what was tuned for it.

    None where nothing is refined.
    """
    if crf is None or crf is False:
        return None
    import logging

    from atrous.tuning import chosen

    found = chosen(crf, model if isinstance(model, str | Path) else None)
    level = logging.WARNING if found.makeshift else logging.INFO
    logging.getLogger("atrous").log(level, "refining with %s", found.words)
    return found


TTA_SCALES = (0.75, 1.0, 1.25)
"""What `tta` looks at, each with its mirror image: the sizes near the own one of DeepLab v3's six (section 4)."""


@dataclass(frozen=True)
class ChosenScorer:
    """A scorer, and in words what was put around the network; None where nothing was."""

    scorer: Scorer
    words: str | None


def chosen_scorer(
    scorer: Scorer,
    *,
    tta: bool = False,
    scales: Sequence[float] | None = None,
    window: int | tuple[int, int] | None = None,
    overlap: float | None = None,
    refiner: Chosen | Refiner | None = None,
) -> ChosenScorer:
    """Return a scorer with what `predict` and `evaluate` put around it, always in the same order.

    Windows are innermost: they bound what the network itself holds, whatever the size of an enlarged image, and start
    on the network's own grid. Scales are around them, since an object must have another size in the window too; mirror
    images around these. The refiner is outermost: it runs once, on the best probabilities there are.

    `tta` is the image at `TTA_SCALES` and its mirror image at each: six runs of the network and 6.25 times the pixels
    of one, where all six scales of DeepLab v3 with mirror images are 17 times. Only left and right are swapped, since
    scenes have an up and a down. `scales` replaces its scales; without `tta` nothing is mirrored. `overlap` is 0.25
    where a `window` has none.

    Raises `ValueError` for a scale outside 0.1 to 4, a window below what the network needs, an overlap outside 0 to 0.9
    and one without a window.
    """
    from atrous.prediction import flipped, refined, scaled, windowed

    if overlap is not None and window is None:
        raise ValueError(f"overlap {overlap} came without a window; give the window's size too")
    words = []
    if window is not None:
        scorer = windowed(scorer, window, overlap=0.25 if overlap is None else overlap)
        words.append(scorer.words)
    sizes = tuple(scales) if scales is not None else TTA_SCALES if tta else None
    if sizes is not None:
        scorer = scaled(scorer, sizes)
        words.append(f"the mean of scale{'s' * (len(sizes) > 1)} {', '.join(f'{size:g}' for size in sizes)}")
    if tta:
        scorer = flipped(scorer)
        words.append("the mean with mirror images")
    function, told = _refiner(refiner)
    if function is not None:
        scorer = refined(scorer, function)
    return ChosenScorer(scorer, "; ".join([*words, *told]) or None)


def _refiner(refiner: Chosen | Refiner | None) -> tuple[Refiner | None, list[str]]:
    """Return a refiner, None where nothing is refined, and the words on it."""
    if refiner is None:
        return None, []
    from atrous.tuning import Chosen, chosen

    found = refiner if isinstance(refiner, Chosen) else chosen(refiner)
    return found.refiner, [f"refined with {found.words}"]


def averaged_models(
    models: str | Path | Sequence[str | Path], *, device: str | None = None, threads: int | None = None
) -> Scorer:
    """Open one model, or several that are to be averaged, and return them as one scorer.

    `models` is what `load` takes, several of them in a sequence, or in a text with commas between, `RUN1,RUN2`.

    Raises `AtrousError` for what `load` refuses, and where the models do not know the same classes in the same order,
    do not take the same range of values, or are not all networks of torch or all exported; `ValueError` for an empty
    name.
    """
    from atrous.prediction import averaged
    from atrous.verbs.looking import load

    names = model_names(models)
    scorers = [load(name, device=device, threads=threads) for name in names]
    if len(scorers) == 1:
        return scorers[0]
    for name, scorer in zip(names[1:], scorers[1:], strict=True):
        _check_averaged(names[0], scorers[0], name, scorer)
    return averaged(*scorers)


def model_names(models: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """Return the paths of one model, or of several: in a sequence, or in a text with commas between.

    A path that exists is one model, whatever commas it has. Raises `ValueError` for none and for an empty one.

    >>> model_names("runs/first, runs/second")
    ('runs/first', 'runs/second')
    """
    if not isinstance(models, str | Path):
        names = [str(model) for model in models]
    else:
        names = [str(models)] if Path(models).exists() else [name.strip() for name in str(models).split(",")]
    if not names or not all(names):
        raise ValueError(f"models {models!r} came; a model's path, or several with commas between, is accepted")
    return tuple(names)


def _check_averaged(first: str, one: Any, second: str, other: Any) -> None:
    from itertools import zip_longest

    from atrous.contract import AtrousError

    names = zip_longest(one.space.names, other.space.names)
    differ = next(((place, *pair) for place, pair in enumerate(names) if pair[0] != pair[1]), None)
    if differ is not None:
        told = [f"has no class {differ[0]}" if name is None else f"has {name!r}" for name in differ[1:]]
        raise AtrousError(
            f"{second}: not the classes of {first}, the first that differs is class {differ[0]}: {first} {told[0]}, "
            f"{second} {told[1]}; only models of the same classes in the same order can be averaged"
        )
    here, there = ((each.preprocessing.low, each.preprocessing.high) for each in (one, other))
    if here != there:
        raise AtrousError(
            f"{second}: takes values of {there[0]:g} to {there[1]:g}, and {first} of {here[0]:g} to {here[1]:g}; only "
            "models of the same images can be averaged"
        )
    if hasattr(one, "net") != hasattr(other, "net"):
        raise AtrousError(f"{first},{second}: one is exported and the other is not; export both, or average the runs")
