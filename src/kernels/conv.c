/* Convolution and pooling of VW samples at a time, one a lane: kernels.h, "planes". */
#include "kernels.h"
#include "simd.h"

INLINE size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* ---- between rows and planes ---- */

void CMLP_NAME(to_planes)(size_t rows, size_t n, const void *x_, size_t ldx, void *planes_)
{
    const real *x = x_;
    real *to = planes_;
    for (size_t j = 0; j < n; j++, to += VW) {
        real lanes[VBYTES / sizeof(real)] = {0};
        for (size_t l = 0; l < rows; l++)
            lanes[l] = x[l * ldx + j];
        vstore(to, vload(lanes));
    }
}

void CMLP_NAME(from_planes)(size_t rows, size_t n, const void *planes_, void *y_, size_t ldy)
{
    const real *from = planes_;
    real *y = y_;
    for (size_t j = 0; j < n; j++, from += VW)
        for (size_t l = 0; l < rows; l++)
            y[l * ldy + j] = from[l];
}

/* ---- convolution ---- */

/* `co` outputs by `px` columns of an output row: each element is one chain of multiply-adds over planes,
 * kernel rows and kernel columns in order. */
INLINE void conv_tile(const size_t co, const size_t px, const cmlp_window *s, const real *x, const real *w,
                      const real *b, real *y)
{
    const size_t row = s->in_width * VW, plane = s->in_height * row, across = s->stride[1] * VW;
    v acc[CONV_GROUP][CONV_COLUMNS];
#pragma GCC unroll 4
    for (size_t c = 0; c < co; c++)
#pragma GCC unroll 6
        for (size_t p = 0; p < px; p++)
            acc[c][p] = vset(b ? b[c] : R(0.0));
    for (size_t q = 0; q < s->n_in; q++, x += plane)
        for (size_t u = 0; u < s->kernel[0]; u++) {
            const real *at = x + u * row;
            for (size_t t = 0; t < s->kernel[1]; t++, at += VW, w += co) {
                v in[CONV_COLUMNS];
#pragma GCC unroll 6
                for (size_t p = 0; p < px; p++)
                    in[p] = vload(at + p * across);
#pragma GCC unroll 4
                for (size_t c = 0; c < co; c++) {
                    v weight = vset(w[c]);
#pragma GCC unroll 6
                    for (size_t p = 0; p < px; p++)
                        acc[c][p] = vfma(weight, in[p], acc[c][p]);
                }
            }
        }
    const size_t out_plane = s->height * s->width * VW;
#pragma GCC unroll 4
    for (size_t c = 0; c < co; c++)
#pragma GCC unroll 6
        for (size_t p = 0; p < px; p++)
            vstore(y + c * out_plane + p * VW, acc[c][p]);
}

typedef void conv_fn(const cmlp_window *s, const real *x, const real *w, const real *b, real *y);

#define DEFINE_CONV(co, px)                                                                             \
    static void conv_##co##x##px(const cmlp_window *s, const real *x, const real *w, const real *b, real *y) \
    {                                                                                                   \
        conv_tile(co, px, s, x, w, b, y);                                                               \
    }
#define CONV_ENTRY(co, px) [co][px] = conv_##co##x##px,
CONV_TILES(DEFINE_CONV)
static conv_fn *const conv_tiles[CONV_GROUP + 1][CONV_COLUMNS + 1] = {CONV_TILES(CONV_ENTRY)};

void CMLP_NAME(conv)(const cmlp_window *s, const void *x_, const void *w_, const void *b_, void *y_)
{
    const real *x = x_, *w = w_, *b = b_;
    real *y = y_;
    const size_t taps = s->n_in * s->kernel[0] * s->kernel[1];
    for (size_t c = 0; c < s->n_out; c += CONV_GROUP) {
        const size_t co = min_size(CONV_GROUP, s->n_out - c);
        for (size_t i = 0; i < s->height; i++)
            for (size_t j = 0; j < s->width; j += CONV_COLUMNS)
                conv_tiles[co][min_size(CONV_COLUMNS, s->width - j)](
                    s, x + (i * s->stride[0] * s->in_width + j * s->stride[1]) * VW, w + c * taps,
                    b ? b + c : NULL, y + ((c * s->height + i) * s->width + j) * VW);
    }
}

