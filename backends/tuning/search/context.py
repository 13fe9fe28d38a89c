"""MetaSchedule's tuning context, made without the half minute that it spends on imports."""

from __future__ import annotations

import logging

from tvm import IRModule
from tvm.s_tir.meta_schedule import TuneContext, _ffi_api
from tvm.s_tir.meta_schedule.logging import get_logging_func
from tvm.s_tir.meta_schedule.search_strategy import SearchStrategy
from tvm.s_tir.meta_schedule.space_generator import SpaceGenerator
from tvm.target import Target

_log = logging.getLogger(__name__)
_log.setLevel(logging.ERROR)  # the search tells of every generation


class Context(TuneContext):
    """A TuneContext whose constructor does not import TVM's 240 tensor intrinsics.

    That import takes 35 to 50 s, and none of them is in our spaces.
    """

    def __init__(
        self,
        module: IRModule,
        target: Target,
        *,
        space: SpaceGenerator | None = None,
        strategy: SearchStrategy | None = None,
        thread_count: int = 1,
        seed: int = 0,
    ) -> None:
        self.__init_handle_by_constructor__(
            _ffi_api.TuneContext,
            module,
            target,
            space,
            strategy,
            "main",
            thread_count,
            seed,
            get_logging_func(_log),
        )
        _ffi_api.TuneContextInitialize(self)
