/* The kernels on plain arrays.  Matrices are packed a panel at a time; the products are those of the plans.
 */
#include "layer.h"
#include "shares.h"

#include <string.h>

/* One call's arrays; which are used depends on the operation. */
typedef struct {
    const cmlp_shape *shape;
    const cmlp_kernels *k;
    const char *a, *b;
    char *out, *scratch;
    size_t scratch_bytes;
    int id;
    double param;
    const cmlp_update_args *args;
    char *s1, *s2;
    size_t n, width;
    int flag;
} job;

/* ---- arguments ---- */

static cmlp_status check_shape(const cmlp_shape *shape)
{
    NEED(shape);
    return cmlp_check_dtype(shape->dtype);
}

/* Of step number t of an optimizer. */
static cmlp_status check_update(const cmlp_optimizer_spec *spec, double lr, uint64_t t)
{
    NEED(spec);
    if (!t)
        return cmlp_fail(CMLP_E_ARGUMENT, "t is 0; expected 1 or more");
    cmlp_status status = cmlp_check_rate("lr", lr);
    return status ? status : cmlp_check_optimizer_spec(spec);
}

static cmlp_status check_slot(const cmlp_optimizer_spec *spec, const char *name, int number, const void *slot)
{
    if (number > cmlp_optimizer_slots(spec->kind) || slot)
        return CMLP_OK;
    return cmlp_fail(CMLP_E_ARGUMENT, "%s is NULL; expected slot %d of %s", name, number,
                     cmlp_optimizer_name(spec->kind));
}

/* ---- elementwise ---- */

static void elements_of(const job *c, int thread, int n_threads, size_t *first, size_t *count)
{
    size_t end, line = CMLP_LINE / c->k->size;
    share_of((c->n + line - 1) / line, thread, n_threads, first, &end);
    *first = cmlp_min(*first * line, c->n);
    *count = cmlp_min(end * line, c->n) - *first;
}

static void activate_share(void *ctx, int thread, int n_threads)
{
    const job *c = ctx;
    size_t first, count;
    elements_of(c, thread, n_threads, &first, &count);
    size_t at = first * c->k->size;
    if (c->b)
        c->k->derive(c->id, count, c->a + at, c->b + at, c->param, c->out + at);
    else
        c->k->activate(c->id, count, c->a + at, c->param, c->out + at);
}

/* Softmax of rows, or its backward pass where b is set; the rows padded on the way. */
static void softmax_share(void *ctx, int thread, int n_threads)
{
    const job *c = ctx;
    const cmlp_kernels *k = c->k;
    size_t first, end, n = c->width, ld = cmlp_round_up(n, k->vw), bytes = n * k->size;
    char *one = c->scratch + (size_t)thread * c->scratch_bytes, *two = one + ld * k->size;
    share_of(c->n, thread, n_threads, &first, &end);
    for (size_t r = first; r < end; r++) {
        memcpy(one, c->a + r * bytes, bytes);
        if (c->b) {
            memcpy(two, c->b + r * bytes, bytes);
            k->softmax_back(1, n, one, ld, two, ld, one, ld);
        } else {
            k->softmax(1, n, one, ld, c->flag, one, ld);
        }
        memcpy(c->out + r * bytes, one, bytes);
    }
}

static cmlp_status run_softmax(const cmlp_shape *shape, int as_log, const void *a, const void *b, void *out)
{
    job c = {.k = cmlp_kernels_for(shape->dtype),
             .a = a,
             .b = b,
             .out = out,
             .flag = as_log,
             .n = shape->batch,
             .width = shape->n_out};
    double elements = (double)shape->batch * (double)shape->n_out;
    int threads = cmlp_threads_worth(shape->n_threads, elements, ELEMENTS_PER_THREAD);
    c.scratch_bytes = cmlp_round_up(2 * cmlp_round_up(c.width, c.k->vw) * c.k->size, CMLP_LINE);
    c.scratch = cmlp_alloc(c.scratch_bytes * (size_t)threads);
    if (!c.scratch)
        return cmlp_no_memory();
    cmlp_parallel(threads, softmax_share, &c);
    cmlp_free(c.scratch);
    return CMLP_OK;
}

