"""A network small enough to be traced in a test, and what its model folder says of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from atrous.contract import Geometry, LabelSpace, Preprocessing
from atrous.exporting import Exported, export_onnx, onnx_file
from atrous.exporting.graph import Graph, on_host, traced
from atrous.models import Segmenter

CONFIG = {
    "format": 1,
    "architecture": "unet",
    "options": {},
    "classes": ["cell", "Rand é 세포"],
    "colours": [[0, 0, 0], [255, 0, 0]],
    "values": [0, 1],
    "ignore": 255,
    "encoding": "indices",
    "preprocessing": {"order": "BGR", "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.2], "padding": "mirror"},
    "geometry": {"multiple": 4, "offset": 1, "minimum": 9, "margin": 2, "stride": 4, "align_corners": True},
}


class Small(nn.Module):
    """Two convolutions on sides of 4k + 1 with a margin of 2."""

    def __init__(self) -> None:
        super().__init__()
        self.geometry = Geometry(multiple=4, offset=1, minimum=9, margin=2, stride=4, align_corners=True)
        self.first, self.second = nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(functional.relu(self.first(images[:, :, 2:-2, 2:-2])))


@pytest.fixture(scope="session")
def segmenter() -> Segmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Small()
    space = LabelSpace(names=tuple(CONFIG["classes"]))  # type: ignore[arg-type]
    given: Any = CONFIG["preprocessing"]
    return Segmenter(net, space, Preprocessing(**given)).eval()


@pytest.fixture(scope="session")
def config() -> dict[str, Any]:
    return CONFIG


@pytest.fixture(scope="session")
def program(segmenter: Segmenter) -> Any:
    """Return the network traced once, which takes longer than most tests, for every file that is made of it."""
    return traced(Graph(on_host(segmenter)))


@pytest.fixture(scope="session")
def exported(
    segmenter: Segmenter, config: dict[str, Any], program: Any, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_file, "traced", lambda graph: program)
        return export_onnx(segmenter, config, tmp_path_factory.mktemp("with space 세포") / "net é.onnx")
