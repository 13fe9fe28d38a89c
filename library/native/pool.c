/* One thread pool for the process, in place of TVM's pool for each calling thread.
 *
 * A launch has as many shares as its thread may use processors. Share 0 is the caller's; share w
 * is worker w's where that comes in time, else anybody's who is free, the caller first of all: a
 * worker that gets no processor delays nobody, unless it loses it in the middle of a share.
 * Waiting spins for a stated time, then sleeps in the kernel (futex). Sleeping workers are woken
 * only once launches have followed each other for as long as waking may take: a short call now and
 * then is done sooner alone.
 *
 * A slot says whether a share may be taken: 2g in launch g, 2g + 1 once taken. Launches are
 * numbered for ever, so who takes 2g knows that launch g is not over before its share is, and
 * reads `job` only then.
 *
 * One launch has the pool at a time. Who finds it in use computes alone, and so does a launch
 * within a share. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define MAX_THREADS 256
#define CACHE_LINE 64
#define WAKE_AFTER_NS 150000

/* As in tvm/runtime/c_backend_api.h and tvm/ffi/c_api.h. */
typedef struct {
  void *sync_handle;
  int32_t num_task;
} Group;
typedef int (*Lambda)(int task, Group *group, void *closure);

/* Functions of tvm_ffi; each thread keeps the error that it raised last. */
typedef struct {
  void (*move_raised)(void **error);
  void (*set_raised)(void *error);
  void (*drop)(void *error);
  void (*set_raised_text)(const char *kind, const char *message);
} Errors;

typedef struct {
  int threads;
  int pinned; /* the n-th thread on the n-th processor alone */
  int cpu_count;
  int cpus[MAX_THREADS];
  int64_t spin_ns;
} Settings;

static struct {
  Lambda lambda;
  void *closure;
  Group group;
  _Atomic(void *) error; /* of the first share that failed */
  atomic_int failed;
} job;

static struct {
  _Alignas(CACHE_LINE) _Atomic uint64_t state;
} slots[MAX_THREADS];

static _Alignas(CACHE_LINE) atomic_int pending; /* shares of workers that are not finished */
static atomic_int caller_sleeps;
static _Alignas(CACHE_LINE) atomic_uint asleep; /* worker w: bit w % 32 */
static atomic_uint wakes;                       /* what sleeping workers watch */
static _Alignas(CACHE_LINE) atomic_flag in_use = ATOMIC_FLAG_INIT;
static _Atomic int64_t spin_ns;

/* Of the launch that has the pool. */
static uint64_t launches;
static int64_t busy_since_ns; /* launches have followed each other since */
static int64_t idle_since_ns; /* the end of the last launch */
static int worker_count;
static pthread_t workers[MAX_THREADS];
static Settings placed; /* where the workers are */

static _Thread_local Settings settings = {.threads = 1};
static _Thread_local int in_share;

static Errors errors;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Pause a spinning thread; whether its time is over. Every 128th turn whoever else waits for this
 * processor has it, for that may be the thread that is waited for. */
static int spun(unsigned turn, int64_t until) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");
#endif
  if (turn % 128 != 0) return 0;
  sched_yield();
  return now_ns() >= until;
}

static void futex_wait(void *word, unsigned seen, unsigned bits) {
  syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen, NULL, NULL, bits);
}

static void futex_wake(void *word, unsigned bits) {
  syscall(SYS_futex, word, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, bits);
}

static int take(int share) {
  uint64_t state = atomic_load_explicit(&slots[share].state, memory_order_acquire);
  return state != 0 && state % 2 == 0 &&
         atomic_compare_exchange_strong(&slots[share].state, &state, state + 1);
}

static void compute(int share) {
  in_share = 1;
  if (job.lambda(share, &job.group, job.closure) != 0) {
    void *error = NULL, *none = NULL;
    errors.move_raised(&error);
    atomic_store(&job.failed, 1);
    if (!atomic_compare_exchange_strong(&job.error, &none, error) && error) errors.drop(error);
  }
  in_share = 0;
}

static void finish(void) {
  if (atomic_fetch_sub(&pending, 1) == 1 && atomic_load(&caller_sleeps))
    futex_wake(&pending, FUTEX_BITSET_MATCH_ANY);
}

