"""What is installed here and what works."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

_PARTS = {
    "train": ("torch", "timm", "accelerate", "tensorboard"),
    "plots": ("matplotlib",),
    "serve": ("fastapi", "uvicorn", "gradio"),
    "medical": ("nibabel", "pydicom", "highdicom"),
    "geo": ("rasterio", "zarr"),
    "formats": ("scipy", "h5py", "datasets"),
    "cluster": ("ray",),
    "openvino": ("openvino",),
}
_CORE = ("numpy", "pillow", "opencv-contrib-python-headless", "onnxruntime", "safetensors", "tifffile")


def findings() -> dict[str, str]:
    """Return what `atrous doctor` prints: a value or a remedy for each thing that can be here.

    >>> findings()["python"] == platform.python_version()
    True
    """
    from atrous._core import implementation
    from atrous._core.implementations import kernels

    rows = {"atrous": version("atrous"), "python": platform.python_version(), "system": platform.platform()}
    rows["processors"] = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    rows["kernels"] = (
        f"compiled, {kernels().variant()}"
        if implementation() == "compiled"
        else "NumPy twins (slower): no compiler was there when atrous was installed"
    )
    rows |= {name: _version(name) for name in _CORE}
    rows["cv2.ximgproc"] = _contributed()
    rows |= {f"extra {name}": _extra(name, packages) for name, packages in _PARTS.items()}
    rows |= _torch() if find_spec("torch") else {"torch": "missing; pip install 'atrous[train]' to train"}
    return rows


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"missing; pip install {name}"


def _contributed() -> str:
    """Another OpenCV wheel overwrites the contrib one without a word; its missing modules show it."""
    import cv2

    if hasattr(cv2, "ximgproc"):
        return "present"
    return "missing: another OpenCV wheel overwrote it; pip install --force-reinstall opencv-contrib-python-headless"


def _extra(name: str, packages: tuple[str, ...]) -> str:
    missing = [package for package in packages if find_spec(package) is None]
    return "present" if not missing else f"missing {', '.join(missing)}; pip install 'atrous[{name}]'"


def _torch() -> dict[str, str]:
    import torch

    from atrous.training import resolved_precision

    cards = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    device = "cuda" if cards else "cpu"
    return {
        "torch": torch.__version__,
        "torch threads": str(torch.get_num_threads()),
        "devices": ", ".join(["cpu", *(f"cuda:{index} ({card})" for index, card in enumerate(cards))]),
        "precision auto": f"{resolved_precision('auto', device)} on {device}",
    }
