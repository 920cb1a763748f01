/* The three products of a dense layer on packed panels, and what packs them.
 *
 * Packed matrix of N columns and K rows: panels of `nr` columns (the last one narrower, N rounded up to
 * whole vectors), each panel K rows of its columns; the panel that starts at column c0 lies at c0 * K.
 * A result's element is summed in blocks of k, each a chain of multiply-adds in order, and the blocks in
 * order, whatever tile it falls into and however the rows are shared out: the same bits for any batch, tile
 * and thread.
 */
#include "kernels.h"
#include "simd.h"

#define MR_MAX 12
static const unsigned char tile_rows[NV_MAX + 1] = TILE_ROWS;

/* Adds a(i, p) b[p][j] to the accumulators; a and b point to the p-th. */
INLINE void add_product(const size_t mr, const size_t nv, const real *a, size_t stride, const real *b,
                        v acc[MR_MAX][NV_MAX])
{
    v row[NV_MAX];
#pragma GCC unroll 4
    for (size_t j = 0; j < nv; j++)
        row[j] = vload(b + j * VW);
#pragma GCC unroll 12
    for (size_t i = 0; i < mr; i++) {
        v x = vset(a[i * stride]);
#pragma GCC unroll 4
        for (size_t j = 0; j < nv; j++)
            acc[i][j] = vfma(x, row[j], acc[i][j]);
    }
}

/* Rows of x lie too far apart for the processor to fetch them by itself. */
#define ROWS_AHEAD 16
#define PREFETCHED 3

/* c[i][j] = init[j] + sum over p < k of a(i, p) b[p][j] for an mr x nv tile; added to c where `add` says so.
 * transposed: a(i, p) = a[p * lda + i] (both operands by rows p: the weight gradient), else a[i * lda + p].
 * init: a row of bias or zeros.  c must not overlap a or b.
 * near: where as much as c holds is read next, PREFETCHED times; transposed tiles prefetch it. */
INLINE void tile(const size_t mr, const size_t nv, const int transposed, size_t k, const real *restrict a,
                 size_t lda, const real *restrict b, size_t ldb, const real *init, int add, real *c,
                 size_t ldc, const real *const *near)
{
    const size_t step = transposed ? lda : 1, stride = transposed ? 1 : lda;
    v acc[MR_MAX][NV_MAX];
#pragma GCC unroll 12
    for (size_t i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (size_t j = 0; j < nv; j++)
            acc[i][j] = vload(init + j * VW);
    for (size_t q = 0; q < k / 4; q++) {
        if (transposed && q < mr * nv)
#pragma GCC unroll 3
            for (int l = 0; l < PREFETCHED; l++)
                __builtin_prefetch(near[l] + q * VW, 0, 2);
#pragma GCC unroll 4
        for (int l = 0; l < 4; l++, a += step, b += ldb) {
            if (transposed)
                __builtin_prefetch(a + ROWS_AHEAD * step);
            add_product(mr, nv, a, stride, b, acc);
        }
    }
    for (size_t p = k % 4; p; p--, a += step, b += ldb)
        add_product(mr, nv, a, stride, b, acc);
    if (add)
#pragma GCC unroll 12
        for (size_t i = 0; i < mr; i++)
#pragma GCC unroll 4
            for (size_t j = 0; j < nv; j++)
                acc[i][j] += vload(c + i * ldc + j * VW);
#pragma GCC unroll 12
    for (size_t i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (size_t j = 0; j < nv; j++)
            vstore(c + i * ldc + j * VW, acc[i][j]);
}

typedef void tile_fn(size_t k, const real *a, size_t lda, const real *b, size_t ldb, const real *init,
                     int add, real *c, size_t ldc, const real *const *near);

#define DEFINE_TILE(mr, nv)                                                                             \
    static void rows_##mr##x##nv(size_t k, const real *a, size_t lda, const real *b, size_t ldb,        \
                                 const real *init, int add, real *c, size_t ldc,                     \
                                 const real *const *near)                                               \
    {                                                                                                   \
        (void)ldb, (void)near;                                                                          \
        tile(mr, nv, 0, k, a, lda, b, nv *VW, init, add, c, ldc, NULL);                                       \
    }                                                                                                   \
    static void cols_##mr##x##nv(size_t k, const real *a, size_t lda, const real *b, size_t ldb,        \
                                 const real *init, int add, real *c, size_t ldc,                     \
                                 const real *const *near)                                               \
    {                                                                                                   \
        tile(mr, nv, 1, k, a, lda, b, ldb, init, add, c, nv *VW, near);                                       \
        (void)ldc;                                                                                      \
    }
