/* Selects the instruction set at run time from CPU features, or from the environment variable CMLP_ISA. */
#include "internal.h"

#include "cmlp_isas.h"

#include <stdlib.h>
#include <string.h>

/* CMLP_ISAS(F) is F(name) for every set of the build, best first. */
#define DECLARE(isa)                                                                                    \
    extern const cmlp_kernels cmlp_kernels_##isa##_f32;                                                 \
    extern const cmlp_kernels cmlp_kernels_##isa##_f64;                                                 \
    static int can_run_##isa(void);
CMLP_ISAS(DECLARE)

static int can_run_reference(void) { return 1; }

/* __builtin_cpu_supports checks both the CPU's feature bits and that the OS saves the registers. */
#if defined(__x86_64__)
static int can_run_v2(void) { return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"); }
static int can_run_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int can_run_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#elif defined(__aarch64__)
static int can_run_neon(void) { return 1; }
#endif

typedef struct {
    const char *name;
    const cmlp_kernels *f32, *f64;
    int (*can_run)(void);
} isa_entry;

#define ENTRY(isa) {#isa, &cmlp_kernels_##isa##_f32, &cmlp_kernels_##isa##_f64, can_run_##isa},
static const isa_entry entries[] = {CMLP_ISAS(ENTRY)};
#define N_ENTRIES (sizeof entries / sizeof entries[0])

static _Atomic(const isa_entry *) current;
static const char *refused;

static const isa_entry *find(const char *name)
{
    for (size_t i = 0; i < N_ENTRIES; i++)
        if (strcmp(entries[i].name, name) == 0 && entries[i].can_run())
            return &entries[i];
    return NULL;
}

static const isa_entry *choose(void)
{
    const char *wish = getenv("CMLP_ISA");
    if (wish && *wish) {
        const isa_entry *e = find(wish);
        if (e)
            return e;
        refused = wish;
    }
    for (size_t i = 0; i < N_ENTRIES; i++)
        if (entries[i].can_run())
            return &entries[i];
    return &entries[N_ENTRIES - 1];
}

static const isa_entry *in_use(void)
{
    const isa_entry *e = atomic_load(&current);
    if (!e) {
        e = choose();
        atomic_store(&current, e);
    }
    return e;
}

const cmlp_kernels *cmlp_kernels_for(cmlp_dtype dtype)
{
    return dtype == CMLP_F32 ? in_use()->f32 : in_use()->f64;
}

cmlp_status cmlp_check_dtype(cmlp_dtype dtype)
{
    if (dtype == CMLP_F32 || dtype == CMLP_F64)
        return CMLP_OK;
    return cmlp_fail(CMLP_E_ARGUMENT, "dtype is %d; expected CMLP_F32 or CMLP_F64", (int)dtype);
}

const char *cmlp_isa(void) { return in_use()->name; }

const char *cmlp_isa_refused(void)
{
    in_use();
    return refused;
}

cmlp_status cmlp_set_isa(const char *name)
{
    NEED(name);
    const isa_entry *e = find(name);
    if (!e)
        return cmlp_fail(CMLP_E_ARGUMENT, "name is %.40s; expected one of cmlp_isas()", name);
    atomic_store(&current, e);
    return CMLP_OK;
}

const char *const *cmlp_isas(void)
{
    static const char *names[N_ENTRIES + 1];
    size_t n = 0;
    for (size_t i = 0; i < N_ENTRIES; i++)
        if (entries[i].can_run())
            names[n++] = entries[i].name;
    names[n] = NULL;
    return names;
}
