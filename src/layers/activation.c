/* A layer that is an activation and nothing else. */
#include "activate.h"

static void forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    apply_activation(o, p, r->rows, a->x, a->y, a->ldy);
}

static void backward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    const void *source = cmlp_activation_needs_input(o->activation) ? a->x : a->y;
    apply_derivative(o, p, r->rows, a->d, source, a->dx, o->ld_in);
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
