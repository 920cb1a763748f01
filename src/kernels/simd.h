/* Vectors of `real`, for the kernel sources only.
 *
 * The arithmetic is GCC's and Clang's vector extension; what that lacks (fused multiply-add, select by a
 * comparison, square root, scaling by a power of two) is here once per instruction set.  Contraction is
 * off in these files: a product is fused exactly where vfma says so, which is what makes a row's result
 * independent of the tile that it fell into.
 */
#ifndef CMLP_SIMD_H
#define CMLP_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tiles.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifdef CMLP_DOUBLE
typedef double real;
typedef int64_t ireal;
#define MANTISSA 52
#define BIAS 1023
#define R(x) x
#else
typedef float real;
typedef int32_t ireal;
#define MANTISSA 23
#define BIAS 127
#define R(x) x##f
#endif

#define VW ((size_t)(VBYTES / sizeof(real)))
#define INLINE static inline __attribute__((always_inline))

typedef real v __attribute__((vector_size(VBYTES), may_alias));
typedef real vmem __attribute__((vector_size(VBYTES), may_alias, aligned(sizeof(real))));
typedef ireal vi __attribute__((vector_size(VBYTES), may_alias));

INLINE v vload(const real *p) { return *(const vmem *)p; }
INLINE void vstore(real *p, v x) { *(vmem *)p = x; }

/* The first n < VW elements, zeros behind them. */
INLINE v vload_part(const real *p, size_t n)
{
    real t[VBYTES / sizeof(real)] = {0};
    memcpy(t, p, n * sizeof(real));
    return vload(t);
}

INLINE void vstore_part(real *p, v x, size_t n)
{
    real t[VBYTES / sizeof(real)];
    vstore(t, x);
    memcpy(p, t, n * sizeof(real));
}

#ifdef CMLP_DOUBLE
#define PICK(f32, f64) f64
#else
#define PICK(f32, f64) f32
#endif

/* vlow(hi, x) and vhigh(lo, x) are the lesser and the greater; NaN where x is. */
#if defined(CMLP_ISA_avx512)
#define MM(op) PICK(_mm512_##op##_ps, _mm512_##op##_pd)
#define MASK(op) PICK(_mm512_##op##_ps_mask, _mm512_##op##_pd_mask)
INLINE v vset(real x) { return MM(set1)(x); }
INLINE v vfma(v a, v b, v c) { return MM(fmadd)(a, b, c); }
INLINE v vsqrt(v x) { return MM(sqrt)(x); }
/* a < b ? x : y, false where either is NaN. */
INLINE v vsel_lt(v a, v b, v x, v y) { return MM(mask_blend)(MASK(cmp)(a, b, _CMP_LT_OQ), y, x); }
INLINE v vsel(vi m, v x, v y)
{
    return MM(mask_blend)(PICK(_mm512_movepi32_mask, _mm512_movepi64_mask)((__m512i)m), y, x);
}
#elif defined(CMLP_ISA_avx2)
#define MM(op) PICK(_mm256_##op##_ps, _mm256_##op##_pd)
INLINE v vset(real x) { return MM(set1)(x); }
INLINE v vfma(v a, v b, v c) { return MM(fmadd)(a, b, c); }
INLINE v vsqrt(v x) { return MM(sqrt)(x); }
INLINE v vsel(vi m, v x, v y) { return MM(blendv)(y, x, (v)m); }
#elif defined(CMLP_ISA_v2)
#define MM(op) PICK(_mm_##op##_ps, _mm_##op##_pd)
INLINE v vset(real x) { return MM(set1)(x); }
INLINE v vfma(v a, v b, v c) { return a * b + c; }
INLINE v vsqrt(v x) { return MM(sqrt)(x); }
INLINE v vsel(vi m, v x, v y) { return MM(blendv)(y, x, (v)m); }
#elif defined(CMLP_ISA_neon)
INLINE v vlow(v hi, v x) { return PICK(vminq_f32, vminq_f64)(hi, x); }
INLINE v vhigh(v lo, v x) { return PICK(vmaxq_f32, vmaxq_f64)(lo, x); }
INLINE v vset(real x) { return PICK(vdupq_n_f32, vdupq_n_f64)(x); }
INLINE v vfma(v a, v b, v c) { return PICK(vfmaq_f32, vfmaq_f64)(c, a, b); }
INLINE v vsqrt(v x) { return PICK(vsqrtq_f32, vsqrtq_f64)(x); }
INLINE v vsel(vi m, v x, v y) { return (v)((m & (vi)x) | (~m & (vi)y)); }
INLINE v vzip_low(v a, v b) { return PICK(vzip1q_f32, vzip1q_f64)(a, b); }
INLINE v vzip_high(v a, v b) { return PICK(vzip2q_f32, vzip2q_f64)(a, b); }
#endif

