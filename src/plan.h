/* The inside of a plan: its steps, its arena, its shares of work. */
#ifndef CMLP_PLAN_H
#define CMLP_PLAN_H

#include "internal.h"

#define NO_BUFFER SIZE_MAX
/* Rows are dealt out, and the loss is summed, in blocks of so many: whatever the threads, the same sums. */
#define ROW_BLOCK 16

typedef struct step step;

/* How a pass is run. */
typedef struct {
    int training;   /* dropout and randomised slopes are on */
    int for_loss;   /* a fused output activation is left to the loss */
    uint64_t seed, t;
    size_t row;     /* place in the minibatch of the slot's row 0 */
    const char *x;  /* the first step's input from that row on: in a slot, or the caller's own */
    size_t ldx;     /* elements from one of its rows to the next */
} pass;

/* Rows of a slot from `row` on, and columns [c0, c1) of them: whole panels of weights.  Only dense steps get
 * less than all columns. */
typedef struct {
    size_t row, rows, c0, c1;
} region;

/* What each kind of layer does with a region.  x, y, d and dx are padded rows of ld_in or ld_out, given from
 * the region's first row and column 0 on. */
typedef struct {
    /* y = f(x).  u, where the step keeps its input, gets the sum before the activation; may be y.
     * mask gets the random factors; NULL in prediction.  x may be y but for a dense layer. */
    void (*forward)(const step *s, const pass *p, const region *r, const void *x, size_t ldx, void *u,
                    void *y, size_t ldy, void *mask);
    /* On entry d = dL/dy; on return d = dL/du.  NULL where u is y. */
    void (*derive)(const step *s, const pass *p, const region *r, const void *u, const void *y, void *d);
    /* dx = dL/dx from d = dL/du; the region's columns are those of dx. */
    void (*back)(const step *s, const pass *p, const region *r, const void *x, const void *y,
                 const void *mask, const void *d, void *dx);
} step_kind;

struct step {
    const step_kind *kind;
    const cmlp_kernels *k;
    cmlp_layer *layer;
    size_t index;           /* of the layer that has the parameters */
    size_t last_layer;      /* of the layer whose activation was taken in, or index */
    int activation;
    double param;
    int fused_output;       /* the loss takes this step's activation on itself */
    int thin;               /* its weights' gradient is computed as d^T x, whose vectors are fuller */
    int by_columns;         /* forward: threads share its columns, not its rows */
    int back_by_columns;    /* the same for dx */
    size_t n_in, n_out, ld_in, ld_out;
    size_t x, u, y, d, mask; /* offsets in a slot; NO_BUFFER where there is none */
    size_t gw, gb;           /* offsets in a block of gradients */
};

/* A block of a weight matrix, or of a vector of slopes: one piece of work of the update. */
typedef struct {
    size_t step, c0, c1, i0, i1;
    int owner;              /* the thread whose caches hold it */
} unit;

/* The threads at work on the rows of one slot, as one of them sees it. */
typedef struct {
    size_t rows;
    int thread, n_threads;
    void (*look)(void *ctx); /* called now and then; may be NULL */
    void *ctx;
    const atomic_int *stop;  /* not 0: what is left may be skipped, but no barrier; may be NULL */
} team;

struct cmlp_plan {
    cmlp_plan_spec spec;
    const cmlp_kernels *k;
    cmlp_layer **layers;
    size_t n_layers;
    cmlp_optimizer *opt;
    step *steps;
    size_t n_steps;
    unit *units;
    size_t n_units;
    size_t n_in, n_out, parameters;
    int threads;            /* most threads of a step */
    /* Small nets with many rows go by groups of them, each through all layers and into a gradient of its own,
     * chunk by chunk; others (groups = 0) go through shared by rows or columns, and then by units. */
    size_t groups, chunk;
    char *arena; /* slots: one a thread with groups, one for all without */
    size_t slot_bytes, n_slots, arena_bytes;
    size_t labels, targets, weights, dx; /* offsets in a slot; dx: for the first layer's input gradient */
    size_t ld_in, ld_out, ld_widest;
    size_t row_numbers; /* that all steps read and write for a row */
    size_t most_columns; /* threads that the step with the most panels can use */
    char *inputs; /* for each thread a copy of the minibatch's x, if all need all of its rows */
    size_t input_bytes;
    char *grads; /* a block for each group; or one if gradients are wanted whole */
    size_t grad_bytes;
    char *scratch; /* for each thread a unit's gradient, and a thin layer's before it is turned */
    size_t scratch_bytes, turned_bytes;
    double *partial; /* loss of each block of rows */
    double *norms; /* squared gradient norms of the units */
    double *squares; /* sums of squares of the units' weights */
    char *good; /* parameters of the last good epoch, in the order of units */
    size_t good_bytes;
    int64_t *order;
    size_t order_size;
    cmlp_cursor cursor;
    cmlp_barrier barrier;
    size_t forward_rows; /* rows of the last forward, for backward */
    pass forward_pass;
    uint64_t forwards;
    size_t poll_every; /* steps between looks at the clock */
    int polls_inside; /* one step is long enough for several */
};

static inline void *plan_at(const cmlp_plan *plan, char *slot, size_t offset, size_t row, size_t ld)
{
    return slot + offset + row * ld * plan->k->size;
}

/* plan.c */
void *cmlp_plan_grad(const cmlp_plan *plan, size_t group, const step *s, cmlp_part part);
cmlp_status cmlp_plan_need_grads(cmlp_plan *plan);
/* Whether columns of a step can be computed apart from each other. */
int cmlp_separable(const step *s);
int cmlp_plan_threads_for(const cmlp_plan *plan, double flops, size_t pieces);

/* steps.c */
const step_kind *cmlp_step_kind_of(cmlp_layer_kind kind);

/* passes.c: the work of one thread on the rows of a slot, or on some units.  After cmlp_run_forward its own
 * rows are whole; before cmlp_run_backward d of the last step is, for its own rows; after it a barrier must
 * come before anybody reads more. */
void cmlp_run_forward(cmlp_plan *plan, const pass *p, char *slot, const team *t);
void cmlp_run_backward(cmlp_plan *plan, const pass *p, char *slot, const team *t, int need_dx);
void cmlp_unit_gradient(const cmlp_plan *plan, const pass *p, const unit *u, char *slot, size_t rows,
                        void *gw, void *gb, size_t g0, size_t g_rows, void *turned);
static inline char *scratch_of(const cmlp_plan *plan, int thread)
{
    return plan->scratch + (size_t)thread * plan->scratch_bytes;
}
/* Bytes of a thread's scratch from its start that a unit's gradient takes at most. */
static inline size_t unit_bytes(const cmlp_plan *plan) { return plan->scratch_bytes - plan->turned_bytes; }
void cmlp_share_of(size_t n, int thread, int n_threads, size_t *first, size_t *end);
/* Of rows, in whole blocks; nothing where r0 >= r1. */
void cmlp_share_of_rows(size_t rows, int thread, int n_threads, size_t *r0, size_t *r1);
/* Of columns padded to whole vectors, in whole panels; nothing where c0 >= c1. */
void cmlp_share_of_columns(size_t padded, size_t panel, int thread, int n_threads, size_t *c0, size_t *c1);
static inline int owns(const unit *u, int thread, int n_threads)
{
    return n_threads == 1 || u->owner % n_threads == thread;
}

#endif
