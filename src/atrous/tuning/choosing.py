"""What `--crf` means: a run's tuned numbers or mild ones, a preset, a file, or any refiner; and in words which."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from atrous.contract import AtrousError
from atrous.prediction import Refiner
from atrous.store import checked_crf, read_crf, read_json

PRESETS = ("mild", "deeplab_v1", "deeplab_v2", "crf_as_rnn", "pydensecrf_example")
_KIN = {"superpixels": "Superpixels", "guided": "GuidedFilter"}
NAMES = (*PRESETS, *_KIN)
"""The names that `crf` takes."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A refiner, or None where probabilities are best left as they are, and what it is in `words`.

    `tuned_on` are the names of the images that its numbers were tuned on, `data` the folder they were in, and `sha256`
    its identity; None where that is not known. `makeshift` says that tuned numbers were wanted, and there are none, or
    those of an earlier state of the model.
    """

    refiner: Refiner | None
    words: str
    tuned_on: Collection[str] = field(default=(), repr=False)
    data: str | None = field(default=None, repr=False)
    sha256: str | None = field(default=None, repr=False)
    makeshift: bool = field(default=False, repr=False)

    def note(self, names: Collection[str], *, data: str | Path | None = None, sha256: str | None = None) -> str | None:
        """Return a warning where images that are to be scored were tuned on, None where none was.

        Images of the same name are the same unless both the folder `data` and its identity are other ones.
        """
        same = len(set(names) & set(self.tuned_on))
        if not same or self._is_of_other_data(data, sha256):
            return None
        return (
            f"{same} of these {len(names)} images were used to tune these numbers, so the gain is flattered: "
            "score other images for one that is not"
        )

    def _is_of_other_data(self, data: str | Path | None, sha256: str | None) -> bool:
        if self.sha256 is None or sha256 is None or sha256 == self.sha256:
            return False
        return self.data is None or data is None or Path(self.data).resolve() != Path(data).resolve()


def chosen(crf: Any, model: str | Path | None = None) -> Chosen:
    """Return the refiner that `crf` means.

    True is what was tuned for `model`, a run or model folder, and else mild numbers. A text is one of `NAMES`, or a
    path like a `Path`: a JSON file with the keywords of `DenseCRF`, or that of a tuned run. Anything that can be called
    is a refiner itself.

    Raises `ValueError` for an unknown name, `TypeError` for another type, `AtrousError` for a file that does not hold
    what it should.

    >>> chosen("mild").words
    'mild (w1 2, sigma_alpha 30, sigma_beta 5, w2 1, sigma_gamma 1)'
    """
    if crf is True:
        return _tuned_or_mild(model)
    if isinstance(crf, str) and crf in NAMES:
        return _named(crf)
    if isinstance(crf, str | Path):
        return _from_file(Path(crf))
    if callable(crf):
        return Chosen(refiner=crf, words=_described(crf))
    raise TypeError(
        f"crf {crf!r} came; True, a name ({', '.join(NAMES)}), a JSON file or a refiner, a function of an image and "
        "its probabilities, is accepted"
    )


def _tuned_or_mild(model: str | Path | None) -> Chosen:
    mild = _named("mild")
    if model is None:
        return _makeshift(mild, ", since nothing is tuned for a scorer without a folder")
    stored = read_crf(model)
    if stored is None:
        return _makeshift(mild, f", since {model} has no tuned numbers: atrous crf-tune {model} DATA finds them")
    values, current = stored
    found = _from_values(values, f"{model}: crf.json", f"the numbers tuned for {model}")
    return found if current else _makeshift(found, "; but they were tuned for an earlier state of it: tune again")


def _makeshift(found: Chosen, reason: str) -> Chosen:
    return replace(found, words=f"{found.words}{reason}", makeshift=True)


def _named(name: str) -> Chosen:
    from atrous import crf

    refiner = getattr(crf, _KIN[name])() if name in _KIN else getattr(crf, name)()
    return Chosen(refiner=refiner, words=f"{name}{_numbers_of(refiner)}")


def _from_file(path: Path) -> Chosen:
    if not path.is_file():
        raise ValueError(f"crf {str(path)!r} is not known; there are {', '.join(NAMES)}, or a JSON file's path")
    values = read_json(path)
    if not isinstance(values, dict):
        raise AtrousError(f"{path}: an object of a CRF's numbers is wanted, such as {_EXAMPLE}")
    return _from_values(checked_crf(path, values) if "crf" in values else {"crf": values}, str(path), str(path))


def _from_values(values: dict[str, Any], place: str, title: str) -> Chosen:
    """Return the refiner of a stored tuning, or None where it found that none is better."""
    from atrous.crf import DenseCRF

    source = values.get("tuned_on") or {}
    tuned: dict[str, Any] = {
        "tuned_on": tuple(source.get("images") or ()),
        "data": source.get("data"),
        "sha256": source.get("sha256"),
    }
    if values["crf"] is None:
        words = f"nothing: {title} were searched, and no CRF was better than leaving probabilities as they are"
        return Chosen(refiner=None, words=words, **tuned)
    try:
        refiner = DenseCRF(**values["crf"])
    except (TypeError, ValueError) as error:
        raise AtrousError(f"{place}: {error}; the keywords of DenseCRF are wanted, such as {_EXAMPLE}") from error
    return Chosen(refiner=refiner, words=f"{title}{_numbers_of(refiner)}", **tuned)


_EXAMPLE = '{"w1": 2, "sigma_alpha": 30, "sigma_beta": 5, "w2": 1, "sigma_gamma": 1}'


def _numbers_of(refiner: Any) -> str:
    """Return the five numbers in brackets, or nothing for a refiner that has none."""
    names = ("w1", "sigma_alpha", "sigma_beta", "w2", "sigma_gamma")
    if not all(hasattr(refiner, name) for name in names):
        return ""
    return f" ({', '.join(f'{name} {getattr(refiner, name):g}' for name in names)})"


def _described(refiner: Any) -> str:
    name = getattr(refiner, "__qualname__", type(refiner).__name__)
    return f"{name}{_numbers_of(refiner)}"
