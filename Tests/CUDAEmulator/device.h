// The declarations of CUDA C++ for the CPU, included before each kernel's source, and the machine that
// runs a grid.
//
// Blocks run one after the other. The threads of a block are fibers: one runs until it waits, at a
// barrier or in an instruction of its warp, then the next. A warp's instruction is executed by the last
// of its threads to arrive, for all of them, and fails if they did not arrive at the same one; so a
// kernel that diverges there, or lacks a barrier that it needs, is detected. Shared memory is filled
// with ones before each block, which are NaN as numbers.

#pragma once

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __grid_constant__
#define __restrict__
#define __shared__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

extern "C" {
void *memset(void *, int, unsigned long);
void *memcpy(void *, const void *, unsigned long);
float fmaf(float, float, float), fmaxf(float, float), fminf(float, float), fabsf(float);
float sqrtf(float), expf(float), exp2f(float), logf(float), log2f(float), log1pf(float);
float expm1f(float), tanhf(float), floorf(float), ceilf(float), powf(float, float), rintf(float);
float truncf(float), sinf(float), cosf(float), erff(float), erfcf(float), roundf(float), copysignf(float, float);
double fma(double, double, double), fmax(double, double), fmin(double, double), fabs(double);
double sqrt(double), exp(double), exp2(double), log(double), log2(double), log1p(double);
double expm1(double), tanh(double), erfc(double), floor(double), ceil(double), pow(double, double);
double trunc(double), rint(double), sin(double), cos(double), copysign(double, double);
}

static inline float rsqrtf(float x) { return 1 / sqrtf(x); }
static inline double rsqrt(double x) { return 1 / sqrt(x); }
static inline float __expf(float x) { return expf(x); }
static inline float __logf(float x) { return logf(x); }
static inline float __fdividef(float x, float y) { return x / y; }
static inline float __fmul_rn(float x, float y) { return x * y; }
static inline float __fadd_rn(float x, float y) { return x + y; }
static inline float __frcp_rn(float x) { return 1 / x; }
static inline bool isnan(float x) { return x != x; }
static inline bool isnan(double x) { return x != x; }
static inline bool isinf(float x) { return fabsf(x) == __builtin_inff(); }
static inline bool isinf(double x) { return fabs(x) == __builtin_inf(); }
template <typename T>
static inline T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
static inline T max(T a, T b) {
  return a < b ? b : a;
}
static inline unsigned min(unsigned a, int b) { return min(a, (unsigned)b); }
static inline unsigned min(int a, unsigned b) { return min((unsigned)a, b); }
static inline unsigned max(unsigned a, int b) { return max(a, (unsigned)b); }
static inline unsigned max(int a, unsigned b) { return max((unsigned)a, b); }
static inline long long min(long long a, int b) { return min(a, (long long)b); }
static inline long long min(int a, long long b) { return min((long long)a, b); }
static inline long long max(long long a, int b) { return max(a, (long long)b); }
static inline long long max(int a, long long b) { return max((long long)a, b); }
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline int abs(int x) { return x < 0 ? -x : x; }
static inline long long llabs(long long x) { return x < 0 ? -x : x; }
static inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
static inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
static inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
static inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
static inline long long __double_as_longlong(double x) { return __builtin_bit_cast(long long, x); }
static inline double __longlong_as_double(long long x) { return __builtin_bit_cast(double, x); }
static inline unsigned __umulhi(unsigned a, unsigned b) {
  return (unsigned long long)a * b >> 32;
}
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz((unsigned)x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return (unsigned)(((unsigned long long)high << 32 | low) >> (shift & 31));
}
template <typename T>
static inline T __ldg(const T *p) {
  return *p;
}

#define VECTORS(T, name)                                              \
  struct alignas(2 * sizeof(T)) name##2 { T x, y; };                  \
  struct name##3 { T x, y, z; };                                      \
  struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) name##4 {   \
    T x, y, z, w;                                                     \
  };                                                                  \
  static inline name##2 make_##name##2(T x, T y) { return {x, y}; }   \
  static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
VECTORS(float, float)
VECTORS(double, double)
VECTORS(int, int)
VECTORS(unsigned, uint)
VECTORS(unsigned short, ushort)
VECTORS(unsigned char, uchar)
VECTORS(long long, longlong)
#undef VECTORS

