/* What convolution and pooling share: windows that slide over planes of some samples side by side
 * (kernels.h, "planes").  Between two such ops rows stay planes: a block of up to `lanes` rows then holds n
 * numbers of each of its samples. */
#ifndef CMLP_PLANES_H
#define CMLP_PLANES_H

#include "activate.h"

/* The op's windows over padded planes of so many samples.  phased: the columns of a row lie in phases of the
 * stride, as convolution wants them. */
cmlp_window cmlp_window_of(const cmlp_layer_spec *spec, size_t lanes, int phased);
/* 1 if kernel, stride and padding fit the input and give the outputs that the spec says. */
int cmlp_window_is_sound(const cmlp_layer_spec *spec);
int cmlp_window_shape(const cmlp_layer_spec *spec, const cmlp_extent *in, cmlp_extent *out);

/* Numbers of a window's padded planes, all samples counted. */
static inline size_t padded_numbers(const cmlp_window *w)
{
    return w->n_in * w->in_height * w->in_row * w->lanes;
}

/* A block of up to `lanes` rows on its way through an op. */
typedef struct {
    size_t first, rows; /* in the region */
} row_block;

static inline row_block block_at(const op *o, const region *r, size_t first)
{
    return (row_block){first, cmlp_min(o->lanes, r->rows - first)};
}

static inline char *at_row(const op *o, const void *rows, size_t row, size_t ld)
{
    return (char *)(uintptr_t)rows + row * ld * o->k->size;
}

/* The block's input as padded planes: `to`, whose margin is filled with `margin`, or the input itself where
 * it needs neither padding nor turning nor phases.  scratch: n_in numbers of each row. */
const char *cmlp_padded_input(const op *o, const op_rows *a, const row_block *b, const cmlp_window *w,
                              double margin, char *to, char *scratch);
/* Takes the margin off planes of a gradient and puts it where dx is wanted.  scratch: as above. */
void cmlp_put_dx(const op *o, const op_rows *a, const row_block *b, const cmlp_window *w, const char *padded,
                 char *scratch);
/* Where the block's output planes are computed: in y, or in `scratch` where y has rows; then put_output. */
char *cmlp_output_planes(const op *o, const op_rows *a, const row_block *b, char *scratch);
void cmlp_put_output(const op *o, const op_rows *a, const row_block *b, const char *planes);
/* dL/dy to dL/du, as planes.  The thread's scratch: n_out numbers of each row. */
void cmlp_derive_planes(const op *o, const pass *p, const region *r, const op_rows *a);

#endif
