// The machine's OpenCL devices: found at the first use, one context and one queue in order for each.
#ifndef ADASPRING_OPENCL_DEVICES_H_
#define ADASPRING_OPENCL_DEVICES_H_

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "opencl_api.h"

namespace adaspring::opencl {

// What a kernel took on its device, as its events tell.
struct KernelTime {
  std::string kernel;
  double microseconds;
};

class Device {
 public:
  Device(PlatformId platform, DeviceId id, Context context, Queue queue)
      : id(id), context(context), platform_(platform), queue_(queue) {}

  const DeviceId id;
  const Context context;

  std::string text(uint32_t what) const;
  template <typename Value>
  Value value(uint32_t what) const {
    Value told{};
    check(api().clGetDeviceInfo(id, what, sizeof told, &told, nullptr), "asking a device");
    return told;
  }
  // What a compiled program depends on beside its source.
  std::string identity() const;

  Queue queue();
  void finish();
  // Queue a kernel whose arguments are set.
  void launch(Kernel kernel, const std::string& name, uint32_t dimensions, const size_t* global,
              const size_t* local);

  // Time each kernel from now on, or no more. Costs time itself.
  void time_kernels(bool on);
  // What was timed since this was called last, in the order of the launches.
  std::vector<KernelTime> take_times();

 private:
  const PlatformId platform_;
  std::mutex changing_;
  Queue queue_;
  Queue other_queue_ = nullptr;
  bool timed_ = false;
  std::vector<std::pair<std::string, Event>> events_;
};

// How many devices there are: the GPUs of the first platform that has one; where none has, all
// devices of the first that has any.
int devices_count();

// Device number `index`; a RuntimeError says how many there are.
Device& device_at(int index);

// What this thread launches on: the first device, or that which it chose.
void choose_device(int index);
Device& chosen_device();

}  // namespace adaspring::opencl

#endif  // ADASPRING_OPENCL_DEVICES_H_
