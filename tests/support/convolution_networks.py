"""Small networks of convolutions over one and three axes, and of transposed ones.

Each is of a kind that people train: audio and sensors (`Wave`, `Tcn`, `Keyword`, `Sensor`,
`Separator`, `Gated`), video (`Video`), pictures that grow (`Unet`, `Generator`), sound that grows
(`Vocoder`). Batch norms have statistics, so that folding them changes something.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Wave(nn.Module):
    """The extractor of wav2vec 2.0: strided convolutions, group norm first, GELU; then a dense."""

    shape = (1, 1, 400)

    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(1, 32, 10, 5, bias=False)
        self.norm = nn.GroupNorm(32, 32)
        self.b = nn.Conv1d(32, 32, 3, 2, bias=False)
        self.c = nn.Conv1d(32, 32, 2, 2, bias=False)
        self.d = nn.Linear(32, 16)

    def forward(self, x):
        x = F.gelu(self.norm(self.a(x)))
        x = F.gelu(self.c(F.gelu(self.b(x))))
        return self.d(F.layer_norm(x.transpose(1, 2), (32,)))


class Causal(nn.Module):
    """Two dilated causal convolutions with a shortcut, as in a TCN: too much padding, cut off."""

    def __init__(self, c_in, c_out, dilation):
        super().__init__()
        self.a = nn.Conv1d(c_in, c_out, 3, padding=2 * dilation, dilation=dilation)
        self.b = nn.Conv1d(c_out, c_out, 3, dilation=dilation)
        self.skip = nn.Conv1d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        self.dilation = dilation

    def forward(self, x):
        y = torch.relu(self.a(x)[:, :, : -2 * self.dilation])
        y = torch.relu(self.b(F.pad(y, (2 * self.dilation, 0))))
        return torch.relu(y + self.skip(x))


class Tcn(nn.Module):
    """A temporal convolutional network; the last step is classified."""

    shape = (1, 3, 50)

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Causal(3, 32, 1), Causal(32, 32, 2), Causal(32, 32, 4))
        self.out = nn.Linear(32, 5)

    def forward(self, x):
        return self.out(self.blocks(x)[:, :, -1])


class Residual1d(nn.Module):
    """Two convolutions with batch norms, and a shortcut."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.a = nn.Conv1d(c_in, c_out, 7, stride, 3, bias=False)
        self.bn1 = nn.BatchNorm1d(c_out)
        self.b = nn.Conv1d(c_out, c_out, 7, 1, 3, bias=False)
        self.bn2 = nn.BatchNorm1d(c_out)
        self.skip = None
        if stride > 1 or c_in != c_out:
            self.skip = nn.Sequential(nn.Conv1d(c_in, c_out, 1, stride), nn.BatchNorm1d(c_out))

    def forward(self, x):
        y = self.bn2(self.b(torch.relu(self.bn1(self.a(x)))))
        return torch.relu(y + (x if self.skip is None else self.skip(x)))


class Sensor(nn.Module):
    """A one-dimensional residual network on an accelerometer's signals."""

    shape = (1, 6, 64)

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(6, 32, 7, 2, 3)
        self.bn = nn.BatchNorm1d(32)
        self.blocks = nn.Sequential(Residual1d(32, 32, 1), Residual1d(32, 64, 2))
        self.fc = nn.Linear(64, 6)

    def forward(self, x):
        x = F.max_pool1d(torch.relu(self.bn(self.stem(x))), 3, 2, 1)
        x = self.blocks(F.avg_pool1d(x, 2, 1))
        return self.fc(F.adaptive_avg_pool1d(x, 1).flatten(1))


class Keyword(nn.Module):
    """Depthwise and pointwise convolutions over frames of 40 features, as for keywords."""

    shape = (1, 40, 50)

    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(40, 64, 3, padding=1)
        self.depthwise = nn.Conv1d(64, 64, 9, padding=4, groups=64)
        self.pointwise = nn.Conv1d(64, 64, 1)
        self.bn = nn.BatchNorm1d(64)
        self.grouped = nn.Conv1d(64, 64, 3, padding=1, groups=4)
        self.fc = nn.Linear(64, 12)

    def forward(self, x):
        x = F.relu6(self.a(x))
        x = x + F.relu6(self.bn(self.pointwise(self.depthwise(x))))
        return self.fc(F.hardswish(self.grouped(x)).mean(-1))


class Separator(nn.Module):
    """Conv-TasNet in small: a learned filter bank, a mask by depthwise blocks, back to sound."""

    shape = (1, 1, 160)

    def __init__(self):
        super().__init__()
        self.encode = nn.Conv1d(1, 48, 16, 8, bias=False)
        self.norm = nn.GroupNorm(1, 48)
        self.inner = nn.Conv1d(48, 64, 1)
        self.prelu = nn.PReLU()
        self.depthwise = nn.Conv1d(64, 64, 3, padding=2, dilation=2, groups=64)
        self.mask = nn.Conv1d(64, 48, 1)
        self.decode = nn.ConvTranspose1d(48, 1, 16, 8, bias=False)

    def forward(self, x):
        bank = torch.relu(self.encode(x))
        y = self.prelu(self.depthwise(self.prelu(self.inner(self.norm(bank)))))
        return self.decode(bank * torch.sigmoid(self.mask(y)))


