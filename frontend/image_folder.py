"""A folder with one folder for each class, of images or of saved arrays."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ..errors import DataError
from ..files.arrays import read_npy
from ..files.read import memory_bytes, open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 2**26  # of one image: 8192 by 8192
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
_FORMATS = ("PNG", "JPEG", "BMP")
_SCALE = "scale it down to what the network takes"
_REPAIR = "remove it or save it again"
# A PNG's header: bits of a channel, then what the channels are (0: grey alone).
_PNG_START, _PNG_DEPTH_AT, _PNG_COLOUR_AT = b"\x89PNG\r\n\x1a\n", 24, 25


def from_folder(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read samples and labels; class numbers follow the sorted folder names.

    An image becomes float32, 0 to 1, (channels, height, width): one channel if it is grey, else
    three. Black is 0; 1 is 255, or 65535 in a grey PNG of 16 bits. A ``.npy`` file is one sample
    as it is.
    """
    files = [(number, file) for number, place in enumerate(_folders(folder)) for file in place]
    if not files:
        raise DataError(
            f"{folder} holds no samples; it needs one folder for each class, with "
            f"{', '.join(_IMAGES)} or .npy files in it"
        )
    samples: list[np.ndarray] = []
    for _, file in files:
        sample = _sample(file)
        if samples and sample.shape != samples[0].shape:
            raise DataError(
                f"{file} has the shape {sample.shape}, {files[0][1]} has {samples[0].shape}; "
                "make all samples of one size"
            )
        if sample.nbytes * len(files) > memory_bytes():
            raise DataError(
                f"{folder} holds {len(files)} samples of {sample.nbytes} bytes, more than this "
                f"machine's memory of {memory_bytes()}; give fewer or smaller ones"
            )
        samples.append(sample)
    return np.stack(samples), np.array([number for number, _ in files], dtype=np.int64)


def _folders(folder: Path) -> list[list[Path]]:
    """The samples' files, a list for each class."""
    try:
        classes = sorted(entry for entry in folder.iterdir() if os.path.isdir(entry))
        suffixes = (*_IMAGES, ".npy")
        return [
            sorted(file for file in place.iterdir() if file.suffix.lower() in suffixes)
            for place in classes
        ]
    except OSError as error:
        raise DataError(
            f"{error.filename or folder} cannot be read: {error.strerror}; fix its permissions"
        ) from error


def _sample(file: Path) -> np.ndarray:
    try:
        if file.suffix.lower() == ".npy":
            return read_npy(file, DataError, _REPAIR)
        with open_regular(file, DataError, _REPAIR) as opened:
            return _image(file, opened)
    except DataError:
        raise
    except ImportError as error:
        raise DataError(f"{file}: reading images needs Pillow; pip install pillow") from error
    except Exception as error:
        raise DataError(f"{file} cannot be read; {_REPAIR}") from error


def _image(path: Path, file: BinaryIO) -> np.ndarray:
    from PIL import Image

    deep = _is_deep_grey(path, file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ours is the lower limit
        try:
            image = Image.open(file, formats=_FORMATS)
        except Image.DecompressionBombError as error:
            raise DataError(f"{path} has more than {MOST_PIXELS} pixels; {_SCALE}") from error
    with image:
        _check_size(path, image)
        if deep:
            return np.asarray(image, dtype=np.float32)[np.newaxis] / np.float32(65535)
        grey = image.mode in ("1", "L", "LA")
        pixels = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.float32) / 255
    return pixels[np.newaxis] if grey else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _check_size(path: Path, image: Image) -> None:
    """Refuse by the header, before a pixel is decoded."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise DataError(f"{path} has {width} x {height} pixels, more than {MOST_PIXELS}; {_SCALE}")


def _is_deep_grey(path: Path, file: BinaryIO) -> bool:
    """Whether it is a grey PNG of 16 bits; one in colour is refused: Pillow drops half its bits."""
    header = file.read(_PNG_COLOUR_AT + 1)
    file.seek(0)
    if not header.startswith(_PNG_START) or len(header) <= _PNG_COLOUR_AT:
        return False
    if header[_PNG_DEPTH_AT] != 16:
        return False
    if header[_PNG_COLOUR_AT] != 0:
        raise DataError(
            f"{path} has 16 bits a channel in colour or with transparency, which would be cut to "
            "8; save it as grey, with 8 bits, or as an .npy array"
        )
    return True
