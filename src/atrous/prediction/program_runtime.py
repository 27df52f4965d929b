"""Exported .pt2 programs on torch: the network as one graph, without the code that built it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.prediction.exported import ENTRY, OUTPUTS, ExportedScorer, check_present, settings_in

_TABLES = (
    "data/weights/model_weights_config.json",
    "data/constants/model_constants_config.json",
    ".data/version",
    ".data/serialization_id",
)
_WORDS = (
    "Symbol Integer Rational Float positive nonnegative integer True False Mul Add Pow Max Min Abs Mod PythonMod "
    "FloorDiv CleanDiv CeilDiv CeilToInt FloorToInt TruncToInt RoundToInt IntTrueDiv FloatTrueDiv ToFloat "
    "Eq Ne Equality Unequality LessThan StrictLessThan GreaterThan StrictGreaterThan And Or Not"
)
_SIZE = re.compile(rf"(?:\b(?:{'|'.join(_WORDS.split())})\b|'[a-z]+\d+'|[-(),= \d])+")
"""An expression of sizes as torch writes it: sums, products, quotients and extremes of named sizes, nothing else."""
_OPERATION = re.compile(r"torch\.ops\.aten\.(?!from_file)\w+\.\w+|torch\.sym_\w+|_operator\.\w+|math\.\w+")


def open_program(path: str | Path, *, device: str | None = None) -> ExportedScorer:
    """Open a .pt2 file that was exported from here, as a scorer of NumPy arrays; it runs on torch.

    All three outputs are computed, whichever is needed. `device` None takes a GPU where there is one.

    Raises `AtrousError` where the file is missing, damaged or not exported from here.
    """
    path = Path(path)
    config, values = settings_in(program_metadata(path), path)
    import torch

    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return ExportedScorer(
        path=path,
        config=config,
        export=values.get("export", {}),
        compute=partial(_computed, _module(path, place), place),
        reopen=partial(open_program, path, device=device),
    )


def program_metadata(path: Path) -> str | None:
    """Return the text that a file carries for us, None where there is none; torch is not needed for it.

    Raises `AtrousError` where the file is missing or no archive.
    """
    check_present(path)
    try:
        with ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.split("/")[-2:] == ["extra", ENTRY]]
            return archive.read(names[0]).decode("utf-8") if names else None
    except (BadZipFile, OSError, UnicodeDecodeError) as error:
        raise AtrousError(f"{path}: not a readable .pt2 file ({error}); export it again") from error


def _module(path: Path, device: str) -> Any:
    import torch
    from torch.export.passes import move_to_device_pass

    try:
        _refuse_code(path)
        program = torch.export.load(path)
        return (program if device == "cpu" else move_to_device_pass(program, device)).module()
    except AtrousError:
        raise
    except Exception as error:  # what it raises for damaged files and other versions has no class in common
        words = " ".join(str(error).split())[:200]
        raise AtrousError(f"{path}: not a readable .pt2 file ({words}); export it again") from error


def _refuse_code(path: Path) -> None:
    """Raise `AtrousError` where opening a program would run what it holds: ours hold none of it.

    That are pickled objects, compiled code, and what torch evaluates as Python: expressions of sizes, and guards.
    """
    import torch

    with ZipFile(path) as archive:
        members = {name.partition("/")[2]: name for name in archive.namelist()}
        tables = [json.loads(archive.read(members[name])) for name in members if name.endswith("_config.json")]
        graphs = [json.loads(archive.read(members[name])) for name in members if name.startswith("models/")]
        samples = [archive.read(members[name]) for name in members if name.startswith("data/sample_inputs/")]
    payloads = [each for table in tables for each in table.get("config", {}).values()]
    objects = [each["path_name"] for each in payloads if each["use_pickle"] or "obj" in each["path_name"]]
    objects += [each for graph in graphs for each in _strange(graph)]
    known = ("data/weights/weight_", "data/constants/tensor_", "data/sample_inputs/", "models/", "extra/")
    strange = [name for name in members if "/" in name and not name.startswith(known) and name not in _TABLES]
    try:
        for each in samples:
            torch.load(BytesIO(each), weights_only=True)
    except Exception:  # its own and pickle's
        objects.append("sample_inputs")
    if objects or strange:
        raise AtrousError(
            f"{path}: holds what opening it would run ({', '.join([*objects, *strange][:3])}); a program exported from "
            "here holds none: do not open it"
        )


def _strange(values: Any) -> Iterator[str]:
    """Yield what a stored graph calls or evaluates that is neither an operation on tensors nor a size."""
    if isinstance(values, list):
        for each in values:
            yield from _strange(each)
    elif isinstance(values, dict):
        for key, each in values.items():
            allowed = {"expr_str": _SIZE, "target": _OPERATION}.get(key)
            if isinstance(each, str) and allowed is not None and not allowed.fullmatch(each):
                yield f"{key} {each[:60]!r}"
            if key == "guards_code" and each:
                yield key
            yield from _strange(each)


def _computed(module: Any, device: str, name: str, images: NDArray[np.float32]) -> NDArray[Any]:
    import torch

    with torch.no_grad():
        found = module(torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device))
    return found[OUTPUTS.index(name)].cpu().numpy()
