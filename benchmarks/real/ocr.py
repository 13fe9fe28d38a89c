"""rapidocr's networks on text that Pillow renders: where it is, what it says, which way up.

The fonts are those of this machine (DejaVu and what else lies in /usr/share/fonts, Pillow's own
where there are none), the words those of Python's documentation strings.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from adaspring.frontend.data import Dataset
from real.case import Case, Ready
from real.packages import RAPIDOCR, extract
from real.sentences import stdlib_text

_MODELS = "rapidocr/models/"
DETECTOR, RECOGNIZER, ANGLE = (
    _MODELS + name
    for name in (
        "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx",
        "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    )
)  # fmt: skip
LINE, PAGE, TURNED = (48, 320), (320, 320), (48, 192)
_LINES, _PAGES, _TURNS = 400, 60, 400
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.,()_-]{2,}")


def render(words: str, shape: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """A line of text of a random font, ink, paper, slant and sharpness, as high as the image."""
    height, width = shape
    paper, ink = int(random.integers(180, 256)), int(random.integers(0, 90))
    image = Image.new("L", (width, height), paper)
    draw = ImageDraw.Draw(image)
    size = height * random.uniform(0.45, 0.7)
    font = _font(random, size)
    left, top, right, bottom = draw.textbbox((0, 0), words, font=font)
    if right - left > width - 8:
        font = _font(random, size * (width - 8) / (right - left), font)
        left, top, right, bottom = draw.textbbox((0, 0), words, font=font)
    draw.text((4 - left, (height - bottom + top) / 2 - top), words, fill=ink, font=font)
    image = image.rotate(random.uniform(-1.5, 1.5), Image.Resampling.BICUBIC, fillcolor=paper)
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.9)))


def pixels(image: Image.Image, random: np.random.Generator) -> np.ndarray:
    """What the networks take: (3, height, width) in [-1, 1], in noise."""
    grey = np.asarray(image, np.float32) / 127.5 - 1
    noisy = grey + random.normal(0, random.uniform(0, 0.12), grey.shape)
    return np.repeat(np.clip(noisy, -1, 1)[None], 3, axis=0).astype(np.float32)


def recognizer(folder: Path) -> Ready:
    """Lines of one to three words, and the numbers of their characters."""
    file = extract(RAPIDOCR, RECOGNIZER, folder)
    numbers = alphabet(file)
    random = np.random.default_rng(0)
    lines = [" ".join(_words(random, int(random.integers(1, 4)))) for _ in range(_LINES)]
    x = np.array([pixels(render(line, LINE, random), random) for line in lines])
    longest = max(map(len, lines))
    y = np.full((_LINES, longest), -1, np.int64)
    for row, line in zip(y, lines, strict=True):
        row[: len(line)] = [numbers[character] for character in line]
    return Ready(file, Dataset(inputs=(x,), targets=y), {"x": (1, 3, *LINE)})


def alphabet(file: Path) -> dict[str, int]:
    """The class of each character: 0 is CTC's blank, the last one a space."""
    found = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    characters = found["character"].split("\n")
    return {" ": len(characters) + 1} | {c: index for index, c in enumerate(characters, 1)}


def detector(folder: Path) -> Ready:
    """Pages of six lines; there are no labels, so the dense network's answer is right."""
    random = np.random.default_rng(1)
    pages = []
    for _ in range(_PAGES):
        lines = [" ".join(_words(random, 3)) for _ in range(6)]
        strips = [np.asarray(render(line, (PAGE[0] // 8, PAGE[1]), random)) for line in lines]
        page = np.full(PAGE, int(random.integers(180, 256)), np.uint8)
        page[: len(strips) * strips[0].shape[0]] = np.concatenate(strips)
        pages.append(pixels(Image.fromarray(page), random))
    file = extract(RAPIDOCR, DETECTOR, folder)
    return Ready(file, Dataset(inputs=(np.array(pages),)), {"x": (1, 3, *PAGE)})


def angle(folder: Path) -> Ready:
    """Lines of text, half of them upside down."""
    random = np.random.default_rng(2)
    y = random.integers(0, 2, _TURNS)
    images = [render(" ".join(_words(random, 2)), TURNED, random) for _ in range(_TURNS)]
    turned = [image.rotate(180 * int(label)) for image, label in zip(images, y, strict=True)]
    x = np.array([pixels(image, random) for image in turned])
    file = extract(RAPIDOCR, ANGLE, folder)
    return Ready(file, Dataset(inputs=(x,), targets=y), {"x": (1, 3, *TURNED)})


@cache
def _vocabulary() -> tuple[str, ...]:
    return tuple(sorted({word for word in _WORD.findall(stdlib_text()) if len(word) < 12}))


def _words(random: np.random.Generator, count: int) -> list[str]:
    known = _vocabulary()
    return [known[int(index)] for index in random.integers(0, len(known), count)]


def _font(random: np.random.Generator, size: float, same: object = None) -> ImageFont.FreeTypeFont:
    if isinstance(same, ImageFont.FreeTypeFont):
        return same.font_variant(size=size)
    files = sorted(Path("/usr/share/fonts").rglob("*.ttf"))
    if not files:
        return ImageFont.load_default(size)
    return ImageFont.truetype(files[int(random.integers(len(files)))], size)


CASES = (
    Case("rapidocr-recognizer", RAPIDOCR, "rendered lines", "cer", 0.01, recognizer),
    Case("rapidocr-detector", RAPIDOCR, "rendered pages, no labels", None, None, detector),
    Case("rapidocr-angle", RAPIDOCR, "rendered lines, half upside down", "top1", 0.01, angle),
)
