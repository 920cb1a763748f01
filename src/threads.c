/* Threads: the only file that knows OpenMP, which says how many to use; without it everything runs on the
 * calling thread.  The threads themselves are the library's own, but on Windows: OpenMP's spin for
 * milliseconds after each use and take processors away from other libraries' threads, and do not survive a
 * fork. */
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
#include <signal.h>
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

static atomic_int limited = 1;

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
    if (omp_in_parallel())
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
    /* To ask the system for its processors takes as long as some predictions. */
    double most = work / per_thread;
    if (most < 2.0)
        return 1;
    int n = cmlp_threads_for(wanted);
    return n <= most ? n : (int)most;
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

/* ---- waiting ---- */

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

#if !defined(__linux__) && !defined(_WIN32)
static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t woken = PTHREAD_COND_INITIALIZER;
#endif

static void sleep_while(cmlp_gate *gate, int value)
{
    atomic_fetch_add(&gate->sleepers, 1);
#if defined(__linux__)
    syscall(SYS_futex, &gate->value, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
#elif !defined(_WIN32)
    pthread_mutex_lock(&sleep_lock);
    while (atomic_load(&gate->value) == value)
        pthread_cond_wait(&woken, &sleep_lock);
    pthread_mutex_unlock(&sleep_lock);
#else
    (void)value;
#endif
    atomic_fetch_sub(&gate->sleepers, 1);
}

static void wait_while(cmlp_gate *gate, int value)
{
    for (int i = 0; atomic_load_explicit(&gate->value, memory_order_acquire) == value; i++) {
        if (i < SPINS)
            relax();
        else if (i < SPINS + YIELDS)
            yield();
        else
            sleep_while(gate, value);
    }
}

static void set_gate(cmlp_gate *gate, int value)
{
    atomic_store(&gate->value, value);
    if (!atomic_load(&gate->sleepers))
        return;
#if defined(__linux__)
    syscall(SYS_futex, &gate->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#elif !defined(_WIN32)
    pthread_mutex_lock(&sleep_lock);
    pthread_cond_broadcast(&woken);
    pthread_mutex_unlock(&sleep_lock);
#endif
}

void cmlp_wait(cmlp_barrier *barrier, int n_threads)
{
    if (n_threads == 1)
        return;
    int phase = atomic_load_explicit(&barrier->phase.value, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) == n_threads - 1) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        set_gate(&barrier->phase, phase + 1);
    } else {
        wait_while(&barrier->phase, phase);
    }
}

/* ---- workers ---- */

static void run(cmlp_thread_fn *fn, void *ctx, int thread, int n_threads)
{
    fp_mode old = flush_denormals();
    fn(ctx, thread, n_threads);
    restore_mode(old);
}

#ifndef _WIN32
typedef struct worker {
    struct worker *next; /* in the list of the idle ones */
    cmlp_gate busy;
    cmlp_thread_fn *fn;
    void *ctx;
    int thread, n_threads;
} worker;

static pthread_mutex_t idle_lock = PTHREAD_MUTEX_INITIALIZER;
static worker *idle;

static void *serve(void *arg)
{
    worker *w = arg;
    for (;;) {
        wait_while(&w->busy, 0);
        run(w->fn, w->ctx, w->thread, w->n_threads);
        set_gate(&w->busy, 0);
    }
    return NULL;
}

/* Signals go to the caller's own threads.  NULL where the system gives no more threads. */
static worker *new_worker(void)
{
    worker *w = cmlp_alloc(sizeof *w);
    pthread_t id;
    sigset_t all, before;
    if (!w)
        return NULL;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&id, NULL, serve, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        cmlp_free(w);
        return NULL;
    }
    pthread_detach(id);
    return w;
}

static worker *take_worker(void)
{
    pthread_mutex_lock(&idle_lock);
    worker *w = idle;
    if (w)
        idle = w->next;
    pthread_mutex_unlock(&idle_lock);
    return w ? w : new_worker();
}

static void put_back(worker *w)
{
    pthread_mutex_lock(&idle_lock);
    w->next = idle;
    idle = w;
    pthread_mutex_unlock(&idle_lock);
}

/* The parent's workers do not exist in a child, which makes its own. */
static void before_fork(void) { pthread_mutex_lock(&idle_lock); }
static void in_parent(void) { pthread_mutex_unlock(&idle_lock); }
static void in_child(void)
{
    idle = NULL;
    pthread_mutex_unlock(&idle_lock);
}
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void watch_forks(void) { pthread_atfork(before_fork, in_parent, in_child); }

#define MOST_THREADS 256

void cmlp_parallel(int n, cmlp_thread_fn *fn, void *ctx)
{
    if (n <= 1) {
        run(fn, ctx, 0, 1);
        return;
    }
    worker *team[MOST_THREADS];
    int others = 0;
    pthread_once(&once, watch_forks);
    while (others < n - 1 && others < MOST_THREADS && (team[others] = take_worker()))
        others++;
    for (int i = 0; i < others; i++) {
        worker *w = team[i];
        w->fn = fn, w->ctx = ctx, w->thread = i + 1, w->n_threads = others + 1;
        set_gate(&w->busy, 1);
    }
    run(fn, ctx, 0, others + 1);
    for (int i = 0; i < others; i++) {
        wait_while(&team[i]->busy, 1);
        put_back(team[i]);
    }
}
#else
void cmlp_parallel(int n, cmlp_thread_fn *fn, void *ctx)
{
#ifdef _OPENMP
    if (n > 1) {
#pragma omp parallel num_threads(n)
        run(fn, ctx, omp_get_thread_num(), omp_get_num_threads());
        return;
    }
#endif
    (void)n;
    run(fn, ctx, 0, 1);
}
#endif
