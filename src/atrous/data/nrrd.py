"""NRRD volumes, `.nrrd` and `.nhdr`, read by pynrrd.

An axis of the kind `list`, `vector`, `RGB-color` and the like, or one without a space direction, holds channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.contract import AtrousError
from atrous.data.decoders import DAMAGED
from atrous.data.grids import VolumeHeader, sound_affine, sound_length

_TO_RAS = {
    "right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1),
}  # fmt: skip
_SPATIAL = ("domain", "space", "none", "???")
_DAMAGED = (*DAMAGED, StopIteration, AttributeError, OverflowError, MemoryError)
_PER_AXIS = ("space directions", "spacings", "kinds")
_REVERSED = np.eye(4)[[2, 1, 0, 3]]  # from (slice, row, column) to the file's axes, fastest first


def header(path: Path) -> VolumeHeader:
    """Return the shape, spacing and affine of an NRRD file; raises `AtrousError` for one that is damaged."""
    stored = _stored(path)
    spatial, channel = _axes(path, stored)
    sizes = [int(size) for size in stored["sizes"]]
    shape = [sizes[axis] for axis in spatial] + [1] * (3 - len(spatial))
    lengths, affine = _placed(stored, spatial)
    channels = 1 if channel is None else sizes[channel]
    return VolumeHeader(
        (shape[2], shape[1], shape[0]),
        channels,
        (lengths[2], lengths[1], lengths[0]),
        None if affine is None else sound_affine(affine @ _REVERSED),
    )


def voxels(path: Path) -> NDArray[Any]:
    """Return (slices, rows, columns[, c]) as stored; raises `AtrousError` for a damaged file."""
    nrrd = _library(path)
    spatial, channel = _axes(path, _stored(path))
    try:
        array, _ = nrrd.read(str(path))
    except (*_DAMAGED, nrrd.NRRDError) as error:
        raise _damaged(path, str(error)) from error
    array = array.transpose(*reversed(spatial), *(() if channel is None else (channel,)))
    return array if len(spatial) == 3 else array[None]


def _library(path: Path) -> Any:
    try:
        import nrrd  # type: ignore[import-untyped]
    except ImportError as error:
        raise AtrousError(f'{path}: NRRD needs pynrrd: pip install "atrous[medical]"') from error
    return nrrd


def _stored(path: Path) -> dict[str, Any]:
    nrrd = _library(path)
    try:
        stored: dict[str, Any] = nrrd.read_header(str(path))
    except (*_DAMAGED, nrrd.NRRDError) as error:
        raise _damaged(path, str(error)) from error
    missing = [field for field in ("sizes", "type", "encoding", "dimension") if field not in stored]
    if missing:
        raise _damaged(path, f"the field {missing[0]!r} is missing")
    count = len(stored["sizes"])
    uneven = [field for field in _PER_AXIS if field in stored and len(stored[field]) != count]
    if uneven:
        raise _damaged(path, f"{uneven[0]!r} has {len(stored[uneven[0]])} entries and 'sizes' {count}")
    if stored["type"] == "block":
        raise _damaged(path, "voxels of the type 'block' came, which has no numbers")
    return stored


def _axes(path: Path, stored: dict[str, Any]) -> tuple[list[int], int | None]:
    """Return the axes of space, two or three, fastest first, and that of channels or None."""
    count = len(stored["sizes"])
    spatial = [axis for axis in range(count) if _is_spatial(stored, axis)]
    others = [axis for axis in range(count) if axis not in spatial]
    if len(spatial) == 4 and not others:
        spatial, others = spatial[:3], spatial[3:]
    if len(spatial) not in (2, 3) or len(others) > 1:
        raise AtrousError(
            f"{path}: {len(spatial)} axes of space and {len(others)} others came; two or three and at most one are "
            "read. Save a volume.",
            kind="unreadable-file",
        )
    return spatial, others[0] if others else None


def _is_spatial(stored: dict[str, Any], axis: int) -> bool:
    directions = stored.get("space directions")
    if directions is not None and (directions[axis] is None or not np.isfinite(directions[axis]).all()):
        return False
    kinds = stored.get("kinds")
    return kinds is None or len(kinds) <= axis or str(kinds[axis]).lower() in _SPATIAL


def _placed(stored: dict[str, Any], spatial: list[int]) -> tuple[list[float], NDArray[np.float64] | None]:
    """Return the spacing of the axes, and the affine from the file's axes to RAS, None where it is not told."""
    directions = stored.get("space directions")
    if directions is None:
        stored_lengths = stored.get("spacings", [1.0] * len(stored["sizes"]))
        return [sound_length(float(stored_lengths[axis])) for axis in spatial] + [1.0] * (3 - len(spatial)), None
    vectors = [np.asarray(directions[axis], np.float64) for axis in spatial]
    lengths = [sound_length(float(np.linalg.norm(vector))) for vector in vectors] + [1.0] * (3 - len(spatial))
    signs = _TO_RAS.get(str(stored.get("space", "")).lower())
    origin = np.asarray(stored.get("space origin", (0, 0, 0)), np.float64)
    if signs is None or len(vectors) != 3 or any(vector.shape != (3,) for vector in (*vectors, origin)):
        return lengths, None
    affine = np.eye(4)
    affine[:3, :3] = np.stack(vectors, axis=1)
    affine[:3, 3] = origin
    return lengths, np.diag((*signs, 1)) @ affine


def _damaged(path: Path, reason: str) -> AtrousError:
    return AtrousError(
        f"{path}: this NRRD file is damaged ({reason}). Copy it again from its source, or remove it.",
        kind="unreadable-file",
    )
