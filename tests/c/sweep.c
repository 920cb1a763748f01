/* How accurate the activations are in float32: every one of the 2^32 inputs, or some of them, against the C
 * library's functions in float64.  A slow check, to be run by hand; CTest takes a sample.
 *
 *   CMLP_ISA=avx2 cmlp_sweep [--every N] [FUNCTION...]
 *
 * Fails where a function exceeds its bound, NaN does not give NaN, or an infinity not exactly the limit.
 *
 * The error is |result - exact| in ULP, the spacing of float32 at the exact value.  Two ends are treated
 * apart. Kernels flush denormals, also in the middle of a formula, where a number may be half the result: a
 * result up to twice the smallest normal number in size is right where the exact value is that small too, and
 * otherwise counts as that size; a denormal input may count as 0.  An infinite result counts as 2^128. */
#include "cmlp.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the functions in float64, right to far below 0.01 ULP of float32 ---- */

static double identity(double x) { return x; }
static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }
static double relu(double x) { return x < 0.0 ? 0.0 : x; }
/* The slope as the kernels see it, in float32. */
static double leaky_relu(double x)
{
    return x < 0.0 ? x * (float)cmlp_activation_default(CMLP_LEAKY_RELU) : x;
}
static double elu(double x) { return x < 0.0 ? expm1(x) : x; }
static double gelu(double x) { return 0.5 * x * erfc(x * -0.70710678118654752440); }
static double silu(double x) { return x / (1.0 + exp(-x)); }
static double softplus(double x) { return x < 0.0 ? log1p(exp(x)) : x + log1p(exp(-x)); }
static double softsign(double x) { return x / (1.0 + fabs(x)); }
static double scaled_tanh(double x) { return 1.7159 * tanh(x * (2.0 / 3.0)); }
static double step(double x) { return x < 0.0 ? 0.0 : 1.0; }

/* ---- what is promised ---- */

static const char *const sets[] = {"avx512", "avx2", "v2", "neon", "reference"};
enum { N_SETS = sizeof sets / sizeof sets[0] };

typedef struct {
    double (*exact)(double);
    double at_minus_infinity, at_infinity;
    double bound[N_SETS]; /* ULP */
} promise;

/* exp has no activation of its own; Poisson's loss has it as its slope. */
enum { EXP = CMLP_SOFTMAX, N_FUNCTIONS };

/* 2 ULP where there are fused multiply-adds; v2 has none, and the reference kernels are as good as the C
 * library. */
/* clang-format off */
static const promise promises[N_FUNCTIONS] = {
    /*                                           avx512 avx2  v2    neon  reference */
    [CMLP_IDENTITY] =   {identity, -INFINITY, INFINITY,   {0.0,  0.0,  0.0,  0.0,  0.0}},
    [CMLP_SIGMOID] =    {sigmoid, 0.0, 1.0,               {2.0,  2.0,  3.0,  2.0,  2.0}},
    [CMLP_TANH] =       {tanh, -1.0, 1.0,                 {2.0,  2.0,  3.0,  2.0,  3.0}},
    [CMLP_RELU] =       {relu, 0.0, INFINITY,             {0.0,  0.0,  0.0,  0.0,  0.0}},
    [CMLP_LEAKY_RELU] = {leaky_relu, -INFINITY, INFINITY, {0.5,  0.5,  0.5,  0.5,  0.5}},
    [CMLP_ELU] =        {elu, -1.0, INFINITY,             {2.0,  2.0,  3.0,  2.0,  2.0}},
    [CMLP_GELU] =       {gelu, 0.0, INFINITY,             {2.0,  2.0,  3.0,  2.0,  2.0}},
    [CMLP_SILU] =       {silu, 0.0, INFINITY,             {2.0,  2.0,  3.3,  2.0,  2.0}},
    [CMLP_SOFTPLUS] =   {softplus, 0.0, INFINITY,         {2.0,  2.0,  3.0,  2.0,  2.0}},
    [CMLP_SOFTSIGN] =   {softsign, -1.0, 1.0,             {2.0,  2.0,  3.0,  2.0,  2.0}},
    [CMLP_SCALED_TANH] = {scaled_tanh, -1.7159, 1.7159,   {3.0,  4.0,  4.0,  4.0,  4.0}},
    [CMLP_STEP] =       {step, 0.0, 1.0,                  {0.0,  0.0,  0.0,  0.0,  0.0}},
    [EXP] =             {exp, 0.0, INFINITY,              {2.0,  2.0,  3.0,  2.0,  2.0}},
};
/* clang-format on */

