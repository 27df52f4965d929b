"""Model folders and runs: which one is meant, what they say of themselves, and how a model folder is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from atrous.contract import AtrousError, Config, Recipe, config_json, config_of, explained, validated
from atrous.store.files import read_json, readable, whole_folder, write_json

if TYPE_CHECKING:
    from atrous.models import Segmenter

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
EXPORTED = (".onnx", ".xml", ".pt2")
"""The suffixes of exported networks: ONNX, OpenVINO, and torch's exported program."""


def save_model(
    folder: Path, segmenter: Segmenter, config: Config, *, also: Callable[[Path], None] | None = None
) -> None:
    """Write a model folder; an older one at the same place is replaced as a whole, once everything is written.

    `also` writes more files into the same folder, such as the training state that belongs to these weights.
    """
    from safetensors.torch import save_file

    state = {name: tensor.detach().contiguous() for name, tensor in segmenter.net.state_dict().items()}
    with whole_folder(folder) as temporary:
        save_file(state, temporary / WEIGHTS, metadata={"format": "pt"})
        write_json(temporary / CONFIG, config_json(config))
        (temporary / CARD).write_text(_card(config), encoding="utf-8")
        if also is not None:
            also(temporary)


def model_folder(path: str | Path) -> Path:
    """Return the model folder that `path` means: itself, or a run's `best/`, else `last/` with a line saying so."""
    path = Path(path)
    if not path.exists():
        raise AtrousError(f"{path}: no such model folder or run")
    if (path / CONFIG).is_file():
        return path
    if path.name == WEIGHTS:
        return path.parent
    if (readable(path / "best") / CONFIG).is_file():
        return readable(path / "best")
    if (readable(path / "last") / CONFIG).is_file():
        logging.getLogger("atrous").warning("%s: no best/ yet, taking last/", path)
        return readable(path / "last")
    raise AtrousError(f"{path}: neither a model folder ({CONFIG} is missing) nor a run (no best/ or last/)")


def read_config(path: Path) -> Config:
    """Return the settings of a model folder (its `config.json`) or of an exported file.

    Raises `AtrousError` that names what is missing or wrong in it.
    """
    if is_exported(path):
        from atrous.prediction.exported import read_exported

        return read_exported(path)[0]
    return config_of(read_json(path / CONFIG), path / CONFIG)


def read_recipe(run: Path) -> Recipe:
    """Return the recipe a run was started with."""
    path = run / "recipe.json"
    values = read_json(path)
    if not isinstance(values, dict):
        raise AtrousError(f"{path}: no settings are in it; is it the recipe.json of another program?")
    try:
        return validated(Recipe, values)
    except ValidationError as error:
        raise AtrousError(f"{path}: {explained(error)}") from error


def _card(config: Config) -> str:
    options = ", ".join(f"{key} {value}" for key, value in config.options.items() if value not in (None, False))
    lines = [
        f"# {config.model}",
        "",
        f"A semantic segmentation network of {len(config.space)} classes ({options}), written by atrous.",
        "",
        "    atrous predict THIS_FOLDER IMAGES --out out/",
        "",
        "## Classes",
        "",
        ", ".join(config.space.names),
        "",
    ]
    if config.scores:
        lines += ["## Scores", "", *_card_scores(config.scores), ""]
    if config.fingerprint:
        images = ", ".join(f"{count} {split}" for split, count in config.fingerprint.get("splits", {}).items())
        lines += ["## Data", "", f"{images} images; fingerprint {config.fingerprint.get('sha256', '')[:16]}", ""]
    return "\n".join(lines)


def _card_scores(scores: Mapping[str, Any]) -> list[str]:
    lines = ["| score | per cent | definition |", "|---|---|---|"]
    for name, definition in scores.get("definitions", {}).items():
        if isinstance(scores.get(name), float):
            lines.append(f"| {name.replace('_', ' ')} | {100 * scores[name]:.2f} | {definition} |")
    return lines


def is_exported(path: str | Path) -> bool:
    """Return whether a path is, by its suffix, that of an exported network, be it there or not."""
    return Path(path).suffix.lower() in EXPORTED and not Path(path).is_dir()
