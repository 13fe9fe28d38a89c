"""A stream keeps states between calls: the same as one long sequence, whatever variant runs it."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import adaspring
from adaspring import targets
from adaspring.backends.build import build, prepare
from adaspring.errors import InputError, ManifestError, UsageError
from adaspring.explore.assemble import library_parts
from adaspring.frontend.from_torch.importer import from_torch
from adaspring.library.manifest import Signature, StateRecord, TensorSpec
from adaspring.library.parts import VariantParts
from adaspring.library.streams.pairs import pair_states
from adaspring.library.streams.stream import Stream
from adaspring.library.tensors import checked_array
from adaspring.library.writer import write_library

from ..support.libraries import cost, forge

WIDTH, HIDDEN = 3, 20


class Step(nn.Module):
    """One step of a sequence: what an app calls for each sample that it gets."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = nn.LSTM(WIDTH, HIDDEN), nn.Linear(HIDDEN, 2)

    def forward(self, x, h, c):
        y, (hn, cn) = self.layer(x, (h, c))
        return self.head(y), hn, cn


STATE = (1, 1, HIDDEN)
NETWORK = Step().eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("streams")
    example = torch.zeros(1, 1, WIDTH), torch.zeros(STATE), torch.zeros(STATE)
    model = from_torch(NETWORK, example, name="step")
    names = [spec.name for spec in model.outputs]
    states = pair_states(model.inputs, model.outputs, {"h": names[1], "c": names[2]})
    built = build(prepare(model, targets.host()), None, path / "code.so")
    variants = tuple(
        VariantParts(
            name=name,
            recipe=name,
            decisions=(),
            code_path=built.code,
            functions=built.functions,
            weights={key: scale * value for key, value in built.weights.items()},
            cost=cost(),
        )
        for name, scale in (("dense", np.float32(1)), ("other", np.float32(0.5)))
    )
    whole = library_parts(replace(model, states=states), targets.host(), variants, ())
    write_library(path / "step.lib", whole)
    return path / "step.lib"


@pytest.fixture
def net(folder):
    with adaspring.load(folder).open() as opened:
        yield opened


def sequence(steps=6, seed=3):
    return np.random.default_rng(seed).standard_normal((steps, 1, 1, WIDTH)).astype(np.float32)


def whole(xs, states=None):
    """What torch gives for the sequence at once."""
    with torch.no_grad():
        begin = [torch.zeros(STATE)] * 2 if states is None else map(torch.from_numpy, states)
        y, *_ = NETWORK(torch.from_numpy(xs[:, 0]), *begin)
    return y.numpy()[:, None]


def test_a_stream_gives_what_the_whole_sequence_gives(net):
    stream, xs = net.stream(), sequence()
    assert [spec.name for spec in stream.inputs] == ["x"]
    assert len(stream.outputs) == 1
    found = [stream(x) for x in xs]
    np.testing.assert_allclose(found, whole(xs), rtol=1e-5, atol=1e-6)


def test_reset_begins_anew_with_zeros_or_with_what_is_given(net):
    stream, xs = net.stream(), sequence()
    first = [stream(x=x) for x in xs]
    stream.reset()
    np.testing.assert_array_equal(first, [stream(x) for x in xs])
    h, c = (np.full(STATE, value, np.float32) for value in (0.5, -0.5))
    for begun in (net.stream(h=h, c=c), stream):
        begun.reset(h=h, c=c)
        found = [begun(x) for x in xs]
        np.testing.assert_allclose(found, whole(xs, (h, c)), rtol=1e-5, atol=1e-6)
        begun.reset()
        np.testing.assert_array_equal(begun.states["h"], h)


