/* Randomised ReLU: in training the slope of negative inputs is drawn for each element; in prediction it is
 * the mean of the range. */
#include "kinds.h"

static size_t kept(const op *o) { return o->ld_out; }

static void forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    size_t n = r->rows * a->ldy;
    if (a->kept) {
        cmlp_draw_factors(o, p, r, a, 1);
        o->k->multiply(n, a->x, a->kept, a->y);
    } else {
        o->k->activate(CMLP_LEAKY_RELU, n, a->x, 0.5 * (o->spec.param[0] + o->spec.param[1]), a->y);
    }
}

const layer_kind cmlp_rrelu = {
    .name = "rrelu",
    .is_sound = cmlp_same_width,
    .shape = cmlp_same_shape,
    .in_place = 1,
    .rectifies = 1,
    .kept = kept,
    .forward = forward,
    .backward = cmlp_multiply_kept,
};
