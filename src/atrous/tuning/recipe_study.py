"""The study that a search of recipes is kept in: opened, compared with what is wanted, and rid of dead trials.

A study lives in a database that Optuna writes: an SQLite file, or one that many machines reach. A trial whose process
died is found by its process number on the same machine, and elsewhere by its heartbeat; its settings are tried again.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError

_BEAT = 60  # seconds between two signs of life of a trial
_SILENCE = 300  # seconds without one after which its process is taken for dead
_ATTEMPTS = 3  # settings whose process dies so often are given up: they may be what kills it
_OPENINGS = 5  # processes that make the same SQLite file at once are in each other's way
_HEAD, _PROCESS, _ATTEMPT, ERROR = "atrous", "process", "attempt", "error"


def needed() -> Any:
    """Return Optuna; raises `AtrousError` where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise AtrousError('a search needs optuna, which is not installed: pip install "atrous[train]"') from error
    return optuna


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's log and its warnings of experimental arguments from the user, who gave none of them."""
    optuna = needed()
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file; raises `ValueError` for a path that no such URL can hold."""
    text = path.resolve().as_posix()
    if "?" in text:
        raise ValueError(f"{path}: a folder with ? in its name cannot hold the study; choose another one")
    return "sqlite:///" + text.replace("{", "{{").replace("}", "}}")


def shown(url: str) -> str:
    """Return a URL without its password.

    >>> shown("postgresql://me:secret@host/studies")
    'postgresql://me:***@host/studies'
    """
    return re.sub(r"(//[^/@:]*):[^@]*@", r"\1:***@", url)


def opened(url: str, name: str, *, epochs: int) -> Any:
    """Return the study of a name in a database, made where it is not there.

    A trial is stopped where its best score so far lies below the median of the finished ones at the same epoch, from
    the third of its epochs on and once four are finished. Hyperband would stop more, but divides the trials into
    brackets that learn apart from one another, each of which wants ten: more than most searches have in all.

    Raises `AtrousError` for a database that cannot be used.
    """
    optuna = needed()
    from sqlalchemy.exc import SQLAlchemyError

    refused = (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, RuntimeError, ValueError, KeyError)
    for left in reversed(range(_OPENINGS)):
        try:
            return _opened(optuna, url, name, epochs)
        except refused as error:
            busy = url.startswith("sqlite") and re.search("already exists|locked|UNIQUE", str(error))
            if left and busy:
                time.sleep(0.2 * (_OPENINGS - left))
                continue
            reason = shown(str(error).splitlines()[0])
            raise AtrousError(
                f"{shown(url)}: the study cannot be kept there ({reason}); "
                "an SQLite file like sqlite:///study.db or the URL of another database is accepted"
            ) from error
    raise AssertionError("the last opening returns or raises")


def _opened(optuna: Any, url: str, name: str, epochs: int) -> Any:
    storage = optuna.storages.RDBStorage(
        url,
        engine_kwargs={"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None,
        heartbeat_interval=_BEAT,
        grace_period=_SILENCE,
        **{_callback_name(optuna): try_again},
    )
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(1, epochs // 3))
    return optuna.create_study(
        storage=storage, study_name=name, direction="maximize", pruner=pruner, load_if_exists=True
    )


def _callback_name(optuna: Any) -> str:
    major, minor = (int(part) for part in optuna.__version__.split(".")[:2])
    return "heartbeat_stale_trial_callback" if (major, minor) >= (4, 9) else "failed_trial_callback"


def refuse_others(study: Any, head: Mapping[str, Any], where: str) -> None:
    """Raise `AtrousError` where a study is of other settings, or of another program; note the settings in a new one."""
    stored = study.user_attrs.get(_HEAD)
    if stored is None and study.get_trials(deepcopy=False):
        raise AtrousError(f"{where}: the study {study.study_name!r} is of another program; give another --study")
    if stored is None:
        study.set_user_attr(_HEAD, dict(head))
        return
    if dict(head) != stored:
        what, came, wanted = _difference(stored, head)
        raise AtrousError(
            f"{where}: the study {study.study_name!r} was started with another {what}, {came} and not {wanted}; "
            "the same command goes on with it, another one needs another --study and --out"
        )


def _difference(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, Any, Any]:
    """Return the first thing that differs, as its name and its two values."""
    name = next(key for key in {**wanted, **stored} if wanted.get(key) != stored.get(key))
    old, new = stored.get(name, "nothing"), wanted.get(name, "nothing")
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return name, old, new
    inner, old, new = _difference(old, new)
    return f"{name} {inner}".removeprefix("recipe "), old, new


def is_left(trial: Any) -> bool:
    """Return whether a trial was cut off, by Ctrl-C or the end of its process: a failed one has words for why."""
    return trial.state.name == "FAIL" and ERROR not in trial.user_attrs


def counted(study: Any) -> list[Any]:
    """Return the trials that count: those that ended well or not, or run; not those cut off, nor those to come."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state.name != "WAITING" and not is_left(trial)]


def mark(trial: Any) -> None:
    """Note in a trial which process works on it."""
    trial.set_user_attr(_PROCESS, {"machine": machine(), "number": os.getpid()})


def take_up(study: Any) -> int:
    """End the running trials whose process died on this machine, so that they are tried again; return how many."""
    optuna = needed()
    found = 0
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        process = trial.user_attrs.get(_PROCESS) or {}
        if process.get("machine") == machine() and not _lives(process["number"]):
            with suppress(ValueError, RuntimeError):  # another process was faster
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                try_again(study, trial)
                found += 1
    return found


def try_again(study: Any, trial: Any, *, blamed: bool = True) -> None:
    """Put the settings of a trial that was cut off in front of the next ones; `blamed` counts them as what did it."""
    attempt = trial.user_attrs.get(_ATTEMPT, 1)
    settings = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    if attempt < _ATTEMPTS and settings:
        study.enqueue_trial(settings, user_attrs={_ATTEMPT: attempt + blamed})


def machine() -> str:
    """Return a name of this machine that another one, or this one started anew, does not have."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115  (what the link says is no path)
    return " ".join(parts)


def _lives(process: int) -> bool:
    """Return whether a process of this machine runs; it is taken to where the system cannot be asked.

    One with our own number is an earlier one: this asks before our first trial.
    """
    if sys.platform == "win32":
        return True  # asking as below would end the process there; its heartbeat tells
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
