"""What pruning and dropping blocks cost in accuracy, without retraining, on real handwriting.

Two small networks (tests/support/networks.py) learn scikit-learn's digits, enlarged to 32×32: 1,100
images to train on, 200 with labels to calibrate, 497 to test. Then each is pruned by every
importance, in both scopes, and loses residual blocks. One seed.

    python benchmarks/pruning.py [--quick] [--json results/pruning.json]
"""

from __future__ import annotations

import numpy as np
import report
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from adaspring.frontend.data import Dataset
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.ir.layers import macs_count
from adaspring.ir.model import Model
from adaspring.passes import DropBlocks, Pass, Prune
from adaspring.passes.prune.importance import IMPORTANCES
from adaspring.passes.refit import Refit
from adaspring.reference.executor import accuracy, evaluate
from adaspring.tests.support.networks import MobileNetStyle, SmallResNet

EPOCHS = {SmallResNet: 8, MobileNetStyle: 40}
BATCH = 64


def digits() -> Dataset:
    """All images as (n, 3, 32, 32) in [0, 1], shuffled, with labels."""
    source = load_digits()
    images = torch.from_numpy(source.images.astype(np.float32) / 16)[:, None]
    images = F.interpolate(images, size=(32, 32), mode="bilinear", align_corners=False)
    order = np.random.default_rng(0).permutation(len(images))
    images = images.expand(-1, 3, -1, -1).numpy()
    return Dataset(inputs=(images,), targets=source.target.astype(np.int64)).take(order)


def trained(kind: type, data: Dataset, epochs: int) -> nn.Module:
    """Fit a network; images are shifted by up to two pixels."""
    torch.manual_seed(0)
    network = kind().train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    x, y = torch.from_numpy(data.inputs[0]), torch.from_numpy(data.labels)
    steps = epochs * (len(x) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH):
            optimizer.zero_grad()
            down, right = (int(v) for v in torch.randint(-2, 3, (2,)))
            scores = network(torch.roll(x[rows], (down, right), (2, 3)))
            F.cross_entropy(scores, y[rows], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def measured(model: Model, settings: Pass, calibration: Dataset, test: Dataset) -> dict:
    """Accuracy after one pass, before and after its refits."""
    decisions = settings.plan(model, calibration)
    plain = settings.apply(model, [d for d in decisions if not isinstance(d, Refit)])
    small = settings.apply(model, decisions)
    row = {
        "network": model.name,
        "pass": repr(settings),
        "macs_removed_ratio": 1 - macs_count(small) / macs_count(model),
        "accuracy_plain_ratio": accuracy(evaluate(plain, test)[0], test.labels),
        "accuracy_refitted_ratio": accuracy(evaluate(small, test)[0], test.labels),
    }
    figures = "  ".join(f"{value:6.1%}" for value in row.values() if isinstance(value, float))
    print(f"{model.name:15} {row['pass']:80} {figures}", flush=True)
    return row


def main() -> None:
    """Train, prune, print, write JSON."""
    arguments = report.arguments(__doc__, "one epoch, one ratio").parse_args()
    data, rows = digits(), []
    train, calibration, test = (
        data.take(np.arange(*ends)) for ends in ((0, 1100), (1100, 1300), (1300, len(data)))
    )
    ratios = (0.5,) if arguments.quick else (0.75, 0.5, 0.35)
    print(f"{'':96} MACs removed, accuracy without and with refits")
    for kind, count in ((SmallResNet, 3), (MobileNetStyle, 2)):
        network = trained(kind, train, 1 if arguments.quick else EPOCHS[kind])
        model = from_torch(network, (torch.zeros(1, 3, 32, 32),), name=kind.__name__)
        dense = accuracy(evaluate(model, test)[0], test.labels)
        print(f"{model.name}: {macs_count(model):,} MACs, {dense:.1%} of {len(test)} right")
        passes: list[Pass] = [DropBlocks(count=n) for n in range(1, count + 1)]
        for scope in ("group", "global"):
            for ratio in ratios:
                passes += [
                    Prune(keep_ratio=ratio, multiple_of=4, importance=name, scope=scope)
                    for name in IMPORTANCES
                ]
        rows += [measured(model, settings, calibration, test) for settings in passes]
    report.write(
        arguments.json,
        "pruning",
        ("torch", "apache-tvm", "scikit-learn"),
        {"epochs": {kind.__name__: epochs for kind, epochs in EPOCHS.items()}, "seed": 0},
        rows,
        {},
    )


if __name__ == "__main__":
    main()
