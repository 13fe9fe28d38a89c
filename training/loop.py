"""The loop of training: steps of an epoch, validation after it, checkpoints meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ..errors import TrainingError
from ..frontend.data import Dataset
from ..metrics import Metric
from ..reference.device import full_float32
from .batches import Batch, Batches
from .distributed import Ranks
from .fake_quantize import QuantizationAware
from .lift import TorchModel
from .objective import Judge, Objective
from .run import checkpoint
from .run.checkpoint import Counters, Epoch, State
from .run.schedule import FITTED_AFTER, SAID_AFTER, Pace, Schedule, duration
from .settings import Settings

SAVE_EVERY_S = 60.0
"""How much work a killed run may lose within an epoch; after each epoch all is saved anyway."""


class Progress(Protocol):
    """Told about every step of training."""

    def step(self, stage: str, done: int, total: int, detail: str) -> None:
        """`done` of `total` parts of `stage` are finished; `detail` is what it is at."""

    def note(self, text: str) -> None:
        """Tell what a person should know at once."""


class Loop:
    """One run; `counters` says where it is, `best` holds the best weights so far."""

    def __init__(
        self,
        lifted: TorchModel,
        teacher: TorchModel | None,
        objective: Objective,
        metric: Metric,
        batches: Batches,
        settings: Settings,
        ranks: Ranks,
        pace: Pace,
    ):
        self._lifted, self._teacher, self._objective = lifted, teacher, objective
        self._batches, self._settings, self._ranks = batches, settings, ranks
        self._metric, self._device, self._pace = metric, ranks.device(), pace
        self._watch(outputs=False)
        held, read = dict(lifted.named_parameters()), lifted.weights_read()
        self._trained = {name: value for name, value in held.items() if name in read}
        if not self._trained:
            raise TrainingError(f"{lifted.model.name} has no weights that training could change")
        self._optimizer = _optimizer(self._trained, settings)
        reads_all = lifted.reads_all_each_step and len(self._trained) == len(held)
        self._network = ranks.shared(lifted, reads_all=reads_all)
        # What is rounded to 8 bits must not be rounded to bfloat16 or TF32 before.
        self._exact = isinstance(lifted, QuantizationAware)
        self._most = settings.epochs * batches.steps
        self.counters = Counters(
            run="",
            direction=metric.direction,
            schedule=Schedule(epoch_steps=batches.steps, end=self._most),
        )
        self.best: dict[str, Tensor] = self._weights()
        self.diverged = False

    def run(
        self, validation: Dataset, folder: Path | None, run: str, progress: Progress | None
    ) -> str:
        """Train from the start, or from the last checkpoint in `folder`; say why it stopped."""
        self.counters.run = run
        saved = None
        if folder is not None:
            saved = self._ranks.from_leader(lambda: checkpoint.load(folder, run))
        if saved is not None:
            self._resume(saved)
        else:
            self.counters.history.append(self._validate(validation, 0, None))
            self._save(folder)
        while (why := self._why_stop()) is None:
            problem = self._epoch(folder, progress)
            if problem is not None:
                self.diverged = True
                return problem
            now = self.counters
            mean = now.loss_sum / max(now.step, 1)
            now.history.append(self._validate(validation, now.epoch, mean))
            self._fit_schedule()
            if now.best().epoch == now.epoch:
                self.best = self._weights()
            now.epoch, now.step, now.loss_sum = now.epoch + 1, 0, 0.0
            self._save(folder)
        return why

    def restore_best(self) -> None:
        """Put the best weights back into the network."""
        _fill(self._lifted, self.best)

    def _why_stop(self) -> str | None:
        now, patience = self.counters, self._settings.patience
        if self._done >= self._most:
            return f"all {self._settings.epochs} epochs are done"
        if self._done >= now.schedule.end:
            assert self._pace.limit_s is not None, "only a time limit moves the end"
            limit = duration(self._pace.limit_s)
            return f"the time limit of {limit} is over after {now.schedule.epochs:.3g} epochs"
        if now.epoch - 1 - now.best().epoch >= patience:
            return f"{patience} epochs without a better one"
        return None

    @property
    def _done(self) -> int:
        """The steps that are done."""
        now = self.counters
        return (now.epoch - 1) * self._batches.steps + now.step

    def _epoch(self, folder: Path | None, progress: Progress | None) -> str | None:
        """Go through the rest of an epoch; return what went wrong, or None."""
        now, saved_s = self.counters, time.monotonic()
        self._pace.begin_steps()
        for batch in self._batches.epoch(now.epoch, now.step):
            if progress is not None:
                detail = _detail(now, self._metric)
                progress.step("train", self._done, now.schedule.end, detail)
            loss, is_over = self._step(batch)
            if not math.isfinite(loss):
                return f"the loss is {loss} in step {now.step + 1} of epoch {now.epoch}"
            self._pace.end_step()
            now.step, now.loss_sum = now.step + 1, now.loss_sum + loss
            if self._done in FITTED_AFTER:
                self._fit_schedule()
            if self._done == min(SAID_AFTER, self._batches.steps) and progress is not None:
                progress.note(self._pace.describe(now.schedule))
            if is_over:
                now.schedule = now.schedule.ending(self._done, self._done)
            if self._done >= now.schedule.end:
                break
            if time.monotonic() - saved_s > SAVE_EVERY_S and now.step < self._batches.steps:
                self._save(folder)
                saved_s = time.monotonic()
        return None

    def _fit_schedule(self) -> None:
        """Move the end of the schedule to where the time limit is; the leader's clock counts."""
        now = self.counters
        now.schedule = self._ranks.from_leader(
            lambda: self._pace.fit(now.schedule, self._done, self._most)
        )

    def _step(self, batch: Batch) -> tuple[float, bool]:
        """Do one step, if the loss is finite.

        Return the loss over all processes, and whether the time of one of them is over.
        """
        done = self._done
        rate = self._settings.learning_rate * self.counters.schedule.rate_ratio(done)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        self._lifted.at_step(done)
        with self._precision():
            given = [value.float() for value in self._network(*batch.inputs)]
            wanted = self._teacher_outputs(batch)
        loss = self._objective.loss(given, wanted, batch.targets)
        sums = [loss.item() / self._ranks.count, float(self._pace.is_over)]
        mean, over_count = self._ranks.total(sums, self._device)
        if math.isfinite(mean):
            with self._precision():
                loss.backward()
            self._optimizer.step()
        return mean, over_count > 0

    def _precision(self) -> AbstractContextManager[object]:
        if self._exact:
            return full_float32()
        return torch.autocast(
            self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"
        )

    def _teacher_outputs(self, batch: Batch) -> list[Tensor]:
        if self._teacher is None:
            return []
        with torch.no_grad():
            return [value.float() for value in self._teacher(*batch.inputs)]

    def _validate(self, data: Dataset, epoch: int, loss: float | None) -> Epoch:
        sums, judge = [0.0, 0.0], Judge(self._metric)
        self._lifted.at_step(None)
        self._watch(outputs=True)
        objective, compared_count = self._objective, len(self._objective.teacher)
        with self._pace.validation():
            for batch in self._batches.held_out(data):
                with torch.no_grad(), full_float32():
                    given, wanted = self._lifted(*batch.inputs), self._teacher_outputs(batch)
                task = objective.held_out(given, wanted, batch.targets, batch.count)
                sums = [sums[0] + batch.count, sums[1] + task * batch.count]
                dense = objective.rows(wanted[compared_count:], batch.count)
                judge.add(batch.rows, objective.answers(given, batch.count), dense)
            metric = judge.value(data, self._ranks, must_be_known=epoch == 0)
        self._watch(outputs=False)
        count, total = self._ranks.total(sums, self._device)
        return Epoch(
            epoch=epoch,
            loss=loss,
            validation_loss=total / count,
            validation_metric=metric,
        )

    def _watch(self, *, outputs: bool) -> None:
        """Let the networks give what the loss reads, and for a metric their outputs too."""
        objective = self._objective
        self._lifted.wanted = (*objective.student, *(objective.outputs if outputs else ()))
        if self._teacher is not None:
            more = objective.teacher_outputs if outputs else ()
            self._teacher.wanted = (*objective.teacher, *more)

    def _weights(self) -> dict[str, Tensor]:
        return {name: p.detach().cpu().clone() for name, p in self._lifted.named_parameters()}

    def _save(self, folder: Path | None) -> None:
        if folder is None or not self._ranks.is_leader:
            return
        now = self.counters
        now.spent_s = self._pace.spent_s
        moments = _optimizer_state(self._optimizer, self._trained)
        state = State(now, self._weights(), self.best, moments)
        checkpoint.save(folder, state, self._done)

    def _resume(self, state: State) -> None:
        self.counters, self.best = state.counters, dict(state.best)
        self._pace.go_on(state.counters.spent_s)
        _fill(self._lifted, state.weights)
        _fill_optimizer(self._optimizer, self._trained, state.optimizer)


