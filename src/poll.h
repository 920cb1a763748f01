/* Asking the caller, now and then, whether to stop. */
#ifndef CMLP_POLL_H
#define CMLP_POLL_H

#include "internal.h"
#include "tuning.h"

typedef struct {
    int (*ask)(void *ctx); /* NULL: nobody is asked */
    void *ctx;
    double next;
    atomic_int stop; /* the answer was to stop: work may be skipped */
} poller;

/* For the calling thread alone. */
static inline void poll_caller(poller *p)
{
    if (!p->ask || cmlp_now() < p->next)
        return;
    if (p->ask(p->ctx) || cmlp_orphaned())
        atomic_store_explicit(&p->stop, 1, memory_order_relaxed);
    p->next = cmlp_now() + POLL_SECONDS;
}

static inline int is_stopped(const poller *p) { return atomic_load_explicit(&p->stop, memory_order_relaxed); }

#endif
