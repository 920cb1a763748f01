/* How work is shared out: contiguous shares, functions of the sizes and of the number of threads. */
#ifndef CMLP_SHARES_H
#define CMLP_SHARES_H

#include "internal.h"
#include "tuning.h"

/* The thread's share [first, end) of n pieces. */
static inline void share_of(size_t n, int thread, int n_threads, size_t *first, size_t *end)
{
    if (n_threads == 1) {
        *first = 0, *end = n;
        return;
    }
    *first = n * (size_t)thread / (size_t)n_threads;
    *end = n * (size_t)(thread + 1) / (size_t)n_threads;
}

static inline size_t blocks_of(size_t rows, size_t each) { return (rows + each - 1) / each; }

/* Of rows, in whole blocks of `each`; nothing where r0 >= r1. */
static inline void share_of_rows(size_t rows, size_t each, int thread, int n_threads, size_t *r0, size_t *r1)
{
    share_of(blocks_of(rows, each), thread, n_threads, r0, r1);
    *r0 = *r0 * each;
    *r1 = cmlp_min(*r1 * each, rows);
}

/* Of columns padded to whole vectors, in whole panels; nothing where c0 >= c1. */
static inline void share_of_columns(size_t padded, size_t width, int thread, int n_threads, size_t *c0,
                                    size_t *c1)
{
    share_of((padded + width - 1) / width, thread, n_threads, c0, c1);
    *c0 = *c0 * width;
    *c1 = cmlp_min(*c1 * width, padded);
}

#endif
