/* Convolution and pooling against plain sums in float64, and their gradients against differences. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

/* A layer of windows; outputs are filled in. */
typedef struct {
    int kind;
    cmlp_extent in;
    size_t channels, kernel[2], stride[2], pad[4];
    int activation;
} window_case;

static const window_case cases[] = {
    {CMLP_CONV, {1, 5, 5}, 1, {3, 3}, {1, 1}, {0, 0, 0, 0}, CMLP_IDENTITY},
    {CMLP_CONV, {3, 8, 7}, 5, {5, 3}, {1, 1}, {2, 1, 2, 1}, CMLP_IDENTITY},
    {CMLP_CONV, {2, 9, 11}, 7, {2, 4}, {2, 3}, {1, 0, 0, 3}, CMLP_IDENTITY},
    {CMLP_CONV, {4, 6, 14}, 9, {1, 1}, {1, 1}, {0, 0, 0, 0}, CMLP_TANH},
    {CMLP_CONV, {3, 4, 4}, 6, {4, 4}, {1, 1}, {0, 0, 0, 0}, CMLP_GELU},
    {CMLP_CONV, {2, 5, 6}, 4, {3, 7}, {3, 1}, {2, 3, 1, 6}, CMLP_SIGMOID},
    {CMLP_MAX_POOL, {3, 6, 8}, 3, {2, 2}, {2, 2}, {0, 0, 0, 0}, CMLP_IDENTITY},
    {CMLP_MAX_POOL, {2, 12, 12}, 2, {3, 3}, {3, 3}, {0, 0, 0, 0}, CMLP_IDENTITY},
    {CMLP_MAX_POOL, {2, 7, 9}, 2, {3, 2}, {2, 1}, {1, 0, 1, 1}, CMLP_IDENTITY},
    {CMLP_AVERAGE_POOL, {3, 7, 8}, 3, {2, 3}, {2, 2}, {0, 1, 1, 0}, CMLP_IDENTITY},
};

#define ROWS 19 /* a vector and some */
#define EPSILON 1e-6

static size_t along(const window_case *w, int axis)
{
    size_t in = axis ? w->in.width : w->in.height;
    return (in + w->pad[axis] + w->pad[2 + axis] - w->kernel[axis]) / w->stride[axis] + 1;
}

static cmlp_layer_spec spec_of(const window_case *w)
{
    return (cmlp_layer_spec){.kind = (cmlp_layer_kind)w->kind,
                             .n_in = w->in.channels * w->in.height * w->in.width,
                             .n_out = w->channels * along(w, 0) * along(w, 1),
                             .activation = w->activation,
                             .bias = 1,
                             .in = w->in,
                             .out = {w->channels, along(w, 0), along(w, 1)},
                             .kernel = {w->kernel[0], w->kernel[1]},
                             .stride = {w->stride[0], w->stride[1]},
                             .pad = {w->pad[0], w->pad[1], w->pad[2], w->pad[3]}};
}

/* x (q, i, j) of one sample with its margin; `margin` outside. */
static double input_at(const window_case *w, const double *x, size_t q, size_t i, size_t j, double margin)
{
    if (i < w->pad[0] || j < w->pad[1] || i - w->pad[0] >= w->in.height || j - w->pad[1] >= w->in.width)
        return margin;
    return x[(q * w->in.height + i - w->pad[0]) * w->in.width + j - w->pad[1]];
}

/* The sum, maximum or mean of one window, before the activation. */
static double one_output(const window_case *w, const double *x, const double *weight, const double *bias,
                         size_t c, size_t i, size_t j)
{
    double sum = w->kind == CMLP_CONV ? bias[c] : w->kind == CMLP_MAX_POOL ? -HUGE_VAL : 0.0;
    size_t first = w->kind == CMLP_CONV ? 0 : c, end = w->kind == CMLP_CONV ? w->in.channels : c + 1;
    for (size_t q = first; q < end; q++)
        for (size_t u = 0; u < w->kernel[0]; u++)
            for (size_t t = 0; t < w->kernel[1]; t++) {
                double at = input_at(w, x, q, i * w->stride[0] + u, j * w->stride[1] + t,
                                     w->kind == CMLP_MAX_POOL ? -HUGE_VAL : 0.0);
                if (w->kind == CMLP_CONV)
                    sum += at * weight[((c * w->in.channels + q) * w->kernel[0] + u) * w->kernel[1] + t];
                else if (w->kind == CMLP_MAX_POOL)
                    sum = fmax(sum, at);
                else
                    sum += at / (double)(w->kernel[0] * w->kernel[1]);
            }
    return sum;
}

