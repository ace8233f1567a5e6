/* What step.c and the versions of block.h know of each other, and the caller in Python, trainer/fused/__init__.py. */

#include <stddef.h>
#include <stdint.h>

enum {
  PADDING = 16,  /* The rows and columns of matrices are filled up with zeros to multiples of it, the largest LANES. */
  ROWS = 4,      /* of a tile, the part of a product that is kept in registers */
  GROUPS = 32,   /* The rows of the tables are divided into so many groups, each of which one thread updates. */
  AHEAD = 8,     /* so many rows are on their way from memory */
};

enum { BEST, PLAIN, AVX2, AVX512 };                     /* kinds of vector instructions */
enum { DONE, TOO_LITTLE_MEMORY, NO_SUCH_INSTRUCTIONS }; /* what train_steps returns */

/* The training on several batches. Field names are those of the shapes in trainer/formats.py. */
typedef struct {
  int64_t instructions; /* a kind of vector instructions */
  int64_t num_steps, batch_size, num_parts, num_threads;
  int64_t num_targets, window_size, num_tokens, num_negatives, embedding_dim;
  float *tables[2], *accumulators[2]; /* of the targets, of the contexts: [V, D] and [V] */
  const int32_t *tokens;              /* [num_steps, B, S + 2w] */
  const uint8_t *left, *right;        /* [num_steps, B, S] */
  const int32_t *negatives;           /* [num_steps, B, N] */
  const float *context_weights;       /* [w], by distance */
  const float *rates;                 /* [num_steps] */
  float negative_weight, power, epsilon;
  double loss, num_skip_grams; /* the sums, which are the result */
} Training;

/* What follows from the shapes: sizes with padding. */
typedef struct {
  int64_t targets, tokens, negatives, width; /* S, S + 2w, N and D with padding */
  int64_t band;                              /* columns of a matrix of targets and tokens, which tiles may exceed */
  int64_t rows;                              /* of the gradients of a block: targets, tokens, negatives */
  float *offset_weights;                     /* [ROWS + 2w + 1 + 2 PADDING]: by distance + w + ROWS, 0 beyond the window */
} Sizes;

/* The gradients of a block, and to which rows of the tables they belong. */
typedef struct {
  float *gradients;           /* [rows, width] */
  float *squares;             /* [rows]: the mean squares of the gradients */
  int32_t *ids;               /* [rows] */
  int32_t *order;             /* the rows that have gradients, by group */
  int32_t starts[GROUPS + 1]; /* where each group begins in `order` */
  double loss, num_skip_grams; /* sums over the steps; they cover some of the blocks, as in trainer/losses.py */
} Gradients;

/* One set of functions for each kind of vector instructions. */
typedef struct {
  void (*block_gradients)(const Training *, const Sizes *, int64_t block, int64_t next, int with_loss, float *scratch,
                          Gradients *);
  void (*update_rows)(const Training *, const Sizes *, float rate, int group, Gradients *blocks, int64_t num_blocks);
} Functions;

extern const Functions functions_avx512, functions_avx2, functions_plain;
