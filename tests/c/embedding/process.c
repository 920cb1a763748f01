/* A program with the library in it, under whatever limits its caller sets.
 *
 *   process threads            trains; how many threads it has then, and where they may run
 *   process stack BYTES        calls everything from a thread with such a stack; bytes of it used
 *   process refused COUNT      trains where the system gives no more than COUNT threads
 *   process exit-idle, exit-busy, exit-in-poll
 *                              exit when workers are idle, at work for another thread, or by the poll
 * function process forks DEPTH        each child trains and has children of its own
 */
#define _GNU_SOURCE
#include "job.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

/* ---- threads that the system refuses ---- */

static atomic_int threads_left = 1 << 30;

extern int __real_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    return threads_left-- > 0 ? __real_pthread_create(id, attr, fn, arg) : EAGAIN;
}

/* ---- where threads are ---- */

/* A line for each thread: the processors that it may run on. */
static void show_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    for (const struct dirent *entry; (entry = readdir(folder));) {
        char path[300], line[300];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%.20s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        while (file && fgets(line, sizeof line, file))
            if (!strncmp(line, "Cpus_allowed_list:", 18))
                printf("%s %s", atoi(entry->d_name) == getpid() ? "main" : "worker", line + 19);
        fclose(file);
    }
    closedir(folder);
}

/* ---- small stacks ---- */

typedef struct {
    cmlp_dtype dtype;
    cmlp_layer_spec layers[6];
    size_t n_layers, batch;
    int loss;
    cmlp_optimizer_spec optimizer;
} recipe;

#define DENSE(in, out, f) {.kind = CMLP_DENSE, .n_in = in, .n_out = out, .activation = f, .bias = 1}
#define OTHER(which, n, ...) {.kind = which, .n_in = n, .n_out = n, __VA_ARGS__}

/* Small, large, wide with few rows; every kind of layer; few outputs and many. */
static const recipe recipes[] = {
    {CMLP_F32,
     {DENSE(8, 64, CMLP_TANH), DENSE(64, 64, CMLP_GELU), DENSE(64, 4, CMLP_IDENTITY)},
     3,
     64,
     CMLP_SOFTMAX_CROSS_ENTROPY,
     {.kind = CMLP_SGD, .momentum = 0.9, .nesterov = 1}},
    {CMLP_F32,
     {DENSE(310, 200, CMLP_RELU), DENSE(200, 103, CMLP_SILU), DENSE(103, 10, CMLP_IDENTITY)},
     3,
     128,
     CMLP_SOFTMAX_CROSS_ENTROPY,
     {.kind = CMLP_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip_norm = 0.5}},
    {CMLP_F32,
     {DENSE(710, 700, CMLP_TANH), DENSE(700, 1, CMLP_IDENTITY)},
     2,
     8,
     CMLP_SQUARED_ERROR,
     {.kind = CMLP_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01}},
    {CMLP_F64,
     {DENSE(40, 90, CMLP_IDENTITY), OTHER(CMLP_PRELU, 90, .param = {0.25, 0.0}),
      OTHER(CMLP_DROPOUT, 90, .param = {0.3, 0.0}), DENSE(90, 120, CMLP_IDENTITY),
      OTHER(CMLP_RRELU, 120, .param = {0.1, 0.3}), DENSE(120, 40, CMLP_SIGMOID)},
     6,
     200,
     CMLP_SQUARED_ERROR,
     {.kind = CMLP_RMSPROP, .rho = 0.9, .eps = 1e-8, .momentum = 0.5}},
};

static int use_plan(const recipe *r, int n_threads, int training)
{
    cmlp_layer *layers[6] = {NULL};
    cmlp_optimizer *optimizer = NULL;
    cmlp_plan *plan = NULL;
    size_t n_in = r->layers[0].n_in, n_out = r->layers[r->n_layers - 1].n_out, n = 3 * r->batch / 2;
    char *x = calloc(n * n_in, sizeof(double)), *y = calloc(n * n_out, sizeof(double));
    int64_t *labels = calloc(n, sizeof *labels);
    const cmlp_plan_spec spec = {.loss = r->loss, .batch = r->batch, .n_threads = n_threads};
    int by_label = r->loss == CMLP_SOFTMAX_CROSS_ENTROPY, failed = 0;
    for (size_t i = 0; i < r->n_layers; i++)
        failed |= job_failed(cmlp_layer_new(r->dtype, &r->layers[i], &layers[i]), "layer");
    if (training)
        failed |= job_failed(cmlp_optimizer_new(&r->optimizer, layers, r->n_layers, &optimizer), "optimizer");
    failed |= job_failed(cmlp_plan_new(&spec, layers, r->n_layers, optimizer, &plan), "plan");
    if (!failed) {
        double lr = 0.01, losses[2], loss;
        cmlp_data data = {.x = x, .labels = by_label ? labels : NULL, .t = by_label ? NULL : y, .n = n};
        cmlp_run run = {.epochs = 2, .shuffle = 1, .lr = &lr, .n_lr = 1, .losses = losses};
        if (training)
            failed |= job_failed(cmlp_fit(plan, &data, &run), "fit");
        data.n = r->batch;
        if (training) {
            failed |= job_failed(cmlp_step(plan, &data, 0.01, 0.9, &loss), "step");
            failed |= job_failed(cmlp_optimizer_step(optimizer, 0.01, 64.0), "optimizer step");
        } else {
            failed |= job_failed(cmlp_gradient(plan, &data, &loss), "gradient");
            failed |= job_failed(cmlp_forward(plan, r->batch, x, 1, y), "forward");
            failed |= job_failed(cmlp_backward(plan, y, x), "backward");
        }
        failed |= job_failed(cmlp_predict(plan, n, x, 0, y), "predict");
        failed |= job_failed(cmlp_predict(plan, 1, x, 0, y), "predict one");
    }
    cmlp_plan_free(plan), cmlp_optimizer_free(optimizer);
    for (size_t i = 0; i < r->n_layers; i++)
        cmlp_layer_free(layers[i]);
    free(x), free(y), free(labels);
    return failed;
}

