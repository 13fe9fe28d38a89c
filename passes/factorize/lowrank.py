"""Low-rank forms of a layer's weight that keep its outputs near, not just its numbers.

A layer gives y = W x, W (O, F), with E[x xᵀ] = C (F, F). All errors here are of the output:
E|(W - W') x|² / E|W x|². Without data C is the identity, and the error is that of the weight.

Source  G. H. Golub, C. F. Van Loan, Matrix Computations, 4th ed., section 2.4 (truncated SVD);
        Y.-D. Kim et al., Compression of Deep Convolutional Neural Networks for Fast and Low Power
        Mobile Applications, ICLR 2016 (Tucker-2); X. Zhang et al., Accelerating Very Deep
        Convolutional Networks for Classification and Detection, PAMI 2016 (on outputs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SMALLEST_SHARE = 1e-7
"""Directions of less than this share of the power count as this much."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """W ≈ left[:, :r] @ right[:r] for every rank r; `error_ratios[r]` is |y - y'| / |y|."""

    left: np.ndarray
    right: np.ndarray
    error_ratios: np.ndarray


@dataclass(frozen=True, eq=False)
class HalfTucker:
    """A k×k convolution as 1×1 `inner` (p, I), none where p = I, and k×k `core` (O, p, *kernel).

    `error_ratios[q]` is the error with the core cut to q output channels.
    """

    inner: np.ndarray | None
    core: np.ndarray
    outputs: Spectrum
    error_ratios: np.ndarray

    def truncate(self, rank: int) -> tuple[tuple[np.ndarray, ...], float]:
        """Inner, core and 1×1 outer (O, q) factor, those that there are, and their error."""
        before = () if self.inner is None else (self.inner,)
        error_ratio = float(self.error_ratios[rank])
        if rank >= len(self.core):
            return (*before, self.core), error_ratio
        core = self.outputs.right[:rank].reshape(rank, *self.core.shape[1:])
        return (*before, core, self.outputs.left[:, :rank]), error_ratio


def spectrum(weight: np.ndarray, covariance: np.ndarray | None) -> Spectrum:
    """Return W's factors in the order of what they carry of the output.

    With U the eigenvectors of E[y yᵀ] = W C Wᵀ, the best W' of rank r is U_r U_rᵀ W. Both
    factors get an equal share of each direction's size. Ranks go up to the smaller of O and F;
    where F < O, all outputs lie in the span of W's columns, and U is looked for there.
    """
    basis, within = None, weight
    if len(weight) > weight.shape[1]:
        basis, within = np.linalg.qr(weight)
    power, directions = np.linalg.eigh(_times_covariance(within, covariance) @ within.T)
    power, directions = np.maximum(power[::-1], 0.0), directions[:, ::-1]
    total = power.sum()
    tail = np.maximum(total - np.concatenate([[0.0], power.cumsum()]), 0.0)
    tail[-1] = 0.0
    ratios = np.sqrt(tail / total) if total > 0 else np.zeros_like(tail)
    scale = np.maximum(power, SMALLEST_SHARE * max(total, 1e-30)) ** 0.25
    right = (directions.T @ within) / scale[:, None]
    left = directions if basis is None else basis @ directions
    return Spectrum(left * scale, right, ratios)


def _of_full_rank(found: Spectrum) -> Spectrum:
    """Up to rank O, where the directions beyond F carry nothing."""
    beyond = len(found.left) - len(found.right)
    left = np.pad(found.left, [(0, 0), (0, beyond)])
    right = np.pad(found.right, [(0, beyond), (0, 0)])
    return Spectrum(left, right, np.pad(found.error_ratios, (0, beyond)))


def tucker_at_inner_rank(
    weight: np.ndarray, covariance: np.ndarray | None
) -> Callable[[int], HalfTucker]:
    """Return what gives the Tucker-2 forms of one inner rank; weight (O, I, *kernel).

    The inner projection keeps the input channels' strongest directions. Given it, core and outer
    factor are the least-squares best for the output.
    """
    c_out, c_in = weight.shape[:2]
    flat = weight.reshape(c_out, -1)
    power = max(float(np.sum(_times_covariance(flat, covariance) * flat)), 1e-300)
    directions = _channel_directions(weight, covariance)

    def of_inner(rank: int) -> HalfTucker:
        inner, best, seen = None, flat, covariance
        if rank < c_in:
            inner = directions[:rank]
            best, seen = _project(flat, covariance, inner)
        found = _of_full_rank(spectrum(best, seen))
        kept = float(np.sum(_times_covariance(best, seen) * best))
        lost = max(power - kept, 0.0) if inner is not None else 0.0
        errors = np.sqrt((lost + np.square(found.error_ratios) * kept) / power)
        return HalfTucker(inner, best.reshape(c_out, -1, *weight.shape[2:]), found, errors)

    return of_inner


def _project(
    flat: np.ndarray, covariance: np.ndarray | None, inner: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """With z the projected patches, return the best K for y ≈ K z, and E[z zᵀ]."""
    c_out, c_in = len(flat), inner.shape[1]
    if covariance is None:  # the rows of `inner` are orthonormal then
        best = inner @ flat.reshape(c_out, c_in, -1)
        return best.reshape(c_out, -1), None
    half = (inner @ covariance.reshape(c_in, -1)).reshape(-1, len(covariance))
    seen = (inner @ np.ascontiguousarray(half.T).reshape(c_in, -1)).reshape(len(half), len(half))
    return np.linalg.solve(regularize(seen), half @ flat.T).T, seen


def _times_covariance(weight: np.ndarray, covariance: np.ndarray | None) -> np.ndarray:
    """Return W C; without data C is the identity."""
    return weight if covariance is None else weight @ covariance


def _channel_directions(weight: np.ndarray, covariance: np.ndarray | None) -> np.ndarray:
    """Return projections of the input channels (I, I), the strongest for the output first."""
    c_in = weight.shape[1]
    unfolded = np.moveaxis(weight, 1, -1).reshape(-1, c_in)
    gram = unfolded.T @ unfolded
    if covariance is None:
        return np.linalg.eigh(gram)[1][:, ::-1].T
    root = channel_root(weight, covariance, SMALLEST_SHARE)
    _, directions = np.linalg.eigh(root.T @ gram @ root)
    return np.linalg.solve(root.T, directions[:, ::-1]).T


def channel_root(weight: np.ndarray, covariance: np.ndarray, share: float) -> np.ndarray:
    """Return R (I, I) with R Rᵀ the channels' covariance, the mean over a kernel's places."""
    c_in, places = weight.shape[1], weight[0, 0].size
    by_place = covariance.reshape(c_in, places, c_in, places)
    return np.linalg.cholesky(regularize(np.einsum("ipjp->ij", by_place) / places, share))


def regularize(covariance: np.ndarray, share: float = SMALLEST_SHARE) -> np.ndarray:
    """Give directions that were never seen this share of the mean, so that C can be inverted."""
    size = len(covariance)
    mean_power = float(np.trace(covariance)) / size
    return covariance + max(share * mean_power, 1e-30) * np.eye(size)
