// A kernel as TVM calls it: its arguments, then one integer for each axis of the launch.
#ifndef CUDA_ON_CPU_LAUNCH_H_
#define CUDA_ON_CPU_LAUNCH_H_

#include <tvm/ffi/c_api.h>

#include <cstddef>
#include <initializer_list>
#include <tuple>
#include <type_traits>
#include <utility>

#include "block.h"

// Where the linker put `__shared__`; null without any.
extern "C" __attribute__((visibility("hidden"), weak)) char __start_cuda_shared[];
extern "C" __attribute__((visibility("hidden"), weak)) char __stop_cuda_shared[];

namespace cuda_on_cpu {

template <class Type>
Type read(const TVMFFIAny& given) {
  if constexpr (std::is_pointer_v<Type>) {
    return static_cast<Type>(given.v_ptr);
  } else {
    return static_cast<Type>(given.type_index == kTVMFFIFloat ? given.v_float64 : given.v_int64);
  }
}

template <class... Types, size_t... At>
std::tuple<Types...> read_all(void (*)(Types...), const TVMFFIAny* given,
                              std::index_sequence<At...>) {
  return {read<Types>(given[At])...};
}

// `axes`: where each number goes; 0 to 2 count blocks, 3 to 5 threads, 6 is dynamic shared memory.
template <auto kernel, class... Types>
int launch(const char* name, void (*)(Types...), std::initializer_list<int> axes,
           const TVMFFIAny* given) {
  std::tuple<Types...> arguments = read_all(kernel, given, std::index_sequence_for<Types...>());
  size_t extents[7] = {1, 1, 1, 1, 1, 1, 0};
  const TVMFFIAny* next = given + sizeof...(Types);
  for (int axis : axes) extents[axis] = static_cast<size_t>((next++)->v_int64);
  const auto at = [&](int axis) { return static_cast<unsigned>(extents[axis]); };
  const CudaOnCpuLaunch launch{
      name,
      [](const void* all) { std::apply(kernel, *static_cast<const std::tuple<Types...>*>(all)); },
      &arguments,
      {at(0), at(1), at(2)},
      {at(3), at(4), at(5)},
      __start_cuda_shared,
      __stop_cuda_shared,
      extents[6],
  };
  const char* fault = cuda_on_cpu_launch(&launch);
  if (fault == nullptr) return 0;
  TVMFFIErrorSetRaisedFromCStr("RuntimeError", fault);
  return -1;
}

}  // namespace cuda_on_cpu

#define CUDA_ON_CPU_KERNEL(NAME, ...)                                     \
  extern "C" __attribute__((visibility("default"))) int __tvm_ffi_##NAME( \
      void*, const TVMFFIAny* given, int32_t, TVMFFIAny*) {               \
    return cuda_on_cpu::launch<NAME>(#NAME, NAME, {__VA_ARGS__}, given);  \
  }

#endif  // CUDA_ON_CPU_LAUNCH_H_
