"""Small things that tests of losses and networks share: tensors, derivatives by central differences."""

from typing import Callable

import mindspore as ms
import numpy as np


def tensor(array: np.ndarray) -> ms.Tensor:
    return ms.Tensor(np.asarray(array, np.float32))


def central_differences(function: Callable[..., float], arrays: list, place: int, step: float = 1e-6) -> np.ndarray:
    """Derivatives of ``function(*arrays)`` by each number of ``arrays[place]``, in float64."""
    differences = np.zeros(arrays[place].shape)
    for index in np.ndindex(differences.shape):
        ends = []
        for sign in (1, -1):
            moved = [array.copy() for array in arrays]
            moved[place][index] += sign * step
            ends.append(function(*moved))
        differences[index] = (ends[0] - ends[1]) / (2 * step)
    return differences
