"""Mel-frequency cepstral coefficients in NumPy: what a keyword spotter hears.

Davis and Mermelstein, "Comparison of Parametric Representations for Monosyllabic Word Recognition",
IEEE TASSP 1980; windows of 40 ms every 20 ms, 40 bands, ten coefficients, as the keyword spotter of
MLPerf Tiny (Banbury et al., NeurIPS 2021) takes.
"""

from __future__ import annotations

from functools import cache

import numpy as np

WINDOW_S, HOP_S = 0.04, 0.02
BANDS, COEFFICIENTS = 40, 10
LOWEST_HZ, HIGHEST_HZ = 20.0, 4000.0


def mfcc(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """Coefficients (frames, 10) of a sound (n,); a second gives 49 frames."""
    window, hop = round(WINDOW_S * rate_hz), round(HOP_S * rate_hz)
    frames = np.lib.stride_tricks.sliding_window_view(sound, window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window))) ** 2
    bands = np.log(power @ mel_filters(window, rate_hz).T + 1e-6)
    return bands @ _cosines().T


@cache
def mel_filters(window: int, rate_hz: int) -> np.ndarray:
    """Triangles (40, window // 2 + 1) that stand evenly on the mel scale."""
    lowest, highest = (2595 * np.log10(1 + hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ))
    mels = np.linspace(lowest, highest, BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    hz = np.fft.rfftfreq(window, 1 / rate_hz)
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (hz - left) / (middle - left), (right - hz) / (right - middle)
    return np.maximum(0, np.minimum(rising, falling))


@cache
def _cosines() -> np.ndarray:
    """The first rows (10, 40) of the orthonormal cosine transform, type II."""
    rows = np.arange(COEFFICIENTS)[:, None] * (np.arange(BANDS) + 0.5) * np.pi / BANDS
    scale = np.where(np.arange(COEFFICIENTS)[:, None] == 0, 1, 2**0.5) / BANDS**0.5
    return scale * np.cos(rows)
