"""The benchmarks' data sets: the same from the same seed, parts apart, hostile caches made anew."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from datasets import Part, Parts, activity, digits, keyword, speech, write_npz
from datasets.cache import cached
from datasets.mfcc import BANDS, COEFFICIENTS, mel_filters, mfcc
from scipy.fft import dct

from adaspring.errors import DataError
from adaspring.frontend.data import load_data

SMALL = activity.Settings(
    train_subjects=6, validation_subjects=3, test_subjects=4, windows_per_activity=2,
    calibration_count=12,
)  # fmt: skip
SPOKEN = keyword.Settings(
    train_voices=2, validation_voices=1, test_voices=1, sayings=1, copies=1, calibration_count=4
)


@pytest.fixture
def espeak():
    """Ask for espeak-ng; only benchmarks need it, so CI may lack it."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed (Debian package espeak-ng)")


def same(one: Parts, other: Parts) -> bool:
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(a, b) for ab in pairs for a, b in zip(*ab, strict=True))


def tiny() -> Parts:
    x = np.arange(12, dtype=np.float32).reshape(3, 1, 2, 2)
    return Parts(*(Part(x + i, np.arange(3)) for i in range(4)))


def whole_samples(part: Part) -> set[bytes]:
    return {sample.tobytes() for sample in part.x}


def test_activities_are_the_same_from_the_same_seed_and_others_from_another():
    assert same(activity.make(SMALL), activity.make(SMALL))
    assert not same(activity.make(SMALL), activity.make(replace(SMALL, seed=1)))


def test_activities_have_the_shapes_types_and_counts_that_were_asked_for():
    parts = activity.make(SMALL)
    assert [len(part.y) for part in parts] == [6 * 12 - 12, 12, 3 * 12, 4 * 12]
    for part in parts:
        assert part.x.shape[1:] == (3, 1, 128)
        assert (part.x.dtype, part.y.dtype) == (np.float32, np.int64)
        assert np.isfinite(part.x).all()
    assert np.bincount(parts.test.y).tolist() == [8] * 6


def test_a_subject_walks_alike_in_all_windows_and_unlike_other_subjects():
    """Else held-out subjects would test nothing: who it is shows in the dominant direction."""
    settings = replace(SMALL, windows_per_activity=20, noise_g=0.01)
    x, y = activity.make(settings).test
    lying = x[:, :, 0].mean(axis=2)[y == 5].reshape(4, 20, 3)
    within = lying.std(axis=1).mean()
    between = lying.mean(axis=1).std(axis=0).mean()
    assert between > 1.5 * within


def test_subjects_of_the_test_part_change_nothing_in_the_other_parts():
    fewer, more = activity.make(SMALL), activity.make(replace(SMALL, test_subjects=9))
    assert same(Parts(*fewer[:3], fewer.test), Parts(*more[:3], fewer.test))
    assert np.array_equal(more.test.x[: len(fewer.test.x)], fewer.test.x)


@pytest.mark.parametrize("make", [lambda folder: activity.make(SMALL), digits.load])
def test_no_sample_is_in_two_parts(make, tmp_path):
    found = [whole_samples(part) for part in make(tmp_path)]
    assert len(set.union(*found)) == sum(len(samples) for samples in found)


def test_digits_are_all_of_scikit_learns(tmp_path):
    parts = digits.load(tmp_path)
    assert sum(len(part.y) for part in parts) == 1797
    assert all(part.x.shape[1:] == (1, 32, 32) for part in parts)
    assert set(parts.test.y.tolist()) == set(range(10))


def test_no_voice_is_in_two_parts_whatever_the_seed():
    for seed in range(5):
        groups = keyword.voices(keyword.Settings(seed=seed))
        assert [len(group) for group in groups] == [40, 10, 15]
        assert len(set().union(*groups)) == 65


def test_no_two_voices_are_of_one_family_of_espeaks():
    families = [name.rstrip("0123456789").lower() for name in speech.VOICES]
    numbered = {"m", "f", "klatt"}  # these differ in more than their number
    named = [family for family in families if family not in numbered]
    assert len(set(named)) == len(named)


def test_more_voices_than_there_are_is_refused():
    with pytest.raises(DataError, match="voices were asked for"):
        keyword.voices(keyword.Settings(test_voices=99))


def test_no_other_word_is_a_keyword():
    assert not set(keyword.OTHERS) & set(keyword.WORDS)


def test_where_espeak_is_missing_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DataError, match="install the Debian package espeak-ng"):
        keyword.load(tmp_path)


