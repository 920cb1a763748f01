/* The immutable half of a plan: what follows from the layers' shapes, the loss and the batch size alone.  Any
 * number of nets may use a layout at once. */
#ifndef CMLP_LAYOUT_H
#define CMLP_LAYOUT_H

#include "layer.h"
#include "shares.h"

typedef struct {
    atomic_size_t users;
    cmlp_plan_spec spec; /* its seed is not used */
    const cmlp_kernels *k;
    int trains; /* with an optimizer */
    op *ops;
    size_t n_ops;
    int is_all_trained;
    size_t first_trained; /* the first op whose parts are trained, or n_ops */
    span *spans; /* of the parts that are trained */
    size_t n_spans;
    packed_run *runs; /* of all spans */
    size_t n_in, n_out;
    double madds; /* multiply-adds of a row forward */
    size_t weights; /* numbers in the weight matrices */
    int threads; /* most threads of a step */
    /* Small nets with many rows go by groups of them, each through all ops and into a gradient of its own,
     * chunk by chunk; others (groups = 0) go through shared by rows or columns, and then by spans. */
    size_t groups, chunk;
    size_t row_block; /* rows are dealt out, and the loss is summed, in blocks of so many */
    /* A workspace: one a thread with groups, one for all without.  Offsets in bytes. */
    size_t workspace_bytes, n_workspaces;
    size_t labels, targets, weights_at, dx; /* dx: of the first op, for its input's gradient */
    size_t ld_in, ld_out, ld_widest;
    size_t row_numbers; /* that all ops read and write for a row */
    size_t most_columns; /* threads that the op with the most panels can use */
    int copies_inputs; /* every thread copies the minibatch's x, because all need all of its rows */
    size_t input_bytes; /* of such a copy */
    size_t block_bytes; /* of a block of parameters, gradients or optimizer state */
    size_t op_scratch; /* elements that an op wants of a thread's scratch */
    size_t own_bytes,
        scratch_bytes; /* of a thread's scratch: for ops' gradients; with a span's gradient behind */
    size_t poll_every; /* steps between looks at the clock */
    int polls_inside; /* one step is long enough for several */
} layout;

/* opt: whether there will be an optimizer. */
cmlp_status cmlp_layout_new(const cmlp_plan_spec *spec, cmlp_layer *const *layers, size_t n_layers, int opt,
                            layout **out);
/* 1 if the layers are such as the layout was made for. */
int cmlp_layout_fits(const layout *l, cmlp_layer *const *layers, size_t n_layers);
layout *cmlp_layout_use(layout *l);
void cmlp_layout_leave(layout *l);

/* Threads for so many operations in so many pieces. */
int cmlp_threads_of(const layout *l, double flops, size_t pieces);

#endif
