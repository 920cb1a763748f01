/* Thread teams and barriers.  The library runs its own workers: OpenMP's spin for milliseconds after each
 * region, taking processors from other libraries' threads, and do not survive a fork.  Windows still uses
 * OpenMP's.  Only this file and processors.c know about OpenMP. */
#define _GNU_SOURCE
#include "internal.h"
#include "processors.h"

#include <string.h>
#include <time.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef _WIN32
#include <windows.h>
#else
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

double cmlp_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void cmlp_rest(void)
{
#ifdef _WIN32
    Sleep(1);
#else
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
#endif
}

/* ---- the processor's floating-point mode ---- */

/* Every thread computes in one mode, whatever the caller's: round to nearest, no traps, flush denormals (they
 * cost a hundred cycles each and contribute nothing).  The caller's mode and exception flags are restored. */
typedef uint64_t fp_mode;

static fp_mode set_mode(void)
{
#if defined(__x86_64__)
    fp_mode old = _mm_getcsr();
    _mm_setcsr(0x1F80u | 0x8040u); /* all exceptions masked; flush to zero, denormals are zeros */
    return old;
#elif defined(__aarch64__)
    fp_mode old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"((fp_mode)1 << 24)); /* flush to zero */
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

static void run(cmlp_thread_fn *fn, void *ctx, int thread, int n_threads)
{
    fp_mode old = set_mode();
    fn(ctx, thread, n_threads);
    restore_mode(old);
}

/* ---- forks ---- */

/* The thread that leads a team may fork in its poll function.  The child has no team: barriers let the leader
 * through so that its call can return. */
static _Thread_local int leading, orphaned;

int cmlp_orphaned(void) { return orphaned; }

/* ---- waiting ---- */

/* Waiting has three stages.  Spin: enough when every thread has a processor.  Yield: lets others run without
 * letting the processor go idle, since waking it takes longer than most waits, above all in a virtual
 * machine. Then sleep. */
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

/* Returns 1 once the gate's value differs from `value`; 0 in a forked child, where nobody is left to change
 * it. */
static int wait_while(cmlp_gate *gate, int value)
{
    for (int i = 0; atomic_load_explicit(&gate->value, memory_order_acquire) == value; i++) {
        if (i < SPINS)
            relax();
        else if (i < SPINS + YIELDS)
            yield();
        else if (orphaned)
            return 0;
        else
            sleep_while(gate, value);
    }
    return 1;
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
    } else if (!wait_while(&barrier->phase, phase)) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
    }
}

/* ---- workers ---- */

#ifndef _WIN32
/* Minimum stack of a worker, several times what the deepest call uses.  The system default is larger unless
 * `ulimit -s` lowers it. */
#define WORKER_STACK ((size_t)256 << 10)
/* Upper bound on workers with the limit off. */
#define MOST_WORKERS 1024

typedef struct worker {
    struct worker *next, *next_of_team;
    pthread_t id;
    cmlp_processors set;  /* its affinity */
    int taken;            /* belongs to a team at work */
    cmlp_gate state;      /* IDLE, BUSY or LEAVING */
    cmlp_thread_fn *fn;
    void *ctx;
    int thread, n_threads;
} worker;

enum { IDLE, BUSY, LEAVING };

/* All workers, idle and taken; guarded by the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static worker *workers;
static int n_workers;
static int unloaded;

static void *serve(void *arg)
{
    worker *w = arg;
    for (;;) {
        wait_while(&w->state, IDLE);
        if (atomic_load(&w->state.value) == LEAVING)
            return NULL;
        run(w->fn, w->ctx, w->thread, w->n_threads);
        set_gate(&w->state, IDLE);
    }
}

/* Blocks all signals but synchronous faults, for which the program may have handlers (garbage collectors that
 * protect pages, crash reporters). */
static void block_signals(sigset_t *before)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&set, own[i]);
    pthread_sigmask(SIG_SETMASK, &set, before);
}

