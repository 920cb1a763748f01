/* Convolution and pooling of some samples at a time, side by side: kernels.h, "planes".
 *
 * A row of a plane is a run of numbers, column after column with all samples of each, so whole vectors run
 * over it however many samples there are: with 16 a vector is one column, with one it is as many columns as
 * it has lanes.  The order of a sum's terms is the same in all cases.
 */
#include "kernels.h"
#include "simd.h"

INLINE size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* ---- convolution ---- */

/* Numbers from a tap of a kernel row to the next, which lie in phases of the stride. */
typedef struct {
    size_t phase, stride, next, back;
} taps;

INLINE taps taps_of(const cmlp_window *s)
{
    const size_t across = s->stride[1], phase = s->in_row / across * s->lanes;
    return (taps){0, across, phase, s->lanes - (across - 1) * phase};
}

INLINE size_t step(taps *t)
{
    if (t->stride == 1)
        return t->back;
    if (++t->phase < t->stride)
        return t->next;
    t->phase = 0;
    return t->back;
}

/* Planes whose terms make a chain: SUM_BLOCK or a few more. */
INLINE size_t planes_of_chain(const cmlp_window *s)
{
    const size_t all = s->kernel[0] * s->kernel[1];
    return (SUM_BLOCK + all - 1) / all;
}

/* `co` outputs by `px` vectors of an output row, the last of which begins at `last` and counts `n` numbers.
 * `from` lists the input planes, or NULL: planes 0 to n_from.  Chains of multiply-adds over planes, kernel
 * rows and kernel columns in order, and the chains' sums in order; `total` has room for a tile. */
INLINE void conv_tile(const size_t co, const size_t px, const cmlp_window *s, const uint32_t *from,
                      size_t n_from, const real *x, const real *w, const real *b, real *y, real *total,
                      ptrdiff_t last, size_t n)
{
    const size_t row = s->in_row * s->lanes, plane = s->in_height * row, chain = planes_of_chain(s);
    v acc[CONV_GROUP][CONV_COLUMNS];
#pragma GCC unroll 4
    for (size_t c = 0; c < co; c++)
#pragma GCC unroll 6
        for (size_t p = 0; p < px; p++)
            acc[c][p] = vset(b ? b[c] : R(0.0));
    for (size_t q = 0; q < n_from;) {
        const size_t first = q, end = min_size(q + chain, n_from);
        for (; q < end; q++)
            for (size_t u = 0; u < s->kernel[0]; u++) {
                const real *at = x + (from ? from[q] : q) * plane + u * row;
                taps next = taps_of(s);
                for (size_t t = 0; t < s->kernel[1]; t++, at += step(&next), w += co) {
                    v in[CONV_COLUMNS];
#pragma GCC unroll 6
                    for (size_t p = 0; p < px; p++)
                        in[p] = vload(at + (p + 1 < px ? (ptrdiff_t)(p * VW) : last));
#pragma GCC unroll 4
                    for (size_t c = 0; c < co; c++) {
                        v weight = vset(w[c]);
#pragma GCC unroll 6
                        for (size_t p = 0; p < px; p++)
                            ADD_PRODUCT(acc[c][p], weight, in[p]);
                    }
                }
            }
        if (first == 0 && end == n_from)
            break;
#pragma GCC unroll 4
        for (size_t c = 0; c < co; c++)
#pragma GCC unroll 6
            for (size_t p = 0; p < px; p++) {
                real *sum = total + (c * CONV_COLUMNS + p) * VW;
                if (first)
                    acc[c][p] += vload(sum);
                if (end == n_from)
                    continue;
                vstore(sum, acc[c][p]);
                acc[c][p] = vset(R(0.0));
            }
    }
    const size_t out_plane = s->height * s->width * s->lanes;
#pragma GCC unroll 4
    for (size_t c = 0; c < co; c++) {
#pragma GCC unroll 6
        for (size_t p = 0; p + 1 < px; p++)
            vstore(y + c * out_plane + p * VW, acc[c][p]);
        vstore_upto(y + c * out_plane + last, acc[c][px - 1], n);
    }
}

typedef void conv_fn(const cmlp_window *s, const uint32_t *from, size_t n_from, const real *x, const real *w,
                     const real *b, real *y, real *total, ptrdiff_t last, size_t n);

