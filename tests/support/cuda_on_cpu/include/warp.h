// What the lanes of a warp tell each other.
#ifndef CUDA_ON_CPU_WARP_H_
#define CUDA_ON_CPU_WARP_H_

#include <cstring>

#include "block.h"

namespace cuda_on_cpu {

constexpr unsigned kAllLanes = 0xffffffff;

inline int lane() {
  return ((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x) % 32;
}

// Take the value of a lane; CUDA says nothing of one that does not come: here it is all ones.
template <class Value>
Value take(unsigned mask, const Value& value, int from, int line) {
  static_assert(sizeof(Value) <= sizeof(uint64_t));
  uint64_t offer = 0;
  std::memcpy(&offer, &value, sizeof value);
  const CudaOnCpuMeeting meeting = cuda_on_cpu_meet(mask, offer, line);
  offer = meeting.mask >> from & 1 ? meeting.offers[from] : ~uint64_t{0};
  Value taken;
  std::memcpy(&taken, &offer, sizeof taken);
  return taken;
}

}  // namespace cuda_on_cpu

inline unsigned __activemask(int line = __builtin_LINE()) { return cuda_on_cpu_converge(line); }
inline void __syncwarp(unsigned mask = cuda_on_cpu::kAllLanes, int line = __builtin_LINE()) {
  cuda_on_cpu_meet(mask, 0, line);
}

template <class Value>
Value __shfl_sync(unsigned mask, Value value, int source, int width = 32,
                  int line = __builtin_LINE()) {
  const int first = cuda_on_cpu::lane() & ~(width - 1);
  return cuda_on_cpu::take(mask, value, first + (source & (width - 1)), line);
}

// A lane beyond the group of `width` is not asked: then the value stays.
template <class Value>
Value __shfl_up_sync(unsigned mask, Value value, unsigned by, int width = 32,
                     int line = __builtin_LINE()) {
  const int lane = cuda_on_cpu::lane(), from = lane - static_cast<int>(by);
  return cuda_on_cpu::take(mask, value, from < (lane & ~(width - 1)) ? lane : from, line);
}

template <class Value>
Value __shfl_down_sync(unsigned mask, Value value, unsigned by, int width = 32,
                       int line = __builtin_LINE()) {
  const int lane = cuda_on_cpu::lane(), from = lane + static_cast<int>(by);
  return cuda_on_cpu::take(mask, value, from > (lane | (width - 1)) ? lane : from, line);
}

template <class Value>
Value __shfl_xor_sync(unsigned mask, Value value, int by, int width = 32,
                      int line = __builtin_LINE()) {
  const int lane = cuda_on_cpu::lane(), from = lane ^ by;
  return cuda_on_cpu::take(mask, value, from > (lane | (width - 1)) ? lane : from, line);
}

#endif  // CUDA_ON_CPU_WARP_H_
