/* Convolution and pooling as plain loops, a sample at a time (planes of one lane): kernels.h, "planes". */
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

void CMLP_NAME(to_planes)(size_t rows, size_t n, const void *x, size_t ldx, void *planes)
{
    (void)ldx;
    memcpy(planes, x, rows * n * sizeof(real));
}

void CMLP_NAME(from_planes)(size_t rows, size_t n, const void *planes, void *y, size_t ldy)
{
    (void)ldy;
    memcpy(y, planes, rows * n * sizeof(real));
}

/* Place of tap (u, t) of plane q under output (i, j). */
static size_t place(const cmlp_window *s, size_t q, size_t i, size_t j, size_t u, size_t t)
{
    return (q * s->in_height + i * s->stride[0] + u) * s->in_width + j * s->stride[1] + t;
}

/* Place of the weight of output c, input q, tap (u, t): panels of CONV_GROUP outputs. */
static size_t weight_at(const cmlp_window *s, size_t c, size_t q, size_t u, size_t t)
{
    size_t first = c / CONV_GROUP * CONV_GROUP, width = s->n_out - first;
    if (width > CONV_GROUP)
        width = CONV_GROUP;
    size_t row = (q * s->kernel[0] + u) * s->kernel[1] + t, rows = s->n_in * s->kernel[0] * s->kernel[1];
    return first * rows + row * width + (c - first);
}

#define FOR_OUTPUTS(s, c, i, j)                                                                         \
    for (size_t c = 0; c < (s)->n_out; c++)                                                             \
        for (size_t i = 0; i < (s)->height; i++)                                                        \
            for (size_t j = 0; j < (s)->width; j++)
#define FOR_TAPS(s, u, t)                                                                               \
    for (size_t u = 0; u < (s)->kernel[0]; u++)                                                         \
        for (size_t t = 0; t < (s)->kernel[1]; t++)

void CMLP_NAME(conv)(const cmlp_window *s, const void *x_, const void *w_, const void *b_, void *y_)
{
    const real *x = x_, *w = w_, *b = b_;
    real *y = y_;
    FOR_OUTPUTS(s, c, i, j)
    {
        real sum = b ? b[c] : 0;
        for (size_t q = 0; q < s->n_in; q++)
            FOR_TAPS(s, u, t)
        sum = FN(fma)(w[weight_at(s, c, q, u, t)], x[place(s, q, i, j, u, t)], sum);
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
                for (size_t i = 0; i < s->height; i++)
                    for (size_t j = 0; j < s->width; j++)
                        sum = FN(fma)(d[(c * s->height + i) * s->width + j], x[place(s, q, i, j, u, t)], sum);
                real *to = &dw[weight_at(s, c, q, u, t)];
                *to = sum + (accumulate ? *to : 0);
            }
}

void CMLP_NAME(plane_sums)(size_t n, size_t size, const void *d_, int accumulate, void *sums_)
{
    const real *d = d_;
    real *sums = sums_;
    for (size_t c = 0; c < n; c++) {
        real sum = 0;
        for (size_t i = 0; i < size; i++)
            sum += *d++;
        sums[c] = sum + (accumulate ? sums[c] : 0);
    }
}

void CMLP_NAME(max_pool)(const cmlp_window *s, const void *x_, void *y_)
{
    const real *x = x_;
    real *y = y_;
    FOR_OUTPUTS(s, c, i, j)
    {
        real most = x[place(s, c, i, j, 0, 0)];
        FOR_TAPS(s, u, t)
        {
            real other = x[place(s, c, i, j, u, t)];
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
    memset(dx, 0, s->n_out * s->in_height * s->in_width * sizeof(real));
    FOR_OUTPUTS(s, c, i, j)
    {
        int found = 0;
        FOR_TAPS(s, u, t)
        {
            size_t at = place(s, c, i, j, u, t);
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
    FOR_OUTPUTS(s, c, i, j)
    {
        real sum = 0;
        FOR_TAPS(s, u, t)
        sum += x[place(s, c, i, j, u, t)];
        *y++ = mean ? sum / (real)counted(s, i, j) : sum;
    }
}

void CMLP_NAME(sum_pool_back)(const cmlp_window *s, const void *d_, int mean, void *dx_)
{
    const real *d = d_;
    real *dx = dx_;
    memset(dx, 0, s->n_out * s->in_height * s->in_width * sizeof(real));
    FOR_OUTPUTS(s, c, i, j)
    {
        real share = mean ? *d / (real)counted(s, i, j) : *d;
        FOR_TAPS(s, u, t)
        dx[place(s, c, i, j, u, t)] += share;
        d++;
    }
}
