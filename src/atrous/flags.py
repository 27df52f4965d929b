"""The words of the command line as values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "none": None}
"""Words that mean a value, in any case: as texts they would all be true."""


def with_flag_values(arguments: list[str]) -> list[str]:
    """Give flags that may take a word their value where they stand alone: --pretrained, --crf, --ema and --cluster."""
    result = []
    for index, item in enumerate(arguments):
        before, word = arguments[:index], "".join(arguments[index + 1 : index + 2])
        if item == "--crf":
            alone = word[:1] in ("", "-") or not _is_refiner(before, word, arguments[index + 2 :])
        elif item == "--ema":
            alone = not _is_decay(before, word)
        elif item == "--cluster":
            alone = not _is_address(word)
        else:
            alone = item == "--pretrained" and (word[:1] in ("", "-") or not _is_weights(before, word))
        result.append(f"{item}=true" if alone else item)
    return result


def _is_address(word: str) -> bool:
    """Say whether the word after `--cluster` is the address of one: auto, ray://HOST:PORT or HOST:PORT."""
    return word in ("auto", "local") or re.fullmatch(r"(ray://)?[\w.\-\[\]:]+:\d+", word) is not None


def _is_decay(before: list[str], word: str) -> bool:
    """Say whether the word after `--ema` is its decay, perhaps mistyped, and not the data, which stands first."""
    if re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", word, re.IGNORECASE):
        return True
    return word[:1] not in ("", "-") and _came(before, 1)


def _is_weights(before: list[str], word: str) -> bool:
    """Say whether the word after `--pretrained` is its file or run, and not the data.

    Where the data has come, which stands first after the command, any word is, and what is no model is told later;
    where it has not, a word that is neither file nor model is the data.
    """
    place = Path(word)
    if place.is_file() or (place / "config.json").is_file() or (place / "recipe.json").is_file():
        return True
    return word.endswith(".safetensors") or _came(before, 1)


def _is_refiner(before: list[str], word: str, after: list[str]) -> bool:
    """Say whether the word after `--crf` is its name or file, and not the model or the images.

    Where all that the command takes is there without it, any word is; and so is one that is not there and is nearly a
    name. An unknown one is told by `refiner_of`.
    """
    if word in REFINERS or word.endswith(".json"):
        return True
    wanted = 1 if any(item.partition("=")[0] == "--scribbles" for item in before + after) else 2
    wanted += before[:1] == ["compare"]
    return len(_plain(before[1:])) + len(_plain(after)) >= wanted or (not Path(word).exists() and bool(_near(word)))


def _plain(words: list[str]) -> list[str]:
    """Return the words that are neither flags nor the values of flags."""
    previous = ["", *words]
    return [
        word
        for flag, word in zip(previous, words, strict=False)
        if word[:1] != "-" and (flag[:1] != "-" or "=" in flag or flag in _WITHOUT_VALUE)
    ]


def _near(word: str) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(word, REFINERS, n=1)


def _came(before: list[str], count: int) -> bool:
    """Say whether as many words stand right after the command."""
    return len(before) > count and not any(word.startswith("-") for word in before[1 : count + 1])


REFINERS = ("mild", "deeplab_v1", "deeplab_v2", "crf_as_rnn", "pydensecrf_example", "superpixels", "guided")
"""The names that `--crf` takes: here too, since reading a command line imports nothing."""

_WITHOUT_VALUE = (
    "--quiet", "--json", "--debug", "--keep-ignored", "--tta", "--redo", "--watch", "--cluster", "--objects",
    "--foreground", "--void-as-error", "--sequence",
)  # fmt: skip


def refiner_of(text: str | None) -> bool | str:
    """Return what `--crf` means for the verbs: False without it, True where it stands alone.

    Raises `ValueError`, with the nearest name, for a word that is neither a name nor a file.
    """
    if text is None or text == "true":
        return text is not None
    if text in REFINERS or text.endswith(".json") or (text and Path(text).exists()):
        return text
    near = f"did you mean {_near(text)[0]!r}? There are" if _near(text) else "there are"
    raise ValueError(f"crf {text!r} is not known; {near} {', '.join(REFINERS)}, or a JSON file of a CRF's numbers")


