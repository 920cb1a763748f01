/* What every instruction set provides: one table of functions per element type.
 *
 * Vectors never reach the interface; data is void * and counts are in elements.  "Padded" rows have a
 * leading dimension of whole vectors at least; lanes behind the last column may be read and are written.
 * Nothing may overlap unless it says so; every output is overwritten unless it says "added to".
 */
#ifndef CMLP_KERNELS_H
#define CMLP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "../cmlp.h"

#define CMLP_PASTE4(a, b, c, d) a##b##_##c##_##d
#define CMLP_PASTE(name, isa, type) CMLP_PASTE4(cmlp_, name, isa, type)
#define CMLP_NAME(name) CMLP_PASTE(name, CMLP_ISA, CMLP_TYPE)

/* A sum of doubles in blocks, as the kernels' own sums are made. */
typedef struct {
    double block, total;
    size_t terms;
} cmlp_sum;

static inline void cmlp_sum_add(cmlp_sum *s, double x)
{
    s->block += x;
    if (++s->terms % 256 == 0) {
        s->total += s->block;
        s->block = 0.0;
    }
}

static inline double cmlp_sum_value(const cmlp_sum *s) { return s->total + s->block; }

/* Targets of a loss: exactly one of labels and t is set. */
typedef struct {
    size_t rows, n;         /* n outputs a row */
    const void *z;          /* outputs or logits, padded rows */
    size_t ldz;
    const int64_t *labels;  /* (rows) classes 0..n-1, softmax cross-entropy only */
    const void *t;          /* target rows, padded */
    size_t ldt;
    const void *weight;     /* (rows), or NULL for ones */
    double scale;           /* of the gradient: 1 / rows, or 1 / sum of weights */
    void *dz;               /* gradient out, padded rows (pads become 0); may be z; NULL: value only */
    size_t lddz;
    double param;
} cmlp_loss_args;

/* One step's settings, everything that depends on the step already folded in. */
typedef struct {
    int kind, nesterov;
    double lr, momentum, decay, l1;    /* decay and l1 are 0 for biases */
    double beta1, beta2, eps;
    double shrink;                     /* AdamW: w is multiplied by 1 - shrink first */
    double clip;                       /* each gradient is limited to +-clip; 0: no limit */
    double gscale;                     /* gradients are multiplied by it (clipping by norm) */
} cmlp_update_args;

/* Factors that are a function of the key, t, the row and the column alone. */
typedef struct {
    uint32_t key[2];
    uint64_t t;
    size_t row;          /* number of the first row */
    int slopes;          /* not 0: slopes from low to high where x < 0, else 1 */
    double low, high;
    double keep;         /* slopes = 0: keep, or 0 where 32 random bits are below the threshold */
    uint32_t threshold;
} cmlp_random_args;

/* A view of an image: turned about the middle of the view, moved by fields, interpolated. */
typedef struct {
    size_t channels, height, width; /* of the image */
    size_t rows, columns;           /* of the view */
    double top, left;               /* where in the image its first pixel is, unturned */
    double cosine, sine;            /* of the angle */
    const void *fields;             /* (2, rows, columns): by how much down and right to look; or NULL */
    double fill;                    /* outside of the image */
} cmlp_warp_args;

/* Prefetch hints: up to three matrices that the caller reads next (or one of them three times), of `rows`
 * rows and packed like the result, given from the result's first column on.  They are brought into L2
 * meanwhile. */
typedef struct {
    const void *part[3];
    size_t rows;
} cmlp_prefetch;

/* c (m, n padded) = bias + a (m, k) b; b packed with panels of nr; n a multiple of vw; bias (n) or NULL. */
typedef void cmlp_product_fn(size_t m, size_t n, size_t k, const void *a, size_t lda, const void *b,
                             size_t nr, const void *bias, void *c, size_t ldc);
/* Bytes of scratch, aligned to a cache line, with which outer is faster for m rows of the result and rows of
 * dy that lie ldd apart; 0: it has no use for any. */
typedef size_t cmlp_outer_scratch_fn(size_t m, size_t ldd);
/* Rows [m0, m1) of x^T dy, x (k, m), dy (k, n padded), stored as rows m0 - g0.. of g, which is packed as a
 * matrix of g_rows rows and n columns; accumulate: added to g.  scratch: outer_scratch bytes, or NULL
 * (slower, same bits).  prefetch may be NULL. */
