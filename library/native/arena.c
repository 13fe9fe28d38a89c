/* The memory of activations, handed on from call to call and from variant to variant.
 *
 * Code asks for all of it as it begins, the largest block first (`backends/schedule/arena.py`), each
 * as a storage of two extents, where TVM's own have one. It gets the smallest free block that is
 * large enough; where there is none, the largest free one gives way to a new one. So there are as
 * many blocks as calls had at the same time, the k-th as large as the largest k-th that was wanted.
 * Anything else is TVM's to allocate.
 *
 * A block is TVM's own storage object. Whoever refers to it beside this list uses it, be it a call
 * or a tensor that was kept: it is free when this list's is the only reference. */
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
#define MAX_BLOCKS 64
#define SHAPE 69 /* kTVMFFIShape */

/* As in tvm/ffi/c_api.h. */
typedef struct {
  _Atomic uint64_t references; /* the strong ones in the lower half */
  int32_t type;
  uint32_t padding;
  void (*deleter)(void *self, int flags);
} Object;
typedef struct {
  Object header;
  const int64_t *extents;
  size_t count;
} Shape;
typedef struct {
  int32_t type;
  uint32_t padding;
  union {
    int64_t number;
    Object *object;
  } value;
} Any;
typedef struct {
  const char *data;
  size_t size;
} Text;

typedef struct {
  int (*find)(const Text *name, void **function);
  int (*call)(void *function, const Any *arguments, int32_t count, Any *result);
  int (*keep)(void *object);
  int (*drop)(void *object);
} Functions;

static Functions ffi;
static void *allocate, *empty_pools; /* TVM's own functions */
static struct {
  Object *storage;
  int64_t bytes;
} blocks[MAX_BLOCKS];
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static int is_free(int i) {
  return blocks[i].storage && (uint32_t)atomic_load(&blocks[i].storage->references) == 1;
}

/* The bytes of a block that is asked for; 0 where it is something else. */
static int64_t block_bytes(const Any *arguments, int32_t count) {
  if (count < 2 || arguments[1].type != SHAPE) return 0;
  const Shape *shape = (const Shape *)arguments[1].value.object;
  return shape->count == 2 && shape->extents[0] == 1 ? shape->extents[1] : 0;
}

/* Take the smallest free block that is large enough, as the caller's; NULL where there is none. */
static Object *take_block(int64_t bytes) {
  int found = -1;
  for (int i = 0; i < MAX_BLOCKS; ++i)
    if (is_free(i) && blocks[i].bytes >= bytes && (found < 0 || blocks[i].bytes < blocks[found].bytes))
      found = i;
  if (found < 0) return NULL;
  ffi.keep(blocks[found].storage);
  return blocks[found].storage;
}

/* Take the largest free block off the list; NULL where none is free. */
static Object *give_up_block(void) {
  int found = -1;
  for (int i = 0; i < MAX_BLOCKS; ++i)
    if (is_free(i) && (found < 0 || blocks[i].bytes > blocks[found].bytes)) found = i;
  if (found < 0) return NULL;
  Object *storage = blocks[found].storage;
  blocks[found].storage = NULL;
  return storage;
}

static void add_block(Object *storage, int64_t bytes) {
  for (int i = 0; i < MAX_BLOCKS; ++i)
    if (!blocks[i].storage) {
      ffi.keep(storage);
      blocks[i].storage = storage;
      blocks[i].bytes = bytes;
      return;
    }
}

/* Free a block: TVM's allocator would keep it for a call that wants exactly as much. */
static void give_back(Object *storage) {
  Any nothing = {0};
  ffi.drop(storage);
  ffi.call(empty_pools, NULL, 0, &nothing);
}

/* `vm.builtin.alloc_storage` as a packed function: (machine, shape, device, type, scope). */
EXPORT int adaspring_arena_allocate(void *self, const Any *arguments, int32_t count, Any *result) {
  (void)self;
  int64_t bytes = block_bytes(arguments, count);
  if (bytes <= 0) return ffi.call(allocate, arguments, count, result);
  pthread_mutex_lock(&turn);
  Object *storage = take_block(bytes), *old = storage ? NULL : give_up_block();
  pthread_mutex_unlock(&turn);
  if (storage) {
    *result = (Any){.type = storage->type, .value.object = storage};
    return 0;
  }
  if (old) give_back(old); /* first, so that there are never both */
  int status = ffi.call(allocate, arguments, count, result);
  if (status) return status;
  pthread_mutex_lock(&turn);
  add_block(result->value.object, bytes);
  pthread_mutex_unlock(&turn);
  return 0;
}

/* Give back all blocks that no call uses. */
EXPORT void adaspring_arena_clear(void) {
  for (Object *storage;;) {
    pthread_mutex_lock(&turn);
    storage = give_up_block();
    pthread_mutex_unlock(&turn);
    if (!storage) return;
    give_back(storage);
  }
}

/* How many bytes all blocks have, those in use too. */
EXPORT int64_t adaspring_arena_bytes(void) {
  int64_t bytes = 0;
  pthread_mutex_lock(&turn);
  for (int i = 0; i < MAX_BLOCKS; ++i) bytes += blocks[i].storage ? blocks[i].bytes : 0;
  pthread_mutex_unlock(&turn);
  return bytes;
}

static void lock(void) { pthread_mutex_lock(&turn); }
static void unlock(void) { pthread_mutex_unlock(&turn); }

static int find(const char *name, size_t size, void **function) {
  Text text = {name, size};
  return ffi.find(&text, function) || !*function ? -1 : 0;
}

/* `functions` in the order of `Functions`; -1 where TVM's runtime is not loaded. */
EXPORT int adaspring_arena_start(const Functions *functions) {
  static const char storage[] = "vm.builtin.alloc_storage";
  static const char pools[] = "vm.builtin.memory_manager.clear";
  ffi = *functions;
  if (find(storage, sizeof storage - 1, &allocate)) return -1;
  if (find(pools, sizeof pools - 1, &empty_pools)) return -1;
  return pthread_atfork(lock, unlock, unlock);
}
