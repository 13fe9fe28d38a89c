// NVIDIA's driver as far as it describes a device: one of the compute capability CAPABILITY.
#include <stddef.h>
#include <string.h>

enum { kThreads = 1, kShared = 8, kWarp = 10, kRegisters = 12, kL2 = 38, kMajor = 75, kMinor = 76 };

int cuInit(unsigned flags) { return flags; }

int cuDeviceGetCount(int* count) {
  *count = 1;
  return 0;
}

int cuDeviceGet(int* device, int index) {
  *device = index;
  return 0;
}

int cuDeviceGetName(char* name, int bytes, int device) {
  strncpy(name, "a processor", bytes);
  return device;
}

int cuDeviceTotalMem_v2(size_t* bytes, int device) {
  *bytes = (size_t)1 << 30;
  return device;
}

int cuDeviceGetAttribute(int* value, int kind, int device) {
  switch (kind) {
    case kThreads: *value = 1024; break;
    case kShared: *value = 48 << 10; break;
    case kWarp: *value = 32; break;
    case kRegisters: *value = 65536; break;
    case kL2: *value = 4 << 20; break;
    case kMajor: *value = CAPABILITY / 10; break;
    case kMinor: *value = CAPABILITY % 10; break;
    default: return 1;
  }
  return device;
}
