/* The second half of a step: gradients and updates of the parameters, span by span; and what divergence puts
 * back. */
#include "fit.h"

#include <math.h>
#include <string.h>

/* Adds the groups' gradients of a span up in the first group's block. */
static void reduce_span(const step *st, const span *s)
{
    const cmlp_plan *plan = st->f->plan;
    size_t size = plan->layout->k->size;
    char *to = gradient_of(plan, 0, s);
    for (size_t g = 1; g < groups_of(plan, st->rows); g++) {
        const char *from = gradient_of(plan, g, s);
        for (const packed_run *r = s->runs; r < s->runs + s->n_runs; r++)
            plan->layout->k->add(r->count, from + r->whole * size, to + r->whole * size);
    }
}

/* gradient: of the whole part, or of the span alone. */
static void update_span(const step *st, const span *s, const char *gradient, int whole)
{
    const cmlp_plan *plan = st->f->plan;
    const cmlp_kernels *k = s->of->k;
    const part_layout *part = &s->of->parts[s->part];
    const part_memory *m = &memory_of(plan, s->of)[s->part];
    char *s1 = plan->opt->slots[0] + part->offset,
         *s2 = plan->opt->slots[1] ? plan->opt->slots[1] + part->offset : NULL;
    for (const packed_run *r = s->runs; r < s->runs + s->n_runs; r++) {
        size_t at = r->whole * k->size;
        k->update(r->count, m->value + at, gradient + (whole ? at : r->own * k->size), s1 + at,
                  s2 ? s2 + at : NULL, &st->args[part->info.decays]);
    }
    cmlp_refresh_block(s->of->kind, k, &s->of->spec, s->of->table, part, &s->block, m);
}

char *cmlp_block_at_once(const cmlp_plan *plan)
{
    const layout *l = plan->layout;
    return plan->opt && l->threads == 1 && l->is_all_trained && l->block_bytes <= AT_ONCE_BYTES
               ? cmlp_plan_block(plan)
               : NULL;
}

int cmlp_keeps_gradients(const fit *f)
{
    return f->block || f->plan->layout->groups || !f->plan->opt || f->plan->opt->spec.clip_norm > 0.0;
}

static int decays(const cmlp_update_args *a) { return a->decay != 0.0 || a->l1 != 0.0 || a->shrink != 0.0; }

/* All parameters at once. */
static void update_block(const step *st)
{
    const cmlp_plan *plan = st->f->plan;
    const layout *l = plan->layout;
    l->k->update(l->block_bytes / l->k->size, st->f->block, plan->gradients, plan->opt->slots[0],
                 plan->opt->slots[1], &st->args[0]);
    for (size_t i = 0; i < l->n_ops; i++) {
        const part_layout *part = &l->ops[i].parts[0];
        const part_memory *m = memory_of(plan, &l->ops[i]);
        const cmlp_block all = {0, part->panels.padded, 0, part->panels.rows};
        if (l->ops[i].n_parts)
            cmlp_refresh_block(l->ops[i].kind, l->k, &l->ops[i].spec, l->ops[i].table, part, &all, m);
    }
}

/* Sum of squares of a span of a whole part. */
static double squares_of(const span *s, const char *part)
{
    double sum = 0.0;
    for (const packed_run *r = s->runs; r < s->runs + s->n_runs; r++)
        sum += s->of->k->sum_squares(r->count, part + r->whole * s->of->k->size);
    return sum;
}

/* Of the weights, which is what decays. */
static double weight_squares(const cmlp_plan *plan, const span *s)
{
    return s->of->parts[s->part].info.decays ? squares_of(s, memory_of(plan, s->of)[s->part].value) : 0.0;
}

