"""Pickles of strangers, read without running anything that they name.

A pickle is a program: it names functions and has them called. Here a name is looked up in a short table of our own
and never imported, and what the table holds only builds tensors, arrays, numbers and containers. Any other name ends
the reading, and the error says which it was.
"""

from __future__ import annotations

import builtins
import math
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from atrous.contract import AtrousError

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
_OF_MODULES = ("torch.nn.", "torchvision.", "timm.", "segmentation_models_pytorch.")
_SYSTEM = {"posix": "os", "nt": "os", "__builtin__": "builtins", "commands": "subprocess"}
"""Modules that pickles name where programs say the other."""

REMEDY = "Where it was made, torch.save(model.state_dict(), 'weights.pth') writes what can be imported"
_WHOLE = f"a whole pickled module, whose code would run; refused. {REMEDY}"


@dataclass(slots=True)
class Storage:
    """A run of numbers that tensors are cut from; `values` come with the rest of the file."""

    dtype: torch.dtype
    count: int
    values: Tensor | None = None


@dataclass(slots=True)
class View:
    """A tensor to be: which numbers of a storage, in which shape."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self) -> Tensor:
        """Return the tensor, in memory of its own; raises `ValueError` where it would leave its storage."""
        if self.storage.values is None:
            raise ValueError("a tensor's numbers are not in the file")
        reach = sum((side - 1) * step for side, step in zip(self.size, self.stride, strict=True))
        count = math.prod(self.size)
        if min((*self.size, *self.stride, self.offset), default=0) < 0 or (
            count and (count > self.storage.count or self.offset + reach >= self.storage.count)
        ):
            raise ValueError(f"a tensor of shape {self.size} lies outside its {self.storage.count} numbers")
        return torch.as_strided(self.storage.values, self.size, self.stride, self.offset).contiguous()


class Array:
    """An array of NumPy to be, as pickles build one: empty first, then given its state."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, column_major, data = state
        self.values = _numbers(dtype, data).reshape(shape, order="F" if column_major else "C")


class _Dtype:
    """A type of NumPy's numbers; strings, objects and records are refused."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, *_: object) -> None:
        self.code, self.order = str(code), "<"
        if np.dtype(self.code).kind not in "biufc":
            raise ValueError(f"an array of NumPy's type {self.code!r}, which are no numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


class _Callable:
    """A function that a pickle may call and can do nothing else with."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise ValueError(f"a pickle wants to change a function's {name}")


def _numbers(dtype: _Dtype, data: Any) -> np.ndarray[Any, Any]:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
        raise ValueError("an array that is not made of numbers")
    native = np.dtype(dtype.code)
    return np.frombuffer(data, np.dtype(dtype.order + native.str[1:])).astype(native)


