"""Images and masks in tables: Arrow files, mapped into memory, and Parquet files, read a group of rows at a time.

Both are read through pyarrow, so that nothing is run, fetched or copied into a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.images import as_image, one_channel, picture, picture_mask, whole_numbers
from atrous.data.lists import is_file

PARQUET = ".parquet"


@dataclass(frozen=True)
class Row:
    """The image or the mask in a column of row `index` of a file: a picture's bytes, or lists of numbers.

    `masks` says that labels are to be read, and not colours.
    """

    path: Path
    index: int
    column: str
    masks: bool = False

    def read(self) -> NDArray[Any]:
        """Return (h, w, c) as `read_image` does, or a mask as `read_mask` does.

        Raises `AtrousError` for a file that cannot be read or has changed, an empty cell, and bytes that are no image.
        """
        name = Path(f"{self.path}, row {self.index}, {self.column}")
        stored = self._stored(name)
        if self.masks:
            mask = stored if isinstance(stored, np.ndarray) else picture_mask(name, stored)
            return whole_numbers(one_channel(mask, name), name)
        return as_image(stored if isinstance(stored, np.ndarray) else picture(name, stored))

    def _stored(self, name: Path) -> bytes | NDArray[Any]:
        cell = cells(self.path, self.column, self.index)
        if isinstance(cell, dict):
            cell = _bytes(cell, self.path.parent, name)
        if isinstance(cell, bytes) and cell:
            return cell
        if not isinstance(cell, list) or not cell:
            came = "nothing" if not cell else f"a value of {type(cell).__name__}"
            raise AtrousError(f"{name}: {came} came, and an image is wanted. Remove the row.")
        return _array(cell, name)


def _bytes(cell: dict[str, Any], folder: Path, name: Path) -> Any:
    """Return the bytes of an Image cell, or those of the file beside the table that it names."""
    if cell.get("bytes") or not isinstance(cell.get("path"), str):
        return cell.get("bytes")
    path = folder / cell["path"]
    if not is_file(str(path)) or not path.resolve().is_relative_to(folder.resolve()):
        raise AtrousError(
            f"{name}: the row names the file {cell['path'][:80]} and does not hold it, and it is not below {folder}. "
            "Save the dataset with its images embedded."
        )
    return path.read_bytes()


def _array(cell: list[Any], name: Path) -> NDArray[Any]:
    try:
        array = np.asarray(cell)
    except ValueError as error:
        raise AtrousError(f"{name}: lists of different lengths came, and they make no image.") from error
    if array.ndim not in (2, 3) or array.dtype.kind not in "buif" or array.size == 0:
        raise AtrousError(f"{name}: an array of shape {array.shape} and {array.dtype} came; (h, w) numbers are read.")
    return array


def cells(path: Path, column: str, index: int) -> Any:
    """Return the value in a row of a column; raises `AtrousError` for a file that is damaged or has become shorter."""
    try:
        if path.suffix.lower() != PARQUET:
            row = _mapped(path, path.stat().st_mtime_ns).column(column).slice(index, 1)
            row.validate(full=True)  # a mapped file is believed: places beyond its end would be read
            return row[0].as_py()
        with _parquet(path) as file:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if index < rows:
                    return file.read_row_group(group, columns=[column], use_threads=False).column(column)[index].as_py()
                index -= rows
    except AtrousError:
        raise
    except Exception as error:  # pyarrow raises whatever its parser met
        raise unreadable(path, error) from error
    raise unreadable(path, IndexError(f"it has no row {index}"))


def unreadable(path: Path, error: Exception) -> AtrousError:
    """Return the error to raise for a table that cannot be read."""
    return AtrousError(f"{path}: the table is truncated or damaged ({error}). Copy it again from its source.")


def schema_and_rows(path: Path) -> tuple[Any, int]:
    """Return the schema of a file and how many rows it has, without reading them; raises `AtrousError` if damaged."""
    try:
        if path.suffix.lower() != PARQUET:
            table = _mapped(path, path.stat().st_mtime_ns)
            return table.schema, table.num_rows
        with _parquet(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    except AtrousError:
        raise
    except Exception as error:  # pyarrow raises whatever its parser met
        raise unreadable(path, error) from error


def filled(path: Path, column: str) -> Sequence[bool]:
    """Return for every row whether the column has a value; of an image in Parquet only its name is read."""
    try:
        if path.suffix.lower() != PARQUET:
            values: Any = _mapped(path, path.stat().st_mtime_ns).column(column)
        else:
            with _parquet(path) as file:
                nested = [field.name for field in _fields(file.schema_arrow.field(column).type)]
                name = f"{column}.path" if "path" in nested else column
                values = file.read(columns=[name], use_threads=False).column(column)
        return [bool(value) for value in values.is_valid().to_pylist()]
    except AtrousError:
        raise
    except Exception as error:  # pyarrow raises whatever its parser met
        raise unreadable(path, error) from error


def _fields(kind: Any) -> list[Any]:
    return [kind.field(index) for index in range(kind.num_fields)]


@lru_cache(maxsize=64)
def _mapped(path: Path, changed: int) -> Any:
    """Return an Arrow file as a table whose values stay on the disk until they are asked for."""
    pyarrow, ipc = needed("pyarrow", path), needed("pyarrow.ipc", path)
    try:
        return ipc.open_stream(pyarrow.memory_map(str(path))).read_all()
    except pyarrow.ArrowInvalid:
        return ipc.open_file(pyarrow.memory_map(str(path))).read_all()


def _parquet(path: Path) -> Any:
    return needed("pyarrow.parquet", path).ParquetFile(str(path))


def needed(module: str, path: Path) -> Any:
    """Return pyarrow or a part of it; raises `AtrousError` where it is missing."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise AtrousError(f'{path}: tables need datasets: pip install "atrous[formats]"') from error
