/* The kernels on plain arrays.  Matrices are packed on the way in; the products are the plans' own. */
#include "plan.h"

#include <string.h>

/* Elements for which another thread is worth starting. */
#define ELEMENTS_PER_THREAD 16384

static int product_threads(const cmlp_shape *s)
{
    return cmlp_threads_worth(s->n_threads, 2.0 * (double)s->batch * (double)s->n_in * (double)s->n_out,
                              FLOPS_PER_THREAD);
}

/* One call's arrays; which are used depends on the operation. */
typedef struct {
    const cmlp_shape *shape;
    const cmlp_kernels *k;
    cmlp_layer *layer;
    const char *a, *b;
    char *out, *scratch;
    size_t scratch_bytes, ld;
    int id;
    double param;
    const cmlp_update_args *args;
    char *s1, *s2;
    size_t n, width;
    int flag;
} job;

#define STRIP 48

/* Rows [r0, r1) of a product, by strips through padded scratch, then the elementwise part. */
static void product_share(void *ctx, int thread, int n_threads)
{
    const job *c = ctx;
    const cmlp_kernels *k = c->k;
    const cmlp_layer *l = c->layer;
    int forward = c->flag;
    size_t n = forward ? l->spec.n_out : l->spec.n_in, inner = forward ? l->spec.n_in : l->spec.n_out;
    size_t pad = forward ? l->pad_out : l->pad_in, r0, r1;
    char *strip = c->scratch + (size_t)thread * c->scratch_bytes;
    cmlp_share_of_rows(c->shape->batch, thread, n_threads, &r0, &r1);
    for (size_t r = r0; r < r1;) {
        size_t rows = cmlp_min(STRIP, r1 - r);
        char *out = c->out + r * n * k->size, *to = pad == n ? out : strip;
        k->product(rows, pad, inner, c->a + r * inner * k->size, inner, forward ? l->w : l->wt,
                   forward ? l->nr : l->nr_t, forward ? l->b : NULL, to, pad);
        if (forward && c->id == CMLP_SOFTMAX)
            k->softmax(rows, n, to, pad, 0, to, pad);
        else if (forward && c->id != CMLP_IDENTITY)
            k->activate(c->id, rows * pad, to, c->param, to);
        for (size_t i = 0; to == strip && i < rows; i++)
            memcpy(out + i * n * k->size, strip + i * pad * k->size, n * k->size);
        if (!forward && c->b)
            k->derive(c->id, rows * n, out, c->b + r * n * k->size, c->param, out);
        r += rows;
    }
}

static cmlp_status new_layer(const cmlp_shape *shape, const void *w, const void *b, cmlp_layer **out)
{
    cmlp_layer_spec spec = {.kind = CMLP_DENSE, .n_in = shape->n_in, .n_out = shape->n_out, .bias = 1};
    cmlp_status status = cmlp_layer_new(shape->dtype, &spec, out);
    if (!status && w)
        cmlp_layer_set(*out, CMLP_WEIGHT, w);
    if (!status && b)
        cmlp_layer_set(*out, CMLP_BIAS, b);
    return status;
}

static cmlp_status run_product(const cmlp_shape *shape, cmlp_layer *l, job *c)
{
    int threads = product_threads(shape);
    c->shape = shape, c->k = l->k, c->layer = l;
    c->scratch_bytes = STRIP * cmlp_max(l->pad_in, l->pad_out) * l->k->size;
    c->scratch = cmlp_alloc(c->scratch_bytes * (size_t)threads);
    if (!c->scratch)
        return CMLP_E_MEMORY;
    cmlp_parallel(threads, product_share, c);
    cmlp_free(c->scratch);
    return CMLP_OK;
}

cmlp_status cmlp_dense_forward(const cmlp_shape *shape, const void *x, const void *w, const void *b,
                               int activation, double param, void *y)
{
    cmlp_layer *l = NULL;
    cmlp_status status = new_layer(shape, w, b, &l);
    job c = {.a = x, .out = y, .id = activation, .param = param, .flag = 1};
    if (!status)
        status = run_product(shape, l, &c);
    cmlp_layer_free(l);
    return status;
}

