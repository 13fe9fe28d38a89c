"""Words spoken by espeak-ng, a formant synthesizer (Debian package espeak-ng)."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from dataclasses import dataclass

import numpy as np

from adaspring.errors import DataError

RATE_HZ = 22050
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-rp", "en-029")
# One of each family of espeak-ng's variants, so that no two parts hear the same throat; without
# whispers and robots.
VOICES = (
    "adam", "Alex", "Alicia", "Andrea", "Andy", "antonio", "aunty", "belinda", "benjamin",
    "boris", "caleb", "david", "Denis", "Diogo", "ed", "edward", "f1", "f2", "f3", "f4",
    "f5", "Gene", "grandma", "grandpa", "gustave", "Henrique", "Hugo", "iven", "Jacky",
    "john", "kaukovalta", "klatt2", "klatt4", "Lee", "linda", "m1", "m2", "m3", "m4", "m5",
    "m6", "m7", "marcelo", "Marco", "Mario", "max", "Michael", "michel", "miguel", "Mike",
    "norbert", "Nguyen", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro",
    "shelby", "steph", "travis", "Tweaky", "victor", "zac",
)  # fmt: skip


@dataclass(frozen=True)
class Voice:
    """A throat (a variant of espeak-ng's), an accent, and a pitch of 0 to 99."""

    variant: str
    accent: str
    pitch: int


def espeak_version() -> str:
    """What espeak-ng says of itself; DataError where it, or one of the voices, is missing.

    Asked for a voice that it does not have, it speaks in another, silently.
    """
    if shutil.which("espeak-ng") is None:
        raise DataError(
            "espeak-ng, which speaks the keywords, is not installed; "
            "install the Debian package espeak-ng"
        )
    listed = (_run("--voices=variant") + _run("--voices=en")).decode().split()
    missing = {f"!v/{name}" for name in VOICES}.union(ACCENTS).difference(listed)
    if missing:
        raise DataError(
            f"espeak-ng has not the voices {', '.join(sorted(missing))}; "
            "install the Debian package espeak-ng with espeak-ng-data, 1.51 or later"
        )
    return _run("--version").decode().split("Data at")[0].strip()


def speak(word: str, voice: Voice, words_per_minute: int) -> np.ndarray:
    """One word's samples in [-1, 1], at 22,050 Hz, without the silence around it."""
    found = _run(
        *("-v", f"{voice.accent}+{voice.variant}", "-p", str(voice.pitch)),
        *("-s", str(words_per_minute), "-z", "--stdout", "--", word),
    )
    with wave.open(io.BytesIO(found)) as file:
        form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
        if form != (RATE_HZ, 1, 2):
            raise DataError(f"espeak-ng gave sound of another form for {voice}: {form}")
    # Streamed, so the header does not know the length; it is 44 bytes.
    samples = np.frombuffer(found[44 : 44 + (len(found) - 44) // 2 * 2], "<i2") / 32768
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    if not loud.size:
        raise DataError(f"espeak-ng said nothing for {word!r} as {voice}; reinstall espeak-ng")
    return samples[loud[0] : loud[-1] + 1]


def _run(*arguments: str) -> bytes:
    done = subprocess.run(["espeak-ng", *arguments], capture_output=True, timeout=60, check=False)
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines()
        raise DataError(f"espeak-ng {' '.join(arguments)} failed: {why[-1] if why else 'no word'}")
    return done.stdout
