"""What an exported network says of itself: the settings that an .onnx file carries beside its graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError

ENTRY = "atrous"
"""The metadata entry of an exported file: the `config.json` of its model folder."""


def settings_of(path: Path) -> tuple[str, int, dict[str, Any], int]:
    """Return a file's network, its number of classes, its builder's keywords, and its number of channels.

    Raises `AtrousError` where there is no such file, it is no .onnx file, or it was not exported from here.
    """
    import onnxruntime

    if not path.is_file():
        raise AtrousError(f"{path}: there is no such file")
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        raise AtrousError(f"{path}: not a readable .onnx file ({str(error).splitlines()[0]})") from error
    text = session.get_modelmeta().custom_metadata_map.get(ENTRY)
    if text is None:
        raise AtrousError(
            f"{path}: has no metadata {ENTRY!r}, so it was not exported from here and does not say which network it is"
        )
    try:
        values = json.loads(text)
        channels = len(values["preprocessing"]["mean"])
        return values["architecture"], len(values["classes"]), dict(values["options"]), channels
    except (KeyError, TypeError, ValueError) as error:
        raise AtrousError(f"{path}: its metadata {ENTRY!r} is damaged ({error!r})") from error
