#ifndef CUDA_ON_CPU_CUDA_BF16_H_
#define CUDA_ON_CPU_CUDA_BF16_H_

#include "sixteen_bit.h"

using nv_bfloat16 = cuda_on_cpu::Rounded<cuda_on_cpu::Brain16>;
using __nv_bfloat16 = nv_bfloat16;
using nv_bfloat162 = cuda_on_cpu::Pair<nv_bfloat16>;
using __nv_bfloat162 = nv_bfloat162;

inline float __bfloat162float(nv_bfloat16 x) { return x; }
inline nv_bfloat16 __float2bfloat16(float x) { return x; }

#endif  // CUDA_ON_CPU_CUDA_BF16_H_
