/* The elementwise losses; softmax cross-entropy, which needs whole rows, is in kernels/losses.c.
 *
 * F(id, name, default, on_logits, value, slope)
 *   default    default of the parameter p; CMLP_NO_PARAM if the loss has none
 *   on_logits  1: z is the output before its activation
 *   value      the loss of one output z against its target t; a row's loss is the sum over its outputs
 *   slope      d value / d z
 * Terms as in activations.h.
 */
#ifndef CMLP_LOSSES_H
#define CMLP_LOSSES_H

#include "activations.h"

#define CMLP_LOSSES(F)                                                                                  \
    F(SQUARED_ERROR, "squared_error", CMLP_NO_PARAM, 0, (z - t) * (z - t) * half, z - t)                     \
    F(BINARY_CROSS_ENTROPY, "binary_cross_entropy", CMLP_NO_PARAM, 1, t_softplus(z) - t * z,                 \
      logistic(z) - t)                                                                                  \
    F(ABSOLUTE_ERROR, "absolute_error", CMLP_NO_PARAM, 0, t_abs(z - t), sign(z - t))                         \
    F(HUBER, "huber", 1.0, 0, huber(z - t, p), t_clamp(z - t, -p, p))                                   \
    /* -t z if the signs differ; targets are -1 and 1.  The slope at 0 is -t, as training may start there. */ \
    F(PERCEPTRON, "perceptron", CMLP_NO_PARAM, 0, t_lt(zero, t * z, zero, -(t * z)),                         \
      t_lt(zero, t * z, zero, z * zero - t))                                                            \
    F(POISSON, "poisson", CMLP_NO_PARAM, 1, t_exp(z) - t * z, t_exp(z) - t)

#endif

#ifdef CMLP_KERNEL
#ifndef CMLP_LOSS_FORMULAS
#define CMLP_LOSS_FORMULAS

/* -1, 0 or 1, 0 being the subgradient of the absolute error at its kink; NaN for NaN. */
static inline T sign(T e)
{
    T zero = t_set(R(0.0));
    return t_lt(e, zero, t_set(R(-1.0)), t_lt(zero, e, t_set(R(1.0)), e));
}

/* e^2/2 for |e| <= p, else p (|e| - p/2) */
static inline T huber(T e, T p)
{
    T a = t_abs(e);
    return t_lt(p, a, p * (a - p * R(0.5)), e * e * R(0.5));
}

#endif
#endif
