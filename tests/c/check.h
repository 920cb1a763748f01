/* What the C tests share: checks that count, memory between guard pages, matrices, and allocations that can
 * be counted and made to fail. */
#ifndef CHECK_H
#define CHECK_H

#include "internal.h"

/* ---- checks: a failure is printed and counted, and the run goes on ---- */

#define CHECK(ok, ...) check_result((ok) != 0, __FILE__, __LINE__, __VA_ARGS__)
void check_result(int ok, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* |got - want| <= tolerance (|want| + 1), or both NaN, or equal. */
int check_near(double got, double want, double tolerance);

/* After a kernel the upper halves of the vector registers are clean: where they are not, the next instruction
 * of the caller that knows of none costs some 170 ns. */
void check_upper_halves(const cmlp_kernels *k, const char *kernel);

/* ---- memory that ends at a page that nobody may touch; what stands before it is watched too ---- */

void *guarded_new(size_t bytes);
void guarded_free(void *p);

/* ---- rows of a kernel table's element type, in guarded memory ---- */

typedef struct {
    size_t size; /* bytes of an element */
    size_t rows, n, ld;
    void *data;
} matrix;

/* Rows of ld >= n elements, every element NaN. */
matrix matrix_new(const cmlp_kernels *k, size_t rows, size_t n, size_t ld);
void matrix_free(matrix *m);
double matrix_get(const matrix *m, size_t row, size_t col);
void matrix_put(matrix *m, size_t row, size_t col, double value);
/* Every element but the pads from a function of (seed, place): the same numbers for every table. */
typedef double value_fn(unsigned seed, size_t i);
void matrix_fill(matrix *m, value_fn *value, unsigned seed);
/* Largest error over the elements but the pads, each divided by |want| + 1; infinite for a lone NaN. */
double matrix_error(const matrix *got, const matrix *want);
/* Leading dimension of padded rows. */
size_t padded(const cmlp_kernels *k, size_t n);

double small_integer(unsigned seed, size_t i); /* -4..4 */
double fraction(unsigned seed, size_t i);      /* in [-2, 2), a multiple of 2^-10 */

/* ---- allocations of the library, through the linker's --wrap ---- */

extern _Atomic size_t allocations; /* so far, by any thread */
extern size_t allocation_fails;    /* the allocation with this number fails; 0: none */

/* ---- the tests, each for the instruction set in use ---- */

void test_kernels(void);
void test_sums(void);
void test_elementwise(void);
void test_layers(void);
void test_plans(void);
void test_nets(void);
void test_planes(void);
void test_many(void);
void test_memory(void);
void test_rng(void); /* the same for every set */
void test_teams(void);
void test_json(void); /* the same for every set */
void test_errors(void);
void test_models(void);
void test_views(void);

#endif
