// Modules of OpenCL kernels as TVM 0.27 serializes them: little endian, a string being its length in
// 8 bytes, then its bytes. A module is its format's name ("cl"), the number of kernels, for each
// its key, name, argument types, launch parameters and flags; then the OpenCL C of all.
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/reflection/registry.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "programs.h"

namespace adaspring::opencl {
namespace {

namespace ffi = tvm::ffi;

constexpr uint64_t kMostKernels = 1 << 16, kMostArguments = 1 << 10;
const std::string kMark = "// Function: ";  // what begins a kernel's part of the source

class Reader {
 public:
  explicit Reader(const ffi::Bytes& bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  template <typename Number>
  Number number() {
    Number value;
    take(sizeof value);
    std::memcpy(&value, at_ - sizeof value, sizeof value);
    return value;
  }
  uint64_t count(uint64_t most) {
    const auto value = number<uint64_t>();
    if (value > most) TVM_FFI_THROW(ValueError) << "OpenCL module: " << value << " of one thing";
    return value;
  }
  std::string text() {
    const auto size = number<uint64_t>();
    take(size);
    return std::string(at_ - size, size);
  }

 private:
  void take(uint64_t size) {
    if (static_cast<uint64_t>(end_ - at_) < size) {
      TVM_FFI_THROW(ValueError) << "OpenCL module: it ends too early";
    }
    at_ += size;
  }

  const char* at_;
  const char* end_;
};

// How a kernel is called: its arguments, then one number for each axis of the grid that it has.
struct Signature {
  std::string name;
  std::vector<DLDataType> arguments;
  std::vector<int> axes;  // 0 to 2 count groups, 3 to 5 are a group's size
  uint32_t dimensions = 1;
};

Signature read_signature(Reader* reader) {
  Signature found;
  found.name = reader->text();
  found.arguments.resize(reader->count(kMostArguments));
  for (DLDataType& type : found.arguments) {
    type.code = reader->number<uint8_t>();
    type.bits = reader->number<uint8_t>();
    type.lanes = reader->number<uint16_t>();
  }
  for (uint64_t left = reader->count(kMostArguments); left != 0; --left) {
    static const std::map<std::string, int> axes = {
        {"blockIdx.x", 0},  {"blockIdx.y", 1},  {"blockIdx.z", 2},
        {"threadIdx.x", 3}, {"threadIdx.y", 4}, {"threadIdx.z", 5},
    };
    const std::string tag = reader->text();
    const auto axis = axes.find(tag);
    if (axis == axes.end()) {
      TVM_FFI_THROW(ValueError) << found.name << ": launch parameter " << tag << " is unknown";
    }
    found.axes.push_back(axis->second);
    found.dimensions = std::max(found.dimensions, static_cast<uint32_t>(axis->second % 3 + 1));
  }
  for (uint64_t left = reader->count(kMostArguments); left != 0; --left) reader->number<int32_t>();
  return found;
}

// A kernel, compiled for each device that it is launched on.
class LaunchedKernel {
 public:
  explicit LaunchedKernel(Signature signature) : signature_(std::move(signature)) {}
  ~LaunchedKernel() {
    for (const auto& [device, built] : built_) {
      api().clReleaseKernel(built.kernel);
      api().clReleaseProgram(built.program);
    }
  }

  std::string source;

  void launch(ffi::PackedArgs given) {
    const size_t arguments = signature_.arguments.size(), axes = signature_.axes.size();
    if (static_cast<size_t>(given.size()) != arguments + axes) {
      TVM_FFI_THROW(TypeError) << signature_.name << " takes " << arguments + axes
                               << " arguments, not " << given.size();
    }
    const auto* values = reinterpret_cast<const TVMFFIAny*>(given.data());
    size_t local[3] = {1, 1, 1}, global[3] = {1, 1, 1};
    for (size_t at = 0; at < axes; ++at) {
      const int axis = signature_.axes[at];
      const auto extent = static_cast<size_t>(values[arguments + at].v_int64);
      (axis < 3 ? global[axis] : local[axis - 3]) = extent;
    }
    for (int axis = 0; axis < 3; ++axis) global[axis] *= local[axis];
    Device& device = chosen_device();
    std::lock_guard<std::mutex> lock(launching_);  // a kernel keeps its arguments until it starts
    Kernel kernel = built(device);
    for (size_t at = 0; at < arguments; ++at) set(kernel, at, values[at]);
    device.launch(kernel, signature_.name, signature_.dimensions, global, local);
  }