static const char *name_of(int id) { return id == EXP ? "exp" : cmlp_activation_name(id); }

/* ---- one block of inputs ---- */

#define BLOCK 4096

static void evaluate(int id, size_t n, const float *x, float *y)
{
    static const float zeros[BLOCK];
    const cmlp_shape shape = {.dtype = CMLP_F32, .batch = 1, .n_in = n, .n_out = n, .n_threads = 1};
    double loss;
    cmlp_status status = id == EXP
                             ? cmlp_loss_delta(&shape, CMLP_POISSON, 0.0, x, NULL, zeros, NULL, y, &loss)
                             : cmlp_activation_forward(&shape, id, cmlp_activation_default(id), x, y);
    if (status != CMLP_OK) {
        fprintf(stderr, "%s: status %d\n", name_of(id), (int)status);
        exit(2);
    }
}

/* Of float32 at a number of this size: 2^-23 of the power of two below it. */
static double spacing(double size)
{
    uint64_t bits;
    memcpy(&bits, &size, sizeof bits);
    bits &= 0x7FF0000000000000u;
    memcpy(&size, &bits, sizeof size);
    return (size > FLT_MIN ? size : FLT_MIN) * FLT_EPSILON;
}

#define TINY (2.0 * FLT_MIN)

static double error_of(float y, double exact)
{
    double size = fabs(exact), distance = fabs((double)y - exact);
    if (fabsf(y) <= TINY)
        distance = size - TINY;
    else if (isinf(y) && (y > 0.0f) == (exact > 0.0))
        distance = 0x1p128 - size;
    if (distance <= 0.0)
        return 0.0;
    double error = distance / spacing(size);
    return isnan(error) ? INFINITY : error;
}

static double error_at(const promise *f, float x, float y)
{
    if (isnan(x))
        return isnan(y) ? 0.0 : INFINITY;
    if (isinf(x))
        return y == (float)(x < 0.0f ? f->at_minus_infinity : f->at_infinity) ? 0.0 : INFINITY;
    double error = error_of(y, f->exact(x));
    return fabsf(x) < FLT_MIN ? fmin(error, error_of(y, f->exact(0.0))) : error;
}

/* What was found: inputs, those beyond the bound, the largest error and where, the first place if there are
 * several. */
typedef struct {
    uint64_t n, beyond;
    double error;
    uint32_t bits;
    float x, y;
} finding;

static void take_worse(finding *to, const finding *from)
{
    uint64_t n = to->n + from->n, beyond = to->beyond + from->beyond;
    if (from->error > to->error || (from->error == to->error && from->bits < to->bits))
        *to = *from;
    to->n = n, to->beyond = beyond;
}

static void measure(int id, double bound, size_t n, const uint32_t *bits, finding *worst)
{
    float x[BLOCK], y[BLOCK];
    memcpy(x, bits, n * sizeof *x);
    evaluate(id, n, x, y);
    for (size_t i = 0; i < n; i++) {
        double error = error_at(&promises[id], x[i], y[i]);
        finding here = {1, error > bound, error, bits[i], x[i], y[i]};
        take_worse(worst, &here);
    }
}

/* ---- all of them, by several threads ---- */

typedef struct {
    int id;
    double bound;
    uint64_t every, n;
    _Atomic uint64_t next; /* input that nobody has taken yet */
    int talks;
} sweep;

typedef struct {
    sweep *all;
    finding worst;
    pthread_t thread;
} share;

static const finding nothing = {.error = -1.0};

static void *run_share(void *arg)
{
    share *s = arg;
    sweep *all = s->all;
    uint32_t bits[BLOCK];
    for (uint64_t first; (first = atomic_fetch_add(&all->next, BLOCK)) < all->n;) {
        size_t n = all->n - first < BLOCK ? (size_t)(all->n - first) : BLOCK;
        for (uint64_t i = first; i < first + n; i++) /* the last digits vary in a sample too */
            bits[i - first] = (uint32_t)(i * all->every + i % all->every);
        measure(all->id, all->bound, n, bits, &s->worst);
        if (all->talks && first / BLOCK % 1024 == 0)
            fprintf(stderr, "\r%-12s %3.0f %%", name_of(all->id), 100.0 * (double)first / (double)all->n);
    }
    return NULL;
}

/* Inputs that a sample must not miss: 0, 1, the smallest and the largest numbers, infinity, NaN, either sign.
 */
