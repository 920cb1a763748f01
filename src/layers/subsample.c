/* LeNet's pooling: a coefficient for each plane times the sum of each window, plus a bias; then an
 * activation. */
#include "planes.h"

enum { WEIGHT, BIAS };

static int is_sound(const cmlp_layer_spec *spec)
{
    return spec->out.channels == spec->in.channels && cmlp_window_is_sound(spec);
}

static size_t parts(const cmlp_layer_spec *spec, cmlp_part *parts)
{
    parts[WEIGHT] = (cmlp_part){.name = "weight", .ndim = 1, .shape = {spec->out.channels}, .decays = 1};
    parts[BIAS] = (cmlp_part){.name = "bias", .ndim = 1, .shape = {spec->out.channels}};
    return 2;
}

static size_t numbers_of_a_plane(const op *o, size_t lanes)
{
    return o->spec.out.height * o->spec.out.width * lanes;
}

/* The windows' sums. */
static size_t kept(const op *o) { return o->n_out; }

/* Of each row: its input as planes, padded, and padded once more for its gradient; sums of windows, or
 * gradients of them; its output or its dL/du. */
static size_t scratch(const op *o)
{
    cmlp_window w = cmlp_window_of(&o->spec, o->lanes, 0);
    return o->lanes * (o->n_in + 2 * cmlp_max(o->n_out, o->ld_out)) + 2 * padded_numbers(&w);
}

static void forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    size_t size = o->k->size;
    for (size_t first = 0; first < r->rows; first += o->lanes) {
        row_block b = block_at(o, r, first);
        const cmlp_window w = cmlp_window_of(&o->spec, b.rows, 0);
        char *turned = a->scratch, *x = turned + o->n_in * b.rows * size;
        char *own = x + padded_numbers(&w) * size, *y = own + o->n_out * b.rows * size;
        char *sums = a->kept ? at_row(o, a->kept, first, o->ld_kept) : own;
        y = cmlp_output_planes(o, a, &b, y);
        o->k->sum_pool(&w, cmlp_padded_input(o, a, &b, &w, 0.0, x, turned), 0, sums);
        o->k->scale_planes(o->spec.out.channels, numbers_of_a_plane(o, b.rows), sums, a->parts[WEIGHT].value,
                           a->parts[BIAS].value, y);
        cmlp_put_output(o, a, &b, y);
    }
    apply_activation(o, p, r->rows, a->u, a->y, a->ldy);
}

static void backward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    size_t size = o->k->size;
    for (size_t first = 0; first < r->rows; first += o->lanes) {
        row_block b = block_at(o, r, first);
        const cmlp_window w = cmlp_window_of(&o->spec, b.rows, 0);
        char *turned = a->scratch, *dx = turned + o->n_in * b.rows * size;
        char *scaled = dx + padded_numbers(&w) * size;
        o->k->scale_planes(o->spec.out.channels, numbers_of_a_plane(o, b.rows),
                           at_row(o, a->d, first, o->ld_out), a->parts[WEIGHT].value, NULL, scaled);
        o->k->sum_pool_back(&w, scaled, 0, dx);
        cmlp_put_dx(o, a, &b, &w, dx, turned);
    }
}

static void gradient(const op *o, const span *s, const gradient_args *g)
{
    size_t c0 = s->block.c0, n = cmlp_min(s->block.c1, o->spec.out.channels) - c0;
    for (size_t first = 0; first < g->rows; first += o->lanes) {
        size_t plane = numbers_of_a_plane(o, cmlp_min(o->lanes, g->rows - first));
        const char *d = at_row(o, g->d, first, o->ld_out) + c0 * plane * o->k->size;
        const char *sums = at_row(o, g->kept, first, o->ld_kept) + c0 * plane * o->k->size;
        o->k->plane_sums(n, plane, d, s->part == WEIGHT ? sums : NULL, first || !g->first, g->to);
    }
}

const layer_kind cmlp_subsample_kind = {
    .name = "subsample",
    .is_sound = is_sound,
    .shape = cmlp_window_shape,
    .has_shapes = 1,
    .parts = parts,
    .takes_activation = 1,
    .spatial = 1,
    .reads_unpadded = 1,
    .uses_fused = 1,
    .kept = kept,
    .scratch = scratch,
    .forward = forward,
    .derive = cmlp_derive_planes,
    .backward = backward,
    .gradient = gradient,
};
