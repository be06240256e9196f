#include "include/CPUKernels.h"

extern const cpu_kernels cpu_kernels_portable;
#if defined(__x86_64__)
extern const cpu_kernels cpu_kernels_avx2, cpu_kernels_avx512, cpu_kernels_avx512_bf16;
#elif defined(__aarch64__)
extern const cpu_kernels cpu_kernels_neon;
#endif

int cpu_supports(cpu_instruction_set set) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (set == CPU_AVX512_BF16)
    return __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16");
  if (set == CPU_AVX512) return __builtin_cpu_supports("x86-64-v4") != 0;
  if (set == CPU_AVX2) return __builtin_cpu_supports("x86-64-v3") != 0;
#elif defined(__aarch64__)
  if (set == CPU_NEON) return 1;
#endif
  return set == CPU_PORTABLE;
}

const cpu_kernels *cpu_kernels_for(cpu_instruction_set set) {
#if defined(__x86_64__)
  if (set == CPU_AVX512_BF16) return &cpu_kernels_avx512_bf16;
  if (set == CPU_AVX512) return &cpu_kernels_avx512;
  if (set == CPU_AVX2) return &cpu_kernels_avx2;
#elif defined(__aarch64__)
  if (set == CPU_NEON) return &cpu_kernels_neon;
#endif
  (void)set;
  return &cpu_kernels_portable;
}