def test_streams_of_one_net_do_not_mix(net):
    one, other = net.stream(), net.stream()
    xs, ys = sequence(seed=1), sequence(seed=2)
    found = [(one(x), other(y)) for x, y in zip(xs, ys, strict=True)]
    np.testing.assert_allclose([f for f, _ in found], whole(xs), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([f for _, f in found], whole(ys), rtol=1e-5, atol=1e-6)


def test_the_states_stay_where_the_variant_changes(net):
    stream, x = net.stream(), sequence(1)[0]
    stream(x)
    before = stream.states
    net.use("other")
    y, h, _ = net(x, before["h"], before["c"])
    np.testing.assert_array_equal(stream(x), y)
    np.testing.assert_array_equal(stream.states["h"], h)


def test_a_wrong_call_leaves_the_states_as_they_were(net):
    stream, x = net.stream(), sequence(1)[0]
    stream(x)
    before = stream.states
    with pytest.raises(InputError, match=r"x is float32 \(3,\); the network takes x: float32"):
        stream(x[0, 0])
    with pytest.raises(InputError, match="the network takes x: float32"):
        stream(x, h=before["h"])
    with pytest.raises(UsageError, match="no state 'z'; there are h, c"):
        stream.reset(z=x)
    with pytest.raises(InputError, match=r"h is float64"):
        net.stream(h=np.zeros(STATE))
    np.testing.assert_array_equal(stream.states["h"], before["h"])


def test_the_states_stay_where_the_variant_changes_to_another_library(net, folder, tmp_path):
    paths = tmp_path / "one.lib", tmp_path / "other.lib"
    for path in paths:
        shutil.copytree(folder, path)
        forge(path, lambda raw: raw.update(network_sha256="5" * 64))
    forge(paths[1], lambda raw: raw["board"].update(name="other"))
    alone, xs = net.stream(), sequence()
    with adaspring.load(paths) as libraries, libraries.open() as joined:
        stream = joined.stream()
        for x, name in zip(xs, ("dense", "other") * 3, strict=True):
            net.use(name)
            joined.use(f"other:{name}" if stream.states["h"].any() else f"host:{name}")
            np.testing.assert_array_equal(stream(x), alone(x))


def test_a_stream_is_called_by_one_thread_at_a_time():
    entered, go_on = threading.Event(), threading.Event()

    def run(arrays):
        entered.set()
        assert go_on.wait(30)
        return tuple(arrays)

    given, made = specs(x=(1, 3), h=(1, 4)), specs(y=(1, 3), hn=(1, 4))
    stream = Stream(run, given, made, [StateRecord(input="h", output="hn")], {})
    x = np.zeros((1, 3), np.float32)
    other = threading.Thread(target=stream, args=(x,))
    other.start()
    assert entered.wait(30)
    with pytest.raises(UsageError, match="another thread is calling this stream; give each"):
        stream(x)
    go_on.set()
    other.join()
    np.testing.assert_array_equal(stream(x), x)


def test_a_library_without_states_has_no_streams(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy.lib")
    forge(copy, lambda raw: raw.pop("states"))
    with adaspring.load(copy).open() as net:
        assert len(net.outputs) == 3
        with pytest.raises(UsageError, match="declares no states; compile it with --state INPUT"):
            net.stream()


@pytest.mark.parametrize(
    ("states", "why"),
    [
        ([{"input": "x", "output": "{y}"}], r"the state x=\S+ does not fit: x is float32"),
        ([{"input": "z", "output": "{y}"}], "a state names the input 'z'; the network's inputs"),
        ([{"input": "h", "output": "z"}], "a state names the output 'z'"),
        ([{"input": "h", "output": "{h}"}] * 2, "an input is two states"),
        (
            [{"input": "h", "output": "{h}"}, {"input": "c", "output": "{h}"}],
            "is given to two states",
        ),
    ],
)
def test_a_manifest_whose_states_do_not_fit_is_refused(states, why, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy.lib")

    def change(raw):
        names = [spec["name"] for spec in raw["outputs"]]
        fill = {"y": names[0], "h": names[1], "c": names[2]}
        raw["states"] = [{k: v.format(**fill) for k, v in state.items()} for state in states]

    forge(copy, change)
    with pytest.raises(ManifestError, match=why):
        adaspring.load(copy)


def specs(**shapes):
    return [TensorSpec(name=n, shape=shape, dtype="float32") for n, shape in shapes.items()]


@pytest.mark.parametrize(
    ("inputs", "outputs", "pairs"),
    [
        (("h", "c"), ("hn", "cn"), [("h", "hn"), ("c", "cn")]),
        (("h0", "c0"), ("hn", "cn"), [("h0", "hn"), ("c0", "cn")]),
        (("state",), ("stateN",), [("state", "stateN")]),
        (("h_in",), ("h_out",), [("h_in", "h_out")]),
        (("past_k",), ("present_k",), [("past_k", "present_k")]),
        (("h",), ("new_h",), [("h", "new_h")]),
        (("h",), ("hn", "new_h"), []),
        (("h",), ("y",), []),
    ],
)
def test_names_tell_which_output_is_the_next_state(inputs, outputs, pairs):
    given = specs(x=(1, 3), **dict.fromkeys(inputs, (1, 4)))
    made = specs(y0=(1, 2), **dict.fromkeys(outputs, (1, 4)))
    assert pair_states(given, made, {}) == tuple(pairs)


def test_names_tell_nothing_where_the_shapes_differ():
    assert pair_states(specs(x=(1, 3), h=(1, 4)), specs(hn=(1, 5)), {}) == ()
    assert pair_states(specs(h=(1, 4)), specs(hn=(1, 4)), {}) == ()


def test_not_every_input_can_be_a_state():
    with pytest.raises(UsageError, match="one must be what a call brings"):
        pair_states(specs(h=(1, 4)), specs(hn=(1, 4)), {"h": "hn"})


def test_a_scalar_of_numpy_is_an_array_of_no_axes():
    rate = TensorSpec(name="rate", shape=(), dtype="int64")
    known = (Signature(inputs=(rate,), outputs=(rate,)),)
    for value in (np.int64(16000), np.array(16000)):
        assert checked_array(rate, value, known).shape == ()
    with pytest.raises(InputError, match=r"rate is int32 \(\); the network takes rate: int64"):
        checked_array(rate, np.int32(16000), known)
