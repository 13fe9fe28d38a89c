"""Activity recognition: what an accelerometer in a trouser pocket says of six activities.

Generated, not measured. A window is 128 samples at 50 Hz of three axes, in g, as in Anguita et al.,
"A Public Domain Dataset for Human Activity Recognition Using Smartphones", ESANN 2013. Every
subject has a cadence, a way of stepping (the strengths and phases of four harmonics on each axis,
different in each activity but near to what all people share), a sensor that sits askew, and a gain.
Steps vary from one to the next. Subjects of the validation and of the test part appear nowhere
else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .cache import cached
from .parts import Part, Parts

CLASSES = ("walking", "upstairs", "downstairs", "sitting", "standing", "lying")
WINDOW, RATE_HZ = 128, 50
_HARMONICS = 4


@dataclass(frozen=True)
class Gait:
    """What people share in an activity: cadence, force, and where gravity points, in g."""

    cadence_hz: float
    force_g: float
    gravity: tuple[float, float, float]


# Plausible values, chosen so that a dense network errs on some of the held-out subjects; a thigh is
# level in a chair.
_GAITS = (
    Gait(1.9, 0.34, (0.0, 1.0, 0.1)),
    Gait(1.6, 0.30, (0.0, 0.96, 0.28)),
    Gait(1.8, 0.42, (0.0, 0.98, 0.18)),
    Gait(0.0, 0.0, (0.0, 0.35, 0.94)),
    Gait(0.0, 0.0, (0.0, 0.97, 0.24)),
    Gait(0.0, 0.0, (0.90, 0.2, 0.40)),
)


@dataclass(frozen=True)
class Settings:
    """How many subjects and windows; how far subjects, sensors and steps differ."""

    train_subjects: int = 80
    validation_subjects: int = 30
    test_subjects: int = 60
    windows_per_activity: int = 8
    calibration_count: int = 256
    own_style: float = 0.55
    askew_rad: float = 0.3
    noise_g: float = 0.06
    seed: int = 0


def load(folder: Path, settings: Settings = Settings()) -> Parts:
    """The parts; windows (n, 3, 1, 128), so that a 1-D convolution is one of height 1."""
    return cached(folder, "activity", settings, lambda: make(settings))


def make(settings: Settings) -> Parts:
    """The parts, generated."""
    common = np.random.default_rng(settings.seed).normal(size=(len(CLASSES), 3, _HARMONICS, 2))
    counts = (settings.train_subjects, settings.validation_subjects, settings.test_subjects)
    subjects = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
    own, validation, test = (_part(settings, common, group) for group in subjects)
    order = np.random.default_rng((settings.seed, 1)).permutation(len(own.y))
    calibration, train = np.split(order, [settings.calibration_count])
    return Parts(
        Part(own.x[train], own.y[train]),
        Part(own.x[calibration], own.y[calibration]),
        validation,
        test,
    )


def _part(settings: Settings, common: np.ndarray, subjects: np.ndarray) -> Part:
    made = [_subject(settings, common, int(subject)) for subject in subjects]
    x = np.concatenate([windows for windows, _ in made])
    return Part(x[:, :, None].astype(np.float32), np.concatenate([y for _, y in made]))


def _subject(settings: Settings, common: np.ndarray, subject: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows (n, 3, 128) of one subject, and their activities."""
    random = np.random.default_rng((settings.seed, 2, subject))
    pace = random.normal(1.0, 0.1)
    gain = random.normal(1.0, 0.15)
    own = common + settings.own_style * random.normal(size=common.shape)
    sensor = _rotation(random, settings.askew_rad)
    windows, labels = [], []
    for activity, gait in enumerate(_GAITS):
        for _ in range(settings.windows_per_activity):
            leaning = _rotation(random, settings.askew_rad / 3)
            signal = leaning @ np.array(gait.gravity)[:, None] * np.ones(WINDOW)
            if gait.cadence_hz:
                force = gain * gait.force_g * random.normal(1.0, 0.1)
                phase = _steps(random, pace * gait.cadence_hz)
                signal = signal + force * _stepping(own[activity], phase)
            noise = settings.noise_g * random.lognormal(0.0, 0.4) * random.normal(size=(3, WINDOW))
            windows.append(sensor @ signal + noise)
            labels.append(activity)
    return np.array(windows), np.array(labels, dtype=np.int64)


def _steps(random: np.random.Generator, cadence_hz: float) -> np.ndarray:
    """The phase of the gait in each sample (128,), of steps that are not all as long."""
    cadence = cadence_hz * random.normal(1.0, 0.04)
    drift = np.cumsum(random.normal(0.0, 0.02, WINDOW))
    turns = cadence * np.arange(WINDOW) / RATE_HZ + drift + random.uniform()
    return 2 * np.pi * turns


def _stepping(style: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Three axes (3, 128): harmonics of the step, the higher the weaker."""
    order = np.arange(1, _HARMONICS + 1)[:, None]
    waves = np.stack([np.cos(order * phase), np.sin(order * phase)], axis=1) / order[:, None]
    return np.einsum("ahc,hct->at", style, waves)


def _rotation(random: np.random.Generator, spread_rad: float) -> np.ndarray:
    """A small random rotation (3, 3), by Rodrigues' formula."""
    x, y, z = random.normal(0.0, spread_rad, 3)
    angle = float(np.sqrt(x * x + y * y + z * z))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / max(angle, 1e-12)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
