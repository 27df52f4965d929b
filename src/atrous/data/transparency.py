"""What of a mask's file is transparent, and how it is written again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atrous.contract import AtrousError
from atrous.data import decoders
from atrous.data.images import packed

_CHANNEL = ("RGBA", "LA")


@dataclass(frozen=True, kw_only=True, eq=False)
class Transparency:
    """Either `alpha` (h, w) uint8, a channel of the file; or its `key`, as Pillow has it.

    A key is the one number or colour (r, g, b) that is transparent, or the alpha of each index of a palette, as bytes.
    """

    alpha: NDArray[np.uint8] | None = None
    key: int | tuple[int, int, int] | bytes | None = None

    def where(self, array: NDArray[Any]) -> NDArray[np.bool_]:
        """Return what is wholly transparent (h, w) of a mask (h, w) or (h, w, 3), as `read_mask` gives it."""
        if self.alpha is not None:
            return self.alpha == 0
        if isinstance(self.key, bytes):
            table = np.full(256, 255, np.uint8)
            table[: len(self.key)] = np.frombuffer(self.key[:256], np.uint8)
            return table[array] == 0
        key = np.array(self.key)
        if array.ndim == 3:
            return packed(array) == packed(key)
        return (array == key.flat[0]) & bool((key == key.flat[0]).all())

    def fits(self, suffix: str) -> bool:
        """Say whether the format of a suffix, which holds the mask itself, holds this too."""
        alpha = self.alpha is not None and suffix in (".tif", ".tiff")
        return suffix == ".png" or alpha or (isinstance(self.key, int) and suffix == ".gif")

    def put(self, image: Image.Image, *, open_pixels: NDArray[np.bool_]) -> dict[str, Any]:
        """Give an image its channel of alpha, and return the keywords that `Image.save` needs for a key.

        Transparent pixels that got a class are opaque; those that are still open stay transparent.
        """
        if self.alpha is None:
            return {"transparency": 1 if image.mode == "1" and self.key == 255 else self.key}
        alpha = np.where((self.alpha == 0) & ~open_pixels, np.uint8(255), self.alpha)
        image.putalpha(Image.fromarray(alpha))
        return {}


def transparency(path: Path, image: Image.Image, array: NDArray[Any], turn: int | None) -> Transparency | None:
    """Return what is transparent in an opened mask, None where it says nothing of it; `turn` is as in `read_mask`.

    Raises `AtrousError` for transparency that could not be written again.
    """
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return _channel(path, image, array, turn)
    key = image.info.get("transparency")
    if key is None:
        return None
    if isinstance(key, tuple):
        key = (key[0] & 255, key[1] & 255, key[2] & 255)  # PNG has 16 bits for each
    found = Transparency(key=(255 if key else 0) if image.mode == "1" else key)
    if array.dtype.itemsize > 1 and array.ndim == 2 and not isinstance(key, int):
        raise _unwritable(path, image)
    return found


def _channel(path: Path, image: Image.Image, array: NDArray[Any], turn: int | None) -> Transparency | None:
    decoders.loaded(image, path)
    alpha = np.array(image.getchannel(image.getbands().index("A") if "A" in image.getbands() else -1))
    alpha = decoders.turned(alpha, turn or decoders.orientation(image))
    if image.mode in _CHANNEL and array.dtype.itemsize == 1 and alpha.shape == array.shape[:2]:
        return Transparency(alpha=alpha)
    if (alpha == 255).all():
        return None
    raise _unwritable(path, image)


def _unwritable(path: Path, image: Image.Image) -> AtrousError:
    return AtrousError(
        f"{path}: transparent pixels came in a mask of the form {image.mode} with more than 8 bits, or of a palette "
        "with its own alpha, which is not written again. Save it as an 8-bit PNG, or without alpha."
    )