/* The gradients of `kt` columns of a kernel row for `co` outputs and one input plane; dw: rows of co. */
INLINE void dw_tile(const size_t co, const size_t kt, const cmlp_window *s, const real *x, const real *d,
                    int accumulate, real *dw)
{
    const size_t plane = s->height * s->width * VW;
    v acc[CONV_GROUP][CONV_TAPS];
#pragma GCC unroll 4
    for (size_t c = 0; c < co; c++)
#pragma GCC unroll 5
        for (size_t t = 0; t < kt; t++)
            acc[c][t] = vset(R(0.0));
    for (size_t i = 0; i < s->height; i++) {
        const real *at = x + i * s->stride[0] * s->in_width * VW;
        for (size_t j = 0; j < s->width; j++, at += s->stride[1] * VW, d += VW) {
            v in[CONV_TAPS];
#pragma GCC unroll 5
            for (size_t t = 0; t < kt; t++)
                in[t] = vload(at + t * VW);
#pragma GCC unroll 4
            for (size_t c = 0; c < co; c++) {
                v delta = vload(d + c * plane);
#pragma GCC unroll 5
                for (size_t t = 0; t < kt; t++)
                    acc[c][t] = vfma(delta, in[t], acc[c][t]);
            }
        }
    }
#pragma GCC unroll 4
    for (size_t c = 0; c < co; c++)
#pragma GCC unroll 5
        for (size_t t = 0; t < kt; t++)
            dw[t * co + c] = vsum(acc[c][t]) + (accumulate ? dw[t * co + c] : R(0.0));
}

typedef void dw_fn(const cmlp_window *s, const real *x, const real *d, int accumulate, real *dw);

#define DEFINE_DW(co, kt)                                                                               \
    static void dw_##co##x##kt(const cmlp_window *s, const real *x, const real *d, int accumulate, real *dw) \
    {                                                                                                   \
        dw_tile(co, kt, s, x, d, accumulate, dw);                                                       \
    }
#define DW_ENTRY(co, kt) [co][kt] = dw_##co##x##kt,
CONV_DW_TILES(DEFINE_DW)
static dw_fn *const dw_tiles[CONV_GROUP + 1][CONV_TAPS + 1] = {CONV_DW_TILES(DW_ENTRY)};

void CMLP_NAME(conv_dw)(const cmlp_window *s, const void *x_, const void *d_, int accumulate, void *dw_)
{
    const real *x = x_, *d = d_;
    real *dw = dw_;
    const size_t plane = s->in_height * s->in_width;
    for (size_t c = 0; c < s->n_out; c += CONV_GROUP) {
        const size_t co = min_size(CONV_GROUP, s->n_out - c);
        for (size_t q = 0; q < s->n_in; q++)
            for (size_t u = 0; u < s->kernel[0]; u++)
                for (size_t t = 0; t < s->kernel[1]; t += CONV_TAPS) {
                    const size_t kt = min_size(CONV_TAPS, s->kernel[1] - t);
                    dw_tiles[co][kt](s, x + (q * plane + u * s->in_width + t) * VW,
                                     d + c * s->height * s->width * VW, accumulate, dw);
                    dw += kt * co;
                }
    }
}

void CMLP_NAME(plane_sums)(size_t n, size_t size, const void *d_, int accumulate, void *sums_)
{
    const real *d = d_;
    real *sums = sums_;
    for (size_t c = 0; c < n; c++) {
        v sum[4] = {vset(R(0.0)), vset(R(0.0)), vset(R(0.0)), vset(R(0.0))};
        for (size_t i = 0; i < size; i++, d += VW)
            sum[i % 4] += vload(d);
        sums[c] = vsum((sum[0] + sum[1]) + (sum[2] + sum[3])) + (accumulate ? sums[c] : R(0.0));
    }
}

/* ---- pooling ---- */

