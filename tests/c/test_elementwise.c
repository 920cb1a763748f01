/* Activations, losses, updates and the other kernels that go element by element or row by row: every table
 * against the reference kernels in float64 on the same numbers. */
#include "check.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Kernels under test and kernels to believe, with one matrix for each. */
typedef struct {
    const cmlp_kernels *k[2];
    double tolerance;
} duel;

typedef struct {
    matrix m[2];
} pair;

static pair pair_new(const duel *d, size_t rows, size_t n, value_fn *value, unsigned seed)
{
    pair p;
    for (int i = 0; i < 2; i++) {
        p.m[i] = matrix_new(d->k[i], rows, n, padded(d->k[i], n));
        if (value)
            matrix_fill(&p.m[i], value, seed);
    }
    return p;
}

/* Without pads: for kernels that take a count and not rows. */
static pair vector_new(const duel *d, size_t n, value_fn *value, unsigned seed)
{
    pair p;
    for (int i = 0; i < 2; i++) {
        p.m[i] = matrix_new(d->k[i], 1, n, n);
        matrix_fill(&p.m[i], value, seed);
    }
    return p;
}

static void pair_free(pair *p)
{
    for (int i = 0; i < 2; i++)
        matrix_free(&p->m[i]);
}

static void check_pair(const duel *d, const pair *p, const char *what, int id, double tolerance)
{
    double error = matrix_error(&p->m[0], &p->m[1]);
    CHECK(error <= tolerance, "%s %s %d, %zux%zu, %zu bytes: error %.3g", d->k[0]->isa, what, id,
          p->m[0].rows, p->m[0].n, d->k[0]->size, error);
}

/* ---- values ---- */

/* Multiples of 2^-8 in [-8, 8), and among them what floating point is afraid of. */
static double awkward(unsigned seed, size_t i)
{
    static const double odd[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e4, -1e4, 1e30, -1e30, 88.0, -88.0};
    size_t n = sizeof odd / sizeof odd[0];
    size_t which = (i + seed) % 23;
    return which < n ? (double)(float)odd[which] : 4.0 * fraction(seed, i);
}

static double moderate(unsigned seed, size_t i) { return 4.0 * fraction(seed, i); }
static double positive(unsigned seed, size_t i) { return fraction(seed, i) + 2.0; }

/* ---- activations ---- */

#define SOURCE_ENTRY(id, name, default_p, source, f, df) source,
static const int sources[] = {CMLP_ACTIVATIONS(SOURCE_ENTRY)};

static double parameter_of(int id)
{
    double p = cmlp_activation_default(id);
    return p == CMLP_NO_PARAM ? 0.0 : p + 0.25;
}

/* in_place: the output overwrites the input. */
static void test_activation(const duel *d, int id, size_t n, int in_place)
{
    double p = parameter_of(id);
    pair x = vector_new(d, n, awkward, (unsigned)id), y = vector_new(d, n, fraction, 0);
    pair dy = vector_new(d, n, fraction, 1), s = vector_new(d, n, moderate, 2);
    for (int i = 0; i < 2; i++) {
        matrix *to = in_place ? &x.m[i] : &y.m[i];
        d->k[i]->activate(id, n, x.m[i].data, p, to->data);
        check_upper_halves(d->k[i], "activate");
    }
    check_pair(d, in_place ? &x : &y, "activate", id, d->tolerance);
    /* The derivative's argument: rounded outputs, the same numbers in both precisions. */
    for (size_t j = 0; j < n && sources[id] == CMLP_FROM_OUTPUT; j++) {
        float in = (float)moderate(2, j), out;
        double wide = in, wide_out;
        d->k[1]->activate(id, 1, &wide, p, &wide_out);
        out = (float)wide_out;
        matrix_put(&s.m[0], 0, j, out);
        matrix_put(&s.m[1], 0, j, out);
    }
    for (int i = 0; i < 2; i++) {
        matrix *to = in_place ? &dy.m[i] : &y.m[i];
        d->k[i]->derive(id, n, dy.m[i].data, s.m[i].data, p, to->data);
        check_upper_halves(d->k[i], "derive");
    }
    check_pair(d, in_place ? &dy : &y, "derive", id, d->tolerance);
    pair_free(&x), pair_free(&y), pair_free(&dy), pair_free(&s);
}

