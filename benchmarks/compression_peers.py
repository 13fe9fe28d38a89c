"""Other compressors on the same network and data: Torch-Pruning, ONNX Runtime, NNCF.

Each gives rows; a peer that is not installed (the extra `peers`) raises ImportError.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from math import ceil
from pathlib import Path

import numpy as np
import torch
from compression_rows import BATCH_NORM, FINE_TUNED, MULTIPLE_OF, NONE, Bench, Row
from datasets import Part
from peer_calls import onnxruntime_call, onnxruntime_int8, openvino_call, save_onnx
from torch import nn
from trained import retrained, torch_accuracy

from adaspring.ir.layers import macs_count, weight_bytes

# What NNCF may lose, in accuracy on the validation part, before it gives layers back to fp32.
NNCF_MAX_DROP = 0.01


def torch_pruning(bench: Bench) -> Iterator[Row]:
    """Every ratio by two of its importances.

    As pruned; with the statistics of batch norm taken anew on the calibration part; and fine-tuned
    on the training part.
    """
    import torch_pruning as tp

    importances = {
        "magnitude": tp.importance.GroupMagnitudeImportance,
        "taylor": tp.importance.GroupTaylorImportance,
    }
    for (kind, importance), percent in product(importances.items(), bench.pruned_percent):
        thin = copy.deepcopy(bench.network)
        _prune(tp, thin, importance(), percent, bench)
        row = partial(_row, bench, f"torch-pruning-{kind}", f"pruned{percent}")
        yield row(thin, NONE)
        renew_batch_norm(thin, bench.parts.calibration)
        yield row(thin, BATCH_NORM)
        epochs = bench.task.epochs // 2
        tuned = retrained(thin, bench.task, bench.parts.train, epochs=epochs, max_lr=1e-3)
        yield row(tuned, FINE_TUNED)


def renew_batch_norm(network: nn.Module, calibration: Part) -> None:
    """Means and variances of every batch norm over all samples at once."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the calls
    with torch.no_grad():
        network.train()(torch.from_numpy(calibration.x))
    network.eval()
    for norm in norms:
        norm.momentum = 0.1


def _prune(tp, network: nn.Module, importance, percent: int, bench: Bench) -> None:
    """Prune in place, to the widths that ours has, so that the sizes are the same."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    heads = [module for module in network.modules() if isinstance(module, nn.Linear)]

    def ratio(channels: int) -> float:
        kept = MULTIPLE_OF * ceil(channels * (1 - percent / 100) / MULTIPLE_OF)
        return 1 - (min(kept, channels) + 0.5) / channels  # it rounds down what stays

    pruner = tp.pruner.BasePruner(
        network,
        torch.zeros(bench.example_shape),
        importance,
        pruning_ratio_dict={module: ratio(module.out_channels) for module in convolutions},
        ignored_layers=heads,
    )
    x, y = (torch.from_numpy(array) for array in bench.parts.calibration)
    network.zero_grad()
    nn.functional.cross_entropy(network(x), y).backward()  # what Taylor's importance reads
    pruner.step()
    network.zero_grad()


def _row(bench: Bench, by: str, variant: str, network: nn.Module, retraining: str) -> Row:
    """Counted as ours are: imported, batch norm folded."""
    model = bench.imported(network.eval())
    return bench.row(
        by=by,
        variant=variant,
        retraining=retraining,
        accuracy_ratio=torch_accuracy(network, bench.parts.test),
        macs_count=macs_count(model),
        weights_bytes=weight_bytes(model),
    )


def onnx_runtime(bench: Bench) -> Iterator[Row]:
    """Static int8, QDQ, per channel."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        save_onnx(bench.network, bench.example_shape, path)
        int8 = onnxruntime_int8(path, _singles(bench.parts.calibration.x))
        call = onnxruntime_call(int8, bench.threads)
        kept = sum(
            onnx.numpy_helper.to_array(array).nbytes for array in onnx.load(int8).graph.initializer
        )
        right = call_accuracy(lambda x: call(x)[0], bench.parts.test)
        yield _int8_row(bench, "onnxruntime", "int8", right, kept)


def nncf(bench: Bench) -> Iterator[Row]:
    """Post-training int8, and the same with a bound on what it may lose."""
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    calibration = nncf.Dataset([{"x": x} for x in _singles(bench.parts.calibration.x)])
    held = list(zip(_singles(bench.parts.validation.x), bench.parts.validation.y, strict=True))
    validation = nncf.Dataset(held, lambda pair: {"x": pair[0]})

    def score(compiled, pairs) -> tuple[float, None]:
        return float(np.mean([compiled(x)[0].argmax() == y for x, y in pairs])), None

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        save_onnx(bench.network, bench.example_shape, path)
        read = openvino.Core().read_model
        made = {
            "int8": nncf.quantize(read(path), calibration),
            "int8-controlled": nncf.quantize_with_accuracy_control(
                read(path), calibration, validation, score, max_drop=NNCF_MAX_DROP
            ),
        }
        for variant, model in made.items():
            call = openvino_call(model, "f32", bench.threads)
            right = call_accuracy(lambda x, call=call: call(x)[0], bench.parts.test)
            constants = [op for op in model.get_ops() if op.get_type_name() == "Constant"]
            kept = sum(constant.get_byte_size() for constant in constants)
            yield _int8_row(bench, "nncf", variant, right, kept)


def _int8_row(bench: Bench, by: str, variant: str, right: float, kept_bytes: int) -> Row:
    return bench.row(
        by=by,
        variant=variant,
        retraining=NONE,
        accuracy_ratio=right,
        macs_count=macs_count(bench.dense),
        weights_bytes=kept_bytes,
    )


def call_accuracy(call: Callable[[np.ndarray], np.ndarray], part: Part) -> float:
    """The share that a runtime, which takes one sample a call, reads right."""
    found = [int(np.argmax(call(x))) for x in _singles(part.x)]
    return float(np.mean(np.array(found) == part.y))


def _singles(x: np.ndarray) -> list[np.ndarray]:
    return np.split(x, len(x))
