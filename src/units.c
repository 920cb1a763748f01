/* The second half of a training step: gradients and updates of the weights, unit by unit; and what divergence
 * puts back. */
#include "fit.h"

#include <math.h>
#include <string.h>

/* Calls fn(weights or gradients of a panel's rows, count) for every contiguous piece of a unit's weights. */
#define FOR_PANELS(l, u, c, width)                                                                      \
    for (size_t c = (u)->c0, width = 0; c < (u)->c1 && (width = cmlp_min((l)->nr, (u)->c1 - c)); c += width)

/* Adds the groups' gradients of a unit up in the first group's block. */
static void reduce_unit(const stage *st, const unit *u)
{
    const cmlp_plan *plan = st->f->plan;
    const step *s = &plan->steps[u->step];
    const cmlp_layer *l = s->layer;
    size_t size = plan->k->size;
    for (size_t g = 1; g < groups_of(plan, st->rows); g++) {
        char *from = cmlp_plan_grad(plan, g, s, CMLP_WEIGHT), *to = cmlp_plan_grad(plan, 0, s, CMLP_WEIGHT);
        if (cmlp_has_weight(l))
            FOR_PANELS(l, u, c, width)
            {
                size_t at = (c * s->n_in + u->i0 * width) * size;
                plan->k->add((u->i1 - u->i0) * width, from + at, to + at);
            }
        char *from_b = cmlp_plan_grad(plan, g, s, CMLP_BIAS), *to_b = cmlp_plan_grad(plan, 0, s, CMLP_BIAS);
        if (u->i0 == 0 && cmlp_has_bias(l))
            plan->k->add(u->c1 - u->c0, from_b + u->c0 * size, to_b + u->c0 * size);
    }
}

/* gw as in cmlp_unit_gradient: from column c0 and row g0 on, a matrix of g_rows rows; gb from column c0 on.
 */
static void update_unit(const stage *st, const unit *u, const char *gw, const char *gb, size_t g0,
                        size_t g_rows)
{
    const cmlp_plan *plan = st->f->plan;
    const cmlp_kernels *k = plan->k;
    const step *s = &plan->steps[u->step];
    cmlp_layer *l = s->layer;
    const cmlp_slots *slots = &plan->opt->slots[s->index];
    char *w = l->w, *s1 = slots->w[0], *s2 = slots->w[1];
    if (cmlp_has_weight(l)) {
        FOR_PANELS(l, u, c, width)
        {
            size_t at = (c * s->n_in + u->i0 * width) * k->size;
            size_t from = ((c - u->c0) * g_rows + (u->i0 - g0) * width) * k->size;
            k->update((u->i1 - u->i0) * width, w + at, gw + from, s1 + at, s2 ? s2 + at : NULL,
                      &st->weight_args);
        }
        if (l->wt)
            k->transpose(s->n_in, s->n_out, l->nr, l->nr_t, u->c0, u->c1, u->i0, u->i1, l->w, l->wt);
    }
    if (u->i0 == 0 && cmlp_has_bias(l)) {
        size_t at = u->c0 * k->size;
        char *b = l->b, *b1 = slots->b[0], *b2 = slots->b[1];
        k->update(u->c1 - u->c0, b + at, gb, b1 + at, b2 ? b2 + at : NULL, &st->bias_args);
    }
}

int cmlp_whole_gradients(const cmlp_plan *plan)
{
    return plan->groups || !plan->opt || plan->opt->spec.clip_norm > 0.0;
}

/* Where a unit's gradient starts in the first block. */
static char *unit_weight_grad(const cmlp_plan *plan, const unit *u)
{
    const step *s = &plan->steps[u->step];
    char *start = cmlp_plan_grad(plan, 0, s, CMLP_WEIGHT);
    return start ? start + u->c0 * s->n_in * plan->k->size : NULL;
}

static char *unit_bias_grad(const cmlp_plan *plan, const unit *u)
{
    char *start = cmlp_plan_grad(plan, 0, &plan->steps[u->step], CMLP_BIAS);
    return start ? start + u->c0 * plan->k->size : NULL;
}

/* Sum of squares of a unit's part of a whole matrix, given from the unit's first column on. */
static double panels_squares(const cmlp_plan *plan, const unit *u, const char *from)
{
    const step *s = &plan->steps[u->step];
    double sum = 0.0;
    if (cmlp_has_weight(s->layer))
        FOR_PANELS(s->layer, u, c, width)
        {
            size_t at = ((c - u->c0) * s->n_in + u->i0 * width) * plan->k->size;
            sum += plan->k->sum_squares((u->i1 - u->i0) * width, from + at);
        }
    return sum;
}

