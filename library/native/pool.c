/* One thread pool for the process, in place of TVM's pool for each calling thread.
 *
 * A loop is handed out in shares, some for each thread: the same ones to the same thread each time,
 * for what lies in its cache. Who is done with its own takes from the ends of others', the caller
 * too: a core that is slowed, or a worker that gets none, costs the time of a share at most.
 * Waiting spins for a stated time, then sleeps in the kernel (futex). Sleeping workers are woken
 * only once launches have followed each other for as long as waking may take: a short call now and
 * then is done sooner alone.
 *
 * A slot holds a thread's shares that nobody has taken, and the launch that they are of, in one
 * word. Who takes one knows that its launch is not over before that share is, and reads `job` only
 * then. Launches are numbered modulo 2^32: a thread would have to stop within a dozen instructions
 * for hours to take one launch for another.
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
#define SHARES_PER_THREAD 4
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

/* Of thread t, the caller being 0: launch << 32 | end << 16 | begin. */
static struct {
  _Alignas(CACHE_LINE) _Atomic uint64_t left;
  atomic_int cpu; /* where the thread last began */
} slots[MAX_THREADS];

static _Alignas(CACHE_LINE) atomic_int pending; /* shares that are not finished */
static atomic_int caller_sleeps;
static _Alignas(CACHE_LINE) atomic_uint asleep; /* worker w: bit w % 32 */
static atomic_uint wakes;                       /* what sleeping workers watch */
static _Alignas(CACHE_LINE) atomic_flag in_use = ATOMIC_FLAG_INIT;
static _Atomic int64_t spin_ns;

/* Of the launch that has the pool. */
static uint32_t launches;
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

/* Whether a thread in `first` to `last` last began on this thread's processor. */
static int shares_processor(int first, int last) {
  int here = sched_getcpu();
  for (int thread = first; thread <= last; ++thread)
    if (atomic_load_explicit(&slots[thread].cpu, memory_order_relaxed) == here) return 1;
  return 0;
}

/* Pause a spinning thread; whether its time is over. Where it spins on the processor of one of the
 * threads that it waits for, that one has it every 128th turn; whoever else wants it waits, for he
 * would keep it for milliseconds. */
static int spun(unsigned turn, int64_t until, int first, int last) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");
#endif
  if (turn % 128 != 0) return 0;
  if (shares_processor(first, last)) sched_yield();
  return now_ns() >= until;
}

static void futex_wait(void *word, unsigned seen, unsigned bits) {
  syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen, NULL, NULL, bits);
}

static void futex_wake(void *word, unsigned bits) {
  syscall(SYS_futex, word, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, bits);
}

static int has_shares(uint64_t left) { return (uint16_t)left < (uint16_t)(left >> 16); }

