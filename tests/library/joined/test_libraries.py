"""Several libraries as one: their variants' own answers, one choice among all, one life."""

from __future__ import annotations

import copy
import threading
from pathlib import Path

import numpy as np
import pytest

import adaspring
from adaspring.errors import UsageError
from adaspring.library import executable
from adaspring.library.weights import aligned_copy, whole_pages

from ...support.joined import CPU, GPU
from ...support.waiting import wait_until

OWN = {CPU: ("dense", "rank16", "rank4"), GPU: ("dense", "rank16")}
VARIANTS = tuple(f"{board}:{name}" for board, names in OWN.items() for name in names)
IN_TIME = adaspring.Context(latency_budget_ms=3.5)


@pytest.fixture(scope="module")
def answers(pair) -> dict[str, tuple[np.ndarray, ...]]:
    """What each library's own variants answer, the library opened alone."""
    rng = np.random.default_rng(1)
    image, mask = rng.standard_normal((2, 48), dtype=np.float32), np.ones((2, 48), np.float32)
    found = {}
    for folder, (board, names) in zip(pair, OWN.items(), strict=True):
        with adaspring.load(folder) as library:
            for name in names:
                with library.open(name) as net:
                    found[f"{board}:{name}"] = net(image, mask)
    return found


@pytest.mark.parametrize("preload", [True, False])
def test_every_variant_answers_what_it_answers_in_its_own_library(
    libraries, arrays, answers, preload
):
    net = libraries.open(preload=preload)
    assert net.variants == libraries.variants == VARIANTS
    assert net.variant == f"{CPU}:dense"
    for name in (*VARIANTS, *reversed(VARIANTS)):
        net.use(name)
        assert net.variant == name
        np.testing.assert_equal(net(*arrays), answers[name])
    assert not np.array_equal(answers[f"{CPU}:dense"][0], answers[f"{GPU}:dense"][0])


def test_a_deadline_moves_from_one_board_to_the_other_and_its_end_back(net, arrays, answers):
    switch = net.adapt(IN_TIME)
    assert (switch.from_variant, switch.to_variant) == (f"{CPU}:dense", f"{GPU}:dense")
    assert switch.predicted.latency_ms == 3.0
    np.testing.assert_equal(net(*arrays), answers[f"{GPU}:dense"])
    assert net.adapt(adaspring.Context()).to_variant == f"{CPU}:dense"
    assert net.preview(adaspring.Context(latency_budget_ms=1.5)).variant == f"{GPU}:rank16"


def test_a_low_battery_weighs_both_boards_energy(net):
    low = adaspring.Context(latency_budget_ms=5.0, battery_ratio=0.1)
    assert net.preview(low).variant == f"{CPU}:rank16"
    assert net.preview(adaspring.Context(latency_budget_ms=5.0)).variant == f"{GPU}:dense"


def test_a_net_opens_for_a_context_or_with_any_variant(libraries):
    assert libraries.open(context=IN_TIME).variant == f"{GPU}:dense"
    assert libraries.open(f"{GPU}:rank16").variant == f"{GPU}:rank16"
    with pytest.raises(
        UsageError, match=r"no variant 'dense'; there are cpu-board:dense, .*rank16"
    ):
        libraries.open("dense")


def test_the_order_of_the_libraries_says_which_plainest_variant_a_net_begins_with(pair):
    with adaspring.load(tuple(map(str, reversed(pair)))) as libraries:
        assert libraries.open().variant == f"{GPU}:dense"
        assert [library.folder for library in libraries.libraries] == list(reversed(pair))


def test_what_is_in_place_is_judged_by_its_own_costs(net):
    net.use(f"{GPU}:rank16")
    judged = net.judge(adaspring.Context(metric_floor=0.96, latency_budget_ms=2))
    assert (judged.variant, judged.relaxed) == (f"{GPU}:rank16", ("metric",))
    assert judged.predicted.latency_ms == 1.0


