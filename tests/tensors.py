"""A tensor on a GPU, for tests: torch is not installed."""

from typing import Any

import numpy as np


class Tensor:
    """What this library needs of a torch tensor on a GPU: no array but from its copy on the host."""

    def __init__(self, values: Any, *, device: str = "cuda") -> None:
        self._values, self._device = np.asarray(values), device

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._values.shape)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, key: Any) -> "Tensor":
        return Tensor(self._values[key], device=self._device)

    def detach(self) -> "Tensor":
        return self

    def clone(self) -> "Tensor":
        return Tensor(self._values.copy(), device=self._device)

    def cpu(self) -> "Tensor":
        return Tensor(self._values, device="cpu")

    def reshape(self, *shape: int) -> "Tensor":
        return Tensor(self._values.reshape(shape), device=self._device)

    def fill(self, value: float) -> None:
        self._values[...] = value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self._device != "cpu":
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
            )
        return self._values.astype(dtype) if dtype is not None else self._values
