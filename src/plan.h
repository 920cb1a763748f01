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
    size_t row;     /* place in the minibatch of the first row at hand */
} pass;

/* What each kind of layer does with some rows.  x, y, d and dx are padded rows of ld_in or ld_out. */
typedef struct {
    /* y = f(x).  u, where the step keeps its input, gets the sum before the activation; may be y.
     * mask gets the random factors; NULL in prediction.  x may be y but for a dense layer. */
    void (*forward)(const step *s, const pass *p, size_t rows, const void *x, size_t ldx, void *u, void *y,
                    size_t ldy, void *mask);
    /* On entry d = dL/dy; on return d = dL/du.  dx = dL/dx unless NULL. */
    void (*backward)(const step *s, const pass *p, size_t rows, const void *x, const void *u, const void *y,
                     const void *mask, void *d, void *dx);
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
    size_t n_in, n_out, ld_in, ld_out;
    size_t x, u, y, d, mask; /* offsets in a slot; NO_BUFFER where there is none */
    size_t gw, gb;           /* offsets in a block of gradients */
};

/* A block of a weight matrix, or of a vector of slopes: one piece of work of the update. */
typedef struct {
    size_t step, c0, c1, i0, i1;
} unit;

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
    /* Small nets go by groups of rows, each through all layers and into a gradient of its own, chunk by
     * chunk; large ones (groups = 0) go by rows first and then by units. */
    size_t groups, chunk;
    char *arena;            /* slots: one a thread with groups, one for all without */
    size_t slot_bytes, n_slots, arena_bytes;
    size_t labels, targets, weights, dx; /* offsets in a slot; dx: for the first layer's input gradient */
    size_t ld_in, ld_out;
    char *grads;            /* a block for each group; or one if gradients are wanted whole */
    size_t grad_bytes;
    char *scratch;          /* a unit's gradient, for each thread */
    size_t scratch_bytes;
    double *partial;        /* loss of each block of rows */
    double *norms;          /* squared gradient norms of the units */
    double *squares;        /* sums of squares of the units' weights */
    char *good;             /* parameters of the last good epoch, in the order of units */
    size_t good_bytes;
    int64_t *order;
    size_t order_size;
    cmlp_cursor cursor;
    cmlp_barrier barrier;
    size_t forward_rows;    /* rows of the last forward, for backward */
    pass forward_pass;
    uint64_t forwards;
    size_t poll_every;      /* steps between looks at the clock */
};

static inline void *plan_at(const cmlp_plan *plan, char *slot, size_t offset, size_t row, size_t ld)
{
    return slot + offset + row * ld * plan->k->size;
}

/* plan.c */
void *cmlp_plan_grad(const cmlp_plan *plan, size_t group, const step *s, cmlp_part part);
cmlp_status cmlp_plan_need_grads(cmlp_plan *plan);
int cmlp_plan_threads_for(const cmlp_plan *plan, double flops, size_t pieces);

/* steps.c */
const step_kind *cmlp_step_kind_of(cmlp_layer_kind kind);

/* passes.c: the work of one thread on some rows of a slot, or on some units */
void cmlp_run_forward(const cmlp_plan *plan, const pass *p, char *slot, size_t r0, size_t r1);
void cmlp_run_backward(const cmlp_plan *plan, const pass *p, char *slot, size_t r0, size_t r1, int need_dx);
void cmlp_unit_gradient(const cmlp_plan *plan, const unit *u, char *slot, size_t rows, void *gw, void *gb,
                   size_t g0, size_t g_rows);
void cmlp_share_of(size_t n, int thread, int n_threads, size_t *first, size_t *end);
/* Of rows, in whole blocks; nothing where r0 >= r1. */
void cmlp_share_of_rows(size_t rows, int thread, int n_threads, size_t *r0, size_t *r1);
void cmlp_share_of_units(const cmlp_plan *plan, int thread, int n_threads, size_t *first, size_t *end);

#endif
