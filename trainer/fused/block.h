/* The gradients of a block, and the update of rows. Each version, such as avx2.c, includes this file after it has defined
   LANES, the floats of a vector; PANEL, the vectors of a tile's row; and FUNCTIONS, the name of what it offers. */

#include "step.h"

#define INLINE static inline __attribute__((always_inline))
#define EACH(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)
#define AT(pointer) (*(vec *)(pointer))
#ifdef __clang__
#define SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (ints){__VA_ARGS__})
#endif

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static const float EXCLUDED = -3e38f; /* the logit of what is no negative sample */
static const float EPSILON = 1e-7f;   /* as in trainer/losses.py */

INLINE vec all(float x) { return x - (vec){0}; }
INLINE vec where(ints mask, vec x) { return (vec)(mask & (ints)x); }
INLINE vec choose(ints mask, vec x, vec y) { return (vec)((mask & (ints)x) | (~mask & (ints)y)); }
INLINE float sum(vec x) {
  float total = 0;
  EACH(i, LANES) total += x[i];
  return total;
}

/* e^x for x from -87 to 88. x = n ln 2 + r; e^r is a polynomial, and n goes to the bits of the exponent. */
INLINE vec exponential(vec x) {
  vec shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: its last bits hold n */
  vec n = shifted - 12582912.0f;
  vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
  vec p = all(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  return (vec)((ints)p + ((ints)shifted << 23));
}

/* ln x for positive x. x = m 2^n with m from 0.7 to 1.4, and ln m = 2 artanh((m - 1) / (m + 1)) is a polynomial. */
INLINE vec logarithm(vec x) {
  ints n = ((ints)x - 0x3f3504f3) >> 23;
  vec m = (vec)((ints)x - (n << 23));
  vec z = (m - 1.0f) / (m + 1.0f), y = z * z;
  vec p = all(2.0f / 9);
  p = p * y + 2.0f / 7;
  p = p * y + 2.0f / 5;
  p = p * y + 2.0f / 3;
  return __builtin_convertvector(n, vec) * 0.693147181f + (z * y * p + 2.0f * z);
}

/* x, but -87 or 87 beyond them, as e^x must be a float. NaN stays NaN. */
INLINE vec limited(vec x) {
  x = choose(x < -87.0f, all(-87.0f), x);
  return choose(x > 87.0f, all(87.0f), x);
}

INLINE void prefetch(const float *row, int64_t size) {
  for (int64_t k = 0; k < size; k += 16) __builtin_prefetch(row + k, 0, 2);
}

/* Copies rows of a table. It asks for rows ahead, as each comes from another place in memory. */
static void fetch(const float *table, int64_t dimension, const int32_t *ids, int64_t rows, int64_t width, float *into) {
  for (int64_t i = 0; i < rows; i++, into += width) {
    if (i + AHEAD < rows) prefetch(table + ids[i + AHEAD] * dimension, dimension);
    const float *row = table + ids[i] * dimension;
    int64_t k = 0;
    for (; k + LANES <= dimension; k += LANES) AT(into + k) = AT(row + k);
    for (; k < dimension; k++) into[k] = row[k];
  }
}

/* Writes rows [rows, depth] as columns [depth, into_width]. Both sizes are multiples of LANES. */
static void transpose(const float *from, int64_t rows, int64_t depth, float *into, int64_t into_width) {
  for (int64_t i = 0; i < rows; i += LANES)
    for (int64_t k = 0; k < depth; k += LANES) {
      vec x[LANES], y[LANES];
      EACH(r, LANES) x[r] = AT(from + (i + r) * depth + k);
      EACH(stage, __builtin_ctz(LANES)) { /* each interleaves the first half of the rows with the second half */
        EACH(r, LANES / 2) {
          y[2 * r] = SHUFFLE(x[r], x[r + LANES / 2], INTERLEAVED_LOW);
          y[2 * r + 1] = SHUFFLE(x[r], x[r + LANES / 2], INTERLEAVED_HIGH);
        }
        EACH(r, LANES) x[r] = y[r];
      }
      EACH(r, LANES) AT(into + (k + r) * into_width + i) = x[r];
    }
}

/* Adds the product of a [ROWS, depth] and b [depth, vectors * LANES] to a tile. a's rows are a_row floats apart. */
INLINE void multiply(vec tile[ROWS][PANEL], int vectors, const float *a, int64_t a_row, int64_t a_column, const float *b,
                     int64_t b_row, int64_t depth) {
  for (int64_t k = 0; k < depth; k++)
    EACH(v, vectors) {
      vec column = AT(b + k * b_row + v * LANES);
      EACH(r, ROWS) tile[r][v] += a[r * a_row + k * a_column] * column;
    }
}

/* A factor a [ROWS, depth] for each tile, and the rows of b that it is multiplied with. */
typedef struct {
  const float *a, *b;
  int64_t a_row, a_column, b_row, depth;
} Factors;

/* Writes a tile's rows of one or two products, added up: [ROWS, width]. Adds their squares to `squares`. */
INLINE void write_rows(const Factors *factors, int num_factors, float *into, int64_t width, vec squares[ROWS]) {
  int64_t column = 0;
  for (; column + PANEL * LANES <= width; column += PANEL * LANES) {
    vec tile[ROWS][PANEL] = {0};
    EACH(i, num_factors)
    multiply(tile, PANEL, factors[i].a, factors[i].a_row, factors[i].a_column, factors[i].b + column, factors[i].b_row,
             factors[i].depth);
    EACH(r, ROWS) EACH(v, PANEL) {
      AT(into + r * width + column + v * LANES) = tile[r][v];
      squares[r] += tile[r][v] * tile[r][v];
    }
  }
  for (; column < width; column += LANES) {
    vec tile[ROWS][PANEL] = {0};
    EACH(i, num_factors)
    multiply(tile, 1, factors[i].a, factors[i].a_row, factors[i].a_column, factors[i].b + column, factors[i].b_row,
             factors[i].depth);
    EACH(r, ROWS) {
      AT(into + r * width + column) = tile[r][0];
      squares[r] += tile[r][0] * tile[r][0];
    }
  }
}

/* Writes gradients of rows in the same way, from the row `row` on, with the means of their squares. */
INLINE void write_gradients(const Factors *factors, int num_factors, const Training *t, const Sizes *sizes, int64_t row,
                            Gradients *result) {
  vec squares[ROWS] = {0};
  write_rows(factors, num_factors, result->gradients + row * sizes->width, sizes->width, squares);
  EACH(r, ROWS) result->squares[row + r] = sum(squares[r]) / (float)t->embedding_dim;
}

/* Replaces logits by what the loss changes with each: the weight times s(x), or -s(-x) for context words (sign -1).
   Returns the loss. */
INLINE vec differentiate(float *logits, vec weights, float sign, int with_loss) {
  vec x = AT(logits);
  ints counts = (x != EXCLUDED) & (weights != 0.0f);
  vec e = exponential(limited(-sign * x)), wrong = 1.0f / (1.0f + e), right = e * wrong;
  AT(logits) = where(counts, sign * weights * wrong);
  /* The last term is 0, but NaN if x is, which the logarithm's bits would hide. */
  return with_loss ? where(counts, -weights * logarithm(right + EPSILON) + (right - right)) : all(0.0f);
}

/* Gives negative samples of targets that have them among their context words the logit EXCLUDED. */
static void exclude_own_contexts(const Training *t, const int32_t *tokens, const uint8_t *left, const uint8_t *right,
                                 const int32_t *negatives, float *logits, int64_t width) {
  uint64_t seen[16] = {0}; /* a bit for each remainder of a token's id */
  for (int64_t j = 0; j < t->num_tokens; j++) seen[tokens[j] / 64 % 16] |= (uint64_t)1 << tokens[j] % 64;
  for (int64_t n = 0; n < t->num_negatives; n++) {
    if (!(seen[negatives[n] / 64 % 16] >> negatives[n] % 64 & 1)) continue;
    for (int64_t j = 0; j < t->num_tokens; j++) {
      if (tokens[j] != negatives[n]) continue;
      for (int64_t d = -t->window_size; d <= t->window_size; d++) {
        int64_t i = j - t->window_size - d; /* the target at whose distance d the token is */
        if (d && i >= 0 && i < t->num_targets && -d <= left[i] && d <= right[i]) logits[i * width + n] = EXCLUDED;
      }
    }
  }
}

INLINE int group_of(int32_t id) { return ((uint32_t)id * 2654435769u) >> 27; } /* Knuth's multiplicative hash */

/* Says to which row of a table each gradient belongs, and lists those that are not 0 by group. */
static void list_rows(const Training *t, const Sizes *sizes, const int32_t *tokens, const int32_t *negatives,
                      Gradients *result) {
  const struct {
    const int32_t *ids;
    int64_t size, first_row;
  } parts[3] = {
      {tokens + t->window_size, t->num_targets, 0},
      {tokens, t->num_tokens, sizes->targets},
      {negatives, t->num_negatives, sizes->targets + sizes->tokens},
  };
  int32_t *starts = result->starts, next[GROUPS];
  for (int group = 0; group <= GROUPS; group++) starts[group] = 0;
  for (int part = 0; part < 3; part++)
    for (int64_t i = 0; i < parts[part].size; i++) {
      int64_t row = parts[part].first_row + i;
      result->ids[row] = parts[part].ids[i];
      starts[group_of(result->ids[row]) + 1] += result->squares[row] != 0.0f;
    }
  for (int group = 0; group < GROUPS; group++) {
    next[group] = starts[group];
    starts[group + 1] += starts[group];
  }
  for (int part = 0; part < 3; part++)
    for (int64_t row = parts[part].first_row; row < parts[part].first_row + parts[part].size; row++)
      if (result->squares[row] != 0.0f) result->order[next[group_of(result->ids[row])]++] = (int32_t)row;
}

/* Asks for some of the rows that a block uses: those of every `step`th word, from the word `first` on. */
INLINE void ask_for_rows(const Training *t, int64_t block, int64_t first, int64_t step) {
  const int32_t *tokens = t->tokens + block * t->num_tokens, *negatives = t->negatives + block * t->num_negatives;
  for (int64_t i = first; i < t->num_tokens; i += step) {
    prefetch(t->tables[1] + tokens[i] * t->embedding_dim, t->embedding_dim);
    if (i >= t->window_size && i < t->window_size + t->num_targets)
      prefetch(t->tables[0] + tokens[i] * t->embedding_dim, t->embedding_dim);
  }
  for (int64_t i = first; i < t->num_negatives; i += step)
    prefetch(t->tables[1] + negatives[i] * t->embedding_dim, t->embedding_dim);
}

static void block_gradients(const Training *t, const Sizes *sizes, int64_t block, int64_t next, int with_loss,
                            float *scratch, Gradients *result) {
  const int64_t S = t->num_targets, w = t->window_size, width = sizes->width, band = sizes->band;
  const int32_t *tokens = t->tokens + block * t->num_tokens, *negative_ids = t->negatives + block * t->num_negatives;
  const uint8_t *left = t->left + block * S, *right = t->right + block * S;
  float *targets = scratch, *contexts = targets + sizes->targets * width, *negatives = contexts + band * width;
  float *context_columns = negatives + sizes->negatives * width, *negative_columns = context_columns + width * band;
  float *context_logits = negative_columns + width * sizes->negatives;
  float *negative_logits = context_logits + sizes->targets * band;

  fetch(t->tables[0], t->embedding_dim, tokens + w, S, width, targets);
  fetch(t->tables[1], t->embedding_dim, tokens, t->num_tokens, width, contexts);
  fetch(t->tables[1], t->embedding_dim, negative_ids, t->num_negatives, width, negatives);
  transpose(contexts, sizes->tokens, width, context_columns, band);
  transpose(negatives, sizes->negatives, width, negative_columns, sizes->negatives);

  for (int64_t i = 0; i < S; i += ROWS) {
    if (next >= 0) ask_for_rows(t, next, i / ROWS, (S + ROWS - 1) / ROWS);
    Factors factors = {targets + i * width, negative_columns, width, 1, sizes->negatives, width};
    vec ignored[ROWS] = {0};
    write_rows(&factors, 1, negative_logits + i * sizes->negatives, sizes->negatives, ignored);
  }
  /* The context words of target i are in the columns i to i + 2w. Two tiles at once keep the processor busy. */
  for (int64_t i = 0; i < S; i += 2 * ROWS)
    for (int64_t column = i; column < i + ROWS + 2 * w; column += LANES) {
      vec tiles[2][ROWS] = {0};
      for (int64_t k = 0; k < width; k++)
        EACH(h, 2) {
          vec words = AT(context_columns + k * band + column + h * ROWS);
          EACH(r, ROWS) tiles[h][r] += targets[(i + h * ROWS + r) * width + k] * words;
        }
      EACH(h, 2) EACH(r, ROWS) AT(context_logits + (i + h * ROWS + r) * band + column + h * ROWS) = tiles[h][r];
    }
  for (int64_t n = t->num_negatives; n < sizes->negatives; n++)
    for (int64_t i = 0; i < S; i++) negative_logits[i * sizes->negatives + n] = EXCLUDED;
  exclude_own_contexts(t, tokens, left, right, negative_ids, negative_logits, sizes->negatives);

  double loss = 0, num_skip_grams = 0;
  ints numbers;
  EACH(i, LANES) numbers[i] = i;
  for (int64_t i = 0; i < sizes->targets; i++) {
    vec losses = all(0.0f);
    int64_t r = i % ROWS, first = i < S ? w - left[i] : 0, last = i < S ? w + right[i] : -1; /* context words */
    float skip_grams = 0;
    for (int64_t d = 0; i < S && d < w; d++)
      skip_grams += t->context_weights[d] * ((d < left[i]) + (d < right[i]));
    for (int64_t column = 0; column < ROWS + 2 * w; column += LANES) {
      ints offset = numbers + (int32_t)(column - r);
      vec weights = where((offset >= (int32_t)first) & (offset <= (int32_t)last),
                          AT(sizes->offset_weights + ROWS + column - r));
      losses += differentiate(context_logits + i * band + i - r + column, weights, -1.0f, with_loss);
    }
    for (int64_t n = 0; n < sizes->negatives; n += LANES)
      losses += differentiate(negative_logits + i * sizes->negatives + n, all(skip_grams * t->negative_weight), 1.0f,
                              with_loss);
    loss += sum(losses);
    num_skip_grams += skip_grams;
  }
  result->loss += loss;
  result->num_skip_grams += with_loss ? num_skip_grams : 0;

  for (int64_t i = 0; i < S; i += ROWS) {
    Factors factors[2] = {
        {negative_logits + i * sizes->negatives, negatives, sizes->negatives, 1, width, sizes->negatives},
        {context_logits + i * band + i, contexts + i * width, band, 1, width, ROWS + 2 * w},
    };
    write_gradients(factors, 2, t, sizes, i, result);
  }
  for (int64_t j = 0; j < t->num_tokens; j += ROWS) {
    int64_t first = j > 2 * w ? j - 2 * w : 0, end = j + ROWS < sizes->targets ? j + ROWS : sizes->targets;
    Factors factors = {context_logits + first * band + j, targets + first * width, 1, band, width, end - first};
    write_gradients(&factors, 1, t, sizes, sizes->targets + j, result);
  }
  for (int64_t n = 0; n < t->num_negatives; n += ROWS) {
    Factors factors = {negative_logits + n, targets, 1, sizes->negatives, width, sizes->targets};
    write_gradients(&factors, 1, t, sizes, sizes->targets + sizes->tokens + n, result);
  }
  list_rows(t, sizes, tokens, negative_ids, result);
}

/* Applies row-wise Adagrad to the rows of one group, with the gradients of the blocks of one part. */
static void update_rows(const Training *t, const Sizes *sizes, float rate, int group, Gradients *blocks,
                        int64_t num_blocks) {
  const int64_t D = t->embedding_dim;
  for (Gradients *block = blocks; block < blocks + num_blocks; block++)
    for (int i = block->starts[group]; i < block->starts[group + 1]; i++) {
      int row = block->order[i], is_context = row >= sizes->targets;
      t->accumulators[is_context][block->ids[row]] += block->squares[row];
      prefetch(t->tables[is_context] + block->ids[row] * D, D);
    }
  for (Gradients *block = blocks; block < blocks + num_blocks; block++)
    for (int start = block->starts[group]; start < block->starts[group + 1]; start += LANES) {
      int size = block->starts[group + 1] - start < LANES ? block->starts[group + 1] - start : LANES;
      vec rates = all(1.0f);
      for (int i = 0; i < size; i++) {
        int row = block->order[start + i];
        rates[i] = t->accumulators[row >= sizes->targets][block->ids[row]] + t->epsilon;
      }
      rates = rate * exponential(-t->power * logarithm(rates));
      for (int i = 0; i < size; i++) {
        int row = block->order[start + i];
        float *into = t->tables[row >= sizes->targets] + block->ids[row] * D;
        const float *gradient = block->gradients + row * sizes->width;
        int64_t k = 0;
        for (; k + LANES <= D; k += LANES) AT(into + k) -= rates[i] * AT(gradient + k);
        for (; k < D; k++) into[k] -= rates[i] * gradient[k];
      }
    }
}

const Functions FUNCTIONS = {block_gradients, update_rows};
