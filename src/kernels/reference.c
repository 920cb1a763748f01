/* Every kernel as plain loops and the C library's functions: what the fast ones are measured against, and
 * what runs where no instruction set below fits.  Contracts: kernels.h. */
#include "kernels.h"

#include <math.h>

#include "tiles.h"

#ifdef CMLP_DOUBLE
typedef double real;
#define FN(name) name
#define R(x) x
#else
typedef float real;
#define FN(name) name##f
#define R(x) x##f
#endif

#define CMLP_KERNEL
#define T real
static inline real t_set(real x) { return x; }
static inline real t_lt(real a, real b, real x, real y) { return a < b ? x : y; }
static inline real t_clamp(real x, real lo, real hi) { return x < lo ? lo : x > hi ? hi : x; }
static inline real t_over_root(real a, real b, real eps) { return a / (FN(sqrt)(b) + eps); }
static inline real t_normal_tail(real t, real times)
{
    return (real)(0.5 * (double)times * erfc((double)t * 0.70710678118654752440));
}
static inline real t_exp_scaled(real x, int k) { return (real)ldexpl(expl((long double)x), -k); }
#define t_exp FN(exp)
#define t_expm1 FN(expm1)
#define t_log1p_unit FN(log1p)
#define t_tanh FN(tanh)
#define t_abs FN(fabs)
#define t_sqrt FN(sqrt)
#define t_fma FN(fma)
#include "../activations.h"
#include "../losses.h"
#include "../updates.h"

/* A sum in blocks, so that no chain of additions grows with the number of terms. */
typedef struct {
    real chain, low, high;
    size_t terms;
} long_sum;

/* After each term. */
static inline void end_term(long_sum *s)
{
    if (++s->terms % SUM_BLOCK)
        return;
    s->low += s->chain;
    s->chain = 0;
    if (s->terms % (SUM_BLOCK * SUM_BLOCKS))
        return;
    s->high += s->low;
    s->low = 0;
}

static inline void add_term(long_sum *s, real term)
{
    s->chain += term;
    end_term(s);
}

static inline void add_product(long_sum *s, real a, real b)
{
    s->chain = FN(fma)(a, b, s->chain);
    end_term(s);
}

static inline real sum_of(const long_sum *s) { return s->high + (s->low + s->chain); }

static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* Element (row, col) of a packed matrix of n columns and k rows. */
static size_t packed(size_t n, size_t k, size_t nr, size_t row, size_t col)
{
    size_t c0 = col / nr * nr;
    return c0 * k + row * min_size(nr, n - c0) + (col - c0);
}

void CMLP_NAME(product)(size_t m, size_t n, size_t k, const void *a_, size_t lda, const void *b_, size_t nr,
                        const void *bias_, void *c_, size_t ldc)
{
    const real *a = a_, *b = b_, *bias = bias_;
    real *c = c_;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            long_sum sum = {.chain = bias ? bias[j] : 0};
            for (size_t p = 0; p < k; p++)
                add_product(&sum, a[i * lda + p], b[packed(n, k, nr, p, j)]);
            c[i * ldc + j] = sum_of(&sum);
        }
}

size_t CMLP_NAME(outer_scratch)(size_t m, size_t ldd)
{
    (void)m, (void)ldd;
    return 0;
}

void CMLP_NAME(outer)(size_t m0, size_t m1, size_t n, size_t k, const void *x_, size_t ldx, const void *dy_,
                      size_t ldd, size_t nr, int accumulate, size_t g0, size_t g_rows, void *g_,
                      void *scratch, const cmlp_prefetch *prefetch)
{
    (void)scratch, (void)prefetch;
    const real *x = x_, *dy = dy_;
    real *g = g_;
    for (size_t i = m0; i < m1; i++)
        for (size_t j = 0; j < n; j++) {
            real *at = g + packed(n, g_rows, nr, i - g0, j);
            long_sum sum = {0};
            for (size_t p = 0; p < k; p++)
                add_product(&sum, x[p * ldx + i], dy[p * ldd + j]);
            *at = accumulate ? *at + sum_of(&sum) : sum_of(&sum);
        }
}

