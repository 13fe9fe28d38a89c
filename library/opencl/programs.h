// OpenCL C to a program: compiled once for a device, driver and source, then kept on disk.
#ifndef ADASPRING_OPENCL_PROGRAMS_H_
#define ADASPRING_OPENCL_PROGRAMS_H_

#include <string>

#include "devices.h"

namespace adaspring::opencl {

// Keep compiled programs in this folder, which is made when there is one to keep; empty: nowhere.
void set_program_folder(const std::string& folder);

// A built program of kernels, from disk where it was built before, with what they need before them
// (prelude.h). A RuntimeError has the build log, and `name` of what the kernels are.
Program build(Device& device, const std::string& name, const std::string& kernels);

}  // namespace adaspring::opencl

#endif  // ADASPRING_OPENCL_PROGRAMS_H_