#define DEFINE_CONV(co, px)                                                                             \
    static void conv_##co##x##px(const cmlp_window *s, const uint32_t *from, size_t n_from, const real *x, \
                                 const real *w, const real *b, real *y, real *total, ptrdiff_t last, size_t n)          \
    {                                                                                                   \
        conv_tile(co, px, s, from, n_from, x, w, b, y, total, last, n);                                        \
    }
#define CONV_ENTRY(co, px) [co][px] = conv_##co##x##px,
CONV_TILES(DEFINE_CONV)
static conv_fn *const conv_tiles[CONV_GROUP + 1][CONV_COLUMNS + 1] = {CONV_TILES(CONV_ENTRY)};

/* Where a row of n numbers is not whole vectors, its last one overlaps the one before: the same sums twice.
 * A row shorter than a vector is stored in part. */
void CMLP_NAME(conv)(const cmlp_window *s, const void *x_, const void *w_, const void *b_, void *y_)
{
    const real *x = x_, *w = w_, *b = b_;
    real total[CONV_GROUP * CONV_COLUMNS * VBYTES / sizeof(real)];
    const size_t all = s->kernel[0] * s->kernel[1], n = s->width * s->lanes, across = CONV_COLUMNS * VW;
    for (size_t c = 0, co; c < s->n_out; c += co) {
        const uint32_t *from = s->from ? s->from + s->first[c] : NULL;
        const size_t n_from = from ? s->first[c + 1] - s->first[c] : s->n_in;
        co = from ? 1 : min_size(CONV_GROUP, s->n_out - c);
        for (size_t i = 0; i < s->height; i++) {
            real *y = (real *)y_ + (c * s->height + i) * n;
            const real *at = x + i * s->stride[0] * s->in_row * s->lanes;
            for (size_t e = 0; e < n; e += across) {
                const size_t left = min_size(across, n - e), px = (left + VW - 1) / VW;
                const ptrdiff_t last = n < VW ? 0 : (ptrdiff_t)left - (ptrdiff_t)VW;
                conv_tiles[co][px](s, from, n_from, at + e, w, b ? b + c : NULL, y + e, total, last,
                                   min_size(n, VW));
            }
        }
        w += co * n_from * all;
    }
}

/* Adds to the gradients of `kt` taps of a kernel row, for `co` outputs and one input plane, a row's terms. */
INLINE void dw_row(const size_t co, const size_t kt, const real *const *at, const real *d, size_t plane,
                   size_t n, v acc[CONV_GROUP][CONV_TAPS])
{
    size_t e = 0;
    for (; e + VW <= n; e += VW) {
        v in[CONV_TAPS];
#pragma GCC unroll 5
        for (size_t t = 0; t < kt; t++)
            in[t] = vload(at[t] + e);
#pragma GCC unroll 4
        for (size_t c = 0; c < co; c++) {
            v delta = vload(d + c * plane + e);
#pragma GCC unroll 5
            for (size_t t = 0; t < kt; t++)
                ADD_PRODUCT(acc[c][t], delta, in[t]);
        }
    }
    if (e == n)
        return;
    v in[CONV_TAPS];
#pragma GCC unroll 5
    for (size_t t = 0; t < kt; t++)
        in[t] = vload_upto(at[t] + e, n - e);
#pragma GCC unroll 4
    for (size_t c = 0; c < co; c++) {
        v delta = vload_upto(d + c * plane + e, n - e);
#pragma GCC unroll 5
        for (size_t t = 0; t < kt; t++)
            acc[c][t] = vfma(delta, in[t], acc[c][t]);
    }
}

/* The gradients of such taps; dw: rows of co.  Chains of SUM_BLOCK terms or a few rows' more in each lane,
 * the chains' sums, and those of the lanes. */
