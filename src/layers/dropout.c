/* Dropout: in training each element is dropped with probability `rate`, and the others are divided by 1 -
 * rate; in prediction nothing happens. */
#include "kinds.h"

#include <string.h>

static size_t kept(const op *o) { return o->ld_out; }

static void forward(const op *o, const pass *p, const region *r, const op_rows *a)
{
    size_t n = r->rows * a->ldy;
    if (a->kept) {
        cmlp_draw_factors(o, p, r, a, 0);
        o->k->multiply(n, a->x, a->kept, a->y);
    } else if (a->x != a->y) {
        memcpy(a->y, a->x, n * o->k->size);
    }
}

const layer_kind cmlp_dropout = {
    .name = "dropout",
    .is_sound = cmlp_same_width,
    .shape = cmlp_same_shape,
    .in_place = 1,
    .kept = kept,
    .forward = forward,
    .backward = cmlp_multiply_kept,
};
