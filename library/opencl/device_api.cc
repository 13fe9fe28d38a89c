// What TVM's runtime asks of a device: attributes, buffers, copies, waiting.
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/reflection/registry.h>
#include <tvm/runtime/device_api.h>

#include <array>

#include "devices.h"

namespace adaspring::opencl {
namespace {

namespace ffi = tvm::ffi;
using tvm::runtime::DeviceAPI;
using tvm::runtime::DeviceAttrKind;

class OpenClDeviceApi final : public DeviceAPI {
 public:
  void SetDevice(DLDevice device) final { choose_device(device.device_id); }

  void GetAttr(DLDevice device, DeviceAttrKind kind, ffi::Any* result) final {
    const int index = device.device_id;
    if (kind == tvm::runtime::kExist) {
      *result = index >= 0 && index < devices_count();
      return;
    }
    const Device& asked = device_at(index);
    const auto bytes = [&](uint32_t what) {
      return static_cast<int64_t>(asked.value<uint64_t>(what));
    };
    switch (kind) {
      case tvm::runtime::kMaxThreadsPerBlock:
        *result = static_cast<int64_t>(asked.value<size_t>(kMaxWorkGroupSize));
        break;
      case tvm::runtime::kWarpSize:
        *result = int64_t{1};  // OpenCL has no warps that a kernel may count on
        break;
      case tvm::runtime::kMaxSharedMemoryPerBlock:
        *result = bytes(kLocalMemoryBytes);
        break;
      case tvm::runtime::kDeviceName:
        *result = ffi::String(asked.text(kDeviceName));
        break;
      case tvm::runtime::kComputeVersion:
      case tvm::runtime::kApiVersion:
        *result = ffi::String(asked.text(kDeviceVersion));
        break;
      case tvm::runtime::kDriverVersion:
        *result = ffi::String(asked.text(kDriverVersion));
        break;
      case tvm::runtime::kMaxClockRate:  // kHz
        *result = int64_t{1000} * asked.value<uint32_t>(kMaxClockMhz);
        break;
      case tvm::runtime::kMultiProcessorCount:
        *result = static_cast<int64_t>(asked.value<uint32_t>(kMaxComputeUnits));
        break;
      case tvm::runtime::kMaxThreadDimensions:
        *result = ffi::String(work_item_sizes(asked));
        break;
      case tvm::runtime::kL2CacheSizeBytes:
        *result = bytes(kGlobalCacheBytes);
        break;
      case tvm::runtime::kTotalGlobalMemory:
        *result = bytes(kGlobalMemoryBytes);
        break;
      default:  // OpenCL does not tell; TVM reads None
        break;
    }
  }

  using DeviceAPI::AllocDataSpace;
  void* AllocDataSpace(DLDevice device, size_t bytes, size_t alignment, DLDataType type) final {
    int32_t code = kSuccess;
    Memory memory = api().clCreateBuffer(device_at(device.device_id).context, kMemoryReadWrite,
                                         bytes == 0 ? 1 : bytes, nullptr, &code);
    check(code, "allocating ", bytes, " bytes on the OpenCL device");
    return memory;
  }

  void FreeDataSpace(DLDevice device, void* data) final {
    check(api().clReleaseMemObject(static_cast<Memory>(data)), "freeing OpenCL memory");
  }

  void StreamSync(DLDevice device, TVMStreamHandle stream) final {
    device_at(device.device_id).finish();
  }

 protected:
  using DeviceAPI::CopyDataFromTo;
  void CopyDataFromTo(const void* from, size_t from_offset, void* to, size_t to_offset,
                      size_t bytes, DLDevice from_device, DLDevice to_device, DLDataType type,
                      TVMStreamHandle stream) final {
    if (bytes == 0) return;
    const bool is_from = from_device.device_type == kDLOpenCL;
    const bool is_to = to_device.device_type == kDLOpenCL;
    Memory source = is_from ? static_cast<Memory>(const_cast<void*>(from)) : nullptr;
    Memory target = is_to ? static_cast<Memory>(to) : nullptr;
    if (is_from && is_to) {
      if (from_device.device_id != to_device.device_id) {
        TVM_FFI_THROW(RuntimeError) << "copying from OpenCL device " << from_device.device_id
                                    << " to " << to_device.device_id << ": go by the host";
      }
      check(api().clEnqueueCopyBuffer(device_at(from_device.device_id).queue(), source, target,
                                      from_offset, to_offset, bytes, 0, nullptr, nullptr),
            "copying on the OpenCL device");
    } else if (is_from) {
      check(api().clEnqueueReadBuffer(device_at(from_device.device_id).queue(), source, kWait,
                                      from_offset, bytes, static_cast<char*>(to) + to_offset, 0,
                                      nullptr, nullptr),
            "copying from the OpenCL device");
    } else {
      check(api().clEnqueueWriteBuffer(device_at(to_device.device_id).queue(), target, kWait,
                                       to_offset, bytes,
                                       static_cast<const char*>(from) + from_offset, 0, nullptr,
                                       nullptr),
            "copying to the OpenCL device");
    }
  }

 private:
  static constexpr uint32_t kWait = 1;  // until the host's memory may be touched

  static std::string work_item_sizes(const Device& device) {
    const auto most = device.value<std::array<size_t, 3>>(kMaxWorkItemSizes);
    return '[' + std::to_string(most[0]) + ", " + std::to_string(most[1]) + ", " +
           std::to_string(most[2]) + ']';
  }
};

ffi::Array<ffi::Any> times_of(int index) {
  ffi::Array<ffi::Any> found;
  for (const KernelTime& each : device_at(index).take_times()) {
    found.push_back(ffi::String(each.kernel));
    found.push_back(each.microseconds);
  }
  return found;
}

TVM_FFI_STATIC_INIT_BLOCK() {
  ffi::reflection::GlobalDef()
      .def("device_api.opencl",
           [] {
             static OpenClDeviceApi* made = new OpenClDeviceApi();
             return static_cast<void*>(static_cast<DeviceAPI*>(made));
           })
      .def("adaspring.opencl.devices_count", [] { return devices_count(); })
      .def("adaspring.opencl.time_kernels",
           [](int index, bool on) { device_at(index).time_kernels(on); })
      .def("adaspring.opencl.take_times", [](int index) { return times_of(index); });
}

}  // namespace
}  // namespace adaspring::opencl
