/* Passes over rows and over units: what one thread does between two barriers; prediction; and the passes
 * that a caller runs one by one. */
#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void cmlp_share_of(size_t n, int thread, int n_threads, size_t *first, size_t *end)
{
    if (n_threads == 1) {
        *first = 0, *end = n;
        return;
    }
    *first = n * (size_t)thread / (size_t)n_threads;
    *end = n * (size_t)(thread + 1) / (size_t)n_threads;
}

void cmlp_share_of_rows(size_t rows, int thread, int n_threads, size_t *r0, size_t *r1)
{
    cmlp_share_of((rows + ROW_BLOCK - 1) / ROW_BLOCK, thread, n_threads, r0, r1);
    *r0 = *r0 * ROW_BLOCK;
    *r1 = cmlp_min(*r1 * ROW_BLOCK, rows);
}

void cmlp_share_of_columns(size_t padded, size_t panel, int thread, int n_threads, size_t *c0, size_t *c1)
{
    cmlp_share_of((padded + panel - 1) / panel, thread, n_threads, c0, c1);
    *c0 = *c0 * panel;
    *c1 = cmlp_min(*c1 * panel, padded);
}

/* A thread's part of a slot's rows by columns. */
static region share(const team *t, int by_columns, size_t padded, size_t panel)
{
    region r = {.rows = t->rows, .c1 = padded};
    if (t->n_threads == 1)
        return r;
    if (by_columns) {
        cmlp_share_of_columns(padded, panel, t->thread, t->n_threads, &r.c0, &r.c1);
    } else {
        size_t r1;
        cmlp_share_of_rows(t->rows, t->thread, t->n_threads, &r.row, &r1);
        r.rows = r.row < r1 ? r1 - r.row : 0;
    }
    return r;
}

static int nothing_to_do(const team *t, const region *r)
{
    if (t->look)
        t->look(t->ctx);
    return !r->rows || r->c0 >= r->c1 || (t->stop && atomic_load_explicit(t->stop, memory_order_relaxed));
}

static const char *input_of(const cmlp_plan *plan, const pass *p, char *slot, const step *s, size_t row,
                            size_t *ld)
{
    *ld = s == plan->steps ? p->ldx : s->ld_in;
    return s == plan->steps ? p->x + row * p->ldx * plan->k->size
                            : (const char *)plan_at(plan, slot, s->x, row, s->ld_in);
}

static void *buffer(const cmlp_plan *plan, char *slot, size_t offset, size_t row, size_t ld)
{
    return offset == NO_BUFFER ? NULL : plan_at(plan, slot, offset, row, ld);
}

void cmlp_run_forward(cmlp_plan *plan, const pass *p, char *slot, const team *t)
{
    int by_columns = plan->steps[0].by_columns;
    for (size_t i = 0; i < plan->n_steps; i++) {
        const step *s = &plan->steps[i];
        if (i && (by_columns || s->by_columns))
            cmlp_wait(&plan->barrier, t->n_threads);
        by_columns = s->by_columns;
        size_t ldx;
        region r = share(t, by_columns, s->layer->pad_out, s->layer->nr);
        if (nothing_to_do(t, &r))
            continue;
        const char *x = input_of(plan, p, slot, s, r.row, &ldx);
        void *y = plan_at(plan, slot, s->y, r.row, s->ld_out),
             *u = buffer(plan, slot, s->u, r.row, s->ld_out);
        s->kind->forward(s, p, &r, x, ldx, u ? u : y, y, s->ld_out,
                         buffer(plan, slot, s->mask, r.row, s->ld_out));
    }
    if (by_columns)
        cmlp_wait(&plan->barrier, t->n_threads);
}

static void derive(const cmlp_plan *plan, const pass *p, char *slot, const step *s, const region *r)
{
    if (s->kind->derive)
        s->kind->derive(s, p, r, buffer(plan, slot, s->u, r->row, s->ld_out),
                        plan_at(plan, slot, s->y, r->row, s->ld_out),
                        plan_at(plan, slot, s->d, r->row, s->ld_out));
}

void cmlp_run_backward(cmlp_plan *plan, const pass *p, char *slot, const team *t, int need_dx)
{
    size_t ldx;
    int by_columns = 0;
    region r = share(t, 0, plan->steps[plan->n_steps - 1].layer->pad_out, 1);
    if (!nothing_to_do(t, &r))
        derive(plan, p, slot, &plan->steps[plan->n_steps - 1], &r);
    for (size_t i = plan->n_steps; i-- > !need_dx;) {
        const step *s = &plan->steps[i];
        if (by_columns || s->back_by_columns)
            cmlp_wait(&plan->barrier, t->n_threads);
        by_columns = s->back_by_columns;
        r = share(t, by_columns, s->layer->pad_in, s->layer->nr_t);
        if (nothing_to_do(t, &r))
            continue;
        s->kind->back(
            s, p, &r, input_of(plan, p, slot, s, r.row, &ldx), plan_at(plan, slot, s->y, r.row, s->ld_out),
            buffer(plan, slot, s->mask, r.row, s->ld_out), plan_at(plan, slot, s->d, r.row, s->ld_out),
            plan_at(plan, slot, i ? s[-1].d : plan->dx, r.row, s->ld_in));
        /* What has just been written is still near. */
        if (i)
            derive(plan, p, slot, s - 1, &r);
    }
}

