"""The plan of a run: the recipe that suits the data and this machine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any


def plan(facts: Mapping[str, Any], *, given: Mapping[str, Any], device: str | None = None) -> Any:
    """Return the recipe for a dataset's fingerprint on a device, each choice with its reason; `given` are made already.

    Raises `AtrousError` where nothing fits the device, `ValueError` for settings that cannot be.
    """
    from atrous.recipes.auto import planned
    from atrous.runs.machine import machine, training_bytes

    return planned(facts, machine(device), given=given, memory=partial(training_bytes, facts=facts))
