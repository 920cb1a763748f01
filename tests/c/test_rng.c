/* The counter-based generator and the order of samples. */
#include "check.h"

#include <stdlib.h>

/* Known answers of Philox4x32 with 10 rounds, as published with the Random123 library: zeros, ones and the
 * digits of pi in the counter and the key. */
static void test_known_answers(void)
{
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint32_t got[4];
        cmlp_philox(known[i].counter, known[i].key, got);
        for (int j = 0; j < 4; j++)
            CHECK(got[j] == known[i].answer[j], "philox answer %zu, word %d: %08x", i, j, got[j]);
    }
}

/* Each number once. */
static void test_permutation(uint64_t n, uint64_t seed, uint64_t epoch)
{
    int64_t *order = guarded_new(n * sizeof *order);
    unsigned char *seen = calloc(n + 1, 1);
    cmlp_permutation(n, seed, epoch, order);
    for (uint64_t i = 0; i < n; i++) {
        int sound = order[i] >= 0 && (uint64_t)order[i] < n && !seen[order[i]];
        CHECK(sound, "permutation of %llu: place %llu holds %lld", (unsigned long long)n,
              (unsigned long long)i, (long long)order[i]);
        if (sound)
            seen[order[i]] = 1;
    }
    guarded_free(order);
    free(seen);
}

/* Every order of 4 samples about equally often: chi squared of 23 degrees of freedom, which passes 50 once in
 * a thousand; the epochs are fixed, so that the outcome is too. */
static void test_uniform(void)
{
    enum { EPOCHS = 24000 };
    int counts[256] = {0};
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        int64_t order[4];
        cmlp_permutation(4, 12345, epoch, order);
        counts[order[0] | order[1] << 2 | order[2] << 4 | order[3] << 6]++;
    }
    double chi = 0.0;
    int orders = 0;
    for (int i = 0; i < 256; i++)
        if (counts[i]) {
            double off = counts[i] - EPOCHS / 24.0;
            chi += off * off / (EPOCHS / 24.0);
            orders++;
        }
    CHECK(orders == 24 && chi < 50.0, "%d orders of four samples, chi squared %.1f", orders, chi);
}

static void test_order_depends_on(void)
{
    int64_t a[50], b[50], c[50], d[50];
    cmlp_permutation(50, 7, 3, a);
    cmlp_permutation(50, 7, 3, b);
    cmlp_permutation(50, 7, 4, c);
    cmlp_permutation(50, 7 + (1ull << 32), 3, d);
    int same = 0, epoch = 0, seed = 0;
    for (int i = 0; i < 50; i++)
        same += a[i] == b[i], epoch += a[i] == c[i], seed += a[i] == d[i];
    CHECK(same == 50 && epoch < 25 && seed < 25, "order of samples: %d, %d, %d places kept", same, epoch,
          seed);
}

void test_rng(void)
{
    test_known_answers();
    for (uint64_t n = 0; n <= 70; n++)
        test_permutation(n, n, n * n);
    test_permutation(100003, 1ull << 63, 1ull << 40);
    test_uniform();
    test_order_depends_on();
}