class Gated(nn.Module):
    """WaveNet in small: filters times gates, dilated, skips added."""

    shape = (1, 16, 40)

    def __init__(self):
        super().__init__()
        self.filters = nn.ModuleList(nn.Conv1d(16, 32, 2, dilation=2**i) for i in range(3))
        self.residuals = nn.ModuleList(nn.Conv1d(16, 16, 1) for _ in range(3))
        self.out = nn.Conv1d(16, 8, 1)

    def forward(self, x):
        skip = torch.zeros(())
        for i, (both, one) in enumerate(zip(self.filters, self.residuals, strict=True)):
            filters, gates = both(F.pad(x, (2**i, 0))).chunk(2, 1)
            y = one(torch.tanh(filters) * torch.sigmoid(gates))
            x, skip = x + y, skip + y
        return self.out(torch.relu(skip))


class Video(nn.Module):
    """A three-dimensional network of a few frames: R3D in small, one block separable in time."""

    shape = (1, 3, 6, 12, 12)

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv3d(3, 16, 3, (1, 2, 2), 1, bias=False)
        self.bn = nn.BatchNorm3d(16)
        self.a = nn.Conv3d(16, 32, 3, padding=1)
        self.b = nn.Conv3d(32, 32, (3, 1, 1), padding=(1, 0, 0))
        self.skip = nn.Conv3d(16, 32, 1)
        self.depthwise = nn.Conv3d(32, 32, 3, 2, 1, groups=32)
        self.fc = nn.Linear(32, 4)

    def forward(self, x):
        x = F.max_pool3d(torch.relu(self.bn(self.stem(x))), 2)
        x = torch.relu(self.b(torch.relu(self.a(x))) + self.skip(x))
        x = F.adaptive_avg_pool3d(self.depthwise(F.avg_pool3d(x, (1, 2, 2), (1, 1, 1))), 1)
        return self.fc(x.flatten(1))


class Unet(nn.Module):
    """Down by a strided convolution and a pool, up by transposed ones, joined across."""

    shape = (1, 3, 16, 16)

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 16, 3, padding=1)
        self.b = nn.Conv2d(16, 32, 3, padding=1)
        self.c = nn.Conv2d(32, 48, 3, 2, 1)
        self.up1 = nn.ConvTranspose2d(48, 32, 3, 2, 1, output_padding=1)
        self.d = nn.Conv2d(64, 32, 3, padding=1)
        self.up2 = nn.ConvTranspose2d(32, 16, 2, 2)
        self.bn = nn.BatchNorm2d(16)
        self.e = nn.Conv2d(32, 2, 1)

    def forward(self, x):
        one = torch.relu(self.a(x))
        two = torch.relu(self.b(F.max_pool2d(one, 2)))
        x = torch.relu(self.up1(torch.relu(self.c(two))))
        x = torch.relu(self.d(torch.cat([x, two], 1)))
        return self.e(torch.cat([torch.relu(self.bn(self.up2(x))), one], 1))


class Generator(nn.Module):
    """DCGAN's generator in small: noise of one pixel grows to a picture."""

    shape = (2, 24, 1, 1)

    def __init__(self):
        super().__init__()
        self.a = nn.ConvTranspose2d(24, 48, 4, 1, 0, bias=False)
        self.bn1 = nn.BatchNorm2d(48)
        self.b = nn.ConvTranspose2d(48, 32, 4, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.c = nn.ConvTranspose2d(32, 3, 4, 2, 1)

    def forward(self, x):
        x = torch.relu(self.bn1(self.a(x)))
        return torch.tanh(self.c(torch.relu(self.bn2(self.b(x)))))


class Vocoder(nn.Module):
    """HiFi-GAN in small: a spectrogram grows to a wave, dilated residuals between."""

    shape = (1, 20, 12)

    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(20, 32, 7, padding=3)
        self.up1 = nn.ConvTranspose1d(32, 24, 8, 4, 2)
        self.r1 = nn.Conv1d(24, 24, 3, padding=3, dilation=3)
        self.up2 = nn.ConvTranspose1d(24, 16, 5, 3, 1)
        self.out = nn.Conv1d(16, 1, 7, padding=3)

    def forward(self, x):
        x = self.up1(F.leaky_relu(self.a(x), 0.1))
        x = x + self.r1(F.leaky_relu(x, 0.1))
        return torch.tanh(self.out(F.leaky_relu(self.up2(F.leaky_relu(x, 0.1)), 0.1)))


NETWORKS = {
    kind.__name__: kind
    for kind in (
        *(Wave, Tcn, Sensor, Keyword, Separator, Gated),
        *(Video, Unet, Generator, Vocoder),
    )
}


def convolution_network(name: str) -> nn.Module:
    """Make one of the networks, its parameters and statistics random, but always the same."""
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    generator = torch.Generator().manual_seed(1)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            part.running_mean.normal_(0, 0.2, generator=generator)
            part.running_var.uniform_(0.5, 2.0, generator=generator)
    return network
