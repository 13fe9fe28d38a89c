"""The table of forms."""

from __future__ import annotations

from .form import Form
from .form_depthwise import Bottleneck, Cp, Separable
from .form_matrix import Svd, Tucker
from .form_separated import Fire, Spatial

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
