/* Losses of rows of outputs, and their gradients: softmax cross-entropy here, the elementwise ones from
 * losses.h.  A call's sum is taken lane by lane and then over the lanes: the same for the same rows. */
#include "kernels.h"
#include "vmath.h"

#include "../activations.h"
#include "../losses.h"

INLINE const real *row_of(const void *base, size_t r, size_t ld) { return (const real *)base + r * ld; }

INLINE real weight_of(const cmlp_loss_args *a, size_t r)
{
    return a->weight ? ((const real *)a->weight)[r] : R(1.0);
}

/* One output of some rows, or some outputs of a row: their targets, smoothed; t is 0 or 1, or as given. */
INLINE v smoothed(const cmlp_loss_args *a, v t)
{
    if (a->param == 0.0)
        return t;
    return vfma(t, vset((real)(1.0 - a->param)), vset((real)(a->param / (double)a->n)));
}

/* t z, but 0 where t is 0 and z infinite, as in the limit. */
INLINE v weighted(v t, v z) { return vsel(t == vset(R(0.0)), vset(R(0.0)), t * z); }

/* Up to VW rows from r0 of at most NARROW outputs: turned so that a lane is a row, nothing has to be summed
 * across lanes. */
static v cross_entropy_narrow(const cmlp_loss_args *args, size_t r0, size_t rows)
{
    const cmlp_loss_args copy = *args, *a = &copy;
    const v zero = vset(R(0.0)), one = vset(R(1.0));
    v z[NARROW], t[NARROW], label = zero, weight = zero;
    for (size_t j = 0; j < a->n; j += LANE) {
        vload_columns(row_of(a->z, r0, a->ldz) + j, a->ldz, rows, z + j);
        if (!a->labels)
            vload_columns(row_of(a->t, r0, a->ldt) + j, a->ldt, rows, t + j);
    }
    for (size_t i = 0; i < rows; i++) {
        if (a->labels)
            label[i] = (real)a->labels[r0 + i];
        weight[i] = weight_of(a, r0 + i);
    }
    v top = z[0], sum = zero, dot = zero, mass = zero;
    for (size_t j = 1; j < a->n; j++)
        top = vmax(top, z[j]);
    for (size_t j = 0; j < a->n; j++) {
        t[j] = smoothed(a, a->labels ? vsel(label == (real)j, one, zero) : t[j]);
        v shifted = z[j] - top;
        z[j] = t_exp(shifted);
        sum += z[j];
        dot += weighted(t[j], shifted);
        mass += t[j];
    }
    if (a->dz) {
        v p = mass / sum, by = weight * vset((real)a->scale);
        for (size_t j = 0; j < a->n; j++)
            z[j] = vfma(z[j], p, -t[j]) * by;
        const size_t padded = (a->n + VW - 1) / VW * VW;
        for (size_t j = a->n; j < padded; j++)
            z[j] = zero;
        for (size_t j = 0; j < padded; j += LANE)
            vstore_columns(z + j, rows, (real *)a->dz + r0 * a->lddz + j, a->lddz);
    }
    return weight * (mass * t_log(sum) - dot);
}

INLINE v target_of(const cmlp_loss_args *a, size_t r, size_t j, v lanes)
{
    v t = a->labels ? vsel(lanes == (real)(a->labels[r] - (int64_t)j), vset(R(1.0)), vset(R(0.0)))
                    : vload(row_of(a->t, r, a->ldt) + j);
    return vtail(smoothed(a, t), j, a->n, vset(R(0.0)));
}

/* One row of any width; the exponentials wait in dz. */
static real cross_entropy_row(const cmlp_loss_args *a, size_t r, v lanes)
{
    const v zero = vset(R(0.0));
    const real *z = row_of(a->z, r, a->ldz);
    real *dz = a->dz ? (real *)a->dz + r * a->lddz : NULL;
    v top = vtail(vload(z), 0, a->n, vset(z[0]));
    for (size_t j = VW; j < a->n; j += VW)
        top = vmax(top, vtail(vload(z + j), j, a->n, vset(z[0])));
    v high = vset(vmax_lane(top));
    long_sum sums = {0}, dots = {0}, masses = {0};
    for (size_t j = 0; j < a->n;) {
        const size_t end = block_end(j, a->n);
        v sum = zero, dot = zero, mass = zero;
        for (; j < end; j += VW) {
            v shifted = vload(z + j) - high, t = target_of(a, r, j, lanes);
            v e = vtail(t_exp(shifted), j, a->n, zero);
            sum += e;
            dot += weighted(t, shifted);
            mass += t;
            if (dz)
                vstore(dz + j, e);
        }
        add_block(&sums, sum), add_block(&dots, dot), add_block(&masses, mass);
    }
    real sum = vsum(sum_of(&sums)), mass = vsum(sum_of(&masses)), weight = weight_of(a, r);
    v p = vset(mass / sum), by = vset((real)a->scale * weight);
    for (size_t j = 0; dz && j < a->n; j += VW)
        vstore(dz + j, vtail(vfma(vload(dz + j), p, -target_of(a, r, j, lanes)) * by, j, a->n, zero));
    return weight * (mass * t_log(vset(sum))[0] - vsum(sum_of(&dots)));
}

