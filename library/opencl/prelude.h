// What kernels call that OpenCL C has not, or not on every device.
#ifndef ADASPRING_OPENCL_PRELUDE_H_
#define ADASPRING_OPENCL_PRELUDE_H_

#include <string>

#include "devices.h"

namespace adaspring::opencl {

// The source with what it needs before it: `adaspring_dot` by the device's own instruction where it
// has one, and half where the device has not (compilers that are LLVM's know _Float16 all the same).
std::string with_prelude(const Device& device, const std::string& source);

}  // namespace adaspring::opencl

#endif  // ADASPRING_OPENCL_PRELUDE_H_
