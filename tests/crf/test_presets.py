"""Published parameters, number by number."""

from __future__ import annotations

import pytest

from atrous import crf as room


@pytest.mark.parametrize(
    ("name", "numbers", "iterations", "normalisation"),
    [
        ("deeplab_v1", (5, 50, 3, 3, 3), 10, "after"),
        ("deeplab_v2", (4, 67, 3, 3, 3), 10, "symmetric"),
        ("crf_as_rnn", (5, 160, 3, 3, 3), 10, "after"),
        ("pydensecrf_example", (10, 80, 13, 3, 3), 5, "symmetric"),
        ("mild", (2, 30, 5, 1, 1), 10, "symmetric"),
    ],
)
def test_numbers(name: str, numbers: tuple[float, ...], iterations: int, normalisation: str) -> None:
    crf = getattr(room, name)()
    assert (crf.w1, crf.sigma_alpha, crf.sigma_beta, crf.w2, crf.sigma_gamma) == numbers
    assert (crf.iterations, crf.normalisation, crf.mode, crf.compatibility) == (
        iterations,
        normalisation,
        "full",
        "potts",
    )