CMLP_TILES(DEFINE_TILE)

#define ROWS_ENTRY(mr, nv) [nv][mr] = rows_##mr##x##nv,
#define COLS_ENTRY(mr, nv) [nv][mr] = cols_##mr##x##nv,
static tile_fn *const rows_tiles[NV_MAX + 1][MR_MAX + 1] = {CMLP_TILES(ROWS_ENTRY)};
static tile_fn *const cols_tiles[NV_MAX + 1][MR_MAX + 1] = {CMLP_TILES(COLS_ENTRY)};

static const real zeros[NV_MAX * VBYTES / sizeof(real)];

INLINE size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* Sums of kc terms, in blocks of SUM_BLOCK: a single chain would lose a digit for each hundredfold of terms.
 */
INLINE void sum_blocks(tile_fn *tile, size_t kc, const real *a, size_t lda, const real *panel, size_t width,
                       const real *init, int add, real *out, size_t ldc)
{
    size_t terms = min_size(SUM_BLOCK, kc);
    tile(terms, a, lda, panel, 0, init, add, out, ldc, NULL);
    for (size_t p = terms; p < kc; p += SUM_BLOCK)
        tile(min_size(SUM_BLOCK, kc - p), a + p, lda, panel + p * width, 0, zeros, 1, out, ldc, NULL);
}

void CMLP_NAME(product)(size_t m, size_t n, size_t k, const void *a_, size_t lda, const void *b_, size_t nr,
                        const void *bias_, void *c_, size_t ldc)
{
    const real *a = a_, *b = b_, *bias = bias_;
    real *c = c_;
    size_t k0 = 0;
    do {
        size_t kc = min_size(PRODUCT_BLOCK, k - k0);
        for (size_t c0 = 0; c0 < n; c0 += nr) {
            size_t nv = min_size(nr, n - c0) / VW, mr = tile_rows[nv];
            const real *panel = b + c0 * k + k0 * nv * VW;
            const real *init = bias && !k0 ? bias + c0 : zeros;
            for (size_t i = 0; i < m; i += mr)
                sum_blocks(rows_tiles[nv][min_size(mr, m - i)], kc, a + i * lda + k0, lda, panel, nv * VW,
                           init, k0 != 0, c + i * ldc + c0, ldc);
        }
        k0 += kc;
    } while (k0 < k);
}

/* A panel of k <= OUTER_BLOCK rows of dy, laid end to end. */
INLINE void copy_panel(size_t nv, size_t k, const real *dy, size_t ldd, real *panel)
{
    for (size_t p = 0; p < k; p++, dy += ldd, panel += nv * VW)
        for (size_t j = 0; j < nv; j++)
            vstore(panel + j * VW, vload(dy + j * VW));
}

/* Enough tiles read each panel of dy, whose rows lie far enough apart, to make up for copying it. */
INLINE int copies_panels(size_t m, size_t mr, size_t ldd)
{
    return ldd * sizeof(real) >= OUTER_APART && m >= OUTER_TILES * mr;
}

size_t CMLP_NAME(outer_scratch)(size_t m, size_t ldd)
{
    return copies_panels(m, 1, ldd) ? OUTER_BLOCK * NV_MAX * VBYTES : 0;
}

