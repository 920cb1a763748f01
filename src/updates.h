/* The optimizers' update rules.
 *
 * F(id, name, first, second, body)
 *   first, second  names of the values kept for each parameter, the slots s1 and s2; "" where there is none
 *   body           updates w, s1 and s2 of one element, or a vector of them, from its gradient g, to which
 *                  clipping, weight decay and L1 have been applied
 * lr, momentum, nesterov, beta1, beta2, eps, shrink: see cmlp_update_args; rest1 and rest2 are 1 - beta1 and
 * 1 - beta2, rounded once.  Terms as in activations.h.
 */
#ifndef CMLP_UPDATES_H
#define CMLP_UPDATES_H

/* How many slots there are. */
#define CMLP_SLOTS(first, second) ((int)(sizeof(first) > 1) + (int)(sizeof(second) > 1))

#define CMLP_OPTIMIZERS(F)                                                                              \
    /* v <- momentum v - lr g; w <- w + v, or with Nesterov momentum w + momentum v - lr g */           \
    F(SGD, "sgd", "velocity", "", s1 = t_fma(momentum, s1, -(lr * g));                                               \
      w = w + (nesterov ? t_fma(momentum, s1, -(lr * g)) : s1))                                   \
    F(ADAM, "adam", "m", "v", CMLP_ADAM_STEP)                                                                       \
    F(ADAMW, "adamw", "m", "v", w = w - shrink * w; CMLP_ADAM_STEP)                                                 \
    /* s1 <- beta2 s1 + (1 - beta2) g^2; the velocity s2 applies the momentum */                        \
    F(RMSPROP, "rmsprop", "v", "velocity", s1 = t_fma(beta2, s1, rest2 * g * g);                              \
      s2 = t_fma(momentum, s2, -t_over_root(lr * g, s1, eps)); w = w + s2)                             \
    F(ADAGRAD, "adagrad", "v", "", s1 = t_fma(g, g, s1); w = w - t_over_root(lr * g, s1, eps))                \
    /* s1 and s2: running means of the squares of gradients and of steps */                             \
    F(ADADELTA, "adadelta", "v", "u", s1 = t_fma(beta2, s1, rest2 * g * g);                                    \
      g = g * t_sqrt((s2 + eps) / (s1 + eps)); s2 = t_fma(beta2, s2, rest2 * g * g);                    \
      w = t_fma(-lr, g, w))

/* The bias corrections of the step are already folded into lr and eps. */
#define CMLP_ADAM_STEP                                                                                       \
    s1 = t_fma(beta1, s1, rest1 * g);                                                           \
    s2 = t_fma(beta2, s2, rest2 * g * g);                                                       \
    w = w - t_over_root(lr * s1, s2, eps)

#endif