def _detail(now: Counters, metric: Metric) -> str:
    last, best = now.history[-1], now.best()
    if last.validation_metric is None or best.validation_metric is None:
        return f"validation loss {last.validation_loss:.4g}, best {best.validation_loss:.4g}"
    values = map(metric.describe, (last.validation_metric, best.validation_metric))
    return f"{metric.name} {', best '.join(values)}"


def _optimizer(trained: Mapping[str, Tensor], settings: Settings) -> torch.optim.AdamW:
    matrices = [value for value in trained.values() if value.ndim > 1]
    vectors = [value for value in trained.values() if value.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def _optimizer_state(
    optimizer: torch.optim.AdamW, trained: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Give each parameter's moments and step count as `NAME/exp_avg` and so on."""
    return {
        f"{name}/{key}": value.detach().cpu()
        for name, parameter in trained.items()
        for key, value in optimizer.state[parameter].items()
    }


def _fill_optimizer(
    optimizer: torch.optim.AdamW, trained: Mapping[str, Tensor], saved: Mapping[str, Tensor]
) -> None:
    for path, value in saved.items():
        name, _, key = path.rpartition("/")
        where = "cpu" if key == "step" else trained[name].device
        optimizer.state[trained[name]][key] = value.to(where)


def _fill(lifted: TorchModel, weights: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in lifted.named_parameters():
            parameter.copy_(weights[name])
