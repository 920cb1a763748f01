/* Plans: the same bits whatever the threads, stopping and going on, prediction, refusals. */
#include "nets.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define EPOCHS 3

static cmlp_status fit(net *n, uint64_t epochs, uint64_t max_steps, double *losses, int (*poll)(void *))
{
    static const double lr = 0.01;
    cmlp_data data = net_data(n);
    cmlp_run run = {.epochs = epochs,
                    .max_steps = max_steps,
                    .shuffle = 1,
                    .lr = &lr,
                    .n_lr = 1,
                    .losses = losses,
                    .poll = poll};
    return cmlp_fit(n->plan, &data, &run);
}

static void check_same(const net *got, const net *want, const char *what)
{
    size_t bytes;
    void *a = net_parameters(got, &bytes), *b = net_parameters(want, &bytes);
    CHECK(memcmp(a, b, bytes) == 0, "%s, %s, dtype %d: %s", cmlp_isa(), want->recipe->name, want->dtype,
          what);
    free(a), free(b);
}

static void test_threads(const recipe *r, cmlp_dtype dtype)
{
    net one;
    double losses[EPOCHS];
    CHECK(net_new(&one, r, dtype, 1, 1) == CMLP_OK, "plan of %s", r->name);
    CHECK(fit(&one, EPOCHS, 0, losses, NULL) == CMLP_OK, "fit of %s", r->name);
    CHECK(losses[EPOCHS - 1] < losses[0], "%s, %s: loss from %g to %g", cmlp_isa(), r->name, losses[0],
          losses[EPOCHS - 1]);
    for (int threads = 2; threads <= 4; threads++) {
        net many;
        double others[EPOCHS];
        CHECK(net_new(&many, r, dtype, threads, 1) == CMLP_OK, "plan of %s", r->name);
        CHECK(fit(&many, EPOCHS, 0, others, NULL) == CMLP_OK, "fit of %s", r->name);
        check_same(&many, &one, "parameters depend on the number of threads");
        CHECK(memcmp(others, losses, sizeof losses) == 0, "%s: losses depend on the number of threads",
              r->name);
        net_free(&many);
    }
    net_free(&one);
}

static int stop(void *ctx)
{
    (void)ctx;
    return 1;
}

/* Three steps at a time, and once stopped by the poll function: as in one go. */
static void test_resume(const recipe *r)
{
    net whole, parts;
    double losses[EPOCHS];
    CHECK(net_new(&whole, r, CMLP_F32, 1, 1) == CMLP_OK, "plan of %s", r->name);
    CHECK(net_new(&parts, r, CMLP_F32, 2, 1) == CMLP_OK, "plan of %s", r->name);
    CHECK(fit(&whole, EPOCHS, 0, losses, NULL) == CMLP_OK, "fit of %s", r->name);
    const cmlp_cursor *cursor = cmlp_plan_cursor(parts.plan);
    cmlp_status status = CMLP_PAUSED;
    for (int i = 0; i < 100 && cursor->epoch < EPOCHS; i++) {
        status = fit(&parts, EPOCHS - cursor->epoch, 3, losses, i == 1 ? stop : NULL);
        CHECK(status >= CMLP_OK && status != CMLP_DIVERGED, "%s: status %d in part %d", r->name, status, i);
    }
    CHECK(status == CMLP_OK && cursor->epoch == EPOCHS && cursor->step == 0, "%s: status %d at epoch %d",
          r->name, status, (int)cursor->epoch);
    check_same(&parts, &whole, "training in parts ends elsewhere");
    net_free(&whole), net_free(&parts);
}

static int pause_flag;

static void *pause_at_times(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 1000; i++)
        __atomic_store_n(&pause_flag, i % 2, __ATOMIC_RELAXED);
    return NULL;
}

