/* What a kind of layer is.
 *
 * A kind is one file in this folder and one line in kinds.c.  Its entry answers everything that the rest of
 * the library asks of a layer; nobody else tests which kind a layer has.  An op is a node of a plan: a layer
 * of some kind, perhaps with the activation layer behind it.
 */
#ifndef CMLP_KINDS_H
#define CMLP_KINDS_H

#include "../panels.h"
#include "table.h"

#define NO_BUFFER SIZE_MAX

typedef struct op op;

/* How a pass is run. */
typedef struct {
    int training;  /* dropout and randomised slopes are on */
    int for_loss;  /* the loss takes the output activation on itself: it is left out */
    uint64_t seed, t; /* of the random factors */
    size_t row;    /* place in the minibatch of the workspace's row 0 */
    const char *x; /* the first op's input from that row on: in the workspace, or the caller's own */
    size_t ldx;    /* elements from one of its rows to the next */
} pass;

/* Rows [row, row + rows) of a minibatch and columns [c0, c1) of them, whole panels.  Only ops whose
 * `shares_columns` says so get less than all columns. */
typedef struct {
    size_t row, rows, c0, c1;
} region;

/* A part of a layer as a plan sees it. */
typedef struct {
    cmlp_part info;
    cmlp_panels panels, turned; /* turned: of its transpose */
    size_t offset;              /* bytes, in a block of parameters, gradients or optimizer state */
} part_layout;

/* A part's memory, packed; NULL where there is none (yet). */
typedef struct {
    char *value, *transpose, *gradient;
} part_memory;

/* What an op reads and writes.  Rows are given from the region's first row and from column 0 on; they are
 * padded to ld_in or ld_out elements unless a leading dimension stands beside them. */
typedef struct {
    const part_memory *parts;
    const void *x;
    size_t ldx;
    void *u, *y; /* u: the sum before the activation where the op keeps it, else y */
    size_t ldy;
    void *kept;  /* what the op keeps from forward for backward; NULL in prediction */
    void *d;     /* dL/dy, and then dL/du */
    void *dx;
    char *scratch; /* of the thread, `scratch` elements */
} op_rows;

/* A block of a part: one piece of work of the update. */
typedef struct {
    const op *of;
    size_t part;
    cmlp_block block;
    const packed_run *runs;
    size_t n_runs;
    int owner; /* the thread whose caches hold it */
} span;

/* The gradient of a span over `rows` rows. */
typedef struct {
    size_t rows;
    const void *x;
    size_t ldx;
    const void *d;   /* dL/du, rows of ld_out */
    int first, last; /* of the calls that add up to the gradient: the first overwrites `to`; before the last
                        one `to` may hold sums in an order of the op's own */
    char *to; /* packed, from the span's first column on, as a matrix of to_rows rows that starts at row0 */
    size_t row0, to_rows;
    char *scratch; /* gradient_scratch elements */
    const void *kept; /* what forward kept, rows of ld_kept */
    const cmlp_prefetch *prefetch; /* may be NULL */
} gradient_args;

