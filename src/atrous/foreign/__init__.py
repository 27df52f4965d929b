"""Weights of others: files read without running anything in them, recognised, and put into our networks.

`read_weights` gives the names and tensors of a file, `imported` a network of ours that they fill.
"""

from atrous.foreign.files import Weights, kind_of, read_weights
from atrous.foreign.importing import Imported, imported, space_of

__all__ = ["Imported", "Weights", "imported", "kind_of", "read_weights", "space_of"]
