"""Forms: the ways to split a layer, each with how its parts are fitted."""

from __future__ import annotations

from .base import Form
from .depthwise import Bottleneck, Cp, Separable
from .matrix import Svd, Tucker
from .separated import Fire, Spatial

PLAIN_FORMS: tuple[Form, ...] = (Svd(), Tucker())
"""Those that are found in closed form."""

ALL_FORMS: tuple[Form, ...] = (
    *PLAIN_FORMS,
    Spatial(),
    Cp(),
    Bottleneck(),
    Separable(),
    Fire(),
)