typedef void cmlp_outer_fn(size_t m0, size_t m1, size_t n, size_t k, const void *x, size_t ldx,
                           const void *dy, size_t ldd, size_t nr, int accumulate, size_t g0, size_t g_rows,
                           void *g, void *scratch, const cmlp_prefetch *prefetch);
/* db (n) = sums over the k rows of dy; accumulate: added to db. */
typedef void cmlp_column_sums_fn(size_t n, size_t k, const void *dy, size_t ldd, int accumulate, void *db);
/* The panels of columns [c0, c1) and rows [i0, i1) of w (n_in rows, n_out columns, panels of nr) written into
 * wt (n_out rows, n_in columns, panels of nr_t); c0 a multiple of nr, i0 of vw. */
typedef void cmlp_transpose_fn(size_t n_in, size_t n_out, size_t nr, size_t nr_t, size_t c0, size_t c1,
                               size_t i0, size_t i1, const void *w, void *wt);
/* Between the n <= width rows of w (n, n_in) and a panel of n_in rows and width columns, a multiple of vw;
 * pack puts zeros behind the n columns. */
typedef void cmlp_pack_fn(size_t n_in, size_t n, size_t width, const void *w, void *panel);
typedef void cmlp_unpack_fn(size_t n_in, size_t n, size_t width, const void *panel, void *w);
/* y = f(x), n elements; y may be x. */
typedef void cmlp_activate_fn(int id, size_t n, const void *x, double param, void *y);
/* dx = dy f'(s), s being y or x as activations.h says; dx may be dy. */
typedef void cmlp_derive_fn(int id, size_t n, const void *dy, const void *s, double param, void *dx);
/* Rows of n in padded rows; y may be x; as_log: log-softmax. */
typedef void cmlp_softmax_fn(size_t rows, size_t n, const void *x, size_t ldx, int as_log, void *y,
                             size_t ldy);
/* dx = y (dy - sum y dy); dx may be dy. */
typedef void cmlp_softmax_back_fn(size_t rows, size_t n, const void *dy, size_t ldd, const void *y,
                                  size_t ldy, void *dx, size_t ldx);
/* y = slope x for x < 0, else x, over padded rows; slope (n padded); y may be x. */
typedef void cmlp_prelu_fn(size_t rows, size_t n, const void *x, size_t ldx, const void *slope, void *y,
                           size_t ldy);
/* dx = dy slope for x < 0, else dy; dx may be dy. */
typedef void cmlp_prelu_back_fn(size_t rows, size_t n, const void *dy, size_t ldd, const void *x, size_t ldx,
                                const void *slope, void *dx, size_t lddx);
/* dslope (n padded) = sum over rows of dy x where x < 0; accumulate: added to dslope. */
typedef void cmlp_prelu_slope_fn(size_t rows, size_t n, const void *dy, size_t ldd, const void *x, size_t ldx,
                                 int accumulate, void *dslope);
/* factors (rows of n, ld apart like x's); x is read for slopes alone. */
typedef void cmlp_random_factors_fn(size_t rows, size_t n, size_t ld, const void *x,
                                    const cmlp_random_args *args, void *factors);
/* field (height, width) convolved with weights (radius + 1), of the middle and what lies 1, 2, ... from it,
 * in both directions; zeros outside.  scratch (height, width). */
typedef void cmlp_blur_fn(size_t height, size_t width, size_t radius, const void *weights, void *field,
                          void *scratch);
/* y (channels, rows, columns) = the view of x (channels, height, width) that args describe. */
typedef void cmlp_warp_fn(const cmlp_warp_args *args, const void *x, void *y);
/* Sum over the rows of weight * loss; a fixed order for given rows. */
typedef double cmlp_loss_fn(int id, const cmlp_loss_args *args);
/* One step over n elements; s1, s2 the optimizer's slots (not touched where it has none). */
typedef void cmlp_update_fn(size_t n, void *w, const void *g, void *s1, void *s2,
                            const cmlp_update_args *args);
/* y = x m; y may be x or m. */
typedef void cmlp_multiply_fn(size_t n, const void *x, const void *m, void *y);
/* y += x */
typedef void cmlp_add_fn(size_t n, const void *x, void *y);
/* y = (1 - t) y + t x */
typedef void cmlp_lerp_fn(size_t n, const void *x, double t, void *y);
typedef double cmlp_sum_squares_fn(size_t n, const void *x);
/* 1 if all of n numbers are finite and from low to high, both of which may be infinite. */
typedef int cmlp_all_within_fn(size_t n, const void *x, double low, double high);
/* ---- planes: some samples side by side, as [plane][row][column][sample] ----
 *
 * What is read may be read by whole vectors: memory behind planes must have one more. */

