/* The products on packed panels, over shapes that leave every kind of edge.
 *
 * The oracle is the definition in float64.  Integers make every result exact, so that no edge is right by
 * luck of a tolerance. */
#include "check.h"
#include "panels.h"

typedef struct {
    size_t m, n, k;
} shape;

static const shape special[] = {{1, 1, 1},     {1, 200, 300}, {12, 48, 256}, {13, 49, 257},
                                {6, 64, 255},  {7, 65, 513},  {5, 20, 2100}, {13, 70, 1153},
                                {24, 96, 128}, {25, 97, 1},   {33, 8, 16},   {129, 100, 37}};
#define N_SPECIAL (sizeof special / sizeof special[0])
#define N_SHAPES (N_SPECIAL + 70)

/* Every n of 1..70 with other sizes that share no factor with it, and the special ones. */
static shape shape_at(size_t i)
{
    if (i < N_SPECIAL)
        return special[i];
    size_t n = i - N_SPECIAL + 1;
    return (shape){1 + n * 7 % 29, n, 1 + n * 13 % 71};
}

/* Place of (row, col) in a packed matrix of `rows` rows and n columns: panels of nr columns, each row by row,
 * the last panel as wide as what is left. */
static size_t place(size_t n, size_t rows, size_t nr, size_t row, size_t col)
{
    size_t first = col - col % nr, width = n - first < nr ? n - first : nr;
    return first * rows + row * width + col % nr;
}

/* A packed matrix; the columns that pad it hold zeros. */
static matrix packed_new(const cmlp_kernels *k, size_t rows, size_t n, size_t nr, value_fn *value,
                         unsigned seed)
{
    size_t wide = padded(k, n);
    matrix m = matrix_new(k, 1, rows * wide, rows * wide);
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < wide; j++)
            matrix_put(&m, 0, place(wide, rows, nr, r, j), j < n ? value(seed, r * n + j) : 0.0);
    return m;
}

static double tolerance(const cmlp_kernels *k, value_fn *value, size_t terms)
{
    if (value == small_integer)
        return 0.0;
    return (double)(terms + 4) * (k->size == sizeof(float) ? 6e-8 : 1.2e-16);
}

static void test_product(const cmlp_kernels *k, shape s, size_t nr, int bias, value_fn *value)
{
    size_t wide = padded(k, s.n);
    matrix a = matrix_new(k, s.m, s.k, s.k + s.m % 3), c = matrix_new(k, s.m, s.n, wide + s.k % 2 * k->vw);
    matrix b = packed_new(k, s.k, s.n, nr, value, 2), add = matrix_new(k, 1, s.n, wide);
    matrix_fill(&a, value, 1);
    matrix_fill(&add, value, 3);
    k->product(s.m, wide, s.k, a.data, a.ld, b.data, nr, bias ? add.data : NULL, c.data, c.ld);
    check_upper_halves(k, "product");
    for (size_t i = 0; i < s.m; i++)
        for (size_t j = 0; j < s.n; j++) {
            double want = bias ? value(3, j) : 0.0;
            for (size_t p = 0; p < s.k; p++)
                want += value(1, i * s.k + p) * value(2, p * s.n + j);
            double got = matrix_get(&c, i, j);
            CHECK(check_near(got, want, tolerance(k, value, s.k)),
                  "%s product %zux%zux%zu nr %zu at %zu,%zu: %g for %g", k->isa, s.m, s.n, s.k, nr, i, j, got,
                  want);
        }
    matrix_free(&a), matrix_free(&b), matrix_free(&c), matrix_free(&add);
}

/* Rows [m0, m1) of the gradient into a block that holds rows [g0, g0 + g_rows), over or on top of ones. */
static void test_outer(const cmlp_kernels *k, shape s, size_t nr, int accumulate, value_fn *value,
                       int with_scratch)
{
    size_t wide = padded(k, s.n), m0 = s.m / 3, m1 = s.m, g0 = m0 / 2, g_rows = m1 - g0;
    matrix x = matrix_new(k, s.k, s.m, s.m), dy = matrix_new(k, s.k, s.n, wide);
    matrix g = matrix_new(k, 1, g_rows * wide, g_rows * wide);
    size_t bytes = k->outer_scratch(m1 - m0, dy.ld);
    void *scratch = with_scratch && bytes ? guarded_new(bytes) : NULL;
    matrix_fill(&x, value, 1);
    matrix_fill(&dy, value, 2);
    for (size_t i = 0; i < g.n; i++)
        matrix_put(&g, 0, i, 1.0);
    k->outer(m0, m1, wide, s.k, x.data, x.ld, dy.data, dy.ld, nr, accumulate, g0, g_rows, g.data, scratch,
             NULL);
    check_upper_halves(k, "outer");
    for (size_t i = g0; i < m1; i++)
        for (size_t j = 0; j < s.n; j++) {
            double want = i < m0 || accumulate ? 1.0 : 0.0;
            for (size_t p = 0; p < s.k && i >= m0; p++)
                want += value(1, p * s.m + i) * value(2, p * s.n + j);
            double got = matrix_get(&g, 0, place(wide, g_rows, nr, i - g0, j));
            CHECK(check_near(got, want, tolerance(k, value, s.k)),
                  "%s outer %zux%zux%zu nr %zu at %zu,%zu: %g for %g", k->isa, s.m, s.n, s.k, nr, i, j, got,
                  want);
        }
    if (scratch)
        guarded_free(scratch);
    matrix_free(&x), matrix_free(&dy), matrix_free(&g);
}