/* loss = m log sum e^z - t z, dz = m softmax(z) - t, m the sum of a row's targets: 1 but for odd targets */
static double softmax_cross_entropy(const cmlp_loss_args *a)
{
    v lanes = __builtin_convertvector(vlanes(), v);
    if (a->n <= NARROW) {
        long_sum total = {0};
        for (size_t r = 0; r < a->rows; r += VW)
            add_block(&total, cross_entropy_narrow(a, r, a->rows - r < VW ? a->rows - r : VW));
        return (double)vsum(sum_of(&total));
    }
    cmlp_sum sum = {0};
    for (size_t r = 0; r < a->rows; r++)
        cmlp_sum_add(&sum, (double)cross_entropy_row(a, r, lanes));
    return cmlp_sum_value(&sum);
}

#define DEFINE_LOSS(id, name, default_p, on_logits, value, slope)                                       \
    static double loss_##id(const cmlp_loss_args *args)                                                 \
    {                                                                                                   \
        /* A copy that no store can change: its members stay in registers. */                           \
        const cmlp_loss_args copy = *args, *a = &copy;                                                  \
        const v zero = vset(R(0.0)), one = vset(R(1.0)), half = vset(R(0.5)), p = vset((real)a->param); \
        (void)one, (void)half, (void)p;                                                                 \
        long_sum total = {0};                                                                           \
        for (size_t r = 0; r < a->rows; r++) {                                                          \
            v w = vset(weight_of(a, r)), by = w * vset((real)a->scale);                                 \
            for (size_t j = 0; j < a->n;) {                                                             \
                const size_t end = block_end(j, a->n);                                                  \
                v sum = zero;                                                                           \
                for (; j < end; j += VW) {                                                              \
                    v z = vload(row_of(a->z, r, a->ldz) + j), t = vload(row_of(a->t, r, a->ldt) + j);   \
                    sum += vtail(w * (value), j, a->n, zero);                                           \
                    if (a->dz)                                                                          \
                        vstore((real *)a->dz + r * a->lddz + j, vtail(by * (slope), j, a->n, zero));    \
                }                                                                                       \
                add_block(&total, sum);                                                                 \
            }                                                                                           \
        }                                                                                               \
        return (double)vsum(sum_of(&total));                                                            \
    }
CMLP_LOSSES(DEFINE_LOSS)

static double elementwise(int id, const cmlp_loss_args *args)
{
    switch (id) {
#define LOSS_CASE(id, name, default_p, on_logits, value, slope)                                         \
    case CMLP_##id:                                                                                     \
        return loss_##id(args);
        CMLP_LOSSES(LOSS_CASE)
    default:
        return 0.0;
    }
}

/* Rows that fill an eighth of a vector at most, laid end to end: most lanes would compute for nothing. */
static double packed(int id, const cmlp_loss_args *args, size_t r0, size_t rows)
{
    real z[PACKED_ROWS * VBYTES / sizeof(real) / 8], t[PACKED_ROWS * VBYTES / sizeof(real) / 8];
    size_t n = args->n, j;
    for (size_t r = 0; r < rows; r++)
        for (j = 0; j < n; j++) {
            z[r * n + j] = row_of(args->z, r0 + r, args->ldz)[j];
            t[r * n + j] = row_of(args->t, r0 + r, args->ldt)[j];
        }
    cmlp_loss_args one = *args;
    one.rows = 1, one.n = rows * n, one.z = z, one.t = t;
    one.dz = args->dz ? z : NULL;
    double sum = elementwise(id, &one);
    for (size_t r = 0; args->dz && r < rows; r++) {
        real *dz = (real *)args->dz + (r0 + r) * args->lddz;
        vstore(dz, vset(R(0.0)));
        for (j = 0; j < n; j++)
            dz[j] = z[r * n + j];
    }
    return sum;
}

double CMLP_NAME(loss)(int id, const cmlp_loss_args *args)
{
    if (id == CMLP_SOFTMAX_CROSS_ENTROPY)
        return softmax_cross_entropy(args);
    if (args->weight || args->n * 8 > VW)
        return elementwise(id, args);
    cmlp_sum sum = {0};
    for (size_t r = 0; r < args->rows; r += PACKED_ROWS)
        cmlp_sum_add(&sum, packed(id, args, r, args->rows - r < PACKED_ROWS ? args->rows - r : PACKED_ROWS));
    return cmlp_sum_value(&sum);
}
