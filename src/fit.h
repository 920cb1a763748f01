/* A training run as its threads see it. */
#ifndef CMLP_FIT_H
#define CMLP_FIT_H

#include "plan.h"

typedef struct {
    cmlp_plan *plan;
    const cmlp_data *data;
    cmlp_run *run;
    cmlp_cursor start, end;      /* where training stands before and after */
    uint64_t end_epoch, steps_per_epoch, done;
    int keep_good, kept;         /* parameters are to be kept for divergence; there are some */
    double next_poll, loss;      /* loss: of the last step */
    double norm_sum;             /* of the squares of all weights, over the steps of this epoch */
    atomic_int stop;             /* the poll function said so: work may be skipped */
    int stopped;                 /* the same, written only while the others wait */
    cmlp_status status;
} fit;
/* One step as every thread sees it. */
typedef struct {
    fit *f;
    int thread, n_threads;
    const int64_t *order;        /* of the samples in this epoch; NULL: as they come */
    size_t first, rows;          /* of the minibatch in that order */
    double mass, scale;          /* rows or sum of their weights; 1 / mass */
    pass pass;
    cmlp_update_args weight_args, bias_args;
} stage;
static inline size_t sample_at(const stage *st, size_t i)
{
    return st->order ? (size_t)st->order[st->first + i] : st->first + i;
}

static inline size_t groups_of(const cmlp_plan *plan, size_t rows)
{
    return cmlp_min(plan->groups, (rows + ROW_BLOCK - 1) / ROW_BLOCK);
}

/* fit.c: asks the caller, now and then, whether to stop; for thread 0 alone. */
void cmlp_poll(void *ctx);

/* rows.c: the minibatch forward and back, this thread's part. */
void cmlp_rows_stage(stage *st);

/* units.c: gradients and updates of this thread's units. */
void cmlp_units_stage(stage *st);
int cmlp_whole_gradients(const cmlp_plan *plan);
/* Copies the parameters of a thread's units to plan->good. */
void cmlp_keep_good(cmlp_plan *plan, int thread, int n_threads);
void cmlp_put_back_good(cmlp_plan *plan);

#endif