static void test_column_sums(const cmlp_kernels *k, shape s, int accumulate, value_fn *value)
{
    matrix dy = matrix_new(k, s.k, s.n, padded(k, s.n)), db = matrix_new(k, 1, s.n, padded(k, s.n));
    matrix_fill(&dy, value, 1);
    matrix_fill(&db, value, 2);
    k->column_sums(s.n, s.k, dy.data, dy.ld, accumulate, db.data);
    check_upper_halves(k, "column_sums");
    for (size_t j = 0; j < s.n; j++) {
        double want = accumulate ? value(2, j) : 0.0;
        for (size_t p = 0; p < s.k; p++)
            want += value(1, p * s.n + j);
        CHECK(check_near(matrix_get(&db, 0, j), want, tolerance(k, value, s.k)),
              "%s column_sums %zux%zu at %zu", k->isa, s.k, s.n, j);
    }
    matrix_free(&dy), matrix_free(&db);
}

/* In four pieces, as the threads do it. */
static void test_transpose(const cmlp_kernels *k, size_t n_in, size_t n_out)
{
    size_t nr = cmlp_panels_of(k, n_in, n_out).width, nr_t = cmlp_panels_of(k, n_out, n_in).width;
    size_t wide = padded(k, n_out), wide_t = padded(k, n_in);
    size_t c = wide / 2 / nr * nr, i = n_in / 2 / k->vw * k->vw;
    matrix w = packed_new(k, n_in, n_out, nr, fraction, 1),
           wt = matrix_new(k, 1, n_out * wide_t, n_out * wide_t);
    const size_t cols[] = {0, c, wide}, rows[] = {0, i, n_in};
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < 2; b++)
            k->transpose(n_in, n_out, nr, nr_t, cols[a], cols[a + 1], rows[b], rows[b + 1], w.data, wt.data);
    check_upper_halves(k, "transpose");
    for (size_t o = 0; o < n_out; o++)
        for (size_t p = 0; p < wide_t; p++) {
            double want = p < n_in ? fraction(1, p * n_out + o) : 0.0;
            double got = matrix_get(&wt, 0, place(wide_t, n_out, nr_t, o, p));
            CHECK(got == want, "%s transpose %zux%zu at %zu,%zu: %g for %g", k->isa, n_in, n_out, o, p, got,
                  want);
        }
    matrix_free(&w), matrix_free(&wt);
}

/* W's rows lie close, with a page behind them that nobody may touch. */
static void test_pack(const cmlp_kernels *k, size_t n_in, size_t n)
{
    size_t width = padded(k, n);
    matrix w = matrix_new(k, n, n_in, n_in), panel = matrix_new(k, n_in, width, width);
    matrix_fill(&w, fraction, 1);
    k->pack(n_in, n, width, w.data, panel.data);
    check_upper_halves(k, "pack");
    for (size_t i = 0; i < n_in; i++)
        for (size_t j = 0; j < width; j++) {
            double want = j < n ? fraction(1, j * n_in + i) : 0.0, got = matrix_get(&panel, i, j);
            CHECK(got == want, "%s pack %zux%zu at %zu,%zu: %g for %g", k->isa, n, n_in, i, j, got, want);
        }
    matrix_fill(&w, fraction, 2);
    k->unpack(n_in, n, width, panel.data, w.data);
    check_upper_halves(k, "unpack");
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < n_in; i++) {
            double want = fraction(1, j * n_in + i), got = matrix_get(&w, j, i);
            CHECK(got == want, "%s unpack %zux%zu at %zu,%zu: %g for %g", k->isa, n, n_in, j, i, got, want);
        }
    matrix_free(&w), matrix_free(&panel);
}

static void test_table(const cmlp_kernels *k)
{
    value_fn *const values[] = {small_integer, fraction};
    shape far_apart = {.m = 150, .n = 2064, .k = 258};
    for (int with_scratch = 0; with_scratch < 2; with_scratch++)
        test_outer(k, far_apart, cmlp_panels_of(k, 1, far_apart.n).width, 0, small_integer, with_scratch);
    for (size_t i = 0; i < N_SHAPES; i++) {
        shape s = shape_at(i);
        const size_t widths[] = {cmlp_panels_of(k, 1, s.n).width, k->vw, k->nv_max * k->vw};
        for (int v = 0; v < 2; v++) {
            for (int w = 0; w < 3; w++) {
                test_product(k, s, widths[w], w != 1, values[v]);
                test_outer(k, s, widths[w], w == 1, values[v], 1);
            }
            test_column_sums(k, s, v, values[v]);
        }
        test_transpose(k, s.n, s.k);
        test_transpose(k, s.m, s.n);
        test_pack(k, s.k, s.n);
        test_pack(k, s.n, s.m);
    }
}

void test_kernels(void)
{
    test_table(cmlp_kernels_for(CMLP_F32));
    test_table(cmlp_kernels_for(CMLP_F64));
}
