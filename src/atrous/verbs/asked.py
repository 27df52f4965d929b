"""What a caller of evaluation asked for: which measures, intervals and pages, checked before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.contract import LabelSpace
    from atrous.data import Pair
    from atrous.runs.measuring import Wished

ALL = "all"
_OF_TWO = ("rand", "warping")
_OF_FRAMES = "flicker"
"""What `all` leaves out where the images are not said to be frames: those of a set do not follow one another."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a caller asked to be measured and shown; the names are those of `evaluate`."""

    measures: str | Sequence[str] = ()
    objects: bool = False
    sequence: bool = False
    void: bool = False
    foreground: bool | None = None
    resamples: int = 1000
    block: int = 1
    html: Path | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The measures by name; `("all",)` where a page was asked for and none was named."""
        given = self.measures.split(",") if isinstance(self.measures, str) else self.measures
        names = tuple(name.strip().replace("-", "_") for name in given if name.strip())
        return names or ((ALL,) if self.html is not None else ())

    def check(self, *, crf: Any = False) -> None:
        """Raise `ValueError` for measures that there are not, settings that cannot be, and what does not go with crf.

        Raises `AtrousError` for a page that is a folder.
        """
        from atrous.data.writers import refuse_folder

        _refuse_unknown(self.named)
        if self.resamples != 0 and self.resamples < 20:
            raise ValueError(f"resamples {self.resamples} came; 0 for no intervals, or 20 and more, is accepted")
        if self.block < 1:
            raise ValueError(f"block {self.block} came; 1, or how many neighbouring images are drawn together")
        if self.block > 1 and not self.resamples:
            raise ValueError(f"block {self.block} came without intervals; leave it out, or let resamples be 20 or more")
        if crf is not False and crf is not None:
            if self.objects:
                raise ValueError("objects came with crf; objects are scored as the network finds them: leave one out")
            if (self.named or self.sequence) and self.html is None:
                raise ValueError("measures came with crf, which compares the means only; --html shows the measures too")
        if self.html is not None:
            refuse_folder(self.html)

    def wished(self, pairs: Sequence[Pair], space: LabelSpace, *, numbered: bool, probabilities: bool) -> Wished:
        """Return what is measured of labelled images; `numbered` says whether their objects have numbers.

        Raises `ValueError` for calibration without probabilities, for flicker of images that are no frames, and for a
        block of more images than there are.
        """
        from atrous.runs.frames import frames_of
        from atrous.runs.lengths import Lengths, lengths_of
        from atrous.runs.measuring import Wished

        if self.block > len(pairs):
            raise ValueError(f"block {self.block} came, and {len(pairs)} images are scored; 1 to {len(pairs)} of them")
        measures = self._measures(space, two=len(space) == 2 and not numbered, probabilities=probabilities)
        frames, told = frozenset[str](), ""
        if _OF_FRAMES in measures:
            frames, told = frames_of([pair.name for pair in pairs], said=self.sequence)
        lengths = lengths_of(pairs) if "distances" in measures else Lengths()
        return Wished(
            measures=measures,
            sizes=self.html is not None,
            background=self.foreground,
            lengths=lengths,
            frames=frames,
            notes=(*lengths.notes, *([told] if told else [])),
        )

    def _measures(self, space: LabelSpace, *, two: bool, probabilities: bool) -> tuple[str, ...]:
        from atrous.evaluation import MEASURES

        names = set(self.named)
        if ALL in names:
            names |= {name for name in MEASURES if name != _OF_FRAMES and (two or name not in _OF_TWO)}
            names -= set() if probabilities else {"calibration"}
            names -= set() if len(space) > 1 else {"objects"}
        if self.objects:
            names |= {"objects", *(("rand",) if two else ())}
        if self.sequence:
            names.add(_OF_FRAMES)
        if "calibration" in names and not probabilities:
            raise ValueError("calibration came, and masks have no probabilities; give the run itself")
        return tuple(name for name in MEASURES if name in names)


def _refuse_unknown(names: Sequence[str]) -> None:
    from difflib import get_close_matches

    from atrous.evaluation import MEASURES

    for name in names:
        if name not in (*MEASURES, ALL):
            near = get_close_matches(name, (*MEASURES, ALL), n=1)
            told = f"did you mean {near[0]!r}? There are" if near else "there are"
            raise ValueError(f"measure {name!r} is not known; {told} {ALL}, {', '.join(MEASURES)}")
