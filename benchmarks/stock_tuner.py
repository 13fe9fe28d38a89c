"""TVM's own tuner, in a process of its own: what benchmarks/tuning.py compares ours with.

`python stock_tuner.py FOLDER patched|stock`: for each line on stdin, the JSON of
{"tasks", "trials", "seed"}, tunes FOLDER/TASK.json of each task, `trials` for each, with
MetaSchedule's LocalBuilder and LocalRunner and prints the JSON of {"seconds", "measured", "lost",
"best_s"}, the best of each task in order.

`patched` replaces inspect.stack, in which the import of TVM's tensor intrinsics spends most of a
minute in every builder process; it is how far a user gets who has found that.
"""

from __future__ import annotations

import inspect
import json
import linecache
import logging
import sys
import tempfile
import time
from pathlib import Path

LOST_S = 1e9  # MetaSchedule records a lost candidate as taking 1e10 s


def quick_stack(context: int = 1) -> list[inspect.FrameInfo]:
    """What inspect.stack gives, without searching every module for every frame's source."""
    frame, found = sys._getframe(1), []
    while frame is not None:
        name, number = frame.f_code.co_filename, frame.f_lineno
        text = linecache.getline(name, number) if context and not name.startswith("<") else ""
        lines, index = ([text], 0) if text else (None, None)
        found.append(inspect.FrameInfo(frame, name, number, frame.f_code.co_name, lines, index))
        frame = frame.f_back
    return found


def patch() -> None:
    """Use it in this process."""
    inspect.stack = quick_stack


def main(folder: str, kind: str) -> None:
    """Serve until stdin ends."""
    patched = kind == "patched"
    if patched:
        patch()
    import cloudpickle
    import tvm
    import tvm.s_tir.tensor_intrin  # the tuner's own process pays for it before the clock starts
    from tvm.s_tir import meta_schedule as ms
    from tvm.s_tir.meta_schedule.tune import tune_tasks

    from adaspring.backends.kernels.isa import instruction_set
    from adaspring.backends.tuning.log.log import best_of
    from adaspring.backends.tuning.search.space import sketch_space
    from adaspring.targets import host

    logging.getLogger("tvm").setLevel(logging.ERROR)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    board = host()
    target = tvm.target.Target(dict(board.target))
    initializer = patch if patched else None
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        modules = [
            tvm.ir.load_json((Path(folder) / f"{task}.json").read_text()) for task in asked["tasks"]
        ]
        start = time.perf_counter()
        contexts = [
            ms.TuneContext(
                mod=module,
                target=target,
                space_generator=sketch_space(instruction_set(board), dot_dtype=None),
                search_strategy="evolutionary",
                task_name=task,
                rand_state=asked["seed"],
            )
            for task, module in zip(asked["tasks"], modules, strict=True)
        ]
        trials = asked["trials"] * len(contexts)
        with tempfile.TemporaryDirectory() as work:
            database = tune_tasks(
                tasks=contexts,
                task_weights=[1.0] * len(contexts),
                work_dir=work,
                max_trials_global=trials,
                max_trials_per_task=asked["trials"],
                builder=ms.builder.LocalBuilder(initializer=initializer),
                runner=ms.runner.LocalRunner(initializer=initializer),
            )
        seconds = time.perf_counter() - start
        good = [best_of(r.run_secs) for r in database.get_all_tuning_records() if r.run_secs]
        good = [second for second in good if second < LOST_S]
        best = [
            min(best_of(r.run_secs) for r in database.get_top_k(database.commit_workload(m), 1))
            for m in modules
        ]
        found = {
            "seconds": seconds,
            "measured": len(good),
            "lost": trials - len(good),
            "best_s": best,
        }
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
