"""The variants and combinations that one net has loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import UsageError
from ..evolve.space import BETWEEN
from ..executable import Executable

if TYPE_CHECKING:
    from ..loader import Library


class LoadedVariants:
    """Called with a name and a shape, it gives what runs them; each is loaded once."""

    def __init__(self, library: Library, settings: tuple[int | None, int]) -> None:
        self._library, self._settings = library, settings
        self._loaded: dict[tuple[str, int], Executable] = {}
        self._pieces = library.pieces(*settings)

    def __call__(self, name: str, shape: int) -> Executable:
        """Return a variant at a shape, or a combination of cells, loaded now where it was not."""
        if self._pieces is not None and BETWEEN in name and shape == 0:
            return self._pieces.executable(name)
        key = (name, shape)
        found = self._loaded.get(key)
        if found is None:
            made = self._library.executable(name, *self._settings, shape=shape)
            found = self._loaded.setdefault(key, made)
        return found

    def load_all(self) -> None:
        """Load every variant at every shape, and every cell."""
        for name in self._library.variants:
            for shape in range(len(self._library.manifest.signatures)):
                self(name, shape)
        if self._pieces is not None:
            self._pieces.load_all()

    @property
    def can_load(self) -> bool:
        """Whether the library is open, so that what is dropped can be loaded again."""
        return bool(self._library.close.alive)

    def drop_all_but(self, kept: Executable) -> None:
        """Give up the others; UsageError where they could not be loaded again."""
        if not self.can_load:
            raise UsageError(
                f"the library {self._library.folder} is closed, so a variant that is dropped could "
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
        self._library.forget_weights()
