/* Layers and optimizers as the library's own files see them. */
#ifndef CMLP_LAYER_H
#define CMLP_LAYER_H

#include "layers/kinds.h"

/* Blocks of parameters, and of gradients once they are asked for, that several layers share. */
typedef struct home home;

struct cmlp_layer {
    cmlp_layer_spec spec;
    cmlp_table *table; /* of a convolution's connections; NULL: all */
    const layer_kind *kind;
    const cmlp_kernels *k;
    home *home;
    int n_parts, trainable;
    part_layout layout[CMLP_MOST_PARTS]; /* offsets: in the home's blocks */
    part_memory parts[CMLP_MOST_PARTS];
    atomic_int busy;
};

/* An argument of that name that is an activation. */
cmlp_status cmlp_check_activation(const char *name, int activation);
/* Settings and sizes of a layer that is to be made. */
cmlp_status cmlp_check_layer_spec(const cmlp_layer_spec *spec);
/* Layers that are there, of one type and instruction set. */
cmlp_status cmlp_check_layers(cmlp_layer *const *layers, size_t n);
cmlp_status cmlp_layer_need_transpose(cmlp_layer *layer);
cmlp_status cmlp_layer_need_gradients(cmlp_layer *layer);
/* Writes the transposes anew where there are any. */
void cmlp_layer_refresh(cmlp_layer *layer);

/* A slot of the state is a block in the order of the parameters: layer after layer, part after part, packed.
 */
struct cmlp_optimizer {
    cmlp_optimizer_spec spec;
    cmlp_layer **layers;
    size_t n_layers;
    char *slots[2]; /* NULL where the kind has no such slot */
    size_t (*offsets)[CMLP_MOST_PARTS]; /* bytes, of each layer's parts in a slot: those of a plan's layout,
                                           too */
    uint64_t steps;
};

cmlp_status cmlp_check_optimizer_spec(const cmlp_optimizer_spec *spec);
cmlp_status cmlp_check_rate(const char *name, double value);
/* Settings of step number t >= 1: args[0] for parts that do not decay, args[1] for those that do; rows:
 * of the minibatch. */
void cmlp_step_args(const cmlp_optimizer_spec *spec, uint64_t t, double lr, double momentum, size_t rows,
                    cmlp_update_args args[2]);

#endif
