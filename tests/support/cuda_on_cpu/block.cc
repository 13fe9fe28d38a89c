// Each thread of a block is a fibre that runs until it waits for others. A fibre whose thread ended
// without waiting takes the next one, so a kernel without barriers needs no switch at all.
#include "include/block.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

extern "C" {
dim3 threadIdx, blockIdx, blockDim, gridDim;
alignas(128) unsigned char buf_dyn_shmem_ptr[228 << 10];  // the name that TVM gives it
}

namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr int kPoison = 0xff;  // a NaN in every type of floats
constexpr unsigned kWarp = 32, kMostThreads = 1024;

// A context starts a fibre; from then on jumps do, which make no system call.
struct Fibre {
  jmp_buf place;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
};

enum class State { kReady, kAtBarrier, kMeeting, kConverging, kEnded };

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

struct Thread {
  dim3 index;
  State state = State::kReady;
  int line = 0;
  unsigned mask = 0;  // whom it waits for, then who came
  uint64_t offer = 0;
  Fibre* fibre = nullptr;
  std::vector<Copy> copies;  // begun, and in no group yet
  std::deque<std::vector<Copy>> groups;
};

struct Warp {
  uint64_t offers[kWarp];  // of those who met last
};

const CudaOnCpuLaunch* launched;
std::vector<Thread> threads;
std::vector<Warp> warps;
size_t started, current;
std::vector<std::unique_ptr<Fibre>> fibres;
std::vector<Fibre*> idle;
jmp_buf scheduler;
std::string fault;

void jump(jmp_buf from, jmp_buf to) {
  if (_setjmp(from) == 0) _longjmp(to, 1);
}

void enter(size_t thread) {
  current = thread;
  threadIdx = threads[thread].index;
}

void run_threads(Fibre* fibre) {
  for (;;) {
    while (started < threads.size()) {
      threads[started].fibre = fibre;
      enter(started++);
      launched->run(launched->arguments);
      threads[current].state = State::kEnded;
    }
    idle.push_back(fibre);
    jump(fibre->place, scheduler);
  }
}

// makecontext takes integers alone.
void begin_fibre(unsigned high, unsigned low) {
  run_threads(reinterpret_cast<Fibre*>(uintptr_t{high} << 32 | low));
}

void start_fibre() {
  fibres.push_back(std::make_unique<Fibre>());
  Fibre* made = fibres.back().get();
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = made->stack.get();
  context.uc_stack.ss_size = kStackBytes;
  const auto word = reinterpret_cast<uintptr_t>(made);
  makecontext(&context, reinterpret_cast<void (*)()>(begin_fibre), 2,
              static_cast<unsigned>(word >> 32), static_cast<unsigned>(word));
  if (_setjmp(scheduler) == 0) setcontext(&context);
}

void start_threads() {
  if (idle.empty()) return start_fibre();
  Fibre* taken = idle.back();
  idle.pop_back();
  jump(scheduler, taken->place);
}

void wait(State state, int line, unsigned mask) {
  Thread& thread = threads[current];
  thread.state = state;
  thread.line = line;
  thread.mask = mask;
  jump(thread.fibre->place, scheduler);
}

void fail(const std::string& what, int line) {
  if (!fault.empty()) return;
  const std::string text = line > 0 ? " (line " + std::to_string(line) + ')' : std::string();
  fault = std::string(launched->name) + ": " + what + text;
}

std::string name_of(const Thread& thread) {
  return "thread (" + std::to_string(thread.index.x) + ", " + std::to_string(thread.index.y) +
         ", " + std::to_string(thread.index.z) + ')';
}

// The lanes of a warp that wait as `asked` does.
unsigned lanes_with(const Thread* warp, size_t lanes, const Thread& asked) {
  unsigned found = 0;
  for (size_t lane = 0; lane < lanes; ++lane) {
    const bool same = warp[lane].state == asked.state && warp[lane].line == asked.line &&
                      warp[lane].mask == asked.mask;
    found |= unsigned{same} << lane;
  }
  return found;
}

unsigned lanes_left(const Thread* warp, size_t lanes) {
  unsigned found = 0;
  for (size_t lane = 0; lane < lanes; ++lane) {
    found |= unsigned{warp[lane].state != State::kEnded} << lane;
  }
  return found;
}

// Let lanes go on for whom all came; those that wait for nobody else only where no other can.
bool release_lanes(Thread* warp, size_t lanes, State waiting, uint64_t* offers) {
  for (size_t lane = 0; lane < lanes; ++lane) {
    if (warp[lane].state != waiting) continue;
    const unsigned here = lanes_with(warp, lanes, warp[lane]);
    const unsigned awaited = waiting == State::kMeeting
                                 ? warp[lane].mask & lanes_left(warp, lanes)
                                 : here;
    if (here != awaited) continue;
    for (size_t each = 0; each < lanes; ++each) {
      if ((here >> each & 1) == 0) continue;
      warp[each].state = State::kReady;
      warp[each].mask = here;
      offers[each] = warp[each].offer;
    }
    return true;
  }
  return false;
}

