"""How the predictions of a model are best refined: `crf.json`, found by `crf-tune`."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from atrous import __version__
from atrous.contract import FORMAT, AtrousError
from atrous.store.files import read_json, write_json
from atrous.store.folders import CONFIG, is_exported, model_folder

CRF = "crf.json"
"""Beside a run's `best/` and `last/`, or in a model folder of no run: the numbers its predictions are refined with."""


def write_crf(model: str | Path, values: Mapping[str, Any]) -> Path:
    """Store how the predictions of a run or model folder are best refined, and return the file.

    `values` has `crf`, the CRF's numbers or None where none is better, and whatever tells how they were found.
    """
    if is_exported(model):
        raise AtrousError(f"{model}: an exported file is not changed; tune the run, and export it again")
    folder = model_folder(model)
    path = _crf_file(folder)
    write_json(path, {"format": FORMAT, "version": __version__, "model": _state_of(folder), **values})
    return path


def read_crf(model: str | Path) -> tuple[dict[str, Any], bool] | None:
    """Return what `write_crf` stored, and whether it was for the model as it is now; None where nothing was stored.

    An exported file carries what was stored for its model when it was exported.

    Raises `AtrousError` for a file that is damaged, holds other types, or is of a later format.
    """
    if is_exported(model):
        from atrous.prediction.exported import read_exported

        values = read_exported(model)[1].get("crf")
        return None if values is None else (_checked(Path(model), values), True)
    folder = model_folder(model)
    path = _crf_file(folder)
    if not path.is_file():
        return None
    values = _checked(path, read_json(path))
    return values, values.get("model") == _state_of(folder)


def _checked(path: Path, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict) or not {"format", "crf"} <= values.keys():
        raise AtrousError(f"{path}: no tuned CRF is in it; remove the file, or run atrous crf-tune again")
    return checked_crf(path, values)


def checked_crf(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return what a file like `crf.json` holds; `format` and `tuned_on` may be missing, `crf` is not looked into.

    Raises `AtrousError` where one of the two has another type, and for a later format.
    """
    number, tuned_on = values.get("format", FORMAT), values.get("tuned_on") or {}
    if not isinstance(number, int) or isinstance(number, bool):
        raise AtrousError(
            f"{path}: format {number!r}; a whole number up to {FORMAT} is wanted: run atrous crf-tune again"
        )
    if number > FORMAT:
        raise AtrousError(f"{path}: format {number}; this version reads up to {FORMAT}: update atrous")
    names = tuned_on.get("images") or [] if isinstance(tuned_on, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise AtrousError(f"{path}: tuned_on has no list of names as its images: run atrous crf-tune again")
    for key in ("data", "sha256"):
        if not isinstance(tuned_on.get(key), str | None):
            raise AtrousError(
                f"{path}: tuned_on has {key} {tuned_on[key]!r}; a text is wanted: run atrous crf-tune again"
            )
    return values


def _crf_file(folder: Path) -> Path:
    run = folder.parent
    return (run if (run / "split.json").is_file() else folder) / CRF


def _state_of(folder: Path) -> str:
    """Return a hash that changes when a run goes on: that of the settings, which hold the scores."""
    return sha256((folder / CONFIG).read_bytes()).hexdigest()
