"""Forms of operators that are built for this machine compute what torch does."""

import pytest

from adaspring.errors import UnsupportedOperator
from adaspring.frontend.from_torch.importer import from_torch

from ...support.aten_forms import Form, assert_equal, floats, form, integers, outputs_of
from ...support.backends import run
from ...support.boards import HOST
