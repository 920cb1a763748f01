/* Nets to train: nets.h. */
#include "nets.h"

#include <stdlib.h>

#define DENSE(in, out, f) {.kind = CMLP_DENSE, .n_in = in, .n_out = out, .activation = f, .bias = 1}
#define OTHER(which, n, ...) {.kind = which, .n_in = n, .n_out = n, __VA_ARGS__}

static const unsigned char some[] = {1, 0, 1, 1, 0, 1}; /* of two inputs and three outputs */

static const recipe recipes[N_RECIPES] = {
    {"small",
     {DENSE(8, 64, CMLP_TANH), DENSE(64, 64, CMLP_TANH), DENSE(64, 4, CMLP_IDENTITY)},
     3,
     64,
     209,
     CMLP_SOFTMAX_CROSS_ENTROPY,
     {.kind = CMLP_SGD, .momentum = 0.9, .weight_decay = 1e-3}},
    {"large",
     {DENSE(40, 300, CMLP_RELU), DENSE(300, 203, CMLP_GELU), DENSE(203, 10, CMLP_IDENTITY)},
     3,
     100,
     317,
     CMLP_SOFTMAX_CROSS_ENTROPY,
     {.kind = CMLP_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip_norm = 0.5}},
    {"mixed",
     {DENSE(21, 90, CMLP_IDENTITY), OTHER(CMLP_PRELU, 90, .param = {0.25, 0.0}),
      OTHER(CMLP_DROPOUT, 90, .param = {0.3, 0.0}), DENSE(90, 120, CMLP_IDENTITY),
      OTHER(CMLP_RRELU, 120, .param = {0.1, 0.3}), DENSE(120, 3, CMLP_SIGMOID)},
     6,
     48,
     97,
     CMLP_SQUARED_ERROR,
     {.kind = CMLP_RMSPROP, .rho = 0.9, .eps = 1e-8, .momentum = 0.5}},
    {"images",
     {{.kind = CMLP_CONV,
       .n_in = 84,
       .n_out = 210,
       .bias = 1,
       .in = {2, 7, 6},
       .out = {5, 7, 6},
       .kernel = {3, 3},
       .stride = {1, 1},
       .pad = {1, 1, 1, 1},
       .activation = CMLP_GELU},
      {.kind = CMLP_MAX_POOL,
       .n_in = 210,
       .n_out = 45,
       .in = {5, 7, 6},
       .out = {5, 3, 3},
       .kernel = {2, 2},
       .stride = {2, 2}},
      {.kind = CMLP_CONV,
       .n_in = 45,
       .n_out = 24,
       .bias = 1,
       .in = {5, 3, 3},
       .out = {6, 2, 2},
       .kernel = {2, 3},
       .stride = {1, 2},
       .pad = {0, 1, 0, 2}},
      OTHER(CMLP_ACTIVATION, 24, .activation = CMLP_TANH),
      OTHER(CMLP_DROPOUT, 24, .param = {0.25, 0.0}),
      {.kind = CMLP_AVERAGE_POOL,
       .n_in = 24,
       .n_out = 6,
       .in = {6, 2, 2},
       .out = {6, 1, 1},
       .kernel = {2, 2},
       .stride = {1, 2},
       .pad = {0, 1, 0, 0}},
      DENSE(6, 4, CMLP_IDENTITY)},
     7,
     40,
     131,
     CMLP_SOFTMAX_CROSS_ENTROPY,
     {.kind = CMLP_SGD, .momentum = 0.9}},
    {"connections",
     {{.kind = CMLP_CONV,
       .n_in = 84,
       .n_out = 60,
       .bias = 1,
       .in = {2, 7, 6},
       .out = {3, 5, 4},
       .kernel = {3, 3},
       .stride = {1, 1},
       .connections = some},
      {.kind = CMLP_SUBSAMPLE,
       .n_in = 60,
       .n_out = 12,
       .in = {3, 5, 4},
       .out = {3, 2, 2},
       .kernel = {2, 2},
       .stride = {2, 2},
       .activation = CMLP_TANH},
      DENSE(12, 4, CMLP_IDENTITY)},
     3,
     20,
     131,
     CMLP_SOFTMAX_CROSS_ENTROPY,
     {.kind = CMLP_SGD, .momentum = 0.9}},
};

