/* Training: whole epochs, or single steps, in one parallel region with two barriers a step. */
#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define POLL_SECONDS 0.05

typedef struct {
    cmlp_plan *plan;
    const cmlp_data *data;
    cmlp_run *run;
    cmlp_cursor start, end;      /* where training stands before and after */
    uint64_t end_epoch, steps_per_epoch, done;
    int keep_good, kept;         /* parameters are to be kept for divergence; there are some */
    double next_poll, loss;      /* loss: of the last step */
    double norm_sum;             /* of the squares of all weights, over the steps of this epoch */
    atomic_int stop;             /* the poll function said so */
    cmlp_status status;
} fit;

static void poll(fit *f)
{
    if (!f->run->poll || cmlp_now() < f->next_poll)
        return;
    if (f->run->poll(f->run->poll_ctx))
        atomic_store_explicit(&f->stop, 1, memory_order_relaxed);
    f->next_poll = cmlp_now() + POLL_SECONDS;
}

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

static size_t sample_at(const stage *st, size_t i)
{
    return st->order ? (size_t)st->order[st->first + i] : st->first + i;
}

static double weight_at(const fit *f, size_t sample)
{
    return f->plan->k->size == sizeof(float) ? (double)((const float *)f->data->weight)[sample]
                                             : ((const double *)f->data->weight)[sample];
}

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

