// CUDA's short vectors, with its alignments, and how their bits are read.
#ifndef CUDA_ON_CPU_VECTORS_H_
#define CUDA_ON_CPU_VECTORS_H_

#include <cstdint>
#include <cstring>

#define CUDA_ON_CPU_VECTOR(NAME, TYPE, ALIGN_4)                             \
  struct NAME##1 { TYPE x; };                                               \
  struct alignas(2 * sizeof(TYPE)) NAME##2 { TYPE x, y; };                  \
  struct NAME##3 { TYPE x, y, z; };                                         \
  struct alignas(ALIGN_4) NAME##4 { TYPE x, y, z, w; };                     \
  inline NAME##1 make_##NAME##1(TYPE x) { return {x}; }                     \
  inline NAME##2 make_##NAME##2(TYPE x, TYPE y) { return {x, y}; }          \
  inline NAME##3 make_##NAME##3(TYPE x, TYPE y, TYPE z) { return {x, y, z}; } \
  inline NAME##4 make_##NAME##4(TYPE x, TYPE y, TYPE z, TYPE w) { return {x, y, z, w}; }
CUDA_ON_CPU_VECTOR(char, signed char, 4)
CUDA_ON_CPU_VECTOR(uchar, unsigned char, 4)
CUDA_ON_CPU_VECTOR(short, short, 8)
CUDA_ON_CPU_VECTOR(ushort, unsigned short, 8)
CUDA_ON_CPU_VECTOR(int, int, 16)
CUDA_ON_CPU_VECTOR(uint, unsigned, 16)
CUDA_ON_CPU_VECTOR(longlong, long long, 16)
CUDA_ON_CPU_VECTOR(ulonglong, unsigned long long, 16)
CUDA_ON_CPU_VECTOR(float, float, 16)
CUDA_ON_CPU_VECTOR(double, double, 16)
#undef CUDA_ON_CPU_VECTOR

namespace cuda_on_cpu {

template <class To, class From>
To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

inline int byte_of(int word, int shift) { return static_cast<int8_t>(word >> shift); }
inline int byte_of(unsigned word, int shift) { return static_cast<uint8_t>(word >> shift); }

}  // namespace cuda_on_cpu

#endif  // CUDA_ON_CPU_VECTORS_H_
