"""The rank of a matrix that is low-rank and noise, by variational Bayesian matrix factorization.

For Y (n, m) = B Aᵀ + noise of unknown power s² the global optimum of the empirical variational
Bayesian free energy is known in closed form: with n <= m and α = n / m, singular values larger than

    sqrt(m s² (1 + τ)(1 + α / τ))        τ = 2.5129 sqrt(α)

are kept and all others are noise; s² minimises a function of one variable.

Source  S. Nakajima, M. Sugiyama, S. D. Babacan, R. Tomioka, Global Analytic Solution of
        Fully-observed Variational Bayesian Matrix Factorization, JMLR 14, 2013 (the empirical
        solution; τ is their approximation of a root). Used for ranks of layers by Y.-D. Kim et
        al., ICLR 2016.
"""

from __future__ import annotations

import numpy as np

NOISE_POWERS_TRIED = 256
REFINEMENTS = 4
LEAST_SHARE = 1e-24
"""Singular values whose squares are less than this share of all are rounding, not noise."""
CLEAR_SHARE = 1e-16
"""Those above this share are no noise where the next one is rounding; noise has no such gap."""


def vbmf_rank(matrix: np.ndarray) -> int:
    """Return how many singular values of a matrix stand out of its noise; 0 if none does."""
    rows, columns = sorted(matrix.shape)
    squares = np.square(np.linalg.svd(matrix.astype(np.float64), compute_uv=False))
    total = float(squares.sum())
    if not total:
        return 0
    rounding = LEAST_SHARE * total
    count = int(np.sum(squares > rounding))
    if count < rows and squares[count - 1] > CLEAR_SHARE * total:
        return count  # without noise the rank is plain to see
    squares = np.maximum(squares, rounding)
    ratio = rows / columns
    tau = 2.5129 * np.sqrt(ratio)
    edge = (1 + tau) * (1 + ratio / tau)
    # The bounds that the paper gives of the noise's power.
    most = total / (rows * columns)
    cut = min(int(np.ceil(rows / (1 + ratio))) - 1, rows - 1)
    least = max(squares[cut] / (columns * edge), squares[cut:].mean() / columns)
    return int(np.sum(squares > columns * _noise_power(squares, columns, least, most) * edge))


def _noise_power(squares: np.ndarray, columns: int, least: float, most: float) -> float:
    """Search the whole range, then again between the neighbours of what was best."""
    for _ in range(REFINEMENTS):
        tried = np.geomspace(least, max(most, least), NOISE_POWERS_TRIED)
        best = int(np.argmin([_free_energy(squares, columns, power) for power in tried]))
        least, most = tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)]
    return float(tried[best])


def _free_energy(squares: np.ndarray, columns: int, noise_power: float) -> float:
    """What the noise's power minimises: their free energy, less what does not depend on it."""
    ratio = len(squares) / columns
    tau = 2.5129 * np.sqrt(ratio)
    x = squares / (columns * noise_power)
    kept = x[x > (1 + tau) * (1 + ratio / tau)]
    lost = x[x <= (1 + tau) * (1 + ratio / tau)]
    shifted = kept - (1 + ratio)
    signal = 0.5 * (shifted + np.sqrt(np.square(shifted) - 4 * ratio))
    return float(
        np.sum(lost - np.log(lost))
        + np.sum(kept - signal)
        + np.sum(np.log((signal + 1) / kept))
        + ratio * np.sum(np.log(signal / ratio + 1))
    )