static void test_softmax(const duel *d, size_t rows, size_t n, int as_log, int in_place)
{
    pair x = pair_new(d, rows, n, moderate, 1), y = pair_new(d, rows, n, NULL, 0);
    pair dy = pair_new(d, rows, n, fraction, 2), dx = pair_new(d, rows, n, NULL, 0);
    for (int i = 0; i < 2; i++) {
        matrix *to = in_place ? &x.m[i] : &y.m[i];
        d->k[i]->softmax(rows, n, x.m[i].data, x.m[i].ld, as_log, to->data, to->ld);
        check_upper_halves(d->k[i], "softmax");
    }
    check_pair(d, in_place ? &x : &y, "softmax", as_log, d->tolerance);
    matrix_fill(&y.m[0], fraction, 3);
    matrix_fill(&y.m[1], fraction, 3);
    for (int i = 0; i < 2; i++) {
        matrix *to = in_place ? &dy.m[i] : &dx.m[i];
        d->k[i]->softmax_back(rows, n, dy.m[i].data, dy.m[i].ld, y.m[i].data, y.m[i].ld, to->data, to->ld);
        check_upper_halves(d->k[i], "softmax_back");
    }
    check_pair(d, in_place ? &dy : &dx, "softmax_back", 0, d->tolerance * (double)n);
    pair_free(&x), pair_free(&y), pair_free(&dy), pair_free(&dx);
}

static void test_prelu(const duel *d, size_t rows, size_t n, int in_place)
{
    pair x = pair_new(d, rows, n, fraction, 1), dy = pair_new(d, rows, n, fraction, 2);
    pair slope = pair_new(d, 1, n, fraction, 3), dslope = pair_new(d, 1, n, fraction, 4);
    pair y = pair_new(d, rows, n, NULL, 0), dx = pair_new(d, rows, n, NULL, 0);
    for (int i = 0; i < 2; i++) {
        const cmlp_kernels *k = d->k[i];
        matrix *to_dx = in_place ? &dy.m[i] : &dx.m[i], *to_y = in_place ? &x.m[i] : &y.m[i];
        k->prelu_slope(rows, n, dy.m[i].data, dy.m[i].ld, x.m[i].data, x.m[i].ld, in_place, dslope.m[i].data);
        k->prelu_back(rows, n, dy.m[i].data, dy.m[i].ld, x.m[i].data, x.m[i].ld, slope.m[i].data, to_dx->data,
                      to_dx->ld);
        k->prelu(rows, n, x.m[i].data, x.m[i].ld, slope.m[i].data, to_y->data, to_y->ld);
        check_upper_halves(k, "prelu");
    }
    check_pair(d, &dslope, "prelu_slope", in_place, d->tolerance * (double)rows);
    check_pair(d, in_place ? &dy : &dx, "prelu_back", in_place, d->tolerance);
    check_pair(d, in_place ? &x : &y, "prelu", in_place, d->tolerance);
    pair_free(&x), pair_free(&dy), pair_free(&slope), pair_free(&dslope), pair_free(&y), pair_free(&dx);
}

/* ---- losses ---- */

typedef struct {
    int labels, weights, in_place, gradient;
    double param;
} loss_case;

static void test_loss(const duel *d, int id, size_t rows, size_t n, const loss_case *c)
{
    int64_t labels[64];
    for (size_t r = 0; r < rows; r++)
        labels[r] = (int64_t)(r * 5 % n);
    pair z = pair_new(d, rows, n, moderate, 1), t = pair_new(d, rows, n, positive, 2);
    pair w = vector_new(d, rows, positive, 3), dz = pair_new(d, rows, n, NULL, 0);
    pair *gradient = c->in_place ? &z : &dz;
    double total[2];
    for (int i = 0; i < 2; i++) {
        cmlp_loss_args args = {.rows = rows,
                               .n = n,
                               .z = z.m[i].data,
                               .ldz = z.m[i].ld,
                               .scale = 0.125,
                               .labels = c->labels ? labels : NULL,
                               .t = c->labels ? NULL : t.m[i].data,
                               .ldt = t.m[i].ld,
                               .weight = c->weights ? w.m[i].data : NULL,
                               .param = c->param,
                               .dz = c->gradient ? gradient->m[i].data : NULL,
                               .lddz = gradient->m[i].ld};
        total[i] = d->k[i]->loss(id, &args);
        check_upper_halves(d->k[i], "loss");
    }
    CHECK(check_near(total[0], total[1], d->tolerance * 4.0), "%s loss %d, %zux%zu: %.9g for %.9g",
          d->k[0]->isa, id, rows, n, total[0], total[1]);
    if (c->gradient) {
        check_pair(d, gradient, "loss gradient", id, d->tolerance * 8.0);
        for (size_t j = n; j < gradient->m[0].ld; j++)
            CHECK(matrix_get(&gradient->m[0], 0, j) == 0.0, "%s loss %d leaves pads", d->k[0]->isa, id);
    }
    pair_free(&z), pair_free(&t), pair_free(&w), pair_free(&dz);
}