/* Take one of a thread's shares: its first for itself, its last for another; -1 where none is. */
static int take(int thread, int for_itself) {
  uint64_t left = atomic_load_explicit(&slots[thread].left, memory_order_acquire);
  while (has_shares(left))
    if (for_itself) {
      if (atomic_compare_exchange_weak(&slots[thread].left, &left, left + 1)) return (uint16_t)left;
    } else if (atomic_compare_exchange_weak(&slots[thread].left, &left, left - (1 << 16)))
      return (uint16_t)(left >> 16) - 1;
  return -1;
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

/* Compute a thread's own shares, then what others have not begun; how many those were. */
static int take_part(int own) {
  int share, done = 0;
  for (; (share = take(own, 1)) >= 0; ++done) compute(share);
  if (!done && own) return 0;
  for (int late = 0; late < MAX_THREADS && atomic_load(&slots[late].left); ++late)
    for (; late != own && (share = take(late, 0)) >= 0; ++done) compute(share);
  if (atomic_fetch_sub(&pending, done) == done && atomic_load(&caller_sleeps))
    futex_wake(&pending, FUTEX_BITSET_MATCH_ANY);
  return done;
}

static void sleep_until_woken(int worker) {
  unsigned bit = 1u << worker % 32, seen = atomic_load(&wakes);
  atomic_fetch_or(&asleep, bit);
  if (!has_shares(atomic_load(&slots[worker].left))) futex_wait(&wakes, seen, bit);
}

static void *work(void *argument) {
  int worker = (int)(intptr_t)argument;
  for (;;) {
    int64_t until = now_ns() + atomic_load_explicit(&spin_ns, memory_order_relaxed);
    atomic_store_explicit(&slots[worker].cpu, sched_getcpu(), memory_order_relaxed);
    for (unsigned turn = 1; !take_part(worker); ++turn)
      if (spun(turn, until, 0, 0)) {
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

static void wake(int threads) {
  unsigned bits = 0;
  for (int thread = 1; thread < threads && thread <= 32; ++thread) bits |= 1u << thread % 32;
  int64_t now = now_ns();
  if (now - idle_since_ns > settings.spin_ns) busy_since_ns = now;
  bits &= atomic_load(&asleep);
  if (!bits || now - busy_since_ns < WAKE_AFTER_NS) return;
  /* A woken thread is put where its waker runs, and would wait there for the very call that it
   * shall help, until the kernel's next look around some milliseconds later. */
  int here = placed.pinned ? -1 : sched_getcpu();
  for (int thread = 1; thread < threads && here >= 0; ++thread)
    if (bits >> thread % 32 & 1) place(thread, here);
  atomic_fetch_and(&asleep, ~bits);
  atomic_fetch_add(&wakes, 1);
  futex_wake(&wakes, bits);
}

static void wait_for_workers(int threads) {
  if (atomic_load(&pending) == 0) return;
  int64_t until = now_ns() + settings.spin_ns;
  for (unsigned turn = 1; !spun(turn, until, 1, threads - 1); ++turn)
    if (atomic_load_explicit(&pending, memory_order_acquire) == 0) return;
  atomic_store(&caller_sleeps, 1);
  for (int left; (left = atomic_load(&pending)) != 0;)
    futex_wait(&pending, (unsigned)left, FUTEX_BITSET_MATCH_ANY);
  atomic_store(&caller_sleeps, 0);
}

static void hand_out(int threads) {
  ++launches;
  for (int thread = 0; thread < threads; ++thread) {
    uint64_t begin = thread * SHARES_PER_THREAD, end = begin + SHARES_PER_THREAD;
    atomic_store(&slots[thread].left, (uint64_t)launches << 32 | end << 16 | begin);
  }
}

static int launch_shares(Lambda lambda, void *closure, int threads) {
  int shares = threads * SHARES_PER_THREAD;
  job.lambda = lambda;
  job.closure = closure;
  job.group = (Group){NULL, shares};
  atomic_store_explicit(&job.failed, 0, memory_order_relaxed);
  atomic_store_explicit(&job.error, NULL, memory_order_relaxed);
  atomic_store_explicit(&spin_ns, settings.spin_ns, memory_order_relaxed);
  atomic_store_explicit(&slots[0].cpu, sched_getcpu(), memory_order_relaxed);
  atomic_store(&pending, shares);
  hand_out(threads);
  wake(threads);
  take_part(0);
  wait_for_workers(threads);
  if (!atomic_load(&job.failed)) return 0;
  void *error = atomic_load(&job.error);
  if (error) {
    errors.set_raised(error);
    errors.drop(error);
  }
  return -1;
}

EXPORT int adaspring_pool_launch(Lambda lambda, void *closure, int num_task) {
  (void)num_task; /* generated code passes 0: as many as the pool likes */
  if (settings.threads < 2 || in_share || atomic_flag_test_and_set(&in_use))
    return compute_alone(lambda, closure);
  int threads = 1 + ready_workers(settings.threads - 1);
  int status = threads == 1 ? compute_alone(lambda, closure) : launch_shares(lambda, closure, threads);
  idle_since_ns = now_ns();
  atomic_flag_clear(&in_use);
  return status;
}

/* A thread computes its shares one after the other, so none can wait for another. */
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
  for (int i = 0; i < MAX_THREADS; ++i) atomic_store(&slots[i].left, 0);
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