 private:
  struct Built {
    Program program;
    Kernel kernel;
  };

  Kernel built(Device& device) {
    const auto found = built_.find(&device);
    if (found != built_.end()) return found->second.kernel;
    Program program = build(device, signature_.name, source);
    int32_t code = kSuccess;
    Kernel kernel = api().clCreateKernel(program, signature_.name.c_str(), &code);
    if (code != kSuccess) api().clReleaseProgram(program);
    check(code, "taking ", signature_.name, " out of its program");
    built_[&device] = {program, kernel};
    return kernel;
  }

  void set(Kernel kernel, size_t at, const TVMFFIAny& value) {
    const DLDataType type = signature_.arguments[at];
    const bool is_integer = value.type_index == ffi::TypeIndex::kTVMFFIInt;
    const auto float32 = static_cast<float>(is_integer ? value.v_int64 : value.v_float64);
    const void* data = &value.v_int64;  // of smaller integers the low bytes, which come first
    size_t size = type.bits / 8;
    if (type.code == kDLOpaqueHandle) size = sizeof(Memory);
    if (type.code == kDLFloat && type.bits == 32) data = &float32;
    check(api().clSetKernelArg(kernel, static_cast<uint32_t>(at), size, data),
          "argument ", at, " of ", signature_.name);
  }

  const Signature signature_;
  std::mutex launching_;
  std::unordered_map<Device*, Built> built_;  // guarded by launching_
};

class OpenClModule final : public ffi::ModuleObj {
 public:
  explicit OpenClModule(const ffi::Bytes& bytes) : bytes_(bytes) {
    Reader reader(bytes);
    if (const std::string format = reader.text(); format != "cl") {
      TVM_FFI_THROW(ValueError) << "OpenCL module: format " << format << " is unknown";
    }
    for (uint64_t left = reader.count(kMostKernels); left != 0; --left) {
      const std::string key = reader.text();
      kernels_[key] = std::make_shared<LaunchedKernel>(read_signature(&reader));
    }
    source_ = reader.text();
    share_out();
  }

  const char* kind() const final { return "opencl"; }
  int GetPropertyMask() const final {
    return ffi::Module::kBinarySerializable | ffi::Module::kRunnable;
  }
  ffi::Optional<ffi::Function> GetFunction(const ffi::String& name) final {
    const auto found = kernels_.find(name);
    if (found == kernels_.end()) return std::nullopt;
    return ffi::Function::FromPacked(
        [kernel = found->second](ffi::PackedArgs given, ffi::Any*) { kernel->launch(given); });
  }
  ffi::Bytes SaveToBytes() const final { return bytes_; }
  ffi::String InspectSource(const ffi::String& format) const final { return source_; }

 private:
  // Each kernel gets its own part of the source: what is not run is not compiled.
  void share_out() {
    for (size_t at = source_.find(kMark); at != std::string::npos;) {
      const size_t line = source_.find('\n', at), next = source_.find(kMark, line);
      const size_t name = at + kMark.size();
      const auto found = kernels_.find(source_.substr(name, line - name));
      if (found != kernels_.end() && line != std::string::npos) {
        found->second->source = source_.substr(line, next - line);
      }
      at = next;
    }
    for (const auto& [key, kernel] : kernels_) {
      if (kernel->source.empty()) kernel->source = source_;
    }
  }

  const ffi::Bytes bytes_;
  std::string source_;
  std::unordered_map<std::string, std::shared_ptr<LaunchedKernel>> kernels_;
};

TVM_FFI_STATIC_INIT_BLOCK() {
  ffi::reflection::GlobalDef()
      .def("ffi.Module.load_from_bytes.opencl",
           [](ffi::Bytes bytes) { return ffi::Module(ffi::make_object<OpenClModule>(bytes)); })
      .def("adaspring.opencl.set_program_folder",
           [](ffi::String folder) { set_program_folder(folder); });
}

}  // namespace
}  // namespace adaspring::opencl
