/* Teams of threads: how many, where they run, in which modes; forks; control groups. */
#define _GNU_SOURCE
#include "nets.h"
#include "processors.h"

#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif
/* The thread sanitizer knows no threads in the child of a process that has some, and qemu, which runs
 * programs of another processor, ends with an assertion there. */
#if !defined(THREAD_SANITIZER) && !defined(CMLP_EMULATED)
#define FORKS 1
#endif

/* ---- control groups ---- */

static void put_file(const char *folder, const char *name, const char *content)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL, "cannot write %s", path);
    if (!file)
        return;
    fputs(content, file);
    fclose(file);
}

static void test_control_groups(void)
{
    static const char *const folders[] = {"", "/jobs", "/jobs/one", "/cpu", "/cpu/box", "/cpu/box/tight"};
    static const struct {
        const char *membership;
        int processors;
    } cases[] = {
        {"0::/\n", 0},
        {"0::/jobs\n", 3},                       /* 2.5 processors' worth of time */
        {"0::/jobs/one\n", 3},                   /* more for itself than its parent has */
        {"0::/elsewhere/jobs\n", 0},             /* a path that only the host knows */
        {"4:cpuacct,cpu:/box\n0::/\n", 2},
        {"4:cpu:/box/tight\n", 1},
        {"4:cpuacct:/box/tight\n5:cpuset:/box/tight\n", 0},
        {"4:cpu:/box\n0::/jobs\n", 2},           /* the lesser of two limits */
        {"nonsense\n:\n::\n0::\n", 0},
        {"", 0},
    };
    char root[] = "/tmp/cmlp-groups-XXXXXX", path[512];
    CHECK(mkdtemp(root) != NULL, "no folder in /tmp");
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s%s", root, folders[i]);
        mkdir(path, 0700);
        static const char *const quotas[] = {NULL, "250000 100000\n", "max 100000\n", NULL, "120000", "1000"};
        if (quotas[i] && i < 3)
            put_file(path, "cpu.max", quotas[i]);
        if (quotas[i] && i > 3)
            put_file(path, "cpu.cfs_quota_us", quotas[i]), put_file(path, "cpu.cfs_period_us", "100000\n");
    }
    put_file(root, "cpu/cpu.cfs_quota_us", "-1\n"), put_file(root, "cpu/cpu.cfs_period_us", "100000\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(path, sizeof path, "%s/membership", root);
        put_file(root, "membership", cases[i].membership);
        int got = cmlp_cgroup_processors(path, root);
        CHECK(got == cases[i].processors, "%s: %d processors, not %d", cases[i].membership, got,
              cases[i].processors);
    }
    CHECK(cmlp_cgroup_processors("/nowhere", root) == 0, "a limit from no file");
    snprintf(path, sizeof path, "rm -r %s", root);
    CHECK(system(path) == 0, "%s is left", root);
}

/* ---- teams ---- */

#define MOST 64

typedef struct {
    int n_threads;
    atomic_int ran[MOST];
    atomic_int fault_blocked, signal_open, moved;
    cmlp_barrier barrier;
    cmlp_processors set;
} report;

#ifdef __linux__
static void get_set(cmlp_processors *set)
{
    memset(set, 0, sizeof *set);
    CHECK(sched_getaffinity(0, sizeof set->bits, (cpu_set_t *)set->bits) == 0, "no affinity");
}

static void set_set(const cmlp_processors *set)
{
    CHECK(sched_setaffinity(0, sizeof set->bits, (const cpu_set_t *)set->bits) == 0, "affinity refused");
}

static int only_one(cmlp_processors *set)
{
    for (size_t i = 0; i < MOST_PROCESSORS; i++)
        if (set->bits[i / PROCESSOR_BITS] >> i % PROCESSOR_BITS & 1) {
            memset(set, 0, sizeof *set);
            set->bits[i / PROCESSOR_BITS] = 1ul << i % PROCESSOR_BITS;
            return (int)i;
        }
    return -1;
}
#endif

static atomic_int workers_now, workers_most;