cmlp_status cmlp_softmax(const cmlp_shape *shape, int as_log, const void *x, void *y)
{
    NEED(x);
    NEED(y);
    cmlp_status status = check_shape(shape);
    return status ? status : run_softmax(shape, as_log, x, NULL, y);
}

static cmlp_status run_activation(const cmlp_shape *shape, int id, double param, const void *a, const void *b,
                                  void *out)
{
    cmlp_status status = check_shape(shape);
    if (!status)
        status = cmlp_check_activation("activation", id);
    if (status)
        return status;
    if (id == CMLP_SOFTMAX)
        return run_softmax(shape, 0, a, b, out);
    job c = {.k = cmlp_kernels_for(shape->dtype),
             .a = a,
             .b = b,
             .out = out,
             .id = id,
             .param = param,
             .n = shape->batch * shape->n_out};
    cmlp_parallel(cmlp_threads_worth(shape->n_threads, (double)c.n, ELEMENTS_PER_THREAD), activate_share, &c);
    return CMLP_OK;
}

cmlp_status cmlp_activation_forward(const cmlp_shape *shape, int activation, double param, const void *x,
                                    void *y)
{
    NEED(x);
    NEED(y);
    return run_activation(shape, activation, param, x, NULL, y);
}

cmlp_status cmlp_activation_backward(const cmlp_shape *shape, int activation, double param, const void *dy,
                                     const void *s, void *dx)
{
    NEED(dy);
    NEED(s);
    NEED(dx);
    return run_activation(shape, activation, param, dy, s, dx);
}

typedef struct {
    const cmlp_shape *shape;
    cmlp_loss_args args; /* of the whole batch, rows not padded */
    int loss;
    char *block;
    cmlp_sum sum;
} loss_job;

/* Block by block of rows, padded on the way. */
static void loss_share(void *ctx, int thread, int n_threads)
{
    (void)thread, (void)n_threads;
    loss_job *c = ctx;
    const cmlp_kernels *k = cmlp_kernels_for(c->shape->dtype);
    size_t n = c->shape->n_out, ld = cmlp_round_up(n, k->vw), bytes = n * k->size, padded = ld * k->size;
    char *z = c->block, *t = z + ROW_BLOCK * padded, *dz = t + ROW_BLOCK * padded;
    for (size_t r0 = 0; r0 < c->shape->batch; r0 += ROW_BLOCK) {
        size_t rows = cmlp_min(ROW_BLOCK, c->shape->batch - r0);
        cmlp_loss_args args = c->args;
        for (size_t r = 0; r < rows; r++) {
            memcpy(z + r * padded, (const char *)args.z + (r0 + r) * bytes, bytes);
            if (args.t)
                memcpy(t + r * padded, (const char *)args.t + (r0 + r) * bytes, bytes);
        }
        args.rows = rows, args.z = z, args.t = t;
        args.labels = args.labels ? args.labels + r0 : NULL;
        args.weight = args.weight ? (const char *)args.weight + r0 * k->size : NULL;
        args.dz = c->args.dz ? dz : NULL;
        cmlp_sum_add(&c->sum, k->loss(c->loss, &args));
        for (size_t r = 0; args.dz && r < rows; r++)
            memcpy((char *)c->args.dz + (r0 + r) * bytes, dz + r * padded, bytes);
    }
}

