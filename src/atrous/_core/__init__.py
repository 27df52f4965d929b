"""The hot loops: C++17 kernels behind NumPy functions, each with a NumPy twin of the same results."""

from atrous._core.counting import confusion
from atrous._core.enlarging import enlarge, enlarge_argmax
from atrous._core.implementations import implementation
from atrous._core.inference import mean_field, peaks, self_response
from atrous._core.lattice import Lattice, build_lattice, filtered
from atrous._core.separating import separation_weights

__all__ = [
    "Lattice",
    "build_lattice",
    "confusion",
    "enlarge",
    "enlarge_argmax",
    "filtered",
    "implementation",
    "mean_field",
    "peaks",
    "self_response",
    "separation_weights",
]
