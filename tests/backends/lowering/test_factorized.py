"""A network in every factorized form is compiled to what the reference executor says."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaspring import targets
from adaspring.passes import Factorize, Quantize
from adaspring.passes import run as run_passes
from adaspring.passes.factorize.factorize import Split
from adaspring.passes.factorize.forms import ALL_FORMS
from adaspring.passes.factorize.forms.base import Form
from adaspring.reference.executor import Reference

from ...support.backends import run
from ...support.networks import SmallCnn
from ...support.outputs import assert_close
from ...support.passes import data, known

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("quantized", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("form", ALL_FORMS, ids=lambda form: form.name)
def test_what_is_built_agrees_with_the_reference(form: Form, quantized: bool, tmp_path: Path):
    model = known(SmallCnn)
    passes = [Factorize(max_error_ratio=0.95, multiple_of=2, forms=(form,))]
    passes += [Quantize()] if quantized else []
    result = run_passes(model, passes, data(model, 8))
    forms = [d.form for d in result.steps[0].decisions if isinstance(d, Split)]
    assert form.name in forms
    image = data(model, 1, seed=3).inputs[0]
    expected = Reference(result.model).run(image)
    found = run(result.model, targets.null(), tmp_path, image)
    assert_close(found, expected, 2e-2 if quantized else 1e-4)
