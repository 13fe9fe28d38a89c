"""Small networks of random weights with the operators of those that people share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .aten_forms import Form, form


def _linear(*sizes: int) -> nn.Linear:
    return nn.Linear(*sizes)


def _shifted_windows(s: nn.Module, x: Tensor) -> Tensor:
    """Swin: windows rolled and partitioned, attention with a table of relative positions."""
    b, h, w, c = x.shape
    y = torch.roll(s.norm(x), (-1, -1), (1, 2)).view(b, h // 2, 2, w // 2, 2, c)
    y = y.permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
    q, k, v = s.qkv(y).reshape(-1, 4, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
    bias = s.table[s.places.view(-1)].view(4, 4, -1).permute(2, 0, 1)
    y = ((q * 0.5 @ k.mT + bias).softmax(-1) @ v).transpose(1, 2).reshape(-1, 4, c)
    y = s.out(y).view(b, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
    return x + torch.roll(y, (1, 1), (1, 2))


def _grouped_heads(s: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """A decoder's attention: rotary positions, groups of heads, causal and padding masks."""
    b, n, _ = x.shape
    q, k, v = (layer(x).view(b, n, -1, 4).transpose(1, 2) for layer in (s.query, s.key, s.value))
    q, k = (y * s.cos + torch.cat([-y[..., 2:], y[..., :2]], -1) * s.sin for y in (q, k))
    k, v = (y[:, :, None].expand(b, 2, 2, n, 4).reshape(b, 4, n, 4) for y in (k, v))
    least = torch.finfo(x.dtype).min
    hidden = torch.full((n, n), least).triu(1).masked_fill(mask[:, None, None] == 0, least)
    shares = F.softmax(q @ k.transpose(2, 3) / 2 + hidden, -1, dtype=torch.float32).to(q.dtype)
    return F.rms_norm((shares @ v).transpose(1, 2).reshape(b, n, -1), (16,), s.weight)


