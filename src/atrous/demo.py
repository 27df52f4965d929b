"""The demo: synthetic street scenes made, a network trained on them, scored, and its predictions drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZE = (180, 240)
# What reaches a good score soonest on two cores: a quarter of the channels, and so a high rate and many steps.
RECIPE: dict[str, Any] = {
    "width": 0.25,
    "crop": (161, 225),
    "batch": 8,
    "learning_rate": 0.1,
    "scale": (0.8, 1.25),
    "warm_up": 20,
}


def demo(out: Path, *, epochs: int, train: int, val: int, listener: Callable[[Any], None]) -> tuple[Any, Any]:
    """Make `train` + `val` scenes below `out`, train DeepLab v3+ on them, and return its scores and what was predicted.

    Everything lies below `out`: `scenes/`, the run `run/`, and `predictions/` with a mask and an overlay per scene
    of `val`. An earlier demo at the same place is replaced.

    Raises `AtrousError` where `out` holds something else.
    """
    import shutil

    from atrous import verbs
    from atrous.contract import AtrousError
    from atrous.data.scenes import write_scenes

    known = {"scenes", "run", "predictions"}
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if there and ("scenes" not in there or there - known):
        raise AtrousError(f"{out}: holds other things than a demo; choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    write_scenes(out / "scenes", train=train, val=val, size=SIZE, kind="quiet street")
    run = verbs.train(out / "scenes", out=out / "run", epochs=epochs, listener=listener, **RECIPE)
    scores = verbs.evaluate(run, out / "scenes")
    outcome = verbs.predict(run, out / "scenes" / "images" / "val", out=out / "predictions")
    return scores, outcome
