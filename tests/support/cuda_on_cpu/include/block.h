// The threads of a block, one after the other on one processor thread: what a kernel asks of them.
#ifndef CUDA_ON_CPU_BLOCK_H_
#define CUDA_ON_CPU_BLOCK_H_

#include <cstddef>
#include <cstdint>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

struct CudaOnCpuMeeting {
  unsigned mask;
  const uint64_t* offers;  // by lane
};

extern "C" {

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

// Wait until all threads of the block wait at this line.
void cuda_on_cpu_barrier(int line);

// Wait until the warp's lanes of `mask` that have not ended wait at this line. Each learns
// who came, and what they offer, until it waits again.
CudaOnCpuMeeting cuda_on_cpu_meet(unsigned mask, uint64_t offer, int line);

// Give the mask of the warp's lanes that are at this line when none can go on without.
unsigned cuda_on_cpu_converge(int line);

// Begin an asynchronous copy, made when it is waited for and no sooner; of zeros, at once, where
// there is nothing to read (`from` is null).
void cuda_on_cpu_copy(void* to, const void* from, size_t bytes);

// Make a group of the copies that this thread began.
void cuda_on_cpu_commit_copies();

// Wait for all groups of this thread but the `left` newest.
void cuda_on_cpu_wait_for_copies(size_t left);

// End the launch: a thread does what it must not.
void cuda_on_cpu_stop(const char* what, int line);

struct CudaOnCpuLaunch {
  const char* name;
  void (*run)(const void* arguments);  // one thread
  const void* arguments;
  dim3 grid, block;
  char *shared, *shared_end;  // all static shared memory of the kernel's file
  size_t dynamic_bytes;
};

// Run all blocks; give null, or what a thread did that it must not.
const char* cuda_on_cpu_launch(const CudaOnCpuLaunch* launch);

}  // extern "C"

#endif  // CUDA_ON_CPU_BLOCK_H_