namespace machine {

constexpr int most_threads = 1024;
constexpr int warp_lanes = 32;
constexpr int warpgroup_threads = 128;
constexpr unsigned long stack_bytes = 128 << 10;
constexpr unsigned long shared_capacity = 256 << 10;
constexpr int parameter_capacity = 4096;
constexpr int most_meetings = 16;

struct Place {
  unsigned x, y, z;
};

enum State : unsigned char { ready, with_team, at_barrier, at_phase, at_meeting, done };

// What threads execute together: their arguments in order, null for threads that have ended.
using Instruction = void (*)(void *const *arguments);

// Threads with joint instructions: a warp, or the four warps of a warpgroup.
struct Team {
  Instruction instruction;
  void *arguments[warpgroup_threads];
  int arrived;
  int alive;
};

// The strictest alignment of any kernel's parameters.
struct alignas(64) Parameters {
  unsigned char bytes[parameter_capacity];
};

static void *stack_pointers[most_threads];
static State states[most_threads];
static Team warps[most_threads / warp_lanes];
static Team warpgroups[most_threads / warpgroup_threads];
static unsigned char *stacks;
// The number of threads that have arrived at each numbered barrier, and the one that a thread waits at.
static int arrived[most_meetings];
static unsigned char meetings[most_threads];
// The number of blocks run so far.
static unsigned block_number;
static int threads, alive, waiting;
static void *scheduler;
static const char *failure;
static void (*kernel)(Parameters);
static const Parameters *parameters;

}  // namespace machine

// Read by kernels; set whenever another thread runs.
static machine::Place threadIdx, blockIdx, blockDim, gridDim;

// Declared as a function with C linkage would.
extern "C" {
alignas(1024) unsigned char shared[machine::shared_capacity];
}

