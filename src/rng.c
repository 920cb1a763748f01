/* Philox4x32-10, a counter-based generator (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy
 * as 1, 2, 3"), and the sample order derived from it. */
#include "internal.h"

void cmlp_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* Fisher-Yates from the end.  Place i draws j <= i from 64 bits of the generator's output for counter
 * (i / 2, epoch), scaled by multiplication: the bias is below 2^-32. */
void cmlp_shuffle(uint64_t first, uint64_t end, uint64_t seed, uint64_t epoch, int64_t *order)
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, out[4] = {0};
    uint64_t have = UINT64_MAX;
    for (uint64_t i = end; i-- > first;) {
        if (i / 2 != have) {
            have = i / 2;
            uint32_t counter[4] = {(uint32_t)have, (uint32_t)(have >> 32), (uint32_t)epoch,
                                   (uint32_t)(epoch >> 32)};
            cmlp_philox(counter, key, out);
        }
        uint64_t bits = (uint64_t)out[2 * (i % 2)] << 32 | out[2 * (i % 2) + 1];
        /* High half of a 64 x 64 product with i + 1 < 2^32, in two pieces. */
        uint64_t m = i + 1;
        uint64_t j = ((bits >> 32) * m + (((bits & 0xFFFFFFFFu) * m) >> 32)) >> 32;
        int64_t t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}

void cmlp_permutation(uint64_t n, uint64_t seed, uint64_t epoch, int64_t *order)
{
    for (uint64_t i = 0; i < n; i++)
        order[i] = (int64_t)i;
    cmlp_shuffle(0, n, seed, epoch, order);
}
