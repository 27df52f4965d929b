"""The verb that takes weights of others: import_weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def import_weights(
    path: str | Path,
    *,
    out: str | Path,
    model: str | None = None,
    classes: Sequence[str] | None = None,
    encoder: str | None = None,
    listener: Callable[[str], None] | None = None,
    **options: Any,
) -> Path:
    """Turn a file of weights of others into a model folder, and return the folder; nothing in the file is run.

    What the file holds is told from its names and shapes; `model` and `encoder` are for what does not tell, such as
    the weights of a trunk, and are refused where they contradict it. `classes` are names; without them 21 classes have
    VOC's and others are numbered. `options` are further keywords of the network's builder. `listener` is called with a
    line for what was recognised, and one for everything that was guessed or left out.

    Raises `AtrousError` for files that are damaged, want to run code, are of a network that is not here or do not fit
    it, and for an `out` that is something else than a model folder; `ValueError` for names or options that cannot be.

        atrous.import_weights("fcn8s-heavy-pascal.caffemodel", out="models/fcn8s")
    """
    from atrous.foreign import imported, space_of
    from atrous.models import Segmenter
    from atrous.store import Config, plain, save_model

    out = Path(out)
    _refuse_in_the_way(out, Path(path))
    count = None if classes is None else len(classes)
    found = imported(path, model=model, classes=count, encoder=encoder, options=options)
    space, guess = space_of(found.classes, classes)
    for line in (f"recognised: {found.source}, {found.model} here", *found.notes, *([guess] if guess else [])):
        if listener is not None:
            listener(line)
    segmenter = Segmenter(found.net, space, found.preprocessing)
    config = Config(
        model=found.model,
        options=found.options,
        space=space,
        preprocessing=found.preprocessing,
        geometry=plain(segmenter.geometry),
    )
    save_model(out, segmenter, config)
    return out


def _refuse_in_the_way(out: Path, path: Path) -> None:
    """Raise `AtrousError` where `out` is there and no model folder, or holds the file that is imported."""
    from atrous.contract import AtrousError
    from atrous.store import CARD, CONFIG, CRF, WEIGHTS, read_config

    if out.exists() and not ((out / CONFIG).is_file() and (out / WEIGHTS).is_file()):
        raise AtrousError(f"{out}: is there already and is no model folder; choose another --out")
    own = {CONFIG, WEIGHTS, CARD, CRF}
    if out.exists() and ({each.name for each in out.iterdir()} - own or read_config(out).recipe):
        raise AtrousError(f"{out}: holds more than imported weights, a trained model; choose another --out")
    if path.resolve().is_relative_to(out.resolve()):
        raise AtrousError(f"{path}: lies inside {out}, which would be replaced; choose another --out")