namespace machine {

// Saves the callee-saved registers on this stack, its pointer at `from`, and continues on stack `to`.
extern "C" void emulator_switch(void **from, void *to);
asm(R"(
.text
.local emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch, .-emulator_switch
)");

// Runs the next runnable thread, or gives up.
static void __attribute__((noinline)) leave() {
  const int self = threadIdx.x;
  int next = self;
  do {
    next = next + 1 == threads ? 0 : next + 1;
  } while (states[next] != ready && next != self);
  if (states[next] != ready) {
    if (alive > 0 && !failure) failure = "threads wait for others that wait elsewhere";
    emulator_switch(&stack_pointers[self], scheduler);
    return;
  }
  if (next == self) return;
  threadIdx.x = next;
  emulator_switch(&stack_pointers[self], stack_pointers[next]);
}

static void pause() {
  const int self = threadIdx.x;
  leave();
  asm volatile("" ::: "memory");
  threadIdx.x = self;
}

static void fail(const char *reason) {
  failure = reason;
  emulator_switch(&stack_pointers[threadIdx.x], scheduler);
}

// Executes a team's instruction, at which all its `size` threads from `first` on have arrived.
static void complete(Team &team, int first, int size) {
  team.instruction(team.arguments);
  team.arrived = 0;
  team.instruction = nullptr;
  for (int i = 0; i < size; ++i) {
    if (!team.arguments[i]) continue;
    team.arguments[i] = nullptr;
    if (states[first + i] == with_team) states[first + i] = ready;
  }
}

static void arrive(Team &team, int size, Instruction instruction, void *arguments) {
  const int self = threadIdx.x;
  if (team.instruction && team.instruction != instruction) {
    fail("threads arrive at different instructions of their warp");
  }
  team.instruction = instruction;
  team.arguments[self % size] = arguments;
  if (++team.arrived == team.alive) {
    complete(team, self / size * size, size);
    return;
  }
  states[self] = with_team;
  pause();
}

static void __attribute__((noinline)) together(Instruction instruction, void *arguments) {
  arrive(warps[threadIdx.x / warp_lanes], warp_lanes, instruction, arguments);
}

static void __attribute__((noinline)) together_as_warpgroup(Instruction instruction, void *arguments) {
  arrive(warpgroups[threadIdx.x / warpgroup_threads], warpgroup_threads, instruction, arguments);
}

// A thread has ended; the others of its team need not wait for it.
static void desert(Team &team, int size) {
  --team.alive;
  if (team.alive > 0 && team.arrived == team.alive) complete(team, threadIdx.x / size * size, size);
}

// Wakes all threads that wait in this state.
static void wake(State state) {
  for (int i = 0; i < threads; ++i) {
    if (states[i] == state) states[i] = ready;
  }
}

// Runs others until the thread is woken.
static void __attribute__((noinline)) wait_as(State state) {
  states[threadIdx.x] = state;
  pause();
}

static void release_barrier() {
  waiting = 0;
  wake(at_barrier);
}

static void __attribute__((noinline)) barrier() {
  if (++waiting == alive) {
    release_barrier();
    return;
  }
  wait_as(at_barrier);
}

// Arrives at a numbered barrier of `count` threads, and waits there or continues.
static void __attribute__((noinline)) meet(int number, int count, bool waits) {
  if (number < 1 || number >= most_meetings || count % warp_lanes != 0) fail("there is no such barrier");
  if (++arrived[number] == count) {
    arrived[number] = 0;
    for (int i = 0; i < threads; ++i) {
      if (states[i] == at_meeting && meetings[i] == number) states[i] = ready;
    }
    return;
  }
  if (!waits) return;
  meetings[threadIdx.x] = (unsigned char)number;
  wait_as(at_meeting);
}

// The entry point of every thread.
static void body() {
  kernel(*parameters);
  const int self = threadIdx.x;
  states[self] = done;
  --alive;
  if (alive > 0 && waiting == alive) release_barrier();
  desert(warps[self / warp_lanes], warp_lanes);
  desert(warpgroups[self / warpgroup_threads], warpgroup_threads);
  leave();
}

// Asynchronous copies into shared memory started by a thread, oldest first. They are carried out when it
// waits for them; until then their targets are NaN.
struct Copies {
  struct Copy {
    unsigned char *target;
    const void *source;    // null: zeros
    int bytes;
    int group;
  };
  static constexpr int capacity = 256;
  Copy copies[capacity];
  int first, count, group;
};

static Copies copies[most_threads];

static void start_copy(unsigned char *target, const void *source, int bytes) {
  Copies &own = copies[threadIdx.x];
  if (own.count == Copies::capacity) fail("a thread starts more copies than the emulator keeps");
  own.copies[(own.first + own.count++) % Copies::capacity] = {target, source, bytes, own.group};
  memset(target, 0xff, bytes);
}

static void close_copies() { ++copies[threadIdx.x].group; }

// Carries out all committed groups but the last `pending`.
static void finish_copies(int pending) {
  Copies &own = copies[threadIdx.x];
  while (own.count > 0 && own.copies[own.first].group < own.group - pending) {
    const Copies::Copy &copy = own.copies[own.first];
    if (copy.source) {
      memcpy(copy.target, copy.source, copy.bytes);
    } else {
      memset(copy.target, 0, copy.bytes);
    }
    own.first = (own.first + 1) % Copies::capacity;
    --own.count;
  }
}

static void run_block() {
  memset(shared, 0xff, sizeof shared);
  memset(arrived, 0, sizeof arrived);
  ++block_number;
  alive = threads;
  waiting = 0;
  for (int i = 0; i < threads; ++i) {
    states[i] = ready;
    copies[i].first = copies[i].count = copies[i].group = 0;
    // As if `body` had been called there: an aligned stack with six saved registers and a return.
    void **top = (void **)(stacks + (i + 1) * stack_bytes) - 1;
    *top = nullptr;
    *--top = (void *)body;
    for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
    stack_pointers[i] = top;
  }
  for (int i = 0; i < threads; i += warp_lanes) {
    warps[i / warp_lanes] = {};
    warps[i / warp_lanes].alive = min(warp_lanes, threads - i);
  }
  for (int i = 0; i < threads; i += warpgroup_threads) {
    warpgroups[i / warpgroup_threads] = {};
    warpgroups[i / warpgroup_threads].alive = min(warpgroup_threads, threads - i);
  }
  threadIdx = {0, 0, 0};
  emulator_switch(&scheduler, stack_pointers[0]);
}

}  // namespace machine

