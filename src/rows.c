/* The first half of a step: rows of the minibatch gathered, forward, loss, back. */
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

/* Views of rows [r0, r1) of the minibatch's images. */
static void gather_views(const step *st, char *to, size_t r0, size_t r1)
{
    const cmlp_plan *plan = st->f->plan;
    const viewer *v = plan->views;
    size_t size = v->k->size, stride = plan->layout->ld_in * size;
    char *scratch = v->scratch_bytes ? plan->view_scratch + (size_t)st->thread * v->scratch_bytes : NULL;
    for (size_t r = r0; r < r1; r++, to += stride)
        cmlp_view(v, st->pass.seed, st->pass.t, r,
                  (const char *)st->f->data->x + sample_at(st, r) * v->image * size, to, scratch);
}

/* Rows [r0, r1) of the minibatch's inputs copied to `to`. */
static void gather_inputs(const step *st, char *to, size_t r0, size_t r1)
{
    const layout *l = st->f->plan->layout;
    if (st->f->plan->views) {
        gather_views(st, to, r0, r1);
        return;
    }
    size_t in = l->n_in * l->k->size, stride = l->ld_in * l->k->size;
    for (size_t r = r0; r < r1; r++, to += stride)
        copy_row(to, (const char *)st->f->data->x + sample_at(st, r) * in, in);
}

/* Their targets and weights, copied to rows at.. of a workspace. */
static void gather_targets(const step *st, char *workspace, size_t r0, size_t r1, size_t at)
{
    const cmlp_plan *plan = st->f->plan;
    const layout *l = plan->layout;
    const cmlp_data *data = st->f->data;
    size_t size = l->k->size, out = l->n_out * size;
    char *t = rows_at(plan, workspace, l->targets, at, l->ld_out);
    char *w = workspace + l->weights_at + at * size;
    int64_t *labels = (int64_t *)(workspace + l->labels) + at;
    for (size_t r = r0; r < r1; r++, t += l->ld_out * size, w += size) {
        size_t i = sample_at(st, r);
        if (data->labels)
            *labels++ = data->labels[i];
        else
            copy_row(t, (const char *)data->t + i * out, out);
        if (data->weight)
            copy_row(w, (const char *)data->weight + i * size, size);
    }
}

/* Whether the minibatch's inputs can be read where they are: the first op must not need padded rows, and rows
 * a multiple of a kilobyte apart would fall into the same cache sets. */
static int inputs_in_place(const step *st)
{
    const layout *l = st->f->plan->layout;
    return !st->order && !st->f->data->rows && !st->f->plan->views && l->ops[0].kind->reads_unpadded &&
           l->n_in * l->k->size % 1024 != 0;
}

/* The pass over rows [r0, r1) of the minibatch that stand in a workspace from its row 0 on, with their
 * inputs: in place, or copied to `to`. */
static pass pass_over(const step *st, size_t r0, size_t r1, char *to)
{
    const layout *l = st->f->plan->layout;
    pass p = st->pass;
    p.row = r0;
    if (inputs_in_place(st)) {
        p.x = (const char *)st->f->data->x + (st->first + r0) * l->n_in * l->k->size;
        p.ldx = l->n_in;
    } else {
        gather_inputs(st, to, r0, r1);
        p.x = to;
        p.ldx = l->ld_in;
    }
    return p;
}

/* The pass over a minibatch whose views, unlike copies, are worth being made once: each thread makes those of
 * its rows [r0, r1). */
static pass pass_over_views(const step *st, size_t r0, size_t r1)
{
    cmlp_plan *plan = st->f->plan;
    const layout *l = plan->layout;
    pass p = st->pass;
    p.x = plan->inputs;
    p.ldx = l->ld_in;
    gather_inputs(st, plan->inputs + r0 * l->ld_in * l->k->size, r0, r1);
    cmlp_wait(&plan->barrier, st->n_threads);
    return p;
}