cmlp_status cmlp_dense_backward_dx(const cmlp_shape *shape, const void *dy, const void *w, const void *y,
                                   int activation, double param, void *dx)
{
    cmlp_layer *l = NULL;
    cmlp_status status = new_layer(shape, w, NULL, &l);
    if (!status)
        status = cmlp_layer_need_transpose(l);
    job c = {.a = dy, .b = y, .out = dx, .id = activation, .param = param};
    if (!status)
        status = run_product(shape, l, &c);
    cmlp_layer_free(l);
    return status;
}

static void outer_share(void *ctx, int thread, int n_threads)
{
    const job *c = ctx;
    const cmlp_layer *l = c->layer;
    size_t i0, i1;
    cmlp_share_of_rows(l->spec.n_in, thread, n_threads, &i0, &i1);
    if (i0 < i1)
        c->k->outer(i0, i1, l->pad_out, c->shape->batch, c->b, l->spec.n_in, c->a, c->ld, l->nr, 0, 0,
                    l->spec.n_in, l->gw, NULL);
    if (thread == 0)
        c->k->column_sums(l->pad_out, c->shape->batch, c->a, c->ld, 0, l->gb);
}

/* Both gradients, packed, in a layer made for it. */
static cmlp_status gradients(const cmlp_shape *shape, const void *dy, const void *x, cmlp_layer *l)
{
    cmlp_status status = cmlp_layer_need_grad(l);
    size_t size = l->k->size;
    char *padded = NULL;
    if (!status && l->pad_out != shape->n_out) {
        padded = cmlp_alloc(shape->batch * l->pad_out * size);
        status = padded ? CMLP_OK : CMLP_E_MEMORY;
        for (size_t r = 0; padded && r < shape->batch; r++)
            memcpy(padded + r * l->pad_out * size, (const char *)dy + r * shape->n_out * size,
                   shape->n_out * size);
    }
    job c = {.shape = shape, .k = l->k, .layer = l, .a = padded ? padded : dy, .b = x, .ld = l->pad_out};
    if (!status)
        cmlp_parallel(product_threads(shape), outer_share, &c);
    cmlp_free(padded);
    return status;
}

cmlp_status cmlp_dense_backward_dw(const cmlp_shape *shape, const void *dy, const void *x, void *dw, void *db)
{
    cmlp_layer *l = NULL;
    cmlp_status status = new_layer(shape, NULL, NULL, &l);
    if (!status)
        status = gradients(shape, dy, x, l);
    if (!status) {
        cmlp_layer_get_grad(l, CMLP_WEIGHT, dw);
        cmlp_layer_get_grad(l, CMLP_BIAS, db);
    }
    cmlp_layer_free(l);
    return status;
}

cmlp_status cmlp_dense_backward_update(const cmlp_shape *shape, const void *dy, const void *x, void *w,
                                       void *b, const cmlp_optimizer_spec *spec, void *const *slots,
                                       double lr, uint64_t t)
{
    int n = cmlp_optimizer_slots(spec->kind);
    cmlp_layer *l = NULL;
    cmlp_optimizer *opt = NULL;
    cmlp_status status = n < 0 ? CMLP_E_ARGUMENT : new_layer(shape, w, b, &l);
    if (!status)
        status = cmlp_optimizer_new(spec, &l, 1, &opt);
    if (!status)
        status = gradients(shape, dy, x, l);
    if (!status) {
        for (int i = 0; i < n; i++) {
            cmlp_optimizer_set_slot(opt, i, 0, CMLP_WEIGHT, slots[i]);
            cmlp_optimizer_set_slot(opt, i, 0, CMLP_BIAS, slots[n + i]);
        }
        opt->steps = t - 1;
        status = cmlp_optimizer_step(opt, lr);
        cmlp_layer_get(l, CMLP_WEIGHT, w);
        cmlp_layer_get(l, CMLP_BIAS, b);
        for (int i = 0; i < n; i++) {
            cmlp_optimizer_get_slot(opt, i, 0, CMLP_WEIGHT, slots[i]);
            cmlp_optimizer_get_slot(opt, i, 0, CMLP_BIAS, slots[n + i]);
        }
    }
    cmlp_optimizer_free(opt);
    cmlp_layer_free(l);
    return status;
}

/* ---- elementwise ---- */

