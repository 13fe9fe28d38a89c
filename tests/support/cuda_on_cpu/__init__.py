"""CUDA kernels run on this machine's processor, so that their numbers are checked without a GPU.

`include/` stands for nvcc's headers: kernels are compiled by it as C++ (`compiled.py`). `block.cc`
runs a block's threads, one after the other from barrier to barrier. `device_api.cc` gives TVM the
host's memory as its device "cuda" (`device.py`): a library for a CUDA board then runs as it is.
"""
