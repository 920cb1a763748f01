/* What convolution and pooling share: windows that slide over the planes of vw samples side by side
 * (kernels.h, "planes").  Between two such ops rows stay planes: a block of vw rows then holds n numbers of
 * vw samples. */
#ifndef CMLP_PLANES_H
#define CMLP_PLANES_H

#include "activate.h"

/* The op's windows over padded planes. */
cmlp_window cmlp_window_of(const cmlp_layer_spec *spec);
/* 1 if kernel, stride and padding fit the input and give the outputs that the spec says. */
int cmlp_window_is_sound(const cmlp_layer_spec *spec);
int cmlp_window_shape(const cmlp_layer_spec *spec, const cmlp_extent *in, cmlp_extent *out);

static inline size_t padded_size(const cmlp_window *w) { return w->n_in * w->in_height * w->in_width; }

/* A block of up to vw rows on its way through an op. */
typedef struct {
    size_t first, rows; /* in the region */
} row_block;

static inline row_block block_at(const op *o, const region *r, size_t first)
{
    return (row_block){first, cmlp_min(o->k->vw, r->rows - first)};
}

static inline char *at_row(const op *o, const void *rows, size_t row, size_t ld)
{
    return (char *)(uintptr_t)rows + row * ld * o->k->size;
}

/* The block's input as padded planes: `to`, whose margin is filled with `margin`, or the input itself where
 * it needs neither padding nor turning.  scratch: n_in planes. */
const char *cmlp_padded_input(const op *o, const op_rows *a, const row_block *b, double margin, char *to,
                              char *scratch);
/* Takes the margin off planes of a gradient and puts it where dx is wanted.  scratch: n_in planes. */
void cmlp_put_dx(const op *o, const op_rows *a, const row_block *b, const char *padded, char *scratch);
/* Where the block's output planes are computed: in y, or in `scratch` where y has rows; then put_output. */
char *cmlp_output_planes(const op *o, const op_rows *a, const row_block *b, char *scratch);
void cmlp_put_output(const op *o, const op_rows *a, const row_block *b, const char *planes);
/* dL/dy to dL/du, as planes.  scratch: vw rows. */
void cmlp_derive_planes(const op *o, const pass *p, const region *r, const op_rows *a);

#endif
