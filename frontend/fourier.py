"""The discrete Fourier transform as a matrix."""

from __future__ import annotations

import numpy as np

_MOST_BYTES = 2**27


def fourier_matrix(
    count: int, parts: int, length: int, *, inverse: bool, one_sided: bool
) -> np.ndarray:
    """Give what the transform makes of each unit vector: float64 (count * parts, results, parts).

    `parts` is 1 of real values and 2 of complex ones; the result is complex, unless it comes back
    from one side. The inverse is divided by the length, as NumPy has it.

    Raises:
        ValueError: the matrix, which grows with the square of the length, would be too large.

    """
    bins = length // 2 + 1 if one_sided and not inverse else length
    if 8 * count * parts * bins * 2 > _MOST_BYTES:
        raise ValueError(f"its matrix would be {count * parts} x {2 * bins}; give it fewer samples")
    unit = np.eye(count * parts).reshape(-1, count, parts)
    values = unit[..., 0] + (1j * unit[..., 1] if parts == 2 else 0)
    if inverse and one_sided:
        return np.fft.irfft(values, length, axis=1)[..., None]
    made = (np.fft.ifft if inverse else np.fft.fft)(values, length, axis=1)[:, :bins]
    return np.stack([made.real, made.imag], axis=-1)
