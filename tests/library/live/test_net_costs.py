"""A net measures its calls, shows and keeps what they cost, and tells who asks."""

from __future__ import annotations

import gc
import json
import logging
import threading
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import adaspring
from adaspring.errors import CostsError, InputError, UsageError
from adaspring.library import writer
from adaspring.library.weights import aligned_copy

from ...support.libraries import doubled, expected, parts, weights

ONES = np.ones((2, 48), np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("costs") / "tiny.lib"
    writer.write_library(path, parts())
    return path


@pytest.fixture
def net(folder) -> adaspring.Net:
    return adaspring.load(folder).open()


def counts(net: adaspring.Net) -> dict[str, int]:
    return {cost.variant: cost.calls_count for cost in net.costs().variants}


def test_calls_of_each_kind_are_counted_for_the_variant_that_ran_them(net):
    for _ in range(3):
        net(ONES, ONES)
    net.use("rank4")
    for _ in range(100):
        net(image=ONES, mask=ONES)
    aligned = aligned_copy(ONES)
    net.run_dlpack(aligned, aligned)
    assert counts(net) == {"dense": 3, "rank16": 0, "rank4": 101}


def test_a_call_that_fails_is_not_counted(net):
    with pytest.raises(InputError):
        net(ONES)
    assert counts(net)["dense"] == 0


def test_costs_stand_beside_what_was_recorded(net):
    for _ in range(20):
        net(ONES, ONES)
    costs = net.costs()
    assert [cost.variant for cost in costs.variants] == [n for n in net.variants for _ in range(2)]
    dense = [cost for cost in costs.variants if cost.variant == "dense"]
    assert [cost.pace for cost in dense] == ["hot", "cold"]
    assert [cost.recorded_p90_ms for cost in dense] == [10, None]
    assert dense[0].recorded_p50_ms is None
    assert 0 < dense[0].live_p50_ms <= dense[0].live_p90_ms
    assert dense[0].last.endswith("+00:00")
    small = costs.variants[-1]
    assert (small.variant, small.live_p50_ms, small.last) == ("rank4", None, None)
    assert small.own_ratio == pytest.approx(1.0)


def test_costs_as_text_are_a_table(net):
    net(ONES, ONES)
    lines = str(net.costs()).splitlines()
    assert lines[0].split() == [
        "variant", "pace", "calls", "recorded", "p50", "p90", "live", "p50", "p90", "own", "last",
    ]  # fmt: skip
    assert lines[1].startswith("dense    hot   1      -             10 ms")
    assert lines[-1] == "all: 1.00 x hot, 1.00 x cold; nothing was learnt before"
    assert len(lines) == 2 + 2 * 3


def test_calls_of_four_threads_while_another_switches_and_asks_are_all_counted_and_right(net):
    wrong: list[str] = []
    right = {
        "dense": expected(weights(None), ONES, ONES)[0],
        "rank4": expected(weights(4), ONES, ONES)[0],
    }
    heard: list[str] = []
    net.on_call(lambda call: heard.append(call.variant))

    def work() -> None:
        for _ in range(250):
            found = net(ONES, ONES)[0]
            if not any(np.allclose(found, want, rtol=1e-4, atol=1e-3) for want in right.values()):
                wrong.append(str(found))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        net.use("rank4")
        net.costs()
        net.use("dense")
    assert wrong == []
    assert sum(counts(net).values()) == len(heard) == 1000


def test_a_call_is_told_with_its_variant_its_time_and_why_that_variant_ran(net):
    calls = []
    net.on_call(calls.append)
    net(ONES, ONES)
    net.use("rank4")
    net(ONES, ONES)
    switch = net.adapt(adaspring.Context(latency_budget_ms=1e6))
    net(ONES, ONES)
    assert [call.variant for call in calls] == ["dense", "rank4", switch.to_variant]
    reasons = ["the net was opened with it", "asked for by name", switch.reason]
    assert [call.reason for call in calls] == reasons
    assert [call.latency_budget_ms for call in calls] == [None, None, 1e6]
    assert all(call.latency_ms > 0 for call in calls)


def test_a_switch_is_told_and_what_stays_is_not(net):
    switches = []
    net.on_switch(switches.append)
    net.use("dense")
    net.use("rank4")
    net.use("rank4")
    made = net.adapt(adaspring.Context(metric_floor=0.98))
    assert [(switch.from_variant, switch.to_variant) for switch in switches] == [
        ("dense", "rank4"),
        ("rank4", "dense"),
    ]
    assert switches[-1] == made


def test_a_late_call_is_told_once_a_budget_was_adapted_to(net):
    late = []
    net.on_late(late.append)
    net(ONES, ONES)
    net.adapt(adaspring.Context(latency_budget_ms=1e9))
    net(ONES, ONES)
    assert late == []
    net.adapt(adaspring.Context(latency_budget_ms=0))
    net(ONES, ONES)
    net.adapt(adaspring.Context())
    net(ONES, ONES)
    assert [call.latency_budget_ms for call in late] == [0]


def test_a_callback_that_fails_breaks_no_call_and_is_logged_once(net, caplog):
    @net.on_call
    def failing(call):
        raise RuntimeError("mine")

    with caplog.at_level(logging.ERROR, logger="adaspring"):
        for _ in range(3):
            np.testing.assert_allclose(
                net(ONES, ONES)[0], expected(weights(None), ONES, ONES)[0], rtol=1e-4, atol=1e-3
            )
    assert caplog.text.count("RuntimeError: mine") == 1
    assert counts(net)["dense"] == 3


def test_a_callback_may_call_adapt_and_ask_the_net(net):
    context = adaspring.Context(latency_budget_ms=0)

    @net.on_late
    def adapt(call):
        net.adapt(context)

    @net.on_call
    def again(call):
        net(ONES, ONES)
        net.costs()

    net.adapt(context)
    net(ONES, ONES)
    assert sum(counts(net).values()) == 2


def test_what_a_net_learnt_is_taken_up_by_the_next_one(folder, tmp_path):
    path = tmp_path / "costs.json"
    library = adaspring.load(folder)
    with library.open(costs=path) as net:
        assert net.costs().origin == f"{path} does not exist yet"
        for _ in range(20):
            net(ONES, ONES)
        net.save_costs(path)
    kept = json.loads(path.read_bytes())
    digest = (folder / "manifest.sha256").read_text().split()[0]
    assert kept["library"] == digest
    with library.open(costs=str(path)) as net:
        costs = net.costs()
        assert costs.origin.endswith("was taken in")
        assert costs.variants[0].calls_count == 0
        machine = kept["hot"]["machine"]["ratio"]
        assert costs.hot_common_ratio == pytest.approx(machine, rel=0.01)


def test_costs_of_a_library_that_was_compiled_anew_are_left_alone(folder, tmp_path, caplog):
    path = tmp_path / "costs.json"
    adaspring.load(folder).open().save_costs(path)
    writer.write_library(tmp_path / "other.lib", doubled())
    net = adaspring.load(tmp_path / "other.lib").open(costs=path)
    assert "is of another library" in net.costs().origin
    assert "is of another library" in caplog.text


def test_a_damaged_file_of_costs_is_refused_in_one_line(folder, tmp_path):
    path = tmp_path / "costs.json"
    path.write_text('{"schema_version": 1')
    with pytest.raises(CostsError, match=r"costs\.json: .*; delete it, and costs are learnt anew"):
        adaspring.load(folder).open(costs=path)


def test_careless_uses_say_what_to_do(net, tmp_path):
    with pytest.raises(UsageError, match="give a function of one argument"):
        net.on_call(print("called already"))
    with pytest.raises(CostsError, match="is no file, so it is not replaced"):
        net.save_costs(tmp_path)
    with pytest.raises(CostsError, match="cannot be written: No such file or directory"):
        net.save_costs(tmp_path / "no" / "costs.json")


def test_a_closed_net_still_shows_and_saves_what_it_learnt(net, tmp_path):
    net(ONES, ONES)
    net.close()
    assert counts(net)["dense"] == 1
    net.save_costs(tmp_path / "costs.json")


def test_a_net_that_nobody_has_is_freed_with_what_hears_of_it(folder):
    net = adaspring.load(folder).open()
    net.on_late(partial(adaspring.Net.use, net))  # a cycle, as a follower makes it
    net(ONES, ONES)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
