/* Threads: the only file that knows OpenMP.  Without it everything runs on the calling thread. */
#define _GNU_SOURCE
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#ifndef _WIN32
#include <pthread.h>
#include <sched.h>
#endif
#ifdef __linux__
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* In a forked child the runtime's threads are gone and must not be waited for. */
static atomic_int forked;
static atomic_int limited = 1;

#ifndef _WIN32
static void in_child(void) { atomic_store(&forked, 1); }
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }
#endif

int cmlp_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

void cmlp_limit_threads(int on) { atomic_store(&limited, on); }

#ifdef _OPENMP
/* Processors that the control group lets this process use; 0: no limit known. */
static int cgroup_processors(void)
{
    static const char *const files[] = {"/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"};
    for (int i = 0; i < 2; i++) {
        FILE *f = fopen(files[i], "r");
        double quota = 0, period = 100000;
        int got = f ? fscanf(f, "%lf %lf", &quota, &period) : 0;
        if (f)
            fclose(f);
        if (got >= 1 && quota > 0 && period > 0)
            return quota < period ? 1 : (int)((quota + period - 1) / period);
    }
    return 0;
}

static int processors(void)
{
    static atomic_int limit = -1;
    int most = atomic_load(&limit);
    if (most < 0) {
        most = cgroup_processors();
        atomic_store(&limit, most);
    }
    int n = omp_get_num_procs();
    return most > 0 && most < n ? most : n;
}
#endif

int cmlp_default_threads(void)
{
#ifdef _OPENMP
    int n = omp_get_max_threads(), most = processors();
    return n < most ? n : most;
#else
    return 1;
#endif
}

int cmlp_threads_for(int wanted)
{
#ifdef _OPENMP
    if (atomic_load(&forked) || omp_in_parallel())
        return 1;
    if (wanted <= 0)
        return cmlp_default_threads();
    return atomic_load(&limited) && wanted > processors() ? processors() : wanted;
#else
    (void)wanted;
    return 1;
#endif
}

int cmlp_threads_worth(int wanted, double work, double per_thread)
{
    int n = cmlp_threads_for(wanted);
    double most = work / per_thread;
    return n <= most ? n : most < 1.0 ? 1 : (int)most;
}

double cmlp_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Denormals cost a hundred cycles each and carry nothing: flushed inside, the caller's mode put back. */
typedef uint64_t fp_mode;

static fp_mode flush_denormals(void)
{
#if defined(__x86_64__)
    fp_mode old = _mm_getcsr();
    _mm_setcsr((unsigned)old | 0x8040u);
    return old;
#elif defined(__aarch64__)
    fp_mode old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"(old | (1u << 24)));
    return old;
#else
    return 0;
#endif
}

static void restore_mode(fp_mode old)
{
#if defined(__x86_64__)
    _mm_setcsr((unsigned)old);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(old));
#else
    (void)old;
#endif
}

void cmlp_parallel(int n, cmlp_thread_fn *fn, void *ctx)
{
#ifdef _OPENMP
    if (n > 1) {
#ifndef _WIN32
        pthread_once(&once, watch_forks);
#endif
#pragma omp parallel num_threads(n)
        {
            fp_mode old = flush_denormals();
            fn(ctx, omp_get_thread_num(), omp_get_num_threads());
            restore_mode(old);
        }
        return;
    }
#endif
    (void)n;
    fp_mode old = flush_denormals();
    fn(ctx, 0, 1);
    restore_mode(old);
}

/* Waiting goes on in three stages: spinning, for what the other threads need if each has its processor;
 * yielding, which gives the processor to whoever wants it but does not let it fall asleep, because waking one
 * takes longer than most waits, above all in a virtual machine; then sleep. */
#define SPINS 1500
#define YIELDS 4000

static void relax(void)
{
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void yield(void)
{
#ifndef _WIN32
    sched_yield();
#else
    relax();
#endif
}

static void sleep_while(cmlp_barrier *barrier, int phase)
{
#ifdef __linux__
    atomic_fetch_add(&barrier->sleepers, 1);
    syscall(SYS_futex, &barrier->phase, FUTEX_WAIT_PRIVATE, phase, NULL, NULL, 0);
    atomic_fetch_sub(&barrier->sleepers, 1);
#else
    (void)barrier, (void)phase;
    yield();
#endif
}

static void wake(cmlp_barrier *barrier)
{
#ifdef __linux__
    if (atomic_load(&barrier->sleepers))
        syscall(SYS_futex, &barrier->phase, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#else
    (void)barrier;
#endif
}

void cmlp_wait(cmlp_barrier *barrier, int n_threads)
{
    if (n_threads == 1)
        return;
    int phase = atomic_load_explicit(&barrier->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) == n_threads - 1) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        atomic_store(&barrier->phase, phase + 1);
        wake(barrier);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&barrier->phase, memory_order_acquire) == phase; spins++) {
        if (spins < SPINS)
            relax();
        else if (spins < SPINS + YIELDS)
            yield();
        else
            sleep_while(barrier, phase);
    }
}
