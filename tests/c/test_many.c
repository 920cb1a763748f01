/* Many nets in one call: the bits of each are those that it gets alone. */
#include "nets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_JOBS 7
#define EPOCHS 3

static const double rates[N_JOBS] = {0.01, 0.02, 0.005, 0.01, 0.03, 0.001, 0.01};

/* A net and what it is trained with, by a job or alone. */
typedef struct {
    net n;
    char *values, *slots[2];
    size_t bytes;
    double losses[EPOCHS], scores[EPOCHS];
    cmlp_optimizer_spec optimizer;
} trainee;

static void begin(trainee *t, const recipe *r, cmlp_dtype dtype, int with_slots)
{
    CHECK(net_new(&t->n, r, dtype, 1, 1) == CMLP_OK, "%s", r->name);
    t->values = net_parameters(&t->n, &t->bytes);
    t->optimizer = r->optimizer;
    for (int slot = 0; slot < 2; slot++)
        t->slots[slot] =
            with_slots && slot < cmlp_optimizer_slots(r->optimizer.kind) ? calloc(1, t->bytes) : NULL;
}

static void end(trainee *t)
{
    net_free(&t->n);
    free(t->values), free(t->slots[0]), free(t->slots[1]);
}

/* Every other row, from the last one on. */
static size_t some_rows(const recipe *r, int64_t *rows)
{
    size_t n = r->rows / 2;
    for (size_t i = 0; i < n; i++)
        rows[i] = (int64_t)(r->rows - 1 - 2 * i);
    return n;
}

static cmlp_job job_of(trainee *t, const cmlp_net_spec *spec, size_t i, const int64_t *rows, size_t n_rows)
{
    cmlp_job job = {
        .net = spec,
        .optimizer = t->optimizer,
        .seed = 3,
        .values = t->values,
        .slots = {t->slots[0], t->slots[1]},
        .data = net_data(&t->n),
        .run = {.epochs = EPOCHS, .shuffle = i % 3 != 1, .lr = &rates[i], .n_lr = 1, .losses = t->losses},
        .best = NAN};
    if (i % 2)
        job.data.rows = rows, job.data.n = n_rows;
    if (i % 3 == 2) {
        job.held_out = net_data(&t->n);
        job.held_out.rows = rows, job.held_out.n = n_rows;
        job.scores = t->scores;
    }
    return job;
}

/* The rows of a job's data, copied. */
static void *copied(const void *from, const int64_t *rows, size_t n, size_t bytes)
{
    char *to = malloc(n * bytes);
    for (size_t i = 0; i < n; i++)
        memcpy(to + i * bytes, (const char *)from + (size_t)rows[i] * bytes, bytes);
    return to;
}

static void check_alone(const trainee *t, const cmlp_job *job)
{
    const recipe *r = t->n.recipe;
    net alone;
    CHECK(net_new(&alone, r, t->n.dtype, 2, 1) == CMLP_OK, "%s", r->name);
    cmlp_data data = job->data;
    size_t size = cmlp_kernels_for(t->n.dtype)->size, bytes;
    void *x = NULL, *targets = NULL;
    if (data.rows) {
        x = copied(data.x, data.rows, data.n, net_inputs(&alone) * size);
        targets = data.labels ? copied(data.labels, data.rows, data.n, sizeof(int64_t))
                              : copied(data.t, data.rows, data.n, net_outputs(&alone) * size);
        data.x = x, data.rows = NULL;
        if (data.labels)
            data.labels = targets;
        else
            data.t = targets;
    }
    double losses[EPOCHS];
    cmlp_run run = job->run;
    run.losses = losses;
    CHECK(cmlp_fit(alone.plan, &data, &run) == CMLP_OK, "alone");
    CHECK(job->status == CMLP_OK && job->run.n_losses == EPOCHS, "%s: status %d", r->name, job->status);
    CHECK(!memcmp(losses, t->losses, sizeof losses), "%s: other losses than alone", r->name);
    void *want = net_parameters(&alone, &bytes);
    CHECK(!memcmp(want, t->values, bytes), "%s: other parameters than alone", r->name);
    for (int slot = 0; slot < 2 && t->slots[slot]; slot++) {
        cmlp_optimizer_get_slot(alone.opt, slot, want);
        CHECK(!memcmp(want, t->slots[slot], bytes), "%s: other slots than alone", r->name);
    }
    CHECK(job->cursor.epoch == EPOCHS && job->steps == cmlp_optimizer_steps(alone.opt), "%s: place", r->name);
    free(want), free(x), free(targets);
    net_free(&alone);
}

static cmlp_net_spec spec_of(const recipe *r, cmlp_dtype dtype)
{
    return (cmlp_net_spec){.dtype = dtype,
                           .layers = r->layers,
                           .n_layers = r->n_layers,
                           .plan = {.loss = r->loss, .batch = r->batch}};
}

/* Jobs of all recipes by turns, with all rows and some, with scores and without, on each number of threads.
 */
