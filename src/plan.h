/* The mutable half of a plan: one net's memory for the ops of a layout, and where its training stands. */
#ifndef CMLP_PLAN_H
#define CMLP_PLAN_H

#include "layout.h"
#include "views.h"

struct cmlp_plan {
    const layout *layout;
    cmlp_layer **layers;
    size_t n_layers;
    cmlp_optimizer *opt;
    uint64_t seed;
    char *workspaces;
    viewer *views;      /* of samples, to train on; NULL: samples as they are */
    char *view_scratch; /* for each thread */
    char *inputs;    /* for each thread a copy of the minibatch's x, if the layout says so */
    char *gradients; /* a block for each group; or one if gradients are wanted whole; NULL until needed */
    char *scratch;   /* for each thread */
    double *partial; /* loss of each block of rows */
    double *norms;   /* squared gradient norms of the spans */
    double *squares; /* sums of squares of the spans' weights */
    double norm_sum; /* over the steps of the epoch that the last call ended in */
    char *good;      /* parameters that divergence goes back to; NULL until needed */
    int has_good;    /* there are some */
    int64_t *order;
    size_t order_size;
    size_t ordered;         /* samples that `order` has shuffled; 0: none yet */
    uint64_t ordered_epoch; /* for this epoch */
    cmlp_cursor cursor;
    cmlp_barrier barrier;
    size_t forward_rows; /* rows of the last forward, for backward */
    pass forward_pass;
    uint64_t forwards;
};

static inline char *rows_at(const cmlp_plan *plan, char *workspace, size_t offset, size_t row, size_t ld)
{
    return workspace + offset + row * ld * plan->layout->k->size;
}

static inline char *workspace_of(const cmlp_plan *plan, int thread)
{
    return plan->workspaces + (size_t)thread * plan->layout->workspace_bytes;
}

/* A thread's scratch: first the ops' own, then a span's gradient. */
static inline char *scratch_of(const cmlp_plan *plan, int thread)
{
    return plan->scratch + (size_t)thread * plan->layout->scratch_bytes;
}

static inline char *span_scratch(const cmlp_plan *plan, int thread)
{
    return scratch_of(plan, thread) + plan->layout->own_bytes;
}

static inline const part_memory *memory_of(const cmlp_plan *plan, const op *o)
{
    return plan->layers[o->layer]->parts;
}

static inline int is_own(const span *s, int thread, int n_threads)
{
    return n_threads == 1 || s->owner % n_threads == thread;
}

/* Where the gradient of a span's part starts: a group's, or in the layer where the plan has no optimizer.
 * Only where gradients are kept whole. */
static inline char *gradient_of(const cmlp_plan *plan, size_t group, const span *s)
{
    if (!plan->opt)
        return memory_of(plan, s->of)[s->part].gradient;
    return plan->gradients + group * plan->layout->block_bytes + s->of->parts[s->part].offset;
}

/* Where the net's parameters start if they lie in one block in the layout's order (cmlp_layers_join), else
 * NULL. */
char *cmlp_plan_block(const cmlp_plan *plan);
/* Makes room for whole gradients. */
cmlp_status cmlp_plan_need_gradients(cmlp_plan *plan);

#endif