/* Rows [r0, r1) of the minibatch copied to rows at.. of a slot. */
static void gather(const stage *st, char *slot, size_t r0, size_t r1, size_t at)
{
    const cmlp_plan *plan = st->f->plan;
    const cmlp_data *data = st->f->data;
    size_t size = plan->k->size, in = plan->n_in * size, out = plan->n_out * size;
    char *x = plan_at(plan, slot, plan->steps[0].x, at, plan->ld_in);
    char *t = plan_at(plan, slot, plan->targets, at, plan->ld_out);
    char *w = slot + plan->weights + at * size;
    int64_t *labels = (int64_t *)(slot + plan->labels) + at;
    for (size_t r = r0; r < r1; r++, x += plan->ld_in * size, t += plan->ld_out * size, w += size) {
        size_t i = sample_at(st, r);
        copy_row(x, (const char *)data->x + i * in, in);
        if (data->labels)
            *labels++ = data->labels[i];
        else
            copy_row(t, (const char *)data->t + i * out, out);
        if (data->weight)
            copy_row(w, (const char *)data->weight + i * size, size);
    }
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

/* Rows [r0, r1) of the minibatch, forward and back, in rows at.. of a slot. */
static void through(const stage *st, char *slot, size_t r0, size_t r1, size_t at)
{
    const cmlp_plan *plan = st->f->plan;
    size_t end = at + (r1 - r0);
    pass p = st->pass;
    /* Slot row `at` is row r0 of the minibatch; cmlp_run_forward adds `at` again. */
    p.row = r0 - at;
    gather(st, slot, r0, r1, at);
    cmlp_run_forward(plan, &p, slot, at, end);
    run_loss(st, slot, at, end, r0);
    cmlp_run_backward(plan, &p, slot, at, end, 0);
}

/* A group's rows, chunk after chunk, its gradient summed on the way. */
static void run_group(const stage *st, size_t group, size_t groups)
{
    const cmlp_plan *plan = st->f->plan;
    const cmlp_kernels *k = plan->k;
    char *slot = plan->arena + (size_t)st->thread * plan->slot_bytes;
    size_t first, end;
    cmlp_share_of_rows(st->rows, (int)group, (int)groups, &first, &end);
    int accumulate = 0;
    for (size_t r = first; r < end; r += plan->chunk, accumulate = 1) {
        size_t rows = cmlp_min(plan->chunk, end - r);
        through(st, slot, r, r + rows, 0);
        for (size_t i = 0; i < plan->n_steps; i++) {
            const step *s = &plan->steps[i];
            const cmlp_layer *l = s->layer;
            void *gw = cmlp_plan_grad(plan, group, s, CMLP_WEIGHT), *gb = cmlp_plan_grad(plan, group, s, CMLP_BIAS);
            if (cmlp_has_weight(l))
                k->outer(0, s->n_in, l->pad_out, rows, slot + s->x, s->ld_in, slot + s->d, s->ld_out, l->nr,
                         accumulate, 0, s->n_in, gw);
            if (l->spec.kind == CMLP_PRELU)
                k->prelu_slope(rows, s->n_out, slot + s->d, s->ld_out, slot + s->x, s->ld_in, accumulate, gb);
            else if (cmlp_has_bias(l))
                k->column_sums(l->pad_out, rows, slot + s->d, s->ld_out, accumulate, gb);
        }
    }
}

static size_t groups_of(const cmlp_plan *plan, size_t rows)
{
    return cmlp_min(plan->groups, (rows + ROW_BLOCK - 1) / ROW_BLOCK);
}

static void rows_stage(const stage *st)
{
    const cmlp_plan *plan = st->f->plan;
    size_t first, end;
    if (plan->groups) {
        size_t groups = groups_of(plan, st->rows);
        cmlp_share_of(groups, st->thread, st->n_threads, &first, &end);
        for (size_t g = first; g < end; g++)
            run_group(st, g, groups);
        return;
    }
    size_t r0, r1;
    cmlp_share_of_rows(st->rows, st->thread, st->n_threads, &r0, &r1);
    if (r0 < r1)
        through(st, plan->arena, r0, r1, r0);
}

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

/* gw as in cmlp_unit_gradient: from column c0 and row g0 on, a matrix of g_rows rows; gb from column c0 on. */
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

static int whole_gradients(const cmlp_plan *plan)
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
static void clip_by_norm(stage *st, size_t first, size_t end)
{
    cmlp_plan *plan = st->f->plan;
    for (size_t i = first; i < end; i++)
        plan->norms[i] = unit_gradient_squares(plan, &plan->units[i]);
    cmlp_wait(&plan->barrier, st->n_threads);
    double sum = 0.0, limit = plan->opt->spec.clip_norm;
    for (size_t i = 0; i < plan->n_units; i++)
        sum += plan->norms[i];
    st->weight_args.gscale = st->bias_args.gscale = sum > limit * limit ? limit / sqrt(sum) : 1.0;
}

static void units_stage(stage *st, size_t first, size_t end)
{
    cmlp_plan *plan = st->f->plan;
    char *scratch = plan->scratch + (size_t)st->thread * plan->scratch_bytes;
    int whole = whole_gradients(plan);
    for (size_t i = first; i < end; i++) {
        const unit *u = &plan->units[i];
        const step *s = &plan->steps[u->step];
        size_t rows = u->i1 - u->i0;
        char *bias = scratch + rows * (u->c1 - u->c0) * plan->k->size;
        if (st->f->run->norms)
            plan->squares[i] = unit_weight_squares(plan, u);
        if (!plan->opt) {
            cmlp_unit_gradient(plan, u, plan->arena, st->rows, unit_weight_grad(plan, u), unit_bias_grad(plan, u),
                          0, s->n_in);
        } else if (plan->groups) {
            reduce_unit(st, u);
        } else if (whole) {
            cmlp_unit_gradient(plan, u, plan->arena, st->rows, unit_weight_grad(plan, u), unit_bias_grad(plan, u),
                          0, s->n_in);
        } else {
            cmlp_unit_gradient(plan, u, plan->arena, st->rows, scratch, bias, u->i0, rows);
            update_unit(st, u, scratch, bias, u->i0, rows);
        }
    }
    if (!whole || !plan->opt)
        return;
    if (plan->opt->spec.clip_norm > 0.0)
        clip_by_norm(st, first, end);
    for (size_t i = first; i < end; i++) {
        const unit *u = &plan->units[i];
        update_unit(st, u, unit_weight_grad(plan, u), unit_bias_grad(plan, u), 0, plan->steps[u->step].n_in);
    }
}

/* ---- the last good parameters ---- */

/* Copies the units' parameters to plan->good, or back. */
static void keep_units(cmlp_plan *plan, size_t first, size_t end, int back)
{
    size_t size = plan->k->size;
    for (size_t i = first; i < end; i++) {
        const unit *u = &plan->units[i];
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

static void put_back_good(cmlp_plan *plan)
{
    keep_units(plan, 0, plan->n_units, 1);
    for (size_t i = 0; i < plan->n_layers; i++)
        cmlp_layer_refresh(plan->layers[i]);
}

static int finite_parameters(const cmlp_plan *plan)
{
    for (size_t i = 0; i < plan->n_layers; i++) {
        const cmlp_layer *l = plan->layers[i];
        if (l->w && !plan->k->all_finite(cmlp_weight_size(l), l->w))
            return 0;
        if (l->b && !plan->k->all_finite(l->pad_out, l->b))
            return 0;
    }
    return 1;
}

/* ---- the loop ---- */

static double value_at(const double *values, size_t n, uint64_t step)
{
    return n > 1 ? values[step] : values[0];
}

/* What the step needs to know; the same in every thread. */
static void prepare(stage *st, uint64_t done, const cmlp_cursor *at)
{
    const fit *f = st->f;
    const cmlp_plan *plan = f->plan;
    const cmlp_run *run = f->run;
    st->order = run->order     ? run->order + (at->epoch - f->start.epoch) * f->data->n
                : run->shuffle ? plan->order
                               : NULL;
    st->first = (size_t)at->step * plan->spec.batch;
    st->rows = cmlp_min(plan->spec.batch, f->data->n - st->first);
    st->mass = (double)st->rows;
    if (f->data->weight) {
        st->mass = 0.0;
        for (size_t r = 0; r < st->rows; r++)
            st->mass += weight_at(f, sample_at(st, r));
    }
    st->scale = st->mass > 0.0 ? 1.0 / st->mass : 0.0;
    if (!plan->opt) {
        st->pass = (pass){.training = 1, .for_loss = 1, .seed = plan->spec.seed, .t = plan->forwards};
        return;
    }
    uint64_t t = plan->opt->steps + done + 1;
    st->pass = (pass){.training = 1, .for_loss = 1, .seed = plan->spec.seed, .t = t};
    double lr = value_at(run->lr, run->n_lr, done);
    double momentum =
        run->momentum ? value_at(run->momentum, run->n_momentum, done) : plan->opt->spec.momentum;
    st->weight_args = cmlp_weight_args(&plan->opt->spec, t, lr, momentum, st->mass);
    st->bias_args = cmlp_bias_args(st->weight_args);
}

/* The minibatch's loss, from the blocks' in their order; every thread sums it for itself. */
static double batch_loss(const stage *st)
{
    double sum = 0.0;
    for (size_t b = 0; b < (st->rows + ROW_BLOCK - 1) / ROW_BLOCK; b++)
        sum += st->f->plan->partial[b];
    return sum;
}

/* Counts a step in; true at the end of an epoch. */
static int advance(const fit *f, const stage *st, double loss, cmlp_cursor *at)
{
    at->loss_sum += loss;
    at->weight_sum += st->mass;
    if (++at->step < f->steps_per_epoch)
        return 0;
    at->step = 0;
    at->epoch++;
    return 1;
}

static void finish_epoch(fit *f, cmlp_cursor *at, int thread)
{
    if (thread == 0) {
        if (f->run->norms)
            f->run->norms[f->run->n_losses] = f->norm_sum / (double)f->steps_per_epoch;
        f->norm_sum = 0.0;
        f->run->losses[f->run->n_losses++] = at->weight_sum > 0.0 ? at->loss_sum / at->weight_sum : 0.0;
    }
    at->loss_sum = at->weight_sum = 0.0;
}

/* Every thread runs this loop and keeps its own count of where training stands: all come to the same. */
static void fit_share(void *ctx, int thread, int n_threads)
{
    fit *f = ctx;
    cmlp_plan *plan = f->plan;
    const cmlp_run *run = f->run;
    stage st = {.f = f, .thread = thread, .n_threads = n_threads};
    cmlp_cursor at = f->start;
    cmlp_status status = CMLP_OK;
    int epoch_begins = 1, kept = 0;
    uint64_t done = 0;
    size_t u0, u1;
    cmlp_share_of_units(plan, thread, n_threads, &u0, &u1);
    while (!status && at.epoch < f->end_epoch) {
        if (run->shuffle && !run->order && (at.step == 0 || done == 0)) {
            if (thread == 0)
                cmlp_permutation(f->data->n, plan->spec.seed, at.epoch, plan->order);
            cmlp_wait(&plan->barrier, n_threads);
        }
        prepare(&st, done, &at);
        rows_stage(&st);
        if (thread == 0 && done % plan->poll_every == 0)
            poll(f);
        cmlp_wait(&plan->barrier, n_threads);
        double loss = batch_loss(&st);
        /* A step that was stopped, or whose loss is not a number, changes nothing. */
        if (atomic_load_explicit(&f->stop, memory_order_relaxed))
            status = CMLP_STOPPED;
        else if (!isfinite(loss))
            status = CMLP_DIVERGED;
        if (thread == 0)
            f->loss = loss * st.scale;
        if (status)
            break;
        if (f->keep_good && epoch_begins) {
            /* The loss has just shown that the parameters the last epoch ended with are good. */
            keep_units(plan, u0, u1, 0);
            kept = 1;
        }
        units_stage(&st, u0, u1);
        cmlp_wait(&plan->barrier, n_threads);
        for (size_t i = 0; thread == 0 && run->norms && i < plan->n_units; i++)
            f->norm_sum += plan->squares[i];
        done++;
        epoch_begins = advance(f, &st, loss, &at);
        if (epoch_begins)
            finish_epoch(f, &at, thread);
        if (run->max_steps && done >= run->max_steps && at.epoch < f->end_epoch)
            status = CMLP_PAUSED;
    }
    if (thread == 0)
        f->end = at, f->done = done, f->status = status, f->kept = kept;
}

static cmlp_status prepare_fit(cmlp_plan *plan, const fit *f)
{
    if (whole_gradients(plan) && cmlp_plan_need_grads(plan))
        return CMLP_E_MEMORY;
    if (f->keep_good && !plan->good) {
        plan->good = cmlp_alloc(plan->grad_bytes);
        if (!plan->good)
            return CMLP_E_MEMORY;
        plan->good_bytes = plan->grad_bytes;
    }
    if (f->run->shuffle && !f->run->order && plan->order_size < f->data->n) {
        free(plan->order);
        plan->order_size = 0;
        plan->order = malloc(f->data->n * sizeof *plan->order);
        if (!plan->order)
            return CMLP_E_MEMORY;
        plan->order_size = f->data->n;
    }
    return CMLP_OK;
}

static cmlp_status run_fit(fit *f)
{
    cmlp_plan *plan = f->plan;
    const cmlp_data *data = f->data;
    if (!data->n || (data->labels != NULL) == (data->t != NULL))
        return CMLP_E_ARGUMENT;
    f->steps_per_epoch = (data->n + plan->spec.batch - 1) / plan->spec.batch;
    if (f->start.step >= f->steps_per_epoch)
        return CMLP_E_ARGUMENT;
    if (!cmlp_layers_claim(plan->layers, plan->n_layers))
        return CMLP_E_BUSY;
    cmlp_status status = prepare_fit(plan, f);
    if (!status) {
        f->next_poll = f->run->poll ? cmlp_now() + POLL_SECONDS : 0.0;
        cmlp_parallel(plan->threads, fit_share, f);
        if (plan->opt)
            plan->opt->steps += f->done;
        status = f->status;
        /* The last update of all is the one that no loss has judged. */
        if (f->keep_good && status == CMLP_OK && !finite_parameters(plan))
            status = CMLP_DIVERGED;
        if (status == CMLP_DIVERGED && f->kept)
            put_back_good(plan);
    }
    cmlp_layers_release(plan->layers, plan->n_layers);
    return status;
}

cmlp_status cmlp_fit(cmlp_plan *plan, const cmlp_data *data, cmlp_run *run)
{
    if (!plan->opt || !run->epochs || !run->n_lr)
        return CMLP_E_ARGUMENT;
    run->n_losses = 0;
    fit f = {.plan = plan, .data = data, .run = run, .start = plan->cursor, .keep_good = 1};
    f.end = f.start;
    f.end_epoch = f.start.epoch + run->epochs;
    cmlp_status status = run_fit(&f);
    if (status >= 0)
        plan->cursor = f.end;
    return status;
}

static cmlp_status one_step(cmlp_plan *plan, const cmlp_data *data, double lr, double momentum, double *loss)
{
    double losses[1];
    cmlp_run run = {
        .epochs = 1, .lr = &lr, .n_lr = 1, .momentum = &momentum, .n_momentum = 1, .losses = losses};
    fit f = {.plan = plan, .data = data, .run = &run, .end_epoch = 1};
    cmlp_status status = run_fit(&f);
    *loss = f.loss;
    return status;
}

cmlp_status cmlp_step(cmlp_plan *plan, const cmlp_data *data, double lr, double momentum, double *loss)
{
    if (!plan->opt || data->n > plan->spec.batch)
        return CMLP_E_ARGUMENT;
    return one_step(plan, data, lr, momentum, loss);
}

cmlp_status cmlp_gradient(cmlp_plan *plan, const cmlp_data *data, double *loss)
{
    if (plan->opt || plan->spec.loss < 0 || data->n > plan->spec.batch)
        return CMLP_E_ARGUMENT;
    plan->forward_rows = data->n;
    plan->forwards++;
    return one_step(plan, data, 0.0, 0.0, loss);
}
