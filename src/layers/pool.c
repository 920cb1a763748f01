/* Pooling: the largest, or the mean, of each window.  Of equal largest ones the first, row by row, gets the
 * whole gradient; the mean counts the zeros of the margin, but not a ragged edge. */
#include "planes.h"

#include <math.h>

static int is_sound(const cmlp_layer_spec *spec)
{
    return spec->out.channels == spec->in.channels && cmlp_window_is_sound(spec);
}

static cmlp_window window_of(const op *o, size_t lanes) { return cmlp_window_of(&o->spec, lanes, 0); }

/* Of each row: its input as planes, padded, and padded once more for its gradient; its output twice, or its
 * dL/du. */
static size_t scratch(const op *o)
{
    cmlp_window w = window_of(o, o->lanes);
    return o->lanes * (o->n_in + 2 * cmlp_max(o->n_out, o->ld_out)) + 2 * padded_numbers(&w);
}

/* The pieces of an op's scratch. */
typedef struct {
    char *turned, *x, *dx, *y;
} pieces;

static pieces pieces_of(const op *o, const op_rows *a, const cmlp_window *w)
{
    size_t own = padded_numbers(w) * o->k->size;
    char *turned = a->scratch, *x = turned + o->n_in * w->lanes * o->k->size;
    return (pieces){turned, x, x + own, x + 2 * own};
}

typedef void pool_fn(const op *o, const cmlp_window *w, const char *x, char *y);

static void most(const op *o, const cmlp_window *w, const char *x, char *y) { o->k->max_pool(w, x, y); }
static void mean(const op *o, const cmlp_window *w, const char *x, char *y) { o->k->sum_pool(w, x, 1, y); }

static void pool(const op *o, const region *r, const op_rows *a, double margin, pool_fn *of)
{
    for (size_t first = 0; first < r->rows; first += o->lanes) {
        row_block b = block_at(o, r, first);
        const cmlp_window w = window_of(o, b.rows);
        const pieces s = pieces_of(o, a, &w);
        char *y = cmlp_output_planes(o, a, &b, s.y);
        of(o, &w, cmlp_padded_input(o, a, &b, &w, margin, s.x, s.turned), y);
        cmlp_put_output(o, a, &b, y);
    }
}

static void max_forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    pool(o, r, a, -HUGE_VAL, most);
}

static void average_forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    pool(o, r, a, 0.0, mean);
}

static void max_backward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    for (size_t first = 0; first < r->rows; first += o->lanes) {
        row_block b = block_at(o, r, first);
        const cmlp_window w = window_of(o, b.rows);
        const pieces s = pieces_of(o, a, &w);
        const char *x = cmlp_padded_input(o, a, &b, &w, -HUGE_VAL, s.x, s.turned);
        const char *y = at_row(o, a->y, first, o->ld_out);
        if (!o->out_planes) {
            o->k->to_planes(b.rows, o->n_out, y, o->ld_out, s.y);
            y = s.y;
        }
        o->k->max_pool_back(&w, x, y, at_row(o, a->d, first, o->ld_out), s.dx);
        cmlp_put_dx(o, a, &b, &w, s.dx, s.turned);
    }
}

static void average_backward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    for (size_t first = 0; first < r->rows; first += o->lanes) {
        row_block b = block_at(o, r, first);
        const cmlp_window w = window_of(o, b.rows);
        const pieces s = pieces_of(o, a, &w);
        o->k->sum_pool_back(&w, at_row(o, a->d, first, o->ld_out), 1, s.dx);
        cmlp_put_dx(o, a, &b, &w, s.dx, s.turned);
    }
}

const layer_kind cmlp_max_pool_kind = {
    .name = "max_pool",
    .is_sound = is_sound,
    .shape = cmlp_window_shape,
    .has_shapes = 1,
    .spatial = 1,
    .reads_unpadded = 1,
    .scratch = scratch,
    .forward = max_forward,
    .derive = cmlp_derive_planes,
    .backward = max_backward,
};

const layer_kind cmlp_average_pool_kind = {
    .name = "average_pool",
    .is_sound = is_sound,
    .shape = cmlp_window_shape,
    .has_shapes = 1,
    .spatial = 1,
    .reads_unpadded = 1,
    .scratch = scratch,
    .forward = average_forward,
    .derive = cmlp_derive_planes,
    .backward = average_backward,
};