static void member(void *ctx, int thread, int n_threads)
{
    report *r = ctx;
    if (thread == 0)
        r->n_threads = n_threads;
    r->ran[thread]++;
    if (thread) {
        int now = ++workers_now;
        if (now > workers_most)
            workers_most = now;
        sigset_t blocked;
        pthread_sigmask(SIG_SETMASK, NULL, &blocked);
        r->fault_blocked += sigismember(&blocked, SIGSEGV) || sigismember(&blocked, SIGFPE);
        r->signal_open += !sigismember(&blocked, SIGINT) || !sigismember(&blocked, SIGALRM);
#ifdef __linux__
        cmlp_processors set;
        get_set(&set);
        r->moved += memcmp(set.bits, r->set.bits, sizeof set.bits) != 0;
#endif
    }
    for (int i = 0; i < 10; i++)
        cmlp_wait(&r->barrier, n_threads);
    workers_now -= thread != 0;
}

static int team_of(int n)
{
    report *r = cmlp_alloc(sizeof *r);
#ifdef __linux__
    get_set(&r->set);
#endif
    cmlp_parallel(n, member, r);
    for (int i = 0; i < MOST; i++)
        CHECK(r->ran[i] == (i < r->n_threads), "thread %d of %d ran %d times", i, r->n_threads, r->ran[i]);
    CHECK(!r->fault_blocked, "a fault in a worker would end the process, whatever its handlers");
    CHECK(!r->signal_open, "a worker takes signals that are for the program");
    CHECK(!r->moved, "%d workers may run where their caller may not, or not where it may", r->moved);
    int given = r->n_threads;
    cmlp_free(r);
    return given;
}

static void test_sizes(void)
{
    for (int n = 1; n <= 9; n++)
        CHECK(team_of(n) == (cmlp_has_openmp() ? n : 1), "a team of %d where %d are wanted", team_of(n), n);
    cmlp_limit_threads(1);
    for (int n = 1; n <= 9; n++)
        CHECK(team_of(n) == cmlp_threads_for(n), "%d threads, and %d announced", team_of(n),
              cmlp_threads_for(n));
    cmlp_limit_threads(0);
}

#ifdef __linux__
/* The caller's set at the call counts, and workers that have run elsewhere follow it. */
static void test_affinity(void)
{
    cmlp_processors all, one;
    get_set(&all);
    one = all;
    int id = only_one(&one);
    team_of(4);
    set_set(&one);
    CHECK(team_of(4) == (cmlp_has_openmp() ? 4 : 1), "the limit is off, and kept");
    cmlp_limit_threads(1);
    CHECK(team_of(4) == 1 && cmlp_threads_for(4) == 1 && cmlp_default_threads() == 1,
          "more than one thread on processor %d alone", id);
    set_set(&all);
    CHECK(team_of(4) == cmlp_threads_for(4), "fewer threads than before");
    cmlp_limit_threads(0);
    team_of(4);
}

/* Teams at the same time: no more workers than processors, less the caller's. */
static void *teams(void *arg)
{
    for (int i = 0; i < 200; i++)
        team_of(*(int *)arg);
    return NULL;
}

static void test_teams_at_once(void)
{
    pthread_t ids[6];
    int wanted[6];
    cmlp_limit_threads(1);
    workers_most = 0;
    for (int i = 0; i < 6; i++) {
        wanted[i] = 2 + i;
        pthread_create(&ids[i], NULL, teams, &wanted[i]);
    }
    for (int i = 0; i < 6; i++)
        pthread_join(ids[i], NULL);
    int most = cmlp_threads_for(MOST) - 1;
    CHECK(workers_most <= most, "%d workers at once; expected at most %d", workers_most, most);
    CHECK(!most || workers_most, "no workers at all");
    cmlp_limit_threads(0);
}

#if defined(__GLIBC__) && !defined(THREAD_SANITIZER)
/* Where threads have small stacks by default, workers have enough. */
static void deep(void *ctx, int thread, int n_threads)
{
    (void)thread;
    volatile char room[160 << 10];
    for (size_t i = 0; i < sizeof room; i += 1024)
        room[i] = (char)i;
    *(int *)ctx = n_threads;
}

static void test_stacks(void)
{
    pthread_attr_t small, before;
    pthread_getattr_default_np(&before);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    pthread_setattr_default_np(&small);
    int n = 0;
    cmlp_parallel(40, deep, &n); /* more than there are: new ones are made */
    CHECK(n == (cmlp_has_openmp() ? 40 : 1), "a team of %d", n);
    pthread_setattr_default_np(&before);
    pthread_attr_destroy(&small), pthread_attr_destroy(&before);
}
#else
static void test_stacks(void) {}
#endif
#endif

