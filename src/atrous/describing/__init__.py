"""A network described: its stages with size, stride, receptive field and cost, and what its atrous rates do."""

from atrous.describing.description import Description, Stage, title_of
from atrous.describing.network import described

__all__ = ["Description", "Stage", "described", "title_of"]
