"""A small BERT encoder (Turc et al., "Well-Read Students Learn Better", 2019: BERT-mini)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each added and normalised."""

    def __init__(self, width: int, heads_count: int) -> None:
        super().__init__()
        self.heads_count = heads_count
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        shape = (batch, length, self.heads_count, width // self.heads_count)
        query, key, value = (
            layer(x).reshape(shape).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) * shape[-1] ** -0.5
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, width)
        x = self.norm1(x + self.output(mixed))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class BertMini(nn.Module):
    """Four layers, 256 wide, four heads, on 128 embedded tokens."""

    example_shape = (1, 128, 256)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(EncoderLayer(256, 4) for _ in range(4)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