cmlp_status cmlp_loss_delta(const cmlp_shape *shape, int loss, double param, const void *z,
                            const int64_t *labels, const void *t, const void *weight, void *dz, double *value)
{
    NEED(z);
    NEED(value);
    cmlp_status status = check_shape(shape);
    if (!status && (loss < 0 || loss >= CMLP_N_LOSSES))
        status = cmlp_fail(CMLP_E_ARGUMENT, "loss is %d; expected 0 to %d", loss, CMLP_N_LOSSES - 1);
    if (!status && (labels != NULL) == (t != NULL))
        status = cmlp_fail(CMLP_E_ARGUMENT, "labels and t are %s; expected one of them",
                           t ? "both given" : "NULL");
    if (status)
        return status;
    const cmlp_kernels *k = cmlp_kernels_for(shape->dtype);
    size_t ld = cmlp_round_up(shape->n_out, k->vw);
    loss_job c = {.shape = shape,
                  .args = {.n = shape->n_out,
                           .z = z,
                           .ldz = ld,
                           .labels = labels,
                           .t = t,
                           .ldt = ld,
                           .weight = weight,
                           .scale = 1.0 / (double)shape->batch,
                           .dz = dz,
                           .lddz = ld,
                           .param = param},
                  .loss = loss,
                  .block = cmlp_alloc(3 * ROW_BLOCK * ld * k->size)};
    if (!c.block)
        return cmlp_no_memory();
    cmlp_parallel(1, loss_share, &c);
    cmlp_free(c.block);
    *value = cmlp_sum_value(&c.sum) / (double)shape->batch;
    return CMLP_OK;
}

static void update_share(void *ctx, int thread, int n_threads)
{
    const job *c = ctx;
    size_t first, count;
    elements_of(c, thread, n_threads, &first, &count);
    size_t at = first * c->k->size;
    c->k->update(count, c->out + at, c->a + at, c->s1 ? c->s1 + at : NULL, c->s2 ? c->s2 + at : NULL,
                 c->args);
}

static double clip_scale(const cmlp_optimizer_spec *spec, double norm2)
{
    double limit = spec->clip_norm;
    return norm2 > limit * limit ? limit / __builtin_sqrt(norm2) : 1.0;
}

cmlp_status cmlp_update(cmlp_dtype dtype, const cmlp_optimizer_spec *spec, size_t n, void *w, const void *dw,
                        void *s1, void *s2, double lr, uint64_t t, int n_threads)
{
    NEED(w);
    NEED(dw);
    cmlp_status status = cmlp_check_dtype(dtype);
    if (!status)
        status = check_update(spec, lr, t);
    if (!status)
        status = check_slot(spec, "s1", 1, s1);
    if (!status)
        status = check_slot(spec, "s2", 2, s2);
    if (status)
        return status;
    cmlp_update_args args[2];
    cmlp_step_args(spec, t, lr, spec->momentum, 1.0, args);
    job c = {.k = cmlp_kernels_for(dtype), .a = dw, .out = w, .s1 = s1, .s2 = s2, .n = n, .args = &args[1]};
    if (spec->clip_norm > 0.0)
        args[1].gscale = clip_scale(spec, c.k->sum_squares(n, dw));
    cmlp_parallel(cmlp_threads_worth(n_threads, (double)n, ELEMENTS_PER_THREAD), update_share, &c);
    return CMLP_OK;
}

/* ---- the products of a dense layer ---- */

typedef enum { FORWARD, BACKWARD_DX, BACKWARD_DW } product_kind;
typedef struct product product;
/* What becomes of n elements of the product, which stand at element `at` of out. */
typedef void finish_fn(product *p, const char *from, size_t at, size_t n);

/* x w^T, dy w or dy^T x of operands a and b: (rows, columns) sums of `inner` terms.  Panel by panel of b's
 * columns, strip by strip of rows. */
struct product {
    product_kind kind;
    const char *a, *b, *bias;
    finish_fn *finish;
    char *out;
    int id; /* of the activation; from: what f' is computed from, or NULL */
    double param;
    const char *from;
    char *sums; /* BACKWARD_DW: of the columns of dy */
    char *s1, *s2;
    const cmlp_update_args *args;
    double norm2;

    const cmlp_kernels *k;
    size_t rows, columns, inner, nr;
    int by_columns; /* threads share columns, else rows */
    char *scratch;  /* for each thread a panel, a row, a strip */
    size_t scratch_bytes;
};

