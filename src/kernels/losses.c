/* Losses of rows of outputs, and their gradients: softmax cross-entropy here, the elementwise ones from
 * losses.h.  A call's sum is taken lane by lane and then over the lanes: the same for the same rows. */
#include "kernels.h"
#include "vmath.h"

#include "../cmlp.h"
#include "../losses.h"

INLINE const real *row_of(const void *base, size_t r, size_t ld) { return (const real *)base + r * ld; }

INLINE real weight_of(const cmlp_loss_args *a, size_t r)
{
    return a->weight ? ((const real *)a->weight)[r] : R(1.0);
}

/* The target of outputs j.. of a row, with label smoothing: (1 - p) target + p / n. */
INLINE v target_of(const cmlp_loss_args *a, size_t r, size_t j, v lanes)
{
    v t;
    if (a->labels) {
        v at = vset((real)a->labels[r] - (real)j);
        t = vsel(lanes == at, vset(R(1.0)), vset(R(0.0)));
    } else {
        t = vload(row_of(a->t, r, a->ldt) + j);
    }
    if (a->param != 0.0)
        t = vfma(t, vset((real)(1.0 - a->param)), vset((real)(a->param / (double)a->n)));
    return vtail(t, j, a->n, vset(R(0.0)));
}

/* loss = log sum e^z - t z (targets of a row sum to s: s log sum e^z); dz = s softmax(z) - t */
static double softmax_cross_entropy(const cmlp_loss_args *a)
{
    const v zero = vset(R(0.0));
    v lanes;
    for (size_t i = 0; i < VW; i++)
        lanes[i] = (real)i;
    v total = zero;
    for (size_t r0 = 0; r0 < a->rows; r0 += VW) {
        /* A group of rows, one lane each, so that one logarithm serves them all. */
        v sums = vset(R(1.0)), linear = zero, weights = zero, mass = zero;
        for (size_t l = 0; l < VW && r0 + l < a->rows; l++) {
            size_t r = r0 + l;
            const real *z = row_of(a->z, r, a->ldz);
            v top = vtail(vload(z), 0, a->n, vset(z[0]));
            for (size_t j = VW; j < a->n; j += VW)
                top = vmax(top, vtail(vload(z + j), j, a->n, vset(z[0])));
            v high = vset(vmax_lane(top)), sum = zero, dot = zero, tsum = zero;
            for (size_t j = 0; j < a->n; j += VW) {
                v shifted = vload(z + j) - high, t = target_of(a, r, j, lanes);
                sum += vtail(t_exp(shifted), j, a->n, zero);
                /* 0 times an infinite logit counts as 0, as in the limit. */
                dot += vsel(t == zero, zero, t * shifted);
                tsum += t;
            }
            real s = vsum(sum), ts = a->labels ? R(1.0) : vsum(tsum);
            sums[l] = s;
            linear[l] = vsum(dot);
            mass[l] = ts;
            weights[l] = weight_of(a, r);
            if (!a->dz)
                continue;
            real scale = (real)a->scale * weights[l];
            v p = vset(ts / s), by = vset(scale);
            real *dz = (real *)a->dz + r * a->lddz;
            for (size_t j = 0; j < a->n; j += VW) {
                v e = t_exp(vload(z + j) - high), t = target_of(a, r, j, lanes);
                vstore(dz + j, vtail((e * p - t) * by, j, a->n, zero));
            }
        }
        total += weights * (mass * t_log(sums) - linear);
    }
    return (double)vsum(total);
}

#define DEFINE_LOSS(id, name, default_p, on_logits, value, slope)                                       \
    static double loss_##id(const cmlp_loss_args *a)                                                    \
    {                                                                                                   \
        const v zero = vset(R(0.0)), one = vset(R(1.0)), half = vset(R(0.5)), p = vset((real)a->param); \
        (void)one, (void)half, (void)p;                                                                 \
        v total = zero;                                                                                 \
        for (size_t r = 0; r < a->rows; r++) {                                                          \
            v w = vset(weight_of(a, r)), by = w * vset((real)a->scale);                                 \
            for (size_t j = 0; j < a->n; j += VW) {                                                     \
                v z = vload(row_of(a->z, r, a->ldz) + j), t = vload(row_of(a->t, r, a->ldt) + j);       \
                total += vtail(w * (value), j, a->n, zero);                                             \
                if (a->dz)                                                                              \
                    vstore((real *)a->dz + r * a->lddz + j, vtail(by * (slope), j, a->n, zero));        \
            }                                                                                           \
        }                                                                                               \
        return (double)vsum(total);                                                                     \
    }
CMLP_LOSSES(DEFINE_LOSS)

double CMLP_NAME(loss)(int id, const cmlp_loss_args *args)
{
    switch (id) {
    case CMLP_SOFTMAX_CROSS_ENTROPY:
        return softmax_cross_entropy(args);
#define LOSS_CASE(id, name, default_p, on_logits, value, slope)                                         \
    case CMLP_##id:                                                                                     \
        return loss_##id(args);
        CMLP_LOSSES(LOSS_CASE)
    default:
        return 0.0;
    }
}