// Runs a grid; returns null, or why it cannot continue. `stacks` has room for `most_threads` stacks.
extern "C" const char *emulator_run(void (*function)(machine::Parameters),
                                    const machine::Parameters *parameters, const unsigned *grid,
                                    unsigned block, unsigned char *stacks) {
  using namespace machine;
  kernel = function;
  machine::parameters = parameters;
  machine::stacks = stacks;
  threads = block;
  failure = nullptr;
  blockDim = {block, 1, 1};
  gridDim = {grid[0], grid[1], grid[2]};
  for (unsigned z = 0; z < grid[2] && !failure; ++z) {
    for (unsigned y = 0; y < grid[1] && !failure; ++y) {
      for (unsigned x = 0; x < grid[0] && !failure; ++x) {
        blockIdx = {x, y, z};
        run_block();
      }
    }
  }
  return failure;
}

// The position of the fault in a kernel, for the report of an illegal address.
extern "C" void emulator_place(unsigned *place) {
  place[0] = blockIdx.x;
  place[1] = blockIdx.y;
  place[2] = blockIdx.z;
  place[3] = threadIdx.x;
}

#define __syncthreads() machine::barrier()

namespace machine {

static void nothing(void *const *) {}

template <typename T>
struct Exchange {
  T value;
  int source;
  T result;

  static void execute(void *const *arguments) {
    for (int lane = 0; lane < warp_lanes; ++lane) {
      auto *own = (Exchange *)arguments[lane];
      if (!own) continue;
      auto *other = (const Exchange *)arguments[own->source];
      own->result = other ? other->value : T();
    }
  }
};

template <typename T>
static T exchange(T value, int source) {
  Exchange<T> own = {value, source, value};
  together(Exchange<T>::execute, &own);
  return own.result;
}

// One bit per thread of the warp.
struct Vote {
  bool bit;
  unsigned bits;

  static void execute(void *const *arguments) {
    unsigned bits = 0;
    for (int lane = 0; lane < warp_lanes; ++lane) {
      if (arguments[lane] && ((const Vote *)arguments[lane])->bit) bits |= 1u << lane;
    }
    for (int lane = 0; lane < warp_lanes; ++lane) {
      if (arguments[lane]) ((Vote *)arguments[lane])->bits = bits;
    }
  }
};

static unsigned vote(bool bit) {
  Vote own = {bit, 0};
  together(Vote::execute, &own);
  return own.bits;
}

static int own_lane() { return threadIdx.x % warp_lanes; }

}  // namespace machine

static inline void __syncwarp(unsigned = ~0u) {
  int own = 0;
  machine::together(machine::nothing, &own);
}
// Lanes count within groups of `width`; a source outside the group gives the lane's own value.
template <typename T>
static T __shfl_sync(unsigned, T value, int source, int width = 32) {
  const int group = machine::own_lane() / width * width;
  return machine::exchange(value, group + (source & (width - 1)));
}
template <typename T>
static T __shfl_xor_sync(unsigned, T value, int mask, int width = 32) {
  const int lane = machine::own_lane(), source = lane ^ mask;
  return machine::exchange(value, source / width <= lane / width ? source : lane);
}
template <typename T>
static T __shfl_up_sync(unsigned, T value, int distance, int width = 32) {
  const int lane = machine::own_lane();
  return machine::exchange(value, lane % width >= distance ? lane - distance : lane);
}
template <typename T>
static T __shfl_down_sync(unsigned, T value, int distance, int width = 32) {
  const int lane = machine::own_lane();
  return machine::exchange(value, lane % width + distance < width ? lane + distance : lane);
}
static inline bool __any_sync(unsigned, bool bit) { return machine::vote(bit) != 0; }
static inline bool __all_sync(unsigned, bool bit) { return machine::vote(!bit) == 0; }
static inline unsigned __ballot_sync(unsigned, bool bit) { return machine::vote(bit); }
template <typename T>
static T atomicAdd(T *place, T value) {
  const T before = *place;
  *place = before + value;
  return before;
}
template <typename T>
static T atomicMax(T *place, T value) {
  const T before = *place;
  *place = before < value ? value : before;
  return before;
}
static inline void __threadfence() {}