static void finish_activation(product *p, const char *from, size_t at, size_t n)
{
    size_t bytes = at * p->k->size;
    if (p->from)
        p->k->derive(p->id, n, from, p->from + bytes, p->param, p->out + bytes);
    else
        p->k->activate(p->id, n, from, p->param, p->out + bytes);
}

static void finish_update(product *p, const char *from, size_t at, size_t n)
{
    size_t bytes = at * p->k->size;
    p->k->update(n, p->out + bytes, from, p->s1 ? p->s1 + bytes : NULL, p->s2 ? p->s2 + bytes : NULL,
                 p->args);
}

static void finish_norm(product *p, const char *from, size_t at, size_t n)
{
    (void)at;
    p->norm2 += p->k->sum_squares(n, from);
}

/* The first n elements of rows that lie ld apart, with zeros up to `width` behind them. */
static void copy_columns(size_t size, size_t rows, const char *from, size_t ld, size_t n, size_t width,
                         char *to)
{
    for (size_t i = 0; i < rows; i++, from += ld * size, to += width * size) {
        memcpy(to, from, n * size);
        if (n < width)
            memset(to + n * size, 0, (width - n) * size);
    }
}

/* The panel of b's columns c0 to c0 + n; b itself where that is one already. */
static const char *panel_of(const product *p, size_t c0, size_t n, size_t width, char *to)
{
    size_t size = p->k->size;
    if (p->kind == FORWARD)
        p->k->pack(p->inner, n, width, p->b + c0 * p->inner * size, to);
    else if (width == p->columns)
        return p->b;
    else
        copy_columns(size, p->inner, p->b + c0 * size, p->columns, n, width, to);
    return to;
}

/* Those columns of dy that fill no vector by way of a padded copy. */
static void sum_columns(const product *p, char *copy, char *row)
{
    const cmlp_kernels *k = p->k;
    size_t n = p->rows, whole = n / k->vw * k->vw;
    const char *rest = p->a + whole * k->size;
    k->column_sums(whole, p->inner, p->a, n, 0, p->sums);
    copy_columns(k->size, n > whole ? p->inner : 0, rest, n, n - whole, k->vw, copy);
    k->column_sums(n - whole, p->inner, copy, k->vw, 0, row);
    memcpy(p->sums + whole * k->size, row, (n - whole) * k->size);
}

/* Columns [c0, c0 + n) of b, packed `width` wide, with their bias, and room for a strip of the product. */
typedef struct {
    size_t c0, n, width;
    const char *data, *bias;
    char *strip;
} panel;

/* Rows [r, r + rows) of the product; in its place at once where whole vectors fit there. */
static void run_strip(product *p, const panel *q, size_t r, size_t rows)
{
    size_t size = p->k->size, at = r * p->columns + q->c0, ld = q->width;
    char *to = q->strip;
    if (p->kind == BACKWARD_DW) {
        p->k->outer(r, r + rows, ld, p->inner, p->a, p->rows, q->data, ld, ld, 0, r, rows, to, NULL, NULL);
    } else {
        if (q->n == q->width)
            to = p->out + at * size, ld = p->columns;
        p->k->product(rows, q->width, p->inner, p->a + r * p->inner * size, p->inner, q->data, q->width,
                      q->bias, to, ld);
        if (q->n == q->width && p->id == CMLP_IDENTITY)
            return;
    }
    if (q->width == p->columns)
        p->finish(p, to, at, rows * ld);
    else
        for (size_t i = 0; i < rows; i++)
            p->finish(p, to + i * ld * size, at + i * p->columns, q->n);
}