INLINE void dw_tile(const size_t co, const size_t kt, const cmlp_window *s, const real *const *x,
                    const real *d, int accumulate, real *dw)
{
    const size_t n = s->width * s->lanes, plane = s->height * n, vectors = (n + VW - 1) / VW;
    const size_t rows = (SUM_BLOCK + vectors - 1) / vectors;
    v acc[CONV_GROUP][CONV_TAPS], total[CONV_GROUP][CONV_TAPS];
    const real *at[CONV_TAPS];
    for (size_t t = 0; t < kt; t++)
        at[t] = x[t];
    for (size_t c = 0; c < co; c++)
        for (size_t t = 0; t < kt; t++)
            total[c][t] = vset(R(0.0));
    for (size_t i = 0; i < s->height;) {
        const size_t end = min_size(i + rows, s->height);
#pragma GCC unroll 4
        for (size_t c = 0; c < co; c++)
#pragma GCC unroll 5
            for (size_t t = 0; t < kt; t++)
                acc[c][t] = vset(R(0.0));
        for (; i < end; i++, d += n) {
            dw_row(co, kt, at, d, plane, n, acc);
            for (size_t t = 0; t < kt; t++)
                at[t] += s->stride[0] * s->in_row * s->lanes;
        }
#pragma GCC unroll 4
        for (size_t c = 0; c < co; c++)
#pragma GCC unroll 5
            for (size_t t = 0; t < kt; t++)
                total[c][t] += acc[c][t];
    }
#pragma GCC unroll 4
    for (size_t c = 0; c < co; c++)
#pragma GCC unroll 5
        for (size_t t = 0; t < kt; t++)
            dw[t * co + c] = vsum(total[c][t]) + (accumulate ? dw[t * co + c] : R(0.0));
}

typedef void dw_fn(const cmlp_window *s, const real *const *x, const real *d, int accumulate, real *dw);

#define DEFINE_DW(co, kt)                                                                               \
    static void dw_##co##x##kt(const cmlp_window *s, const real *const *x, const real *d, int accumulate, \
                               real *dw)                                                                \
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
    const size_t row = s->in_row * s->lanes;
    for (size_t c = 0; c < s->n_out; c += CONV_GROUP) {
        const size_t co = min_size(CONV_GROUP, s->n_out - c);
        for (size_t q = 0; q < s->n_in; q++)
            for (size_t u = 0; u < s->kernel[0]; u++) {
                const real *at = x + (q * s->in_height + u) * row;
                taps next = taps_of(s);
                for (size_t t = 0; t < s->kernel[1]; t += CONV_TAPS) {
                    const size_t kt = min_size(CONV_TAPS, s->kernel[1] - t);
                    const real *from[CONV_TAPS];
                    for (size_t k = 0; k < kt; k++, at += step(&next))
                        from[k] = at;
                    dw_tiles[co][kt](s, from, d + c * s->height * s->width * s->lanes, accumulate, dw);
                    dw += kt * co;
                }
            }
    }
}

/* Numbers i.. of d, or of their products with x's. */
INLINE v terms(const real *d, const real *x, size_t i, size_t n)
{
    v term = vload_upto(d + i, n);
    if (x)
        term *= vload_upto(x + i, n);
    return term;
}

void CMLP_NAME(plane_sums)(size_t n, size_t size, const void *d_, const void *x_, int accumulate, void *sums_)
{
    const real *d = d_, *x = x_;
    real *sums = sums_;
    for (size_t c = 0; c < n; c++, d += size, x = x ? x + size : NULL) {
        v total = vset(R(0.0));
        for (size_t i = 0; i < size;) {
            const size_t end = min_size(size, i + 4 * VW * SUM_BLOCK);
            v sum[4] = {vset(R(0.0)), vset(R(0.0)), vset(R(0.0)), vset(R(0.0))};
            for (; i + 4 * VW <= end; i += 4 * VW)
#pragma GCC unroll 4
                for (size_t l = 0; l < 4; l++)
                    sum[l] += terms(d, x, i + l * VW, VW);
            for (; i < end; i += min_size(VW, end - i))
                sum[0] += terms(d, x, i, min_size(VW, end - i));
            total += (sum[0] + sum[1]) + (sum[2] + sum[3]);
        }
        sums[c] = vsum(total) + (accumulate ? sums[c] : R(0.0));
    }
}

void CMLP_NAME(scale_planes)(size_t n, size_t size, const void *x_, const void *w_, const void *b_, void *y_)
{
    const real *x = x_, *w = w_, *b = b_;
    real *y = y_;
    for (size_t c = 0; c < n; c++, x += size, y += size) {
        v by = vset(w[c]), plus = vset(b ? b[c] : R(0.0));
        for (size_t i = 0; i < size; i += VW)
            vstore_upto(y + i, vfma(by, vload(x + i), plus), min_size(VW, size - i));
    }
}

