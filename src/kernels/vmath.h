/* Elementary functions on vectors: exp, expm1, log, log1p, erfc's scaled form, all without branches.
 *
 * NaN stays NaN, infinities give their limits.  float32 within 2 ULP; float64 within a few.  The method is
 * the usual one: reduce to a small interval, a polynomial there, scale back.
 */
#ifndef CMLP_VMATH_H
#define CMLP_VMATH_H

#include "simd.h"
#include "tables.h"

#define CMLP_KERNEL
#define T v
#define ROUNDER PICK(0x1.8p23f, 0x1.8p52)
#define LN2_HI PICK(0.693359375f, 6.93145751953125e-1)
#define LN2_LO PICK(-2.12194440e-4f, 1.42860682030941723212e-6)
#define EXP_LOW PICK(-104.0f, -746.0)
#define EXP_HIGH PICK(89.0f, 710.0)

/* 2^n for whole n inside the normal range, n given as ROUNDER + n. */
INLINE v pow2_of(v rounded) { return (v)((((vi)rounded - (vi)vset(ROUNDER)) + BIAS) << MANTISSA); }

/* e^r - 1 for |r| <= ln(2)/2: Taylor's series. */
INLINE v expm1_small(v r)
{
#ifdef CMLP_DOUBLE
    static const real c[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                             1.0 / 362880,     1.0 / 40320,     1.0 / 5040,     1.0 / 720,
                             1.0 / 120,        1.0 / 24,        1.0 / 6,        0.5};
#else
    static const real c[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f};
#endif
    v p = vset(c[0]);
    for (size_t i = 1; i < sizeof c / sizeof c[0]; i++)
        p = vfma(p, r, vset(c[i]));
    return vfma(p, r * r, r);
}

/* x = n ln 2 + r; returns r, and ROUNDER + n in *rounded. */
INLINE v reduce_ln2(v x, v *rounded)
{
    v big = vfma(x, vset(R(1.44269504088896340736)), vset(ROUNDER));
    v n = big - ROUNDER;
    *rounded = big;
    return vfma(n, vset(-LN2_LO), vfma(n, vset(-LN2_HI), x));
}

/* x 2^n, n given as ROUNDER + n. */
INLINE v vscale(v x, v rounded)
{
#if defined(CMLP_ISA_avx512)
    return MM(scalef)(x, rounded - ROUNDER);
#else
    /* In two steps, so that results near the ends of the range neither overflow nor vanish early. */
    vi n = (vi)rounded - (vi)vset(ROUNDER);
    vi half = n >> 1;
    v a = (v)((half + BIAS) << MANTISSA), b = (v)((n - half + BIAS) << MANTISSA);
    return x * a * b;
#endif
}

/* t as half a whole number, and the rest in [0, 1/2]; 0 <= t < 16. */
INLINE v vhalves(v t, vi *index)
{
    v left = ((t - R(0.25)) + ROUNDER * R(0.5)) - ROUNDER * R(0.5);
    *index = __builtin_convertvector(left + left, vi);
    return t - left;
}

/* What q = t t lost in rounding. */
INLINE v vsquare_low(v t, v q)
{
#if defined(CMLP_ISA_v2)
    /* Products of halves of the digits are exact. */
    const ireal upper = ~(((ireal)1 << (MANTISSA + 1) / 2) - 1);
    v hi = (v)((vi)t & ((vi){0} + upper)), lo = t - hi;
    return vfma(lo, lo, vfma(hi + hi, lo, vfma(hi, hi, -q)));
#else
    return vfma(t, t, -q);
#endif
}

/* 2^-k e^x: for products and quotients that are numbers where e^x alone is none. */
INLINE v t_exp_scaled(v x, int k)
{
    v big;
    x = vclamp(x, vset(EXP_LOW), vset(EXP_HIGH + (real)k * R(0.7)));
    v p = expm1_small(reduce_ln2(x, &big)) + R(1.0);
    return vscale(p, (v)((vi)big - (ireal)k));
}

INLINE v t_exp(v x) { return t_exp_scaled(x, 0); }

/* (e^x - 1)/2: the half keeps 2^128 out of it. */
INLINE v half_expm1(v x)
{
    v big;
    x = vclamp(x, vset(R(-40.0)), vset(EXP_HIGH));
    v p = expm1_small(reduce_ln2(x, &big));
    v s = pow2_of(big - R(1.0));
    return vfma(s, p, s - R(0.5));
}

INLINE v t_expm1(v x) { return half_expm1(x) * R(2.0); }

/* 2 atanh(s) = 2s + s z (2/3 + 2/5 z + ...), z = s^2, with terms enough for |s| <= 1/3. */
INLINE v two_atanh(v s, int terms)
{
    v z = s * s, p = vset(R(2.0) / (real)(2 * terms + 1));
#pragma GCC unroll 20
    for (int i = terms - 1; i > 0; i--)
        p = vfma(p, z, vset(R(2.0) / (real)(2 * i + 1)));
    return vfma(s * z, p, s + s);
}