static void product_share(void *ctx, int thread, int n_threads)
{
    product *p = ctx;
    size_t size = p->k->size, padded = cmlp_round_up(p->columns, p->k->vw);
    size_t r0 = 0, r1 = p->rows, c0 = 0, c1 = padded;
    char *own = p->scratch + (size_t)thread * p->scratch_bytes;
    char *row = own + p->inner * p->nr * size;
    if (p->by_columns)
        share_of_columns(padded, p->nr, thread, n_threads, &c0, &c1);
    else
        share_of_rows(p->rows, ROW_BLOCK, thread, n_threads, &r0, &r1);
    if (p->sums && thread == 0)
        sum_columns(p, own, row);
    for (; r0 < r1 && c0 < c1; c0 += p->nr) {
        panel q = {c0, .width = cmlp_min(p->nr, padded - c0), .strip = row + p->nr * size};
        q.n = cmlp_min(q.width, p->columns - c0);
        q.data = panel_of(p, c0, q.n, q.width, own);
        q.bias = p->bias ? row : NULL;
        if (p->bias)
            copy_columns(size, 1, p->bias + c0 * size, q.n, q.n, q.width, row);
        for (size_t r = r0; r < r1; r += STRIP)
            run_strip(p, &q, r, cmlp_min(STRIP, r1 - r));
    }
}

static cmlp_status run_product(const cmlp_shape *shape, int n_threads, product *p)
{
    const cmlp_kernels *k = p->k = cmlp_kernels_for(shape->dtype);
    p->rows = p->kind == BACKWARD_DW ? shape->n_out : shape->batch;
    p->columns = p->kind == FORWARD ? shape->n_out : shape->n_in;
    p->inner = p->kind == FORWARD ? shape->n_in : p->kind == BACKWARD_DX ? shape->n_out : shape->batch;
    p->nr = cmlp_panels_of(k, p->inner, p->columns).width;
    double flops = 2.0 * (double)p->rows * (double)p->columns * (double)p->inner;
    size_t threads = (size_t)cmlp_threads_worth(n_threads, flops, FLOPS_PER_THREAD);
    size_t panels = (p->columns + p->nr - 1) / p->nr;
    p->by_columns = (panels + threads - 1) / threads * (ROWS_OF_PACKING + p->rows) <=
                    panels * (ROWS_OF_PACKING + (p->rows + threads - 1) / threads);
    p->scratch_bytes = cmlp_round_up((p->inner + 1 + cmlp_min(STRIP, p->rows)) * p->nr * k->size, CMLP_LINE);
    p->scratch = cmlp_borrow(p->scratch_bytes * threads);
    if (!p->scratch)
        return cmlp_no_memory();
    cmlp_parallel((int)threads, product_share, p);
    cmlp_give_back(p->scratch);
    return CMLP_OK;
}

cmlp_status cmlp_dense_forward(const cmlp_shape *shape, const void *x, const void *w, const void *b,
                               int activation, double param, void *y)
{
    NEED(x);
    NEED(w);
    NEED(y);
    cmlp_status status = check_shape(shape);
    if (!status)
        status = cmlp_check_activation("activation", activation);
    if (status)
        return status;
    int softmax = activation == CMLP_SOFTMAX;
    product p = {.kind = FORWARD,
                 .a = x,
                 .b = w,
                 .bias = b,
                 .finish = finish_activation,
                 .out = y,
                 .id = softmax ? CMLP_IDENTITY : activation,
                 .param = param};
    status = run_product(shape, shape->n_threads, &p);
    return status || !softmax ? status : cmlp_softmax(shape, 0, y, y);
}

cmlp_status cmlp_dense_backward_dx(const cmlp_shape *shape, const void *dy, const void *w, const void *y,
                                   int activation, double param, void *dx)
{
    NEED(dy);
    NEED(w);
    NEED(dx);
    cmlp_status status = check_shape(shape);
    if (!status && y)
        status = cmlp_check_activation("activation", activation);
    if (!status && y && activation == CMLP_SOFTMAX)
        status = cmlp_fail(CMLP_E_ARGUMENT, "activation is softmax; expected an elementwise one");
    if (status)
        return status;
    product p = {.kind = BACKWARD_DX,
                 .a = dy,
                 .b = w,
                 .finish = finish_activation,
                 .out = dx,
                 .id = activation,
                 .param = param,
                 .from = y};
    return run_product(shape, shape->n_threads, &p);
}

