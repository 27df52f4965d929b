"""An exported network as a scorer, whatever runs it: NumPy in and out, the settings read from the file itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous._core import enlarge, enlarge_argmax
from atrous.contract import (
    AtrousError,
    Config,
    Geometry,
    LabelSpace,
    Preprocessing,
    check_channels,
    config_of,
    explained,
    stored,
    validated,
)

ENTRY = "atrous"
"""The metadata entry of an exported file: the `config.json` of its model folder, and how it was exported."""
INPUT, OUTPUTS = "images", ("logits", "probabilities", "labels")

Compute = Callable[[str, NDArray[np.float32]], NDArray[Any]]
"""What runs a network: the name of an output and images (n, c, h, w) of stored values -> that output."""


@dataclass(frozen=True, kw_only=True)
class ExportedScorer:
    """An exported network: (n, c, h, w) stored values, NumPy -> (n, classes, h, w) probabilities, float32.

    Images are uint8 or float32; grey ones are repeated where the network takes three channels. `export` is what the
    file says of how it was made: precision, versions, differences. It is pickled as the path of its file, which is
    opened again where it is unpickled.

    Raises `ValueError` where the image's channels are not the network's.
    """

    path: Path
    config: Config
    compute: Compute = field(repr=False)
    reopen: Callable[[], ExportedScorer] = field(repr=False)
    export: dict[str, Any] = field(default_factory=dict, repr=False)
    threads: int | None = None

    def __reduce__(self) -> tuple[Callable[[], ExportedScorer], tuple[()]]:
        return self.reopen, ()

    @property
    def space(self) -> LabelSpace:
        """The classes."""
        return self.config.space

    @property
    def preprocessing(self) -> Preprocessing:
        """Which stored values the network was trained on; the file itself makes its input of them."""
        return self.config.preprocessing

    @property
    def geometry(self) -> Geometry:
        """Which sizes the network takes; the file itself pads an image to one."""
        return validated(Geometry, self.config.geometry)

    def __call__(self, images: NDArray[Any], /) -> NDArray[np.float32]:
        """Return the probabilities (n, classes, h, w) float32 of `images`."""
        return self.compute("probabilities", self.compute_input(images))

    def labels(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the most probable class (n, h, w) uint8, the lowest on a tie, without full-size maps."""
        crop = (images.shape[2], images.shape[3])
        size, align = self._covered(crop), self.geometry.align_corners
        each = [
            enlarge_argmax(logits, size, align_corners=align, crop=crop, threads=self.threads)
            for logits in self.compute("logits", self.compute_input(images))
        ]
        return np.stack(each)

    def logits(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return the logits (n, classes, h, w) float32, enlarged to the images' size."""
        crop = (images.shape[2], images.shape[3])
        size, align = self._covered(crop), self.geometry.align_corners
        return enlarge(self.compute("logits", self.compute_input(images)), size, align_corners=align, crop=crop)

    def from_numpy(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return (n, c, h, w) images of any depth as the network takes them: uint8, or float32 of the same values.

        Raises `ValueError` for integers of another depth than the network was trained on, and for shares of 0 to 1.
        """
        return stored(images, self.preprocessing)

    def compute_input(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return images as the file itself takes them: float32 of the same values, with the network's channels."""
        if check_channels(images.shape[1], self.preprocessing):
            images = np.repeat(images, 3, axis=1)
        return np.ascontiguousarray(images, np.float32)

    def _covered(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size in pixels that the logits of an image of `size` cover: that of the padded image."""
        geometry = self.geometry
        height, width = (sum(geometry.padding(side)) + side - 2 * geometry.margin for side in size)
        return height, width


def settings_in(text: str | None, path: Path) -> tuple[Config, dict[str, Any]]:
    """Return the settings that the metadata of an exported file hold, and all that they hold, as JSON values.

    Raises `AtrousError` where there are none, or they are damaged.
    """
    if text is None:
        raise AtrousError(
            f"{path}: has no metadata {ENTRY!r}, so it was not exported from here and does not say which network it "
            "is; export it with: atrous export RUN --to onnx --out FILE"
        )
    try:
        values = json.loads(text)
        config = config_of(values, path)
        validated(Geometry, config.geometry)
        export = values.get("export", {})
    except (ValueError, TypeError, AttributeError, AtrousError) as error:
        words = explained(error).removeprefix(f"{path}: ")
        raise AtrousError(f"{path}: its metadata {ENTRY!r} is damaged ({words})") from error
    if not isinstance(export, dict):
        raise AtrousError(f"{path}: its metadata {ENTRY!r} is damaged (export is {export!r}, a table is wanted)")
    return config, values


def check_ends(path: Path, inputs: list[str], outputs: list[str]) -> None:
    """Raise `AtrousError` where a file has another input than `images`, or lacks one of the three outputs."""
    if inputs != [INPUT]:
        came = ", ".join(map(repr, inputs)) or "none"
        raise AtrousError(f"{path}: the input {INPUT!r} alone is wanted, and its inputs are {came}; export it again")
    missing = [name for name in OUTPUTS if name not in outputs]
    if missing:
        came = ", ".join(map(repr, outputs)) or "none"
        raise AtrousError(
            f"{path}: the output {' and '.join(map(repr, missing))} is missing; it has {came}: export it again"
        )


def check_present(path: Path) -> None:
    """Raise `AtrousError` where there is no such file."""
    if not path.is_file():
        raise AtrousError(f"{path}: there is no such file")


def open_exported(path: str | Path, *, threads: int | None = None, device: str | None = None) -> ExportedScorer:
    """Open an exported network, by its suffix: .onnx (ONNX Runtime), .xml (OpenVINO) or .pt2 (torch).

    Raises `AtrousError` for what is no such file, or was not exported from here, and for a device that is not here.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".xml":
        from atrous.prediction.openvino_runtime import open_openvino

        return open_openvino(path, threads=threads, device=device)
    if suffix == ".pt2":
        from atrous.prediction.program_runtime import open_program

        return open_program(path, device=device)
    from atrous.prediction.runtime import open_onnx

    return open_onnx(path, threads=threads, device=device)


def read_exported(path: str | Path) -> tuple[Config, dict[str, Any]]:
    """Return the settings that an exported file carries, and all it carries, without making its network ready to run.

    Raises `AtrousError` for what is no such file, or was not exported from here.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".xml":
        from atrous.prediction.openvino_runtime import openvino_metadata as metadata
    elif suffix == ".pt2":
        from atrous.prediction.program_runtime import program_metadata as metadata
    else:
        from atrous.prediction.runtime import onnx_metadata as metadata
    return settings_in(metadata(Path(path)), Path(path))
