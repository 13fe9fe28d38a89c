"""Trains the demo's network in well under a minute on two cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from .data import DISTURBANCE
from .network import DigitsNet

EPOCHS = 12
_BATCH = 64

Network = TypeVar("Network", bound=nn.Module)


def train(
    images: np.ndarray,
    labels: np.ndarray,
    thread_count: int,
    progress: Callable[[int, int], None],
    seed: int = 0,
) -> DigitsNet:
    """Fit a DigitsNet to images (n, 1, 32, 32) and labels (n,), disturbed anew in each epoch."""
    torch.set_num_threads(thread_count)
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    return fit(
        DigitsNet(),
        images,
        labels,
        lambda batch: DISTURBANCE(batch, random),
        progress,
        epochs=EPOCHS,
        max_lr=4e-3,
    )


def fit(
    network: Network,
    samples: np.ndarray,
    labels: np.ndarray,
    augment: Callable[[torch.Tensor], torch.Tensor],
    progress: Callable[[int, int], None],
    *,
    epochs: int,
    max_lr: float,
) -> Network:
    """Fit a classifier to samples (n, c, h, w), each batch augmented; ready to infer."""
    network = network.to(memory_format=torch.channels_last).train()
    x, y = torch.from_numpy(samples), torch.from_numpy(labels)
    steps = epochs * (len(x) // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=max_lr, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    step = 0
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for indices in order[: len(x) // _BATCH * _BATCH].split(_BATCH):
            batch = augment(x[indices]).to(memory_format=torch.channels_last)
            optimizer.zero_grad()
            loss_of(network(batch), y[indices]).backward()
            optimizer.step()
            schedule.step()
            step += 1
            progress(step, steps)
    return network.to(memory_format=torch.contiguous_format).eval()