/* Parameters of so many bytes stay, with their slots, in the second cache by themselves. */
#define NEAR_BYTES (512 << 10)

/* The weights and slots of a unit, which its update reads; NULL where there is nothing to fetch. */
static const cmlp_soon *update_needs(const cmlp_plan *plan, const unit *u, cmlp_soon *soon)
{
    const step *s = &plan->steps[u->step];
    if (!plan->opt || plan->grad_bytes <= NEAR_BYTES)
        return NULL;
    void *const *slots = plan->opt->slots[s->index].w;
    for (int i = 0; i < 3; i++) {
        const char *part = i && slots[i - 1] ? slots[i - 1] : s->layer->w;
        soon->part[i] = part + u->c0 * s->n_in * plan->k->size;
    }
    soon->rows = s->n_in;
    return soon;
}

/* n rows of a thin step's x^T d by way of d^T x.  gw: from their first row on; turned: (n_out, n padded). */
static void thin_gradient(const step *s, size_t n, size_t rows, const void *x, size_t ldx, const void *d,
                          void *turned, void *gw)
{
    const cmlp_kernels *k = s->k;
    size_t padded = cmlp_round_up(n, k->vw), panel = cmlp_panel_width(k, n);
    k->outer(0, s->n_out, padded, rows, d, s->ld_out, x, ldx, panel, 0, 0, s->n_out, turned, NULL);
    k->transpose(s->n_out, n, panel, s->layer->nr, 0, padded, 0, s->n_out, turned, gw);
}

/* The unit's gradient over the first rows of a slot.  gw: a packed matrix of g_rows rows from row g0 on that
 * starts at the unit's column c0; gb: the unit's columns; turned: scratch for a thin step. */
void cmlp_unit_gradient(const cmlp_plan *plan, const pass *p, const unit *u, char *slot, size_t rows,
                        void *gw, void *gb, size_t g0, size_t g_rows, void *turned)
{
    const step *s = &plan->steps[u->step];
    const cmlp_kernels *k = plan->k;
    size_t columns = u->c1 - u->c0, ldx;
    const char *x = input_of(plan, p, slot, s, 0, &ldx), *d = slot + s->d + u->c0 * k->size;
    cmlp_soon soon;
    if (s->thin)
        thin_gradient(s, u->i1 - u->i0, rows, x + u->i0 * k->size, ldx, d, turned,
                      (char *)gw + (u->i0 - g0) * columns * k->size);
    else if (cmlp_has_weight(s->layer))
        k->outer(u->i0, u->i1, columns, rows, x, ldx, d, s->ld_out, s->layer->nr, 0, g0, g_rows, gw,
                 update_needs(plan, u, &soon));
    if (u->i0 == 0 && s->layer->spec.kind == CMLP_PRELU)
        k->prelu_slope(rows, columns, d, s->ld_out, x + u->c0 * k->size, ldx, 0, gb);
    else if (u->i0 == 0 && cmlp_has_bias(s->layer))
        k->column_sums(columns, rows, d, s->ld_out, 0, gb);
}

/* ---- prediction ---- */

typedef struct {
    const cmlp_plan *plan;
    size_t n, rows;
    const char *x;
    char *y, *scratch;
    size_t half; /* bytes of one of two buffers */
    int logits;
    int shared; /* threads share each chunk of rows, and the columns of wide layers; else they share chunks */
    cmlp_barrier barrier;
} prediction;

static int has_columns_for(const step *s, int n_threads)
{
    const cmlp_layer *l = s->layer;
    return l->spec.kind == CMLP_DENSE && cmlp_separable(s) && l->pad_out >= l->nr * (size_t)n_threads;
}