bool release_warps() {
  bool any = false;
  for (size_t first = 0; first < threads.size(); first += kWarp) {
    Thread* warp = &threads[first];
    const size_t lanes = std::min<size_t>(kWarp, threads.size() - first);
    uint64_t* offers = warps[first / kWarp].offers;
    any |= release_lanes(warp, lanes, State::kMeeting, offers) ||
           release_lanes(warp, lanes, State::kConverging, offers);
  }
  return any;
}

// Let all go on where all wait at one barrier; say who does not where some do.
bool release_barrier() {
  const Thread* first = nullptr;
  for (const Thread& thread : threads) {
    if (thread.state == State::kMeeting) {
      fail(name_of(thread) + " waits for lanes of its warp that do not come", thread.line);
    }
    if (thread.state == State::kAtBarrier && first == nullptr) first = &thread;
  }
  if (first == nullptr || !fault.empty()) return false;
  for (const Thread& thread : threads) {
    if (thread.state == State::kEnded) {
      fail(name_of(thread) + " ended, " + name_of(*first) + " waits at a barrier", first->line);
    } else if (thread.line != first->line) {
      fail(name_of(thread) + " waits at the barrier of line " + std::to_string(thread.line) + ", " +
               name_of(*first) + " at another",
           first->line);
    }
  }
  for (Thread& thread : threads) thread.state = State::kReady;
  return fault.empty();
}

void run_ready() {
  for (size_t at = 0; at < started && fault.empty(); ++at) {
    if (threads[at].state != State::kReady) continue;
    enter(at);
    jump(scheduler, threads[at].fibre->place);
  }
}

void run_block() {
  std::memset(launched->shared, kPoison, launched->shared_end - launched->shared);
  std::memset(buf_dyn_shmem_ptr, kPoison, launched->dynamic_bytes);
  for (Thread& thread : threads) {
    thread.state = State::kReady;
    thread.copies.clear();
    thread.groups.clear();
  }
  started = 0;
  while (started < threads.size() && fault.empty()) start_threads();
  while (fault.empty() && (release_warps() || release_barrier())) run_ready();
}

void set_threads(const dim3& block) {
  threads.assign(size_t{block.x} * block.y * block.z, Thread());
  warps.resize(threads.size() / kWarp + 1);
  size_t at = 0;
  for (unsigned z = 0; z < block.z; ++z) {
    for (unsigned y = 0; y < block.y; ++y) {
      for (unsigned x = 0; x < block.x; ++x) threads[at++].index = {x, y, z};
    }
  }
}

void run_grid() {
  const dim3& grid = launched->grid;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x && fault.empty(); ++x) {
        blockIdx = {x, y, z};
        run_block();
      }
    }
  }
}

struct Place {  // where GCC's check is
  const char* file;
  uint32_t line, column;
};

}  // namespace

extern "C" {

void cuda_on_cpu_barrier(int line) { wait(State::kAtBarrier, line, 0); }

CudaOnCpuMeeting cuda_on_cpu_meet(unsigned mask, uint64_t offer, int line) {
  threads[current].offer = offer;
  wait(State::kMeeting, line, mask);
  return {threads[current].mask, warps[current / kWarp].offers};
}

unsigned cuda_on_cpu_converge(int line) {
  wait(State::kConverging, line, 0);
  return threads[current].mask;
}

void cuda_on_cpu_copy(void* to, const void* from, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(to) % bytes || reinterpret_cast<uintptr_t>(from) % bytes) {
    cuda_on_cpu_stop("copies from or to an address that is no multiple of what it copies", 0);
  }
  if (from == nullptr) {
    std::memset(to, 0, bytes);
  } else {
    threads[current].copies.push_back({to, from, bytes});
  }
}

void cuda_on_cpu_commit_copies() {
  Thread& thread = threads[current];
  thread.groups.push_back(std::exchange(thread.copies, {}));
}

void cuda_on_cpu_wait_for_copies(size_t left) {
  std::deque<std::vector<Copy>>& groups = threads[current].groups;
  for (; groups.size() > left; groups.pop_front()) {
    for (const Copy& copy : groups.front()) std::memcpy(copy.to, copy.from, copy.bytes);
  }
}

void cuda_on_cpu_stop(const char* what, int line) {
  fail(name_of(threads[current]) + ": " + what, line);
  jump(threads[current].fibre->place, scheduler);
}

// What GCC calls where an index leaves its array (-fsanitize=bounds).
void __ubsan_handle_out_of_bounds_abort(const Place* place, uintptr_t) {
  cuda_on_cpu_stop("reads or writes beside an array", place->line);
}

const char* cuda_on_cpu_launch(const CudaOnCpuLaunch* launch) {
  static std::mutex running;
  std::lock_guard<std::mutex> lock(running);
  static std::string told;
  launched = launch;
  fault.clear();
  set_threads(launch->block);
  blockDim = launch->block;
  gridDim = launch->grid;
  if (threads.size() > kMostThreads) fail("has more than 1024 threads", 0);
  if (launch->dynamic_bytes > sizeof buf_dyn_shmem_ptr) fail("takes too much shared memory", 0);
  run_grid();
  if (fault.empty()) return nullptr;
  fibres.clear();  // with the threads that wait on them
  idle.clear();
  told = fault;
  return told.c_str();
}

}  // extern "C"
