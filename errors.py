"""Every error that a user can cause: what was wrong, where, and what to do.

One tree, so that an app or the command line catches `AdaspringError` and prints one line.
"""

from __future__ import annotations


class AdaspringError(Exception):
    """The root. Its text is one line for people: what, where, what to do."""


def first_line(error: BaseException) -> str:
    """Return an error's first line, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class UsageError(AdaspringError):
    """A command or a call was used wrongly (an unknown option value, two options that clash)."""


class ModelError(AdaspringError):
    """A model file is missing, is not a model, or is not safe to read."""


class UnsupportedOperator(ModelError):
    """An operator of the network cannot be imported; the message names it and its layer."""


class BrokenModel(ModelError):
    """A network is not what docs/architecture.md calls a model; the message names the place."""


class DataError(AdaspringError):
    """A data set is missing, has no labels, or does not fit the network."""


class InputError(AdaspringError):
    """An input of a call does not have the shape, type or name that the network takes."""


class BoardError(AdaspringError):
    """A board is unknown, or its description is wrong."""


class WrongBoard(BoardError):
    """A library was built for another board than the one it is opened on."""


class BoardLost(BoardError):
    """No board can be had over RPC any more, within the stated limit."""


class PassError(AdaspringError):
    """A compression pass failed or was asked for something impossible."""


class TrainingError(AdaspringError):
    """Retraining cannot start, go on, or be taken up again."""


class BuildError(AdaspringError):
    """Lowering, tuning or building a variant failed."""


class GateError(AdaspringError):
    """No variant passed the gate, so there is no library to write."""


class LibraryError(AdaspringError):
    """A library cannot be opened: missing, damaged, or not verified."""


class ManifestError(LibraryError):
    """A manifest has an unknown key, another schema, or a value out of range."""


class CostsError(AdaspringError):
    """A file of live costs cannot be written or read, or is not one."""


class RuntimeMissing(LibraryError):
    """What code runs on is missing: libtvm_runtime, a device's driver, or the thread pool."""


class TraceError(AdaspringError):
    """A trace of sensors cannot be played or recorded: missing, damaged, of another schema."""
