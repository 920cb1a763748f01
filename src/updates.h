/* Every optimizer's rule in one place.
 *
 * F(id, name, slots, body): the body changes w and the slots s1, s2 of one element (or vector) from its
 * gradient g, to which clipping, weight decay and L1 have been applied.  lr, momentum, nesterov, beta1,
 * beta2, eps, shrink: see cmlp_update_args; rest1 and rest2 are 1 - beta1 and 1 - beta2.  Terms as in
 * activations.h.
 */
#ifndef CMLP_UPDATES_H
#define CMLP_UPDATES_H

#define CMLP_OPTIMIZERS(F)                                                                              \
    /* v <- momentum v - lr g; w <- w + v, or with Nesterov's look ahead w + momentum v - lr g */       \
    F(SGD, "sgd", 1, s1 = t_fma(momentum, s1, -(lr * g));                                               \
      w = w + (nesterov ? t_fma(momentum, s1, -(lr * g)) : s1))                                   \
    F(ADAM, "adam", 2, CMLP_ADAM_STEP)                                                                       \
    F(ADAMW, "adamw", 2, w = w - shrink * w; CMLP_ADAM_STEP)                                                 \
    /* s1 <- beta2 s1 + (1 - beta2) g^2; the step through a velocity s2 if there is momentum */         \
    F(RMSPROP, "rmsprop", 2, s1 = t_fma(beta2, s1, rest2 * g * g);                              \
      s2 = t_fma(momentum, s2, -t_over_root(lr * g, s1, eps)); w = w + s2)                             \
    F(ADAGRAD, "adagrad", 1, s1 = t_fma(g, g, s1); w = w - t_over_root(lr * g, s1, eps))

/* lr and eps already hold the bias corrections of the step. */
#define CMLP_ADAM_STEP                                                                                       \
    s1 = t_fma(beta1, s1, rest1 * g);                                                           \
    s2 = t_fma(beta2, s2, rest2 * g * g);                                                       \
    w = w - t_over_root(lr * s1, s2, eps)

#endif
