/* Nets to train in the tests. */
#ifndef NETS_H
#define NETS_H

#include "check.h"

#define MOST_LAYERS 8

typedef struct {
    const char *name;
    cmlp_layer_spec layers[MOST_LAYERS];
    size_t n_layers, batch, rows;
    int loss;
    cmlp_optimizer_spec optimizer;
} recipe;

/* A small net that goes by groups of rows, a large one that goes layer by layer, one with every other kind of
 * layer and one sample left over, one with convolution and pooling, and one with a table of connections. */
#define N_RECIPES 5
const recipe *recipe_at(size_t i);

typedef struct {
    const recipe *recipe;
    cmlp_dtype dtype;
    cmlp_layer *layers[MOST_LAYERS];
    cmlp_optimizer *opt;
    cmlp_plan *plan;
    void *x, *t;      /* data in guarded memory */
    int64_t *labels;
} net;

/* An error leaves an empty net, to be freed all the same.  with_loss = 0: a plan that only computes. */
cmlp_status net_new(net *n, const recipe *r, cmlp_dtype dtype, int n_threads, int with_loss);
void net_free(net *n);
cmlp_data net_data(const net *n);
size_t net_inputs(const net *n);
size_t net_outputs(const net *n);
/* All parameters one behind the other; *bytes long, to be freed. */
void *net_parameters(const net *n, size_t *bytes);

#endif
