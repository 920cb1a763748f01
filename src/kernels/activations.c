/* Elementwise activations and their derivatives from activations.h; softmax and PReLU, which see rows. */
#include "kernels.h"
#include "vmath.h"

#include "../activations.h"

#define FORWARD(id, name, default_p, source, f, df)                                                     \
    INLINE v forward_##id(v x, v p)                                                                     \
    {                                                                                                   \
        const v zero = vset(R(0.0)), one = vset(R(1.0));                                                \
        (void)p, (void)zero, (void)one;                                                                 \
        return f;                                                                                       \
    }                                                                                                   \
    static void activate_##id(size_t n, const real *x, real param, real *y)                             \
    {                                                                                                   \
        const v p = vset(param);                                                                        \
        size_t i = 0;                                                                                   \
        for (; i + VW <= n; i += VW)                                                                    \
            vstore(y + i, forward_##id(vload(x + i), p));                                               \
        if (i < n)                                                                                      \
            vstore_part(y + i, forward_##id(vload_part(x + i, n - i), p), n - i);                       \
    }
CMLP_ACTIVATIONS(FORWARD)

#define DERIVATIVE(id, name, default_p, source, f, df)                                                  \
    INLINE v derivative_##id(v s, v p)                                                                  \
    {                                                                                                   \
        const v zero = vset(R(0.0)), one = vset(R(1.0));                                                \
        (void)s, (void)p, (void)zero, (void)one;                                                        \
        return df;                                                                                      \
    }                                                                                                   \
    static void derive_##id(size_t n, const real *dy, const real *s, real param, real *dx)              \
    {                                                                                                   \
        const v p = vset(param);                                                                        \
        size_t i = 0;                                                                                   \
        for (; i + VW <= n; i += VW)                                                                    \
            vstore(dx + i, vload(dy + i) * derivative_##id(vload(s + i), p));                           \
        if (i < n) {                                                                                    \
            v d = vload_part(dy + i, n - i) * derivative_##id(vload_part(s + i, n - i), p);             \
            vstore_part(dx + i, d, n - i);                                                              \
        }                                                                                               \
    }
CMLP_ACTIVATIONS(DERIVATIVE)

#define FORWARD_ENTRY(id, name, default_p, source, f, df) activate_##id,
#define DERIVATIVE_ENTRY(id, name, default_p, source, f, df) derive_##id,
static void (*const activate_table[])(size_t, const real *, real, real *) = {CMLP_ACTIVATIONS(FORWARD_ENTRY)};
static void (*const derive_table[])(size_t, const real *, const real *, real,
                                    real *) = {CMLP_ACTIVATIONS(DERIVATIVE_ENTRY)};

void CMLP_NAME(activate)(int id, size_t n, const void *x, double param, void *y)
{
    activate_table[id](n, x, (real)param, y);
}

void CMLP_NAME(derive)(int id, size_t n, const void *dy, const void *s, double param, void *dx)
{
    derive_table[id](n, dy, s, (real)param, dx);
}

void CMLP_NAME(softmax)(size_t rows, size_t n, const void *x_, size_t ldx, int as_log, void *y_, size_t ldy)
{
    for (size_t r = 0; r < rows; r++) {
        const real *x = (const real *)x_ + r * ldx;
        real *y = (real *)y_ + r * ldy;
        v top = vtail(vload(x), 0, n, vset(x[0]));
        for (size_t j = VW; j < n; j += VW)
            top = vmax(top, vtail(vload(x + j), j, n, vset(x[0])));
        v high = vset(vmax_lane(top));
        long_sum sums = {0};
        for (size_t j = 0; j < n;) {
            const size_t end = block_end(j, n);
            v sum = vset(R(0.0));
            for (; j < end; j += VW) {
                v e = vtail(t_exp(vload(x + j) - high), j, n, vset(R(0.0)));
                sum += e;
                if (!as_log)
                    vstore(y + j, e);
            }
            add_block(&sums, sum);
        }
        v total = vset(vsum(sum_of(&sums)));
        v log_sum = t_log(total), scale = R(1.0) / total;
        for (size_t j = 0; j < n; j += VW) {
            /* The maximum goes first: added to the logarithm it would take its digits. */
            v out = as_log ? (vload(x + j) - high) - log_sum : vload(y + j) * scale;
            vstore(y + j, vtail(out, j, n, vset(R(0.0))));
        }
    }
}

void CMLP_NAME(softmax_back)(size_t rows, size_t n, const void *dy_, size_t ldd, const void *y_, size_t ldy,
                             void *dx_, size_t ldx)
{
    for (size_t r = 0; r < rows; r++) {
        const real *dy = (const real *)dy_ + r * ldd, *y = (const real *)y_ + r * ldy;
        real *dx = (real *)dx_ + r * ldx;
        long_sum dots = {0};
        for (size_t j = 0; j < n;) {
            const size_t end = block_end(j, n);
            v dot = vset(R(0.0));
            for (; j < end; j += VW)
                dot += vtail(vload(dy + j) * vload(y + j), j, n, vset(R(0.0)));
            add_block(&dots, dot);
        }
        v common = vset(vsum(sum_of(&dots)));
        for (size_t j = 0; j < n; j += VW)
            vstore(dx + j, vtail(vload(y + j) * (vload(dy + j) - common), j, n, vset(R(0.0))));
    }
}

void CMLP_NAME(prelu)(size_t rows, size_t n, const void *x_, size_t ldx, const void *slope_, void *y_,
                      size_t ldy)
{
    const real *slope = slope_;
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j += VW) {
            v x = vload((const real *)x_ + r * ldx + j);
            vstore((real *)y_ + r * ldy + j, vsel_lt(x, vset(R(0.0)), x * vload(slope + j), x));
        }
}

void CMLP_NAME(prelu_back)(size_t rows, size_t n, const void *dy_, size_t ldd, const void *x_, size_t ldx,
                           const void *slope_, void *dx_, size_t lddx)
{
    const real *slope = slope_;
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j += VW) {
            v x = vload((const real *)x_ + r * ldx + j), dy = vload((const real *)dy_ + r * ldd + j);
            vstore((real *)dx_ + r * lddx + j, vsel_lt(x, vset(R(0.0)), dy * vload(slope + j), dy));
        }
}

void CMLP_NAME(prelu_slope)(size_t rows, size_t n, const void *dy_, size_t ldd, const void *x_, size_t ldx,
                            int accumulate, void *dslope_)
{
    real *dslope = dslope_;
    const v zero = vset(R(0.0));
    for (size_t j = 0; j < n; j += VW) {
        long_sum sums = {0};
        for (size_t r = 0; r < rows;) {
            const size_t end = rows - r < SUM_BLOCK ? rows : r + SUM_BLOCK;
            v sum = zero;
            for (; r < end; r++) {
                v x = vtail(vload((const real *)x_ + r * ldx + j), j, n, zero);
                sum += vsel_lt(x, zero, vload((const real *)dy_ + r * ldd + j) * x, zero);
            }
            add_block(&sums, sum);
        }
        v total = sum_of(&sums);
        if (accumulate)
            total += vload(dslope + j);
        vstore(dslope + j, total);
    }
}

void CMLP_NAME(multiply)(size_t n, const void *x_, const void *m_, void *y_)
{
    const real *x = x_, *m = m_;
    real *y = y_;
    size_t i = 0;
    for (; i + VW <= n; i += VW)
        vstore(y + i, vload(x + i) * vload(m + i));
    for (; i < n; i++)
        y[i] = x[i] * m[i];
}

void CMLP_NAME(add)(size_t n, const void *x_, void *y_)
{
    const real *x = x_;
    real *y = y_;
    size_t i = 0;
    for (; i + VW <= n; i += VW)
        vstore(y + i, vload(y + i) + vload(x + i));
    for (; i < n; i++)
        y[i] += x[i];
}

void CMLP_NAME(lerp)(size_t n, const void *x_, double t_, void *y_)
{
    const real *x = x_, t = (real)t_, rest = (real)1 - t;
    real *y = y_;
    size_t i = 0;
    for (; i + VW <= n; i += VW)
        vstore(y + i, vset(rest) * vload(y + i) + vset(t) * vload(x + i));
    for (; i < n; i++)
        y[i] = rest * y[i] + t * x[i];
}

double CMLP_NAME(sum_squares)(size_t n, const void *x_)
{
    const real *x = x_;
    double total = 0.0;
    for (size_t count; n; n -= count, x += count) {
        double sum[8] = {0};
        size_t i = 0;
        count = n < SQUARES_BLOCK ? n : SQUARES_BLOCK;
        for (; i + 8 <= count; i += 8)
            for (size_t l = 0; l < 8; l++)
                sum[l] += (double)x[i + l] * (double)x[i + l];
        for (; i < count; i++)
            sum[i % 8] += (double)x[i] * (double)x[i];
        total += ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
    }
    return total;
}

int CMLP_NAME(all_within)(size_t n, const void *x_, double low, double high)
{
    const real *x = x_, most = PICK(__FLT_MAX__, __DBL_MAX__);
    v lo = vset(low > -most ? (real)low : -most), hi = vset(high < most ? (real)high : most);
    vi all = vset(R(0.0)) == vset(R(0.0));
    size_t i = 0;
    for (; i + VW <= n; i += VW)
        all &= (vload(x + i) >= lo) & (vload(x + i) <= hi);
    if (i < n) {
        v rest = vtail(vload_part(x + i, n - i), i, n, lo);
        all &= (rest >= lo) & (rest <= hi);
    }
    return vsum(vsel(all, vset(R(0.0)), vset(R(1.0)))) == R(0.0);
}

double CMLP_NAME(fma_loop)(size_t rounds)
{
    v acc[12], x = vset(R(0.999)), y = vset(R(1e-3));
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++)
        acc[i] = vset((real)i);
    for (size_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++)
            acc[i] = vfma(acc[i], x, y);
    v sum = acc[0];
#pragma GCC unroll 12
    for (int i = 1; i < 12; i++)
        sum += acc[i];
    /* The sum is used, so that the loop is not left out; it is never NaN. */
    return vsum(sum) != vsum(sum) ? 0.0 : 2.0 * 12 * (double)VW * (double)rounds;
}
