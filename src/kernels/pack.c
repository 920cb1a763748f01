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
    const size_t part = min_size(VW, n_in);
    for (size_t j = 0; j < width; j += VW)
        for (size_t at = 0; at < n_in; at += VW) {
            const size_t i = block_start(at, n_in);
            v r[VBYTES / sizeof(real)];
            for (size_t l = 0; l < VW; l++) {
                const real *from = w + (j + l) * n_in + i;
                r[l] = j + l >= n ? vset(R(0.0)) : part < VW ? vload_part(from, part) : vload(from);
            }
            vtranspose(r);
            for (size_t l = 0; l < part; l++)
                vstore(panel + (i + l) * width + j, r[l]);
        }
}

void CMLP_NAME(unpack)(size_t n_in, size_t n, size_t width, const void *panel_, void *w_)
{
    const real *panel = panel_;
    real *w = w_;
    const size_t part = min_size(VW, n_in);
    for (size_t j = 0; j < n; j += VW)
        for (size_t at = 0; at < n_in; at += VW) {
            const size_t i = block_start(at, n_in);
            v r[VBYTES / sizeof(real)];
            for (size_t l = 0; l < VW; l++)
                r[l] = l < part ? vload(panel + (i + l) * width + j) : vset(R(0.0));
            vtranspose(r);
            for (size_t l = 0; l < VW && j + l < n; l++) {
                real *to = w + (j + l) * n_in + i;
                if (part < VW)
                    vstore_part(to, r[l], part);
                else
                    vstore(to, r[l]);
            }
        }
}
