/* A training run as its threads see it. */
#ifndef CMLP_FIT_H
#define CMLP_FIT_H

#include "passes.h"

typedef struct {
    cmlp_plan *plan;
    const cmlp_data *data;
    cmlp_run *run;
    cmlp_cursor start, end;      /* where training stands before and after */
    uint64_t end_epoch, steps_per_epoch, done;
    uint64_t epoch_rows, first;  /* samples of an epoch; the number of the first that the data have */
    int shuffled;                /* samples are taken in the epoch's own order */
    int keep_good, kept;         /* parameters are to be kept for divergence; there are some */
    char *block;                 /* all parameters, where they are few and in one block; else NULL */
    double loss;                 /* of the last step */
    double norm_sum;             /* of the squares of all weights, over the steps of this epoch */
    poller poll;
    int stopped, pausing;        /* what poll.stop and run->pause say, written only while the others wait */
    cmlp_status status;
} fit;

/* One step as one of the threads sees it. */
typedef struct {
    fit *f;
    int thread, n_threads;
    const int64_t *order;        /* of the samples in this epoch; NULL: as they come */
    size_t first, rows;          /* of the minibatch in that order, or in the data */
    double scale;                /* 1 / rows */
    pass pass;
    cmlp_update_args args[2];    /* of parts that do not decay, and of those that do */
} step;

static inline size_t sample_at(const step *st, size_t i)
{
    size_t at = st->order ? (size_t)st->order[st->first + i] : st->first + i;
    return st->f->data->rows ? (size_t)st->f->data->rows[at] : at;
}

static inline size_t groups_of(const cmlp_plan *plan, size_t rows)
{
    return cmlp_min(plan->layout->groups, blocks_of(rows, plan->layout->row_block));
}

/* rows.c: the minibatch forward and back, this thread's part. */
void cmlp_step_rows(step *st);

/* spans.c: gradients and updates of this thread's spans. */
void cmlp_step_spans(step *st);
/* Whether gradients are kept whole before the update. */
int cmlp_keeps_gradients(const fit *f);
/* The block of parameters that are updated at once, or NULL. */
char *cmlp_block_at_once(const cmlp_plan *plan);
/* Copies the parameters of a thread's spans to plan->good. */
void cmlp_keep_good(fit *f, int thread, int n_threads);
void cmlp_put_back_good(cmlp_plan *plan);

#endif
