// Floats of 16 bits: each operation in float32, its result rounded to nearest even.
#ifndef CUDA_ON_CPU_SIXTEEN_BIT_H_
#define CUDA_ON_CPU_SIXTEEN_BIT_H_

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "vectors.h"

namespace cuda_on_cpu {

struct Binary16 {  // float16
  static uint16_t bits(float x) { return bits_as<uint16_t>(static_cast<_Float16>(x)); }
  static float value(uint16_t bits) { return static_cast<float>(bits_as<_Float16>(bits)); }
};

struct Brain16 {  // bfloat16
  static uint16_t bits(float x) {
    const auto word = bits_as<uint32_t>(x);
    if (x != x) return static_cast<uint16_t>(word >> 16 | 0x40);  // rounding must not end it
    return static_cast<uint16_t>((word + 0x7fff + (word >> 16 & 1)) >> 16);
  }
  static float value(uint16_t bits) { return bits_as<float>(uint32_t{bits} << 16); }
};

template <class Format>
struct Rounded {
  uint16_t bits;

  Rounded() = default;
  template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
  Rounded(Number x) : bits(Format::bits(static_cast<float>(x))) {}
  operator float() const { return Format::value(bits); }

  Rounded& operator+=(Rounded other) { return *this = *this + other; }
  friend Rounded operator+(Rounded a, Rounded b) { return float(a) + float(b); }
  friend Rounded operator-(Rounded a, Rounded b) { return float(a) - float(b); }
  friend Rounded operator*(Rounded a, Rounded b) { return float(a) * float(b); }
  friend Rounded operator/(Rounded a, Rounded b) { return float(a) / float(b); }
  friend Rounded operator-(Rounded a) { return -float(a); }
};

template <class Type>
struct alignas(4) Pair {
  Type x, y;
  Pair() = default;
  Pair(Type x, Type y) : x(x), y(y) {}
};

template <class Format>
bool __hgt(Rounded<Format> a, Rounded<Format> b) {
  return float(a) > float(b);
}
template <class Format>
bool __hlt(Rounded<Format> a, Rounded<Format> b) {
  return float(a) < float(b);
}
template <class Format>
Rounded<Format> __hfma(Rounded<Format> a, Rounded<Format> b, Rounded<Format> c) {
  return fmaf(a, b, c);
}
#define CUDA_ON_CPU_UNARY(NAME, OF_FLOAT)             \
  template <class Format>                             \
  Rounded<Format> NAME(Rounded<Format> x) {           \
    return OF_FLOAT(float(x));                        \
  }
CUDA_ON_CPU_UNARY(hexp, expf)
CUDA_ON_CPU_UNARY(hlog, logf)
CUDA_ON_CPU_UNARY(hsqrt, sqrtf)
CUDA_ON_CPU_UNARY(hfloor, floorf)
CUDA_ON_CPU_UNARY(hceil, ceilf)
CUDA_ON_CPU_UNARY(htrunc, truncf)
CUDA_ON_CPU_UNARY(hrint, nearbyintf)
CUDA_ON_CPU_UNARY(__habs, fabsf)
#undef CUDA_ON_CPU_UNARY

}  // namespace cuda_on_cpu

#endif  // CUDA_ON_CPU_SIXTEEN_BIT_H_
