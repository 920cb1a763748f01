/* Allocations: none in an epoch, and any one may fail; scratch blocks; small stacks. */
#include "nets.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__clang__) || !defined(__OPTIMIZE__)
#define SMALL_STACK ((size_t)256 << 10) /* instrumented functions take more */
#else
#define SMALL_STACK ((size_t)48 << 10)
#endif

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

/* Blocks at once never overlap, whether kept or allocated; none can be had where the allocation fails. */
static void test_scratch(void)
{
    enum { N = 9, BYTES = 20000 };
    unsigned char *block[N], want[BYTES];
    for (int i = 0; i < N; i++) {
        block[i] = cmlp_borrow(BYTES);
        CHECK(block[i] && (uintptr_t)block[i] % CMLP_LINE == 0, "scratch block %d", i);
        memset(block[i], i, BYTES);
    }
    allocation_fails = allocations + 1;
    CHECK(!cmlp_borrow(BYTES), "scratch without memory");
    allocation_fails = 0;
    for (int i = 0; i < N; i++) {
        memset(want, i, BYTES);
        CHECK(memcmp(block[i], want, BYTES) == 0, "scratch block %d was overwritten", i);
        cmlp_give_back(block[i]);
    }
    void *big = cmlp_borrow((size_t)1 << 20);
    CHECK(big, "a large scratch block");
    cmlp_give_back(big);
}

/* Wide layers and many rows: everything that asks for much scratch. */
static const recipe wide = {
    "wide",
    {{.kind = CMLP_DENSE, .n_in = 2080, .n_out = 2080, .activation = CMLP_TANH, .bias = 1},
     {.kind = CMLP_DENSE, .n_in = 2080, .n_out = 3, .bias = 1}},
    2,
    33,
    66,
    CMLP_SOFTMAX_CROSS_ENTROPY,
    {.kind = CMLP_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8}};

static void *run_everything(void *ctx)
{
    net *n = ctx;
    size_t in = net_inputs(n), out = net_outputs(n), rows = n->recipe->rows;
    cmlp_shape shape = {n->dtype, rows, in, out, 1};
    char *y = guarded_new(rows * in * sizeof(double)), *w = guarded_new(in * out * sizeof(double));
    memset(w, 0, in * out * sizeof(double));
    CHECK(train(n) == CMLP_OK, "training");
    CHECK(cmlp_predict(n->plan, rows, n->x, 0, y) == CMLP_OK, "predict");
    CHECK(cmlp_dense_forward(&shape, n->x, w, NULL, CMLP_TANH, 0.0, y) == CMLP_OK, "dense_forward");
    CHECK(cmlp_dense_backward_dx(&shape, n->t, w, NULL, CMLP_IDENTITY, 0.0, y) == CMLP_OK, "dx");
    CHECK(cmlp_dense_backward_dw(&shape, n->t, n->x, w, y) == CMLP_OK, "dw");
    guarded_free(y), guarded_free(w);
    return NULL;
}

/* On a thread with a stack as small as some embedders give theirs. */
static void test_small_stack(cmlp_dtype dtype)
{
    net n;
    pthread_t thread;
    pthread_attr_t attributes;
    CHECK(net_new(&n, &wide, dtype, 1, 1) == CMLP_OK, "plan of %s", wide.name);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, SMALL_STACK);
    CHECK(!pthread_create(&thread, &attributes, run_everything, &n), "a thread with a small stack");
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    net_free(&n);
}

void test_memory(void)
{
    test_scratch();
    test_small_stack(CMLP_F32);
    test_small_stack(CMLP_F64);
    for (size_t i = 0; i < N_RECIPES; i++) {
        test_none_in_an_epoch(recipe_at(i));
        test_each_may_fail(recipe_at(i));
    }
}
