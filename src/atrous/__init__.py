"""Semantic segmentation from FCN to DeepLab v3+: train, evaluate and predict; exact to the papers.

The functions here are the doors; each imports what it needs when it is called, so `import atrous` is instant.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("atrous")

_VERBS = (
    "bench",
    "bench_data",
    "compare",
    "convert",
    "crf_tune",
    "describe",
    "evaluate",
    "evaluate_masks",
    "export",
    "import_weights",
    "inspect",
    "list_runs",
    "load",
    "lr_find",
    "predict",
    "refine",
    "train",
    "tune",
)
_ROOMS = (
    "conformance",
    "contract",
    "crf",
    "data",
    "describing",
    "evaluation",
    "exporting",
    "foreign",
    "layers",
    "models",
    "prediction",
    "recipes",
    "training",
    "tuning",
)

__all__ = ["__version__", *_VERBS]  # noqa: PLE0604  (the names are made by __getattr__, on demand)


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        return getattr(import_module("atrous.verbs"), name)
    if name in _ROOMS:
        return import_module(f"atrous.{name}")
    raise AttributeError(f"module 'atrous' has no attribute {name!r}; it has {', '.join((*_VERBS, *_ROOMS))}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_VERBS, *_ROOMS])
