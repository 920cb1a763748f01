/* The first half of a training step: rows of the minibatch gathered, forward, loss, back. */
#include "fit.h"

#include <string.h>

/* Rows of a few numbers are copied by numbers: a call for each costs more. */
static inline void copy_row(char *to, const char *from, size_t bytes)
{
    if (bytes > 64) {
        memcpy(to, from, bytes);
        return;
    }
    size_t i = 0;
    for (; i + 16 <= bytes; i += 16)
        memcpy(to + i, from + i, 16);
    for (; i < bytes; i += 4)
        memcpy(to + i, from + i, 4);
}

/* Rows [r0, r1) of the minibatch's inputs copied to `to`. */
static void gather_inputs(const stage *st, char *to, size_t r0, size_t r1)
{
    const cmlp_plan *plan = st->f->plan;
    size_t in = plan->n_in * plan->k->size, stride = plan->ld_in * plan->k->size;
    for (size_t r = r0; r < r1; r++, to += stride)
        copy_row(to, (const char *)st->f->data->x + sample_at(st, r) * in, in);
}

/* Their targets and weights, copied to rows at.. of a slot. */
static void gather_targets(const stage *st, char *slot, size_t r0, size_t r1, size_t at)
{
    const cmlp_plan *plan = st->f->plan;
    const cmlp_data *data = st->f->data;
    size_t size = plan->k->size, out = plan->n_out * size;
    char *t = plan_at(plan, slot, plan->targets, at, plan->ld_out);
    char *w = slot + plan->weights + at * size;
    int64_t *labels = (int64_t *)(slot + plan->labels) + at;
    for (size_t r = r0; r < r1; r++, t += plan->ld_out * size, w += size) {
        size_t i = sample_at(st, r);
        if (data->labels)
            *labels++ = data->labels[i];
        else
            copy_row(t, (const char *)data->t + i * out, out);
        if (data->weight)
            copy_row(w, (const char *)data->weight + i * size, size);
    }
}

/* Whether the minibatch's inputs can be read where they are: only products read rows that are not padded, and
 * rows a multiple of a kilobyte apart would fall into the same cache sets. */
static int inputs_in_place(const stage *st)
{
    const cmlp_plan *plan = st->f->plan;
    return !st->order && plan->steps[0].layer->spec.kind == CMLP_DENSE &&
           plan->n_in * plan->k->size % 1024 != 0;
}

/* The pass over rows [r0, r1) of the minibatch that stand in a slot from its row 0 on, with their inputs: in
 * place, or copied to `to`. */
static pass pass_over(const stage *st, size_t r0, size_t r1, char *to)
{
    const cmlp_plan *plan = st->f->plan;
    pass p = st->pass;
    p.row = r0;
    if (inputs_in_place(st)) {
        p.x = (const char *)st->f->data->x + (st->first + r0) * plan->n_in * plan->k->size;
        p.ldx = plan->n_in;
    } else {
        gather_inputs(st, to, r0, r1);
        p.x = to;
        p.ldx = plan->ld_in;
    }
    return p;
}

/* Loss and its gradient for rows of a slot, block by block of the minibatch. */
static void run_loss(const stage *st, char *slot, size_t r0, size_t r1, size_t row)
{
    const cmlp_plan *plan = st->f->plan;
    const step *last = &plan->steps[plan->n_steps - 1];
    for (size_t r = r0; r < r1; r += ROW_BLOCK) {
        cmlp_loss_args args = {.rows = cmlp_min(ROW_BLOCK, r1 - r),
                               .n = plan->n_out,
                               .z = plan_at(plan, slot, last->y, r, plan->ld_out),
                               .ldz = plan->ld_out,
                               .labels = st->f->data->labels ? (int64_t *)(slot + plan->labels) + r : NULL,
                               .t = plan_at(plan, slot, plan->targets, r, plan->ld_out),
                               .ldt = plan->ld_out,
                               .weight =
                                   st->f->data->weight ? slot + plan->weights + r * plan->k->size : NULL,
                               .scale = st->scale,
                               .dz = plan_at(plan, slot, last->d, r, plan->ld_out),
                               .lddz = plan->ld_out,
                               .param = plan->spec.loss_param};
        plan->partial[(row + r - r0) / ROW_BLOCK] = plan->k->loss(plan->spec.loss, &args);
    }
}

/* A thin step's d^T x, in the place of its x^T d, becomes that. */
static void turn_gradient(const step *s, void *gw, char *scratch)
{
    const cmlp_layer *l = s->layer;
    memcpy(scratch, gw, s->n_out * l->pad_in * s->k->size);
    s->k->transpose(s->n_out, s->n_in, l->nr_t, l->nr, 0, l->pad_in, 0, s->n_out, scratch, gw);
}

