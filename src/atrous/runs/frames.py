"""Which images of a set are frames that follow one another: those whose names say so, or all of a folder."""

from __future__ import annotations

from collections.abc import Sequence

from atrous.evaluation.sequences import in_one_folder, numbered_on


def frames_of(names: Sequence[str], *, said: bool = False) -> tuple[frozenset[str], str]:
    """Return the images that follow the one before them as frames do, and a sentence on how that is known.

    With `said` every image follows the one before it in its folder. Without it the names must say so: they are one but
    for their last number, which rises by the same step.

    Raises `ValueError` where no image follows another.
    """
    follows = in_one_folder(names) if said else numbered_on(names)
    frames = frozenset(name for name, after in zip(names, follows, strict=True) if after)
    if not frames:
        raise ValueError(
            "flicker came, and no two images are in one folder"
            if said
            else "flicker came, which is of frames, and the names of the images are not numbered in even steps; "
            "--sequence (sequence=True) says that the images of a folder follow one another in the order of their names"
        )
    how = "in the order of their names, as --sequence says" if said else "since their names are numbered in even steps"
    films = len(names) - len(frames)
    return frames, (
        f"flicker: the {len(names):,} images are taken for frames of {films:,} sequence{'s' * (films != 1)}, {how}"
    )
