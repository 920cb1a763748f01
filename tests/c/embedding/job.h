/* A net worth several threads: whoever trains it, with any number of them, gets the same bits. */
#ifndef JOB_H
#define JOB_H

#include <cmlp.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { JOB_IN = 100, JOB_HIDDEN = 200, JOB_OUT = 10, JOB_ROWS = 512, JOB_BATCH = 256, MOST_EPOCHS = 1 << 17 };

typedef struct {
    cmlp_layer *layers[2];
    cmlp_optimizer *optimizer;
    cmlp_plan *plan;
    float *x, *y;
    int64_t *labels;
} job;

static inline float job_value(size_t i, unsigned scale)
{
    return (float)(i * 2654435761u % 1021) / 1021 / (float)scale;
}

static inline int job_failed(cmlp_status status, const char *what)
{
    if (status < 0)
        fprintf(stderr, "%s: status %d\n", what, (int)status);
    return status < 0;
}

static inline int job_new(job *j, int n_threads)
{
    static const size_t widths[3] = {JOB_IN, JOB_HIDDEN, JOB_OUT};
    *j = (job){.plan = NULL};
    for (int i = 0; i < 2; i++) {
        const cmlp_layer_spec spec = {.kind = CMLP_DENSE,
                                      .n_in = widths[i],
                                      .n_out = widths[i + 1],
                                      .activation = i ? CMLP_IDENTITY : CMLP_TANH,
                                      .bias = 1};
        size_t n = spec.n_in * spec.n_out;
        float *w = malloc(n * sizeof *w);
        if (!w || job_failed(cmlp_layer_new(CMLP_F32, &spec, &j->layers[i]), "layer"))
            return 1;
        for (size_t k = 0; k < n; k++)
            w[k] = job_value(k, 8) - 0.5f / 8;
        cmlp_layer_set(j->layers[i], CMLP_WEIGHT, w);
        free(w);
    }
    j->x = malloc(JOB_ROWS * JOB_IN * sizeof *j->x);
    j->y = malloc(JOB_ROWS * JOB_OUT * sizeof *j->y);
    j->labels = malloc(JOB_ROWS * sizeof *j->labels);
    for (size_t i = 0; i < JOB_ROWS * JOB_IN; i++)
        j->x[i] = job_value(i, 1);
    for (size_t i = 0; i < JOB_ROWS; i++)
        j->labels[i] = (int64_t)(i * 7 % JOB_OUT);
    const cmlp_optimizer_spec rule = {.kind = CMLP_SGD, .momentum = 0.9};
    const cmlp_plan_spec spec = {
        .loss = CMLP_SOFTMAX_CROSS_ENTROPY, .batch = JOB_BATCH, .n_threads = n_threads, .seed = 1};
    return job_failed(cmlp_optimizer_new(&rule, j->layers, 2, &j->optimizer), "optimizer") ||
           job_failed(cmlp_plan_new(&spec, j->layers, 2, j->optimizer, &j->plan), "plan");
}

static inline void job_free(job *j)
{
    cmlp_plan_free(j->plan);
    cmlp_optimizer_free(j->optimizer);
    for (int i = 0; i < 2; i++)
        cmlp_layer_free(j->layers[i]);
    free(j->x), free(j->y), free(j->labels);
}

static inline cmlp_status job_train(job *j, uint64_t epochs, int (*poll)(void *), void *ctx)
{
    static const double lr = 1e-3;
    double *losses = malloc(epochs * sizeof *losses);
    const cmlp_data data = {.x = j->x, .labels = j->labels, .n = JOB_ROWS};
    cmlp_run run = {.epochs = epochs,
                    .shuffle = 1,
                    .lr = &lr,
                    .n_lr = 1,
                    .losses = losses,
                    .poll = poll,
                    .poll_ctx = ctx};
    cmlp_status status = losses ? cmlp_fit(j->plan, &data, &run) : CMLP_E_MEMORY;
    free(losses);
    return status;
}

/* Predicts, and makes one number of all outputs. */
static inline uint64_t job_bits(job *j)
{
    uint64_t sum = 1469598103934665603u;
    if (job_failed(cmlp_predict(j->plan, JOB_ROWS, j->x, 0, j->y), "predict"))
        return 0;
    const unsigned char *bytes = (const unsigned char *)j->y;
    for (size_t i = 0; i < JOB_ROWS * JOB_OUT * sizeof *j->y; i++)
        sum = (sum ^ bytes[i]) * 1099511628211u;
    return sum;
}

/* All of it: the bits after two epochs, or 0. */
static inline uint64_t job_run(int n_threads)
{
    job j;
    uint64_t bits = 0;
    if (!job_new(&j, n_threads) && !job_failed(job_train(&j, 2, NULL, NULL), "fit"))
        bits = job_bits(&j);
    job_free(&j);
    return bits;
}

#endif