#if defined(__x86_64__)
/* In each lane of 16 bytes the lower, or upper, halves of both interleaved. */
INLINE v vzip_low(v a, v b) { return MM(unpacklo)(a, b); }
INLINE v vzip_high(v a, v b) { return MM(unpackhi)(a, b); }
/* The instruction gives its second operand where either is NaN. */
INLINE v vlow(v hi, v x) { return MM(min)(hi, x); }
INLINE v vhigh(v lo, v x) { return MM(max)(lo, x); }
#endif

/* The first n <= VW numbers, zeros behind them; of memory that has a whole vector. */
INLINE v vload_upto(const real *p, size_t n)
{
#if defined(CMLP_ISA_avx512)
    return MM(maskz_loadu)(PICK((__mmask16)((1u << n) - 1), (__mmask8)((1u << n) - 1)), p);
#else
    vi lanes;
    for (size_t i = 0; i < VW; i++)
        lanes[i] = i < n ? -1 : 0;
    return n == VW ? vload(p) : vsel(lanes, vload(p), vset(R(0.0)));
#endif
}

/* Stores the first n <= VW numbers. */
INLINE void vstore_upto(real *p, v x, size_t n)
{
#if defined(CMLP_ISA_avx512)
    MM(mask_storeu)(p, PICK((__mmask16)((1u << n) - 1), (__mmask8)((1u << n) - 1)), x);
#else
    if (n == VW) {
        vstore(p, x);
        return;
    }
    real t[VBYTES / sizeof(real)];
    vstore(t, x);
    for (size_t i = 0; i < n; i++)
        p[i] = t[i];
#endif
}

#if !defined(CMLP_ISA_avx512)
INLINE v vsel_lt(v a, v b, v x, v y) { return vsel(a < b, x, y); }
#endif

/* *sum += a b, in place: left to itself GCC moves some of a tile's sums to other registers and back. */
#if defined(CMLP_ISA_avx512)
#define ADD_PRODUCT(sum, a, b) __asm__(PICK("vfmadd231ps", "vfmadd231pd") " %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))
#elif defined(CMLP_ISA_avx2)
#define ADD_PRODUCT(sum, a, b) __asm__(PICK("vfmadd231ps", "vfmadd231pd") " %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b))
#else
#define ADD_PRODUCT(sum, a, b) ((sum) = vfma(a, b, sum))
#endif

/* Lane i of the result is lane m[i] of a and b laid end to end. */
INLINE v vshuffle(v a, v b, vi m)
{
#if defined(CMLP_ISA_avx512)
    return PICK(_mm512_permutex2var_ps, _mm512_permutex2var_pd)(a, (__m512i)m, b);
#elif defined(__clang__)
    v r;
    for (size_t i = 0; i < VW; i++)
        r[i] = m[i] < (ireal)VW ? a[m[i]] : b[m[i] - (ireal)VW];
    return r;
#else
    return __builtin_shuffle(a, b, m);
#endif
}