/* The norm needs every gradient before the first update: one more barrier. */
static void clip_by_norm(step *st)
{
    cmlp_plan *plan = st->f->plan;
    const layout *l = plan->layout;
    for (size_t i = 0; i < l->n_spans; i++) {
        const span *s = &l->spans[i];
        if (is_own(s, st->thread, st->n_threads))
            plan->norms[i] = squares_of(s, gradient_of(plan, 0, s));
    }
    cmlp_wait(&plan->barrier, st->n_threads);
    double sum = 0.0, limit = plan->opt->spec.clip_norm;
    for (size_t i = 0; i < l->n_spans; i++)
        sum += plan->norms[i];
    st->args[0].gscale = st->args[1].gscale = sum > limit * limit ? limit / sqrt(sum) : 1.0;
}

/* A span's gradient alone: summed over the groups, or over the whole minibatch. */
static void keep_gradient(const step *st, const span *s, gradient_args *g)
{
    cmlp_plan *plan = st->f->plan;
    if (plan->layout->groups && plan->opt)
        reduce_span(st, s);
    else
        cmlp_whole_gradient(plan, &st->pass, s, plan->workspaces, 0, g);
}

/* A span's gradient, near, and its update. */
static void step_span(const step *st, const span *s, gradient_args *g)
{
    cmlp_plan *plan = st->f->plan;
    char *near = span_scratch(plan, st->thread);
    g->to = near, g->row0 = s->block.i0, g->to_rows = s->block.i1 - s->block.i0;
    cmlp_span_gradient(plan, &st->pass, s, plan->workspaces, g);
    update_span(st, s, near, 0);
}

/* What is done with a span before its parameters change. */
static void look_at_span(const step *st, size_t i)
{
    const cmlp_plan *plan = st->f->plan;
    if (st->f->run->norms)
        plan->squares[i] = weight_squares(plan, &plan->layout->spans[i]);
    if (st->thread == 0 && plan->layout->polls_inside)
        poll_caller(&st->f->poll);
}

void cmlp_step_spans(step *st)
{
    cmlp_plan *plan = st->f->plan;
    const layout *l = plan->layout;
    int whole = cmlp_keeps_gradients(st->f);
    gradient_args g = {st->rows, .first = 1, .last = 1, .scratch = scratch_of(plan, st->thread)};
    for (size_t i = 0; i < l->n_spans; i++)
        if (is_own(&l->spans[i], st->thread, st->n_threads)) {
            look_at_span(st, i);
            (whole ? keep_gradient : step_span)(st, &l->spans[i], &g);
        }
    if (!whole || !plan->opt)
        return;
    if (plan->opt->spec.clip_norm > 0.0)
        clip_by_norm(st);
    if (st->f->block && !decays(&st->args[1])) {
        update_block(st);
        return;
    }
    for (size_t i = 0; i < l->n_spans; i++)
        if (is_own(&l->spans[i], st->thread, st->n_threads))
            update_span(st, &l->spans[i], gradient_of(plan, 0, &l->spans[i]), 1);
}

/* ---- the last good parameters ---- */

/* Copies the parameters of a thread's spans to plan->good, or back. */
static void move_spans(cmlp_plan *plan, int thread, int n_threads, int back)
{
    size_t size = plan->layout->k->size;
    for (size_t i = 0; i < plan->layout->n_spans; i++) {
        const span *s = &plan->layout->spans[i];
        if (!is_own(s, thread, n_threads))
            continue;
        char *good = plan->good + s->of->parts[s->part].offset,
             *value = memory_of(plan, s->of)[s->part].value;
        char *to = back ? value : good, *from = back ? good : value;
        for (const packed_run *r = s->runs; r < s->runs + s->n_runs; r++)
            memcpy(to + r->whole * size, from + r->whole * size, r->count * size);
    }
}

void cmlp_keep_good(fit *f, int thread, int n_threads)
{
    if (f->block)
        memcpy(f->plan->good, f->block, f->plan->layout->block_bytes);
    else
        move_spans(f->plan, thread, n_threads, 0);
}

void cmlp_put_back_good(cmlp_plan *plan)
{
    move_spans(plan, 0, 1, 1);
    for (size_t i = 0; i < plan->n_layers; i++)
        cmlp_layer_refresh(plan->layers[i]);
}
