"""Data sets are read without pickles, checked against the network, and split without overlap."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaspring.errors import DataError
from adaspring.frontend import Dataset, TensorSpec, check, load_data, split


def network(*shapes, classes=10, dtype="float32"):
    """What `check` looks at in a Model."""
    inputs = tuple(
        TensorSpec(name=f"in{i}", shape=shape, dtype=dtype) for i, shape in enumerate(shapes)
    )
    outputs = (TensorSpec(name="out", shape=(1, classes), dtype="float32"),)
    return SimpleNamespace(inputs=inputs, outputs=outputs)


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


@pytest.mark.parametrize("labels", [np.eye(4), np.arange(4.0), np.arange(3), np.array(1)])
def test_labels_that_are_not_class_numbers_are_refused(labels):
    with pytest.raises(DataError, match="class number"):
        Dataset(inputs=(samples(4, 2),), labels=labels)


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
    data = Dataset(inputs=(np.arange(len(labels)),), labels=np.array(labels))
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
    data = Dataset(inputs=(np.arange(100),), labels=np.repeat(np.arange(10), 10))
    first, second, third = (split(data, seed).test.inputs[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_a_split_is_not_sorted_by_label():
    data = Dataset(inputs=(np.arange(100),), labels=np.repeat(np.arange(10), 10))
    assert len(set(split(data, 0).calibration.labels[:8])) > 2


def test_too_few_samples_to_split_are_refused():
    with pytest.raises(DataError, match="4 samples are too few to split in three; give at least 5"):
        split(Dataset(inputs=(np.arange(4),)), 0)


def test_data_that_fit_come_back_in_the_networks_type():
    data = Dataset(inputs=(samples(4, 3).astype("float64"),), labels=np.arange(4))
    fitted = check(data, network((1, 3)), needs_labels=True)
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
        (
            Dataset(inputs=(samples(2, 1),), labels=np.array([3, 10])),
            network((1, 1)),
            "label 10 of sample 1 is out of range: the network has 10 classes, 0 to 9",
        ),
        (
            Dataset(inputs=(samples(2, 1),), labels=np.array([-1, 0])),
            network((1, 1)),
            "label -1 of sample 0",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused_with_the_reason(data, model, message):
    with pytest.raises(DataError) as caught:
        check(data, model)
    assert message in str(caught.value)


def test_data_without_labels_are_refused_only_where_accuracy_is_wanted():
    data = Dataset(inputs=(samples(2, 3),))
    check(data, network((1, 3)))
    with pytest.raises(DataError, match="no labels, so accuracy cannot be measured"):
        check(data, network((1, 3)), needs_labels=True)
