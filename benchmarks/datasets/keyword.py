"""Keyword spotting: ten words, other words, and silence, spoken by espeak-ng.

Every word is said by many voices, in several accents, pitches and speeds, then placed somewhere in
a second of noise. The voices of the validation and of the test part appear nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from adaspring.errors import DataError

from .cache import cached
from .mfcc import mfcc
from .parts import Part, Parts
from .speech import ACCENTS, RATE_HZ, VOICES, Voice, espeak_version, speak

# The words of Speech Commands (Warden, 2018) that MLPerf Tiny spots, and others of its words.
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
CLASSES = (*WORDS, "other", "silence")
OTHERS = ("backward", "bed", "bird", "cat", "dog", "eight", "five", "follow", "forward", "four",
          "happy", "house", "learn", "marvin", "nine", "one", "seven", "sheila", "six", "three",
          "tree", "two", "visual", "wow", "zero")  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How many voices, sayings of each word by a voice, and noisy copies of each saying.

    Noise is softer than the word, in power, by `least_snr_db` to `most_snr_db`.
    """

    train_voices: int = 40
    validation_voices: int = 10
    test_voices: int = 15
    sayings: int = 3
    copies: int = 3
    calibration_count: int = 256
    least_snr_db: float = 3.0
    most_snr_db: float = 25.0
    seed: int = 0


def load(folder: Path, settings: Settings = Settings()) -> Parts:
    """The parts; coefficients (n, 1, 49, 10). DataError where espeak-ng is missing."""
    spoken_by = (settings, espeak_version())
    return cached(folder, "keyword", spoken_by, lambda: make(settings))


def voices(settings: Settings) -> tuple[tuple[str, ...], ...]:
    """Those of training, validation and test; none in two of them."""
    counts = (settings.train_voices, settings.validation_voices, settings.test_voices)
    if sum(counts) > len(VOICES):
        raise DataError(
            f"{sum(counts)} voices were asked for, there are {len(VOICES)}; ask for fewer"
        )
    order = np.random.default_rng(settings.seed).permutation(VOICES).tolist()
    ends = np.cumsum((0, *counts))
    return tuple(tuple(order[start:end]) for start, end in pairwise(ends))


def make(settings: Settings) -> Parts:
    """The parts, spoken."""
    train, validation, test = voices(settings)
    own = _part(settings, train, 1)
    order = np.random.default_rng((settings.seed, 4)).permutation(len(own.y))
    calibration, rest = np.split(order, [settings.calibration_count])
    mean, std = own.x[rest].mean((0, 2), keepdims=True), own.x[rest].std((0, 2), keepdims=True)

    def scaled(part: Part) -> Part:
        return Part(((part.x - mean) / std).astype(np.float32), part.y)

    return Parts(
        scaled(Part(own.x[rest], own.y[rest])),
        scaled(Part(own.x[calibration], own.y[calibration])),
        scaled(_part(settings, validation, 2)),
        scaled(_part(settings, test, 3)),
    )


def _part(settings: Settings, speakers: tuple[str, ...], part: int) -> Part:
    """Every speaker's sayings: each word, as many other words, as many silences."""
    random = np.random.default_rng((settings.seed, part))
    x, y = [], []
    for speaker in speakers:
        for _ in range(settings.sayings):
            voice = Voice(speaker, str(random.choice(ACCENTS)), int(random.integers(30, 70)))
            said = (*WORDS, str(random.choice(OTHERS)), None)
            for label, word in enumerate(said):
                sound = np.zeros(0)
                if word is not None:
                    sound = speak(word, voice, int(random.integers(120, 220)))
                for _ in range(settings.copies):
                    x.append(mfcc(_in_noise(random, sound, settings), RATE_HZ))
                    y.append(label)
    return Part(np.array(x)[:, None], np.array(y, dtype=np.int64))


def _in_noise(random: np.random.Generator, sound: np.ndarray, settings: Settings) -> np.ndarray:
    """One second: the word, shifted, in coloured noise that is softer than it by some decibels."""
    second = np.zeros(RATE_HZ)
    sound = sound[:RATE_HZ]
    at = int(random.integers(0, RATE_HZ - len(sound) + 1))
    second[at : at + len(sound)] = sound
    level = float(np.sqrt(np.mean(sound**2))) if sound.size else 0.1
    softer_db = random.uniform(settings.least_snr_db, settings.most_snr_db)
    loudness = 10 ** (random.uniform(-12, 0) / 20)
    return loudness * (second + level * 10 ** (-softer_db / 20) * _noise(random))


def _noise(random: np.random.Generator) -> np.ndarray:
    """A second of noise of power 1, between white and red."""
    spectrum = np.fft.rfft(random.normal(size=RATE_HZ))
    order = np.maximum(np.arange(spectrum.size), 20)
    noise = np.fft.irfft(spectrum * order ** -random.uniform(0, 1), RATE_HZ)
    return noise / noise.std()
