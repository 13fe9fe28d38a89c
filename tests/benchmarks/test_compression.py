"""The compression benchmark: kept networks, differences in points, batch norm taken anew."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from compression import differences, table
from compression_peers import call_accuracy, renew_batch_norm
from compression_rows import BATCH_NORM, FINE_TUNED, NONE, OURS, Row
from datasets import Part, Parts
from rich.console import Console
from torch import nn
from trained import Task, torch_accuracy, trained


class Tiny(nn.Module):
    """Tells whether a 2×2 image is bright."""

    example_shape = (1, 1, 2, 2)

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


class Data:
    __name__ = "datasets.tiny"


TASK = Task(Data(), Tiny, epochs=10, max_lr=0.05)


def part(seed: int, count: int = 192) -> Part:
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, count)
    x = random.normal(size=(count, 1, 2, 2)) + y[:, None, None, None]
    return Part(x.astype(np.float32), y)


PARTS = Parts(*(part(seed) for seed in range(4)))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_network_is_trained_alike_from_a_seed_and_learns(tmp_path):
    one, again = (trained(TASK, PARTS, 0, tmp_path / name) for name in "ab")
    other = trained(TASK, PARTS, 1, tmp_path)
    assert same(one, again)
    assert not same(one, other)
    assert torch_accuracy(one, PARTS.test) > 0.75


def test_a_kept_network_is_not_trained_again(tmp_path, monkeypatch):
    first = trained(TASK, PARTS, 0, tmp_path)
    monkeypatch.setattr("trained.fit", None)
    assert same(first, trained(TASK, PARTS, 0, tmp_path))


def _cut(path):
    path.write_bytes(path.read_bytes()[:-8])


def _other_weights(path):
    """A sound file, whose network answers otherwise than it says."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, "pt") as file:
        kept, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    kept["head.weight"] = -kept["head.weight"]
    save_file(kept, path, metadata)


@pytest.mark.parametrize("damage", [_cut, _other_weights, lambda path: path.write_bytes(b"no")])
def test_a_damaged_or_changed_network_is_trained_again(damage, tmp_path):
    first = trained(TASK, PARTS, 0, tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    assert same(first, trained(TASK, PARTS, 0, tmp_path))


def row(
    variant: str, accuracy: float, by: str = OURS, retraining: str = NONE, seed: int = 0
) -> Row:
    return Row(
        data="tiny", seed=seed, by=by, variant=variant, retraining=retraining,
        accuracy_ratio=accuracy, macs_count=10, weights_bytes=20,
    )  # fmt: skip


ROWS = [
    row("dense", 0.95), row("pruned50", 0.90), row("int8", 0.96),
    row("pruned50", 0.40, "torch-pruning-magnitude"),
    row("pruned50", 0.70, "torch-pruning-taylor", BATCH_NORM),
    row("pruned50", 0.94, "torch-pruning-taylor", FINE_TUNED),
    row("int8", 0.93, "nncf"), row("int8-controlled", 0.94, "nncf"),
    row("dense", 0.91, seed=1), row("pruned50", 0.84, seed=1), row("int8", 0.91, seed=1),
]  # fmt: skip


def test_differences_are_in_points_of_each_network_alone():
    found = differences(ROWS)
    drop = found["pruned50_drop_points"]
    assert (drop["min"], drop["max"], drop["runs"]) == (pytest.approx(5), pytest.approx(7), 2)
    assert found["pruned50_drop_points tiny"] == drop
    assert found["int8_drop_points"]["min"] == pytest.approx(-1)


def test_a_peers_most_accurate_row_without_labels_is_what_ours_is_held_against():
    found = differences(ROWS)
    assert found["pruned50_vs_torch-pruning_points"]["median"] == pytest.approx(20)
    assert found["int8_vs_nncf_points"]["median"] == pytest.approx(2)
    assert found["int8_vs_nncf_points"]["runs"] == 1


def test_a_peer_that_was_left_out_has_no_difference():
    assert not any("onnxruntime" in label for label in differences(ROWS))


def test_the_table_shows_means_over_the_seeds_and_what_was_lost():
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(table(ROWS))
    lines = {line.split("│")[3].strip(): line for line in console.export_text().splitlines()
             if OURS in line}  # fmt: skip
    assert "93.00" in lines["dense"]
    assert "87.00" in lines["pruned50"]
    assert "+6.00" in lines["pruned50"]


def test_batch_norm_taken_anew_is_that_of_the_calibration_data():
    network = Tiny().eval()
    network.norm.running_mean.fill_(9.0)
    renew_batch_norm(network, PARTS.calibration)
    with torch.no_grad():
        reached = network.conv(torch.from_numpy(PARTS.calibration.x)).double()
    mean, var = reached.mean((0, 2, 3)), reached.var((0, 2, 3))
    np.testing.assert_allclose(network.norm.running_mean.numpy(), mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(network.norm.running_var.numpy(), var, rtol=1e-4)
    assert not network.training


def test_a_runtimes_accuracy_is_over_single_samples():
    part = Part(np.eye(4, dtype=np.float32)[:, None, None], np.array([0, 1, 2, 0]))
    assert call_accuracy(lambda x: x, part) == 0.75
