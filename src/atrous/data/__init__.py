"""Images and masks in and out: any folder understood, every problem with a mask named by file and remedy."""

from atrous._core import separation_weights
from atrous.data.dataset import Dataset, Pair, decode, open_dataset, read_sample
from atrous.data.diagnosis import Examination, examine
from atrous.data.facts import fingerprint
from atrous.data.images import read_image, read_mask
from atrous.data.inspection import Finding, Inspection, inspect_dataset
from atrous.data.objects import object_crops
from atrous.data.writers import atomic, write_image, write_mask

__all__ = [
    "Dataset",
    "Examination",
    "Finding",
    "Inspection",
    "Pair",
    "atomic",
    "decode",
    "examine",
    "fingerprint",
    "inspect_dataset",
    "object_crops",
    "open_dataset",
    "read_image",
    "read_mask",
    "read_sample",
    "separation_weights",
    "write_image",
    "write_mask",
]
