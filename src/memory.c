/* Zeroed, aligned buffers, and scratch memory for the length of a call. */
#define _DEFAULT_SOURCE
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define HUGE_PAGE ((size_t)2 << 20)

void *cmlp_alloc(size_t bytes)
{
    int huge = bytes >= 2 * HUGE_PAGE;
    size_t align = huge ? HUGE_PAGE : CMLP_LINE;
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = cmlp_round_up(bytes ? bytes : 1, align);
#ifdef _WIN32
    void *p = _aligned_malloc(bytes, align);
#else
    void *p = aligned_alloc(align, bytes);
#endif
    if (!p)
        return NULL;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    /* Long rows touch one page each: with 4 KiB pages the products stall on TLB misses. */
    if (huge)
        madvise(p, bytes, MADV_HUGEPAGE);
#endif
    memset(p, 0, bytes);
    return p;
}

void cmlp_free(void *p)
{
#ifdef _WIN32
    _aligned_free(p);
#else
    free(p);
#endif
}

/* Small callers of a product or a prediction would wait for malloc, and threads with small stacks have no
 * room for it there: so a few blocks are kept, each taken and given back by one atomic exchange. */
#define SPARE_BYTES 32768
#define SPARE_BLOCKS 4

static struct {
    _Alignas(CMLP_LINE) char data[SPARE_BYTES];
    _Alignas(CMLP_LINE) atomic_int taken;
} spare[SPARE_BLOCKS];

void *cmlp_borrow(size_t bytes)
{
#ifndef __SANITIZE_ADDRESS__ /* which sees the end of an allocated block only */
    for (int i = 0; bytes <= SPARE_BYTES && i < SPARE_BLOCKS; i++)
        if (!atomic_load_explicit(&spare[i].taken, memory_order_relaxed) &&
            !atomic_exchange_explicit(&spare[i].taken, 1, memory_order_acquire))
            return spare[i].data;
#endif
    return cmlp_alloc(bytes);
}

void cmlp_give_back(void *p)
{
    for (int i = 0; i < SPARE_BLOCKS; i++)
        if (p == spare[i].data) {
            atomic_store_explicit(&spare[i].taken, 0, memory_order_release);
            return;
        }
    cmlp_free(p);
}
