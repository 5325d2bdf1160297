"""Small data sets to learn and to test with; each comes with the package, and is read when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["load_digits"]


def load_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return handwritten digits: 1,797 images of 8 x 8 pixels, in 10 classes of 174 to 183.

    ``x = counts / 16``, where a count, 0 to 16, says how many of the 4 x 4 dots of a pixel were inked.

    Returns
    -------
    x : ndarray of float32, ``(1797, 64)``
        Images, row after row of pixels, from 0 (paper) to 1 (ink).
    y : ndarray of int64, ``(1797,)``
        The digits, 0 to 9.

    Notes
    -----
    The test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49, licensed CC BY 4.0
    (https://creativecommons.org/licenses/by/4.0/). The numbers are unchanged, in the order of scikit-learn's
    ``load_digits``; as a file they are a ``.npz`` of bytes, ``images`` ``(1797, 64)`` and ``labels`` ``(1797,)``.

    Examples
    --------
    >>> from fastmlp.datasets import load_digits
    >>> x, y = load_digits()
    >>> x.shape, y[:5].tolist()
    ((1797, 64), [0, 1, 2, 3, 4])
    """
    import numpy as np

    images, labels = _read("digits.npz", "images", "labels")
    return images.astype(np.float32) / np.float32(16), labels.astype(np.int64)


def _read(name: str, *keys: str) -> list[NDArray[Any]]:
    """Return arrays of a ``.npz`` that lies beside this file."""
    from importlib import resources

    import numpy as np

    with resources.files(__package__).joinpath(name).open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return [archive[key] for key in keys]
