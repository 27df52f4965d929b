"""A trained network as one file that other programs run: ONNX, OpenVINO or torch.export, proven equal to torch.

Every export runs the file that it wrote, compares its three outputs with torch's at four sizes, and leaves no file
where they differ by more than is allowed. The file carries the network's settings and what was found.
"""

from atrous.exporting.comparing import (
    TOLERANCES,
    Differences,
    Tolerance,
    check_agreement,
    reference_images,
    reference_sizes,
)
from atrous.exporting.exported import PRECISIONS, Exported, Precision, weights_sha256
from atrous.exporting.graph import INPUT, OUTPUTS, Graph
from atrous.exporting.onnx_file import export_onnx
from atrous.exporting.openvino_file import export_openvino
from atrous.exporting.program_file import export_program

__all__ = [
    "INPUT",
    "OUTPUTS",
    "PRECISIONS",
    "TOLERANCES",
    "Differences",
    "Exported",
    "Graph",
    "Precision",
    "Tolerance",
    "check_agreement",
    "export_onnx",
    "export_openvino",
    "export_program",
    "reference_images",
    "reference_sizes",
    "weights_sha256",
]