/* A thread's part of the rows from r0 on through all layers, between two buffers. */
static void predict_rows(prediction *c, size_t r0, char *scratch, const team *t)
{
    const cmlp_plan *plan = c->plan;
    size_t size = plan->k->size, ld = plan->n_in;
    pass p = {.for_loss = c->logits, .row = r0};
    region own = share(t, 0, 1, 1);
    char *out = c->y + r0 * plan->n_out * size, *buffer[2] = {scratch, scratch + c->half};
    const char *x = c->x + r0 * plan->n_in * size;
    int next = 0;
    if (plan->steps[0].layer->spec.kind != CMLP_DENSE) {
        /* Only products read rows that are not padded. */
        ld = plan->ld_in;
        for (size_t r = own.row; r < own.row + own.rows; r++)
            memcpy(buffer[0] + r * ld * size, x + r * plan->n_in * size, plan->n_in * size);
        x = buffer[0];
        next = 1;
    }
    for (size_t i = 0; i < plan->n_steps; i++) {
        const step *s = &plan->steps[i];
        int straight = i + 1 == plan->n_steps && s->n_out % plan->k->vw == 0;
        char *y = straight ? out : buffer[next];
        size_t ldy = straight ? s->n_out : s->ld_out;
        if (s->layer->spec.kind != CMLP_DENSE && straight)
            ldy = ld, y = (char *)(uintptr_t)x;
        region r = share(t, has_columns_for(s, t->n_threads), s->layer->pad_out, s->layer->nr);
        if (!nothing_to_do(t, &r))
            s->kind->forward(s, &p, &r, x + r.row * ld * size, ld, y + r.row * ldy * size,
                             y + r.row * ldy * size, ldy, NULL);
        cmlp_wait(&c->barrier, t->n_threads);
        x = y, ld = ldy;
        next ^= 1;
    }
    for (size_t r = own.row; x != out && r < own.row + own.rows; r++)
        memcpy(out + r * plan->n_out * size, x + r * ld * size, plan->n_out * size);
    /* The next chunk writes where others may still be copying. */
    cmlp_wait(&c->barrier, t->n_threads);
}

static void predict_share(void *ctx, int thread, int n_threads)
{
    prediction *c = ctx;
    size_t chunks = (c->n + c->rows - 1) / c->rows, first = 0, end = chunks;
    team t = {.n_threads = 1};
    char *scratch = c->scratch;
    if (c->shared) {
        t.thread = thread, t.n_threads = n_threads;
    } else {
        cmlp_share_of(chunks, thread, n_threads, &first, &end);
        scratch += 2 * c->half * (size_t)thread;
    }
    for (size_t i = first; i < end; i++) {
        t.rows = cmlp_min(c->rows, c->n - i * c->rows);
        predict_rows(c, i * c->rows, scratch, &t);
    }
}

#define STACK_BYTES 16384
/* Rows that go through a layer at once, so that its weights are read once for all of them: as many as keep
 * two buffers in L2, but more where the weights are far away anyway. */
#define PREDICT_BYTES (256 << 10)
#define PREDICT_ROWS 48
#define FAR_BYTES (8 << 20)
#define FAR_ROWS 480

cmlp_status cmlp_predict(const cmlp_plan *plan, size_t n, const void *x, int logits, void *y)
{
    if (!n)
        return CMLP_OK;
    size_t size = plan->k->size, row_bytes = plan->ld_widest * size, blocks = (n + ROW_BLOCK - 1) / ROW_BLOCK;
    size_t rows = cmlp_max(PREDICT_BYTES / row_bytes / PREDICT_ROWS, 1) * PREDICT_ROWS;
    if (plan->parameters * size > FAR_BYTES)
        rows = cmlp_max(rows, FAR_ROWS);
    int threads = cmlp_plan_threads_for(plan, 2.0 * (double)plan->parameters * (double)n,
                                        cmlp_max(blocks, plan->most_columns));
    /* As in training: whichever of weights and rows is more stays with its thread. */
    int shared = threads > 1 && plan->most_columns >= (size_t)threads &&
                 plan->parameters > cmlp_min(n, rows) * plan->row_numbers;
    if (!shared)
        threads = (int)cmlp_min((size_t)threads, blocks);
    size_t each =
        shared ? n : cmlp_round_up((n + (size_t)threads - 1) / (size_t)threads, threads > 1 ? ROW_BLOCK : 1);
    rows = cmlp_min(rows, each);
    prediction c = {.plan = plan, .n = n, .rows = rows, .x = x, .y = y, .logits = logits, .shared = shared};
    c.half = cmlp_round_up(rows * row_bytes, CMLP_LINE);
    _Alignas(CMLP_LINE) char stack[STACK_BYTES];
    size_t bytes = 2 * c.half * (size_t)(shared ? 1 : threads);
    c.scratch = bytes <= STACK_BYTES ? stack : cmlp_alloc(bytes);
    if (!c.scratch)
        return CMLP_E_MEMORY;
    cmlp_parallel(threads, predict_share, &c);
    if (c.scratch != stack)
        cmlp_free(c.scratch);
    return CMLP_OK;
}

/* ---- forward and backward for the caller's own loss ---- */

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