static void test_losses(const duel *d, size_t rows, size_t n)
{
    for (int id = 0; id < CMLP_N_LOSSES; id++)
        for (int bits = 0; bits < 16; bits++) {
            double p = cmlp_loss_default(id);
            loss_case c = {bits & 1, bits >> 1 & 1, bits >> 2 & 1, bits >> 3, p == CMLP_NO_PARAM ? 0.0 : p};
            if (id == CMLP_SOFTMAX_CROSS_ENTROPY && c.weights)
                c.param = 0.125;
            if (id == CMLP_SOFTMAX_CROSS_ENTROPY || !c.labels)
                test_loss(d, id, rows, n, &c);
        }
}

/* ---- updates ---- */

static void test_update(const duel *d, size_t n, const cmlp_update_args *args)
{
    pair w = vector_new(d, n, fraction, 1), g = vector_new(d, n, fraction, 2);
    pair s1 = vector_new(d, n, positive, 3), s2 = vector_new(d, n, positive, 4);
    int slots = cmlp_optimizer_slots(args->kind);
    for (int step = 0; step < 3; step++)
        for (int i = 0; i < 2; i++) {
            d->k[i]->update(n, w.m[i].data, g.m[i].data, slots > 0 ? s1.m[i].data : NULL,
                            slots > 1 ? s2.m[i].data : NULL, args);
            check_upper_halves(d->k[i], "update");
        }
    check_pair(d, &w, "update w", args->kind, d->tolerance * 4.0);
    check_pair(d, &s1, "update slot 1", args->kind, d->tolerance * 4.0);
    check_pair(d, &s2, "update slot 2", args->kind, d->tolerance * 4.0);
    pair_free(&w), pair_free(&g), pair_free(&s1), pair_free(&s2);
}

static void test_updates(const duel *d, size_t n)
{
    for (int kind = 0; kind < CMLP_N_OPTIMIZERS; kind++)
        for (int bits = 0; bits < 16; bits++) {
            cmlp_update_args args = {.kind = kind,
                                     .nesterov = bits & 1,
                                     .lr = 0.125,
                                     .momentum = 0.75,
                                     .decay = bits & 2 ? 0.25 : 0.0,
                                     .l1 = bits & 2 ? 0.5 : 0.0,
                                     .beta1 = 0.875,
                                     .beta2 = 0.75,
                                     .eps = 0.0078125,
                                     .shrink = 0.0625,
                                     .clip = bits & 4 ? 0.5 : 0.0,
                                     .gscale = bits & 8 ? 0.375 : 1.0};
            test_update(d, n, &args);
        }
}

/* ---- random factors ---- */

/* Number j of row r comes from word j % 4 of the generator at counter (j / 4, row + r, t). */
static double factor_of(const cmlp_random_args *a, size_t r, size_t j, double x)
{
    uint32_t counter[4] = {(uint32_t)(j / 4), (uint32_t)(a->row + r), (uint32_t)a->t, (uint32_t)(a->t >> 32)};
    uint32_t bits[4];
    cmlp_philox(counter, a->key, bits);
    if (a->slopes)
        return x < 0 ? a->low + (a->high - a->low) * (double)bits[j % 4] * 0x1p-32 : 1.0;
    return bits[j % 4] < a->threshold ? 0.0 : a->keep;
}

