/* Convolution and pooling as plain loops, number by number: kernels.h, "planes". */
#include "kernels.h"

#include <math.h>
#include <string.h>

#ifdef CMLP_DOUBLE
typedef double real;
#define FN(name) name
#else
typedef float real;
#define FN(name) name##f
#endif

/* Number of sample l at column `column` of a row of plane q. */
static size_t number_at(const cmlp_window *s, size_t q, size_t row, size_t column, size_t l)
{
    return ((q * s->in_height + row) * s->in_row + column) * s->lanes + l;
}

/* Of tap (u, t) under output (i, j): for pooling, and for convolution, whose columns lie in phases. */
static size_t place(const cmlp_window *s, size_t q, size_t i, size_t j, size_t u, size_t t, size_t l)
{
    return number_at(s, q, i * s->stride[0] + u, j * s->stride[1] + t, l);
}

static size_t place_in_phase(const cmlp_window *s, size_t q, size_t i, size_t j, size_t u, size_t t, size_t l)
{
    size_t across = s->stride[1], phase = s->in_row / across;
    return number_at(s, q, i * s->stride[0] + u, t % across * phase + j + t / across, l);
}

/* Place of the weight of output c, input q, tap (u, t): panels of CONV_GROUP outputs. */
static size_t weight_at(const cmlp_window *s, size_t c, size_t q, size_t u, size_t t)
{
    size_t row = (q * s->kernel[0] + u) * s->kernel[1] + t, all = s->kernel[0] * s->kernel[1];
    if (s->from)
        return s->first[c] * all + row;
    size_t first = c / CONV_GROUP * CONV_GROUP, width = s->n_out - first;
    if (width > CONV_GROUP)
        width = CONV_GROUP;
    return first * s->n_in * all + row * width + (c - first);
}

#define FOR_OUTPUTS(s, c, i, j, l)                                                                      \
    for (size_t c = 0; c < (s)->n_out; c++)                                                             \
        for (size_t i = 0; i < (s)->height; i++)                                                        \
            for (size_t j = 0; j < (s)->width; j++)                                                     \
                for (size_t l = 0; l < (s)->lanes; l++)
#define FOR_TAPS(s, u, t)                                                                               \
    for (size_t u = 0; u < (s)->kernel[0]; u++)                                                         \
        for (size_t t = 0; t < (s)->kernel[1]; t++)

void CMLP_NAME(conv)(const cmlp_window *s, const void *x_, const void *w_, const void *b_, void *y_)
{
    const real *x = x_, *w = w_, *b = b_;
    real *y = y_;
    FOR_OUTPUTS(s, c, i, j, l)
    {
        size_t first = s->from ? s->first[c] : 0, n = s->from ? s->first[c + 1] - first : s->n_in;
        real sum = b ? b[c] : 0;
        for (size_t k = 0; k < n; k++) {
            size_t q = s->from ? s->from[first + k] : k;
            FOR_TAPS(s, u, t)
            sum = FN(fma)(w[weight_at(s, c, k, u, t)], x[place_in_phase(s, q, i, j, u, t, l)], sum);
        }
        *y++ = sum;
    }
}

void CMLP_NAME(conv_dw)(const cmlp_window *s, const void *x_, const void *d_, int accumulate, void *dw_)
{
    const real *x = x_, *d = d_;
    real *dw = dw_;
    for (size_t c = 0; c < s->n_out; c++)
        for (size_t q = 0; q < s->n_in; q++)
            FOR_TAPS(s, u, t)
            {
                real sum = 0;
                const real *delta = d + c * s->height * s->width * s->lanes;
                for (size_t i = 0; i < s->height; i++)
                    for (size_t j = 0; j < s->width; j++)
                        for (size_t l = 0; l < s->lanes; l++)
                            sum = FN(fma)(*delta++, x[place_in_phase(s, q, i, j, u, t, l)], sum);
                real *to = &dw[weight_at(s, c, q, u, t)];
                *to = sum + (accumulate ? *to : 0);
            }
}

void CMLP_NAME(plane_sums)(size_t n, size_t size, const void *d_, const void *x_, int accumulate, void *sums_)
{
    const real *d = d_, *x = x_;
    real *sums = sums_;
    for (size_t c = 0; c < n; c++) {
        real sum = 0;
        for (size_t i = 0; i < size; i++)
            sum += *d++ * (x ? *x++ : 1);
        sums[c] = sum + (accumulate ? sums[c] : 0);
    }
}

void CMLP_NAME(scale_planes)(size_t n, size_t size, const void *x_, const void *w_, const void *b_, void *y_)
{
    const real *x = x_, *w = w_, *b = b_;
    real *y = y_;
    for (size_t c = 0; c < n; c++)
        for (size_t i = 0; i < size; i++)
            *y++ = FN(fma)(w[c], *x++, b ? b[c] : 0);
}

void CMLP_NAME(max_pool)(const cmlp_window *s, const void *x_, void *y_)
{
    const real *x = x_;
    real *y = y_;
    FOR_OUTPUTS(s, c, i, j, l)
    {
        real most = x[place(s, c, i, j, 0, 0, l)];
        FOR_TAPS(s, u, t)
        {
            real other = x[place(s, c, i, j, u, t, l)];
            if (other > most || isnan(other))
                most = other;
        }
        *y++ = most;
    }
}

void CMLP_NAME(max_pool_back)(const cmlp_window *s, const void *x_, const void *y_, const void *d_, void *dx_)
{
    const real *x = x_, *y = y_, *d = d_;
    real *dx = dx_;
    memset(dx, 0, s->n_out * s->in_height * s->in_row * s->lanes * sizeof(real));
    FOR_OUTPUTS(s, c, i, j, l)
    {
        int found = 0;
        FOR_TAPS(s, u, t)
        {
            size_t at = place(s, c, i, j, u, t, l);
            if (!found && x[at] == *y)
                dx[at] += *d, found = 1;
        }
        y++, d++;
    }
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Places that a mean over the window of output (i, j) counts. */
static size_t counted(const cmlp_window *s, size_t i, size_t j)
{
    return least(s->kernel[0], s->counted[0] - i * s->stride[0]) *
           least(s->kernel[1], s->counted[1] - j * s->stride[1]);
}

void CMLP_NAME(sum_pool)(const cmlp_window *s, const void *x_, int mean, void *y_)
{
    const real *x = x_;
    real *y = y_;
    FOR_OUTPUTS(s, c, i, j, l)
    {
        real sum = 0;
        FOR_TAPS(s, u, t)
        sum += x[place(s, c, i, j, u, t, l)];
        *y++ = mean ? sum / (real)counted(s, i, j) : sum;
    }
}

void CMLP_NAME(sum_pool_back)(const cmlp_window *s, const void *d_, int mean, void *dx_)
{
    const real *d = d_;
    real *dx = dx_;
    memset(dx, 0, s->n_out * s->in_height * s->in_row * s->lanes * sizeof(real));
    FOR_OUTPUTS(s, c, i, j, l)
    {
        real share = mean ? *d / (real)counted(s, i, j) : *d;
        FOR_TAPS(s, u, t)
        dx[place(s, c, i, j, u, t, l)] += share;
        d++;
    }
}