static double activate(int activation, double u)
{
    return activation == CMLP_TANH      ? tanh(u)
           : activation == CMLP_SIGMOID ? 1.0 / (1.0 + exp(-u))
           : activation == CMLP_GELU    ? 0.5 * u * erfc(-u * 0.70710678118654752440)
                                        : u;
}

static double number_at(cmlp_dtype dtype, const void *a, size_t i)
{
    return dtype == CMLP_F32 ? (double)((const float *)a)[i] : ((const double *)a)[i];
}

static void put(cmlp_dtype dtype, void *a, size_t i, double value)
{
    if (dtype == CMLP_F32)
        ((float *)a)[i] = (float)value;
    else
        ((double *)a)[i] = value;
}

/* A layer with its plan and one set of numbers: x, dy, weight, bias. */
typedef struct {
    const window_case *w;
    cmlp_dtype dtype;
    cmlp_layer_spec spec;
    cmlp_layer *layer;
    cmlp_plan *plan;
    void *x, *dy, *y, *dx;
    double *x64, *weight, *bias;
    size_t size, n_weights;
} fixture;

static void set_weights(fixture *f)
{
    if (!f->n_weights)
        return;
    void *values = guarded_new(f->n_weights * f->size), *bias = guarded_new(f->w->channels * f->size);
    for (size_t i = 0; i < f->n_weights; i++)
        put(f->dtype, values, i, f->weight[i]);
    for (size_t c = 0; c < f->w->channels; c++)
        put(f->dtype, bias, c, f->bias[c]);
    cmlp_layer_set(f->layer, 0, values), cmlp_layer_set(f->layer, 1, bias);
    guarded_free(values), guarded_free(bias);
}

static fixture fixture_new(const window_case *w, cmlp_dtype dtype, int n_threads)
{
    fixture f = {.w = w, .dtype = dtype, .spec = spec_of(w), .size = dtype == CMLP_F32 ? 4 : 8};
    CHECK(cmlp_layer_new(dtype, &f.spec, &f.layer) == CMLP_OK, "layer of kind %d", w->kind);
    const cmlp_plan_spec plan = {.loss = -1, .batch = ROWS, .n_threads = n_threads};
    CHECK(cmlp_plan_new(&plan, &f.layer, 1, NULL, &f.plan) == CMLP_OK, "plan of kind %d", w->kind);
    size_t in = ROWS * f.spec.n_in, out = ROWS * f.spec.n_out;
    f.x = guarded_new(in * f.size), f.dx = guarded_new(in * f.size);
    f.y = guarded_new(out * f.size), f.dy = guarded_new(out * f.size);
    f.x64 = malloc(in * sizeof *f.x64);
    for (size_t i = 0; i < in; i++) {
        /* No two numbers of a sample alike: a maximum has a slope. */
        f.x64[i] = fraction(1, i) + 1e-4 * (double)(i % f.spec.n_in);
        put(dtype, f.x, i, f.x64[i]);
        f.x64[i] = number_at(dtype, f.x, i);
    }
    for (size_t i = 0; i < out; i++)
        put(dtype, f.dy, i, fraction(2, i));
    f.n_weights = cmlp_layer_count(f.layer, 0);
    f.weight = malloc((f.n_weights + 1) * sizeof *f.weight), f.bias = malloc(w->channels * sizeof *f.bias);
    for (size_t i = 0; i < f.n_weights; i++)
        f.weight[i] = 0.25 * fraction(3, i);
    for (size_t c = 0; c < w->channels; c++)
        f.bias[c] = fraction(4, c);
    set_weights(&f);
    return f;
}

static void fixture_free(fixture *f)
{
    cmlp_plan_free(f->plan);
    cmlp_layer_free(f->layer);
    guarded_free(f->x), guarded_free(f->dx), guarded_free(f->y), guarded_free(f->dy);
    free(f->x64), free(f->weight), free(f->bias);
}

static void test_outputs(const window_case *w, cmlp_dtype dtype)
{
    fixture f = fixture_new(w, dtype, 2);
    size_t high = along(w, 0), wide = along(w, 1), n = f.spec.n_out;
    CHECK(cmlp_forward(f.plan, ROWS, f.x, 1, f.y) == CMLP_OK, "forward");
    void *y = guarded_new(ROWS * n * f.size);
    CHECK(cmlp_predict(f.plan, ROWS, f.x, 0, y) == CMLP_OK, "predict");
    for (size_t i = 0; i < ROWS * n; i++) {
        size_t row = i / n, c = i % n / (high * wide), place = i % (high * wide);
        double want = activate(w->activation, one_output(w, f.x64 + row * f.spec.n_in, f.weight, f.bias, c,
                                                         place / wide, place % wide));
        CHECK(check_near(number_at(dtype, f.y, i), want, dtype == CMLP_F32 ? 1e-5 : 1e-13),
              "%s, kind %d: output %zu of row %zu is %g, not %g", cmlp_isa(), w->kind, i % n, row,
              number_at(dtype, f.y, i), want);
        CHECK(number_at(dtype, y, i) == number_at(dtype, f.y, i), "predict is not forward");
    }
    guarded_free(y);
    fixture_free(&f);
}

