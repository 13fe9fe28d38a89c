"""A loss of the user's, in place of cross-entropy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import AdaspringError, TrainingError, UsageError, first_line
from ...frontend.factory import find_named, is_factory

Loss = Callable[[Any, Any], Tensor]
"""From outputs and targets of a batch, as torch tensors, to its mean loss."""

AskedLoss = str | Loss | None


def find_loss(asked: AskedLoss) -> Loss | None:
    """Import the function that is named; UsageError where there is none."""
    if not isinstance(asked, str):
        return asked
    if not is_factory(asked):
        raise UsageError(f"--loss {asked!r} is no function; write it as package.module:function")
    found = find_named(asked, UsageError)
    if not callable(found):
        raise UsageError(f"--loss {asked} is no function of (outputs, targets)")
    return found


def loss_name(loss: Loss | None) -> str | None:
    """Its module and name, which tell one training run from another."""
    if loss is None:
        return None
    return f"{getattr(loss, '__module__', '')}:{getattr(loss, '__qualname__', repr(type(loss)))}"


def compute(loss: Loss, outputs: Sequence[Tensor], targets: Any) -> Tensor:
    """The mean loss of a batch.

    Raises:
        TrainingError: the function fails, or what it gives is no single tensor.

    """
    try:
        found = loss(outputs[0] if len(outputs) == 1 else tuple(outputs), targets)
    except (AdaspringError, MemoryError):
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {first_line(error)}"
        raise TrainingError(f"the loss {loss_name(loss)} failed ({what})") from error
    if not isinstance(found, torch.Tensor) or found.numel() != 1:
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise TrainingError(
            f"the loss {loss_name(loss)} gives {shape}; it must give the batch's mean, one number "
            "as a torch tensor"
        )
    return found.reshape(())