static void forward_share(void *ctx, int thread, int n_threads)
{
    exchange *c = ctx;
    cmlp_plan *plan = c->plan;
    team t = {.rows = plan->forward_rows, .thread = thread, .n_threads = n_threads};
    size_t size = plan->k->size, r0, r1;
    cmlp_share_of_rows(t.rows, thread, n_threads, &r0, &r1);
    size_t rows = r0 < r1 ? r1 - r0 : 0;
    copy_rows(rows, plan->n_in * size, plan_at(plan, plan->arena, plan->steps[0].x, r0, plan->ld_in),
              plan->ld_in * size, c->from + r0 * plan->n_in * size, plan->n_in * size);
    if (plan->steps[0].by_columns)
        cmlp_wait(&plan->barrier, n_threads);
    cmlp_run_forward(plan, &plan->forward_pass, plan->arena, &t);
    const step *last = &plan->steps[plan->n_steps - 1];
    copy_rows(rows, plan->n_out * size, c->to + r0 * plan->n_out * size, plan->n_out * size,
              plan_at(plan, plan->arena, last->y, r0, plan->ld_out), plan->ld_out * size);
}

static size_t pieces_of(const cmlp_plan *plan, size_t n)
{
    return cmlp_max((n + ROW_BLOCK - 1) / ROW_BLOCK, plan->most_columns);
}

cmlp_status cmlp_forward(cmlp_plan *plan, size_t n, const void *x, int training, void *y)
{
    if (plan->opt || !n || n > plan->spec.batch)
        return CMLP_E_ARGUMENT;
    plan->forward_rows = n;
    plan->forward_pass = (pass){.training = training,
                                .seed = plan->spec.seed,
                                .t = plan->forwards,
                                .x = plan->arena + plan->steps[0].x,
                                .ldx = plan->ld_in};
    plan->forwards += training != 0;
    exchange c = {plan, x, y};
    int threads = cmlp_plan_threads_for(plan, 2.0 * (double)plan->parameters * (double)n, pieces_of(plan, n));
    cmlp_parallel(threads, forward_share, &c);
    return CMLP_OK;
}

static void backward_share(void *ctx, int thread, int n_threads)
{
    exchange *c = ctx;
    cmlp_plan *plan = c->plan;
    const pass *p = &plan->forward_pass;
    team t = {.rows = plan->forward_rows, .thread = thread, .n_threads = n_threads};
    size_t size = plan->k->size, r0, r1;
    cmlp_share_of_rows(t.rows, thread, n_threads, &r0, &r1);
    size_t rows = r0 < r1 ? r1 - r0 : 0;
    const step *last = &plan->steps[plan->n_steps - 1];
    copy_rows(rows, plan->n_out * size, plan_at(plan, plan->arena, last->d, r0, plan->ld_out),
              plan->ld_out * size, c->from + r0 * plan->n_out * size, plan->n_out * size);
    cmlp_run_backward(plan, p, plan->arena, &t, c->to != NULL);
    if (c->to)
        copy_rows(rows, plan->n_in * size, c->to + r0 * plan->n_in * size, plan->n_in * size,
                  plan_at(plan, plan->arena, plan->dx, r0, plan->ld_in), plan->ld_in * size);
    cmlp_wait(&plan->barrier, n_threads);
    for (size_t i = 0; i < plan->n_units; i++) {
        const unit *u = &plan->units[i];
        if (!owns(u, thread, n_threads))
            continue;
        const step *s = &plan->steps[u->step];
        char *gw = s->layer->gw, *gb = s->layer->gb;
        cmlp_unit_gradient(plan, p, u, plan->arena, t.rows, gw ? gw + u->c0 * s->n_in * size : NULL,
                           gb ? gb + u->c0 * size : NULL, 0, s->n_in, scratch_of(plan, thread));
    }
}

cmlp_status cmlp_backward(cmlp_plan *plan, const void *dy, void *dx)
{
    if (plan->opt || !plan->forward_rows)
        return CMLP_E_ARGUMENT;
    exchange c = {plan, dy, dx};
    int threads = cmlp_plan_threads_for(plan, 4.0 * (double)plan->parameters * (double)plan->forward_rows,
                                        pieces_of(plan, plan->forward_rows));
    cmlp_parallel(threads, backward_share, &c);
    return CMLP_OK;
}

cmlp_status cmlp_deltas(const cmlp_plan *plan, double *norms)
{
    if (plan->opt || !plan->forward_rows)
        return CMLP_E_ARGUMENT;
    for (size_t i = 0; i < plan->n_steps; i++) {
        const step *s = &plan->steps[i];
        double norm = sqrt(plan->k->sum_squares(plan->forward_rows * s->ld_out, plan->arena + s->d));
        for (size_t l = s->index; l <= s->last_layer; l++)
            norms[l] = norm;
    }
    return CMLP_OK;
}
