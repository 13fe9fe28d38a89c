"""From a model to code for a board: lowering, kernels, schedules, tuning, building."""
