"""OpenCL for TVM's runtime, in C++; the stock wheel has none."""
