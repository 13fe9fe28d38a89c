"""A folder with one folder for each class, of images or of saved arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp")


def from_folder(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read samples and labels; class numbers follow the sorted folder names.

    An image becomes float32, 0 to 1, (channels, height, width): one channel if it is grey, else
    three. A ``.npy`` file is one sample as it is.
    """
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    files = [(number, file) for number, place in enumerate(classes) for file in _files(place)]
    if not files:
        raise DataError(
            f"{folder} holds no samples; it needs one folder for each class, with "
            f"{', '.join(_IMAGES)} or .npy files in it"
        )
    samples = [_sample(file) for _, file in files]
    for (_, file), sample in zip(files, samples, strict=True):
        if sample.shape != samples[0].shape:
            raise DataError(
                f"{file} has the shape {sample.shape}, {files[0][1]} has {samples[0].shape}; "
                "make all samples of one size"
            )
    return np.stack(samples), np.array([number for number, _ in files], dtype=np.int64)


def _files(place: Path) -> list[Path]:
    return sorted(f for f in place.iterdir() if f.suffix.lower() in (*_IMAGES, ".npy"))


def _sample(file: Path) -> np.ndarray:
    try:
        if file.suffix.lower() == ".npy":
            return np.load(file, allow_pickle=False)
        return _image(file)
    except ImportError as error:
        raise DataError(f"{file}: reading images needs Pillow; pip install pillow") from error
    except Exception as error:
        raise DataError(f"{file} cannot be read; remove it or save it again") from error


def _image(file: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(file) as image:
        grey = image.mode in ("1", "L", "LA")
        pixels = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.float32) / 255
    return pixels[np.newaxis] if grey else np.ascontiguousarray(pixels.transpose(2, 0, 1))