/* Paused by another thread, after any step: as in one go. */
static void test_pause(const recipe *r)
{
    static const double lr = 0.01;
    net whole, parts;
    double losses[EPOCHS];
    CHECK(net_new(&whole, r, CMLP_F32, 1, 1) == CMLP_OK, "plan of %s", r->name);
    CHECK(net_new(&parts, r, CMLP_F32, 2, 1) == CMLP_OK, "plan of %s", r->name);
    CHECK(fit(&whole, EPOCHS, 0, losses, NULL) == CMLP_OK, "fit of %s", r->name);
    const cmlp_cursor *cursor = cmlp_plan_cursor(parts.plan);
    cmlp_data data = net_data(&parts);
    cmlp_run run = {.shuffle = 1, .lr = &lr, .n_lr = 1, .losses = losses, .pause = &pause_flag};
    pthread_t other;
    CHECK(!pthread_create(&other, NULL, pause_at_times, NULL), "a thread");
    cmlp_status status = CMLP_PAUSED;
    while (status == CMLP_PAUSED) {
        uint64_t step = cursor->epoch * r->rows + cursor->step;
        run.epochs = EPOCHS - cursor->epoch;
        status = cmlp_fit(parts.plan, &data, &run);
        CHECK(cursor->epoch * r->rows + cursor->step > step, "%s: a run that is paused makes no step",
              r->name);
    }
    pthread_join(other, NULL);
    CHECK(status == CMLP_OK && cursor->epoch == EPOCHS, "%s: status %d at epoch %d", r->name, status,
          (int)cursor->epoch);
    check_same(&parts, &whole, "training with pauses ends elsewhere");
    net_free(&whole), net_free(&parts);
}

/* predict of many rows, of each alone, and forward agree bit for bit. */
static void test_predict(const recipe *r, cmlp_dtype dtype)
{
    net n;
    CHECK(net_new(&n, r, dtype, 3, 0) == CMLP_OK, "plan of %s without a loss", r->name);
    size_t size = cmlp_kernels_for(dtype)->size, in = net_inputs(&n) * size, out = net_outputs(&n) * size;
    char *y = guarded_new(r->rows * out), *y1 = guarded_new(r->batch * out);
    const char *x = n.x;
    CHECK(cmlp_predict(n.plan, r->rows, x, 0, y) == CMLP_OK, "predict");
    for (size_t i = 0; i < r->rows; i++) {
        CHECK(cmlp_predict(n.plan, 1, x + i * in, 0, y1) == CMLP_OK, "predict of one row");
        CHECK(memcmp(y1, y + i * out, out) == 0, "%s, %s: row %zu depends on the batch", cmlp_isa(), r->name,
              i);
    }
    CHECK(cmlp_forward(n.plan, r->batch, x, 0, y1) == CMLP_OK, "forward");
    CHECK(memcmp(y1, y, r->batch * out) == 0, "%s, %s: forward is not predict", cmlp_isa(), r->name);
    guarded_free(y), guarded_free(y1);
    net_free(&n);
}

typedef struct {
    const net *net;
    char *y;
    cmlp_status status;
} caller;

static void *predict_often(void *ctx)
{
    caller *c = ctx;
    for (int i = 0; i < 5 && !c->status; i++)
        c->status = cmlp_predict(c->net->plan, c->net->recipe->rows, c->net->x, 0, c->y);
    return NULL;
}

/* Many callers of one plan at once, whose calls have threads of their own. */
#define CALLERS 6

static void test_callers(const recipe *r)
{
    net n;
    CHECK(net_new(&n, r, CMLP_F32, 2, 0) == CMLP_OK, "plan of %s without a loss", r->name);
    size_t bytes = r->rows * net_outputs(&n) * sizeof(float);
    char *y = guarded_new(bytes);
    CHECK(cmlp_predict(n.plan, r->rows, n.x, 0, y) == CMLP_OK, "predict");
    caller callers[CALLERS];
    pthread_t threads[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (caller){&n, guarded_new(bytes), CMLP_OK};
        CHECK(!pthread_create(&threads[i], NULL, predict_often, &callers[i]), "thread %d", i);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(callers[i].status == CMLP_OK && memcmp(callers[i].y, y, bytes) == 0,
              "%s, %s: caller %d got another result", cmlp_isa(), r->name, i);
        guarded_free(callers[i].y);
    }
    guarded_free(y);
    net_free(&n);
}

/* Wide enough for two threads to share the columns of one row. */
static const recipe wide = {
    "a wide net",
    {{.kind = CMLP_DENSE, .n_in = 2080, .n_out = 2080, .activation = CMLP_TANH, .bias = 1},
     {.kind = CMLP_DENSE, .n_in = 2080, .n_out = 3, .bias = 1}},
    2,
    6,
    6,
    CMLP_SQUARED_ERROR,
    {.kind = CMLP_SGD}};