/* Lane i of the result is number m[i] modulo 32 of a table of 32. */
INLINE v vpick(vi m, const real *table)
{
#if defined(CMLP_ISA_avx512) && !defined(CMLP_DOUBLE)
    return vshuffle(vload(table), vload(table + VW), m);
#elif defined(CMLP_ISA_avx2) && !defined(CMLP_DOUBLE)
    return _mm256_i32gather_ps(table, (__m256i)(m & 31), sizeof(real));
#else
    v r;
    for (size_t i = 0; i < VW; i++)
        r[i] = table[m[i] & 31];
    return r;
#endif
}

INLINE v vclamp(v x, v lo, v hi) { return vhigh(lo, vlow(hi, x)); }

/* 1 / b for b in [1, 2^64], within a unit in the last place: cheaper than a division where vectors are long.
 */
INLINE v vreciprocal_mid(v b)
{
#if defined(CMLP_ISA_avx512) && !defined(CMLP_DOUBLE)
    v r = _mm512_rcp14_ps(b);
    return vfma(r, vfma(-b, r, vset(R(1.0))), r);
#else
    return R(1.0) / b;
#endif
}

/* a / (sqrt(b) + eps) for b >= 0 and eps > 0.  Where vectors are long, estimates that multiply-adds improve
 * cost half as much as the two instructions, which do one vector after the other; a root of infinity is cut
 * off. */
INLINE v vover_root(v a, v b, v eps)
{
#if defined(CMLP_ISA_avx512)
    const v half = vset(R(0.5));
    b = vlow(vset(PICK(__FLT_MAX__, __DBL_MAX__)), b);
    v r = MM(rsqrt14)(vhigh(vset(PICK(__FLT_MIN__, __DBL_MIN__)), b));
#ifdef CMLP_DOUBLE
    r = vfma(r * half, vfma(-b * r, r, vset(1.0)), r);
#endif
    v root = b * r;
    v d = vfma(vfma(-root, root, b), r * half, root) + eps;
    r = MM(rcp14)(d);
#ifdef CMLP_DOUBLE
    r = vfma(r, vfma(-d, r, vset(1.0)), r);
#endif
    v q = a * r;
    return vfma(vfma(-q, d, a), r, q);
#else
    return a / (vsqrt(b) + eps);
#endif
}

/* The greater of the two; NaN if either is. */
INLINE v vmax(v a, v b) { return vsel(a != a, a, vhigh(a, b)); }

INLINE v vabs(v x) { return (v)((vi)x & ~(vi)vset(R(-0.0))); }

/* x with the sign of s taken over, for x >= 0. */
INLINE v vcopysign(v x, v s) { return (v)((vi)x | ((vi)s & (vi)vset(R(-0.0)))); }

/* 0, 1, 2...  From memory: set lane by lane, the compiler would make it anew at each call. */
INLINE vi vlanes(void)
{
    static const ireal n[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vi lanes;
    memcpy(&lanes, n, sizeof lanes);
    return lanes;
}

/* Lanes i with first + i < n keep x, the others become fill. */
INLINE v vtail(v x, size_t first, size_t n, v fill)
{
    if (first + VW <= n)
        return x;
    return vsel(vlanes() < (vi){0} + (ireal)(n - first), x, fill);
}

/* Lane i becomes lane i + by, around the end. */
INLINE v vrotate(v x, size_t by) { return vshuffle(x, x, (vlanes() + (ireal)by) & (ireal)(VW - 1)); }

/* Sum, or maximum, of the lanes by halves: a fixed order. */
INLINE real vsum(v x)
{
#pragma GCC unroll 4
    for (size_t half = VW / 2; half; half /= 2)
        x += vrotate(x, half);
    return x[0];
}

INLINE real vmax_lane(v x)
{
#pragma GCC unroll 4
    for (size_t half = VW / 2; half; half /= 2)
        x = vmax(x, vrotate(x, half));
    return x[0];
}

/* ---- sums of many terms ---- */

/* The sums of blocks of terms, in two levels, so that no chain of additions grows with their number. */
typedef struct {
    v low, high;
    size_t blocks;
} long_sum;

INLINE void add_block(long_sum *s, v block)
{
    s->low += block;
    if (++s->blocks % SUM_BLOCKS == 0) {
        s->high += s->low;
        s->low = vset(R(0.0));
    }
}

/* Where the block of a row's columns that starts at column j ends, in a row of n. */
INLINE size_t block_end(size_t j, size_t n) { return n - j < SUM_VECTORS * VW ? n : j + SUM_VECTORS * VW; }

INLINE v sum_of(const long_sum *s) { return s->high + s->low; }

/* ---- columns of rows in memory, by lanes of 16 bytes ---- */

#define LANE ((size_t)(16 / sizeof(real)))

/* Lane l of the result from p[l]. */
INLINE v vload_lanes(const real *const p[VBYTES / 16])
{
#if VBYTES == 64
    __m512i x = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)p[0]));
    x = _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)p[1]), 1);
    x = _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)p[2]), 2);
    return (v)_mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)p[3]), 3);
