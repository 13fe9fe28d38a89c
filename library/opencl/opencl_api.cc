#include "opencl_api.h"

#include <dlfcn.h>
#include <tvm/ffi/error.h>

namespace adaspring::opencl {
namespace {

// The loader of drivers (ICD) first, then Mali's own library, which boards have under these names.
constexpr const char* kLibraries[] = {
    "libOpenCL.so.1", "libOpenCL.so", "libmali.so.1", "libmali.so", "/vendor/lib64/libOpenCL.so",
};

struct ErrorName {
  int32_t code;
  const char* name;
};

constexpr ErrorName kErrorNames[] = {
    {-1, "CL_DEVICE_NOT_FOUND"},
    {-2, "CL_DEVICE_NOT_AVAILABLE"},
    {-3, "CL_COMPILER_NOT_AVAILABLE"},
    {-4, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
    {-5, "CL_OUT_OF_RESOURCES"},
    {-6, "CL_OUT_OF_HOST_MEMORY"},
    {-11, "CL_BUILD_PROGRAM_FAILURE"},
    {-30, "CL_INVALID_VALUE"},
    {-38, "CL_INVALID_MEM_OBJECT"},
    {-45, "CL_INVALID_PROGRAM_EXECUTABLE"},
    {-46, "CL_INVALID_KERNEL_NAME"},
    {-50, "CL_INVALID_ARG_VALUE"},
    {-51, "CL_INVALID_ARG_SIZE"},
    {-52, "CL_INVALID_KERNEL_ARGS"},
    {-54, "CL_INVALID_WORK_GROUP_SIZE"},
    {-55, "CL_INVALID_WORK_ITEM_SIZE"},
    {-61, "CL_INVALID_BUFFER_SIZE"},
    {-63, "CL_INVALID_GLOBAL_WORK_SIZE"},
};

Api open() {
  Api found;
  void* library = nullptr;
  for (const char* name : kLibraries) {
    library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
  }
  if (library == nullptr) return found;
  found.found = true;
#define ADASPRING_FIND(result, name, arguments)                                   \
  found.name = reinterpret_cast<result(*) arguments>(dlsym(library, #name)); \
  found.found = found.found && found.name != nullptr;
  ADASPRING_OPENCL_FUNCTIONS(ADASPRING_FIND)
#undef ADASPRING_FIND
  return found;
}

}  // namespace

const Api& api() {
  static const Api* found = new Api(open());  // never freed: code may run while the process ends
  return *found;
}

std::string error_name(int32_t code) {
  for (const ErrorName& each : kErrorNames) {
    if (each.code == code) return each.name;
  }
  return "OpenCL error " + std::to_string(code);
}

void fail(int32_t code, const std::string& what) {
  TVM_FFI_THROW(RuntimeError) << what << ": " << error_name(code);
  TVM_FFI_UNREACHABLE();
}

}  // namespace adaspring::opencl