void CMLP_NAME(column_sums)(size_t n, size_t k, const void *dy_, size_t ldd, int accumulate, void *db_)
{
    const real *dy = dy_;
    real *db = db_;
    for (size_t j = 0; j < n; j++) {
        long_sum sum = {0};
        for (size_t p = 0; p < k; p++)
            add_term(&sum, dy[p * ldd + j]);
        db[j] = accumulate ? db[j] + sum_of(&sum) : sum_of(&sum);
    }
}

void CMLP_NAME(transpose)(size_t n_in, size_t n_out, size_t nr, size_t nr_t, size_t c0, size_t c1, size_t i0,
                          size_t i1, const void *w_, void *wt_)
{
    const real *w = w_;
    real *wt = wt_;
    for (size_t i = i0; i < i1; i++)
        for (size_t j = c0; j < c1; j++)
            wt[packed(n_in, n_out, nr_t, j, i)] = w[packed(n_out, n_in, nr, i, j)];
}

void CMLP_NAME(pack)(size_t n_in, size_t n, size_t width, const void *w, void *panel)
{
    for (size_t i = 0; i < n_in; i++)
        for (size_t j = 0; j < width; j++)
            ((real *)panel)[i * width + j] = j < n ? ((const real *)w)[j * n_in + i] : 0;
}

void CMLP_NAME(unpack)(size_t n_in, size_t n, size_t width, const void *panel, void *w)
{
    for (size_t i = 0; i < n_in; i++)
        for (size_t j = 0; j < n; j++)
            ((real *)w)[j * n_in + i] = ((const real *)panel)[i * width + j];
}

#define FORWARD_CASE(id, name, default_p, source, f, df)                                                \
    case CMLP_##id:                                                                                     \
        return f;
static real forward_of(int id, real x, real p)
{
    const real zero = 0, one = 1;
    switch (id) {
        CMLP_ACTIVATIONS(FORWARD_CASE)
    }
    return zero;
}

#define DERIVATIVE_CASE(id, name, default_p, source, f, df)                                             \
    case CMLP_##id:                                                                                     \
        return df;
static real derivative_of(int id, real s, real p)
{
    const real zero = 0, one = 1;
    switch (id) {
        CMLP_ACTIVATIONS(DERIVATIVE_CASE)
    }
    return zero;
}

void CMLP_NAME(activate)(int id, size_t n, const void *x, double param, void *y)
{
    for (size_t i = 0; i < n; i++)
        ((real *)y)[i] = forward_of(id, ((const real *)x)[i], (real)param);
}

void CMLP_NAME(derive)(int id, size_t n, const void *dy, const void *s, double param, void *dx)
{
    for (size_t i = 0; i < n; i++)
        ((real *)dx)[i] = ((const real *)dy)[i] * derivative_of(id, ((const real *)s)[i], (real)param);
}

static real row_max(const real *x, size_t n)
{
    real m = x[0];
    for (size_t j = 1; j < n; j++)
        m = (x[j] > m || x[j] != x[j]) ? x[j] : m;
    return m;
}

void CMLP_NAME(softmax)(size_t rows, size_t n, const void *x_, size_t ldx, int as_log, void *y_, size_t ldy)
{
    for (size_t r = 0; r < rows; r++) {
        const real *x = (const real *)x_ + r * ldx;
        real *y = (real *)y_ + r * ldy;
        real high = row_max(x, n);
        long_sum exps = {0};
        for (size_t j = 0; j < n; j++)
            add_term(&exps, FN(exp)(x[j] - high));
        real sum = sum_of(&exps), log_sum = FN(log)(sum);
        for (size_t j = 0; j < n; j++)
            y[j] = as_log ? (x[j] - high) - log_sum : FN(exp)(x[j] - high) / sum;
    }
}

