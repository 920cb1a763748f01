/* An op's activation and its derivative, for the kinds that have one. */
#ifndef CMLP_ACTIVATE_H
#define CMLP_ACTIVATE_H

#include "kinds.h"

#include <string.h>

/* The activation is none, or the loss's business. */
static inline int is_plain(const op *o, const pass *p)
{
    return o->activation == CMLP_IDENTITY || (p->for_loss && o->fused_output);
}

/* y = f(u) over rows of n_out elements, ld apart; y may be u. */
static inline void apply_activation(const op *o, const pass *p, size_t rows, const void *u, void *y,
                                    size_t ld)
{
    if (is_plain(o, p)) {
        if (u != y)
            memcpy(y, u, rows * ld * o->k->size);
    } else if (o->activation == CMLP_SOFTMAX) {
        o->k->softmax(rows, o->n_out, u, ld, 0, y, ld);
    } else {
        o->k->activate(o->activation, rows * ld, u, o->param, y);
    }
}

/* to = d f'(.), by `source`: y, or u where the derivative is written in that; to may be d. */
static inline void apply_derivative(const op *o, const pass *p, size_t rows, const void *d,
                                    const void *source, void *to, size_t ld)
{
    if (is_plain(o, p)) {
        if (d != to)
            memcpy(to, d, rows * ld * o->k->size);
    } else if (o->activation == CMLP_SOFTMAX) {
        o->k->softmax_back(rows, o->n_out, d, ld, source, ld, to, ld);
    } else {
        o->k->derive(o->activation, rows * ld, d, source, o->param, to);
    }
}

#endif
