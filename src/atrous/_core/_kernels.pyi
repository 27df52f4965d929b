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