static void measure_edges(int id, double bound, finding *worst)
{
    static const uint32_t edges[] = {0x00000000, 0x00000001, 0x007FFFFF, 0x00800000, 0x3F800000, 0x7F7FFFFF,
                                     0x7F800000, 0x7F800001, 0x7FC00000, 0x80000000, 0x80000001, 0x807FFFFF,
                                     0x80800000, 0xBF800000, 0xFF7FFFFF, 0xFF800000, 0xFF800001, 0xFFC00000};
    finding found = nothing;
    measure(id, bound, sizeof edges / sizeof edges[0], edges, &found);
    found.n = 0; /* in a full sweep they come again */
    take_worse(worst, &found);
}

static finding run_sweep(int id, double bound, uint64_t every)
{
    enum { MOST = 64 };
    share shares[MOST];
    sweep all = {
        .id = id, .bound = bound, .every = every, .n = (1ull << 32) / every, .talks = isatty(STDERR_FILENO)};
    int n_threads = cmlp_default_threads() < MOST ? cmlp_default_threads() : MOST;
    finding worst = nothing;
    for (int i = 0; i < n_threads; i++) {
        shares[i] = (share){.all = &all, .worst = nothing};
        if (pthread_create(&shares[i].thread, NULL, run_share, &shares[i])) {
            perror("pthread_create");
            exit(2);
        }
    }
    measure_edges(id, bound, &worst);
    for (int i = 0; i < n_threads; i++) {
        pthread_join(shares[i].thread, NULL);
        take_worse(&worst, &shares[i].worst);
    }
    if (all.talks)
        fprintf(stderr, "\r%18s\r", "");
    return worst;
}

/* ---- the table ---- */

static void report(int id, double bound, const finding *worst)
{
    printf("%-12s %8.3f %6.2f %10llu  %-16.9g %-16.9g %-16.9g %10llu\n", name_of(id), worst->error, bound,
           (unsigned long long)worst->beyond, (double)worst->x, (double)worst->y,
           promises[id].exact(worst->x), (unsigned long long)worst->n);
    fflush(stdout);
}

static int set_in_use(void)
{
    for (int i = 0; i < N_SETS; i++)
        if (strcmp(cmlp_isa(), sets[i]) == 0)
            return i;
    fprintf(stderr, "no bounds for %s\n", cmlp_isa());
    exit(2);
}

static int function_id(const char *name)
{
    for (int id = 0; id < N_FUNCTIONS; id++)
        if (strcmp(name_of(id), name) == 0)
            return id;
    fprintf(stderr, "no function '%s'; there are:", name);
    for (int id = 0; id < N_FUNCTIONS; id++)
        fprintf(stderr, " %s", name_of(id));
    fputc('\n', stderr);
    exit(2);
}

/* Marks the functions wanted, all if none is named; returns the stride. */
static uint64_t read_arguments(int argc, char **argv, int wanted[N_FUNCTIONS])
{
    uint64_t every = 1;
    int first = 1;
    if (argc > 1 && strcmp(argv[1], "--every") == 0) {
        every = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
        first = 3;
        if (every < 1 || every > 1u << 24) {
            fprintf(stderr, "usage: %s [--every N, 1 to %u] [FUNCTION...]\n", argv[0], 1u << 24);
            exit(2);
        }
    }
    for (int i = 0; i < N_FUNCTIONS; i++)
        wanted[i] = first >= argc;
    for (int i = first; i < argc; i++)
        wanted[function_id(argv[i])] = 1;
    return every;
}

int main(int argc, char **argv)
{
    int wanted[N_FUNCTIONS], kept = 1, set = set_in_use();
    uint64_t every = read_arguments(argc, argv, wanted);
    if (cmlp_isa_refused()) {
        printf("%s: this processor or build does not have it\n", cmlp_isa_refused());
        return 77;
    }
    printf("%s, --every %llu\n", sets[set], (unsigned long long)every);
    printf("%-12s %8s %6s %10s  %-16s %-16s %-16s %10s\n", "function", "max ULP", "bound", "beyond", "x",
           "result", "exact", "inputs");
    for (int id = 0; id < N_FUNCTIONS; id++) {
        if (!promises[id].exact) {
            printf("%-12s has no line in tests/c/sweep.c\n", name_of(id));
            kept = 0;
        } else if (wanted[id]) {
            double bound = promises[id].bound[set];
            finding worst = run_sweep(id, bound, every);
            report(id, bound, &worst);
            kept &= worst.beyond == 0;
        }
    }
    return kept ? 0 : 1;
}