/* Compute a worker's share, if it may be taken, then those whose workers are late. */
static int take_part(int own) {
  if (!take(own)) return 0;
  compute(own);
  finish();
  for (int share = 1; share < MAX_THREADS && atomic_load(&slots[share].state); ++share)
    if (take(share)) {
      compute(share);
      finish();
    }
  return 1;
}

static void sleep_until_woken(int worker) {
  unsigned bit = 1u << worker % 32, seen = atomic_load(&wakes);
  atomic_fetch_or(&asleep, bit);
  uint64_t state = atomic_load(&slots[worker].state);
  if (state == 0 || state % 2 == 1) futex_wait(&wakes, seen, bit);
}

static void *work(void *argument) {
  int worker = (int)(intptr_t)argument;
  for (;;) {
    int64_t until = now_ns() + atomic_load_explicit(&spin_ns, memory_order_relaxed);
    for (unsigned turn = 1; !take_part(worker); ++turn)
      if (spun(turn, until)) {
        sleep_until_woken(worker);
        break;
      }
  }
  return NULL;
}

/* Let a worker run on the pool's processors, but not on `taken` where it has others. */
static void place(int worker, int taken) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int i = 0; i < placed.cpu_count; ++i)
    if (placed.pinned ? i == worker % placed.cpu_count
                      : placed.cpus[i] != taken || placed.cpu_count == 1)
      CPU_SET(placed.cpus[i], &set);
  if (placed.cpu_count) pthread_setaffinity_np(workers[worker], sizeof set, &set);
}

static int same_places(void) {
  int same = placed.pinned == settings.pinned && placed.cpu_count == settings.cpu_count;
  for (int i = 0; same && i < placed.cpu_count; ++i) same = placed.cpus[i] == settings.cpus[i];
  return same;
}

/* Bring the workers to where this thread's calls want them; how many there are. */
static int ready_workers(int wanted) {
  int moved = !same_places(), before = worker_count;
  if (moved) placed = settings;
  if (worker_count < wanted) {
    sigset_t all, old; /* signals are the app's threads' */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (; worker_count < wanted; ++worker_count)
      if (pthread_create(&workers[worker_count + 1], NULL, work,
                         (void *)(intptr_t)(worker_count + 1)))
        break;
      else
        pthread_detach(workers[worker_count + 1]);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
  }
  for (int worker = moved ? 1 : before + 1; worker <= worker_count; ++worker) place(worker, -1);
  return worker_count < wanted ? worker_count : wanted;
}

static int compute_alone(Lambda lambda, void *closure) {
  Group group = {NULL, 1};
  return lambda(0, &group, closure);
}

static void wake(int shares) {
  unsigned bits = 0;
  for (int share = 1; share < shares && share <= 32; ++share) bits |= 1u << share % 32;
  int64_t now = now_ns();
  if (now - idle_since_ns > settings.spin_ns) busy_since_ns = now;
  bits &= atomic_load(&asleep);
  if (!bits || now - busy_since_ns < WAKE_AFTER_NS) return;
  /* A woken thread is put where its waker runs, and would wait there for the very call that it
   * shall help, until the kernel's next look around some milliseconds later. */
  int here = placed.pinned ? -1 : sched_getcpu();
  for (int share = 1; share < shares && here >= 0; ++share)
    if (bits >> share % 32 & 1) place(share, here);
  atomic_fetch_and(&asleep, ~bits);
  atomic_fetch_add(&wakes, 1);
  futex_wake(&wakes, bits);
}

static void wait_for_workers(void) {
  if (atomic_load(&pending) == 0) return;
  int64_t until = now_ns() + settings.spin_ns;
  for (unsigned turn = 1; !spun(turn, until); ++turn)
    if (atomic_load_explicit(&pending, memory_order_acquire) == 0) return;
  atomic_store(&caller_sleeps, 1);
  for (int left; (left = atomic_load(&pending)) != 0;)
    futex_wait(&pending, (unsigned)left, FUTEX_BITSET_MATCH_ANY);
  atomic_store(&caller_sleeps, 0);
}

