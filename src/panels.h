/* Packed matrices: the only place that knows their order.
 *
 * A matrix of `rows` rows (the inputs) and `columns` columns (the outputs) is stored as panels of `width`
 * columns, the order in which a product reads it.  The last panel may be narrower; columns are padded to
 * whole vectors.  A panel holds all rows of its columns, row by row.  A vector is a matrix of one row, whose
 * packed order is the plain one.
 */
#ifndef CMLP_PANELS_H
#define CMLP_PANELS_H

#include "internal.h"

typedef struct {
    size_t rows, columns;
    size_t padded; /* columns rounded up to whole vectors */
    size_t width;  /* of a panel: whole vectors */
    int narrow;    /* panels of a few columns, not padded: convolution's weights */
} cmlp_panels;

/* A block of a packed matrix: rows [i0, i1) of the whole panels that hold columns [c0, c1). */
typedef struct {
    size_t c0, c1, i0, i1;
} cmlp_block;

cmlp_panels cmlp_panels_of(const cmlp_kernels *k, size_t rows, size_t columns);
static inline cmlp_panels cmlp_narrow_panels(size_t rows, size_t columns, size_t width)
{
    return (cmlp_panels){rows, columns, columns, width, 1};
}

/* Elements of the whole packed matrix. */
static inline size_t panels_size(const cmlp_panels *p) { return p->padded * p->rows; }
static inline size_t panels_count(const cmlp_panels *p) { return (p->padded + p->width - 1) / p->width; }
/* Element at which the panel starts whose first column is c. */
static inline size_t panel_at(const cmlp_panels *p, size_t c) { return c * p->rows; }

/* Element (row, column) of a matrix of narrow panels. */
static inline size_t narrow_at(const cmlp_panels *p, size_t row, size_t column)
{
    size_t first = column / p->width * p->width;
    return panel_at(p, first) + row * cmlp_min(p->width, p->columns - first) + (column - first);
}

/* A contiguous piece of a block: `count` elements at element `whole` of the matrix, and at element `own` of a
 * matrix that holds the block alone. */
typedef struct {
    size_t whole, own, count;
} packed_run;

/* The runs of a block, in order; how many.  runs may be NULL, to count them.  A block of all rows, or of a
 * single panel, is one run. */
size_t cmlp_runs_of(const cmlp_panels *p, const cmlp_block *b, packed_run *runs);

/* Between the user's (columns, rows), C order, and the packed order; pads become zeros. */
void cmlp_pack(const cmlp_kernels *k, const cmlp_panels *p, const void *values, void *packed);
void cmlp_unpack(const cmlp_kernels *k, const cmlp_panels *p, const void *packed, void *values);

/* Writes a block of w into its transpose wt.  The block's rows start at a whole vector. */
void cmlp_transpose_block(const cmlp_kernels *k, const cmlp_panels *p, const cmlp_panels *turned,
                          const cmlp_block *b, const void *w, void *wt);

#endif
