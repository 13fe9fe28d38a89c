#ifndef CUDA_ON_CPU_CUDA_FP16_H_
#define CUDA_ON_CPU_CUDA_FP16_H_

#include "sixteen_bit.h"

using half = cuda_on_cpu::Rounded<cuda_on_cpu::Binary16>;
using __half = half;
using half2 = cuda_on_cpu::Pair<half>;
using __half2 = half2;

inline half2 make_half2(half x, half y) { return {x, y}; }
inline float __half2float(half x) { return x; }
inline half __float2half(float x) { return x; }
inline half __float2half_rn(float x) { return x; }

#endif  // CUDA_ON_CPU_CUDA_FP16_H_