def test_calls_of_four_threads_while_another_adapts_end_on_what_they_began_with(
    net, arrays, answers
):
    wrong, pause = list[str](), threading.Event()
    first = {name: found[0] for name, found in answers.items()}

    def work() -> None:
        for _ in range(300):
            found = net(*arrays)[0]
            if not any(np.array_equal(found, known) for known in first.values()):
                wrong.append(str(found))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for name in VARIANTS:
            net.use(name)
            pause.wait(1e-4)
            net.adapt(IN_TIME)
        net.drop_unused()
    assert wrong == []
    counts = {cost.variant: cost.calls_count for cost in net.costs().variants}
    assert sum(counts.values()) == 1200
    assert sum(count > 0 for name, count in counts.items() if name.startswith(GPU)) == 2


def test_a_follower_moves_between_boards(net):
    budget_ms = [50.0]
    with net.follow(every_s=0.05, dwell_s=0, latency_budget_ms=lambda: budget_ms[0]) as follower:
        assert net.variant == f"{CPU}:dense"
        budget_ms[0] = 3.5
        follower.notify()
        wait_until(lambda: net.variant.startswith(GPU))
    assert follower.last_error is None


def test_switches_and_calls_are_told_by_the_same_names(net, arrays):
    heard = []
    net.on_switch(lambda switch: heard.append(switch.to_variant))
    net.on_call(lambda call: heard.append(call.variant))
    net.adapt(IN_TIME)
    net(*arrays)
    assert heard == [f"{GPU}:dense"] * 2
    assert "runs gpu-board:dense, of cpu-board:dense, " in repr(net)


def test_what_is_dropped_of_both_is_loaded_again(libraries, net, arrays, answers):
    before = libraries.weights_bytes
    net.use(f"{GPU}:rank16")
    net.drop_unused()
    assert libraries.weights_bytes < before
    cpu, gpu = libraries.libraries
    assert cpu.weights_bytes == 0 < gpu.weights_bytes
    for name in VARIANTS:
        net.use(name)
        np.testing.assert_equal(net(*arrays), answers[name])


def test_a_closed_library_stops_dropping_and_nothing_that_is_loaded(pair, arrays, answers):
    with adaspring.load(pair) as libraries:
        net = libraries.open()
    with pytest.raises(UsageError, match=r"cpu\.lib is closed"):
        net.drop_unused()
    net.use(f"{GPU}:dense")
    np.testing.assert_equal(net(*arrays), answers[f"{GPU}:dense"])
    with pytest.raises(UsageError, match=r"this library is closed; load .*cpu\.lib again"):
        libraries.open()


def test_tensors_without_a_copy_go_where_all_boards_compute_on_one_device(net, arrays, answers):
    net.use(f"{GPU}:dense")
    outputs = net.run_dlpack(*map(aligned_copy, arrays))
    for got, want in zip(map(np.from_dlpack, outputs), answers[f"{GPU}:dense"], strict=True):
        np.testing.assert_array_equal(got, want)


def test_weights_that_both_hold_alike_are_given_back_by_each(libraries, monkeypatch):
    """rank16 is the same in both, and so are its keys; its pages are those of two files."""
    cpu, gpu = (
        library.executable(f"{board}:rank16")
        for library, board in zip(libraries.libraries, OWN, strict=True)
    )
    assert cpu.weights_read.keys() == gpu.weights_read.keys()
    given_back = []
    monkeypatch.setattr(executable, "give_back_pages", given_back.extend)
    cpu.give_back_weights(cpu)
    assert given_back == []
    cpu.give_back_weights(gpu)
    assert given_back == list(whole_pages(cpu.weights_read.values()))
    assert given_back


def test_libraries_are_handed_on_by_their_folders(libraries, pair):
    assert repr(libraries).startswith("<Libraries <Library tiny for cpu-board in ")
    with pytest.raises(UsageError, match=r"adaspring\.load\(\['.*cpu\.lib', '.*gpu\.lib'\]\)"):
        copy.copy(libraries)
    assert Path(pair[0]).name in repr(libraries)
