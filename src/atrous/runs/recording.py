"""The log of a run: a line of JSON for every epoch, each epoch once, whatever the run was stopped by."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError
from atrous.data.writers import atomic

LOG = "log.jsonl"
_CURVES = {
    "images_per_second": "train/images per second",
    "waited": "train/share waited for images",
    "mean_iou": "val/mean IoU",
    "pixel_accuracy": "val/pixel accuracy",
}


def record(out: Path, line: dict[str, Any], writer: Any) -> None:
    """Append the line of an epoch to the log, and its numbers to TensorBoard's curves at its `step`.

    `line` has `epoch` (from 1), `step`, `loss`, and what else is known: `rate`, `seconds`, `images_per_second`,
    `waited` (the share of the time in which the network waited for images, 0 to 1), and where the epoch was scored
    `mean_iou`, `pixel_accuracy` and `iou`. A number that is not finite is written as null.

    To be called before `last/` says that the epoch is done: `settle_log` takes out lines, and can add none.

    Raises `AtrousError` where the disk refuses the line, such as a full one.
    """
    line = _finite(line)
    try:
        with (out / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
            log.flush()
            os.fsync(log.fileno())  # a machine that loses its power must not keep weights and lose their scores
    except OSError as error:
        raise AtrousError(
            f"{out / LOG}: the line of epoch {line['epoch']} could not be written ({error.strerror or error}). "
            "Free some space: --resume then goes on from last/"
        ) from error
    for name, title in _CURVES.items():
        if line.get(name) is not None:
            writer.add_scalar(title, line[name], line["step"])


def read_log(out: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log, none where there is no log yet; a last line that was cut off is left out.

    Raises `AtrousError` that names the line for a damaged one before the last, and for a file that cannot be read.
    """
    path = out / LOG
    try:
        texts = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise AtrousError(f"{path}: cannot be read ({error.strerror or error})") from error
    lines = []
    for number, text in enumerate(texts, 1):
        line = _line(text)
        if line is not None:
            lines.append(line)
        elif text.strip() and any(rest.strip() for rest in texts[number:]):
            raise AtrousError(f"{path}: line {number} is damaged; --resume goes on and leaves it out")
    return lines


def settle_log(out: Path, step: int) -> None:
    """Cut the log back to the epochs that are done at `step`, the one that `last/` was saved at.

    What a killed run left is set right before it goes on: lines that `last/` does not know of are taken out, since
    their epochs come again, and so are damaged ones; of two lines of an epoch the later one stays.
    """
    path = out / LOG
    if not path.is_file():
        return
    before = path.read_bytes()
    lines = [line for line in map(_line, before.split(b"\n")) if line is not None and line["step"] <= step]
    once = {line["epoch"]: line for line in lines}
    ordered = sorted(once.values(), key=lambda line: line["epoch"])
    after = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in ordered).encode()
    if after != before:
        with atomic(path) as temporary:
            temporary.write_bytes(after)


def _line(text: bytes) -> dict[str, Any] | None:
    """Return a line of the log, or None where it is none: cut off, damaged, or without an epoch and a step."""
    try:
        line = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not all(_is_count(line.get(key)) for key in ("epoch", "step")):
        return None
    return line


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _finite(value: Any) -> Any:
    """Return the value with None for every number in it that is not finite, since JSON has none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
