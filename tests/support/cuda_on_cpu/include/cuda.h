// What nvcc and its headers give to CUDA C++ as TVM writes it, in C++17 for a processor.
#ifndef CUDA_ON_CPU_CUDA_H_
#define CUDA_ON_CPU_CUDA_H_

#include <cmath>
#include <cstdint>
#include <cstring>

#include "block.h"
#include "vectors.h"
#include "warp.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// One block runs at a time. All lie in a section of their own, to be overwritten between blocks.
#define __shared__ static __attribute__((section("cuda_shared")))

inline void __syncthreads(int line = __builtin_LINE()) { cuda_on_cpu_barrier(line); }

// As CUDA's: of a number and NaN, the number.
inline float max(float a, float b) { return fmaxf(a, b); }
inline float min(float a, float b) { return fminf(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
#define CUDA_ON_CPU_INTEGER(TYPE)                          \
  inline TYPE max(TYPE a, TYPE b) { return a > b ? a : b; } \
  inline TYPE min(TYPE a, TYPE b) { return a < b ? a : b; }
CUDA_ON_CPU_INTEGER(int)
CUDA_ON_CPU_INTEGER(unsigned)
CUDA_ON_CPU_INTEGER(long)
CUDA_ON_CPU_INTEGER(unsigned long)
CUDA_ON_CPU_INTEGER(long long)
CUDA_ON_CPU_INTEGER(unsigned long long)
#undef CUDA_ON_CPU_INTEGER

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline int __float_as_int(float x) { return cuda_on_cpu::bits_as<int>(x); }
inline float __int_as_float(int x) { return cuda_on_cpu::bits_as<float>(x); }

// Four products of bytes, each signed as its operand, and a sum.
template <class A, class B, class Sum>
Sum __dp4a(A a, B b, Sum sum) {
  for (int shift = 0; shift < 32; shift += 8) {
    sum += static_cast<Sum>(cuda_on_cpu::byte_of(a, shift)) * cuda_on_cpu::byte_of(b, shift);
  }
  return sum;
}

template <class Number>
Number atomicAdd(Number* at, Number by) {  // no other thread runs meanwhile
  const Number before = *at;
  *at = before + by;
  return before;
}

#endif  // CUDA_ON_CPU_CUDA_H_