const recipe *recipe_at(size_t i) { return &recipes[i]; }

size_t net_inputs(const net *n) { return n->recipe->layers[0].n_in; }
size_t net_outputs(const net *n) { return n->recipe->layers[n->recipe->n_layers - 1].n_out; }

static void fill(cmlp_dtype dtype, void *to, size_t n, unsigned seed, double scale)
{
    for (size_t i = 0; i < n; i++)
        if (dtype == CMLP_F32)
            ((float *)to)[i] = (float)(scale * fraction(seed, i));
        else
            ((double *)to)[i] = scale * fraction(seed, i);
}

static cmlp_status make_layers(net *n)
{
    for (size_t i = 0; i < n->recipe->n_layers; i++) {
        cmlp_status status = cmlp_layer_new(n->dtype, &n->recipe->layers[i], &n->layers[i]);
        if (status)
            return status;
        size_t count = cmlp_layer_count(n->layers[i], CMLP_WEIGHT);
        if (!count || cmlp_layer_part(n->layers[i], CMLP_WEIGHT)->ndim < 2)
            continue;
        double *values = guarded_new(count * sizeof *values);
        fill(n->dtype, values, count, (unsigned)i, 0.125);
        cmlp_layer_set(n->layers[i], CMLP_WEIGHT, values);
        guarded_free(values);
    }
    return CMLP_OK;
}

static void make_data(net *n)
{
    size_t rows = n->recipe->rows, size = cmlp_kernels_for(n->dtype)->size;
    n->x = guarded_new(rows * net_inputs(n) * size);
    n->t = guarded_new(rows * net_outputs(n) * size);
    n->labels = guarded_new(rows * sizeof *n->labels);
    fill(n->dtype, n->x, rows * net_inputs(n), 100, 1.0);
    fill(n->dtype, n->t, rows * net_outputs(n), 101, 0.25);
    for (size_t i = 0; i < rows; i++)
        n->labels[i] = (int64_t)(i * 7 % net_outputs(n));
}

cmlp_status net_new(net *n, const recipe *r, cmlp_dtype dtype, int n_threads, int with_loss)
{
    *n = (net){.recipe = r, .dtype = dtype};
    make_data(n);
    cmlp_status status = make_layers(n);
    if (!status && with_loss)
        status = cmlp_optimizer_new(&r->optimizer, n->layers, r->n_layers, &n->opt);
    cmlp_plan_spec spec = {
        .loss = with_loss ? r->loss : -1, .batch = r->batch, .n_threads = n_threads, .seed = 3};
    if (!status)
        status = cmlp_plan_new(&spec, n->layers, r->n_layers, n->opt, &n->plan);
    return status;
}

void net_free(net *n)
{
    cmlp_plan_free(n->plan);
    cmlp_optimizer_free(n->opt);
    for (size_t i = 0; i < n->recipe->n_layers; i++)
        cmlp_layer_free(n->layers[i]);
    guarded_free(n->x);
    guarded_free(n->t);
    guarded_free(n->labels);
}

cmlp_data net_data(const net *n)
{
    int by_label = n->recipe->loss == CMLP_SOFTMAX_CROSS_ENTROPY;
    return (cmlp_data){
        .x = n->x, .labels = by_label ? n->labels : NULL, .t = by_label ? NULL : n->t, .n = n->recipe->rows};
}

void *net_parameters(const net *n, size_t *bytes)
{
    size_t n_layers = n->recipe->n_layers;
    *bytes = cmlp_flat_count(n->layers, n_layers) * cmlp_kernels_for(n->dtype)->size;
    char *values = malloc(*bytes);
    cmlp_flat_get(n->layers, n_layers, CMLP_VALUES, values);
    return values;
}
