// TVM's device "cuda" on the host's memory. What is not yet written is NaN.
#include <tvm/ffi/reflection/registry.h>
#include <tvm/runtime/device_api.h>

#include <cstdlib>
#include <cstring>

namespace {

using tvm::runtime::DeviceAPI;
using tvm::runtime::DeviceAttrKind;

class HostMemory final : public DeviceAPI {
 public:
  void SetDevice(DLDevice) final {}
  void GetAttr(DLDevice device, DeviceAttrKind kind, tvm::ffi::Any* result) final {
    if (kind == tvm::runtime::kExist) *result = device.device_id == 0;
  }
  using DeviceAPI::AllocDataSpace;
  void* AllocDataSpace(DLDevice, size_t bytes, size_t, DLDataType) final {
    const size_t whole = (bytes / kAlignment + 1) * kAlignment;
    return std::memset(std::aligned_alloc(kAlignment, whole), 0xff, whole);
  }
  void FreeDataSpace(DLDevice, void* data) final { std::free(data); }
  void StreamSync(DLDevice, TVMStreamHandle) final {}

 protected:
  using DeviceAPI::CopyDataFromTo;
  void CopyDataFromTo(const void* from, size_t from_offset, void* to, size_t to_offset,
                      size_t bytes, DLDevice, DLDevice, DLDataType, TVMStreamHandle) final {
    std::memcpy(static_cast<char*>(to) + to_offset, static_cast<const char*>(from) + from_offset,
                bytes);
  }

 private:
  static constexpr size_t kAlignment = 256;
};

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef().def("device_api.cuda", [] {
    static HostMemory memory;
    return static_cast<void*>(static_cast<DeviceAPI*>(&memory));
  });
}

}  // namespace
