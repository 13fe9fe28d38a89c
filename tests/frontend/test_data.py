"""Data sets are read without pickles, checked against the network, and split without overlap."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaspring.errors import DataError
from adaspring.frontend import Dataset, TensorSpec, check, load_data, split
from adaspring.frontend.data import count_shared, split_apart


@dataclass(frozen=True)
class Network:
    """What `check` looks at in a Model."""

    inputs: Any
    outputs: Any


def network(*shapes, classes=10, dtype="float32"):
    inputs = tuple(
        TensorSpec(name=f"in{i}", shape=shape, dtype=dtype) for i, shape in enumerate(shapes)
    )
    outputs = (TensorSpec(name="out", shape=(1, classes), dtype="float32"),)
    return Network(inputs=inputs, outputs=outputs)


def samples(count, *shape):
    return np.random.default_rng(0).normal(size=(count, *shape)).astype("float32")


def test_an_npz_with_x_and_y_is_read(tmp_path):
    x, y = samples(6, 3), np.arange(6, dtype="uint8")
    np.savez(tmp_path / "d.npz", x=x, y=y)
    data = load_data(tmp_path / "d.npz")
    np.testing.assert_array_equal(data.inputs[0], x)
    assert data.labels.dtype == np.int64
    assert len(data) == 6


def test_an_npz_with_input_names_is_put_in_the_networks_order(tmp_path):
    np.savez(tmp_path / "d.npz", in1=samples(4, 2), in0=samples(4, 3))
    data = check(load_data(tmp_path / "d.npz"), network((1, 3), (1, 2)))
    assert [a.shape for a in data.inputs] == [(4, 3), (4, 2)]


def test_an_npz_that_holds_pickles_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"not a readable \.npz file"):
        load_data(tmp_path / "d.npz")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 no more"])
def test_bytes_that_are_no_npz_are_refused(tmp_path, content):
    path = tmp_path / "d.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"np\.savez\(path"):
        load_data(path)


def test_an_npz_without_samples_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", y=np.arange(3))
    with pytest.raises(DataError, match="has no samples; save them as x"):
        load_data(tmp_path / "d.npz")


@pytest.mark.parametrize("name", ["gone.npz", "gone"])
def test_missing_data_are_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"does not exist; give an \.npz file"):
        load_data(tmp_path / name)


def test_arrays_of_different_lengths_are_refused_with_the_file(tmp_path):
    np.savez(tmp_path / "d.npz", a=samples(4, 2), b=samples(5, 2))
    with pytest.raises(DataError, match=r"d\.npz: input arrays need one common number of samples"):
        load_data(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.arange(3), "shape \\(3,\\); give one for each of the 4 samples"),
        (np.array(1), "shape \\(\\); give one for each"),
        ({"boxes": np.zeros((4, 2)), "sizes": np.zeros(5)}, "target sizes have the shape"),
        ({}, "need names"),
        ([1, 2, 3], "shape \\(3,\\); give one for each of the 4"),
        ("abcd", "are a str; give a NumPy array"),
    ],
)
def test_targets_that_are_not_one_for_each_sample_are_refused(targets, message):
    with pytest.raises(DataError, match=message):
        Dataset(inputs=(samples(4, 2),), targets=targets)


@pytest.mark.parametrize(
    "targets", [np.eye(4), np.arange(4.0), {"a": np.arange(4)}, [{}, 1, "", 2]]
)
def test_targets_that_are_no_class_numbers_have_no_labels(targets):
    data = Dataset(inputs=(samples(4, 2),), targets=targets)
    assert data.labels is None
    last = data.take(np.array([3, 0])).targets
    if isinstance(targets, dict):
        np.testing.assert_array_equal(last["a"], [3, 0])
    else:
        assert list(map(str, last)) == [str(targets[3]), str(targets[0])]


def test_several_targets_of_an_npz_are_y_and_their_names(tmp_path):
    boxes, texts = np.zeros((3, 2, 4)), np.array(["a", "bc", ""])
    np.savez(tmp_path / "d.npz", x=samples(3, 2), **{"y.boxes": boxes, "y.texts": texts})
    data = load_data(tmp_path / "d.npz")
    assert data.names == ()
    np.testing.assert_array_equal(data.targets["boxes"], boxes)
    np.testing.assert_array_equal(data.targets["texts"], texts)
    np.savez(tmp_path / "e.npz", x=samples(3, 2), y=np.arange(3), **{"y.boxes": boxes})
    with pytest.raises(DataError, match=r"holds y and y\.boxes; name all targets"):
        load_data(tmp_path / "e.npz")


def test_an_array_that_looks_like_a_target_is_told_its_name(tmp_path):
    np.savez(tmp_path / "d.npz", x=samples(3, 2), y_boxes=np.zeros(3))
    with pytest.raises(DataError, match=r"y_boxes, if it is a target, as y\.boxes"):
        check(load_data(tmp_path / "d.npz"), network((1, 2)))


def test_targets_named_as_the_outputs_come_in_their_order():
    named = {"out1": np.zeros((4, 3)), "out0": np.ones((4, 10))}
    model = replace(
        network((1, 3)),
        outputs=tuple(
            TensorSpec(name=name, shape=(1, 10), dtype="float32") for name in ("out0", "out1")
        ),
    )
    fitted = check(Dataset(inputs=(samples(4, 3),), targets=named), model)
    assert list(fitted.targets) == ["out0", "out1"]


def test_halves_are_dealt_where_others_calibrate():
    data = Dataset(inputs=(np.arange(20),), targets=np.repeat([0, 1], 10))
    others = Dataset(inputs=(np.arange(3),))
    found = split_apart(data, others, 0)
    assert found.calibration is others
    assert sorted([*found.validation.inputs[0], *found.test.inputs[0]]) == list(range(20))
    assert [int((part.labels == 0).sum()) for part in (found.validation, found.test)] == [5, 5]


def test_a_folder_of_class_folders_is_read_in_sorted_order(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for number, name in enumerate(["b", "a", "c"]):
        (tmp_path / name).mkdir()
        pixels = np.full((4, 6, 3), 51 * number, dtype=np.uint8)
        image.fromarray(pixels).save(tmp_path / name / "one.png")
    data = load_data(tmp_path)
    assert data.inputs[0].shape == (3, 3, 4, 6)
    np.testing.assert_array_equal(data.labels, [0, 1, 2])
    np.testing.assert_allclose(data.inputs[0][:, 0, 0, 0], [0.2, 0.0, 0.4], atol=1e-6)


def test_grey_images_have_one_channel(tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a" / "one.png")
    assert load_data(tmp_path).inputs[0].shape == (1, 1, 4, 4)


def test_saved_arrays_are_samples_too_and_never_pickles(tmp_path):
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "one.npy", samples(3))
    assert load_data(tmp_path).inputs[0].shape == (1, 3)
    np.save(tmp_path / "a" / "two.npy", np.array([None], dtype=object))
    with pytest.raises(DataError, match=r"two\.npy cannot be read"):
        load_data(tmp_path)


def test_samples_of_two_sizes_are_named(tmp_path):
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "one.npy", samples(3))
    np.save(tmp_path / "a" / "two.npy", samples(4))
    with pytest.raises(DataError, match=r"two\.npy has the shape \(4,\).*make all samples"):
        load_data(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="holds no samples; it needs one folder for each class"):
        load_data(tmp_path)


def test_a_function_gives_x_or_x_and_y_or_a_data_set(tmp_path, monkeypatch):
    name = f"data_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "import numpy as np\n"
        "def x():\n    return np.zeros((5, 2), 'float32')\n"
        "def pair():\n    return x(), np.arange(5)\n"
        "def lists():\n    return [[1, 2]]\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load_data(f"{name}:x").labels is None
    np.testing.assert_array_equal(load_data(f"{name}:pair").labels, np.arange(5))
    with pytest.raises(DataError, match="must return a Dataset, x, or"):
        load_data(f"{name}:lists")


@given(labels=st.lists(st.integers(0, 5), min_size=5, max_size=200), seed=st.integers(0, 2**32 - 1))
def test_splits_are_disjoint_complete_and_hold_each_class_in_proportion(labels, seed):
    data = Dataset(inputs=(np.arange(len(labels)),), targets=np.array(labels))
    splits = split(data, seed)
    parts = [splits.calibration, splits.validation, splits.test]
    ids = np.concatenate([part.inputs[0] for part in parts])
    assert sorted(ids) == list(range(len(labels)))
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        for part, share in zip(parts, [0.2, 0.4, 0.4], strict=True):
            assert abs(np.sum(part.labels == label) - share * count) < 2
    for part in parts:
        np.testing.assert_array_equal(part.labels, np.array(labels)[part.inputs[0]])


def test_the_same_seed_gives_the_same_split_and_another_gives_another():
    data = Dataset(inputs=(np.arange(100),), targets=np.repeat(np.arange(10), 10))
    first, second, third = (split(data, seed).test.inputs[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_a_split_is_not_sorted_by_label():
    data = Dataset(inputs=(np.arange(100),), targets=np.repeat(np.arange(10), 10))
    assert len(set(split(data, 0).calibration.labels[:8])) > 2


def test_too_few_samples_to_split_are_refused():
    with pytest.raises(DataError, match="4 samples are too few to split in three; give at least 5"):
        split(Dataset(inputs=(np.arange(4),)), 0)


def test_data_that_fit_come_back_in_the_networks_type():
    data = Dataset(inputs=(samples(4, 3).astype("float64"),), targets=np.arange(4))
    fitted = check(data, network((1, 3)))
    assert fitted.inputs[0].dtype == np.float32
    assert fitted.names == ("in0",)


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        (Dataset(inputs=(samples(4, 3),)), network((1, 4)), "the network takes (4,)"),
        (
            Dataset(inputs=(np.zeros((4, 3), "uint8"),)),
            network((1, 3)),
            "are uint8; the network takes float32",
        ),
        (
            Dataset(inputs=(np.full((4, 3), 1e5, "float32"),)),
            network((1, 3), dtype="float16"),
            "out of float16's range",
        ),
        (
            Dataset(inputs=(np.full((4, 3), 300),)),
            network((1, 3), dtype="int8"),
            "int64 from 300 to 300; the network takes int8, which does not hold them",
        ),
        (Dataset(inputs=(samples(4, 3),)), network((1, 3), (1, 2)), "one array for each"),
        (
            Dataset(inputs=(samples(4, 3),), names=("pixels",)),
            network((1, 3)),
            "the data are named pixels; name them as the inputs",
        ),
        (
            Dataset(inputs=(np.array([[0.0], [np.nan]]),)),
            network((1, 1)),
            "sample 1 for in0 is not finite",
        ),
        (
            Dataset(inputs=(np.array([[0.0], [1e300]]),)),
            network((1, 1)),
            "sample 1 for in0 is not finite",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused_with_the_reason(data, model, message):
    with pytest.raises(DataError) as caught:
        check(data, model)
    assert message in str(caught.value)


def test_samples_that_two_data_sets_share_are_those_of_which_all_inputs_are_equal():
    rng = np.random.default_rng(0)
    images, flags = rng.standard_normal((8, 2, 3)).astype(np.float32), np.arange(8)
    one = Dataset(inputs=(images, flags), targets=np.arange(8))
    other = Dataset(inputs=(images[::-1].copy(), flags[::-1].copy()))
    assert count_shared(one, other) == 8
    assert count_shared(one, Dataset(inputs=(images, flags[::-1].copy()))) == 0
    assert count_shared(one, one.take(np.arange(3))) == 3
    assert count_shared(one.take(np.arange(0)), one) == 0
