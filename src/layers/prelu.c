/* PReLU: y = slope x for x < 0, else x, with a slope learnt for each unit. */
#include "kinds.h"

static size_t parts(const cmlp_layer_spec *spec, cmlp_part *parts)
{
    parts[0] = (cmlp_part){.name = "slope", .ndim = 1, .shape = {spec->n_out}, .start = spec->param[0]};
    return 1;
}

static void forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    o->k->prelu(r->rows, o->pad_out, a->x, a->ldx, a->parts[0].value, a->y, a->ldy);
}

static void backward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    (void)p;
    o->k->prelu_back(r->rows, o->pad_out, a->d, o->ld_out, a->x, o->ld_in, a->parts[0].value, a->dx,
                     o->ld_in);
}

static void gradient(const op *o, const span *s, const gradient_args *g)
{
    size_t first = s->block.c0 * o->k->size;
    o->k->prelu_slope(g->rows, s->block.c1 - s->block.c0, (const char *)g->d + first, o->ld_out,
                      (const char *)g->x + first, g->ldx, !g->first, g->to);
}

const layer_kind cmlp_prelu = {
    .name = "prelu",
    .is_sound = cmlp_same_width,
    .shape = cmlp_same_shape,
    .parts = parts,
    .in_place = 1,
    .rectifies = 1,
    .forward = forward,
    .backward = backward,
    .gradient = gradient,
};
