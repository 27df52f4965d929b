"""Model folders and runs on disk: safetensors and JSON, written whole or not at all, opened without unpickling.

A model folder holds `model.safetensors`, `config.json` and a model card `README.md`. A run holds `recipe.json`,
`split.json`, `log.jsonl`, the model folders `best/` and `last/`, and `crf.json` where a CRF was tuned for it. An
exported file, `.onnx`, `.xml` or `.pt2`, carries the settings of its model folder within it.
"""

from atrous.contract import FORMAT, Config, config_json, explained, plain
from atrous.store.files import read_json, settled, whole_folder, write_json
from atrous.store.folders import (
    CARD,
    CONFIG,
    EXPORTED,
    WEIGHTS,
    is_exported,
    model_folder,
    read_config,
    read_recipe,
    save_model,
)
from atrous.store.opening import device_of, load_weights, model_hash, open_model, open_scorer
from atrous.store.starting import start_from
from atrous.store.tuned import CRF, checked_crf, read_crf, write_crf

__all__ = [
    "CARD",
    "CONFIG",
    "CRF",
    "EXPORTED",
    "FORMAT",
    "WEIGHTS",
    "Config",
    "checked_crf",
    "config_json",
    "device_of",
    "explained",
    "is_exported",
    "load_weights",
    "model_folder",
    "model_hash",
    "open_model",
    "open_scorer",
    "plain",
    "read_config",
    "read_crf",
    "read_json",
    "read_recipe",
    "save_model",
    "settled",
    "start_from",
    "whole_folder",
    "write_crf",
    "write_json",
]
