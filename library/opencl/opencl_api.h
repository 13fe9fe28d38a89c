// The part of OpenCL 1.2 that the runtime calls (Khronos, "The OpenCL Specification", 1.2), found in
// the machine's own library when it is first needed: this code loads where there is none.
#ifndef ADASPRING_OPENCL_API_H_
#define ADASPRING_OPENCL_API_H_

#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>

namespace adaspring::opencl {

struct Platform_;
struct Device_;
struct Context_;
struct Queue_;
struct Memory_;
struct Program_;
struct Kernel_;
struct Event_;
using PlatformId = Platform_*;
using DeviceId = Device_*;
using Context = Context_*;
using Queue = Queue_*;
using Memory = Memory_*;
using Program = Program_*;
using Kernel = Kernel_*;
using Event = Event_*;

constexpr int32_t kSuccess = 0;
enum : uint64_t { kDeviceGpu = 1 << 2, kDeviceAll = 0xFFFFFFFF };  // cl_device_type
enum : uint64_t { kQueueProfiling = 1 << 1 };                      // cl_command_queue_properties
enum : uint64_t { kMemoryReadWrite = 1 << 0 };                     // cl_mem_flags
enum : uint32_t {  // cl_platform_info, cl_device_info
  kPlatformVersion = 0x0901,
  kMaxComputeUnits = 0x1002,
  kMaxWorkGroupSize = 0x1004,
  kMaxWorkItemSizes = 0x1005,
  kMaxClockMhz = 0x100C,
  kGlobalCacheBytes = 0x101E,
  kGlobalMemoryBytes = 0x101F,
  kLocalMemoryBytes = 0x1023,
  kDeviceName = 0x102B,
  kDriverVersion = 0x102D,
  kDeviceVersion = 0x102F,
  kDeviceExtensions = 0x1030,
};
enum : uint32_t { kProgramBinarySizes = 0x1165, kProgramBinaries = 0x1166 };
enum : uint32_t { kBuildLog = 0x1183 };
enum : uint32_t { kCommandStart = 0x1282, kCommandEnd = 0x1283 };

// X(result, name, arguments)
#define ADASPRING_OPENCL_FUNCTIONS(X)                                                             \
  X(int32_t, clGetPlatformIDs, (uint32_t, PlatformId*, uint32_t*))                                \
  X(int32_t, clGetPlatformInfo, (PlatformId, uint32_t, size_t, void*, size_t*))                   \
  X(int32_t, clGetDeviceIDs, (PlatformId, uint64_t, uint32_t, DeviceId*, uint32_t*))              \
  X(int32_t, clGetDeviceInfo, (DeviceId, uint32_t, size_t, void*, size_t*))                       \
  X(Context, clCreateContext,                                                                     \
    (const intptr_t*, uint32_t, const DeviceId*, void (*)(const char*, const void*, size_t, void*), \
     void*, int32_t*))                                                                            \
  X(Queue, clCreateCommandQueue, (Context, DeviceId, uint64_t, int32_t*))                         \
  X(Memory, clCreateBuffer, (Context, uint64_t, size_t, void*, int32_t*))                         \
  X(int32_t, clReleaseMemObject, (Memory))                                                        \
  X(int32_t, clEnqueueReadBuffer,                                                                 \
    (Queue, Memory, uint32_t, size_t, size_t, void*, uint32_t, const Event*, Event*))             \
  X(int32_t, clEnqueueWriteBuffer,                                                                \
    (Queue, Memory, uint32_t, size_t, size_t, const void*, uint32_t, const Event*, Event*))       \
  X(int32_t, clEnqueueCopyBuffer,                                                                 \
    (Queue, Memory, Memory, size_t, size_t, size_t, uint32_t, const Event*, Event*))              \
  X(int32_t, clFinish, (Queue))                                                                   \
  X(Program, clCreateProgramWithSource,                                                           \
    (Context, uint32_t, const char**, const size_t*, int32_t*))                                   \
  X(Program, clCreateProgramWithBinary,                                                           \
    (Context, uint32_t, const DeviceId*, const size_t*, const unsigned char**, int32_t*, int32_t*)) \
  X(int32_t, clBuildProgram,                                                                      \
    (Program, uint32_t, const DeviceId*, const char*, void (*)(Program, void*), void*))           \
  X(int32_t, clGetProgramInfo, (Program, uint32_t, size_t, void*, size_t*))                       \
  X(int32_t, clGetProgramBuildInfo, (Program, DeviceId, uint32_t, size_t, void*, size_t*))        \
  X(int32_t, clReleaseProgram, (Program))                                                         \
  X(Kernel, clCreateKernel, (Program, const char*, int32_t*))                                     \
  X(int32_t, clReleaseKernel, (Kernel))                                                           \
  X(int32_t, clSetKernelArg, (Kernel, uint32_t, size_t, const void*))                             \
  X(int32_t, clEnqueueNDRangeKernel,                                                              \
    (Queue, Kernel, uint32_t, const size_t*, const size_t*, const size_t*, uint32_t, const Event*, \
     Event*))                                                                                     \
  X(int32_t, clGetEventProfilingInfo, (Event, uint32_t, size_t, void*, size_t*))                  \
  X(int32_t, clReleaseEvent, (Event))

struct Api {
#define ADASPRING_DECLARE(result, name, arguments) result(*name) arguments = nullptr;
  ADASPRING_OPENCL_FUNCTIONS(ADASPRING_DECLARE)
#undef ADASPRING_DECLARE
  bool found = false;
};

// The machine's OpenCL, opened at the first call; `found` is false where there is none.
const Api& api();

// OpenCL's own name of an error, or its number.
std::string error_name(int32_t code);

// Raise a RuntimeError that says what was done, and what OpenCL said.
[[noreturn]] void fail(int32_t code, const std::string& what);

// Fail unless `code` is a success. Launches come by here: the words are joined only then.
template <typename... Words>
void check(int32_t code, const Words&... words) {
  if (code == kSuccess) return;
  std::ostringstream what;
  (what << ... << words);
  fail(code, what.str());
}

// A text that OpenCL tells: `ask(size, data, size_told)` asks for its size, then for itself.
template <typename Ask, typename... Words>
std::string text_told(const Ask& ask, const Words&... words) {
  size_t size = 0;
  check(ask(0, nullptr, &size), words...);
  std::string value(size, '\0');
  check(ask(size, value.data(), nullptr), words...);
  return value.c_str();  // what comes after the first zero is none of it
}

}  // namespace adaspring::opencl

#endif  // ADASPRING_OPENCL_API_H_