/* For normal x > 0; infinity and NaN stay; zero, negative and subnormal x are the caller's to avoid. */
INLINE v t_log(v x)
{
    vi e = ((vi)x - (vi)vset(R(0.70710678118654752440))) >> MANTISSA;
    v f = (v)((vi)x - (e << MANTISSA)) - R(1.0);
    v n = (v)((vi)vset(ROUNDER) + e) - ROUNDER;
    v y = two_atanh(f / (f + R(2.0)), PICK(4, 10));
    y = vfma(n, vset(LN2_HI), vfma(n, vset(LN2_LO), y));
    return vsel_lt(x, vset(PICK(__builtin_inff(), __builtin_inf())), y, x);
}

/* log(1 + z) for 0 <= z <= 1, with the rounding errors of the quotient put back. */
INLINE v t_log1p_unit(v z)
{
    v sum = z + R(2.0), lost = z - (sum - R(2.0)), s = z / sum;
    v rest = vfma(-s, lost, vfma(-s, sum, z)) / sum;
    return two_atanh(s, PICK(8, 17)) + (rest + rest);
}

#if defined(CMLP_ISA_avx512) && !defined(CMLP_DOUBLE)
/* tanh |x| as a polynomial for each quarter of an octave, whose coefficients the permutation looks up. */
INLINE v t_tanh(v x)
{
    v a = vlow(vset(15.5f), vabs(x));
    __m512i quarter = _mm512_srli_epi32((__m512i)a, MANTISSA - 2);
    __m512i index = _mm512_max_epi32(_mm512_sub_epi32(quarter, _mm512_set1_epi32((BIAS - 4) * 4)),
                                     _mm512_setzero_si512());
    v t = a - vpick((vi)index, tanh_table[0]), y = vpick((vi)index, tanh_table[6]);
#pragma GCC unroll 5
    for (int i = 5; i > 0; i--)
        y = vfma(y, t, vpick((vi)index, tanh_table[i]));
    return vcopysign(y, x);
}
#else
/* tanh x = h/(h + 1) with h = (e^(2|x|) - 1)/2; what the sum h + 1 loses in rounding is put back. */
INLINE v t_tanh(v x)
{
    v a = vabs(x), h = half_expm1(vlow(vset(R(40.0)), a + a));
    v sum = h + R(1.0), lost = h - (sum - R(1.0)), r = vreciprocal_mid(sum);
    v q = h * r, y = vfma(vfma(-q, sum, h), r, q);
    return vcopysign(vfma(y * r, -lost, y), x);
}
#endif

/* times Q(t), Q the upper tail of the normal distribution, erfc(t / sqrt 2) / 2, for t >= 0: e^(-t^2/2) times
 * a smooth factor. */
#ifdef CMLP_DOUBLE
/* The factor's product with t + a is a polynomial in (t - a)/(t + a). */
INLINE v t_normal_tail(v t, v times)
{
    static const real c[] = {
        -1.58774688274733654e-10, 1.75304840140823198e-9,  7.66307180076004105e-9,  -9.31356099432605914e-9,
        -6.59422166247722304e-8,  4.22749937400653484e-8,  4.33141035686258495e-7,  -3.36615368101247117e-7,
        -2.76926709599743025e-6,  3.98090215786804112e-6,  1.66812137420420615e-5,  -4.97628142705858052e-5,
        -5.93757280099158637e-5,  5.44899064773129894e-4,  -7.97869398466070105e-4, -2.99337677050854244e-3,
        2.07950667998831796e-2,   -6.91186387063101636e-2, 1.65020366170384718e-1,  -3.13533156671304545e-1,
        4.95305615969976413e-1,   -6.653825028900567e-1,   7.69193049750062959e-1};
    const real a = 5.0, far = 40.0;
    t = vclamp(t, vset(R(0.0)), vset(far));
    v r = R(1.0) / (t + a), k = (t - a) * r, p = vset(c[0]);
    for (size_t i = 1; i < sizeof c / sizeof c[0]; i++)
        p = vfma(p, k, vset(c[i]));
    /* The rounding error of t^2 matters once it is an exponent. */
    v q = t * t, low = vsquare_low(t, q);
    v e = t_exp(q * R(-0.5));
    v w = p * r * times;
    return vfma(w * low, vset(R(-0.5)), w) * e;
}
#else
/* The factor is a polynomial for each interval of a half; what its product with `times` loses in rounding is
 * put back, and so is what t^2 loses, which matters once it is an exponent. */
INLINE v t_normal_tail(v t, v times)
{
    t = vclamp(t, vset(0.0f), vset(15.5f));
    vi index;
    v rest = vhalves(t, &index), slope = vpick(index, tail_table[7]), big;
#pragma GCC unroll 6
    for (int i = 6; i > 0; i--)
        slope = vfma(slope, rest, vpick(index, tail_table[i]));
    v first = vpick(index, tail_table[0]), more = vfma(slope, rest, vpick(index, tail_table[8]));
    v m = first + more, m_low = more - (m - first);
    v q = t * t, r = reduce_ln2(q * -0.5f, &big);
    v p = expm1_small(vfma(vsquare_low(t, q), vset(-0.5f), r));
    v y = times * m, lost = vfma(times, m_low, vfma(times, m, -y));
    return vscale(y + vfma(y, p, lost), big);
}
#endif

#define t_abs vabs
#define t_sqrt vsqrt
#define t_over_root vover_root
#define t_fma vfma
#define t_set vset
#define t_lt vsel_lt
#define t_clamp vclamp
#define t_copysign vcopysign

#endif
