/* The three products of a dense layer on packed panels, and what packs them.
 *
 * Packed matrix of N columns and K rows: panels of `nr` columns (the last one narrower, N rounded up to
 * whole vectors), each panel K rows of its columns; the panel that starts at column c0 lies at c0 * K.
 *
 * The order in which the terms of a result's element are added is a function of k alone, so that its bits are
 * the same for any batch, tile and thread: SUM_BLOCK terms in one chain of multiply-adds, such chains' sums
 * up to PRODUCT_BLOCK or OUTER_BLOCK terms in a second chain, and those in a third.
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
            if (mr > 1 && nv > 1)
                ADD_PRODUCT(acc[i][j], x, row[j]);
            else
                acc[i][j] = vfma(x, row[j], acc[i][j]);
    }
}

INLINE size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

#define PREFETCHED 3
/* Addresses made of x are computed behind this: hoisted out of the loop they would take its registers. */
#define COMPUTE_LATE(x) __asm__("" : "+r"(x))

/* Adds the rows of a tile, which lie ld apart, to the accumulators. */
INLINE void add_tile(const size_t mr, const size_t nv, const real *from, size_t ld, v acc[MR_MAX][NV_MAX])
{
#pragma GCC unroll 12
    for (size_t i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (size_t j = 0; j < nv; j++)
            acc[i][j] += vload(from + i * ld + j * VW);
}

/* c[i][j] = init[j] + sum over p < k of a(i, p) b[p][j] for an mr x nv tile, in blocks of SUM_BLOCK terms.
 * transposed: a(i, p) = a[p * lda + i] (both operands by rows p: the weight gradient), else a[i * lda + p].
 * sums: where the blocks are added up, rows ldc apart; where that is not c, c gets the result added.
 * c must not overlap a or b.
 * near: prefetch hints, PREFETCHED places of as many vectors as the tile; transposed tiles only; or NULL. */
INLINE void tile(const size_t mr, const size_t nv, const int transposed, size_t k, const real *restrict a,
                 size_t lda, const real *restrict b, size_t ldb, const real *init, real *sums, real *c,
                 size_t ldc, const real *const *near)
{
    const size_t step = transposed ? lda : 1, stride = transposed ? 1 : lda, hints = near ? mr * nv : 0;
    v acc[MR_MAX][NV_MAX];
#pragma GCC unroll 12
    for (size_t i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (size_t j = 0; j < nv; j++)
            acc[i][j] = vload(init + j * VW);
    size_t q = 0;
    for (int more = 0;; more = 1) {
        const size_t terms = min_size(SUM_BLOCK, k);
        for (size_t n = terms / 4; n; n--) {
            if (transposed) {
                if (q < hints)
#pragma GCC unroll 3
                    for (int l = 0; l < PREFETCHED; l++)
                        __builtin_prefetch(near[l] + q * VW, 0, 2);
                q++;
            }
#pragma GCC unroll 4
            for (int l = 0; l < 4; l++, a += step, b += ldb) {
                if (transposed)
                    __builtin_prefetch(a + ROWS_AHEAD * step);
                add_product(mr, nv, a, stride, b, acc);
            }
        }
        for (size_t p = terms % 4; p; p--, a += step, b += ldb)
            add_product(mr, nv, a, stride, b, acc);
        k -= terms;
        COMPUTE_LATE(ldc);
        if (more)
            add_tile(mr, nv, sums, ldc, acc);
        if (!k && sums != c)
            add_tile(mr, nv, c, ldc, acc);
        real *to = k ? sums : c;
#pragma GCC unroll 12
        for (size_t i = 0; i < mr; i++)
#pragma GCC unroll 4
            for (size_t j = 0; j < nv; j++)
                vstore(to + i * ldc + j * VW, acc[i][j]);
        if (!k)
            return;
#pragma GCC unroll 12
        for (size_t i = 0; i < mr; i++)
#pragma GCC unroll 4
            for (size_t j = 0; j < nv; j++)
                acc[i][j] = vset(R(0.0));
    }
}

typedef void rows_fn(size_t k, const real *a, size_t lda, const real *b, const real *init, real *c,
                     size_t ldc);
typedef void cols_fn(size_t k, const real *a, size_t lda, const real *b, size_t ldb, real *sums, real *c,
                     const real *const *near);
static const real zeros[NV_MAX * VBYTES / sizeof(real)];

#define DEFINE_TILE(mr, nv)                                                                             \
    static void rows_##mr##x##nv(size_t k, const real *a, size_t lda, const real *b, const real *init,  \
                                 real *c, size_t ldc)                                                   \
    {                                                                                                   \
        tile(mr, nv, 0, k, a, lda, b, nv *VW, init, c, c, ldc, NULL);                                   \
    }                                                                                                   \
    static void cols_##mr##x##nv(size_t k, const real *a, size_t lda, const real *b, size_t ldb,        \
                                 real *sums, real *c, const real *const *near)                          \
    {                                                                                                   \
        tile(mr, nv, 1, k, a, lda, b, ldb, zeros, sums, c, nv *VW, near);                               \
    }
CMLP_TILES(DEFINE_TILE)