typedef struct {
    const char *name;
    /* 1 if the layer's sizes and settings make sense. */
    int (*is_sound)(const cmlp_layer_spec *spec);
    /* Output shape for an input shape, which may stand in the same place; 0 if that does not fit. */
    int (*shape)(const cmlp_layer_spec *spec, const cmlp_extent *in, cmlp_extent *out);
    /* Its parameters' parts, in the order of the flat vector; how many.  NULL: none. */
    size_t (*parts)(const cmlp_layer_spec *spec, cmlp_part parts[CMLP_MOST_PARTS]);
    /* Sets panels of its own for the parts' packed order; NULL: those of products. */
    void (*pack_parts)(const cmlp_layer_spec *spec, part_layout *parts);
    int takes_activation; /* an activation layer behind it becomes part of its op */
    int only_activates; /* it is such an activation layer */
    int reads_unpadded; /* x may have rows that are not padded */
    int in_place; /* y may be x, whose leading dimension it then has */
    int uses_transpose; /* backward reads its first part transposed */
    int whole_rows;       /* a gradient's blocks must have all rows of a part */
    int has_shapes; /* spec.in and spec.out say them */
    int phased; /* of its padded input the columns lie in phases of the stride */
    int spatial;          /* works on planes, a sample a lane: layers/planes.h */
    int uses_fused; /* a loss may take its activation on itself */
    int rectifies; /* to a loss its output is a rectifier's, whatever the activation field says */
    int (*shares_columns)(const op *o); /* columns of y, and of dx, can be computed apart; NULL: no */
    double (*madds)(const cmlp_layer_spec *spec); /* multiply-adds of a row; NULL: none worth counting */
    size_t (*kept)(const op *o); /* elements of a row kept for backward; NULL: none */
    size_t (*scratch)(const op *o); /* elements for forward, derive and backward; NULL: none */
    void (*configure)(op *o, int is_first); /* settles what is the op's own business; may be NULL */
    size_t (*gradient_scratch)(const op *o, size_t rows); /* for blocks of so many rows; NULL: none */

    void (*forward)(const op *o, const pass *p, const region *r, const op_rows *a);
    /* d = dL/dy becomes dL/du; NULL where u is y. */
    void (*derive)(const op *o, const pass *p, const region *r, const op_rows *a);
    /* dx from d; the region's columns are those of dx. */
    void (*backward)(const op *o, const pass *p, const region *r, const op_rows *a);
    void (*gradient)(const op *o, const span *s, const gradient_args *g); /* NULL: no parts */
    /* Brings a block of the first part's transpose up to date; NULL: that of a product's weights. */
    void (*turn)(const cmlp_kernels *k, const cmlp_layer_spec *spec, const cmlp_table *table,
                 const part_layout *part, const cmlp_block *b, const part_memory *m);
} layer_kind;

struct op {
    const layer_kind *kind;
    const cmlp_kernels *k;
    cmlp_layer_spec spec;
    cmlp_table *table; /* of a convolution's connections; NULL: all */
    size_t layer; /* number of the layer that has the parameters */
    size_t last_layer; /* of the layer whose activation was taken in, or the same */
    size_t draw; /* stream of its random factors */
    int activation;
    double param;
    int fused_output; /* the loss takes this op's activation on itself */
    int trained; /* its parts get gradients and updates */
    int thin; /* its weights' gradient is computed as d^T x, whose vectors are fuller */
    int by_columns; /* forward: threads share its columns, not its rows */
    int back_by_columns; /* the same for dx */
    size_t lanes; /* most samples of a block of planes */
    int in_planes, out_planes; /* x and dx, y and d are planes, not rows */
    size_t n_in, n_out, pad_in, pad_out, ld_in, ld_out, ld_kept;
    size_t n_parts;
    part_layout parts[CMLP_MOST_PARTS];
    size_t x, u, y, d, kept; /* offsets in a workspace; NO_BUFFER where there is none */
};

/* The entry of a kind; NULL for a number that is none. */
const layer_kind *cmlp_kind(int kind);
/* Fills the parts of a layer; how many.  Their offsets go on from *bytes, which grows. */
size_t cmlp_lay_out_parts(const cmlp_kernels *k, const cmlp_layer_spec *spec, part_layout *parts,
                          size_t *bytes);

/* Brings a block of a part's transpose up to date, if there is one. */
void cmlp_refresh_block(const layer_kind *kind, const cmlp_kernels *k, const cmlp_layer_spec *spec,
                        const cmlp_table *table, const part_layout *part, const cmlp_block *b,
                        const part_memory *m);

/* ---- for the kinds themselves ---- */

static inline int op_shares_columns(const op *o)
{
    return o->kind->shares_columns && o->kind->shares_columns(o);
}

/* A layer that keeps the shape. */
int cmlp_same_shape(const cmlp_layer_spec *spec, const cmlp_extent *in, cmlp_extent *out);
int cmlp_same_width(const cmlp_layer_spec *spec);

/* Random factors of the rows of a region, into a->kept; slopes: see cmlp_random_args. */
void cmlp_draw_factors(const op *o, const pass *p, const region *r, const op_rows *a, int slopes);
/* dx = d times the factors kept. */
void cmlp_multiply_kept(const op *o, const pass *p, const region *r, const op_rows *a);

#endif