/* ---- what the program may have set: modes of the processor, handlers of faults ---- */

static cmlp_status train(net *n, uint64_t epochs, int (*poll)(void *), void *ctx)
{
    static const double lr = 0.01;
    double losses[8];
    cmlp_data data = net_data(n);
    cmlp_run run = {.epochs = epochs,
                    .shuffle = 1,
                    .lr = &lr,
                    .n_lr = 1,
                    .losses = losses,
                    .poll = poll,
                    .poll_ctx = ctx};
    return cmlp_fit(n->plan, &data, &run);
}

/* 1 if the two nets have the same parameters. */
static int same_nets(const net *a, const net *b)
{
    size_t bytes, other;
    void *p = net_parameters(a, &bytes), *q = net_parameters(b, &other);
    int same = bytes == other && !memcmp(p, q, bytes);
    free(p), free(q);
    return same;
}

static void test_floating_point(void)
{
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    net plain;
    CHECK(!net_new(&plain, recipe_at(1), CMLP_F32, 3, 1) && !train(&plain, 1, NULL, NULL), "training");
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        net n;
        CHECK(!net_new(&n, recipe_at(1), CMLP_F32, 3, 1), "net");
        fesetround(modes[i]);
#ifdef __GLIBC__
        /* Not every processor of ARM has traps. */
        int traps = FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW;
        if (feenableexcept(traps) == -1)
            traps = 0;
#endif
        cmlp_status status = train(&n, 1, NULL, NULL);
#ifdef __GLIBC__
        CHECK(fegetexcept() == traps, "traps are not put back");
        fedisableexcept(FE_ALL_EXCEPT);
#endif
        CHECK(fegetround() == modes[i], "the rounding mode is not put back");
        fesetround(FE_TONEAREST);
        CHECK(!status && same_nets(&n, &plain), "the caller's rounding mode changes the bits");
        net_free(&n);
    }
    net_free(&plain);
}

static char *protected;
static size_t protected_bytes;
static atomic_int faults;

static void unprotect(int signal)
{
    (void)signal;
    faults++;
    mprotect(protected, protected_bytes, PROT_READ | PROT_WRITE);
}

