"""The variants and combinations that one net has loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import UsageError
from ..evolve.space import BETWEEN
from ..executable import Executable

if TYPE_CHECKING:
    from ..loader import Library


class LoadedVariants:
    """Called with a name and a shape, it gives what runs them; each is loaded once.

    Of several libraries, none is in pieces.
    """

    def __init__(self, libraries: Sequence[Library], settings: tuple[int | None, int]) -> None:
        self._libraries, self._settings = libraries, settings
        self._loaded: dict[tuple[str, int], Executable] = {}
        self._pieces = libraries[0].pieces(*settings)

    def __call__(self, name: str, shape: int) -> Executable:
        """Return a variant at a shape, or a combination of cells, loaded now where it was not.

        UsageError where there is no such variant.
        """
        if self._pieces is not None and BETWEEN in name and shape == 0:
            return self._pieces.executable(name)
        key = (name, shape)
        found = self._loaded.get(key)
        if found is None:
            made = self._library_of(name).executable(name, *self._settings, shape=shape)
            found = self._loaded.setdefault(key, made)
        return found

    def _library_of(self, name: str) -> Library:
        for library in self._libraries:
            if name in library.variants:
                return library
        raise unknown_variant(name, [each for one in self._libraries for each in one.variants])

    def load_all(self) -> None:
        """Load every variant at every shape, and every cell."""
        for library in self._libraries:
            for name in library.variants:
                for shape in range(len(library.manifest.signatures)):
                    self(name, shape)
        if self._pieces is not None:
            self._pieces.load_all()

    @property
    def can_load(self) -> bool:
        """Whether all libraries are open, so that what is dropped can be loaded again."""
        return self._closed is None

    @property
    def _closed(self) -> Library | None:
        return next((library for library in self._libraries if not library.close.alive), None)

    def drop_all_but(self, kept: Executable) -> None:
        """Give up the others; UsageError where they could not be loaded again."""
        if self._closed is not None:
            raise UsageError(
                f"the library {self._closed.folder} is closed, so a variant that is dropped could "
                "not be loaded again; keep the library open as long as nets shall drop variants"
            )
        before, self._loaded = self._loaded, {}
        for (name, shape), executable in list(before.items()):
            if name == kept.name:
                self._loaded[name, shape] = executable
            else:
                executable.give_back_weights(kept)
        del before, executable
        if self._pieces is not None:
            self._pieces.drop_all_but(kept.name)
        for library in self._libraries:
            library.forget_weights()


def unknown_variant(name: str, known: Sequence[str]) -> UsageError:
    """Return the error for a variant that there is not."""
    return UsageError(f"no variant {name!r}; there are {', '.join(known)}")
