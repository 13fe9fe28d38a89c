"""ONNX's own operator tests: each case is right or refused, and fewer are refused over time.

`refused_nodes.json` lists what is refused, by operator. A case that is imported rightly and is
still listed fails, so the list only shrinks.
"""

import json
from pathlib import Path

import pytest

from ...support.onnx_nodes import cases, judge

REFUSED = json.loads(Path(__file__).with_name("refused_nodes.json").read_text())


@pytest.mark.parametrize("operator", cases())
def test_every_case_of_an_operator_is_right_or_refused(operator, tmp_path):
    refused = []
    for name, case in cases()[operator].items():
        outcome = judge(case, tmp_path)
        assert outcome.kind != "wrong", f"{name}: {outcome.why}"
        if outcome.kind == "refused":
            assert "\n" not in outcome.why
            refused.append(name)
    assert refused == REFUSED.get(operator, [])


def test_the_list_of_refusals_names_cases_that_exist():
    for operator, names in REFUSED.items():
        assert set(names) <= set(cases()[operator])