void CMLP_NAME(softmax_back)(size_t rows, size_t n, const void *dy_, size_t ldd, const void *y_, size_t ldy,
                             void *dx_, size_t ldx)
{
    for (size_t r = 0; r < rows; r++) {
        const real *dy = (const real *)dy_ + r * ldd, *y = (const real *)y_ + r * ldy;
        long_sum dot = {0};
        for (size_t j = 0; j < n; j++)
            add_product(&dot, dy[j], y[j]);
        for (size_t j = 0; j < n; j++)
            ((real *)dx_)[r * ldx + j] = y[j] * (dy[j] - sum_of(&dot));
    }
}

void CMLP_NAME(prelu)(size_t rows, size_t n, const void *x_, size_t ldx, const void *slope, void *y_,
                      size_t ldy)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++) {
            real x = ((const real *)x_)[r * ldx + j];
            ((real *)y_)[r * ldy + j] = x < 0 ? x * ((const real *)slope)[j] : x;
        }
}

void CMLP_NAME(prelu_back)(size_t rows, size_t n, const void *dy_, size_t ldd, const void *x_, size_t ldx,
                           const void *slope, void *dx_, size_t lddx)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++) {
            real x = ((const real *)x_)[r * ldx + j], dy = ((const real *)dy_)[r * ldd + j];
            ((real *)dx_)[r * lddx + j] = x < 0 ? dy * ((const real *)slope)[j] : dy;
        }
}

void CMLP_NAME(prelu_slope)(size_t rows, size_t n, const void *dy_, size_t ldd, const void *x_, size_t ldx,
                            int accumulate, void *dslope)
{
    for (size_t j = 0; j < n; j++) {
        real *to = (real *)dslope + j;
        long_sum sum = {0};
        for (size_t r = 0; r < rows; r++) {
            real x = ((const real *)x_)[r * ldx + j];
            add_term(&sum, x < 0 ? ((const real *)dy_)[r * ldd + j] * x : 0);
        }
        *to = accumulate ? *to + sum_of(&sum) : sum_of(&sum);
    }
}

static real target_of(const cmlp_loss_args *a, size_t r, size_t j)
{
    real t = a->labels ? (real)(a->labels[r] == (int64_t)j) : ((const real *)a->t)[r * a->ldt + j];
    return (real)(1.0 - a->param) * t + (real)(a->param / (double)a->n);
}

static real softmax_cross_entropy_row(const cmlp_loss_args *a, size_t r, real scale)
{
    const real *z = (const real *)a->z + r * a->ldz;
    real high = row_max(z, a->n);
    long_sum exps = {0}, dot = {0}, targets = {0};
    for (size_t j = 0; j < a->n; j++) {
        real t = target_of(a, r, j);
        add_term(&exps, FN(exp)(z[j] - high));
        add_term(&dot, t == 0 ? 0 : t * (z[j] - high));
        add_term(&targets, t);
    }
    real sum = sum_of(&exps), mass = sum_of(&targets);
    for (size_t j = 0; a->dz && j < a->n; j++) {
        real p = FN(exp)(z[j] - high) / sum;
        ((real *)a->dz)[r * a->lddz + j] = scale * (mass * p - target_of(a, r, j));
    }
    return mass * FN(log)(sum) - sum_of(&dot);
}

#define LOSS_CASE(id, name, default_p, on_logits, value, slope)                                         \
    case CMLP_##id:                                                                                     \
        *dz = slope;                                                                                    \
        return value;
static real element_loss(int id, real z, real t, real p, real *dz)
{
    const real zero = 0, half = R(0.5);
    switch (id) {
        CMLP_LOSSES(LOSS_CASE)
    }
    (void)zero, (void)half;
    return *dz = 0;
}