def _selective_scan(s: nn.Module, x: Tensor) -> Tensor:
    """Mamba's shape: a causal depthwise convolution, gates, a scan by running sums."""
    h = F.silu(s.conv(s.inner(x).transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
    step, b, c = F.softplus(s.step(h)), s.b(h), s.c(h)
    decay = torch.einsum("bld,dn->bldn", step, -s.rates).cumsum(1)
    states = (torch.einsum("bld,bln,bld->bldn", step, b, h) * torch.exp(-decay)).cumsum(1)
    return s.out(torch.einsum("bldn,bln->bld", states * torch.exp(decay), c))


def _anchor_free_head(s: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """A detector's head: distributions over distances, a grid of places, the best five."""
    y = s.head(F.silu(s.stem(x)))
    n, _, h, w = y.shape
    box, scores = y.split([16, 3], 1)
    sides = (box.view(n, 4, 4, h * w).softmax(2) * torch.arange(4.0).view(1, 1, 4, 1)).sum(2)
    rows, columns = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    places = torch.stack((columns, rows), -1).view(-1, 2).T[None]
    start, end = sides.chunk(2, 1)
    corners = torch.cat([places - start, places + end], 1) * 8
    best, at = scores.flatten(2).sigmoid().amax(1).topk(5, 1)
    classes = scores.flatten(2).argmax(1).gather(1, at)
    return corners.gather(2, at[:, None].expand(-1, 4, -1)), best, classes


def _sentence(s: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    h = s.layer(s.words(ids) + s.places(torch.arange(ids.shape[1])), src_key_padding_mask=mask == 0)
    share = mask.unsqueeze(-1).expand(h.size()).float()
    return F.normalize((h * share).sum(1) / share.sum(1).clamp(min=1e-9), dim=1)


def _waveform(s: nn.Module, x: Tensor) -> Tensor:
    h = F.gelu(s.second(F.gelu(s.norm(s.first(x)))))
    return s.last((h + F.gelu(s.position(h)[:, :, :-1])).transpose(1, 2))


def _log_mel(s: nn.Module, x: Tensor) -> Tensor:
    power = torch.stft(x, 16, 8, window=s.window, return_complex=True).abs().pow(2)
    mel = (power.mT @ s.filters).clamp(min=1e-5).log10()
    return s.conv(torch.maximum(mel, mel.amax() - 8.0).mT)


def _linear_attention(s: nn.Module, x: Tensor) -> Tensor:
    q, k, v = s.qkv(x).chunk(3, -1)
    q, k = F.elu(q) + 1, F.elu(k) + 1
    total = 1 / (torch.einsum("bnd,bd->bn", q, k.sum(1)) + 1e-6)
    return torch.einsum("bnd,bde,bn->bne", q, torch.einsum("bnd,bne->bde", k, v), total)


def _inverted(s: nn.Module, x: Tensor) -> Tensor:
    """ConvNeXt: depthwise, normalized over channels last, two dense layers, scaled."""
    x = s.stem(x)
    y = s.narrow(F.gelu(s.wide(s.norm(s.depth(x).permute(0, 2, 3, 1))))) * s.scale
    return (x + y.permute(0, 3, 1, 2)).mean((-2, -1))


def _down_and_up(s: nn.Module, x: Tensor) -> Tensor:
    whole = F.relu(s.down(x))
    up = F.pad(s.up(F.relu(s.middle(F.max_pool2d(whole, 2)))), (0, 1, 0, 1))
    return s.out(torch.cat([whole, up], 1))


def hub_networks() -> dict[str, Form]:
    """Each by what it is, the same weights at every call."""
    torch.manual_seed(0)
    angles = torch.outer(torch.arange(5.0), torch.tensor([1.0, 0.1])).repeat(1, 2)
    mask = torch.tensor([[1] * 5, [1] * 3 + [0] * 2])
    return {
        "shifted windows": form(
            _shifted_windows, torch.randn(1, 4, 4, 8), norm=nn.LayerNorm(8), qkv=_linear(8, 24),
            out=_linear(8, 8), table=nn.Parameter(torch.randn(9, 2)),
            places=nn.Buffer(torch.randint(0, 9, (4, 4))),
        ),
        "grouped heads": form(
            _grouped_heads, torch.randn(2, 5, 16), mask, query=_linear(16, 16), key=_linear(16, 8),
            value=_linear(16, 8), cos=nn.Buffer(angles.cos()), sin=nn.Buffer(angles.sin()),
            weight=nn.Parameter(torch.rand(16)),
        ),
        "a selective scan": form(
            _selective_scan, torch.randn(1, 6, 8), inner=_linear(8, 16), step=_linear(16, 16),
            b=_linear(16, 4), c=_linear(16, 4), out=_linear(16, 8),
            rates=nn.Parameter(torch.rand(16, 4)), conv=nn.Conv1d(16, 16, 4, padding=3, groups=16),
        ),
        "a detector's head": form(
            _anchor_free_head, torch.randn(1, 3, 8, 8), stem=nn.Conv2d(3, 8, 3, 2, 1),
            head=nn.Conv2d(8, 19, 1),
        ),
        "a sentence": form(
            _sentence, torch.randint(0, 20, (2, 5)), mask, words=nn.Embedding(20, 8),
            places=nn.Embedding(10, 8),
            layer=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        ),
        "a waveform": form(
            _waveform, torch.randn(1, 1, 100), first=nn.Conv1d(1, 8, 10, 5),
            norm=nn.GroupNorm(8, 8), second=nn.Conv1d(8, 8, 3, 2), last=nn.LayerNorm(8),
            position=nn.utils.parametrizations.weight_norm(
                nn.Conv1d(8, 8, 4, padding=2, groups=2), dim=2
            ),
        ),
        "a logarithmic mel spectrum": form(
            _log_mel, torch.randn(1, 80), window=nn.Buffer(torch.hann_window(16)),
            filters=nn.Buffer(torch.rand(9, 5)), conv=nn.Conv1d(5, 4, 3),
        ),
        "linear attention": form(_linear_attention, torch.randn(1, 5, 8), qkv=_linear(8, 24)),
        "inverted bottlenecks": form(
            _inverted, torch.randn(1, 3, 16, 16), stem=nn.Conv2d(3, 8, 4, 4),
            depth=nn.Conv2d(8, 8, 7, padding=3, groups=8), norm=nn.LayerNorm(8),
            wide=_linear(8, 32), narrow=_linear(32, 8), scale=nn.Parameter(torch.rand(8)),
        ),
        "down and up": form(
            _down_and_up, torch.randn(1, 3, 9, 9), down=nn.Conv2d(3, 8, 3, padding=1),
            middle=nn.Conv2d(8, 16, 3, padding=1), up=nn.ConvTranspose2d(16, 8, 2, 2),
            out=nn.Conv2d(16, 2, 3, padding=1),
        ),
    }  # fmt: skip
