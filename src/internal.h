/* What the library's own files share. */
#ifndef CMLP_INTERNAL_H
#define CMLP_INTERNAL_H

#include "cmlp.h"
#include "kernels/kernels.h"

#include <stdatomic.h>

/* ---- memory.c: zeroed, aligned to a cache line; large blocks ask for huge pages ---- */

#define CMLP_LINE 64
void *cmlp_alloc(size_t bytes);
void cmlp_free(void *p);
/* Scratch for the length of a call, aligned likewise but not zeroed: from a few small blocks that are kept
 * for this, or allocated.  NULL where that fails. */
void *cmlp_borrow(size_t bytes);
void cmlp_give_back(void *p);

static inline size_t cmlp_round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
static inline size_t cmlp_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t cmlp_max(size_t a, size_t b) { return a > b ? a : b; }

/* ---- errors.c ---- */

/* Keeps the message for cmlp_last_error, which names what was wrong, what came and what was expected; returns
 * the status. */
cmlp_status cmlp_fail(cmlp_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
cmlp_status cmlp_no_memory(void);
/* Refuses a NULL, for functions that return a cmlp_status. */
#define NEED(argument)                                                                                  \
    do {                                                                                                \
        if (!(argument))                                                                                \
            return cmlp_fail(CMLP_E_ARGUMENT, #argument " is NULL");                                    \
    } while (0)

/* ---- dispatch.c ---- */

const cmlp_kernels *cmlp_kernels_for(cmlp_dtype dtype);
cmlp_status cmlp_check_dtype(cmlp_dtype dtype);

/* An element of a type known at run time only: for code outside the kernels that sees single numbers. */
static inline double cmlp_element(cmlp_dtype dtype, const void *values, size_t i)
{
    return dtype == CMLP_F32 ? (double)((const float *)values)[i] : ((const double *)values)[i];
}

static inline void cmlp_set_element(cmlp_dtype dtype, void *values, size_t i, double value)
{
    if (dtype == CMLP_F32)
        ((float *)values)[i] = (float)value;
    else
        ((double *)values)[i] = value;
}

/* ---- processors.c ---- */

/* The number of threads that a call may use now for this wish (0: the default). */
int cmlp_threads_for(int wanted);
/* The same, but one for each per_thread of the work at most. */
int cmlp_threads_worth(int wanted, double work, double per_thread);

/* ---- threads.c ---- */

typedef void cmlp_thread_fn(void *ctx, int thread, int n_threads);
/* Runs fn in a team of n threads, the caller among them as thread 0; or of fewer, as n_threads tells fn,
 * where the caller may use no more, others are at work, or the system gives no more.  Meanwhile floating
 * point is in a mode of our own: denormals are flushed. */
int cmlp_parallel(int n, cmlp_thread_fn *fn, void *ctx);
/* Whether the calling thread, the leader of a team, is in the child of a fork since the team began.  The
 * others are not there: barriers let it through, it should return soon, and cmlp_parallel returns 0 instead
 * of 1. */
int cmlp_orphaned(void);
/* Seconds on a clock that only goes forward. */
double cmlp_now(void);
/* Sleeps for about a millisecond. */
void cmlp_rest(void);

/* A number that others wait to see changed. */
typedef struct {
    _Alignas(CMLP_LINE) atomic_int value;
    atomic_int sleepers;
} cmlp_gate;

typedef struct {
    _Alignas(CMLP_LINE) atomic_int arrived;
    cmlp_gate phase;
} cmlp_barrier;
void cmlp_wait(cmlp_barrier *barrier, int n_threads);

/* ---- rng.c: Philox4x32-10 ---- */

void cmlp_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* Places [first, end) of an order that is shuffled from `end` on: a part of cmlp_permutation. */
void cmlp_shuffle(uint64_t first, uint64_t end, uint64_t seed, uint64_t epoch, int64_t *order);

#endif
