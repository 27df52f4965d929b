"""A dataset written anew in a format that other tools read: a file per format, each with `write`.

`write(dataset, out, *, progress=None, say=None)` fills the folder `out`, which is empty, returns the files that it
wrote, calls `progress(done, total)` after each image, and tells `say(line)` what the format could not hold. One whose
files are of no split says `HOLDS_SPLIT = False`.
"""

from atrous.data.conversion.converting import FORMATS, Converted, check_format, check_out, convert

__all__ = ["FORMATS", "Converted", "check_format", "check_out", "convert"]