static int use_kernels(cmlp_dtype dtype, int n_threads)
{
    const cmlp_shape shape = {
        .dtype = dtype, .batch = 150, .n_in = 530, .n_out = 270, .n_threads = n_threads};
    const size_t n = 530 * 530;
    void *a[8];
    int64_t *labels = calloc(shape.batch, sizeof *labels);
    for (int i = 0; i < 8; i++)
        a[i] = calloc(n, sizeof(double));
    const cmlp_optimizer_spec rule = {.kind = CMLP_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    void *slots[4] = {a[4], a[5], a[6], a[7]};
    double value;
    int failed = job_failed(cmlp_dense_forward(&shape, a[0], a[1], a[2], CMLP_GELU, 0, a[3]), "forward");
    failed |= job_failed(cmlp_dense_backward_dx(&shape, a[3], a[1], a[0], CMLP_TANH, 0, a[4]), "dx");
    failed |= job_failed(cmlp_dense_backward_dw(&shape, a[3], a[0], a[1], a[2]), "dw");
    failed |= job_failed(cmlp_dense_backward_update(&shape, a[3], a[0], a[1], a[2], &rule, slots, 0.01, 1),
                         "update");
    for (int f = 0; f < CMLP_SOFTMAX; f++)
        failed |= job_failed(cmlp_activation_forward(&shape, f, 0.1, a[0], a[3]), "activation");
    failed |= job_failed(cmlp_softmax(&shape, 0, a[0], a[3]), "softmax");
    failed |= job_failed(
        cmlp_loss_delta(&shape, CMLP_SOFTMAX_CROSS_ENTROPY, 0, a[0], labels, NULL, NULL, a[3], &value),
        "loss");
    failed |= job_failed(cmlp_update(dtype, &rule, n, a[0], a[1], a[2], a[3], 0.01, 1, n_threads), "update");
    for (int i = 0; i < 8; i++)
        free(a[i]);
    free(labels);
    return failed;
}

static void *use_everything(void *failed)
{
    const char *const *isas = cmlp_isas();
    for (int i = 0; isas[i]; i++) {
        cmlp_set_isa(isas[i]);
        for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
            for (size_t r = 0; r < sizeof recipes / sizeof *recipes; r++)
                *(int *)failed |= use_plan(&recipes[r], n_threads, 0) | use_plan(&recipes[r], n_threads, 1);
            *(int *)failed |= use_kernels(CMLP_F32, n_threads) | use_kernels(CMLP_F64, n_threads);
        }
    }
    return NULL;
}

/* Below the stack stands a page that nobody may touch. */
static int use_from_stack(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    pthread_attr_t attr;
    pthread_t id;
    int failed = 0;
    unsigned char *memory =
        mmap(NULL, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE))
        fail("no memory for the stack");
    memset(memory + page, 0xA5, bytes);
    pthread_attr_init(&attr);
    if (pthread_attr_setstack(&attr, memory + page, bytes))
        fail("no such stack");
    if (__real_pthread_create(&id, &attr, use_everything, &failed))
        fail("no thread");
    pthread_join(id, NULL);
    size_t untouched = 0;
    while (untouched < bytes && memory[page + untouched] == 0xA5)
        untouched++;
    printf("%zu bytes of stack\n", bytes - untouched);
    return failed;
}

/* ---- exits and forks ---- */

static int began(void *ctx)
{
    *(volatile int *)ctx = 1;
    return 0;
}

static int leave(void *ctx)
{
    (void)ctx;
    exit(0);
}

static void *train_for_ever(void *ctx)
{
    job j;
    if (job_new(&j, 4))
        exit(1);
    for (;;)
        job_train(&j, MOST_EPOCHS, began, ctx);
}

/* Two children for each, and the bits of all are the same. */
static int family(uint64_t want, int depth)
{
    pid_t children[2];
    int failed = job_run(4) != want;
    for (int i = 0; i < 2 && depth; i++) {
        children[i] = fork();
        if (!children[i])
            exit(family(want, depth - 1)); /* by exit: what is done at unload is done in children too */
    }
    for (int i = 0; i < 2 && depth; i++) {
        int code;
        waitpid(children[i], &code, 0);
        failed |= code != 0;
    }
    return failed;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    size_t number = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    job j;
    if (!strcmp(mode, "threads")) {
        printf("%d by default\n", cmlp_default_threads());
        if (!job_run(0) || job_run(64) != job_run(1))
            fail("other bits");
        show_threads();
        return 0;
    }
    cmlp_limit_threads(0);
    if (!strcmp(mode, "stack"))
        return use_from_stack(number);
    if (!strcmp(mode, "refused")) {
        uint64_t want = job_run(1);
        threads_left = (int)number;
        return job_run(4) != want;
    }
    if (!strcmp(mode, "exit-idle"))
        return !job_run(4);
    if (!strcmp(mode, "exit-busy")) {
        static volatile int training;
        pthread_t id;
        job_run(4); /* leaves idle workers too */
        __real_pthread_create(&id, NULL, train_for_ever, (void *)&training);
        while (!training)
            usleep(1000);
        return 0;
    }
    if (!strcmp(mode, "exit-in-poll"))
        return job_new(&j, 4) || (job_train(&j, MOST_EPOCHS, leave, NULL), 1);
    if (!strcmp(mode, "forks"))
        return family(job_run(1), (int)number);
    fail("usage: see the source");
    return 1;
}
