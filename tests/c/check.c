/* Checks, guarded memory, matrices: check.h. */
#define _DEFAULT_SOURCE
#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static atomic_ulong n_checks, n_failures; /* threads check too */

void check_result(int ok, const char *file, int line, const char *format, ...)
{
    n_checks++;
    if (ok)
        return;
    const char *name = strrchr(file, '/');
    if (++n_failures > 20)
        return;
    fprintf(stderr, "%s:%d: ", name ? name + 1 : file, line);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static double relative_error(double got, double want)
{
    if (got == want || (isnan(got) && isnan(want)))
        return 0.0;
    double error = fabs(got - want) / (fabs(want) + 1.0);
    return isnan(error) ? INFINITY : error;
}

void check_upper_halves(const cmlp_kernels *k, const char *kernel)
{
#if defined(__x86_64__)
    enum { OSXSAVE = 1 << 27, XGETBV_1 = 1 << 2, UPPER_HALVES = 1 << 2, UPPER_256 = 1 << 6 };
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE) || !__get_cpuid_count(13, 1, &a, &b, &c, &d) ||
        !(a & XGETBV_1))
        return;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
    CHECK(!(a & (UPPER_HALVES | UPPER_256)), "%s %s leaves upper halves of registers in use", k->isa, kernel);
#else
    (void)k, (void)kernel;
#endif
}

int check_near(double got, double want, double tolerance) { return relative_error(got, want) <= tolerance; }

/* [size of the whole | watched bytes | data] [page without access] */
#define WATCH 0xA5

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

void *guarded_new(size_t bytes)
{
    size_t page = page_size(), front = cmlp_round_up(bytes + sizeof(size_t), page);
    unsigned char *base =
        mmap(NULL, front + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect(base + front, page, PROT_NONE)) {
        perror("mmap");
        exit(2);
    }
    memset(base, WATCH, front - bytes);
    memcpy(base, &front, sizeof front);
    return base + front - bytes;
}

void guarded_free(void *p)
{
    size_t page = page_size(), front;
    /* The size stands at the start of the first page; data of more than a page begins in that page too. */
    unsigned char *data = p, *base = data - (uintptr_t)data % page;
    if ((size_t)(data - base) < sizeof front)
        base -= page;
    memcpy(&front, base, sizeof front);
    for (unsigned char *q = base + sizeof front; q < data; q++)
        if (*q != WATCH) {
            CHECK(0, "a byte %td before a buffer was overwritten", data - q);
            break;
        }
    munmap(base, front + page);
}

matrix matrix_new(const cmlp_kernels *k, size_t rows, size_t n, size_t ld)
{
    matrix m = {k->size, rows, n, ld, guarded_new(rows * ld * k->size)};
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < ld; j++)
            matrix_put(&m, r, j, NAN);
    return m;
}

void matrix_free(matrix *m) { guarded_free(m->data); }

double matrix_get(const matrix *m, size_t row, size_t col)
{
    const char *at = (const char *)m->data + (row * m->ld + col) * m->size;
    float f;
    double d;
    if (m->size == sizeof d)
        return memcpy(&d, at, sizeof d), d;
    return memcpy(&f, at, sizeof f), f;
}

void matrix_put(matrix *m, size_t row, size_t col, double value)
{
    char *at = (char *)m->data + (row * m->ld + col) * m->size;
    float f = (float)value;
    if (m->size == sizeof value)
        memcpy(at, &value, sizeof value);
    else
        memcpy(at, &f, sizeof f);
}

void matrix_fill(matrix *m, value_fn *value, unsigned seed)
{
    for (size_t r = 0; r < m->rows; r++)
        for (size_t j = 0; j < m->n; j++)
            matrix_put(m, r, j, value(seed, r * m->n + j));
}

double matrix_error(const matrix *got, const matrix *want)
{
    double worst = 0.0;
    for (size_t r = 0; r < got->rows; r++)
        for (size_t j = 0; j < got->n; j++)
            worst = fmax(worst, relative_error(matrix_get(got, r, j), matrix_get(want, r, j)));
    return worst;
}

size_t padded(const cmlp_kernels *k, size_t n) { return cmlp_round_up(n, k->vw); }

/* A multiplicative mix of seed and place; good enough to tell elements apart. */
static uint32_t mix(unsigned seed, size_t i)
{
    uint64_t z = ((uint64_t)seed << 32) + i + 1;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)(z >> 32);
}

double small_integer(unsigned seed, size_t i) { return (double)(mix(seed, i) % 9) - 4.0; }
double fraction(unsigned seed, size_t i) { return (double)(mix(seed, i) % 4096) / 1024.0 - 2.0; }

/* ---- one run: every test, for one instruction set or for all that this processor has ---- */

#define SKIPPED 77

static int run_set(const char *isa)
{
    if (cmlp_set_isa(isa) != CMLP_OK)
        return SKIPPED;
    test_kernels();
    test_sums();
    test_elementwise();
    test_layers();
    test_plans();
    test_nets();
    test_planes();
    test_many();
    test_memory();
    test_teams();
    test_errors();
    test_models();
    test_views();
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s INSTRUCTION_SET\n", argv[0]);
        return 2;
    }
    test_rng();
    test_json();
    if (run_set(argv[1]) == SKIPPED) {
        printf("%s: this processor or build does not have it\n", argv[1]);
        return SKIPPED;
    }
    printf("%s: %lu checks, %lu failed\n", argv[1], n_checks, n_failures);
    return n_failures ? 1 : 0;
}
