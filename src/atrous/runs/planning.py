"""The plan of a run: the recipe that suits the data and this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from atrous.recipes.auto import Plan, planned
from atrous.runs.machine import machine, training_bytes


def plan(facts: Mapping[str, Any], *, given: Mapping[str, Any], device: str | None = None) -> Plan:
    """Return the recipe for a dataset's fingerprint on a device, each choice with its reason; `given` are made already.

    Raises `AtrousError` where nothing fits the device, `ValueError` for settings that cannot be.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # as a launcher tells them
    here = machine(device, processes)
    return planned(facts, here, given=given, memory=partial(training_bytes, facts=facts))