/* dL/dx for L = sum of dy y by central differences, in places. */
static void test_backward(const recipe *r)
{
    net n;
    CHECK(net_new(&n, r, CMLP_F64, 1, 0) == CMLP_OK, "plan of %s without a loss", r->name);
    size_t in = net_inputs(&n), out = net_outputs(&n), rows = 5;
    double *x = n.x, *dy = n.t, *dx = guarded_new(rows * in * sizeof *dx),
           *y = guarded_new(rows * out * sizeof *y);
    CHECK(cmlp_forward(n.plan, rows, x, 0, y) == CMLP_OK, "forward");
    CHECK(cmlp_backward(n.plan, dy, dx) == CMLP_OK, "backward");
    for (size_t i = 0; i < rows * in; i += 3) {
        const double kept = x[i], h = 1e-5;
        double slope = 0.0;
        for (int side = -1; side <= 1; side += 2) {
            x[i] = kept + side * h;
            cmlp_predict(n.plan, rows, x, 0, y);
            for (size_t j = 0; j < rows * out; j++)
                slope += side * dy[j] * y[j] / (2.0 * h);
        }
        x[i] = kept;
        CHECK(fabs(slope - dx[i]) < 1e-7 * (1.0 + fabs(slope)), "%s, %s: dx[%zu] is %g, not %g", cmlp_isa(),
              r->name, i, dx[i], slope);
    }
    guarded_free(dx), guarded_free(y);
    net_free(&n);
}

static void test_refusals(void)
{
    net n;
    const recipe *r = recipe_at(0);
    CHECK(net_new(&n, r, CMLP_F32, 1, 1) == CMLP_OK, "plan of %s", r->name);
    cmlp_data data = net_data(&n);
    double lr = 0.1, loss;
    data.t = n.t;
    CHECK(cmlp_step(n.plan, &data, lr, 0.0, &loss) == CMLP_E_ARGUMENT, "labels and target rows at once");
    data.t = NULL, data.n = r->batch + 1;
    CHECK(cmlp_step(n.plan, &data, lr, 0.0, &loss) == CMLP_E_ARGUMENT, "more rows than the batch");
    data.n = 0;
    CHECK(cmlp_step(n.plan, &data, lr, 0.0, &loss) == CMLP_E_ARGUMENT, "no rows");

    cmlp_plan *plan = NULL;
    cmlp_plan_spec spec = {.loss = CMLP_SQUARED_ERROR, .batch = 0};
    CHECK(cmlp_plan_new(&spec, n.layers, 3, NULL, &plan) == CMLP_E_ARGUMENT && !plan, "a batch of nothing");
    spec.batch = 4;
    cmlp_layer *turned[] = {n.layers[1], n.layers[0]};
    CHECK(cmlp_plan_new(&spec, turned, 2, NULL, &plan) == CMLP_E_ARGUMENT && !plan,
          "widths that do not chain");
    cmlp_layer_spec last = {.kind = CMLP_DENSE, .n_in = 64, .n_out = 4, .activation = CMLP_STEP, .bias = 1};
    cmlp_layer *step;
    CHECK(cmlp_layer_new(CMLP_F32, &last, &step) == CMLP_OK, "a step layer");
    cmlp_layer *stepped[] = {n.layers[0], step};
    CHECK(cmlp_plan_new(&spec, stepped, 2, NULL, &plan) == CMLP_E_PAIR && !plan, "training through a step");
    cmlp_layer_free(step);
    net_free(&n);
}

void test_plans(void)
{
    cmlp_limit_threads(0);
    for (size_t i = 0; i < N_RECIPES; i++) {
        test_threads(recipe_at(i), CMLP_F32);
        test_threads(recipe_at(i), CMLP_F64);
        test_resume(recipe_at(i));
        test_pause(recipe_at(i));
        test_predict(recipe_at(i), CMLP_F32);
        test_predict(recipe_at(i), CMLP_F64);
        test_callers(recipe_at(i));
        test_backward(recipe_at(i));
    }
    test_refusals();
    test_predict(&wide, CMLP_F32);
    test_callers(&wide);
    cmlp_limit_threads(1);
}