/* Loss and its gradient for rows of a workspace, block by block of the minibatch. */
static void run_loss(const step *st, char *workspace, size_t r0, size_t r1, size_t row)
{
    const cmlp_plan *plan = st->f->plan;
    const layout *l = plan->layout;
    const op *last = &l->ops[l->n_ops - 1];
    for (size_t r = r0; r < r1; r += l->row_block) {
        const cmlp_loss_args args = {
            .rows = cmlp_min(l->row_block, r1 - r),
            .n = l->n_out,
            .z = rows_at(plan, workspace, last->y, r, l->ld_out),
            .ldz = l->ld_out,
            .labels = st->f->data->labels ? (int64_t *)(workspace + l->labels) + r : NULL,
            .t = rows_at(plan, workspace, l->targets, r, l->ld_out),
            .ldt = l->ld_out,
            .weight = st->f->data->weight ? workspace + l->weights_at + r * l->k->size : NULL,
            .scale = st->scale,
            .dz = rows_at(plan, workspace, last->d, r, l->ld_out),
            .lddz = l->ld_out,
            .param = l->spec.loss_param};
        plan->partial[(row + r - r0) / l->row_block] = l->k->loss(l->spec.loss, &args);
    }
}

/* Adds the gradients of a chunk's rows to a group's. */
static void add_gradients(const cmlp_plan *plan, const pass *p, char *workspace, size_t group,
                          gradient_args *g)
{
    const layout *l = plan->layout;
    for (size_t i = l->first_trained; i < l->n_ops; i++)
        for (size_t part = 0; l->ops[i].trained && part < l->ops[i].n_parts; part++) {
            const cmlp_panels *panels = &l->ops[i].parts[part].panels;
            const span all = {&l->ops[i], part, .block = {0, panels->padded, 0, panels->rows}};
            cmlp_whole_gradient(plan, p, &all, workspace, group, g);
        }
}

/* A group's rows, chunk after chunk, its gradient summed on the way. */
static void run_group(const step *st, size_t group, size_t groups)
{
    cmlp_plan *plan = st->f->plan;
    const layout *l = plan->layout;
    char *workspace = workspace_of(plan, st->thread);
    size_t first, end;
    share_of_rows(st->rows, l->row_block, (int)group, (int)groups, &first, &end);
    for (size_t r = first; r < end && !is_stopped(&st->f->poll); r += l->chunk) {
        size_t rows = cmlp_min(l->chunk, end - r);
        const team alone = {
            .rows = rows, .row_block = l->row_block, .n_threads = 1, .scratch = scratch_of(plan, st->thread)};
        const pass p = pass_over(st, r, r + rows, workspace + l->ops[0].x);
        gather_targets(st, workspace, r, r + rows, 0);
        cmlp_run_forward(plan, &p, workspace, &alone);
        run_loss(st, workspace, 0, rows, r);
        cmlp_run_backward(plan, &p, workspace, &alone, 0);
        gradient_args g = {rows, .first = r == first, .last = r + rows == end,
                           .scratch = scratch_of(plan, st->thread)};
        add_gradients(plan, &p, workspace, group, &g);
        if (st->thread == 0 && end - first > l->chunk)
            poll_caller(&st->f->poll);
    }
}

/* The minibatch in one workspace that all threads share. */
static void run_shared(step *st)
{
    cmlp_plan *plan = st->f->plan;
    const layout *l = plan->layout;
    const team t = {.rows = st->rows,
                    .row_block = l->row_block,
                    .thread = st->thread,
                    .n_threads = st->n_threads,
                    .poll = &st->f->poll,
                    .asks = st->thread == 0 && l->polls_inside,
                    .scratch = scratch_of(plan, st->thread)};
    char *workspace = plan->workspaces;
    size_t r0, r1;
    share_of_rows(st->rows, l->row_block, st->thread, st->n_threads, &r0, &r1);
    r1 = cmlp_max(r0, r1);
    if (l->copies_inputs && plan->views) {
        st->pass = pass_over_views(st, r0, r1);
    } else if (l->copies_inputs) {
        st->pass = pass_over(st, 0, st->rows, plan->inputs + (size_t)st->thread * l->input_bytes);
    } else {
        st->pass = pass_over(st, r0, r1, rows_at(plan, workspace, l->ops[0].x, r0, l->ld_in));
        st->pass.x -= r0 * st->pass.ldx * l->k->size;
    }
    st->pass.row = 0;
    gather_targets(st, workspace, r0, r1, r0);
    cmlp_run_forward(plan, &st->pass, workspace, &t);
    if (r0 < r1)
        run_loss(st, workspace, r0, r1, r0);
    cmlp_run_backward(plan, &st->pass, workspace, &t, 0);
}

void cmlp_step_rows(step *st)
{
    if (!st->f->plan->layout->groups) {
        run_shared(st);
        return;
    }
    size_t groups = groups_of(st->f->plan, st->rows), first, end;
    share_of(groups, st->thread, st->n_threads, &first, &end);
    for (size_t g = first; g < end; g++)
        run_group(st, g, groups);
}
