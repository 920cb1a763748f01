/* Optimizers: settings, state, and the unfused step from gradients that lie in the layers. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

static cmlp_status make_slots(const cmlp_layer *l, int n, cmlp_slots *slots)
{
    for (int s = 0; s < n; s++) {
        if (cmlp_has_weight(l) && !(slots->w[s] = cmlp_alloc(cmlp_weight_size(l) * l->k->size)))
            return CMLP_E_MEMORY;
        if (cmlp_has_bias(l) && !(slots->b[s] = cmlp_alloc(l->pad_out * l->k->size)))
            return CMLP_E_MEMORY;
    }
    return CMLP_OK;
}

cmlp_status cmlp_optimizer_new(const cmlp_optimizer_spec *spec, cmlp_layer *const *layers, size_t n_layers,
                               cmlp_optimizer **out)
{
    if (spec->kind < 0 || spec->kind >= CMLP_N_OPTIMIZERS || !n_layers)
        return CMLP_E_ARGUMENT;
    cmlp_optimizer *o = calloc(1, sizeof *o);
    if (!o)
        return CMLP_E_MEMORY;
    o->spec = *spec;
    o->layers = calloc(n_layers, sizeof *o->layers);
    o->slots = calloc(n_layers, sizeof *o->slots);
    cmlp_status status = o->layers && o->slots ? CMLP_OK : CMLP_E_MEMORY;
    o->n_layers = status ? 0 : n_layers;
    for (size_t i = 0; i < o->n_layers; i++)
        o->layers[i] = layers[i];
    for (size_t i = 0; i < o->n_layers && !status; i++)
        status = make_slots(layers[i], cmlp_optimizer_slots(spec->kind), &o->slots[i]);
    if (status) {
        cmlp_optimizer_free(o);
        return status;
    }
    *out = o;
    return CMLP_OK;
}

void cmlp_optimizer_free(cmlp_optimizer *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < o->n_layers; i++)
        for (int s = 0; s < 2; s++) {
            cmlp_free(o->slots[i].w[s]);
            cmlp_free(o->slots[i].b[s]);
        }
    free(o->slots);
    free(o->layers);
    free(o);
}

cmlp_optimizer_spec *cmlp_optimizer_settings(cmlp_optimizer *o) { return &o->spec; }
uint64_t cmlp_optimizer_steps(const cmlp_optimizer *o) { return o->steps; }
void cmlp_optimizer_set_steps(cmlp_optimizer *o, uint64_t steps) { o->steps = steps; }

void cmlp_optimizer_get_slot(const cmlp_optimizer *o, int slot, size_t layer, cmlp_part part, void *values)
{
    const cmlp_slots *s = &o->slots[layer];
    if (cmlp_layer_count(o->layers[layer], part))
        cmlp_unpack_part(o->layers[layer], part, part == CMLP_WEIGHT ? s->w[slot] : s->b[slot], values);
}

void cmlp_optimizer_set_slot(cmlp_optimizer *o, int slot, size_t layer, cmlp_part part, const void *values)
{
    cmlp_slots *s = &o->slots[layer];
    if (cmlp_layer_count(o->layers[layer], part))
        cmlp_pack_part(o->layers[layer], part, values, part == CMLP_WEIGHT ? s->w[slot] : s->b[slot]);
}

cmlp_update_args cmlp_weight_args(const cmlp_optimizer_spec *s, uint64_t t, double lr, double momentum,
                                  double mass)
{
    double over = s->decay_over_batch != 0.0 && mass > 0.0 ? 1.0 / mass : 1.0;
    cmlp_update_args a = {.kind = s->kind,
                          .nesterov = s->nesterov != 0.0,
                          .lr = lr,
                          .momentum = momentum,
                          .decay = s->weight_decay * over,
                          .l1 = s->l1 * over,
                          .beta1 = s->beta1,
                          .beta2 = s->kind == CMLP_RMSPROP ? s->rho : s->beta2,
                          .eps = s->eps,
                          .clip = s->clip_value,
                          .gscale = 1.0};
    if (s->kind == CMLP_ADAM || s->kind == CMLP_ADAMW) {
        double root = sqrt(1.0 - pow(s->beta2, (double)t));
        a.lr = lr * root / (1.0 - pow(s->beta1, (double)t));
        a.eps = s->eps_inside != 0.0 ? s->eps : s->eps * root;
    }
    if (s->kind == CMLP_ADAMW) {
        a.shrink = lr * a.decay;
        a.decay = 0.0;
    }
    return a;
}

cmlp_update_args cmlp_bias_args(cmlp_update_args a)
{
    a.decay = a.l1 = a.shrink = 0.0;
    return a;
}

/* Norm of all gradients as one vector. */
static double gradient_norm(const cmlp_optimizer *o)
{
    double sum = 0.0;
    for (size_t i = 0; i < o->n_layers; i++) {
        const cmlp_layer *l = o->layers[i];
        if (l->gw)
            sum += l->k->sum_squares(cmlp_weight_size(l), l->gw);
        if (l->gb)
            sum += l->k->sum_squares(l->pad_out, l->gb);
    }
    return sqrt(sum);
}

typedef struct {
    cmlp_optimizer *opt;
    double lr;
} one_step;

static void step_share(void *ctx, int thread, int n_threads)
{
    (void)thread, (void)n_threads;
    const one_step *c = ctx;
    cmlp_optimizer *o = c->opt;
    cmlp_update_args args = cmlp_weight_args(&o->spec, o->steps, c->lr, o->spec.momentum, 1.0);
    double norm = o->spec.clip_norm > 0.0 ? gradient_norm(o) : 0.0;
    if (norm > o->spec.clip_norm && norm > 0.0)
        args.gscale = o->spec.clip_norm / norm;
    cmlp_update_args bias_args = cmlp_bias_args(args);
    for (size_t i = 0; i < o->n_layers; i++) {
        cmlp_layer *l = o->layers[i];
        cmlp_slots *s = &o->slots[i];
        if (l->gw)
            l->k->update(cmlp_weight_size(l), l->w, l->gw, s->w[0], s->w[1], &args);
        if (l->gb)
            l->k->update(l->pad_out, l->b, l->gb, s->b[0], s->b[1], &bias_args);
        cmlp_layer_refresh(l);
    }
}

cmlp_status cmlp_optimizer_step(cmlp_optimizer *o, double lr)
{
    if (!cmlp_layers_claim(o->layers, o->n_layers))
        return CMLP_E_BUSY;
    o->steps++;
    one_step c = {o, lr};
    cmlp_parallel(1, step_share, &c);
    cmlp_layers_release(o->layers, o->n_layers);
    return CMLP_OK;
}
