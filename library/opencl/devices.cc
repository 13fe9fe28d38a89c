#include "devices.h"

#include <tvm/ffi/error.h>

#include <memory>

namespace adaspring::opencl {
namespace {

using Devices = std::vector<std::unique_ptr<Device>>;

std::vector<PlatformId> platforms() {
  uint32_t count = 0;
  if (api().clGetPlatformIDs(0, nullptr, &count) != kSuccess) return {};
  std::vector<PlatformId> found(count);
  if (count != 0) check(api().clGetPlatformIDs(count, found.data(), nullptr), "listing platforms");
  return found;
}

std::vector<DeviceId> devices_of(PlatformId platform, uint64_t type) {
  uint32_t count = 0;
  if (api().clGetDeviceIDs(platform, type, 0, nullptr, &count) != kSuccess) return {};
  std::vector<DeviceId> found(count);
  if (count != 0) {
    check(api().clGetDeviceIDs(platform, type, count, found.data(), nullptr), "listing devices");
  }
  return found;
}

// A device that cannot be started is left out: another driver's may do.
void start(PlatformId platform, DeviceId id, Devices* found) {
  int32_t code = kSuccess;
  Context context = api().clCreateContext(nullptr, 1, &id, nullptr, nullptr, &code);
  if (code != kSuccess) return;
  Queue queue = api().clCreateCommandQueue(context, id, 0, &code);
  if (code == kSuccess) found->push_back(std::make_unique<Device>(platform, id, context, queue));
}

Devices find() {
  Devices found;
  if (!api().found) return found;
  for (uint64_t type : {kDeviceGpu, kDeviceAll}) {
    for (PlatformId platform : platforms()) {
      for (DeviceId id : devices_of(platform, type)) start(platform, id, &found);
      if (!found.empty()) return found;
    }
  }
  return found;
}

Devices& devices() {
  static Devices* found = new Devices(find());  // drivers may be gone when the process ends
  return *found;
}

thread_local int chosen = 0;

double duration_us(Event event) {
  uint64_t start = 0, end = 0;
  check(api().clGetEventProfilingInfo(event, kCommandStart, sizeof start, &start, nullptr),
        "timing a kernel");
  check(api().clGetEventProfilingInfo(event, kCommandEnd, sizeof end, &end, nullptr),
        "timing a kernel");
  return 1e-3 * static_cast<double>(end - start);
}

}  // namespace

int devices_count() { return static_cast<int>(devices().size()); }

Device& device_at(int index) {
  if (index < 0 || index >= devices_count()) {
    TVM_FFI_THROW(RuntimeError) << "there is no OpenCL device " << index << ": this machine has "
                                << devices_count();
  }
  return *devices()[index];
}

void choose_device(int index) {
  device_at(index);
  chosen = index;
}

Device& chosen_device() { return device_at(chosen); }

std::string Device::text(uint32_t what) const {
  const auto ask = [&](size_t size, void* data, size_t* told) {
    return api().clGetDeviceInfo(id, what, size, data, told);
  };
  return text_told(ask, "asking a device");
}

std::string Device::identity() const {
  const auto ask = [&](size_t size, void* data, size_t* told) {
    return api().clGetPlatformInfo(platform_, kPlatformVersion, size, data, told);
  };
  return text_told(ask, "asking OpenCL") + '\n' + text(kDeviceName) + '\n' +
         text(kDeviceVersion) + '\n' + text(kDriverVersion);
}

Queue Device::queue() {
  std::lock_guard<std::mutex> lock(changing_);
  return queue_;
}

void Device::finish() { check(api().clFinish(queue()), "waiting for a device"); }

void Device::launch(Kernel kernel, const std::string& name, uint32_t dimensions,
                    const size_t* global, const size_t* local) {
  std::lock_guard<std::mutex> lock(changing_);
  Event event = nullptr;
  check(api().clEnqueueNDRangeKernel(queue_, kernel, dimensions, nullptr, global, local, 0, nullptr,
                                     timed_ ? &event : nullptr),
        "launching ", name);
  if (timed_) events_.emplace_back(name, event);
}

void Device::time_kernels(bool on) {
  std::lock_guard<std::mutex> lock(changing_);
  if (on == timed_) return;
  check(api().clFinish(queue_), "waiting for a device");
  if (other_queue_ == nullptr) {
    int32_t code = kSuccess;
    other_queue_ = api().clCreateCommandQueue(context, id, kQueueProfiling, &code);
    check(code, "making a queue that times");
  }
  std::swap(queue_, other_queue_);  // neither is given back: another thread may be using it
  timed_ = on;
}

std::vector<KernelTime> Device::take_times() {
  std::lock_guard<std::mutex> lock(changing_);
  check(api().clFinish(queue_), "waiting for a device");
  std::vector<KernelTime> times;
  for (const auto& [name, event] : events_) {
    times.push_back({name, duration_us(event)});
    api().clReleaseEvent(event);
  }
  events_.clear();
  return times;
}

}  // namespace adaspring::opencl
