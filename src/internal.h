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

static inline size_t cmlp_round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
static inline size_t cmlp_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t cmlp_max(size_t a, size_t b) { return a > b ? a : b; }

/* ---- dispatch.c ---- */

const cmlp_kernels *cmlp_kernels_for(cmlp_dtype dtype);

/* ---- threads.c ---- */

typedef void cmlp_thread_fn(void *ctx, int thread, int n_threads);
/* Runs fn in n threads, the caller among them as thread 0; denormals are flushed meanwhile. */
void cmlp_parallel(int n, cmlp_thread_fn *fn, void *ctx);
/* The number of threads that cmlp_parallel will start for this wish (0: the default). */
int cmlp_threads_for(int wanted);
/* The same, but one for each per_thread of the work at most. */
int cmlp_threads_worth(int wanted, double work, double per_thread);
/* Floating-point operations for which another thread is worth its barriers and the exchange of data between
 * caches: some twenty microseconds. */
#define FLOPS_PER_THREAD 4e6
/* Seconds on a clock that only goes forward. */
double cmlp_now(void);

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

/* ---- layer.c ---- */

struct cmlp_layer {
    cmlp_layer_spec spec;
    const cmlp_kernels *k;
    size_t pad_in, pad_out;   /* n_in and n_out rounded up to whole vectors */
    size_t nr, nr_t;          /* panel widths of w and wt */
    void *w, *b;              /* packed (pad_out columns, n_in rows); bias or slopes (pad_out) */
    void *wt;                 /* W transposed, packed (pad_in columns, n_out rows); NULL until needed */
    void *gw, *gb;            /* gradients in the order of w and b; NULL until needed */
    atomic_int busy;
};

static inline int cmlp_has_weight(const cmlp_layer *l) { return l->spec.kind == CMLP_DENSE; }
static inline int cmlp_has_bias(const cmlp_layer *l)
{
    return l->spec.kind == CMLP_PRELU || (l->spec.kind == CMLP_DENSE && l->spec.bias);
}
static inline size_t cmlp_weight_size(const cmlp_layer *l) { return l->pad_out * l->spec.n_in; }
size_t cmlp_panel_width(const cmlp_kernels *k, size_t n);
cmlp_status cmlp_layer_need_transpose(cmlp_layer *layer);
cmlp_status cmlp_layer_need_grad(cmlp_layer *layer);
void cmlp_layer_refresh(cmlp_layer *layer);
/* User's layout <-> the packed order of a part. */
void cmlp_pack_part(const cmlp_layer *l, cmlp_part part, const void *values, void *packed);
void cmlp_unpack_part(const cmlp_layer *l, cmlp_part part, const void *packed, void *values);

/* ---- optimizer.c ---- */

typedef struct {
    void *w[2], *b[2]; /* the slots, in the order of the layer's w and b */
} cmlp_slots;

struct cmlp_optimizer {
    cmlp_optimizer_spec spec;
    cmlp_layer **layers;
    cmlp_slots *slots;
    size_t n_layers;
    uint64_t steps;
};

/* Settings of step number t >= 1 for weights; cmlp_bias_args takes the decay off.  mass: the minibatch's
 * rows or sum of weights. */
cmlp_update_args cmlp_weight_args(const cmlp_optimizer_spec *spec, uint64_t t, double lr, double momentum,
                                  double mass);
cmlp_update_args cmlp_bias_args(cmlp_update_args args);
int cmlp_layers_claim(cmlp_layer *const *layers, size_t n);
void cmlp_layers_release(cmlp_layer *const *layers, size_t n);

#endif
