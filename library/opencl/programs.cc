#include "programs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <mutex>

#include <tvm/ffi/error.h>

#include "prelude.h"

namespace adaspring::opencl {
namespace {

constexpr const char* kOptions = "-cl-std=CL1.2 -w";
constexpr size_t kMostBytes = 64 << 20;  // of a file that is read

std::mutex folder_lock;
std::string folder_name;  // guarded by folder_lock

std::string program_folder() {
  std::lock_guard<std::mutex> lock(folder_lock);
  return folder_name;
}

// FNV-1a. Names collide harmlessly: a file says in full what it is of.
uint64_t digest(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char byte : text) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

std::string hexadecimal(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

// What a file begins with: of what it is, and the digest of the binary behind it, since drivers may
// not survive one that is torn.
std::string head(const std::string& key, const std::string& binary) {
  return key + '\0' + hexadecimal(digest(binary));
}

// The binary that is kept of a key, or nothing.
std::string kept(const std::string& path, const std::string& key) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file || static_cast<size_t>(file.tellg()) > kMostBytes) return {};
  file.seekg(0);
  std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const size_t size = head(key, "").size();
  if (content.size() <= size) return {};
  const std::string binary = content.substr(size);
  return content.compare(0, size, head(key, binary)) == 0 ? binary : std::string();
}

// Write a file at once. What cannot be kept is compiled again next time, no more.
void keep(const std::string& folder, const std::string& path, const std::string& key,
          const std::string& binary) {
  static std::atomic<unsigned> count{0};
  mkdir(folder.c_str(), 0700);  // its parent is the user's cache folder
  const std::string beside =
      path + '.' + std::to_string(getpid()) + '.' + std::to_string(count++) + ".part";
  std::ofstream file(beside, std::ios::binary);
  file << head(key, binary) << binary;
  file.close();
  if (!file || std::rename(beside.c_str(), path.c_str()) != 0) std::remove(beside.c_str());
}

std::string binary_of(Program program) {
  size_t size = 0;
  if (api().clGetProgramInfo(program, kProgramBinarySizes, sizeof size, &size, nullptr) !=
      kSuccess) {
    return {};
  }
  std::string binary(size, '\0');
  char* data = binary.data();
  const int32_t code =
      api().clGetProgramInfo(program, kProgramBinaries, sizeof data, &data, nullptr);
  return code == kSuccess ? binary : std::string();
}

// A program out of a binary, or none where the driver does not take it (any more).
Program from_binary(Device& device, const std::string& binary) {
  const size_t size = binary.size();
  const auto* data = reinterpret_cast<const unsigned char*>(binary.data());
  int32_t status = kSuccess, code = kSuccess;
  Program program = api().clCreateProgramWithBinary(device.context, 1, &device.id, &size, &data,
                                                    &status, &code);
  if (code != kSuccess) return nullptr;
  if (status == kSuccess &&
      api().clBuildProgram(program, 1, &device.id, kOptions, nullptr, nullptr) == kSuccess) {
    return program;
  }
  api().clReleaseProgram(program);
  return nullptr;
}

std::string build_log(Device& device, Program program) {
  size_t size = 0;
  if (api().clGetProgramBuildInfo(program, device.id, kBuildLog, 0, nullptr, &size) != kSuccess) {
    return {};
  }
  std::string log(size, '\0');
  api().clGetProgramBuildInfo(program, device.id, kBuildLog, size, log.data(), nullptr);
  return log.c_str();
}

Program from_source(Device& device, const std::string& name, const std::string& source) {
  const char* text = source.c_str();
  int32_t code = kSuccess;
  Program program =
      api().clCreateProgramWithSource(device.context, 1, &text, nullptr, &code);
  check(code, "compiling ", name);
  code = api().clBuildProgram(program, 1, &device.id, kOptions, nullptr, nullptr);
  if (code == kSuccess) return program;
  const std::string log = build_log(device, program);
  api().clReleaseProgram(program);
  TVM_FFI_THROW(RuntimeError) << "compiling " << name << " for " << device.text(kDeviceName)
                              << ": " << error_name(code) << '\n'
                              << log;
  TVM_FFI_UNREACHABLE();
}

}  // namespace

void set_program_folder(const std::string& folder) {
  std::lock_guard<std::mutex> lock(folder_lock);
  folder_name = folder;
}

Program build(Device& device, const std::string& name, const std::string& kernels) {
  const std::string source = with_prelude(device.text(kDeviceExtensions), kernels);
  const std::string folder = program_folder();
  if (folder.empty()) return from_source(device, name, source);
  const std::string key = device.identity() + '\n' + kOptions + '\n' + source;
  const std::string path = folder + '/' + hexadecimal(digest(key)) + ".bin";
  if (const std::string binary = kept(path, key); !binary.empty()) {
    if (Program program = from_binary(device, binary)) return program;
  }
  Program program = from_source(device, name, source);
  if (const std::string binary = binary_of(program); !binary.empty()) {
    keep(folder, path, key, binary);
  }
  return program;
}

}  // namespace adaspring::opencl
