/* Between rows of W and packed panels: a panel of `width` columns holds as many rows of W turned upright. */
#include "kernels.h"
#include "simd.h"

INLINE size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* The columns of W that block `at` begins with: the last block overlaps the one before, so that only a W
 * narrower than a vector has part of one. */
INLINE size_t block_start(size_t at, size_t n_in) { return n_in < VW ? 0 : min_size(at, n_in - VW); }

void CMLP_NAME(pack)(size_t n_in, size_t n, size_t width, const void *w_, void *panel_)
{
    const real *w = w_;
    real *panel = panel_;
    for (size_t j = 0; j < width; j += VW)
        for (size_t at = 0; at < n_in; at += VW) {
            const size_t i = block_start(at, n_in), rows = j < n ? n - j : 0, part = min_size(VW, n_in);
            real padded[VBYTES / sizeof(real)][VBYTES / sizeof(real)];
            const real *from = w + j * n_in + i;
            for (size_t l = 0; n_in < VW && l < rows && l < VW; l++)
                vstore(padded[l], vload_part(from + l * n_in, n_in));
            for (size_t c = 0; c < part; c += LANE) {
                v column[16 / sizeof(real)];
                vload_columns((n_in < VW ? padded[0] : from) + c, n_in < VW ? VW : n_in, rows, column);
                for (size_t l = 0; l < LANE && c + l < part; l++)
                    vstore(panel + (i + c + l) * width + j, column[l]);
            }
        }
}

void CMLP_NAME(unpack)(size_t n_in, size_t n, size_t width, const void *panel_, void *w_)
{
    const real *panel = panel_;
    real *w = w_;
    for (size_t j = 0; j < n; j += LANE)
        for (size_t at = 0; at < n_in; at += VW) {
            const size_t i = block_start(at, n_in);
            v column[16 / sizeof(real)];
            vload_columns(panel + i * width + j, width, n_in - i, column);
            for (size_t l = 0; l < LANE && j + l < n; l++) {
                real *to = w + (j + l) * n_in + i;
                if (n_in < VW)
                    vstore_part(to, column[l], n_in);
                else
                    vstore(to, column[l]);
            }
        }
}
