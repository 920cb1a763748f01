/* Allocations: none in an epoch, and any one may fail. */
#include "nets.h"

#include <stdlib.h>

_Atomic size_t allocations;
size_t allocation_fails;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static int fails(void) { return ++allocations == allocation_fails; }

void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : __real_calloc(n, size); }
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

static cmlp_status train(net *n)
{
    static const double lr = 0.01;
    double losses[2];
    cmlp_data data = net_data(n);
    cmlp_run run = {.epochs = 2, .shuffle = 1, .lr = &lr, .n_lr = 1, .losses = losses};
    return cmlp_fit(n->plan, &data, &run);
}

static void test_none_in_an_epoch(const recipe *r)
{
    net n;
    CHECK(net_new(&n, r, CMLP_F32, 2, 1) == CMLP_OK && train(&n) == CMLP_OK, "training %s", r->name);
    size_t before = allocations;
    CHECK(train(&n) == CMLP_OK, "training %s again", r->name);
    CHECK(allocations == before, "%s: %zu allocations in two epochs", r->name, allocations - before);
    net_free(&n);
}

/* The first allocation fails, then the second, until one run needs no more: each gives CMLP_E_MEMORY, and
 * what was made so far can be freed (the address sanitizer finds what is lost). */
static void test_each_may_fail(const recipe *r)
{
    cmlp_status status = CMLP_E_MEMORY;
    size_t nth = 0;
    while (status == CMLP_E_MEMORY && nth < 1000) {
        net n;
        allocation_fails = allocations + ++nth;
        status = net_new(&n, r, CMLP_F32, 2, 1);
        if (!status)
            status = train(&n);
        int reached = allocations >= allocation_fails;
        allocation_fails = 0;
        CHECK(status == (reached ? CMLP_E_MEMORY : CMLP_OK), "%s: status %d when allocation %zu fails",
              r->name, status, nth);
        if (status == CMLP_E_MEMORY && n.plan)
            CHECK(train(&n) == CMLP_OK, "%s: training after allocation %zu failed", r->name, nth);
        net_free(&n);
    }
    CHECK(nth > 10, "%s: only %zu allocations", r->name, nth);
}

void test_memory(void)
{
    for (size_t i = 0; i < N_RECIPES; i++) {
        test_none_in_an_epoch(recipe_at(i));
        test_each_may_fail(recipe_at(i));
    }
}
