/* Passes over the rows of a workspace: forward, back, and the gradient of a block of weights. */
#ifndef CMLP_PASSES_H
#define CMLP_PASSES_H

#include "plan.h"
#include "poll.h"

/* The threads at work on the rows of one workspace, as one of them sees it. */
typedef struct {
    size_t rows;
    int thread, n_threads;
    poller *poll; /* NULL: none */
    int asks;     /* this thread polls */
    size_t row_block; /* rows are dealt out in blocks of so many */
    char *scratch; /* of this thread, for the ops */
} team;

/* A thread's part of a team's rows, or of the columns (padded ones, in panels of `width`). */
region cmlp_region_of(const team *t, int by_columns, size_t padded, size_t width);
/* Polls, and tells whether there is nothing to do: an empty region, or the run was stopped. */
int cmlp_may_skip(const team *t, const region *r);

/* After cmlp_run_forward a thread's own rows are whole.  Before cmlp_run_backward d of the last op is, for
 * its own rows; after it a barrier must come before anybody reads more.  need_dx: dL/dx of the first op is
 * wanted. */
void cmlp_run_forward(cmlp_plan *plan, const pass *p, char *workspace, const team *t);
void cmlp_run_backward(cmlp_plan *plan, const pass *p, char *workspace, const team *t, int need_dx);

/* The gradient of a span over the first g->rows rows of a workspace: the only place where gradients of
 * parameters are computed.  The caller says in g where it goes (to, row0, to_rows, first, last). */
void cmlp_span_gradient(const cmlp_plan *plan, const pass *p, const span *s, char *workspace,
                        gradient_args *g);
/* The same into its place in a group's block of gradients, or in the layer; of g, the caller fills rows,
 * first, last, scratch. */
void cmlp_whole_gradient(const cmlp_plan *plan, const pass *p, const span *s, char *workspace, size_t group,
                         gradient_args *g);

#endif
