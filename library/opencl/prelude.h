// What kernels call that OpenCL C has not, or not on every device.
#ifndef ADASPRING_OPENCL_PRELUDE_H_
#define ADASPRING_OPENCL_PRELUDE_H_

#include <string>

namespace adaspring::opencl {

// Kernels with what they need before them, by what a device says that it has: `adaspring_dot` by an
// instruction where there is one, and half where the device has none (compilers that are LLVM's know
// _Float16 all the same).
std::string with_prelude(const std::string& extensions, const std::string& kernels);

}  // namespace adaspring::opencl

#endif  // ADASPRING_OPENCL_PRELUDE_H_
