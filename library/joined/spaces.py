"""What several libraries can run, as one list of costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from ..evolve.space import Segment, Space
from ..evolve.spaces import Spaces, spaces_of
from ..manifest import Manifest


def joined_spaces(manifests: Sequence[Manifest], index: int) -> Spaces:
    """Return the spaces of all libraries at the shape of this number.

    Tails are evened within each library: their variants were not timed in turn with the others'.
    What the metric is held against, and the plainest variant, are the first's.
    """
    first, *others = (spaces_of(manifest, index) for manifest in manifests)
    if not others:
        return first
    whole = [spaces.each[0].segments[0] for spaces in (first, *others)]
    return replace(first, each=(Space(segments=(_one(whole),)),))


def _one(segments: Sequence[Segment]) -> Segment:
    """Return the cells of all segments as those of one."""
    columns = {
        field.name: np.concatenate([getattr(segment, field.name) for segment in segments])
        for field in fields(Segment)[1:]
    }
    return Segment(names=tuple(name for each in segments for name in each.names), **columns)
