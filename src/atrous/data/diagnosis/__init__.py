"""The diagnosis of a dataset: every pair is looked at once, and the looks are compared.

`looks` reads a pair and keeps little of it: census, thumbnail, digest, regions, how well borders and edges agree. A
file per family of findings draws conclusions: `pairing`, `pictures`, `smoothing`, `conventions`, `turning`, `copies`,
`labels` and `gaps`. `examination` puts them together; `atrous.data.inspection` makes the report of it.
"""

from atrous.data.diagnosis.examination import Examination, examine
from atrous.data.diagnosis.kinds import REMEDIES
from atrous.data.diagnosis.looks import Look

__all__ = ["REMEDIES", "Examination", "Look", "examine"]
