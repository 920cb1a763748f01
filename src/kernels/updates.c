/* The optimizers' steps over a range of packed parameters, from updates.h. */
#include "kernels.h"
#include "vmath.h"

#include "../updates.h"

/* The settings as vectors, made once a call. */
typedef struct {
    v lr, momentum, beta1, beta2, rest1, rest2, eps, shrink, decay, l1, clip, gscale;
} settings;

INLINE settings settings_of(const cmlp_update_args *a)
{
    /* 1 - beta is taken before it is rounded: in float32 half of its digits would be lost. */
    return (settings){.lr = vset((real)a->lr),
                      .momentum = vset((real)a->momentum),
                      .beta1 = vset((real)a->beta1),
                      .beta2 = vset((real)a->beta2),
                      .rest1 = vset((real)(1.0 - a->beta1)),
                      .rest2 = vset((real)(1.0 - a->beta2)),
                      .eps = vset((real)a->eps),
                      .shrink = vset((real)a->shrink),
                      .decay = vset((real)a->decay),
                      .l1 = vset((real)a->l1),
                      .clip = vset((real)a->clip),
                      .gscale = vset((real)a->gscale)};
}

/* How much there is to prepare.  Constants where they are used, so that no loop tests them. */
enum { NOTHING, DECAY, ALL };

/* The gradient as the rule sees it: scaled, clipped, with the slopes of decay w^2/2 and l1 |w| added. */
INLINE v prepared(v g, v w, const settings *set, const int what, int clipped)
{
    const v zero = vset(R(0.0));
    if (what == NOTHING)
        return g;
    g = g * set->gscale;
    if (what == DECAY)
        return vfma(set->decay, w, g);
    if (clipped)
        g = vclamp(g, -set->clip, set->clip);
    g = vfma(set->decay, w, g);
    return g + vsel_lt(w, zero, -set->l1, vsel_lt(zero, w, set->l1, zero));
}

#define DEFINE_UPDATE(id, name, first, second, body)                                                            \
    INLINE void step_##id(v *w_, v g, v *s1_, v *s2_, const settings *set, const int nesterov)          \
    {                                                                                                   \
        const v lr = set->lr, momentum = set->momentum, beta1 = set->beta1, beta2 = set->beta2,         \
                rest1 = set->rest1, rest2 = set->rest2, eps = set->eps, shrink = set->shrink;           \
        v w = *w_, s1 = *s1_, s2 = *s2_;                                                                \
        (void)momentum, (void)beta1, (void)beta2, (void)rest1, (void)rest2, (void)eps, (void)shrink;    \
        (void)nesterov;                                                                                 \
        body;                                                                                           \
        *w_ = w, *s1_ = s1, *s2_ = s2;                                                                  \
    }                                                                                                   \
    INLINE void loop_##id(size_t n, real *w, const real *g, real *s1, real *s2, settings set,           \
                          const int what, const int clipped, const int nesterov)                        \
    {                                                                                                   \
        size_t i = 0;                                                                                   \
        for (; i + VW <= n; i += VW) {                                                                  \
            v c = vload(w + i), d = vload(g + i), a = c, b = c;                                         \
            if (CMLP_SLOTS(first, second) > 0)                                                                              \
                a = vload(s1 + i);                                                                      \
            if (CMLP_SLOTS(first, second) > 1)                                                                              \
                b = vload(s2 + i);                                                                      \
            d = prepared(d, c, &set, what, clipped);                                                    \
            step_##id(&c, d, &a, &b, &set, nesterov);                                                   \
            vstore(w + i, c);                                                                           \
            if (CMLP_SLOTS(first, second) > 0)                                                                              \
                vstore(s1 + i, a);                                                                      \
            if (CMLP_SLOTS(first, second) > 1)                                                                              \
                vstore(s2 + i, b);                                                                      \
        }                                                                                               \
        if (i == n)                                                                                     \
            return;                                                                                     \
        size_t left = n - i;                                                                            \
        v c = vload_part(w + i, left), d = vload_part(g + i, left), a = c, b = c;                       \
        if (CMLP_SLOTS(first, second) > 0)                                                                                  \
            a = vload_part(s1 + i, left);                                                               \
        if (CMLP_SLOTS(first, second) > 1)                                                                                  \
            b = vload_part(s2 + i, left);                                                               \
        d = prepared(d, c, &set, what, clipped);                                                        \
        step_##id(&c, d, &a, &b, &set, nesterov);                                                       \
        vstore_part(w + i, c, left);                                                                    \
        if (CMLP_SLOTS(first, second) > 0)                                                                                  \
            vstore_part(s1 + i, a, left);                                                               \
        if (CMLP_SLOTS(first, second) > 1)                                                                                  \
            vstore_part(s2 + i, b, left);                                                               \
    }                                                                                                   \
    static void update_##id(size_t n, real *w, const real *g, real *s1, real *s2,                       \
                            const cmlp_update_args *args)                                               \
    {                                                                                                   \
        settings set = settings_of(args);                                                               \
        int simple = args->clip == 0.0 && args->l1 == 0.0 && !args->nesterov;                           \
        if (simple && args->decay == 0.0 && args->gscale == 1.0)                                        \
            loop_##id(n, w, g, s1, s2, set, NOTHING, 0, 0);                                             \
        else if (simple)                                                                                \
            loop_##id(n, w, g, s1, s2, set, DECAY, 0, 0);                                               \
        else                                                                                            \
            loop_##id(n, w, g, s1, s2, set, ALL, args->clip != 0.0, args->nesterov);                    \
    }
CMLP_OPTIMIZERS(DEFINE_UPDATE)

void CMLP_NAME(update)(size_t n, void *w, const void *g, void *s1, void *s2, const cmlp_update_args *args)
{
    switch (args->kind) {
#define UPDATE_CASE(id, name, first, second, body)                                                              \
    case CMLP_##id:                                                                                     \
        update_##id(n, w, g, s1, s2, args);                                                             \
        break;
        CMLP_OPTIMIZERS(UPDATE_CASE)
    }
}
