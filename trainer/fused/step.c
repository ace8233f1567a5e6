/* Trains on batches with several threads. trainer/fused/__init__.py has the formulas, and calls train_steps. */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "step.h"

#define LARGE_PAGE (2 << 20)
#if defined(__linux__) && !defined(MADV_COLLAPSE)
#define MADV_COLLAPSE 25 /* since Linux 6.1; an older kernel refuses it, and goes on */
#endif

typedef struct {
  Training *training;
  Sizes sizes;
  const Functions *functions;
  Gradients *blocks;    /* [B] */
  char *memory;         /* of their arrays */
  atomic_llong *taken;  /* [2 num_steps]: how many blocks, then groups, of each step have been taken by a thread */
  atomic_llong arrived; /* how often a thread has come to a barrier */
  atomic_int failed;
} Work;

static int64_t padded(int64_t size) { return (size + PADDING - 1) / PADDING * PADDING; }

static Sizes sizes_of(const Training *t) {
  Sizes sizes = {.targets = padded(t->num_targets), .tokens = padded(t->num_tokens)};
  sizes.negatives = padded(t->num_negatives);
  sizes.width = padded(t->embedding_dim);
  sizes.band = sizes.tokens + 2 * PADDING;
  sizes.rows = sizes.targets + sizes.tokens + sizes.negatives;
  return sizes;
}

static int64_t padded_bytes(int64_t bytes) { return (bytes + 63) / 64 * 64; }

static void *zeros(int64_t bytes) {
  void *memory = aligned_alloc(64, padded_bytes(bytes)); /* A vector then lies in one line of the cache. */
  return memory ? memset(memory, 0, bytes) : NULL;
}

/* The first block of a part of a batch. */
static int64_t start_of(const Training *t, int64_t part) { return part * t->batch_size / t->num_parts; }

/* Waits until all threads have come here for the nth time. */
static void wait_for_all(Work *work, int64_t n) {
  atomic_fetch_add(&work->arrived, 1);
  for (int spins = 0; atomic_load(&work->arrived) < n * work->training->num_threads;)
    if (++spins > 2000) sched_yield();
}

/* What each thread does. Within a step, whoever is free takes the next block, and then the next group of rows. Neither the
   gradients of a block nor the updates of a row depend on who takes them, so the result does not either. */
static void *run(void *argument) {
  Work *work = argument;
  const Training *t = work->training;
  const Sizes *s = &work->sizes;
  int64_t floats = (s->targets + 2 * s->band + 2 * s->negatives) * s->width + s->targets * (s->band + s->negatives);
  float *scratch = zeros(4 * floats);
  if (!scratch) work->failed = 1;
  wait_for_all(work, 1);
  for (int64_t step = 0; step < t->num_steps && !work->failed; step++) {
    int64_t next = work->taken[2 * step]++;
    for (int64_t i; (i = next) < t->batch_size;) {
      next = work->taken[2 * step]++;
      int64_t part = 0;
      while (start_of(t, part + 1) <= i) part++;
      int with_loss = start_of(t, part + 1) - start_of(t, part) < 8 || (i - start_of(t, part)) % 4 == 0;
      work->functions->block_gradients(t, s, step * t->batch_size + i,
                                       next < t->batch_size ? step * t->batch_size + next : -1, with_loss, scratch, &work->blocks[i]);
    }
    wait_for_all(work, 2 * step + 2);
    for (int64_t group; (group = work->taken[2 * step + 1]++) < GROUPS;)
      for (int64_t part = 0; part < t->num_parts; part++)
        work->functions->update_rows(t, s, t->rates[step], group, work->blocks + start_of(t, part),
                                     start_of(t, part + 1) - start_of(t, part));
    wait_for_all(work, 2 * step + 3);
  }
  free(scratch);
  return NULL;
}

