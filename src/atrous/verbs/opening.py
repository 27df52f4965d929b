"""A model, or several, with all that is done around it, as one scorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.contract import LabelSpace, Scorer

from atrous.verbs.choices import averaged_models, chosen_refiner, chosen_scorer, model_names


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A scorer with its classes, and what tells it from others.

    `model` is the hash of the model's weights, of all of them where there are several, and None of a scorer that is no
    file; `choices` is what was chosen around it, as plain JSON values; `refined` says in words what refines.
    """

    scorer: Scorer
    space: LabelSpace
    model: str | None
    choices: dict[str, Any]
    refined: str | None


def opened(
    model: Any,
    *,
    space: LabelSpace | None = None,
    crf: Any = False,
    tta: bool = False,
    scales: Sequence[float] | None = None,
    window: int | tuple[int, int] | None = None,
    overlap: float | None = None,
    device: str | None = None,
) -> Opened:
    """Open what `predict` takes as a model, with windows, flips, scales and a refiner around it.

    Raises `AtrousError` for a model that is not there, `ValueError` for a scorer without classes and for settings out
    of range.
    """
    paths = model_names(model) if _are_paths(model) else ()
    chosen = chosen_refiner(crf, paths[0] if len(paths) == 1 else None)
    scorer = averaged_models(paths, device=device) if paths else model
    space = space or getattr(scorer, "space", None)
    if space is None:
        raise ValueError("a scorer without classes came; give space=LabelSpace(names=(...)) with it")
    found = chosen_scorer(
        scorer,
        tta=tta,
        scales=scales,
        window=window,
        overlap=overlap,
        refiner=chosen,
    )
    refiner = None if chosen is None else repr(chosen.refiner)
    choices = {"tta": tta, "scales": scales, "window": window, "overlap": overlap, "crf": refiner}
    return Opened(
        scorer=found.scorer,
        space=space,
        model=hash_of(paths),
        choices=choices,
        refined=None if chosen is None else chosen.words,
    )


def absolute(model: Any) -> Any:
    """Return what `predict` takes as a model with its paths from the root; a scorer comes back as it is."""
    return [str(Path(path).absolute()) for path in model_names(model)] if _are_paths(model) else model


def hash_of(paths: Sequence[str]) -> str | None:
    """Return what tells the weights of models from others', None where there is no model."""
    from hashlib import sha256

    from atrous.store import model_hash

    hashes = [model_hash(path) for path in paths]
    return sha256(" ".join(hashes).encode()).hexdigest() if len(hashes) > 1 else next(iter(hashes), None)


def _are_paths(model: Any) -> bool:
    """Say whether a model is a path, or a sequence of them, and no scorer."""
    return isinstance(model, str | Path) or (
        isinstance(model, Sequence) and all(isinstance(each, str | Path) for each in model)
    )
