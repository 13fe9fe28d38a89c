"""Every operator that an importer may leave, in many forms: built, against the reference."""

import pytest

from adaspring import targets
from adaspring.reference.executor import Reference

from ...support.backends import run
from ...support.forms import FORMS, assert_same, model_of_constants, model_of_form


def check(made, folder):
    model, arrays = made
    found = run(model, targets.null(), folder, *arrays)
    for value, wanted in zip(found, Reference(model).run(*arrays), strict=True):
        assert_same(value, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_built_as_the_reference_has_it(name, tmp_path):
    check(model_of_form(name), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, (_, arrays) in FORMS.items() if len(arrays) > 1])
def test_a_form_of_constants_is_built_as_the_reference_has_it(name, tmp_path):
    check(model_of_constants(name), tmp_path)