static int launch_shares(Lambda lambda, void *closure, int shares) {
  job.lambda = lambda;
  job.closure = closure;
  job.group = (Group){NULL, shares};
  atomic_store_explicit(&job.failed, 0, memory_order_relaxed);
  atomic_store_explicit(&job.error, NULL, memory_order_relaxed);
  atomic_store_explicit(&spin_ns, settings.spin_ns, memory_order_relaxed);
  atomic_store(&pending, shares - 1);
  ++launches;
  for (int share = 1; share < shares; ++share) atomic_store(&slots[share].state, 2 * launches);
  wake(shares);
  compute(0);
  for (int share = 1; share < shares; ++share)
    if (take(share)) {
      compute(share);
      atomic_fetch_sub(&pending, 1);
    }
  wait_for_workers();
  if (!atomic_load(&job.failed)) return 0;
  void *error = atomic_load(&job.error);
  if (error) {
    errors.set_raised(error);
    errors.drop(error);
  }
  return -1;
}

EXPORT int adaspring_pool_launch(Lambda lambda, void *closure, int num_task) {
  (void)num_task; /* generated code passes 0: as many as there are threads */
  if (settings.threads < 2 || in_share || atomic_flag_test_and_set(&in_use))
    return compute_alone(lambda, closure);
  int shares = 1 + ready_workers(settings.threads - 1);
  int status = shares == 1 ? compute_alone(lambda, closure) : launch_shares(lambda, closure, shares);
  idle_since_ns = now_ns();
  atomic_flag_clear(&in_use);
  return status;
}

/* Shares are computed one after the other where workers are late, so none can wait for another. */
EXPORT int adaspring_pool_barrier(int task, Group *group) {
  (void)task;
  if (group->num_task == 1) return 0;
  errors.set_raised_text("RuntimeError", "adaspring's thread pool has no barrier within a parallel loop");
  return -1;
}

/* Let this thread's launches use `threads` threads, each waiting at most `spin_us` awake. */
EXPORT void adaspring_pool_use(int threads, const int *cpus, int cpu_count, int pinned,
                               int64_t spin_us) {
  settings.threads = threads < MAX_THREADS ? threads : MAX_THREADS;
  settings.cpu_count = cpu_count < MAX_THREADS ? cpu_count : MAX_THREADS;
  for (int i = 0; i < settings.cpu_count; ++i) settings.cpus[i] = cpus[i];
  settings.pinned = pinned;
  settings.spin_ns = 1000 * spin_us;
  if (atomic_flag_test_and_set(&in_use)) return; /* the first launch will */
  ready_workers(settings.threads - 1);
  atomic_flag_clear(&in_use);
}

EXPORT int adaspring_pool_threads(void) { return settings.threads; }

/* Point the launches of a loaded library here; -1 where it is not loaded. One whose functions all
 * compute on one thread has nothing to point. */
EXPORT int adaspring_pool_give_to(const char *path) {
  void *library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
  if (!library) return -1;
  void **launch = dlsym(library, "__TVMBackendParallelLaunch");
  void **barrier = dlsym(library, "__TVMBackendParallelBarrier");
  if (launch) *launch = (void *)adaspring_pool_launch;
  if (barrier) *barrier = (void *)adaspring_pool_barrier;
  dlclose(library);
  return 0;
}

/* A child has the thread that forked alone, so it gets a new pool at its first launch. */
static void forget_workers(void) {
  worker_count = 0;
  placed.cpu_count = 0;
  for (int i = 0; i < MAX_THREADS; ++i) atomic_store(&slots[i].state, 0);
  atomic_store(&pending, 0);
  atomic_store(&asleep, 0);
  atomic_store(&caller_sleeps, 0);
  in_share = 0;
  atomic_flag_clear(&in_use);
}

EXPORT int adaspring_pool_start(void (*move_raised)(void **), void (*set_raised)(void *),
                                void (*drop)(void *),
                                void (*set_raised_text)(const char *, const char *)) {
  errors = (Errors){move_raised, set_raised, drop, set_raised_text};
  return pthread_atfork(NULL, NULL, forget_workers);
}
