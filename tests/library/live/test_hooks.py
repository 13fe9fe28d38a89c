"""Functions that are told of events: in order, never twice at once, and harmless when they fail."""

from __future__ import annotations

import pytest

from adaspring.errors import UsageError
from adaspring.library.live.hooks import Hook


def test_functions_are_told_in_the_order_in_which_they_came():
    hook, heard = Hook(), []
    hook(lambda event: heard.append(("first", event)))

    @hook
    def second(event):
        heard.append(("second", event))

    hook.tell(1)
    hook.remove(second)
    hook.tell(2)
    assert heard == [("first", 1), ("second", 1), ("first", 2)]


def test_a_function_that_fails_is_logged_once_and_called_on(caplog):
    hook, heard = Hook(), []

    @hook
    def failing(event):
        heard.append(event)
        raise ValueError("mine")

    hook(heard.append)
    hook.tell(1)
    hook.tell(2)
    assert heard == [1, 1, 2, 2]
    assert caplog.text.count("ValueError: mine") == 1


def test_what_a_function_does_is_not_told_to_it_again():
    hook, heard = Hook(), []

    @hook
    def again(event):
        heard.append(event)
        hook.tell(event + 1)

    hook.tell(1)
    hook.tell(5)
    assert heard == [1, 5]


def test_an_interrupt_goes_through_and_the_hook_works_on():
    hook, heard = Hook(), []

    @hook
    def interrupt(event):
        heard.append(event)
        if event == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hook.tell(1)
    hook.tell(2)
    assert heard == [1, 2]


def test_what_cannot_be_called_is_refused_when_it_is_given():
    with pytest.raises(UsageError, match=r"'log\.txt' cannot be called; give a function"):
        Hook()("log.txt")
    with pytest.raises(UsageError, match="was not added to this hook"):
        Hook().remove(print)
