"""What is finished in an output folder, so that a prediction that was cut off goes on where it stopped.

`OUT/predictions.jsonl` has a line for each finished source: its path, size and time of change, the hash of the model,
the options, and the files that were written. The last line of a name counts. A line is written once all of its files
are in place, so that a process killed at any moment loses no more than the sources it was at.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from atrous.contract import AtrousError
from atrous.data.locking import locked
from atrous.prediction.sources import Source
from atrous.prediction.wanted import KINDS

JOURNAL = "predictions.jsonl"
State = tuple[int | None, int | None]
"""The size of a source, and when it last changed in ns; None of what is no file."""

_TEMPORARY = re.compile(r"\..*-[0-9a-f]{32}(\.[^/]*)?")


@dataclass(frozen=True)
class Places:
    """What is done with sources and results, wherever they are.

    `called` is where a source is, wherever the program was started, `state` its size and when it last changed; `there`
    says if a result is, `remove` takes one away.
    """

    called: Callable[[Source], str]
    state: Callable[[Source], State]
    there: Callable[[str], bool]
    remove: Callable[[str], None]

    @classmethod
    def of(cls, out: Path) -> Places:
        """Return what is done with sources on this machine and files below an output folder."""
        return cls(
            called=lambda source: os.path.abspath(source.path),  # noqa: PTH100  (Path.absolute keeps "..")
            state=state_of,
            there=lambda file: (out / file).exists(),
            remove=lambda file: _remove(out, file),
        )


def state_of(source: Source) -> State:
    """Return the size of all files of a source, and when they last changed in ns; None of what is no file."""
    path = source.path
    try:
        files = source.files or ([path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()])
        found = [file.stat() for file in files]
    except OSError:
        return None, None
    if not found:
        return None, None
    return sum(each.st_size for each in found), max(each.st_mtime_ns for each in found)


class Journal:
    """The finished sources of an output folder, by a certain model with certain options.

    `redone` counts the sources asked for that were finished by another model, with other options, or have changed.
    """

    def __init__(
        self, path: Path, file: IO[bytes], places: Places, *, model: str | None, options: Mapping[str, Any]
    ) -> None:
        self.path, self.file, self.places = path, file, places
        self.model, self.options = model, json.loads(json.dumps(options))
        file.seek(0)
        text = file.read().decode(errors="surrogateescape")
        self.records = _records(text)
        self.between = "\n" if text and not text.endswith("\n") else ""  # a killed process may leave half a line
        self.states: dict[str, State] = {}
        self.forgotten = False
        self.redone = 0

    def finished(self, source: Source) -> bool:
        """Return whether the source, as it is now, is finished, by the same model with the same options.

        A model without a hash, as a function is, may be another one under the same name: nothing of it is finished.
        """
        # As it is before it is read: a source that changes while it is predicted must be done again.
        self.states[source.name] = self.places.state(source)
        record = self.records.get(source.name)
        if record is None or self.forgotten:
            return False
        same = self.model is not None and all(record.get(key) == value for key, value in self._key(source).items())
        if same and all(self.places.there(file) for file in record["files"]):
            return True
        self.redone += not same
        return False

    def forget(self) -> None:
        """Take nothing for finished: all is done again."""
        self.forgotten = True

    def note(self, source: Source, files: Sequence[str]) -> None:
        """Write that a source is finished, and which files below the output folder it came to.

        It is finished as it was when `finished` was asked. Raises `AtrousError` where the disk refuses.
        """
        record = {"name": source.name, **self._key(source), "files": list(files)}
        before = self.records.get(source.name)
        if before is not None and not _alike(before, record):
            for file in set(before["files"]) - set(files):  # else they would pass for results of this model
                self.places.remove(file)
        self.records[source.name] = record
        line = self.between + json.dumps(record, ensure_ascii=False) + "\n"
        try:
            _append(self.file, line.encode(errors="surrogateescape"))
            self.between = ""
        except OSError as error:
            raise AtrousError(
                f"{self.path}: could not be written ({error.strerror or error}); free some space, and the same command "
                "goes on"
            ) from error

    def _key(self, source: Source) -> dict[str, Any]:
        size, changed = self.states.get(source.name) or self.places.state(source)
        return {
            "source": self.places.called(source),
            "size": size,
            "changed": changed,
            "model": self.model,
            "options": self.options,
        }


@contextmanager
def kept(
    out: Path, *, model: str | None, options: Mapping[str, Any], places: Places | None = None
) -> Iterator[Journal]:
    """Yield the journal of an output folder, which no other process may write into meanwhile.

    `places` look at sources and results that are not on this machine's file systems.

    What a killed process left half-written under a temporary name is removed first.

    Raises `AtrousError` where another process predicts into the folder, or it cannot be written.
    """
    with ExitStack() as stack:
        try:
            out.mkdir(parents=True, exist_ok=True)
            # Without a buffer, so that nothing is left to be written when the disk is full and the file is closed.
            file = stack.enter_context((out / JOURNAL).open("ab+", buffering=0))
        except OSError as error:
            raise AtrousError(f"{out}: cannot be written ({error.strerror or error}); choose another --out") from error
        try:
            stack.enter_context(locked(file, wait=False))
        except OSError as error:
            raise AtrousError(
                f"{out}: another process is predicting into this folder; wait for it, or choose another --out"
            ) from error
        _remove_temporaries(out)
        yield Journal(out / JOURNAL, file, places or Places.of(out), model=model, options=options)


def _alike(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether two records differ in nothing but what was saved, so that the files of both belong together."""
    first, second = ({**record, "files": None, "options": dict(record["options"])} for record in (before, now))
    for record in (first, second):
        record["options"].pop("save", None)
    return first == second


def _append(file: IO[bytes], data: bytes) -> None:
    """Write all of the data to a file without a buffer, which may take a part at a time."""
    while data:
        data = data[file.write(data) :]


def _records(text: str) -> dict[str, dict[str, Any]]:
    """Return the last record of every name; a line that a killed process left half-written is passed over."""
    records = {}
    for line in text.split("\n"):  # names may hold other ends of lines
        try:
            record = json.loads(line)
            if all(isinstance(name, str) for name in record["files"]) and isinstance(record["options"], dict):
                records[str(record["name"])] = record
        except (ValueError, KeyError, TypeError):
            continue
    return records


def _remove(out: Path, file: str) -> None:
    """Remove a result; a name that leads out of the folder, which someone wrote into the journal, is left alone."""
    path = out / file
    if ".." in Path(file).parts or Path(file).is_absolute():
        return
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_temporaries(out: Path) -> None:
    inside = (path for kind in KINDS for path in sorted((out / kind).rglob(".*")))
    for path in [*out.glob(".*"), *inside]:
        if _TEMPORARY.fullmatch(path.name):
            _remove(out, path.relative_to(out).as_posix())
