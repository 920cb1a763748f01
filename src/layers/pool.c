/* Pooling: the largest, or the mean, of each window.  Of equal largest ones the first, row by row, gets the
 * whole gradient; the mean counts the zeros of the margin. */
#include "planes.h"

#include <math.h>

static int is_sound(const cmlp_layer_spec *spec)
{
    return spec->out.channels == spec->in.channels && cmlp_window_is_sound(spec);
}

/* Planes of the input turned, padded, and padded once more for its gradient; of the output; rows of d. */
static size_t scratch(const op *o)
{
    cmlp_window w = cmlp_window_of(&o->spec);
    return o->k->vw * (o->n_in + 2 * padded_size(&w) + 2 * cmlp_max(o->n_out, o->ld_out));
}

/* The pieces of an op's scratch. */
typedef struct {
    char *turned, *x, *dx, *y;
} pieces;

static pieces pieces_of(const op *o, const op_rows *a, const cmlp_window *w)
{
    size_t line = o->k->vw * o->k->size;
    char *turned = a->scratch, *x = turned + o->n_in * line, *dx = x + padded_size(w) * line;
    return (pieces){turned, x, dx, dx + padded_size(w) * line};
}

static void max_forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    const cmlp_window w = cmlp_window_of(&o->spec);
    const pieces s = pieces_of(o, a, &w);
    for (size_t first = 0; first < r->rows; first += o->k->vw) {
        row_block b = block_at(o, r, first);
        char *y = cmlp_output_planes(o, a, &b, s.y);
        o->k->max_pool(&w, cmlp_padded_input(o, a, &b, -HUGE_VAL, s.x, s.turned), y);
        cmlp_put_output(o, a, &b, y);
    }
}

static void max_backward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    const cmlp_window w = cmlp_window_of(&o->spec);
    const pieces s = pieces_of(o, a, &w);
    for (size_t first = 0; first < r->rows; first += o->k->vw) {
        row_block b = block_at(o, r, first);
        const char *x = cmlp_padded_input(o, a, &b, -HUGE_VAL, s.x, s.turned);
        const char *y = at_row(o, a->y, first, o->ld_out);
        if (!o->out_planes) {
            o->k->to_planes(b.rows, o->n_out, y, o->ld_out, s.y);
            y = s.y;
        }
        o->k->max_pool_back(&w, x, y, at_row(o, a->d, first, o->ld_out), s.dx);
        cmlp_put_dx(o, a, &b, s.dx, s.turned);
    }
}

static void average_forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    const cmlp_window w = cmlp_window_of(&o->spec);
    const pieces s = pieces_of(o, a, &w);
    for (size_t first = 0; first < r->rows; first += o->k->vw) {
        row_block b = block_at(o, r, first);
        char *y = cmlp_output_planes(o, a, &b, s.y);
        o->k->sum_pool(&w, cmlp_padded_input(o, a, &b, 0.0, s.x, s.turned), 1, y);
        cmlp_put_output(o, a, &b, y);
    }
}

static void average_backward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    const cmlp_window w = cmlp_window_of(&o->spec);
    const pieces s = pieces_of(o, a, &w);
    for (size_t first = 0; first < r->rows; first += o->k->vw) {
        row_block b = block_at(o, r, first);
        o->k->sum_pool_back(&w, at_row(o, a->d, first, o->ld_out), 1, s.dx);
        cmlp_put_dx(o, a, &b, s.dx, s.turned);
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