void CMLP_NAME(outer)(size_t m0, size_t m1, size_t n, size_t k, const void *x_, size_t ldx, const void *dy_,
                      size_t ldd, size_t nr, int accumulate, size_t g0, size_t g_rows, void *g_,
                      void *scratch, const cmlp_prefetch *prefetch)
{
    const real *x = x_, *dy = dy_;
    real *g = g_;
    for (size_t k0 = 0; k0 < k; k0 += OUTER_BLOCK) {
        size_t kc = min_size(OUTER_BLOCK, k - k0);
        int keep = accumulate || k0;
        for (size_t c0 = 0; c0 < n; c0 += nr) {
            size_t nv = min_size(nr, n - c0) / VW, mr = tile_rows[nv];
            const real *panel = dy + k0 * ldd + c0;
            size_t ldp = ldd;
            if (scratch && copies_panels(m1 - m0, mr, ldd)) {
                copy_panel(nv, kc, panel, ldd, scratch);
                panel = scratch, ldp = nv * VW;
            }
            for (size_t i = m0; i < m1; i += mr) {
                real *out = g + c0 * g_rows + (i - g0) * nv * VW;
                const real *near[PREFETCHED];
                for (int l = 0; l < PREFETCHED; l++)
                    near[l] =
                        prefetch ? (const real *)prefetch->part[l] + c0 * prefetch->rows + i * nv * VW : out;
                cols_tiles[nv][min_size(mr, m1 - i)](kc, x + k0 * ldx + i, ldx, panel, ldp, zeros, keep, out,
                                                     0, near);
            }
        }
    }
}

/* Four sums a column, of every fourth row each: one chain would wait for its additions.  Blocks of rows are
 * summed apart, as in products. */
void CMLP_NAME(column_sums)(size_t n, size_t k, const void *dy_, size_t ldd, int accumulate, void *db_)
{
    const real *dy = dy_;
    real *db = db_;
    for (size_t c = 0; c < n; c += VW) {
        v total = accumulate ? vload(db + c) : vset(R(0.0));
        for (size_t k0 = 0; k0 < k; k0 += 4 * SUM_BLOCK) {
            v sum[4] = {vset(R(0.0)), vset(R(0.0)), vset(R(0.0)), vset(R(0.0))};
            size_t p = k0, end = min_size(k0 + 4 * SUM_BLOCK, k);
            for (; p + 4 <= end; p += 4)
#pragma GCC unroll 4
                for (size_t l = 0; l < 4; l++)
                    sum[l] += vload(dy + (p + l) * ldd + c);
            for (; p < end; p++)
                sum[0] += vload(dy + p * ldd + c);
            total += (sum[0] + sum[1]) + (sum[2] + sum[3]);
        }
        vstore(db + c, total);
    }
}

/* Rows [i0, i1) and columns [j0, j0 + width) of a panel become columns of wt's panels. */
void CMLP_NAME(transpose)(size_t n_in, size_t n_out, size_t nr, size_t nr_t, size_t c0, size_t c1, size_t i0,
                          size_t i1, const void *w_, void *wt_)
{
    const real *w = w_;
    real *wt = wt_;
    size_t padded = (n_out + VW - 1) / VW * VW, padded_t = (n_in + VW - 1) / VW * VW;
    for (size_t p0 = c0; p0 < c1; p0 += nr) {
        size_t width = min_size(nr, padded - p0);
        const real *panel = w + p0 * n_in;
        for (size_t i = i0; i < i1; i += VW) {
            size_t t0 = i / nr_t * nr_t, width_t = min_size(nr_t, padded_t - t0);
            real *to = wt + t0 * n_out + (i - t0);
            for (size_t j = 0; j < width && p0 + j < n_out; j += LANE) {
                v column[16 / sizeof(real)];
                vload_columns(panel + i * width + j, width, n_in - i, column);
                for (size_t l = 0; l < LANE && p0 + j + l < n_out; l++)
                    vstore(to + (p0 + j + l) * width_t, column[l]);
            }
        }
    }
}
