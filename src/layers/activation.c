/* A layer that is an activation and nothing else. */
#include "activate.h"

/* Planes fill the rows of a whole vector of samples. */
static size_t rows_of_numbers(const op *o, const region *r)
{
    return o->out_planes ? cmlp_round_up(r->rows, o->k->vw) : r->rows;
}

static void forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    apply_activation(o, p, rows_of_numbers(o, r), a->x, a->y, a->ldy);
}

static void backward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    const void *source = cmlp_activation_needs_input(o->activation) ? a->x : a->y;
    apply_derivative(o, p, rows_of_numbers(o, r), a->d, source, a->dx, o->ld_in);
}

const layer_kind cmlp_activation_kind = {
    .name = "activation",
    .is_sound = cmlp_same_width,
    .shape = cmlp_same_shape,
    .only_activates = 1,
    .in_place = 1,
    .uses_fused = 1,
    .forward = forward,
    .backward = backward,
};