/* Outputs of a panel of packed convolution weights: rows (input plane, kernel row, kernel column) of so many
 * columns, the last panel narrower.  With a list of inputs each output has a panel of its own. */
#define CONV_GROUP 4

/* Windows that slide over planes, whose padding is there already.  For convolution the columns of a row lie
 * in as many phases as the stride across says: first columns 0, s, 2s, ..., then 1, s + 1, ... */
typedef struct {
    size_t lanes; /* samples */
    size_t n_in, n_out; /* planes; equal for pooling */
    size_t in_height, in_row; /* of an input plane: rows, and columns stored of each */
    size_t height, width; /* of an output plane */
    size_t kernel[2], stride[2];
    size_t counted[2]; /* rows and columns of the input that a mean counts */
    /* Inputs of output c: from[first[c]], ... up to first[c + 1]; NULL: all, for each. */
    const uint32_t *first, *from;
} cmlp_window;

/* n numbers of so many samples to or from planes. */
typedef void cmlp_to_planes_fn(size_t rows, size_t n, const void *x, size_t ldx, void *planes);
typedef void cmlp_from_planes_fn(size_t rows, size_t n, const void *planes, void *y, size_t ldy);
/* y = b + the correlation of x with w; b (n_out) may be NULL. */
typedef void cmlp_conv_fn(const cmlp_window *s, const void *x, const void *w, const void *b, void *y);
/* dw, packed as w, from dL/dy, summed over the samples; accumulate: added to dw.  All inputs feed each
 * output. */
typedef void cmlp_conv_dw_fn(const cmlp_window *s, const void *x, const void *d, int accumulate, void *dw);
/* sums (n) of n planes of `size` numbers, samples counted, or of their products with those of x, which may be
 * NULL; accumulate: added to sums. */
typedef void cmlp_plane_sums_fn(size_t n, size_t size, const void *d, const void *x, int accumulate,
                                void *sums);
/* y = w x + b, with a w and a b for each of n planes of `size` numbers; b may be NULL. */
typedef void cmlp_scale_planes_fn(size_t n, size_t size, const void *x, const void *w, const void *b,
                                  void *y);
/* The largest of each window, and its gradient: all of it goes to the first of the largest, row by row. */
typedef void cmlp_max_pool_fn(const cmlp_window *s, const void *x, void *y);
typedef void cmlp_max_pool_back_fn(const cmlp_window *s, const void *x, const void *y, const void *d,
                                   void *dx);
/* The sum, or the mean of what counts, of each window. */
typedef void cmlp_sum_pool_fn(const cmlp_window *s, const void *x, int mean, void *y);
typedef void cmlp_sum_pool_back_fn(const cmlp_window *s, const void *d, int mean, void *dx);

/* A loop of independent multiply-adds; returns how many floating-point operations it did. */
typedef double cmlp_fma_loop_fn(size_t rounds);

#define CMLP_KERNEL_LIST(F)                                                                             \
    F(product) F(outer_scratch) F(outer) F(column_sums) F(transpose) F(pack) F(unpack) F(activate) F(derive) F(softmax)  \
    F(softmax_back) F(prelu) F(prelu_back) F(prelu_slope) F(random_factors) F(blur) F(warp) F(loss) F(update)           \
    F(multiply) F(add) F(lerp) F(sum_squares) F(all_within) F(fma_loop) F(to_planes) F(from_planes)      \
    F(conv) F(conv_dw) F(plane_sums) F(scale_planes) F(max_pool) F(max_pool_back) F(sum_pool) F(sum_pool_back)

typedef struct {
    const char *isa;
    cmlp_dtype dtype;
    size_t size;   /* bytes of an element */
    size_t vw;     /* elements of a vector: rows are padded to it */
    size_t nv_max; /* vectors of the widest panel */
#define CMLP_MEMBER(name) cmlp_##name##_fn *name;
    CMLP_KERNEL_LIST(CMLP_MEMBER)
} cmlp_kernels;

#ifdef CMLP_ISA
#define CMLP_PROTOTYPE(name) cmlp_##name##_fn CMLP_NAME(name);
CMLP_KERNEL_LIST(CMLP_PROTOTYPE)
#endif

#endif
