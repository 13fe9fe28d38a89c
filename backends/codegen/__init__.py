"""From scheduled functions to code: LLVM, linking, CUDA."""
