"""What a reader of scores is told of the model, the data and the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.runs.mask_folders import MaskFolders
    from atrous.runs.measuring import Wished
    from atrous.verbs.labelled import Labelled
    from atrous.verbs.opening import Opened


def about_model(model: Any, data: str | Path, found: Labelled, opened: Opened, wished: Wished) -> dict[str, Any]:
    """Return what a reader must know of a model's scores, as plain JSON values."""
    from atrous.data.facts import identity
    from atrous.store import is_exported, model_folder, read_config
    from atrous.verbs.choices import model_names

    models = model_names(model)
    first = Path(models[0])
    config = read_config(first if is_exported(first) else model_folder(first))
    chosen = {**opened.choices, "crf": opened.refined, **found.reading}
    return {
        "model": ", ".join(map(str, models)),
        "architecture": config.model,
        "weights_sha256": opened.model,
        "data": str(data),
        "split": found.split,
        "images": len(found.pairs),
        "data_sha256": identity(found.dataset),
        "settings": plain_values({name: value for name, value in chosen.items() if value not in (None, False)}),
        "measures": list(wished.measures),
        **made_with(),
        "notes": [*found.notes, *wished.notes],
    }


def about_masks(predictions: str | Path, labels: str | Path, folders: MaskFolders, wished: Wished) -> dict[str, Any]:
    """Return what a reader must know of the scores of masks of any tool, as plain JSON values."""
    return {
        "predictions": str(predictions),
        "labels": str(labels),
        "images": len(folders.pairs),
        "measures": list(wished.measures),
        **made_with(),
        "notes": [*folders.notes, *wished.notes],
    }


def made_with() -> dict[str, Any]:
    """Return the versions and the time of an evaluation."""
    import platform
    import sys
    from datetime import UTC, datetime

    import numpy as np

    from atrous import __version__

    versions = {"atrous": __version__, "python": platform.python_version(), "numpy": np.__version__}
    for name in ("torch", "onnxruntime"):
        if version := getattr(sys.modules.get(name), "__version__", None):  # what was not imported took no part
            versions[name] = str(version)
    return {"versions": versions, "evaluated": datetime.now(UTC).isoformat(timespec="seconds")}


def plain_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON takes them: tuples become lists."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def curves_of(model: Any) -> tuple[dict[str, Any], ...]:
    """Return the lines of the log of the run that a model belongs to, () where there is none or it cannot be read."""
    import json

    from atrous.verbs.choices import model_names

    path = Path(model_names(model)[0])
    log = next((place / "log.jsonl" for place in (path, path.parent) if (place / "log.jsonl").is_file()), None)
    if log is None:
        return ()
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError):
        return ()  # a run that is being written may end in half a line; its scores do not hang on its curves
    return tuple(line for line in lines if isinstance(line, dict))
