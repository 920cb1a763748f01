/* Random factors of dropout and randomised ReLU: Philox4x32-10 (see rng.c), many counters side by side so
 * that the compiler can use its vectors.  Shared by the reference kernels: integers are the same everywhere.
 */
#include "kernels.h"
#include "tiles.h"

#ifdef CMLP_DOUBLE
typedef double real;
#else
typedef float real;
#endif

/* The 4 * COUNTERS numbers of counters (first.., row, t). */
static void philox_block(const cmlp_random_args *a, uint32_t first, uint32_t row, uint32_t out[4 * COUNTERS])
{
    uint32_t c0[COUNTERS], c1[COUNTERS], c2[COUNTERS], c3[COUNTERS], k0 = a->key[0], k1 = a->key[1];
    for (uint32_t l = 0; l < COUNTERS; l++)
        c0[l] = first + l, c1[l] = row, c2[l] = (uint32_t)a->t, c3[l] = (uint32_t)(a->t >> 32);
    for (int round = 0; round < 10; round++) {
        for (int l = 0; l < COUNTERS; l++) {
            uint64_t x = (uint64_t)0xD2511F53u * c0[l], y = (uint64_t)0xCD9E8D57u * c2[l];
            c0[l] = (uint32_t)(y >> 32) ^ c1[l] ^ k0;
            c1[l] = (uint32_t)y;
            c2[l] = (uint32_t)(x >> 32) ^ c3[l] ^ k1;
            c3[l] = (uint32_t)x;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int l = 0; l < COUNTERS; l++)
        out[4 * l] = c0[l], out[4 * l + 1] = c1[l], out[4 * l + 2] = c2[l], out[4 * l + 3] = c3[l];
}

void CMLP_NAME(random_factors)(size_t rows, size_t n, size_t ld, const void *x_, const cmlp_random_args *a,
                               void *factors_)
{
    const real *x = x_;
    real *factors = factors_;
    const real keep = (real)a->keep, low = (real)a->low, span = (real)((a->high - a->low) * 0x1p-32);
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j += 4 * COUNTERS) {
            uint32_t bits[4 * COUNTERS];
            size_t count = n - j < 4 * COUNTERS ? n - j : 4 * COUNTERS, at = r * ld + j;
            philox_block(a, (uint32_t)(j / 4), (uint32_t)(a->row + r), bits);
            for (size_t l = 0; l < count; l++)
                factors[at + l] = a->slopes ? (x[at + l] < 0 ? low + span * (real)bits[l] : (real)1)
                                            : (bits[l] < a->threshold ? (real)0 : keep);
        }
}