/* A group's rows, chunk after chunk, its gradient summed on the way. */
static void run_group(const stage *st, size_t group, size_t groups)
{
    cmlp_plan *plan = st->f->plan;
    const cmlp_kernels *k = plan->k;
    char *slot = plan->arena + (size_t)st->thread * plan->slot_bytes;
    size_t first, end;
    cmlp_share_of_rows(st->rows, (int)group, (int)groups, &first, &end);
    int accumulate = 0;
    for (size_t r = first; r < end && !atomic_load_explicit(&st->f->stop, memory_order_relaxed);
         r += plan->chunk, accumulate = 1) {
        size_t rows = cmlp_min(plan->chunk, end - r);
        team alone = {.rows = rows, .n_threads = 1};
        pass p = pass_over(st, r, r + rows, slot + plan->steps[0].x);
        gather_targets(st, slot, r, r + rows, 0);
        cmlp_run_forward(plan, &p, slot, &alone);
        run_loss(st, slot, 0, rows, r);
        cmlp_run_backward(plan, &p, slot, &alone, 0);
        for (size_t i = 0; i < plan->n_steps; i++) {
            const step *s = &plan->steps[i];
            const cmlp_layer *l = s->layer;
            void *gw = cmlp_plan_grad(plan, group, s, CMLP_WEIGHT),
                 *gb = cmlp_plan_grad(plan, group, s, CMLP_BIAS);
            const void *x = i ? slot + s->x : p.x;
            /* Of a thin step it stays turned until the last chunk has been added. */
            if (s->thin)
                k->outer(0, s->n_out, l->pad_in, rows, slot + s->d, s->ld_out, x, s->ld_in, l->nr_t,
                         accumulate, 0, s->n_out, gw, NULL);
            else if (cmlp_has_weight(l))
                k->outer(0, s->n_in, l->pad_out, rows, x, i ? s->ld_in : p.ldx, slot + s->d, s->ld_out, l->nr,
                         accumulate, 0, s->n_in, gw, NULL);
            if (l->spec.kind == CMLP_PRELU)
                k->prelu_slope(rows, s->n_out, slot + s->d, s->ld_out, x, s->ld_in, accumulate, gb);
            else if (cmlp_has_bias(l))
                k->column_sums(l->pad_out, rows, slot + s->d, s->ld_out, accumulate, gb);
        }
        if (st->thread == 0 && end - first > plan->chunk)
            cmlp_poll(st->f);
    }
    for (size_t i = 0; i < plan->n_steps; i++)
        if (plan->steps[i].thin)
            turn_gradient(&plan->steps[i], cmlp_plan_grad(plan, group, &plan->steps[i], CMLP_WEIGHT),
                          scratch_of(plan, st->thread));
}

/* The minibatch in one slot that all threads share. */
static void run_shared(stage *st)
{
    cmlp_plan *plan = st->f->plan;
    fit *f = st->f;
    team t = {.rows = st->rows,
              .thread = st->thread,
              .n_threads = st->n_threads,
              .look = st->thread == 0 && plan->polls_inside ? cmlp_poll : NULL,
              .ctx = f,
              .stop = &f->stop};
    char *slot = plan->arena, *own = plan->inputs + (size_t)st->thread * plan->input_bytes;
    size_t r0, r1;
    cmlp_share_of_rows(st->rows, st->thread, st->n_threads, &r0, &r1);
    r1 = cmlp_max(r0, r1);
    if (plan->inputs) {
        st->pass = pass_over(st, 0, st->rows, own);
    } else {
        size_t size = plan->k->size;
        st->pass = pass_over(st, r0, r1, slot + plan->steps[0].x + r0 * plan->ld_in * size);
        st->pass.x -= r0 * st->pass.ldx * size;
    }
    st->pass.row = 0;
    gather_targets(st, slot, r0, r1, r0);
    cmlp_run_forward(plan, &st->pass, slot, &t);
    if (r0 < r1)
        run_loss(st, slot, r0, r1, r0);
    cmlp_run_backward(plan, &st->pass, slot, &t, 0);
}

void cmlp_rows_stage(stage *st)
{
    const cmlp_plan *plan = st->f->plan;
    if (!plan->groups) {
        run_shared(st);
        return;
    }
    size_t groups = groups_of(plan, st->rows), first, end;
    cmlp_share_of(groups, st->thread, st->n_threads, &first, &end);
    for (size_t g = first; g < end; g++)
        run_group(st, g, groups);
}