/* ---- pooling ---- */

/* Number of the first sample of output (i, j) in a plane of the input. */
INLINE size_t corner(const cmlp_window *s, size_t i, size_t j)
{
    return (i * s->stride[0] * s->in_row + j * s->stride[1]) * s->lanes;
}

void CMLP_NAME(max_pool)(const cmlp_window *s, const void *x_, void *y_)
{
    const real *x = x_;
    real *y = y_;
    const size_t lanes = s->lanes, row = s->in_row * lanes;
    for (size_t c = 0; c < s->n_out; c++, x += s->in_height * row)
        for (size_t i = 0; i < s->height; i++)
            for (size_t j = 0; j < s->width; j++, y += lanes)
                for (size_t l = 0; l < lanes; l += VW) {
                    const real *at = x + corner(s, i, j) + l;
                    v most = vload(at);
                    for (size_t u = 0; u < s->kernel[0]; u++)
                        for (size_t t = 0; t < s->kernel[1]; t++) {
                            v other = vload(at + u * row + t * lanes);
                            most = vsel((other > most) | (other != other), other, most);
                        }
                    vstore_upto(y + l, most, min_size(VW, lanes - l));
                }
}

void CMLP_NAME(max_pool_back)(const cmlp_window *s, const void *x_, const void *y_, const void *d_, void *dx_)
{
    const real *x = x_, *y = y_, *d = d_;
    real *dx = dx_;
    const size_t lanes = s->lanes, row = s->in_row * lanes, plane = s->in_height * row;
    const v zero = vset(R(0.0));
    memset(dx, 0, s->n_out * plane * sizeof(real));
    for (size_t c = 0; c < s->n_out; c++, x += plane, dx += plane)
        for (size_t i = 0; i < s->height; i++)
            for (size_t j = 0; j < s->width; j++, y += lanes, d += lanes)
                for (size_t l = 0; l < lanes; l += VW) {
                    const size_t first = corner(s, i, j) + l, n = min_size(VW, lanes - l);
                    v left = vload(d + l), most = vload(y + l);
                    for (size_t u = 0; u < s->kernel[0]; u++)
                        for (size_t t = 0; t < s->kernel[1]; t++) {
                            const size_t at = first + u * row + t * lanes;
                            vi here = vload(x + at) == most;
                            vstore_upto(dx + at, vload(dx + at) + vsel(here, left, zero), n);
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
    const size_t lanes = s->lanes, row = s->in_row * lanes;
    for (size_t c = 0; c < s->n_out; c++, x += s->in_height * row)
        for (size_t i = 0; i < s->height; i++)
            for (size_t j = 0; j < s->width; j++, y += lanes)
                for (size_t l = 0; l < lanes; l += VW) {
                    const real *at = x + corner(s, i, j) + l;
                    v sum = vset(R(0.0));
                    for (size_t u = 0; u < s->kernel[0]; u++)
                        for (size_t t = 0; t < s->kernel[1]; t++)
                            sum += vload(at + u * row + t * lanes);
                    if (mean)
                        sum /= vset((real)counted(s, i, j));
                    vstore_upto(y + l, sum, min_size(VW, lanes - l));
                }
}

void CMLP_NAME(sum_pool_back)(const cmlp_window *s, const void *d_, int mean, void *dx_)
{
    const real *d = d_;
    real *dx = dx_;
    const size_t lanes = s->lanes, row = s->in_row * lanes, plane = s->in_height * row;
    memset(dx, 0, s->n_out * plane * sizeof(real));
    for (size_t c = 0; c < s->n_out; c++, dx += plane)
        for (size_t i = 0; i < s->height; i++)
            for (size_t j = 0; j < s->width; j++, d += lanes)
                for (size_t l = 0; l < lanes; l += VW) {
                    real *at = dx + corner(s, i, j) + l;
                    v share = vload(d + l);
                    if (mean)
                        share /= vset((real)counted(s, i, j));
                    for (size_t u = 0; u < s->kernel[0]; u++)
                        for (size_t t = 0; t < s->kernel[1]; t++) {
                            real *to = at + u * row + t * lanes;
                            vstore_upto(to, vload(to) + share, min_size(VW, lanes - l));
                        }
                }
}
