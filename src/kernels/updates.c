/* The optimizers' steps over a range of packed parameters, from updates.h. */
#include "kernels.h"
#include "vmath.h"

#include "../cmlp.h"
#include "../updates.h"

/* The gradient as the rule sees it: scaled, clipped, with the slopes of decay w^2/2 and l1 |w| added. */
INLINE v prepared(v g, v w, const cmlp_update_args *args)
{
    const v zero = vset(R(0.0));
    if (args->gscale != 1.0)
        g = g * vset((real)args->gscale);
    if (args->clip != 0.0)
        g = vclamp(g, vset((real)-args->clip), vset((real)args->clip));
    if (args->decay != 0.0)
        g = vfma(vset((real)args->decay), w, g);
    if (args->l1 != 0.0) {
        v l1 = vset((real)args->l1);
        g = g + vsel_lt(w, zero, -l1, vsel_lt(zero, w, l1, zero));
    }
    return g;
}

#define DEFINE_UPDATE(id, name, slots, body)                                                            \
    INLINE void step_##id(v *w_, v g, v *s1_, v *s2_, const cmlp_update_args *args)                     \
    {                                                                                                   \
        const v lr = vset((real)args->lr), momentum = vset((real)args->momentum),                       \
                beta1 = vset((real)args->beta1), beta2 = vset((real)args->beta2),                       \
                eps = vset((real)args->eps), shrink = vset((real)args->shrink), one = vset(R(1.0));     \
        v w = *w_, s1 = *s1_, s2 = *s2_;                                                                \
        (void)momentum, (void)beta1, (void)beta2, (void)eps, (void)shrink, (void)one;                   \
        body;                                                                                           \
        *w_ = w, *s1_ = s1, *s2_ = s2;                                                                  \
    }                                                                                                   \
    static void update_##id(size_t n, real *w, const real *g, real *s1, real *s2,                       \
                            const cmlp_update_args *args)                                               \
    {                                                                                                   \
        for (size_t i = 0; i < n; i += VW) {                                                            \
            size_t left = n - i;                                                                        \
            int whole = left >= VW;                                                                     \
            v a = vset(R(0.0)), b = a, c = whole ? vload(w + i) : vload_part(w + i, left);              \
            v d = whole ? vload(g + i) : vload_part(g + i, left);                                       \
            if (slots > 0)                                                                              \
                a = whole ? vload(s1 + i) : vload_part(s1 + i, left);                                   \
            if (slots > 1)                                                                              \
                b = whole ? vload(s2 + i) : vload_part(s2 + i, left);                                   \
            step_##id(&c, prepared(d, c, args), &a, &b, args);                                          \
            if (whole) {                                                                                \
                vstore(w + i, c);                                                                       \
                if (slots > 0)                                                                          \
                    vstore(s1 + i, a);                                                                  \
                if (slots > 1)                                                                          \
                    vstore(s2 + i, b);                                                                  \
                continue;                                                                               \
            }                                                                                           \
            vstore_part(w + i, c, left);                                                                \
            if (slots > 0)                                                                              \
                vstore_part(s1 + i, a, left);                                                           \
            if (slots > 1)                                                                              \
                vstore_part(s2 + i, b, left);                                                           \
        }                                                                                               \
    }
CMLP_OPTIMIZERS(DEFINE_UPDATE)

void CMLP_NAME(update)(size_t n, void *w, const void *g, void *s1, void *s2, const cmlp_update_args *args)
{
    switch (args->kind) {
#define UPDATE_CASE(id, name, slots, body)                                                              \
    case CMLP_##id:                                                                                     \
        update_##id(n, w, g, s1, s2, args);                                                             \
        break;
        CMLP_OPTIMIZERS(UPDATE_CASE)
    }
}
