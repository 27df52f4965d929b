"""The hot loops: C++17 kernels behind NumPy functions, each with a NumPy twin of the same results."""

from atrous._core.counting import confusion
from atrous._core.enlarging import enlarge_argmax
from atrous._core.implementations import implementation

__all__ = ["confusion", "enlarge_argmax", "implementation"]
