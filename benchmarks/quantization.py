"""What each setting of int8 quantization costs: accuracy on digits, output error of a transformer.

Two networks are trained on 1,100 of scikit-learn's digits; 200 others calibrate, 497 others test.
BertMini has seeded weights, and normal inputs; then the scale of one channel of each norm is made
50 times as large, as language models have it. `python benchmarks/quantization.py`: 15 minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import report
import torch
from networks import seeded
from networks.bert import BertMini
from sklearn.datasets import load_digits
from torch import nn

from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.model import Model
from adaspring.passes import Equalize, MixedPrecision, Pass, Quantize, Smooth, run
from adaspring.passes.quantize.calibrators import CALIBRATORS
from adaspring.passes.quantize.sensitivity import error_ratio
from adaspring.reference.executor import accuracy, evaluate
from adaspring.tests.support.networks import MobileNetStyle, SmallResNet

EPOCHS = {MobileNetStyle: 20, SmallResNet: 8}
BATCH = 64
OUTLIER = 50.0

PLAIN: dict[str, tuple[Pass, ...]] = {
    name: (Quantize(calibration=name),) for name in CALIBRATORS
} | {"auto, gptq": (Quantize(rounding="gptq"),)}
CONVOLUTIONS: dict[str, tuple[Pass, ...]] = {
    "equalize, auto": (Equalize(), Quantize()),
    "equalize, auto, gptq": (Equalize(), Quantize(rounding="gptq")),
    "mixed, max_error_ratio 1e-4": (MixedPrecision(max_error_ratio=1e-4),),
}
TRANSFORMERS: dict[str, tuple[Pass, ...]] = {
    "smooth, auto": (Smooth(), Quantize()),
    "smooth, auto, gptq": (Smooth(), Quantize(rounding="gptq")),
}


def digits() -> Dataset:
    """All images, enlarged to (3, 32, 32), shuffled."""
    source = load_digits()
    images = torch.from_numpy(source.images.astype(np.float32) / 16)[:, None]
    enlarged = nn.functional.interpolate(images, size=(32, 32), mode="bilinear")
    order = np.random.default_rng(0).permutation(len(images))
    return Dataset(
        inputs=(enlarged.repeat(1, 3, 1, 1).numpy()[order],),
        targets=source.target.astype(np.int64)[order],
    )


def trained(kind: type[nn.Module], data: Dataset) -> nn.Module:
    """The network fitted to images that are shifted by up to two pixels."""
    torch.manual_seed(0)
    network = kind().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    x, y = torch.from_numpy(data.inputs[0]), torch.from_numpy(data.labels)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = EPOCHS[kind] * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for _ in range(EPOCHS[kind]):
        for chosen in torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH):
            shift = tuple(int(pixels) for pixels in torch.randint(-2, 3, (2,)))
            optimizer.zero_grad()
            loss_of(network(torch.roll(x[chosen], shift, dims=(2, 3))), y[chosen]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def cases() -> Iterator[tuple[str, Model, Dataset, Dataset, dict[str, tuple[Pass, ...]]]]:
    """Each network with its calibration and test data, and what to try on it."""
    samples = digits()
    train, calibration, test = (
        samples.take(np.arange(*ends)) for ends in ((0, 1100), (1100, 1300), (1300, 1797))
    )
    for kind in EPOCHS:
        model = from_torch(trained(kind, train), (torch.zeros(1, 3, 32, 32),), name=kind.__name__)
        yield kind.__name__, model, calibration, test, PLAIN | CONVOLUTIONS
    normal = np.random.default_rng(1).standard_normal((24, *BertMini.example_shape[1:]))
    tokens = Dataset(inputs=(normal.astype(np.float32),))
    for name, factor in (("BertMini", 1.0), ("BertMini with outliers", OUTLIER)):
        network = seeded(BertMini)
        with torch.no_grad():
            for layer in network.layers:
                layer.norm1.weight[7] *= factor
                layer.norm2.weight[9] *= factor
        model = from_torch(network, (torch.zeros(BertMini.example_shape),), name="bert")
        halves = tokens.take(np.arange(8)), tokens.take(np.arange(8, 24))
        yield name, model, *halves, PLAIN | TRANSFORMERS


def main() -> None:
    """Measure, print, write JSON."""
    parser = report.arguments(__doc__, "the first network alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, model, calibration, test, settings in cases():
        wanted = evaluate(model, test)[0]
        for label, passes in ({"float": ()} | settings).items():
            given = evaluate(run(model, passes, calibration).model, test)[0]
            row = {"network": name, "setting": label, "error_ratio": error_ratio(given, wanted)}
            shown = f"{name:24} {label:28} squared output error {row['error_ratio']:.4%}"
            if test.labels is not None:
                row["accuracy"] = accuracy(given, test.labels)
                shown += f"   accuracy {row['accuracy']:.2%}"
            rows.append(row)
            print(shown, flush=True)
        if arguments.quick:
            break
    report.write(arguments.json, "quantization", ("apache-tvm", "torch"), {"seed": 0}, rows, {})


if __name__ == "__main__":
    main()