double CMLP_NAME(loss)(int id, const cmlp_loss_args *a)
{
    cmlp_sum total = {0};
    for (size_t r = 0; r < a->rows; r++) {
        real w = a->weight ? ((const real *)a->weight)[r] : 1, scale = w * (real)a->scale;
        long_sum sum = {0};
        if (id == CMLP_SOFTMAX_CROSS_ENTROPY)
            sum.high = softmax_cross_entropy_row(a, r, scale);
        for (size_t j = 0; id != CMLP_SOFTMAX_CROSS_ENTROPY && j < a->n; j++) {
            real dz, z = ((const real *)a->z)[r * a->ldz + j], t = ((const real *)a->t)[r * a->ldt + j];
            add_term(&sum, element_loss(id, z, t, (real)a->param, &dz));
            if (a->dz)
                ((real *)a->dz)[r * a->lddz + j] = scale * dz;
        }
        cmlp_sum_add(&total, (double)(w * sum_of(&sum)));
    }
    return cmlp_sum_value(&total);
}

#define UPDATE_CASE(id, name, first, second, body)                                                              \
    case CMLP_##id:                                                                                     \
        body;                                                                                           \
        break;
static void update_one(real *w_, real g, real *s1_, real *s2_, const cmlp_update_args *args)
{
    const real lr = (real)args->lr, momentum = (real)args->momentum, beta1 = (real)args->beta1,
               beta2 = (real)args->beta2, rest1 = (real)(1.0 - args->beta1),
               rest2 = (real)(1.0 - args->beta2), eps = (real)args->eps, shrink = (real)args->shrink;
    const int nesterov = args->nesterov;
    real w = *w_, s1 = *s1_, s2 = *s2_;
    switch (args->kind) {
        CMLP_OPTIMIZERS(UPDATE_CASE)
    }
    *w_ = w, *s1_ = s1, *s2_ = s2;
}

void CMLP_NAME(update)(size_t n, void *w_, const void *g_, void *s1_, void *s2_, const cmlp_update_args *args)
{
    real *w = w_, *s1 = s1_, *s2 = s2_, none = 0;
    for (size_t i = 0; i < n; i++) {
        real g = ((const real *)g_)[i] * (real)args->gscale;
        if (args->clip != 0)
            g = t_clamp(g, (real)-args->clip, (real)args->clip);
        g += (real)args->decay * w[i];
        g += w[i] > 0 ? (real)args->l1 : w[i] < 0 ? -(real)args->l1 : 0;
        update_one(w + i, g, s1 ? s1 + i : &none, s2 ? s2 + i : &none, args);
    }
}

void CMLP_NAME(multiply)(size_t n, const void *x, const void *m, void *y)
{
    for (size_t i = 0; i < n; i++)
        ((real *)y)[i] = ((const real *)x)[i] * ((const real *)m)[i];
}

void CMLP_NAME(add)(size_t n, const void *x, void *y)
{
    for (size_t i = 0; i < n; i++)
        ((real *)y)[i] += ((const real *)x)[i];
}

void CMLP_NAME(lerp)(size_t n, const void *x, double t_, void *y)
{
    const real t = (real)t_, rest = (real)1 - t;
    for (size_t i = 0; i < n; i++)
        ((real *)y)[i] = rest * ((real *)y)[i] + t * ((const real *)x)[i];
}

double CMLP_NAME(sum_squares)(size_t n, const void *x)
{
    cmlp_sum sum = {0};
    for (size_t i = 0; i < n; i++)
        cmlp_sum_add(&sum, (double)((const real *)x)[i] * (double)((const real *)x)[i]);
    return cmlp_sum_value(&sum);
}

int CMLP_NAME(all_within)(size_t n, const void *x, double low, double high)
{
    for (size_t i = 0; i < n; i++) {
        real value = ((const real *)x)[i];
        if (!isfinite(value) || (double)value < low || (double)value > high)
            return 0;
    }
    return 1;
}

double CMLP_NAME(fma_loop)(size_t rounds)
{
    real acc[8] = {0};
    for (size_t r = 0; r < rounds; r++)
        for (int i = 0; i < 8; i++)
            acc[i] = FN(fma)(acc[i], R(0.999), R(1e-3));
    return acc[0] + acc[7] < 0 ? 0.0 : 16.0 * (double)rounds;
}