def test_keywords_are_spoken_alike_from_the_same_seed(espeak):
    parts = keyword.make(SPOKEN)
    assert same(parts, keyword.make(SPOKEN))
    assert [part.x.shape for part in parts] == [
        (20, 1, 49, 10), (4, 1, 49, 10), (12, 1, 49, 10), (12, 1, 49, 10),
    ]  # fmt: skip
    assert all(part.x.dtype == np.float32 and np.isfinite(part.x).all() for part in parts)
    assert parts.test.y.tolist() == list(range(12))


def test_every_voice_says_every_word_and_no_two_voices_sound_alike(espeak):
    said = {
        speech.speak("stop", speech.Voice(name, "en-us", 50), 175).tobytes()
        for name in speech.VOICES
    }
    assert len(said) == len(speech.VOICES)


def test_a_word_that_looks_like_an_option_is_spoken(espeak):
    voice = speech.Voice("m1", "en-us", 50)
    assert speech.speak("--version", voice, 175).size > 1000


def test_a_voice_that_espeak_does_not_have_is_refused(espeak, monkeypatch, tmp_path):
    """Else it would speak in its default voice, in two parts."""
    monkeypatch.setattr(speech, "VOICES", (*speech.VOICES, "nobody"))
    with pytest.raises(DataError, match="has not the voices !v/nobody"):
        keyword.load(tmp_path)


def test_coefficients_are_those_of_scipys_cosine_transform_of_the_log_bands():
    rate_hz, window = 22050, 882
    sound = np.random.default_rng(0).normal(size=rate_hz)
    found = mfcc(sound, rate_hz)
    assert found.shape == (49, COEFFICIENTS)
    frame = sound[3 * 441 : 3 * 441 + window] * np.hanning(window)
    power = np.abs(np.fft.fft(frame)[: window // 2 + 1]) ** 2
    bands = np.log(mel_filters(window, rate_hz) @ power + 1e-6)
    assert bands.shape == (BANDS,)
    np.testing.assert_allclose(found[3], dct(bands, norm="ortho")[:COEFFICIENTS], rtol=1e-9)


def test_a_tone_is_loudest_in_the_band_around_it():
    rate_hz = 22050
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate_hz) / rate_hz)
    power = np.abs(np.fft.rfft(tone[:882] * np.hanning(882))) ** 2
    band = int(np.argmax(mel_filters(882, rate_hz) @ power))
    heights = mel_filters(882, rate_hz)[band] * np.fft.rfftfreq(882, 1 / rate_hz)
    assert abs(heights.sum() / mel_filters(882, rate_hz)[band].sum() - 1000) < 60


def test_what_is_kept_is_not_made_again_and_other_settings_are(tmp_path):
    made = []

    def make() -> Parts:
        made.append(1)
        return tiny()

    first = cached(tmp_path, "tiny", ("a", 1), make)
    assert same(first, cached(tmp_path, "tiny", ("a", 1), make))
    assert len(made) == 1
    cached(tmp_path, "tiny", ("a", 2), make)
    assert len(made) == 2


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path):
    raw = bytearray(path.read_bytes())
    at = raw.index(np.float32(11.0).tobytes())
    raw[at] ^= 1
    path.write_bytes(bytes(raw))


def _pickle(path):
    np.savez(path, train_x=np.array([{"a": 1}], dtype=object))


def _foreign(path):
    np.savez(path, x=np.zeros(3))


def _other_values(path):
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["test_y"] = arrays["test_y"][::-1].copy()
    np.savez(path, **arrays)


def _other_digest_type(path):
    np.savez(path, digest=np.zeros((2, 2)))


@pytest.mark.parametrize(
    "damage",
    [_cut, _flip, _pickle, _foreign, _other_values, _other_digest_type,
     lambda path: path.write_bytes(b""), lambda path: path.write_text("no archive")],
)  # fmt: skip
def test_a_damaged_or_foreign_cache_is_made_anew(damage, tmp_path):
    cached(tmp_path, "tiny", "settings", tiny)
    (path,) = tmp_path.glob("*.npz")
    damage(path)
    assert same(cached(tmp_path, "tiny", "settings", tiny), tiny())
    assert same(cached(tmp_path, "tiny", "settings", _never), tiny())
    assert list(tmp_path.iterdir()) == [path]


def _never() -> Parts:
    raise AssertionError("it was made again")


def test_a_written_part_is_read_as_the_command_line_reads_data(tmp_path):
    part = activity.make(SMALL).validation
    write_npz(tmp_path / "held-out.npz", part)
    read = load_data(tmp_path / "held-out.npz")
    assert np.array_equal(read.inputs[0], part.x)
    assert np.array_equal(read.labels, part.y)