void CMLP_NAME(max_pool)(const cmlp_window *s, const void *x_, void *y_)
{
    const real *x = x_;
    real *y = y_;
    for (size_t c = 0; c < s->n_out; c++, x += s->in_height * s->in_width * VW)
        for (size_t i = 0; i < s->height; i++)
            for (size_t j = 0; j < s->width; j++, y += VW) {
                const real *at = x + (i * s->stride[0] * s->in_width + j * s->stride[1]) * VW;
                v most = vload(at);
                for (size_t u = 0; u < s->kernel[0]; u++)
                    for (size_t t = 0; t < s->kernel[1]; t++) {
                        v other = vload(at + (u * s->in_width + t) * VW);
                        most = vsel((other > most) | (other != other), other, most);
                    }
                vstore(y, most);
            }
}

void CMLP_NAME(max_pool_back)(const cmlp_window *s, const void *x_, const void *y_, const void *d_, void *dx_)
{
    const real *x = x_, *y = y_, *d = d_;
    real *dx = dx_;
    const size_t plane = s->in_height * s->in_width * VW;
    memset(dx, 0, s->n_out * plane * sizeof(real));
    for (size_t c = 0; c < s->n_out; c++, x += plane, dx += plane)
        for (size_t i = 0; i < s->height; i++)
            for (size_t j = 0; j < s->width; j++, y += VW, d += VW) {
                const size_t first = (i * s->stride[0] * s->in_width + j * s->stride[1]) * VW;
                v left = vload(d), zero = vset(R(0.0)), most = vload(y);
                for (size_t u = 0; u < s->kernel[0]; u++)
                    for (size_t t = 0; t < s->kernel[1]; t++) {
                        const size_t at = first + (u * s->in_width + t) * VW;
                        vi here = vload(x + at) == most;
                        vstore(dx + at, vload(dx + at) + vsel(here, left, zero));
                        left = vsel(here, zero, left);
                    }
            }
}

/* Places that a mean over the window of output (i, j) counts. */
INLINE size_t counted(const cmlp_window *s, size_t i, size_t j)
{
    return min_size(s->kernel[0], s->counted[0] - i * s->stride[0]) *
           min_size(s->kernel[1], s->counted[1] - j * s->stride[1]);
}

void CMLP_NAME(sum_pool)(const cmlp_window *s, const void *x_, int mean, void *y_)
{
    const real *x = x_;
    real *y = y_;
    for (size_t c = 0; c < s->n_out; c++, x += s->in_height * s->in_width * VW)
        for (size_t i = 0; i < s->height; i++)
            for (size_t j = 0; j < s->width; j++, y += VW) {
                const real *at = x + (i * s->stride[0] * s->in_width + j * s->stride[1]) * VW;
                v sum = vset(R(0.0));
                for (size_t u = 0; u < s->kernel[0]; u++)
                    for (size_t t = 0; t < s->kernel[1]; t++)
                        sum += vload(at + (u * s->in_width + t) * VW);
                if (mean)
                    sum /= vset((real)counted(s, i, j));
                vstore(y, sum);
            }
}

void CMLP_NAME(sum_pool_back)(const cmlp_window *s, const void *d_, int mean, void *dx_)
{
    const real *d = d_;
    real *dx = dx_;
    const size_t plane = s->in_height * s->in_width * VW;
    memset(dx, 0, s->n_out * plane * sizeof(real));
    for (size_t c = 0; c < s->n_out; c++, dx += plane)
        for (size_t i = 0; i < s->height; i++)
            for (size_t j = 0; j < s->width; j++, d += VW) {
                real *at = dx + (i * s->stride[0] * s->in_width + j * s->stride[1]) * VW;
                v share = vload(d);
                if (mean)
                    share /= vset((real)counted(s, i, j));
                for (size_t u = 0; u < s->kernel[0]; u++)
                    for (size_t t = 0; t < s->kernel[1]; t++) {
                        real *to = at + (u * s->in_width + t) * VW;
                        vstore(to, vload(to) + share);
                    }
            }
}
