/* The rounding errors of long sums: every reduction over 10^3 to 10^6 terms against sums that are exact to
 * twice the digits.  The terms are positive, so that a single chain's error would grow with their number. */
#include "check.h"
#include "tuning.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

/* What an error may be, in units of half the spacing of 1.  Measured, the largest of all instruction sets and
 * both types: products 3.0, 4.2, 7.9 and 19; weight gradients 3.0, 4.7, 17 and 33; other sums 4.7, 4.2, 5.9
 * and 6.3. A single chain of additions: 25, 89, 270 and 3,000. */
typedef struct {
    size_t terms;
    double product, outer, other;
} bound;

static const bound bounds[] = {
    {1000, 6.0, 6.0, 7.0}, {10000, 8.0, 9.0, 7.0}, {100000, 14.0, 26.0, 9.0}, {1000000, 28.0, 48.0, 10.0}};
enum { N_BOUNDS = sizeof bounds / sizeof bounds[0] };

/* ---- sums to twice the digits of a double ---- */

typedef struct {
    double high, low;
} exact;

static void add(exact *s, double x)
{
    double sum = s->high + x, from_x = sum - s->high;
    s->low += (s->high - (sum - from_x)) + (x - from_x);
    s->high = sum;
}

static void add_product(exact *s, double a, double b)
{
    double p = a * b;
    add(s, p);
    s->low += fma(a, b, -p);
}

static double value_of(const exact *s) { return s->high + s->low; }

/* ---- matrices of numbers in (0, 1) with all their digits ---- */

static double digits(unsigned seed, size_t i)
{
    double x = 0.0;
    for (unsigned part = 5; part-- > 0;)
        x = x * 0x1p-12 + (fraction(seed + 1000 * part, i) + 2.0) / 4.0;
    return x;
}

static matrix filled(const cmlp_kernels *k, size_t rows, size_t n, unsigned seed)
{
    matrix m = matrix_new(k, rows, n, padded(k, n));
    matrix_fill(&m, digits, seed);
    return m;
}

/* In units of half the spacing of 1, of the table's type. */
static double error_of(const cmlp_kernels *k, double got, double want)
{
    double error = fabs(got - want) / (fabs(want) * (k->dtype == CMLP_F32 ? FLT_EPSILON : DBL_EPSILON) / 2.0);
    return isnan(error) ? INFINITY : error;
}

static void check_error(const cmlp_kernels *k, const char *kernel, size_t terms, double error, double most)
{
    CHECK(error <= most, "%s %s, %zu bytes, over %zu terms: error %.1f, not up to %.1f", k->isa, kernel,
          k->size, terms, error, most);
}

/* ---- products ---- */

enum { ROWS = 8, COLUMNS = 4 };

/* x (ROWS, terms) and its transpose, b (terms, COLUMNS); want (ROWS, COLUMNS) */
static void test_products(const cmlp_kernels *k, const bound *b)
{
    size_t n = b->terms, wide = padded(k, COLUMNS);
    matrix x = matrix_new(k, ROWS, n, n), xt = matrix_new(k, n, ROWS, padded(k, ROWS));
    matrix w = filled(k, n, COLUMNS, 2), y = matrix_new(k, ROWS, COLUMNS, wide);
    matrix g = matrix_new(k, ROWS, COLUMNS, wide), sums = matrix_new(k, 1, ROWS, xt.ld);
    matrix_fill(&x, digits, 1);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t p = 0; p < n; p++)
            matrix_put(&xt, p, r, matrix_get(&x, r, p));
    k->product(ROWS, wide, n, x.data, x.ld, w.data, wide, NULL, y.data, y.ld);
    k->outer(0, ROWS, wide, n, xt.data, xt.ld, w.data, w.ld, wide, 0, 0, ROWS, g.data, NULL, NULL);
    k->column_sums(ROWS, n, xt.data, xt.ld, 0, sums.data);
    double worst[3] = {0};
    for (size_t r = 0; r < ROWS; r++) {
        exact column = {0};
        for (size_t p = 0; p < n; p++)
            add(&column, matrix_get(&x, r, p));
        worst[2] = fmax(worst[2], error_of(k, matrix_get(&sums, 0, r), value_of(&column)));
        for (size_t j = 0; j < COLUMNS; j++) {
            exact want = {0};
            for (size_t p = 0; p < n; p++)
                add_product(&want, matrix_get(&x, r, p), matrix_get(&w, p, j));
            worst[0] = fmax(worst[0], error_of(k, matrix_get(&y, r, j), value_of(&want)));
            worst[1] = fmax(worst[1], error_of(k, matrix_get(&g, r, j), value_of(&want)));
        }
    }
    check_error(k, "product", n, worst[0], b->product);
    check_error(k, "outer", n, worst[1], b->outer);
    check_error(k, "column_sums", n, worst[2], b->other);
    matrix_free(&x), matrix_free(&xt), matrix_free(&w), matrix_free(&y), matrix_free(&g), matrix_free(&sums);
}