static void elements_of(const job *c, int thread, int n_threads, size_t *first, size_t *count)
{
    size_t end, line = CMLP_LINE / c->k->size;
    cmlp_share_of((c->n + line - 1) / line, thread, n_threads, first, &end);
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
    cmlp_share_of(c->n, thread, n_threads, &first, &end);
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
        return CMLP_E_MEMORY;
    cmlp_parallel(threads, softmax_share, &c);
    cmlp_free(c.scratch);
    return CMLP_OK;
}

cmlp_status cmlp_softmax(const cmlp_shape *shape, int as_log, const void *x, void *y)
{
    return run_softmax(shape, as_log, x, NULL, y);
}

static cmlp_status run_activation(const cmlp_shape *shape, int id, double param, const void *a, const void *b,
                                  void *out)
{
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
    return run_activation(shape, activation, param, x, NULL, y);
}

cmlp_status cmlp_activation_backward(const cmlp_shape *shape, int activation, double param, const void *dy,
                                     const void *s, void *dx)
{
    return run_activation(shape, activation, param, dy, s, dx);
}

typedef struct {
    const cmlp_shape *shape;
    cmlp_loss_args args; /* of the whole batch, rows not padded */
    int loss;
    char *block;
    double sum;
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
        c->sum += k->loss(c->loss, &args);
        for (size_t r = 0; args.dz && r < rows; r++)
            memcpy((char *)c->args.dz + (r0 + r) * bytes, dz + r * padded, bytes);
    }
}

cmlp_status cmlp_loss_delta(const cmlp_shape *shape, int loss, double param, const void *z,
                            const int64_t *labels, const void *t, const void *weight, void *dz, double *value)
{
    const cmlp_kernels *k = cmlp_kernels_for(shape->dtype);
    size_t ld = cmlp_round_up(shape->n_out, k->vw);
    double mass = weight ? 0.0 : (double)shape->batch;
    for (size_t r = 0; weight && r < shape->batch; r++)
        mass += k->size == sizeof(float) ? (double)((const float *)weight)[r] : ((const double *)weight)[r];
    loss_job c = {.shape = shape,
                  .args = {.n = shape->n_out,
                           .z = z,
                           .ldz = ld,
                           .labels = labels,
                           .t = t,
                           .ldt = ld,
                           .weight = weight,
                           .scale = mass > 0.0 ? 1.0 / mass : 0.0,
                           .dz = dz,
                           .lddz = ld,
                           .param = param},
                  .loss = loss,
                  .block = cmlp_alloc(3 * ROW_BLOCK * ld * k->size)};
    if (!c.block)
        return CMLP_E_MEMORY;
    cmlp_parallel(1, loss_share, &c);
    cmlp_free(c.block);
    *value = mass > 0.0 ? c.sum / mass : 0.0;
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

cmlp_status cmlp_update(cmlp_dtype dtype, const cmlp_optimizer_spec *spec, size_t n, void *w, const void *dw,
                        void *s1, void *s2, double lr, uint64_t t, int n_threads)
{
    cmlp_update_args args = cmlp_weight_args(spec, t, lr, spec->momentum, 1.0);
    job c = {.k = cmlp_kernels_for(dtype), .a = dw, .out = w, .s1 = s1, .s2 = s2, .n = n, .args = &args};
    if (spec->clip_norm > 0.0) {
        double norm2 = c.k->sum_squares(n, dw), limit = spec->clip_norm;
        if (norm2 > limit * limit)
            args.gscale = limit / __builtin_sqrt(norm2);
    }
    cmlp_parallel(cmlp_threads_worth(n_threads, (double)n, ELEMENTS_PER_THREAD), update_share, &c);
    return CMLP_OK;
}

/* ---- a check ---- */

#define DEFINE_WITHIN(type)                                                                             \
    static int within_##type(size_t n, const type *x, double low, double high)                          \
    {                                                                                                   \
        int all = 1;                                                                                    \
        for (size_t i = 0; i < n; i++)                                                                  \
            all &= x[i] >= low && x[i] <= high;                                                         \
        return all;                                                                                     \
    }
DEFINE_WITHIN(float)
DEFINE_WITHIN(double)

int cmlp_all_within(cmlp_dtype dtype, size_t n, const void *x, double low, double high)
{
    return dtype == CMLP_F32 ? within_float(n, x, low, high) : within_double(n, x, low, high);
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
