// OpenCL C to a program: compiled once for a device, driver and source, then kept on disk.
#ifndef ADASPRING_OPENCL_PROGRAMS_H_
#define ADASPRING_OPENCL_PROGRAMS_H_

#include <string>

#include "devices.h"

namespace adaspring::opencl {

// Keep compiled programs in this folder, which is made when there is one to keep; empty: nowhere.
void set_program_folder(const std::string& folder);

// A built program, from disk where it was built before. A RuntimeError has the build log, and `name`
// of what the source is.
Program build(Device& device, const std::string& name, const std::string& source);

}  // namespace adaspring::opencl

#endif  // ADASPRING_OPENCL_PROGRAMS_H_