FORMATS = ("masks", "voc", "cvat", "coco", "coco-polygons", "yolo", "geojson", "nifti", "dicom-seg")
"""The formats that `convert` writes: here too, for the same reason."""


def wishes(
    classes: str | None, ignore: str | None, labels: str | None, layout: str | None, masks: str | None
) -> dict[str, Any]:
    """Return what the user says of a folder and its masks, for the verbs."""
    value = None if ignore is None else value_of(ignore)
    return {"classes": names_of(classes), "ignore": value, "labels": labels, "layout": layout, "masks": masks}


def names_of(text: str | None) -> list[str] | None:
    """Return the names of a list with commas."""
    return None if text is None else [name.strip() for name in text.split(",")]


def bytes_of(text: str, flag: str = "--cache-limit") -> int:
    """Return the bytes of `500MB`, `1.5GB` or a plain number; raises `ValueError` for anything else.

    >>> bytes_of("1.5GB")
    1500000000
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(f"{flag} {text}: a size like 500MB or 16GB is accepted")
    thousand = 1024 if found[3] else 1000
    return int(float(found[1]) * thousand ** " KMGT".index(found[2].upper() or " "))


def decay_of(text: str) -> float:
    """Return the decay that `--ema` means, 0.999 where it stands alone; raises `ValueError` for no number.

    >>> decay_of("true")
    0.999
    """
    if text == "true":
        return 0.999
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--ema {text}: a decay like 0.999 is accepted, and 0 is none") from None


def class_weights_of(text: str) -> str | tuple[float, ...]:
    """Return a word of `--class-weights`, or its numbers; raises `ValueError` for anything else.

    >>> class_weights_of("1,2.5")
    (1.0, 2.5)
    """
    if text in ("none", "median", "root"):
        return text
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"--class-weights {text}: median, root, none, or a number per class like 1,2.5,1 is accepted"
        ) from None


def value_of(text: str) -> int | tuple[int, ...]:
    """Return a number or an RGB colour; raises `ValueError` for anything else."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3):
        raise ValueError(f"--ignore {text}: a number like 255 or a colour like 0,0,0 is accepted")
    if len(numbers) == 3 and not all(0 <= number <= 255 for number in numbers):
        raise ValueError(f"--ignore {text}: each channel of a colour is 0 to 255")
    return numbers[0] if len(numbers) == 1 else numbers


def colour_of(text: str) -> tuple[int, int, int]:
    """Return an RGB colour of `R,G,B`; raises `ValueError` for anything else."""
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() and int(part) <= 255 for part in parts):
        raise ValueError(f"--unknown {text}: a colour like 255,255,255 is accepted")
    red, green, blue = (int(part) for part in parts)
    return red, green, blue


def options_of(pairs: list[str] | None) -> dict[str, Any] | None:
    """Return NAME=VALUE pairs as keywords: values are JSON, yes and no, or words without quotes."""
    if pairs is None:
        return None
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--option {pair}: NAME=VALUE is accepted, such as separable=true")
        options[name] = _WORDS[value.lower()] if value.lower() in _WORDS else _json_or_word(value)
    return options


def _json_or_word(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value  # a word without quotes


def scales_of(text: str | None) -> tuple[float, ...] | None:
    """Return the numbers of `0.75,1,1.25`; raises `ValueError` for anything else.

    >>> scales_of("0.5,1")
    (0.5, 1.0)
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--scales {text}: numbers like 0.75,1,1.25 are accepted") from None


def size_of(text: str | None, flag: str = "--crop") -> tuple[int, int] | None:
    """Return (height, width) of `256` or `256x336`; raises `ValueError` for anything else."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() for part in parts):
        raise ValueError(f"{flag} {text}: one number like 256, or height x width like 256x336, is accepted")
    return int(parts[0]), int(parts[-1])