static void test_bits(cmlp_dtype dtype, int n_threads)
{
    trainee all[N_JOBS];
    cmlp_job jobs[N_JOBS];
    cmlp_net_spec specs[N_RECIPES];
    int64_t rows[N_RECIPES][512];
    for (size_t i = 0; i < N_RECIPES; i++)
        specs[i] = spec_of(recipe_at(i), dtype);
    for (size_t i = 0; i < N_JOBS; i++) {
        const recipe *r = recipe_at(i % N_RECIPES);
        size_t n = some_rows(r, rows[i % N_RECIPES]);
        begin(&all[i], r, dtype, i % 2 == 0);
        jobs[i] = job_of(&all[i], &specs[i % N_RECIPES], i, rows[i % N_RECIPES], n);
    }
    const cmlp_many many = {.n_threads = n_threads};
    CHECK(cmlp_fit_many(jobs, N_JOBS, &many) == CMLP_OK, "many: %s", cmlp_last_error());
    for (size_t i = 0; i < N_JOBS; i++) {
        check_alone(&all[i], &jobs[i]);
        end(&all[i]);
    }
}

/* One net diverges and one stops early with its best parameters; the others don't notice. */
static void test_ends(int n_threads)
{
    enum { MANY_EPOCHS = 6 };
    const recipe *r = recipe_at(0);
    const cmlp_net_spec spec = spec_of(r, CMLP_F32);
    const double good = 0.01, none = 0.0, bad = 1e30;
    trainee all[3];
    double losses[3][MANY_EPOCHS], scores[MANY_EPOCHS];
    cmlp_job jobs[3];
    for (size_t i = 0; i < 3; i++) {
        begin(&all[i], r, CMLP_F32, 0);
        jobs[i] = (cmlp_job){.net = &spec,
                             .optimizer = r->optimizer,
                             .seed = 3,
                             .values = all[i].values,
                             .data = net_data(&all[i].n),
                             .run = {.epochs = MANY_EPOCHS, .n_lr = 1, .losses = losses[i]},
                             .best = NAN};
    }
    char *before = malloc(all[0].bytes), *best = malloc(all[0].bytes);
    memcpy(before, all[0].values, all[0].bytes);
    jobs[0].run.lr = &bad, jobs[1].run.lr = &none, jobs[2].run.lr = &good;
    jobs[0].optimizer.momentum = jobs[1].optimizer.momentum = 0.0;
    jobs[1].patience = 2, jobs[1].best_values = best;
    jobs[1].held_out = net_data(&all[1].n), jobs[1].scores = scores;
    const cmlp_many many = {.n_threads = n_threads};
    CHECK(cmlp_fit_many(jobs, 3, &many) == CMLP_OK, "many: %s", cmlp_last_error());
    CHECK(jobs[0].status == CMLP_DIVERGED && !memcmp(before, all[0].values, all[0].bytes), "diverged: %d",
          jobs[0].status);
    CHECK(jobs[1].status == CMLP_OK && jobs[1].run.n_losses == 3 && jobs[1].best_epoch == 1, "stopped at %d",
          (int)jobs[1].run.n_losses);
    CHECK(!memcmp(before, best, all[0].bytes) && scores[0] == scores[2], "best parameters");
    CHECK(jobs[2].status == CMLP_OK && jobs[2].run.n_losses == MANY_EPOCHS, "the third");
    for (size_t i = 0; i < 3; i++)
        end(&all[i]);
    free(before), free(best);
}

static int stop_at_once(void *ctx, size_t done, double best)
{
    (void)best;
    *(size_t *)ctx += 1 + 0 * done;
    return 1;
}

/* The poll function stops all: what is under way stands between two steps, the rest is not begun. */
static void test_stop(int n_threads)
{
    const recipe *r = recipe_at(0);
    const cmlp_net_spec spec = spec_of(r, CMLP_F32);
    const uint64_t forever = 1000000;
    const double lr = 1e-4;
    trainee all[4];
    cmlp_job jobs[4];
    double *losses = malloc(4 * forever * sizeof *losses);
    size_t calls = 0;
    for (size_t i = 0; i < 4; i++) {
        begin(&all[i], r, CMLP_F32, 0);
        jobs[i] = (cmlp_job){.net = &spec,
                             .optimizer = r->optimizer,
                             .seed = 3,
                             .values = all[i].values,
                             .data = net_data(&all[i].n),
                             .run = {.epochs = forever, .lr = &lr, .n_lr = 1, .losses = losses + i * forever},
                             .best = NAN};
    }
    const cmlp_many many = {.n_threads = n_threads, .poll = stop_at_once, .poll_ctx = &calls};
    CHECK(cmlp_fit_many(jobs, 4, &many) == CMLP_STOPPED, "stopped");
    CHECK(calls == 1 && jobs[0].status == CMLP_STOPPED && jobs[0].steps > 0, "%zu calls", calls);
    CHECK(jobs[3].status == CMLP_PAUSED && jobs[3].steps == 0, "the last one was begun");
    for (size_t i = 0; i < 4; i++)
        end(&all[i]);
    free(losses);
}