def _view(storage: Storage, offset: int, size: Iterable[int], stride: Iterable[int], *_: Any) -> View:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without numbers")
    return View(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _table() -> dict[str, Any]:
    """Return what pickles may name: fresh for every file, so that none leaves anything behind."""
    namespace = type("Namespace", (), {})
    table: dict[str, Any] = {
        "collections.OrderedDict": OrderedDict,
        "collections.defaultdict": _Callable(lambda *_: {}),
        "collections.Counter": _Callable(lambda items=(): dict(items)),
        "argparse.Namespace": namespace,
        "_codecs.encode": _Callable(_encoded),
        "torch.Size": _Callable(tuple),
        "torch.device": _Callable(lambda *parts: ":".join(map(str, parts))),
        "torch._utils._rebuild_tensor": _Callable(_view),
        "torch._utils._rebuild_tensor_v2": _Callable(_view),
        "torch._utils._rebuild_parameter": _Callable(lambda data, *_: data),
        "torch._utils._rebuild_parameter_with_state": _Callable(lambda data, *_: data),
        "numpy.dtype": _Callable(_Dtype),
        "numpy.ndarray": "ndarray",
    }
    for name in ("set", "frozenset", "list", "dict", "tuple", "int", "float", "bool", "str", "complex"):
        table[f"builtins.{name}"] = table[f"__builtin__.{name}"] = getattr(builtins, name)
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table[f"{core}._reconstruct"] = _Callable(lambda *_: Array())
        table[f"{core}.scalar"] = _Callable(lambda dtype, data: _numbers(dtype, data)[0].item())
    for dtype in (*_STORAGES.values(), torch.complex64):
        table[str(dtype)] = str(dtype)
    for name, dtype in _STORAGES.items():
        table[f"torch.{name}"] = table[f"torch.storage.{name}"] = dtype
    return table


class Unpickler(pickle.Unpickler):
    """Reads one pickle; `storage(key, dtype, count)` gives a tensor's numbers, or is None where there are none."""

    def __init__(
        self, file: IO[bytes], path: Path, storage: Callable[[str, torch.dtype, int], Storage] | None = None
    ) -> None:
        super().__init__(file, encoding="latin1")
        self._path, self._storage, self._known = path, storage, _table()

    def find_class(self, module: str, name: str) -> Any:
        """Return what our table has under this name; raises `AtrousError` for any other."""
        full = f"{module}.{name}"
        if full in self._known:
            return self._known[full]
        if module.startswith(_OF_MODULES):
            raise AtrousError(f"{self._path}: {_WHOLE} (it names {full})")
        asked = f"{_SYSTEM.get(module, module)}.{name}"
        hint = f". Was a whole module pickled? {REMEDY}" if name[:1].isupper() else ""
        raise AtrousError(f"{self._path}: the pickle wants to call {asked}; refused{hint}")

    def persistent_load(self, place: Any) -> Any:
        """Return the storage that a tensor names, or for an old whole module raise `AtrousError`."""
        if not isinstance(place, tuple) or len(place) < 5 or place[0] != "storage" or self._storage is None:
            raise AtrousError(f"{self._path}: {_WHOLE}")
        _, dtype, key, _, count = place[:5]
        if not isinstance(dtype, torch.dtype):
            raise ValueError("a storage of no known type")
        return self._storage(str(key), dtype, int(count))


def unpickled(file: IO[bytes], path: Path, storage: Callable[[str, torch.dtype, int], Storage] | None = None) -> Any:
    """Return what one pickle holds, tensors as `View` and arrays as `Array`.

    Raises `AtrousError` that names `path` for a damaged pickle and for one that names anything but plain content.

    >>> import io
    >>> unpickled(io.BytesIO(pickle.dumps({"epoch": 3})), Path("a.pth"))
    {'epoch': 3}
    """
    try:
        _check_places(file)
        return Unpickler(file, path, storage).load()
    except AtrousError:
        raise
    except Exception as error:  # a damaged or hostile pickle can make any of them
        raise AtrousError(f"{path}: a damaged pickle ({error})") from error


def _check_places(file: IO[bytes]) -> None:
    """Raise `ValueError` for a pickle that numbers what it remembers higher than it has steps.

    Python keeps a list as long as the highest number, so that a few bytes would take all memory.
    """
    start = file.tell()
    for steps, (operation, place, _) in enumerate(pickletools.genops(file), 1):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(place or 0) > steps:
            raise ValueError(f"step {steps} is to be remembered as number {place}")
    file.seek(start)


def resolved(value: Any) -> Any:
    """Return a `View` or an `Array` as a tensor, numbers of NumPy too, and everything else as it is.

    Raises `ValueError` for a tensor that leaves its storage.

    >>> resolved(3)
    3
    """
    if isinstance(value, View):
        return value.tensor()
    if isinstance(value, Array):
        return None if value.values is None else torch.from_numpy(np.require(value.values, None, ["C", "W"]))
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(np.require(value, None, ["C", "W"]))
    return value


def as_mapping(value: Any) -> Mapping[Any, Any] | None:
    """Return a dictionary, or a Namespace's, else None.

    >>> as_mapping([1]) is None
    True
    """
    if isinstance(value, Mapping):
        return value
    return vars(value) if type(value).__name__ == "Namespace" else None