static void test_random_factors(const duel *d, size_t rows, size_t n, int slopes)
{
    const cmlp_kernels *k = d->k[0];
    cmlp_random_args args = {.key = {7, 9},
                             .row = 5,
                             .t = 3ull << 32 | 11,
                             .slopes = slopes,
                             .low = 0.125,
                             .high = 0.5,
                             .keep = 1.25,
                             .threshold = 1u << 30};
    matrix x = matrix_new(k, rows, n, padded(k, n)), factors = matrix_new(k, rows, n, padded(k, n));
    matrix_fill(&x, fraction, 1);
    k->random_factors(rows, n, x.ld, slopes ? x.data : NULL, &args, factors.data);
    check_upper_halves(k, "random_factors");
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++) {
            double want = factor_of(&args, r, j, matrix_get(&x, r, j)), got = matrix_get(&factors, r, j);
            CHECK(check_near(got, want, d->tolerance), "%s random factor %zu,%zu of %zux%zu: %g for %g",
                  k->isa, r, j, rows, n, got, want);
        }
    matrix_free(&x), matrix_free(&factors);
}

/* ---- the rest ---- */

/* One number outside, at every place in turn; the limits themselves are inside. */
static void test_all_within(const cmlp_kernels *k, size_t n)
{
    double most = k->size == sizeof(float) ? FLT_MAX : DBL_MAX;
    struct {
        double low, high, odd[4];
    } cases[] = {
        {-HUGE_VAL, HUGE_VAL, {NAN, HUGE_VAL, -HUGE_VAL, NAN}},
        {-most, most, {NAN, HUGE_VAL, -HUGE_VAL, NAN}},
        {0.0, 1.0, {NAN, 1.5, -0x1p-120, -HUGE_VAL}},
        {2.0, HUGE_VAL, {NAN, HUGE_VAL, 1.5, 0.0}},
    };
    matrix x = matrix_new(k, 1, n, n);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double low = cases[c].low, high = cases[c].high, inside = low < -most ? -most : low;
        for (size_t i = 0; i < n; i++)
            matrix_put(&x, 0, i, inside);
        matrix_put(&x, 0, n / 2, high > most ? most : high);
        CHECK(k->all_within(n, x.data, low, high), "%s all_within(%g, %g) of %zu", k->isa, low, high, n);
        for (size_t i = 0; i < n; i++) {
            matrix_put(&x, 0, i, cases[c].odd[i % 4]);
            CHECK(!k->all_within(n, x.data, low, high),
                  "%s all_within(%g, %g) of %zu does not see number %zu", k->isa, low, high, n, i);
            matrix_put(&x, 0, i, inside);
        }
    }
    matrix_free(&x);
}

static void test_vectors(const duel *d, size_t n)
{
    pair x = vector_new(d, n, fraction, 1), y = vector_new(d, n, fraction, 2);
    double sum[2];
    for (int i = 0; i < 2; i++) {
        d->k[i]->multiply(n, x.m[i].data, y.m[i].data, y.m[i].data);
        check_upper_halves(d->k[i], "multiply");
        d->k[i]->add(n, x.m[i].data, y.m[i].data);
        check_upper_halves(d->k[i], "add");
        sum[i] = d->k[i]->sum_squares(n, x.m[i].data);
        check_upper_halves(d->k[i], "sum_squares");
    }
    check_pair(d, &y, "multiply and add", 0, d->tolerance);
    CHECK(check_near(sum[0], sum[1], 1e-13), "%s sum_squares of %zu: %.17g for %.17g", d->k[0]->isa, n,
          sum[0], sum[1]);
    CHECK(d->k[0]->fma_loop(10) > 0.0, "%s fma_loop did nothing", d->k[0]->isa);
    pair_free(&x), pair_free(&y);
}

static void test_against_reference(cmlp_dtype dtype)
{
    const char *isa = cmlp_isa();
    cmlp_set_isa("reference");
    duel d = {{NULL, cmlp_kernels_for(CMLP_F64)}, dtype == CMLP_F32 ? 2e-6 : 4e-15};
    cmlp_set_isa(isa);
    d.k[0] = cmlp_kernels_for(dtype);
    for (size_t n = 1; n <= 70; n++) {
        for (int id = 0; id < CMLP_SOFTMAX; id++)
            test_activation(&d, id, n, n % 2);
        for (int mode = 0; mode < 4; mode++)
            test_softmax(&d, 1 + n % 5, n, mode & 1, mode >> 1);
        test_prelu(&d, 1 + n % 7, n, n % 2);
        test_losses(&d, 1 + n * 3 % 37, n);
        test_updates(&d, n);
        test_random_factors(&d, 1 + n % 3, n, n % 2);
        test_vectors(&d, n);
        test_all_within(d.k[0], n);
    }
}

void test_elementwise(void)
{
    test_against_reference(CMLP_F32);
    test_against_reference(CMLP_F64);
}