/* ---- sums over a row ---- */

static void test_rows(const cmlp_kernels *k, const bound *b)
{
    size_t n = b->terms;
    matrix x = filled(k, 1, n, 1), dy = filled(k, 1, n, 2), y = matrix_new(k, 1, n, padded(k, n));
    exact sum = {0}, dot = {0}, squares = {0};
    for (size_t j = 0; j < n; j++) {
        double xj = matrix_get(&x, 0, j);
        add(&sum, exp(xj));
        add_product(&dot, xj, matrix_get(&dy, 0, j));
        add_product(&squares, xj, xj);
    }
    /* As exponentials of the same numbers, right to some units each. */
    k->softmax(1, n, x.data, x.ld, 0, y.data, y.ld);
    double error = 0.0;
    for (size_t j = 0; j < n; j += n / 100)
        error = fmax(error, error_of(k, matrix_get(&y, 0, j), exp(matrix_get(&x, 0, j)) / value_of(&sum)));
    check_error(k, "softmax", n, error, b->other);
    /* dx = x (dy - dot): with dy as large as can be lost in dot. */
    k->softmax_back(1, n, dy.data, dy.ld, x.data, x.ld, y.data, y.ld);
    double x0 = matrix_get(&x, 0, 0), want = x0 * (matrix_get(&dy, 0, 0) - value_of(&dot));
    check_error(k, "softmax_back", n, error_of(k, matrix_get(&y, 0, 0), want), b->other);
    check_error(k, "sum_squares", n, error_of(k, k->sum_squares(n, x.data), value_of(&squares)), b->other);
    matrix_free(&x), matrix_free(&dy), matrix_free(&y);
}

/* PReLU's slopes: sums over rows of dy x where x < 0. */
static void test_prelu_slope(const cmlp_kernels *k, const bound *b)
{
    size_t n = b->terms;
    matrix x = filled(k, n, 1, 1), dy = filled(k, n, 1, 2), slope = matrix_new(k, 1, 1, padded(k, 1));
    exact want = {0};
    for (size_t r = 0; r < n; r++) {
        matrix_put(&x, r, 0, -matrix_get(&x, r, 0));
        add_product(&want, matrix_get(&dy, r, 0), matrix_get(&x, r, 0));
    }
    k->prelu_slope(n, 1, dy.data, dy.ld, x.data, x.ld, 0, slope.data);
    check_error(k, "prelu_slope", n, error_of(k, matrix_get(&slope, 0, 0), value_of(&want)), b->other);
    matrix_free(&x), matrix_free(&dy), matrix_free(&slope);
}

/* ---- losses, over the outputs of a row and over rows ---- */

