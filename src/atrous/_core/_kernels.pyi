from typing import Any

import numpy as np
from numpy.typing import NDArray

def confusion(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], matrix: NDArray[np.int64], threads: int, /
) -> bool: ...
def enlarge_argmax(
    logits: NDArray[np.float32],
    first_rows: NDArray[np.int32],
    second_rows: NDArray[np.int32],
    row_weights: NDArray[np.float32],
    first_columns: NDArray[np.int32],
    second_columns: NDArray[np.int32],
    column_weights: NDArray[np.float32],
    labels: NDArray[np.uint8],
    threads: int,
    /,
) -> None: ...
def two_nearest(
    objects: NDArray[np.int32],
    farthest: float,
    reach: int,
    threads: int,
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    /,
) -> None: ...
def variant() -> str: ...
def use_variant(name: str, /) -> bool: ...
def lattice_of(
    features: NDArray[np.float32], strips: int, /
) -> (
    tuple[
        NDArray[np.int32],
        NDArray[np.float32],
        NDArray[np.int32],
        NDArray[np.int64],
        NDArray[np.int32],
        NDArray[np.int64],
        int,
    ]
    | None
): ...
def filtered(lattice: Any, values: NDArray[np.float32], transposed: bool, out: NDArray[np.float32], /) -> None: ...
def mean_field(
    unary: NDArray[np.float32],
    lattices: list[Any],
    weights: list[float],
    iterations: int,
    from_probabilities: bool,
    kept: NDArray[np.int32] | None,
    compatibility: NDArray[np.float32] | None,
    self_responses: list[NDArray[np.float32]] | None,
    half: bool,
    settle: float,
    tolerance: float,
    out: NDArray[np.float32],
    /,
) -> bool: ...
def peaks(values: NDArray[np.float32], threads: int, largest: NDArray[np.float32], /) -> None: ...
