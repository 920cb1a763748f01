/* Forward and backward one by one, for a loss of the caller's own. */
#include "passes.h"

#include <math.h>
#include <string.h>

typedef struct {
    cmlp_plan *plan;
    const char *from;
    char *to;
} exchange;

static void copy_rows(size_t rows, size_t bytes, char *to, size_t to_stride, const char *from,
                      size_t from_stride)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(to + r * to_stride, from + r * from_stride, bytes);
}

static int threads_for(const cmlp_plan *plan, double flops_per_madd)
{
    const layout *l = plan->layout;
    size_t n = plan->forward_rows;
    return cmlp_threads_of(l, flops_per_madd * l->madds * (double)n,
                           cmlp_max(blocks_of(n, l->row_block), l->most_columns));
}

static void forward_share(void *ctx, int thread, int n_threads)
{
    exchange *c = ctx;
    cmlp_plan *plan = c->plan;
    const layout *l = plan->layout;
    const op *first = &l->ops[0], *last = &l->ops[l->n_ops - 1];
    team t = {.rows = plan->forward_rows,
              .row_block = l->row_block,
              .thread = thread,
              .n_threads = n_threads,
              .scratch = scratch_of(plan, thread)};
    region own = cmlp_region_of(&t, 0, 1, 1);
    size_t size = l->k->size, in = l->n_in * size, out = l->n_out * size;
    copy_rows(own.rows, in, rows_at(plan, plan->workspaces, first->x, own.row, l->ld_in), l->ld_in * size,
              c->from + own.row * in, in);
    if (first->by_columns)
        cmlp_wait(&plan->barrier, n_threads);
    cmlp_run_forward(plan, &plan->forward_pass, plan->workspaces, &t);
    copy_rows(own.rows, out, c->to + own.row * out, out,
              rows_at(plan, plan->workspaces, last->y, own.row, l->ld_out), l->ld_out * size);
}

static cmlp_status check_computes(const cmlp_plan *plan)
{
    return !plan->opt ? CMLP_OK
                      : cmlp_fail(CMLP_E_ARGUMENT,
                                  "plan has an optimizer; expected one without, that only computes");
}

/* A pass back needs one forward before it. */
static cmlp_status check_forward(const cmlp_plan *plan)
{
    cmlp_status status = check_computes(plan);
    if (!status && !plan->forward_rows)
        status = cmlp_fail(CMLP_E_ARGUMENT, "plan has not been through cmlp_forward; expected that first");
    return status;
}

cmlp_status cmlp_forward(cmlp_plan *plan, size_t n, const void *x, int training, void *y)
{
    NEED(plan);
    NEED(x);
    NEED(y);
    const layout *l = plan->layout;
    cmlp_status status = check_computes(plan);
    if (!status && (!n || n > l->spec.batch))
        status = cmlp_fail(CMLP_E_ARGUMENT, "n is %zu; expected 1 to %zu", n, l->spec.batch);
    if (status)
        return status;
    plan->forward_rows = n;
    plan->forward_pass = (pass){.training = training,
                                .seed = plan->seed,
                                .t = plan->forwards,
                                .x = plan->workspaces + l->ops[0].x,
                                .ldx = l->ld_in};
    plan->forwards += training != 0;
    exchange c = {plan, x, y};
    cmlp_parallel(threads_for(plan, 2.0), forward_share, &c);
    return CMLP_OK;
}

static void backward_share(void *ctx, int thread, int n_threads)
{
    exchange *c = ctx;
    cmlp_plan *plan = c->plan;
    const layout *l = plan->layout;
    const op *last = &l->ops[l->n_ops - 1];
    team t = {.rows = plan->forward_rows,
              .row_block = l->row_block,
              .thread = thread,
              .n_threads = n_threads,
              .scratch = scratch_of(plan, thread)};
    region own = cmlp_region_of(&t, 0, 1, 1);
    size_t size = l->k->size, in = l->n_in * size, out = l->n_out * size;
    copy_rows(own.rows, out, rows_at(plan, plan->workspaces, last->d, own.row, l->ld_out), l->ld_out * size,
              c->from + own.row * out, out);
    cmlp_run_backward(plan, &plan->forward_pass, plan->workspaces, &t, c->to != NULL);
    if (c->to)
        copy_rows(own.rows, in, c->to + own.row * in, in,
                  rows_at(plan, plan->workspaces, l->dx, own.row, l->ld_in), l->ld_in * size);
    cmlp_wait(&plan->barrier, n_threads);
    gradient_args g = {.rows = t.rows, .first = 1, .last = 1, .scratch = scratch_of(plan, thread)};
    for (size_t i = 0; i < l->n_spans; i++)
        if (is_own(&l->spans[i], thread, n_threads))
            cmlp_whole_gradient(plan, &plan->forward_pass, &l->spans[i], plan->workspaces, 0, &g);
}

cmlp_status cmlp_backward(cmlp_plan *plan, const void *dy, void *dx)
{
    NEED(plan);
    NEED(dy);
    cmlp_status status = check_forward(plan);
    if (status)
        return status;
    exchange c = {plan, dy, dx};
    cmlp_parallel(threads_for(plan, 4.0), backward_share, &c);
    return CMLP_OK;
}

cmlp_status cmlp_deltas(const cmlp_plan *plan, double *norms)
{
    NEED(plan);
    NEED(norms);
    const layout *l = plan->layout;
    cmlp_status status = check_forward(plan);
    if (status)
        return status;
    for (size_t i = 0; i < l->n_ops; i++) {
        const op *o = &l->ops[i];
        double norm = i < l->first_trained
                          ? NAN
                          : sqrt(l->k->sum_squares(plan->forward_rows * o->ld_out, plan->workspaces + o->d));
        for (size_t layer = o->layer; layer <= o->last_layer; layer++)
            norms[layer] = norm;
    }
    return CMLP_OK;
}
