"""The settings of a trained network, as `config.json` of a model folder and an exported file carry them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from atrous.contract.explaining import explained
from atrous.contract.nouns import AtrousError, LabelSpace, Preprocessing

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Config:
    """What `config.json` says: enough to build the network again and to feed it as it was trained."""

    model: str
    options: dict[str, Any]
    space: LabelSpace
    preprocessing: Preprocessing
    geometry: dict[str, Any]
    recipe: dict[str, Any] | None = None
    scores: dict[str, Any] | None = None
    versions: dict[str, str] | None = None
    fingerprint: dict[str, Any] | None = None


def config_of(values: Any, path: Path) -> Config:
    """Return the settings that JSON values hold; `path` is the file they are from, for the words of a refusal.

    Raises `AtrousError` that names what is missing or wrong, and for a later format.
    """
    if not isinstance(values, dict):
        raise AtrousError(f"{path}: no settings are in it; is it the config.json of another program?")
    try:
        _check_kinds(values, path)
        space = {key: values[key] for key in ("colours", "values", "ignore", "encoding")}
        return Config(
            model=values["architecture"],
            options=dict(values["options"]),
            space=validated(LabelSpace, {"names": values["classes"], **space}),
            preprocessing=validated(Preprocessing, values["preprocessing"]),
            geometry=values["geometry"],
            recipe=values.get("recipe"),
            scores=values.get("scores"),
            versions=values.get("versions"),
            fingerprint=values.get("fingerprint"),
        )
    except KeyError as error:
        raise AtrousError(f"{path}: {error} is missing; is it the config.json of another program?") from error
    except (ValidationError, TypeError) as error:
        raise AtrousError(f"{path}: {explained(error)}") from error


def _check_kinds(values: Mapping[str, Any], path: Path) -> None:
    number, options = values["format"], values["options"]
    if not isinstance(number, int) or isinstance(number, bool):
        raise AtrousError(f"{path}: format {number!r}; a whole number up to {FORMAT} is wanted")
    if number > FORMAT:
        raise AtrousError(f"{path}: format {number}; this version reads up to {FORMAT}: update atrous")
    if not isinstance(options, dict):
        raise AtrousError(f"{path}: options {options!r}; a table of the network's options is wanted")


def config_json(config: Config) -> dict[str, Any]:
    """Return the settings as the JSON values of `config.json`, which `config_of` reads."""
    space = plain(config.space)
    return {
        "format": FORMAT,
        "architecture": config.model,
        "options": config.options,
        "classes": space.pop("names"),
        **space,
        "preprocessing": plain(config.preprocessing),
        "geometry": config.geometry,
        "recipe": config.recipe,
        "scores": config.scores,
        "versions": config.versions,
        "fingerprint": config.fingerprint,
    }


def plain(value: Any) -> Any:
    """Return a noun of the contract as plain JSON values."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def validated(kind: Any, values: Mapping[str, Any]) -> Any:
    """Return a noun of the contract made of its fields; raises pydantic's `ValidationError` where that cannot be."""
    return TypeAdapter(kind).validate_python(dict(values))