/* Some runtimes learn by faults which pages are used: their handlers run for workers too. */
static void test_faults(void)
{
    net n;
    struct sigaction handler = {.sa_handler = unprotect}, before;
    CHECK(!net_new(&n, recipe_at(1), CMLP_F32, 4, 1), "net");
    size_t bytes = n.recipe->rows * net_inputs(&n) * sizeof(float);
    protected_bytes = cmlp_round_up(bytes, (size_t)sysconf(_SC_PAGESIZE));
    protected = mmap(NULL, protected_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(protected, n.x, bytes);
    sigaction(SIGSEGV, &handler, &before);
    cmlp_data data = net_data(&n);
    data.x = protected;
    for (int i = 0; i < 20; i++) {
        double lr = 0.01, losses[1];
        cmlp_run run = {.epochs = 1, .lr = &lr, .n_lr = 1, .losses = losses};
        mprotect(protected, protected_bytes, PROT_NONE);
        CHECK(cmlp_fit(n.plan, &data, &run) == CMLP_OK, "training on protected pages");
    }
    sigaction(SIGSEGV, &before, NULL);
    CHECK(faults >= 20, "%d faults", faults);
    munmap(protected, protected_bytes);
    net_free(&n);
}

/* ---- forks ---- */

#ifdef FORKS
enum { MANY_EPOCHS = 1 << 17 };

/* Trains on: for so many steps, or (0) until the poll function stops it. */
static cmlp_status go_on(net *n, uint64_t steps, int (*poll)(void *), void *ctx)
{
    static const double lr = 1e-4;
    static double losses[MANY_EPOCHS];
    cmlp_data data = net_data(n);
    cmlp_run run = {.epochs = MANY_EPOCHS,
                    .max_steps = steps,
                    .shuffle = 1,
                    .lr = &lr,
                    .n_lr = 1,
                    .losses = losses,
                    .poll = poll,
                    .poll_ctx = ctx};
    return cmlp_fit(n->plan, &data, &run);
}

typedef struct {
    int polls;
    pid_t child;
} forker;

static int fork_then_stop(void *ctx)
{
    forker *f = ctx;
    if (!f->polls++)
        f->child = fork();
    return f->polls > 2;
}

/* 1 if a net that has never been disturbed has the same bits after as many steps. */
static int as_undisturbed(const net *n)
{
    net plain;
    int same = !net_new(&plain, n->recipe, n->dtype, 2, 1) &&
               go_on(&plain, cmlp_optimizer_steps(n->opt), NULL, NULL) == CMLP_PAUSED && same_nets(n, &plain);
    net_free(&plain);
    return same;
}

/* The caller forks while it trains: the parent goes on.  A child whose team stayed behind is told so, and can
 * train other nets; one that had no team goes on. */
static void test_fork_within(const recipe *r, cmlp_dtype dtype, int n_threads)
{
    net n;
    forker f = {.polls = 0};
    CHECK(!net_new(&n, r, dtype, n_threads, 1), "net");
    cmlp_status status = go_on(&n, 0, fork_then_stop, &f);
    int team = cmlp_has_openmp() && cmlp_plan_threads(n.plan) > 1;
    if (!f.child) {
        net other;
        int told = team ? status == CMLP_E_FORKED : status == CMLP_STOPPED && as_undisturbed(&n);
        int able = !net_new(&other, r, dtype, n_threads, 1) && go_on(&other, 7, NULL, NULL) == CMLP_PAUSED &&
                   as_undisturbed(&other);
        _exit(!told ? 1 : !able ? 2 : 0);
    }
    CHECK(status == CMLP_STOPPED && as_undisturbed(&n), "%s: a fork changes the parent's training", r->name);
    int code;
    waitpid(f.child, &code, 0);
    CHECK(code == 0, "%s: the child of a fork within training ended with %d", r->name, code >> 8);
    net_free(&n);
}

typedef struct {
    net n;
    atomic_int began, over;
} endless;

static int until_over(void *ctx)
{
    endless *e = ctx;
    e->began = 1;
    return e->over;
}

static void *train_on(void *arg)
{
    endless *e = arg;
    while (!e->over)
        train(&e->n, 8, until_over, e);
    return NULL;
}

/* 0 if a new net trains to the bits of `plain` on four threads, in a process that was just forked. */
static int child_works(const net *plain, endless *busy, int depth)
{
    net n;
    if (net_new(&n, recipe_at(1), CMLP_F32, 4, 1) || train(&n, 2, NULL, NULL) || !same_nets(&n, plain))
        return 1;
    cmlp_status status = train(&busy->n, 1, NULL, NULL);
    if (status != CMLP_E_BUSY && status != CMLP_OK) /* OK: between two calls of the parent's thread */
        return 2;
    if (depth) {
        pid_t grandchild = fork();
        if (!grandchild)
            _exit(child_works(plain, busy, depth - 1));
        int code;
        waitpid(grandchild, &code, 0);
        if (code)
            return 3;
    }
    net_free(&n);
    return 0;
}

/* Another thread's training does not harm the children: they train nets of their own, and are refused the net
 * that was in the middle of a step. */
static void test_fork_beside(void)
{
    endless busy = {.began = 0};
    net plain;
    pthread_t id;
    CHECK(!net_new(&plain, recipe_at(1), CMLP_F32, 1, 1) && !train(&plain, 2, NULL, NULL), "training");
    CHECK(!net_new(&busy.n, recipe_at(1), CMLP_F32, 4, 1), "net");
    pthread_create(&id, NULL, train_on, &busy);
    while (!busy.began)
        usleep(1000);
    for (int i = 0; i < 4; i++) {
        pid_t pid = fork();
        if (!pid)
            _exit(child_works(&plain, &busy, 2));
        int code;
        waitpid(pid, &code, 0);
        CHECK(code == 0, "a child ended with %d", code);
    }
    busy.over = 1;
    pthread_join(id, NULL);
    net_free(&busy.n), net_free(&plain);
}
#endif

void test_teams(void)
{
    cmlp_limit_threads(0);
    test_control_groups();
    test_sizes();
#ifdef __linux__
    test_affinity();
    test_teams_at_once();
    test_stacks();
#endif
    test_floating_point();
    test_faults();
#ifdef FORKS
    for (size_t i = 0; i < N_RECIPES; i++)
        test_fork_within(recipe_at(i), CMLP_F32, 4);
    test_fork_within(recipe_at(1), CMLP_F64, 1);
    test_fork_beside();
#endif
    cmlp_limit_threads(1);
}
