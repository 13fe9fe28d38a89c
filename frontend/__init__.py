"""Everything that turns a network file and a data set into a `Model` and a `Dataset`."""

from ..ir.model import Model, TensorSpec
from .data import Dataset, Splits, check, load_data, split
from .load import load_model

__all__ = ["Dataset", "Model", "Splits", "TensorSpec", "check", "load_data", "load_model", "split"]
