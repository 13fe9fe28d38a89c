"""States on the command line: which output is which input of the next call."""

import pytest

from adaspring.cli.shared.parse import parse_states
from adaspring.errors import UsageError


def test_states_are_read_as_an_input_and_an_output():
    assert parse_states(["h=hn", "c=cn"]) == {"h": "hn", "c": "cn"}
    assert parse_states(None) == {}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["h"], "--state 'h' is not an input and an output; write for example h=hn"),
        (["=hn"], "is not an input and an output"),
        (["h="], "is not an input and an output"),
        (["h=hn", "h=cn"], "--state gives h twice; it takes one output"),
    ],
)
def test_what_is_no_state_is_refused(texts, message):
    with pytest.raises(UsageError, match=message):
        parse_states(texts)