#define ROWS_ENTRY(mr, nv) [nv][mr] = rows_##mr##x##nv,
#define COLS_ENTRY(mr, nv) [nv][mr] = cols_##mr##x##nv,
static rows_fn *const rows_tiles[NV_MAX + 1][MR_MAX + 1] = {CMLP_TILES(ROWS_ENTRY)};
static cols_fn *const cols_tiles[NV_MAX + 1][MR_MAX + 1] = {CMLP_TILES(COLS_ENTRY)};

/* The first k <= PRODUCT_BLOCK terms of a panel's columns. */
INLINE void first_block(size_t m, size_t width, size_t k, const real *a, size_t lda, const real *b,
                        const real *init, real *c, size_t ldc)
{
    const size_t mr = tile_rows[width / VW];
    rows_fn *const *tiles = rows_tiles[width / VW];
    for (; m >= mr; m -= mr, a += mr * lda, c += mr * ldc)
        tiles[mr](k, a, lda, b, init, c, ldc);
    if (m)
        tiles[m](k, a, lda, b, init, c, ldc);
}

/* The next ones: their sum is added to c at the end.  Apart, so that short sums need no room for it. */
static __attribute__((noinline)) void next_block(size_t m, size_t width, size_t k, const real *a, size_t lda,
                                                 const real *b, real *c, size_t ldc)
{
    v sums[MR_MAX * NV_MAX];
    const size_t mr = tile_rows[width / VW];
    for (size_t rows; m; m -= rows, a += rows * lda, c += rows * ldc) {
        rows = min_size(mr, m);
        rows_tiles[width / VW][rows](k, a, lda, b, zeros, (real *)sums, width);
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < width; j += VW)
                vstore(c + i * ldc + j, vload(c + i * ldc + j) + sums[(i * width + j) / VW]);
    }
}

void CMLP_NAME(product)(size_t m, size_t n, size_t k, const void *a_, size_t lda, const void *b_, size_t nr,
                        const void *bias_, void *c_, size_t ldc)
{
    const real *a = a_, *b = b_, *bias = bias_;
    real *c = c_;
    for (size_t c0 = 0; c0 < n; c0 += nr)
        first_block(m, min_size(nr, n - c0), min_size(PRODUCT_BLOCK, k), a, lda, b + c0 * k,
                    bias ? bias + c0 : zeros, c + c0, ldc);
    for (size_t k0 = PRODUCT_BLOCK; k0 < k; k0 += PRODUCT_BLOCK)
        for (size_t c0 = 0; c0 < n; c0 += nr) {
            const size_t width = min_size(nr, n - c0);
            next_block(m, width, min_size(PRODUCT_BLOCK, k - k0), a + k0, lda, b + c0 * k + k0 * width,
                       c + c0, ldc);
        }
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
    v sums[MR_MAX * NV_MAX];
    for (size_t k0 = 0; k0 < k; k0 += OUTER_BLOCK) {
        size_t kc = min_size(OUTER_BLOCK, k - k0);
        int adds = accumulate || k0;
        for (size_t c0 = 0; c0 < n; c0 += nr) {
            size_t nv = min_size(nr, n - c0) / VW, mr = tile_rows[nv];
            const real *panel = dy + k0 * ldd + c0;
            size_t ldp = ldd;
            if (scratch && copies_panels(m1 - m0, mr, ldd)) {
                copy_panel(nv, kc, panel, ldd, scratch);
                panel = scratch, ldp = nv * VW;
            }
            for (size_t i = m0; i < m1; i += mr) {
                cols_fn *tile = cols_tiles[nv][min_size(mr, m1 - i)];
                real *out = g + c0 * g_rows + (i - g0) * nv * VW;
                const real *near[PREFETCHED];
                if (prefetch)
                    for (int l = 0; l < PREFETCHED; l++)
                        near[l] = (const real *)prefetch->part[l] + c0 * prefetch->rows + i * nv * VW;
                tile(kc, x + k0 * ldx + i, ldx, panel, ldp, adds ? (real *)sums : out, out,
                     prefetch ? near : NULL);
            }
        }
    }
}

/* Four chains a column, of every fourth row each: one would wait for its additions. */
void CMLP_NAME(column_sums)(size_t n, size_t k, const void *dy_, size_t ldd, int accumulate, void *db_)
{
    const real *dy = dy_;
    real *db = db_;
    for (size_t c = 0; c < n; c += VW) {
        long_sum total = {0};
        for (size_t p = 0; p < k;) {
            const size_t end = min_size(p + SUM_BLOCK, k);
            v sum[4] = {vset(R(0.0)), vset(R(0.0)), vset(R(0.0)), vset(R(0.0))};
            for (; p + 4 <= end; p += 4)
#pragma GCC unroll 4
                for (size_t l = 0; l < 4; l++)
                    sum[l] += vload(dy + (p + l) * ldd + c);
            for (; p < end; p++)
                sum[0] += vload(dy + p * ldd + c);
            add_block(&total, (sum[0] + sum[1]) + (sum[2] + sum[3]));
        }
        v sum = sum_of(&total);
        if (accumulate)
            sum += vload(db + c);
        vstore(db + c, sum);
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
