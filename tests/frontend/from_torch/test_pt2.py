"""A .pt2 file is imported as torch saved it, and never runs what is in it."""

import io
import json
import pickle
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaspring.errors import ModelError, UnsupportedOperator
from adaspring.frontend import load_model

from ...support.frontend import run
from ...support.networks import Mlp, SmallResNet, TwoInputs, example_inputs
from ...support.outputs import assert_close
from ...support.pt2_files import MODEL, members, write

WEIGHTS = "data/weights/model_weights_config.json"
EXAMPLES = "data/sample_inputs/model.pt"
CANARY = []


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self):
        return (eval, (f"__import__('{__name__}', fromlist=['']).CANARY.append(1)",))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    network = Mlp()
    path = tmp_path_factory.mktemp("pt2") / "mlp.pt2"
    # torch 2.13 warns of its own use of LeafSpec
    torch.export.save(torch.export.export(network, example_inputs(network)), path)
    return path


def edited(saved, path, member, change):
    content = members(saved)
    value = json.loads(content[member])
    change(value)
    content[member] = json.dumps(value).encode()
    return write(path, content)


@pytest.mark.parametrize("make", [SmallResNet, TwoInputs])
def test_a_saved_network_computes_what_the_network_does(tmp_path, make):
    network, inputs = make(), example_inputs(make())
    torch.export.save(torch.export.export(network, inputs), tmp_path / "net.pt2")
    model = load_model(tmp_path / "net.pt2")
    with torch.no_grad():
        y = network(*inputs)
    assert model.name == "net"
    assert_close(run(model, *inputs), [t.numpy() for t in (y if isinstance(y, tuple) else (y,))])


def test_example_inputs_that_are_a_hostile_pickle_are_not_run(saved, tmp_path):
    buffer = io.BytesIO()
    torch.save(Bomb(), buffer)
    path = write(tmp_path / "bomb.pt2", members(saved) | {EXAMPLES: buffer.getvalue()})
    with pytest.raises(ModelError, match="example inputs are a pickle that could run code"):
        load_model(path)
    assert not CANARY


def test_a_weight_that_is_a_pickle_is_not_run(saved, tmp_path):
    def change(config):
        config["config"]["fc1.weight"]["use_pickle"] = True

    path = edited(saved, tmp_path / "bomb.pt2", WEIGHTS, change)
    content = members(path) | {"data/weights/weight_0": pickle.dumps(Bomb())}
    with pytest.raises(ModelError, match=r"fc1\.weight is stored as a pickle"):
        load_model(write(path, content))
    assert not CANARY


@pytest.mark.parametrize(
    "name",
    [
        "data/weights/model.pt",
        "data/constants/model.pt",
        "data/constants/opaque_obj_0",
        "data/aotinductor/model/model.so",
        "models/other.json",
    ],
)
def test_members_that_are_not_plain_data_are_refused(saved, tmp_path, name):
    path = write(tmp_path / "odd.pt2", members(saved) | {name: pickle.dumps(Bomb())})
    with pytest.raises(ModelError, match="is not plain data"):
        load_model(path)
    assert not CANARY


def test_an_expression_that_sympy_would_evaluate_is_not_read(saved, tmp_path):
    hostile = f"__import__('{__name__}', fromlist=['']).CANARY.append(1)"

    def change(program):
        values = program["graph_module"]["graph"]["tensor_values"]
        values["x"]["sizes"][0] = {"as_expr": {"expr_str": hostile, "hint": {"as_int": 1}}}

    with pytest.raises(ModelError, match="free dimensions"):
        load_model(edited(saved, tmp_path / "expr.pt2", MODEL, change))
    assert not CANARY


@pytest.mark.parametrize(
    "target", ["torch.load", "torch.ops.higher_order.cond", "math.sin", "#x:y"]
)
def test_a_node_that_calls_anything_but_an_aten_operator_is_refused(saved, tmp_path, target):
    def change(program):
        program["graph_module"]["graph"]["nodes"][0]["target"] = target

    with pytest.raises(UnsupportedOperator, match=r"in layer 'fc1' cannot be imported"):
        load_model(edited(saved, tmp_path / "node.pt2", MODEL, change))


def test_a_tree_that_would_import_a_module_is_refused(saved, tmp_path):
    spec = json.dumps(
        [1, {"type": "collections.defaultdict", "context": "[]", "children_spec": []}]
    )

    def change(program):
        program["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = spec

    with pytest.raises(ModelError, match="tensors in tuples, lists or dicts"):
        load_model(edited(saved, tmp_path / "tree.pt2", MODEL, change))


def test_guards_are_not_evaluated(saved, tmp_path):
    def change(program):
        program["guards_code"] = [f"__import__('{__name__}').CANARY.append(1)"]

    load_model(edited(saved, tmp_path / "guards.pt2", MODEL, change))
    assert not CANARY


def test_a_compressed_archive_is_refused(saved, tmp_path):
    path = write(tmp_path / "zip.pt2", members(saved), zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match="is not as torch writes it"):
        load_model(path)


@pytest.mark.parametrize("missing", [MODEL, WEIGHTS, EXAMPLES, "data/weights/weight_0"])
def test_an_archive_that_lacks_a_part_is_refused(saved, tmp_path, missing):
    content = members(saved)
    del content[missing]
    with pytest.raises(ModelError):
        load_model(write(tmp_path / "part.pt2", content))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.integers(0), bit=st.integers(0, 7))
def test_a_damaged_program_gives_a_model_error_or_a_model(saved, tmp_path, place, bit):
    content = members(saved)
    text = bytearray(content[MODEL])
    text[place % len(text)] ^= 1 << bit
    path = write(tmp_path / "damaged.pt2", content | {MODEL: bytes(text)})
    try:
        load_model(path)
    except ModelError as caught:
        message = str(caught)
    else:
        message = ""
    assert "\n" not in message


@pytest.mark.parametrize("member", [MODEL, WEIGHTS])
def test_json_that_is_nested_without_end_is_refused(saved, tmp_path, member):
    content = members(saved)
    nested = b"[" * 100_000 + b"]" * 100_000
    content[member] = content[member].rstrip()[:-1] + b', "deep": ' + nested + b"}"
    with pytest.raises(ModelError, match=r"deep\.pt2"):
        load_model(write(tmp_path / "deep.pt2", content))


def test_a_tree_of_inputs_that_is_nested_without_end_is_refused(saved, tmp_path):
    def change(program):
        call = program["graph_module"]["module_call_graph"][0]
        call["signature"]["in_spec"] = "[" * 100_000

    with pytest.raises(ModelError, match=r"deep\.pt2 is damaged"):
        load_model(edited(saved, tmp_path / "deep.pt2", MODEL, change))