static double squared(double z, double t) { return 0.5 * (z - t) * (z - t); }
static double absolute(double z, double t) { return fabs(z - t); }
static double huber(double z, double t) { return fabs(z - t) > 1.0 ? fabs(z - t) - 0.5 : squared(z, t); }
static double binary(double z, double t) { return fmax(z, 0.0) + log1p(exp(-fabs(z))) - t * z; }
static double perceptron(double z, double t) { return t * z < 0.0 ? -t * z : 0.0; }
static double poisson(double z, double t) { return exp(z) - t * z; }
static double (*const losses[CMLP_N_LOSSES])(double z, double t) = {
    [CMLP_SQUARED_ERROR] = squared, [CMLP_BINARY_CROSS_ENTROPY] = binary, [CMLP_ABSOLUTE_ERROR] = absolute,
    [CMLP_HUBER] = huber,           [CMLP_PERCEPTRON] = perceptron,       [CMLP_POISSON] = poisson};

/* Rows in the blocks in which they are trained on. */
static double loss_of(const cmlp_kernels *k, int id, const matrix *z, const matrix *t)
{
    cmlp_sum sum = {0};
    for (size_t r = 0; r < z->rows; r += ROW_BLOCK) {
        cmlp_loss_args args = {.rows = cmlp_min(ROW_BLOCK, z->rows - r),
                               .n = z->n,
                               .z = (const char *)z->data + r * z->ld * k->size,
                               .ldz = z->ld,
                               .t = (const char *)t->data + r * t->ld * k->size,
                               .ldt = t->ld,
                               .param = id == CMLP_HUBER ? 1.0 : 0.0};
        cmlp_sum_add(&sum, k->loss(id, &args));
    }
    return cmlp_sum_value(&sum);
}

static void test_loss(const cmlp_kernels *k, int id, const bound *b, size_t rows, size_t n)
{
    matrix z = filled(k, rows, n, 1), t = filled(k, rows, n, 2);
    exact want = {0};
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++) {
            if (id == CMLP_PERCEPTRON)
                matrix_put(&t, r, j, -1.0);
            add(&want, losses[id](matrix_get(&z, r, j), matrix_get(&t, r, j)));
        }
    char name[40];
    snprintf(name, sizeof name, "%s, %s", cmlp_loss_name(id), rows == 1 ? "a row" : "rows");
    check_error(k, name, b->terms, error_of(k, loss_of(k, id, &z, &t), value_of(&want)), b->other);
    matrix_free(&z), matrix_free(&t);
}

/* One row with targets of every size: m log sum e^z - t z, m the sum of the targets. */
static void test_cross_entropy(const cmlp_kernels *k, const bound *b)
{
    size_t n = b->terms;
    matrix z = filled(k, 1, n, 1), t = filled(k, 1, n, 2);
    exact sum = {0}, dot = {0}, mass = {0};
    for (size_t j = 0; j < n; j++) {
        double zj = matrix_get(&z, 0, j), tj = matrix_get(&t, 0, j);
        add(&sum, exp(zj));
        add_product(&dot, tj, zj);
        add(&mass, tj);
    }
    double want = value_of(&mass) * log(value_of(&sum)) - value_of(&dot);
    check_error(k, "cross entropy", n, error_of(k, loss_of(k, CMLP_SOFTMAX_CROSS_ENTROPY, &z, &t), want),
                b->other);
    matrix_free(&z), matrix_free(&t);
}

static void test_table(const cmlp_kernels *k)
{
    for (const bound *b = bounds; b < bounds + N_BOUNDS; b++) {
        test_products(k, b);
        test_rows(k, b);
        test_prelu_slope(k, b);
        test_cross_entropy(k, b);
        for (int id = 0; id < CMLP_N_LOSSES; id++) {
            if (id == CMLP_SOFTMAX_CROSS_ENTROPY)
                continue;
            CHECK(losses[id], "no formula for the loss %s", cmlp_loss_name(id));
            test_loss(k, id, b, 1, b->terms);
            test_loss(k, id, b, b->terms, 1);
        }
    }
}

void test_sums(void)
{
    test_table(cmlp_kernels_for(CMLP_F32));
    test_table(cmlp_kernels_for(CMLP_F64));
}
