/* Allocation of the library's buffers. */
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
    /* Long rows touch a page each: without huge pages the products wait for address translation. */
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