#elif VBYTES == 32
    __m256i x = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p[0]));
    return (v)_mm256_inserti128_si256(x, _mm_loadu_si128((const __m128i *)p[1]), 1);
#else
    return vload(p[0]);
#endif
}

INLINE void vstore_lanes(v x, real *const p[VBYTES / 16])
{
#if VBYTES == 64
    _mm_storeu_si128((__m128i *)p[0], _mm512_castsi512_si128((__m512i)x));
    _mm_storeu_si128((__m128i *)p[1], _mm512_extracti32x4_epi32((__m512i)x, 1));
    _mm_storeu_si128((__m128i *)p[2], _mm512_extracti32x4_epi32((__m512i)x, 2));
    _mm_storeu_si128((__m128i *)p[3], _mm512_extracti32x4_epi32((__m512i)x, 3));
#elif VBYTES == 32
    _mm_storeu_si128((__m128i *)p[0], _mm256_castsi256_si128((__m256i)x));
    _mm_storeu_si128((__m128i *)p[1], _mm256_extracti128_si256((__m256i)x, 1));
#else
    vstore(p[0], x);
#endif
}

/* LANE vectors, each of their lanes a square that is turned in place. */
INLINE void vturn(v r[16 / sizeof(real)])
{
#pragma GCC unroll 2
    for (size_t round = 1; round < LANE; round *= 2) {
        v t[16 / sizeof(real)];
#pragma GCC unroll 2
        for (size_t i = 0; i < LANE / 2; i++) {
            t[2 * i] = vzip_low(r[i], r[i + LANE / 2]);
            t[2 * i + 1] = vzip_high(r[i], r[i + LANE / 2]);
        }
#pragma GCC unroll 4
        for (size_t i = 0; i < LANE; i++)
            r[i] = t[i];
    }
}

/* The first LANE columns of VW rows that lie ld apart; zeros for those from `rows` on. */
INLINE void vload_columns(const real *from, size_t ld, size_t rows, v column[16 / sizeof(real)])
{
    static const real none[16 / sizeof(real)];
    const real *p[VBYTES / 16];
#pragma GCC unroll 4
    for (size_t i = 0; i < LANE; i++) {
#pragma GCC unroll 4
        for (size_t l = 0; l < VBYTES / 16; l++)
            p[l] = l * LANE + i < rows ? from + (l * LANE + i) * ld : none;
        column[i] = vload_lanes(p);
    }
    vturn(column);
}

/* The same way back. */
INLINE void vstore_columns(v column[16 / sizeof(real)], size_t rows, real *to, size_t ld)
{
    real nowhere[16 / sizeof(real)], *p[VBYTES / 16];
    vturn(column);
#pragma GCC unroll 4
    for (size_t i = 0; i < LANE; i++) {
#pragma GCC unroll 4
        for (size_t l = 0; l < VBYTES / 16; l++)
            p[l] = l * LANE + i < rows ? to + (l * LANE + i) * ld : nowhere;
        vstore_lanes(column[i], p);
    }
}

#endif