static double unit_gradient_squares(const cmlp_plan *plan, const unit *u)
{
    double sum = panels_squares(plan, u, unit_weight_grad(plan, u));
    if (u->i0 == 0 && cmlp_has_bias(plan->steps[u->step].layer))
        sum += plan->k->sum_squares(u->c1 - u->c0, unit_bias_grad(plan, u));
    return sum;
}

static double unit_weight_squares(const cmlp_plan *plan, const unit *u)
{
    const step *s = &plan->steps[u->step];
    const char *w = s->layer->w;
    return w ? panels_squares(plan, u, w + u->c0 * s->n_in * plan->k->size) : 0.0;
}

/* The norm needs every gradient before the first update: one more barrier. */
static void clip_by_norm(stage *st)
{
    cmlp_plan *plan = st->f->plan;
    for (size_t i = 0; i < plan->n_units; i++)
        if (owns(&plan->units[i], st->thread, st->n_threads))
            plan->norms[i] = unit_gradient_squares(plan, &plan->units[i]);
    cmlp_wait(&plan->barrier, st->n_threads);
    double sum = 0.0, limit = plan->opt->spec.clip_norm;
    for (size_t i = 0; i < plan->n_units; i++)
        sum += plan->norms[i];
    st->weight_args.gscale = st->bias_args.gscale = sum > limit * limit ? limit / sqrt(sum) : 1.0;
}

static void unit_stage(stage *st, size_t i, int whole)
{
    cmlp_plan *plan = st->f->plan;
    const unit *u = &plan->units[i];
    size_t rows = u->i1 - u->i0;
    char *scratch = scratch_of(plan, st->thread), *turned = scratch + unit_bytes(plan);
    char *bias = scratch + rows * (u->c1 - u->c0) * plan->k->size;
    if (st->f->run->norms)
        plan->squares[i] = unit_weight_squares(plan, u);
    if (st->thread == 0 && plan->polls_inside)
        cmlp_poll(st->f);
    if (plan->groups && plan->opt) {
        reduce_unit(st, u);
    } else if (whole) {
        cmlp_unit_gradient(plan, &st->pass, u, plan->arena, st->rows, unit_weight_grad(plan, u),
                           unit_bias_grad(plan, u), 0, plan->steps[u->step].n_in, turned);
    } else {
        cmlp_unit_gradient(plan, &st->pass, u, plan->arena, st->rows, scratch, bias, u->i0, rows, turned);
        update_unit(st, u, scratch, bias, u->i0, rows);
    }
}

void cmlp_units_stage(stage *st)
{
    cmlp_plan *plan = st->f->plan;
    int whole = cmlp_whole_gradients(plan);
    for (size_t i = 0; i < plan->n_units; i++)
        if (owns(&plan->units[i], st->thread, st->n_threads))
            unit_stage(st, i, whole);
    if (!whole || !plan->opt)
        return;
    if (plan->opt->spec.clip_norm > 0.0)
        clip_by_norm(st);
    for (size_t i = 0; i < plan->n_units; i++) {
        const unit *u = &plan->units[i];
        if (owns(u, st->thread, st->n_threads))
            update_unit(st, u, unit_weight_grad(plan, u), unit_bias_grad(plan, u), 0,
                        plan->steps[u->step].n_in);
    }
}

/* ---- the last good parameters ---- */

/* Copies the parameters of a thread's units to plan->good, or back. */
static void move_units(cmlp_plan *plan, int thread, int n_threads, int back)
{
    size_t size = plan->k->size;
    for (size_t i = 0; i < plan->n_units; i++) {
        const unit *u = &plan->units[i];
        if (!owns(u, thread, n_threads))
            continue;
        const step *s = &plan->steps[u->step];
        char *good = plan->good + s->gw, *good_b = plan->good + s->gb + u->c0 * size, *w = s->layer->w,
             *b = s->layer->b;
        if (cmlp_has_weight(s->layer))
            FOR_PANELS(s->layer, u, c, width)
            {
                size_t at = (c * s->n_in + u->i0 * width) * size, bytes = (u->i1 - u->i0) * width * size;
                memcpy(back ? w + at : good + at, back ? good + at : w + at, bytes);
            }
        if (u->i0 == 0 && cmlp_has_bias(s->layer))
            memcpy(back ? b + u->c0 * size : good_b, back ? good_b : b + u->c0 * size,
                   (u->c1 - u->c0) * size);
    }
}

void cmlp_keep_good(cmlp_plan *plan, int thread, int n_threads) { move_units(plan, thread, n_threads, 0); }

void cmlp_put_back_good(cmlp_plan *plan)
{
    move_units(plan, 0, 1, 1);
    for (size_t i = 0; i < plan->n_layers; i++)
        cmlp_layer_refresh(plan->layers[i]);
}
