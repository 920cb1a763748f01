/* How many threads a call may use, and on which processors: from the calling thread's affinity, cgroup CPU
 * quotas, and OpenMP's settings (OMP_NUM_THREADS, OMP_THREAD_LIMIT, OMP_PROC_BIND, OMP_PLACES), which are
 * read but never changed.  A build without OpenMP uses one thread. */
#define _GNU_SOURCE
#include "internal.h"
#include "processors.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

int cmlp_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

/* ---- control groups ---- */

#define PATH_BYTES 1024

/* Reads n numbers from a file; "max" (no limit) reads as -1. */
static int read_numbers(const char *folder, const char *name, int n, double *numbers)
{
    char path[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    int got = 0;
    while (got < n) {
        char word[32];
        if (fscanf(file, "%31s", word) != 1)
            break;
        if (sscanf(word, "%lf", &numbers[got]) != 1)
            numbers[got] = -1.0;
        got++;
    }
    fclose(file);
    return got == n;
}

static double group_limit(const char *folder)
{
    double v[2];
    int v2 = read_numbers(folder, "cpu.max", 2, v);
    int v1 = !v2 && read_numbers(folder, "cpu.cfs_quota_us", 1, &v[0]) &&
             read_numbers(folder, "cpu.cfs_period_us", 1, &v[1]);
    return (v1 || v2) && v[0] > 0.0 && v[1] > 0.0 ? v[0] / v[1] : HUGE_VAL;
}

/* The tightest limit of the cgroup at root + path and its ancestors; path is consumed.  In a container the
 * mount point may be the process's own cgroup while the path is the host's: missing folders set no limit. */
static double least_limit(const char *root, char *path)
{
    double least = HUGE_VAL;
    for (char *end = path + strlen(path); end; end = strrchr(path, '/')) {
        char folder[PATH_BYTES];
        *end = 0;
        if (snprintf(folder, sizeof folder, "%s%s", root, path) < (int)sizeof folder)
            least = fmin(least, group_limit(folder));
    }
    return least;
}

static int has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ',') && (at[n] == ',' || !at[n]))
            return 1;
    return 0;
}

/* The limit by a line "hierarchy:controllers:path" of the membership; version 2 names no controllers. */
static double limit_by(char *line, const char *mount)
{
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    char root[PATH_BYTES];
    if (!path)
        return HUGE_VAL;
    *path++ = 0;
    path[strcspn(path, "\n")] = 0;
    int v2 = !*++controllers;
    if (!v2 && !has_word(controllers, "cpu"))
        return HUGE_VAL;
    snprintf(root, sizeof root, "%s%s", mount, v2 ? "" : "/cpu");
    return least_limit(root, path);
}

int cmlp_cgroup_processors(const char *membership, const char *mount)
{
    FILE *file = fopen(membership, "re");
    if (!file)
        return 0;
    double least = HUGE_VAL;
    char line[PATH_BYTES];
    while (fgets(line, sizeof line, file))
        least = fmin(least, limit_by(line, mount));
    fclose(file);
    return least < MOST_PROCESSORS ? (int)ceil(least) : 0;
}

#ifdef _OPENMP
/* Cached: processes rarely change their cgroup, and reading the files costs as much as a prediction. */
static int cgroup_limit(void)
{
    static atomic_int limit = -1;
    int most = atomic_load(&limit);
    if (most < 0) {
        most = cmlp_cgroup_processors("/proc/self/cgroup", "/sys/fs/cgroup");
        atomic_store(&limit, most);
    }
    return most;
}

/* ---- sets of processors ---- */

#define MOST_PLACE 512 /* processors in one of OpenMP's places */

static int count(const cmlp_processors *set)
{
    int n = 0;
    for (size_t i = 0; i < set->bytes / sizeof *set->bits; i++)
        n += __builtin_popcountl(set->bits[i]);
    return n;
}

static void get_affinity(cmlp_processors *set)
{
    set->bytes = 0;
#ifdef __linux__
    /* Unlike glibc's wrapper, the raw system call returns the size of the kernel's mask. */
    long got = syscall(SYS_sched_getaffinity, 0, sizeof set->bits, set->bits);
    if (got > 0)
        set->bytes = (size_t)got;
#endif
}

/* Adds the processors of a place to a set.  1 if they are those of `own`; -1 for more than we can hold. */
static int add_place(int place, const cmlp_processors *own, cmlp_processors *set)
{
    int ids[MOST_PLACE], n = omp_get_place_num_procs(place), inside = 0;
    if (n < 1 || n > MOST_PLACE)
        return -1;
    omp_get_place_proc_ids(place, ids);
    for (int i = 0; i < n; i++) {
        size_t id = (size_t)ids[i];
        if (ids[i] < 0 || id >= 8 * set->bytes)
            return -1;
        unsigned long bit = 1ul << id % PROCESSOR_BITS;
        set->bits[id / PROCESSOR_BITS] |= bit;
        inside += (own->bits[id / PROCESSOR_BITS] & bit) != 0;
    }
    return inside == n && n == count(own);
}

/* With OMP_PROC_BIND or OMP_PLACES, OpenMP binds the main thread to one place, and threads it creates inherit
 * that mask.  A team led by such a thread may use all places, as OpenMP's own would.  A mask that is not a
 * place was set by the program and is kept; so is a place under OMP_PROC_BIND=primary. */
static void widen_to_places(cmlp_processors *set, int places)
{
    cmlp_processors all = {.bytes = set->bytes};
    int bound = 0;
    for (int place = 0; place < places; place++) {
        int found = add_place(place, set, &all);
        if (found < 0)
            return;
        bound |= found;
    }
    if (bound)
        *set = all;
}

/* The lesser of n and a limit, where 0 stands for none. */
static int at_most(int n, int limit) { return limit > 0 && limit < n ? limit : n; }

/* Inside a parallel region the program already has its threads. */
static int alone(void) { return omp_in_parallel(); }

static int most_threads(cmlp_processors *set)
{
    /* Before reading the affinity: libomp binds the thread when first asked for its places. */
    int places = omp_get_num_places();
    get_affinity(set);
    if (places > 1 && set->bytes && omp_get_proc_bind() != omp_proc_bind_master)
        widen_to_places(set, places);
    int n = set->bytes ? count(set) : omp_get_num_procs();
    return at_most(at_most(n, cgroup_limit()), omp_get_thread_limit());
}
#else
static int alone(void) { return 1; }

static int most_threads(cmlp_processors *set)
{
    (void)set;
    return 1;
}
#endif

/* ---- threads for a call ---- */

static atomic_int limited = 1;

void cmlp_limit_threads(int on) { atomic_store(&limited, on != 0); }

int cmlp_most_threads(cmlp_processors *set)
{
    set->bytes = 0;
    if (alone())
        return 1;
    int n = most_threads(set);
    return atomic_load(&limited) ? n : INT_MAX;
}

int cmlp_default_threads(void)
{
    cmlp_processors set;
    if (alone())
        return 1;
    int n = most_threads(&set);
#ifdef _OPENMP
    n = at_most(n, omp_get_max_threads());
#endif
    return n;
}

int cmlp_threads_for(int wanted)
{
    cmlp_processors set;
    if (wanted <= 0)
        return cmlp_default_threads();
    int most = cmlp_most_threads(&set);
    return wanted < most ? wanted : most;
}

int cmlp_threads_worth(int wanted, double work, double per_thread)
{
    /* The system call costs as much as some predictions. */
    double most = work / per_thread;
    if (most < 2.0)
        return 1;
    int n = cmlp_threads_for(wanted);
    return n <= most ? n : (int)most;
}