/* The functions for a kind of instructions, the best if it is 0; NULL if the processor does not have them. */
static const Functions *functions_for(int64_t instructions) {
#ifdef __x86_64__
  __builtin_cpu_init();
  int has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  int has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
  if (has_avx512 && (instructions == AVX512 || instructions == BEST)) return &functions_avx512;
  if (has_avx2 && (instructions == AVX2 || instructions == BEST)) return &functions_avx2;
#endif
  return instructions == PLAIN || instructions == BEST ? &functions_plain : NULL;
}

/* Whether the processor has instructions with which this is faster than TensorFlow. */
int is_fast(void) { return functions_for(BEST) != functions_for(PLAIN); }

/* Asks Linux to keep a table in pages of 2 MB instead of 4 KB: with fewer pages, it takes less time to find a row. */
void use_large_pages(char *table, int64_t bytes) {
#ifdef MADV_COLLAPSE
  char *start = (char *)(((uintptr_t)table + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE);
  int64_t size = (table + bytes - start) / LARGE_PAGE * LARGE_PAGE;
  if (size > 0 && !madvise(start, size, MADV_HUGEPAGE)) madvise(start, size, MADV_COLLAPSE);
#else
  (void)table, (void)bytes;
#endif
}

/* The memory of the gradients of all blocks. Returns 0 if there is too little. */
static int allocate(Work *work) {
  const Training *t = work->training;
  Sizes *s = &work->sizes;
  int64_t block_bytes = padded_bytes(4 * s->rows * (s->width + 3));
  work->blocks = calloc(t->batch_size, sizeof(*work->blocks));
  work->taken = calloc(2 * t->num_steps, sizeof(*work->taken));
  work->memory = zeros(block_bytes * t->batch_size);
  s->offset_weights = calloc(2 * t->window_size + 2 * ROWS + 2 * PADDING, sizeof(float));
  if (!work->blocks || !work->taken || !work->memory || !s->offset_weights) return 0;
  for (int64_t i = 0; i < t->batch_size; i++) {
    Gradients *block = &work->blocks[i];
    block->gradients = (float *)(work->memory + i * block_bytes);
    block->squares = block->gradients + s->rows * s->width;
    block->ids = (int32_t *)(block->squares + s->rows);
    block->order = block->ids + s->rows;
  }
  float *middle = s->offset_weights + ROWS + t->window_size;
  for (int64_t distance = 1; distance <= t->window_size; distance++)
    middle[distance] = middle[-distance] = t->context_weights[distance - 1];
  return 1;
}

/* Trains with several threads, of which the caller is one. Returns 0 if they cannot be had. */
static int run_all(Work *work) {
  int64_t num_threads = work->training->num_threads, started = 1;
  pthread_t *threads = calloc(num_threads, sizeof(*threads));
  if (!threads) return 0;
  while (started < num_threads && !pthread_create(&threads[started], NULL, run, work)) started++;
  if (started < num_threads) { /* The others wait for all before they begin, and then see that they must not. */
    work->failed = 1;
    work->arrived += num_threads - started;
  }
  run(work);
  for (int64_t i = 1; i < started; i++) pthread_join(threads[i], NULL);
  free(threads);
  return !work->failed;
}

/* Trains. Returns what has come of it; if that is not DONE, nothing has been changed. */
int train_steps(Training *training) {
  Work work = {.training = training, .sizes = sizes_of(training)};
  work.functions = functions_for(training->instructions);
  if (!work.functions) return NO_SUCH_INSTRUCTIONS;
  int is_done = allocate(&work) && run_all(&work);
  training->loss = training->num_skip_grams = 0;
  for (int64_t i = 0; is_done && i < training->batch_size; i++) {
    training->loss += work.blocks[i].loss;
    training->num_skip_grams += work.blocks[i].num_skip_grams;
  }
  free(work.blocks);
  free(work.taken);
  free(work.memory);
  free(work.sizes.offset_weights);
  return is_done ? DONE : TOO_LITTLE_MEMORY;
}
