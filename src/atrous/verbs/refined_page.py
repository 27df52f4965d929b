"""Before and after refining, side by side on one page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous.contract import LabelSpace
    from atrous.data import Pair
    from atrous.evaluation import Evaluation
    from atrous.runs.measuring import Wished
    from atrous.verbs.asked import Asked

_SHOWN = 4


class Sides:
    """Both sides of every image as they come: their measures, and pictures of the images that changed most."""

    def __init__(self, pairs: Sequence[Pair], space: LabelSpace, wished: Wished) -> None:
        """Begin with no image; they come in the order of `pairs`."""
        from atrous.runs.measuring import Measuring

        self.space = space
        self._measuring = Measuring(space, wished), Measuring(space, wished)
        self._names = iter([pair.name for pair in pairs])
        self._before: list[Evaluation] = []
        self._after: list[Evaluation] = []
        self._gained: list[tuple[float, str, str]] = []
        self._lost: list[tuple[float, str, str]] = []

    def add(self, case: Any, before: Any, after: Any) -> None:
        """Take one case with its probabilities (classes, h, w) before and after."""
        import numpy as np

        from atrous.runs.measuring import Answer

        name = next(self._names)
        sides = []
        for probabilities, measuring in zip((before, after), self._measuring, strict=True):
            answer = Answer(
                name=name,
                truth=case.truth,
                labels=probabilities.argmax(0).astype(np.uint8),
                probabilities=probabilities,
                image=case.image,
            )
            sides.append((answer, measuring.of(answer)))
        self._before.append(sides[0][1])
        self._after.append(sides[1][1])
        self._keep(name, *sides)

    def _keep(self, name: str, first: tuple[Any, Any], second: tuple[Any, Any]) -> None:
        scores = [float(side[1].per_image.mean_iou[0]) for side in (first, second)]
        change = scores[1] - scores[0]
        for kept, wanted in ((self._gained, change > 0), (self._lost, change < 0)):
            if not wanted or (len(kept) == _SHOWN and abs(change) <= abs(kept[-1][0])):
                continue
            caption = f"{name}: {100 * scores[0]:.2f} to {100 * scores[1]:.2f}"
            html = beside(first[0], second[0], self.space, names=("before", "after"))
            kept.append((change, caption, html))
            kept.sort(key=lambda row: -abs(row[0]))
            del kept[_SHOWN:]

    def page(self, about: Mapping[str, Any], words: str, note: str | None, asked: Asked) -> Iterator[str]:
        """Yield the page in parts; `words` say what refined."""
        from atrous.evaluation import joined
        from atrous.evaluation.report import Report
        from atrous.evaluation.versus import Versus
        from atrous.evaluation.versus_page import versus_page

        both = zip(self._measuring, (self._before, self._after), strict=True)
        sides = [measuring.whole(joined(side)) for measuring, side in both]
        told = [dict(about), {**about, "refined": words}]
        reports = [
            Report(evaluation=side, about=each, resamples=asked.resamples, block=asked.block)
            for side, each in zip(sides, told, strict=True)
        ]
        first, second = (side.per_image for side in sides)
        draws = asked.resamples or 20
        versus = Versus.of(first, second, names=("before", "after"), resamples=draws, block=asked.block)
        shown = [(caption, html) for _, caption, html in (*self._gained, *self._lost)]
        title = f"{reports[0].name}: before and after refining"
        documents = [report.as_json() for report in reports]
        yield from versus_page(versus, documents, title=title, shown=shown, note=note)


def beside(first: Any, second: Any, space: LabelSpace, *, names: tuple[str, str]) -> str:
    """Return image, truth, both predictions and the errors of both of one image, as HTML."""
    from atrous.evaluation.gallery import pictures

    return pictures(
        first.truth, first.labels, space, image=first.image, name=names[0], other=second.labels, other_name=names[1]
    )
