/* The elementwise activations: name, parameter, function and derivative of each.
 *
 * F(id, name, default, source, forward, derivative)
 *   default     default of the parameter p; CMLP_NO_PARAM if the activation has none
 *   source      CMLP_FROM_OUTPUT: the derivative is a function of s = f(x), and x need not be kept;
 *               CMLP_FROM_INPUT: it is a function of s = x
 *   forward     f(x)
 *   derivative  f'(x) in terms of s
 * Scaled tanh: f' = (2/3) (1.7159 - s^2 / 1.7159).
 * At a kink the derivative is that of the negative side: 0 for ReLU, p for leaky ReLU, s + p for ELU.
 *
 * The same text is compiled for vectors and, in the reference kernels, for scalars: T is the type, t_* are
 * its operations, R() makes a constant.  t_lt(a, b, x, y) is a < b ? x : y; the comparison is false if a or b
 * is NaN.
 */
#ifndef CMLP_ACTIVATIONS_H
#define CMLP_ACTIVATIONS_H

#define CMLP_NO_PARAM (-1.0)
enum { CMLP_FROM_OUTPUT, CMLP_FROM_INPUT };

#define CMLP_ACTIVATIONS(F)                                                                             \
    F(IDENTITY, "identity", CMLP_NO_PARAM, CMLP_FROM_OUTPUT, x, one)                                              \
    F(SIGMOID, "sigmoid", CMLP_NO_PARAM, CMLP_FROM_OUTPUT, logistic(x), s * (one - s))                                \
    F(TANH, "tanh", CMLP_NO_PARAM, CMLP_FROM_OUTPUT, t_tanh(x), one - s * s)                                      \
    F(RELU, "relu", CMLP_NO_PARAM, CMLP_FROM_OUTPUT, t_lt(x, zero, zero, x), t_lt(zero, s, one, zero))            \
    F(LEAKY_RELU, "leaky_relu", 0.01, CMLP_FROM_OUTPUT, t_lt(x, zero, x * p, x), t_lt(zero, s, one, p))      \
    F(ELU, "elu", 1.0, CMLP_FROM_OUTPUT, t_lt(x, zero, p * t_expm1(t_lt(x, zero, x, zero)), x),              \
      t_lt(zero, s, one, s + p))                                                                        \
    F(GELU, "gelu", CMLP_NO_PARAM, CMLP_FROM_INPUT, gelu(x), gelu_slope(s))                                       \
    F(SILU, "silu", CMLP_NO_PARAM, CMLP_FROM_INPUT, silu(x), silu_slope(s))                                        \
    F(SOFTPLUS, "softplus", CMLP_NO_PARAM, CMLP_FROM_OUTPUT, t_softplus(x), -t_expm1(-s))                         \
    F(SOFTSIGN, "softsign", CMLP_NO_PARAM, CMLP_FROM_OUTPUT, softsign(x),                                             \
      (one - t_abs(s)) * (one - t_abs(s)))                                                              \
    F(SCALED_TANH, "scaled_tanh", CMLP_NO_PARAM, CMLP_FROM_OUTPUT,                                      \
      t_tanh(x * R(0.66666666666666666667)) * R(1.7159),                                                \
      t_fma(s * R(-0.38852302970258562076), s, t_set(R(1.1439333333333333333))))                        \
    F(STEP, "step", CMLP_NO_PARAM, CMLP_FROM_OUTPUT, t_lt(x, zero, zero, t_lt(zero, x + one, one, x)), zero)

#endif

/* Functions too long for the table; compiled only in kernel sources, which define T. */
#ifdef CMLP_KERNEL
#ifndef CMLP_ACTIVATION_FORMULAS
#define CMLP_ACTIVATION_FORMULAS

/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|) */
static inline T t_softplus(T x)
{
    T zero = t_set(R(0.0));
    return t_lt(x, zero, zero, x) + t_log1p_unit(t_exp(-t_abs(x)));
}

/* x/(1 + |x|); clamping avoids infinity/infinity and changes no other result. */
static inline T softsign(T x)
{
    x = t_clamp(x, t_set(R(-1e30)), t_set(R(1e30)));
    return x / (R(1.0) + t_abs(x));
}

/* x Phi(x), from the smaller tail so that nothing cancels; clamping avoids infinity times 0. */
static inline T gelu(T x)
{
    T tail = t_normal_tail(t_abs(x), t_clamp(x, t_set(R(-40.0)), t_set(R(40.0))));
    return t_lt(x, t_set(R(0.0)), tail, x - tail);
}

/* Phi(x) + x phi(x) */
static inline T gelu_slope(T x)
{
    x = t_clamp(x, t_set(R(-40.0)), t_set(R(40.0)));
    T tail = t_normal_tail(t_abs(x), t_set(R(1.0)));
    T density = t_exp(x * x * R(-0.5)) * R(0.39894228040143267794);
    return t_fma(x, density, t_lt(x, t_set(R(0.0)), tail, R(1.0) - tail));
}

/* (top + low) / (c + e) for c >= e, compensated for the rounding errors of the sum and the quotient. */
static inline T share_of_sum(T top, T low, T c, T e)
{
    T sum = c + e, lost = e - (sum - c), r = R(1.0) / sum, y = top * r;
    return t_fma(low + t_fma(-y, lost, t_fma(-y, sum, top)), r, y);
}

/* 1/(1 + e^-x), from e^-|x| so that small results keep full precision. */
static inline T logistic(T x)
{
    T one = t_set(R(1.0)), e = t_exp(-t_abs(x));
    return share_of_sum(t_lt(x, t_set(R(0.0)), e, one), t_set(R(0.0)), one, e);
}

/* x/(1 + e^-x) likewise, scaled by 2^32: x e^x is representable where e^x has underflowed. */
static inline T silu(T x)
{
    T one = t_set(R(0x1p32)), e = t_exp_scaled(-t_abs(x), -32);
    T a = t_clamp(x, t_set(R(-1000.0)), t_set(R(1000.0))), b = t_lt(x, t_set(R(0.0)), e, one), top = a * b;
    T y = share_of_sum(top, t_fma(a, b, -top), one, e);
    return t_lt(t_set(R(100.0)), x, x, y);
}

/* g + x g (1 - g) with g = sigmoid(x) */
static inline T silu_slope(T x)
{
    x = t_clamp(x, t_set(R(-1000.0)), t_set(R(1000.0)));
    T g = logistic(x);
    return t_fma(x * g, R(1.0) - g, g);
}

#endif
#endif
