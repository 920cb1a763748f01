/* Prediction: chunk by chunk of rows through all ops, between two buffers. */
#include "passes.h"

#include <string.h>

typedef struct {
    const cmlp_plan *plan;
    size_t n, rows; /* in all, in a chunk */
    const char *x;
    char *y, *scratch;
    size_t half; /* bytes of one of two buffers */
    char *op_scratch;
    size_t op_bytes; /* a thread's part of it */
    int logits;
    int shared; /* threads share each chunk of rows, and the columns of wide ops; else they share chunks */
    cmlp_barrier barrier;
} prediction;

static int has_columns_for(const op *o, int n_threads)
{
    return op_shares_columns(o) && o->pad_out >= o->parts[0].panels.width * (size_t)n_threads;
}

/* A chunk on its way: where its rows are, and which buffer is free. */
typedef struct {
    const char *x;
    size_t ld;
    char *buffer[2];
    int next;
} way;

/* Rows of the caller's that must be padded first. */
static void pad_inputs(const layout *l, const region *own, way *w)
{
    size_t size = l->k->size;
    for (size_t r = own->row; r < own->row + own->rows; r++)
        memcpy(w->buffer[0] + r * l->ld_in * size, w->x + r * l->n_in * size, l->n_in * size);
    w->x = w->buffer[0], w->ld = l->ld_in, w->next = 1;
}

/* One op over a thread's part; y goes straight to `out` where whole vectors fit there. */
static void run_op(const prediction *c, const op *o, const pass *p, const team *t, char *out, way *w)
{
    size_t size = o->k->size;
    int straight = out && o->n_out % o->k->vw == 0;
    char *y = straight ? out : w->buffer[w->next];
    size_t ldy = straight ? o->n_out : o->ld_out;
    if (o->kind->in_place && straight)
        y = (char *)(uintptr_t)w->x, ldy = w->ld;
    int by_columns = has_columns_for(o, t->n_threads);
    region r = cmlp_region_of(t, by_columns, o->pad_out, by_columns ? o->parts[0].panels.width : 1);
    if (!cmlp_may_skip(t, &r)) {
        char *to = y + r.row * ldy * size;
        op_rows a = {.parts = memory_of(c->plan, o),
                     .x = w->x + r.row * w->ld * size,
                     .ldx = w->ld,
                     .u = to,
                     .y = to,
                     .ldy = ldy,
                     .scratch = t->scratch};
        o->kind->forward(o, p, &r, &a);
    }
    w->x = y, w->ld = ldy, w->next ^= 1;
}

/* A thread's part of the rows from r0 on through all ops. */
static void predict_rows(prediction *c, size_t r0, char *scratch, const team *t)
{
    const layout *l = c->plan->layout;
    size_t size = l->k->size;
    const pass p = {.for_loss = c->logits, .row = r0};
    const region own = cmlp_region_of(t, 0, 1, 1);
    char *out = c->y + r0 * l->n_out * size;
    way w = {c->x + r0 * l->n_in * size, l->n_in, {scratch, scratch + c->half}, 0};
    if (!l->ops[0].kind->reads_unpadded)
        pad_inputs(l, &own, &w);
    for (size_t i = 0; i < l->n_ops; i++) {
        run_op(c, &l->ops[i], &p, t, i + 1 == l->n_ops ? out : NULL, &w);
        cmlp_wait(&c->barrier, t->n_threads);
    }
    for (size_t r = own.row; w.x != out && r < own.row + own.rows; r++)
        memcpy(out + r * l->n_out * size, w.x + r * w.ld * size, l->n_out * size);
    /* The next chunk writes where others may still be copying. */
    cmlp_wait(&c->barrier, t->n_threads);
}

static void predict_share(void *ctx, int thread, int n_threads)
{
    prediction *c = ctx;
    size_t chunks = (c->n + c->rows - 1) / c->rows, first = 0, end = chunks;
    team t = {
        .n_threads = 1, .row_block = ROW_BLOCK, .scratch = c->op_scratch + (size_t)thread * c->op_bytes};
    char *scratch = c->scratch;
    if (c->shared) {
        t.thread = thread, t.n_threads = n_threads;
    } else {
        share_of(chunks, thread, n_threads, &first, &end);
        scratch += 2 * c->half * (size_t)thread;
    }
    for (size_t i = first; i < end; i++) {
        t.rows = cmlp_min(c->rows, c->n - i * c->rows);
        predict_rows(c, i * c->rows, scratch, &t);
    }
}

/* Settles the rows of a chunk and how threads share the work; their number. */
static int share_out(prediction *c)
{
    const layout *l = c->plan->layout;
    size_t row_bytes = l->ld_widest * l->k->size, blocks = blocks_of(c->n, ROW_BLOCK);
    c->rows = cmlp_max(PREDICT_BYTES / row_bytes / PREDICT_ROWS, 1) * PREDICT_ROWS;
    if (l->weights * l->k->size > FAR_BYTES)
        c->rows = cmlp_max(c->rows, FAR_ROWS);
    int threads = cmlp_threads_of(l, 2.0 * l->madds * (double)c->n, cmlp_max(blocks, l->most_columns));
    /* As in training: whichever of weights and rows is more stays with its thread. */
    c->shared = threads > 1 && l->most_columns >= (size_t)threads &&
                l->weights > cmlp_min(c->n, c->rows) * l->row_numbers;
    if (!c->shared)
        threads = (int)cmlp_min((size_t)threads, blocks);
    size_t n = (size_t)threads, each = c->n;
    if (!c->shared && n > 1)
        each = cmlp_round_up((c->n + n - 1) / n, ROW_BLOCK);
    c->rows = cmlp_min(c->rows, each);
    /* Planes are read by whole vectors. */
    c->half = cmlp_round_up(c->rows * row_bytes, CMLP_LINE) + CMLP_LINE;
    c->op_bytes = l->op_scratch ? cmlp_round_up(l->op_scratch * l->k->size, CMLP_LINE) + CMLP_LINE : 0;
    return threads;
}

cmlp_status cmlp_predict(const cmlp_plan *plan, size_t n, const void *x, int logits, void *y)
{
    NEED(plan);
    if (!n)
        return CMLP_OK;
    NEED(x);
    NEED(y);
    if (n > SIZE_MAX / 4096 / plan->layout->ld_widest)
        return cmlp_fail(CMLP_E_ARGUMENT, "n is %zu; expected no more rows than memory has", n);
    prediction c = {.plan = plan, .n = n, .x = x, .y = y, .logits = logits};
    int threads = share_out(&c);
    _Alignas(CMLP_LINE) char stack[PREDICT_STACK_BYTES];
    size_t buffers = 2 * c.half * (size_t)(c.shared ? 1 : threads);
    size_t bytes = buffers + c.op_bytes * (size_t)threads;
    c.scratch = bytes <= sizeof stack ? stack : cmlp_borrow(bytes);
    if (!c.scratch)
        return cmlp_no_memory();
    c.op_scratch = c.scratch + buffers;
    cmlp_parallel(threads, predict_share, &c);
    if (c.scratch != stack)
        cmlp_give_back(c.scratch);
    return CMLP_OK;
}