cmlp_status cmlp_dense_backward_dw(const cmlp_shape *shape, const void *dy, const void *x, void *dw, void *db)
{
    NEED(dy);
    NEED(x);
    NEED(dw);
    NEED(db);
    cmlp_status status = check_shape(shape);
    if (status)
        return status;
    product p = {.kind = BACKWARD_DW,
                 .a = dy,
                 .b = x,
                 .finish = finish_activation,
                 .out = dw,
                 .id = CMLP_IDENTITY,
                 .sums = db};
    return run_product(shape, shape->n_threads, &p);
}

/* For the norm of the whole gradient it is computed once more before. */
cmlp_status cmlp_dense_backward_update(const cmlp_shape *shape, const void *dy, const void *x, void *w,
                                       void *b, const cmlp_optimizer_spec *spec, void *const *slots,
                                       double lr, uint64_t t)
{
    NEED(dy);
    NEED(x);
    NEED(w);
    NEED(b);
    cmlp_status status = check_shape(shape);
    if (!status)
        status = check_update(spec, lr, t);
    for (int i = 0; !status && i < 2 * cmlp_optimizer_slots(spec->kind); i++)
        if (!slots || !slots[i])
            status = cmlp_fail(CMLP_E_ARGUMENT, "slots[%d] is NULL; expected slots of w and then of b", i);
    if (status)
        return status;
    const cmlp_kernels *k = cmlp_kernels_for(shape->dtype);
    int n = cmlp_optimizer_slots(spec->kind);
    char *db = cmlp_alloc(shape->n_out * k->size);
    if (!db)
        return cmlp_no_memory();
    cmlp_update_args args[2];
    cmlp_step_args(spec, t, lr, spec->momentum, 1.0, args);
    product p = {.kind = BACKWARD_DW,
                 .a = dy,
                 .b = x,
                 .finish = finish_norm,
                 .out = w,
                 .sums = db,
                 .s1 = n > 0 ? slots[0] : NULL,
                 .s2 = n > 1 ? slots[1] : NULL,
                 .args = &args[1]};
    status = spec->clip_norm > 0.0 ? run_product(shape, 1, &p) : CMLP_OK;
    if (!status && spec->clip_norm > 0.0)
        args[0].gscale = args[1].gscale = clip_scale(spec, p.norm2 + k->sum_squares(shape->n_out, db));
    p.finish = finish_update;
    if (!status)
        status = run_product(shape, shape->n_threads, &p);
    job c = {.k = k,
             .a = db,
             .out = b,
             .s1 = n > 0 ? slots[n] : NULL,
             .s2 = n > 1 ? slots[n + 1] : NULL,
             .n = shape->n_out,
             .args = &args[0]};
    if (!status)
        cmlp_parallel(1, update_share, &c);
    cmlp_free(db);
    return status;
}

/* ---- a check ---- */

int cmlp_all_within(cmlp_dtype dtype, size_t n, const void *x, double low, double high)
{
    return cmlp_kernels_for(dtype)->all_within(n, x, low, high);
}

/* ---- the processor's own limit ---- */

typedef struct {
    const cmlp_kernels *k;
    double seconds, flops[256];
    cmlp_barrier barrier;
} peak;

static void peak_share(void *ctx, int thread, int n_threads)
{
    peak *c = ctx;
    cmlp_wait(&c->barrier, n_threads);
    double start = cmlp_now(), done = 0.0, elapsed;
    do {
        done += c->k->fma_loop(20000);
        elapsed = cmlp_now() - start;
    } while (elapsed < c->seconds);
    c->flops[thread % 256] = done / elapsed;
}

double cmlp_fma_peak(cmlp_dtype dtype, int n_threads, double seconds)
{
    peak c = {.k = cmlp_kernels_for(dtype), .seconds = seconds};
    cmlp_parallel(cmlp_threads_for(n_threads), peak_share, &c);
    double total = 0.0;
    for (int i = 0; i < 256; i++)
        total += c.flops[i];
    return total;
}