static void test_refusals(void)
{
    const recipe *r = recipe_at(0);
    const cmlp_net_spec spec = spec_of(r, CMLP_F32);
    const double lr = 0.01;
    const cmlp_many many = {.n_threads = 2};
    trainee t;
    begin(&t, r, CMLP_F32, 0);
    cmlp_job jobs[2] = {job_of(&t, &spec, 0, NULL, 0), job_of(&t, &spec, 0, NULL, 0)};
    CHECK(cmlp_fit_many(NULL, 0, &many) == CMLP_OK, "no jobs");
    CHECK(cmlp_fit_many(NULL, 1, &many) == CMLP_E_ARGUMENT && cmlp_fit_many(jobs, 1, NULL) == CMLP_E_ARGUMENT,
          "NULL");
    jobs[1].net = NULL;
    CHECK(cmlp_fit_many(jobs, 2, &many) == CMLP_E_ARGUMENT && strstr(cmlp_last_error(), "jobs[1].net"), "%s",
          cmlp_last_error());
    jobs[1].net = &spec, jobs[1].values = NULL;
    CHECK(cmlp_fit_many(jobs, 2, &many) == CMLP_E_ARGUMENT && strstr(cmlp_last_error(), "jobs[1]"), "%s",
          cmlp_last_error());
    jobs[1].values = t.values, jobs[1].run.lr = &lr, jobs[1].run.epochs = 0;
    CHECK(cmlp_fit_many(jobs + 1, 1, &many) == CMLP_E_ARGUMENT && strstr(cmlp_last_error(), "epochs"), "%s",
          cmlp_last_error());
    end(&t);
}

static void test_predict(cmlp_dtype dtype, int n_threads)
{
    enum { N = 5, ROWS = 37 };
    const recipe *r = recipe_at(0);
    const cmlp_net_spec spec = spec_of(r, dtype);
    const cmlp_net_spec *nets[N];
    const void *values[N];
    trainee all[N];
    for (size_t i = 0; i < N; i++) {
        begin(&all[i], r, dtype, 0);
        cmlp_init_layers(all[i].n.layers, r->n_layers, i);
        cmlp_flat_get(all[i].n.layers, r->n_layers, CMLP_VALUES, all[i].values);
        nets[i] = &spec, values[i] = all[i].values;
    }
    size_t size = cmlp_kernels_for(dtype)->size, out = net_outputs(&all[0].n), count = ROWS * out;
    char *y = guarded_new(N * count * size), *want = guarded_new(count * size),
         *mean = guarded_new(count * size), *spread = guarded_new(count * size),
         *mean_only = guarded_new(count * size);
    const cmlp_many many = {.n_threads = n_threads};
    CHECK(cmlp_predict_many(nets, values, N, ROWS, all[0].n.x, CMLP_SOFTMAX, &many, y, mean, spread) ==
              CMLP_OK,
          "predict: %s", cmlp_last_error());
    CHECK(cmlp_predict_many(nets, values, N, ROWS, all[0].n.x, CMLP_SOFTMAX, &many, NULL, mean_only, NULL) ==
              CMLP_OK,
          "predict: %s", cmlp_last_error());
    CHECK(!memcmp(mean, mean_only, count * size), "the mean depends on what else is wanted");
    for (size_t i = 0; i < N; i++) {
        const cmlp_shape shape = {dtype, ROWS, 1, out, 1};
        cmlp_predict(all[i].n.plan, ROWS, all[i].n.x, 0, want);
        cmlp_softmax(&shape, 0, want, want);
        CHECK(!memcmp(want, y + i * count * size, count * size), "net %zu predicts otherwise", i);
    }
    for (size_t j = 0; j < count; j++) {
        double sum = 0.0, squares = 0.0;
        for (size_t i = 0; i < N; i++) {
            double v = cmlp_element(dtype, y, i * count + j);
            sum += v, squares += v * v;
        }
        double m = sum / N, variance = squares / N - m * m;
        CHECK(check_near(cmlp_element(dtype, mean, j), m, 1e-6), "mean");
        CHECK(check_near(cmlp_element(dtype, spread, j), sqrt(variance > 0.0 ? variance : 0.0), 1e-5),
              "spread");
    }
    guarded_free(y), guarded_free(want), guarded_free(mean), guarded_free(spread), guarded_free(mean_only);
    for (size_t i = 0; i < N; i++)
        end(&all[i]);
}

void test_many(void)
{
    static const int threads[] = {1, 2, 3, 8};
    cmlp_limit_threads(0);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        test_bits(i % 2 ? CMLP_F64 : CMLP_F32, threads[i]);
        test_ends(threads[i]);
        test_predict(i % 2 ? CMLP_F32 : CMLP_F64, threads[i]);
    }
    test_stop(1);
    test_stop(2);
    test_refusals();
    cmlp_limit_threads(1);
}