static int start(worker *w)
{
    pthread_attr_t attr;
    sigset_t before;
    size_t size = 0;
    if (pthread_attr_init(&attr))
        return 0;
    pthread_attr_getstacksize(&attr, &size);
    if (size < WORKER_STACK)
        pthread_attr_setstacksize(&attr, WORKER_STACK);
    block_signals(&before);
    int failed = pthread_create(&w->id, &attr, serve, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return !failed;
}

/* NULL if the system refuses another thread. */
static worker *new_worker(void)
{
    worker *w = n_workers < MOST_WORKERS ? cmlp_alloc(sizeof *w) : NULL;
    if (!w)
        return NULL;
    if (!start(w)) {
        cmlp_free(w);
        return NULL;
    }
    w->next = workers;
    workers = w;
    n_workers++;
    return w;
}

static int same_set(const cmlp_processors *a, const cmlp_processors *b)
{
    return a->bytes == b->bytes && !memcmp(a->bits, b->bits, a->bytes);
}

static int sets_meet(const cmlp_processors *a, const cmlp_processors *b)
{
    for (size_t i = 0; i < a->bytes / sizeof *a->bits; i++)
        if (a->bits[i] & b->bits[i])
            return 1;
    return !a->bytes || !b->bytes;
}

/* Workers at work whose affinity overlaps this set. */
static int busy_on(const cmlp_processors *set)
{
    int n = 0;
    for (const worker *w = workers; w; w = w->next)
        n += w->taken && sets_meet(&w->set, set);
    return n;
}

/* An idle worker, preferably with this affinity already; otherwise a new one. */
static worker *find_worker(const cmlp_processors *set)
{
    worker *found = NULL;
    for (worker *w = workers; w; w = w->next)
        if (!w->taken && (!found || same_set(&w->set, set)))
            found = w;
    return found ? found : new_worker();
}

static void move_to(worker *w, const cmlp_processors *set)
{
#ifdef __linux__
    if (set->bytes && !same_set(&w->set, set))
        pthread_setaffinity_np(w->id, set->bytes, (const cpu_set_t *)set->bits);
#endif
    w->set = *set;
}

/* Takes up to n workers: fewer if others are busy on the same processors. */
static worker *take_team(int n, int most, const cmlp_processors *set, int *taken)
{
    worker *team = NULL;
    pthread_mutex_lock(&lock);
    int room = most == INT_MAX ? n : most - 1 - busy_on(set);
    *taken = 0;
    while (!unloaded && *taken < n && *taken < room) {
        worker *w = find_worker(set);
        if (!w)
            break;
        move_to(w, set);
        w->taken = 1;
        w->next_of_team = team;
        team = w;
        ++*taken;
    }
    pthread_mutex_unlock(&lock);
    return team;
}

static void give_back(worker *team)
{
    pthread_mutex_lock(&lock);
    for (; team; team = team->next_of_team)
        team->taken = 0;
    pthread_mutex_unlock(&lock);
}

/* Threads do not survive a fork: the child starts without workers and makes its own. */
static void before_fork(void) { pthread_mutex_lock(&lock); }
static void in_parent(void) { pthread_mutex_unlock(&lock); }
static void in_child(void)
{
    orphaned = leading;
    while (workers) {
        worker *w = workers;
        workers = w->next;
        cmlp_free(w);
    }
    n_workers = 0;
    pthread_mutex_unlock(&lock);
}
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void watch_forks(void) { pthread_atfork(before_fork, in_parent, in_child); }

/* Idle workers execute this file's code, so they are joined before it is unmapped (dlclose of a plug-in that
 * links the library statically) and at exit.  Workers of a call that another thread is still in are left to
 * end with the process; unloading a plug-in during a call is an error of the host.  The lock may be held by
 * the very thread that exits, from a signal handler: hence trylock. */
#ifdef __ELF__
__attribute__((destructor(101))) /* after the program's destructors, which may still call the library */
#else
__attribute__((destructor))
#endif
static void unload(void)
{
    worker *leaving = NULL, **at = &workers;
    if (pthread_mutex_trylock(&lock))
        return;
    unloaded = 1;
    while (*at) {
        worker *w = *at;
        if (w->taken) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->next = leaving;
        leaving = w;
    }
    pthread_mutex_unlock(&lock);
    for (worker *w = leaving; w; w = w->next)
        set_gate(&w->state, LEAVING);
    while (leaving) {
        worker *w = leaving;
        leaving = w->next;
        pthread_join(w->id, NULL);
        cmlp_free(w);
    }
}

int cmlp_parallel(int n, cmlp_thread_fn *fn, void *ctx)
{
    cmlp_processors set;
    int most = n > 1 ? cmlp_most_threads(&set) : 1, others = 0, thread = 0;
    if (most == 1) {
        run(fn, ctx, 0, 1);
        return 1;
    }
    pthread_once(&once, watch_forks);
    worker *team = take_team(n - 1, most, &set, &others);
    for (worker *w = team; w; w = w->next_of_team) {
        w->fn = fn, w->ctx = ctx, w->thread = ++thread, w->n_threads = others + 1;
        set_gate(&w->state, BUSY);
    }
    leading = others;
    run(fn, ctx, 0, others + 1);
    leading = 0;
    if (orphaned) { /* forked in the poll function: the workers are in the parent */
        orphaned = 0;
        return 0;
    }
    for (worker *w = team; w; w = w->next_of_team)
        wait_while(&w->state, BUSY);
    give_back(team);
    return 1;
}
#else
int cmlp_parallel(int n, cmlp_thread_fn *fn, void *ctx)
{
#ifdef _OPENMP
    if (n > 1) {
#pragma omp parallel num_threads(n)
        run(fn, ctx, omp_get_thread_num(), omp_get_num_threads());
        return 1;
    }
#endif
    (void)n;
    run(fn, ctx, 0, 1);
    return 1;
}
#endif