/* The scalar whose gradients backward gives: the sum of dy y. */
static double objective(const fixture *f)
{
    double sum = 0.0;
    CHECK(cmlp_forward(f->plan, ROWS, f->x, 1, f->y) == CMLP_OK, "forward");
    for (size_t i = 0; i < ROWS * f->spec.n_out; i++)
        sum += ((const double *)f->dy)[i] * ((const double *)f->y)[i];
    return sum;
}

static double slope(const fixture *f, double *at, int of_weights)
{
    double value = *at, high, low;
    *at = value + EPSILON;
    if (of_weights)
        set_weights((fixture *)(uintptr_t)f);
    high = objective(f);
    *at = value - EPSILON;
    if (of_weights)
        set_weights((fixture *)(uintptr_t)f);
    low = objective(f);
    *at = value;
    if (of_weights)
        set_weights((fixture *)(uintptr_t)f);
    return (high - low) / (2.0 * EPSILON);
}

static void test_gradients(const window_case *w)
{
    fixture f = fixture_new(w, CMLP_F64, 1);
    objective(&f);
    CHECK(cmlp_backward(f.plan, f.dy, f.dx) == CMLP_OK, "backward");
    double *dw = malloc((f.n_weights + 1) * sizeof *dw), *db = malloc(w->channels * sizeof *db);
    cmlp_layer_get_grad(f.layer, 0, dw), cmlp_layer_get_grad(f.layer, 1, db);
    double *x = f.x;
    for (size_t i = 0; i < ROWS * f.spec.n_in; i += 7) {
        double got = ((double *)f.dx)[i], want = slope(&f, x + i, 0);
        CHECK(check_near(got, want, 1e-6), "%s, kind %d: dx %zu is %g, not %g", cmlp_isa(), w->kind, i, got,
              want);
    }
    for (size_t i = 0; i < f.n_weights; i += 3) {
        double want = slope(&f, f.weight + i, 1);
        CHECK(check_near(dw[i], want, 1e-6), "%s, kind %d: dw %zu is %g, not %g", cmlp_isa(), w->kind, i,
              dw[i], want);
    }
    for (size_t c = 0; f.n_weights && c < w->channels; c++) {
        double want = slope(&f, f.bias + c, 1);
        CHECK(check_near(db[c], want, 1e-6), "%s: db %zu is %g, not %g", cmlp_isa(), c, db[c], want);
    }
    free(dw), free(db);
    fixture_free(&f);
}

/* Of equal largest numbers the first, row by row, has the whole gradient. */
static void test_ties(void)
{
    const window_case w = {CMLP_MAX_POOL, {1, 2, 2}, 1, {2, 2}, {2, 2}, {0, 0, 0, 0}, CMLP_IDENTITY};
    fixture f = fixture_new(&w, CMLP_F64, 1);
    double *x = f.x, *dy = f.dy, *dx = f.dx;
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < 4; i++)
            x[4 * r + i] = i == 0 ? 0.0 : 1.0;
        dy[r] = 1.0;
    }
    objective(&f);
    CHECK(cmlp_backward(f.plan, dy, dx) == CMLP_OK, "backward");
    for (size_t r = 0; r < ROWS; r++)
        CHECK(dx[4 * r] == 0.0 && dx[4 * r + 1] == 1.0 && dx[4 * r + 2] == 0.0 && dx[4 * r + 3] == 0.0,
              "row %zu", r);
    fixture_free(&f);
}

static void test_refusals(void)
{
    cmlp_layer *layer = NULL;
    for (int which = 0; which < 7; which++) {
        cmlp_layer_spec spec = spec_of(&cases[1]);
        if (which == 0)
            spec.n_out++;
        if (which == 1)
            spec.kernel[0] = 20;
        if (which == 2)
            spec.stride[1] = 0;
        if (which == 3)
            spec.pad[0] = 5;
        if (which == 4)
            spec.out.channels = 0;
        if (which == 5)
            spec.in.width++;
        if (which == 6)
            spec.kind = CMLP_MAX_POOL;
        CHECK(cmlp_layer_new(CMLP_F32, &spec, &layer) == CMLP_E_ARGUMENT && !layer, "bad window %d", which);
    }
}

void test_planes(void)
{
    test_refusals();
    test_ties();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_outputs(&cases[i], CMLP_F32);
        test_outputs(&cases[i], CMLP_F64);
        test_gradients(&cases[i]);
    }
}
