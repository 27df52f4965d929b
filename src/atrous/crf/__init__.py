"""The fully connected CRF and its kin: they make a network's probabilities follow the edges of the image.

A *refiner* is anything that takes an image (h, w, c) or (h, w) and probabilities (labels, h, w), and returns
probabilities of the same shape; `DenseCRF` is one. Importing this imports NumPy and no more; what needs other libraries
is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from atrous.crf.dense_crf import DenseCRF
from atrous.crf.exact import exact_mean_field
from atrous.crf.lattice import Lattice
from atrous.crf.presets import crf_as_rnn, deeplab_v1, deeplab_v2, mild, pydensecrf_example

if TYPE_CHECKING:
    from atrous.crf.guided import GuidedFilter
    from atrous.crf.labels import soft_labels
    from atrous.crf.scribbles import Scribbles
    from atrous.crf.superpixels import Superpixels

# name -> the module of this package that has it
_ON_DEMAND: dict[str, str] = {
    "GuidedFilter": "guided",
    "Scribbles": "scribbles",
    "Superpixels": "superpixels",
    "soft_labels": "labels",
}

__all__ = [
    "DenseCRF",
    "GuidedFilter",
    "Lattice",
    "Scribbles",
    "Superpixels",
    "crf_as_rnn",
    "deeplab_v1",
    "deeplab_v2",
    "exact_mean_field",
    "mild",
    "pydensecrf_example",
    "soft_labels",
]


def __getattr__(name: str) -> Any:
    if name in _ON_DEMAND:
        # Kept, since a module of the same name would otherwise stand here from now on.
        globals()[name] = value = getattr(import_module(f"atrous.crf.{_ON_DEMAND[name]}"), name)
        return value
    raise AttributeError(f"module 'atrous.crf' has no attribute {name!r}; it has {', '.join(__dir__())}")


def __dir__() -> list[str]:
    return sorted(__all__)
