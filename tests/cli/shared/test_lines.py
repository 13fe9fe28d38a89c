"""Off a terminal, long work says every half minute where it is."""

import time

from adaspring.cli.shared.lines import Lines


def wait_for(told, count):
    end = time.monotonic() + 30
    while len(told) < count and time.monotonic() < end:
        time.sleep(0.01)


def test_a_line_says_what_is_done_how_far_it_is_and_how_long_it_will_take():
    told = []
    with Lines(told.append, every_s=0.05) as lines:
        lines.step("train", 0, 20, "epoch 0")
        lines.step("train", 5, 20, "epoch 1")
        wait_for(told, 2)
    assert "train: 5 of 20, epoch 1; about 0:00:0" in told[-1]
    assert told[-1].startswith("[0:00:0")


def test_what_is_over_soon_prints_nothing():
    told = []
    with Lines(told.append) as lines:
        lines.step("read", 1, 2, "")
    assert told == []


def test_before_the_first_part_is_done_no_time_is_promised():
    told = []
    with Lines(told.append, every_s=0.05) as lines:
        lines.step("tune", 0, 3, "")
        wait_for(told, 1)
    assert told[0].endswith("tune: 0 of 3")
