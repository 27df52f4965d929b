"""Where and with what a run was made: versions, device, command line, and the state of the code around it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError
from atrous.store import read_json, write_json

ENVIRONMENT = "environment.json"
_PACKAGES = ("atrous", "torch", "timm", "numpy", "accelerate", "opencv-contrib-python-headless")
_PATIENCE = 2.0  # seconds that git may take


def versions() -> dict[str, str]:
    """Return the versions that a run depends on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def environment(device: Any, *, processes: int = 1) -> dict[str, Any]:
    """Return what a run is made with, ready for JSON; `device` is torch's, or a name such as "cuda:0".

    `date` (UTC), `command` (as it was typed, null from Python), `versions`, `system`, `device` (`kind` and `name`),
    `cores` (that this process may use), `processes`, and `git` (`commit`, and whether tracked files are `changed`) of
    the repository that the working folder lies in, null without one. Neither the machine's name nor any path beside
    those of the command line is in it.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(sys.argv),
        "versions": versions(),
        "system": f"{platform.system()} {platform.machine()}".strip(),
        "device": {"kind": str(device).partition(":")[0], "name": _name_of(str(device))},
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "processes": processes,
        "git": _git(Path.cwd()),
    }


def write_environment(out: Path, made_with: dict[str, Any], *, step: int = 0) -> None:
    """Add an entry to `environment.json`, a list with one for every call that trained the run.

    `step` is the one at which the call began: 0 begins the list anew, and what is not a list of entries is replaced.
    """
    path = out / ENVIRONMENT
    earlier: Any = []
    if step:
        with suppress(AtrousError):
            earlier = read_json(path)
    write_json(path, [*(earlier if isinstance(earlier, list) else []), {"step": step, **made_with}])


def _command(arguments: list[str]) -> list[str] | None:
    """Return the command line where it is ours, without the place of the program on this machine."""
    program = Path(arguments[0] if arguments else "")
    by_module = program.name == "__main__.py" and program.parent.name == "atrous"
    return ["atrous", *arguments[1:]] if program.stem == "atrous" or by_module else None


def _name_of(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(torch.device(device))
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(folder: Path) -> dict[str, Any] | None:
    commit = _asked("rev-parse", "HEAD", folder=folder)
    if not commit:
        return None
    # What is not tracked is left out: the run's own folder would count as a change.
    status = _asked("status", "--porcelain", "--untracked-files=no", folder=folder)
    return {"commit": commit, "changed": None if status is None else bool(status)}


def _asked(*words: str, folder: Path) -> str | None:
    """Return what git answers, None where it is not there, knows nothing, or takes too long."""
    try:
        answer = subprocess.run(
            ["git", "--no-optional-locks", *words],
            cwd=folder,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode("utf-8", "replace").strip() if answer.returncode == 0 else None
