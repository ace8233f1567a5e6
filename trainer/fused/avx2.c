/* The functions for processors with AVX2. */

#ifdef __x86_64__
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define LANES 8
#define PANEL 2
#define FUNCTIONS functions_avx2
#define INTERLEAVED_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define INTERLEAVED_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#include "block.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
