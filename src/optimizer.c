/* Optimizers: settings, state, and the unfused step from gradients that lie in the layers. */
#include "layer.h"

#include <math.h>
#include <stdlib.h>

/* ---- settings ---- */

cmlp_optimizer_spec cmlp_optimizer_defaults(int kind)
{
    int is_adam = kind == CMLP_ADAM || kind == CMLP_ADAMW;
    return (cmlp_optimizer_spec){.kind = kind,
                                 .weight_decay = kind == CMLP_ADAMW ? 0.01 : 0.0,
                                 .beta1 = is_adam ? 0.9 : 0.0,
                                 .beta2 = is_adam ? 0.999 : 0.0,
                                 .eps = kind == CMLP_ADAGRAD ? 1e-10
                                        : kind == CMLP_SGD   ? 0.0
                                                             : 1e-8,
                                 .rho = kind == CMLP_RMSPROP    ? 0.9
                                        : kind == CMLP_ADADELTA ? 0.95
                                                                : 0.0};
}

/* A setting's range, from low on; below one, or finite. */
typedef struct {
    const char *name;
    double value, low;
    int above, below_one;
} setting;

cmlp_status cmlp_check_optimizer_spec(const cmlp_optimizer_spec *s)
{
    if (s->kind < 0 || s->kind >= CMLP_N_OPTIMIZERS)
        return cmlp_fail(CMLP_E_ARGUMENT, "spec->kind is %d; expected a cmlp_optimizer_kind", s->kind);
    const setting settings[] = {{"momentum", s->momentum, 0.0, 0, 1},
                                {"beta1", s->beta1, 0.0, 0, 1},
                                {"beta2", s->beta2, 0.0, 0, 1},
                                {"rho", s->rho, 0.0, 0, 1},
                                {"eps", s->eps, 0.0, s->kind != CMLP_SGD, 0},
                                {"weight_decay", s->weight_decay, 0.0, 0, 0},
                                {"l1", s->l1, 0.0, 0, 0},
                                {"clip_value", s->clip_value, 0.0, 0, 0},
                                {"clip_norm", s->clip_norm, 0.0, 0, 0}};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        const setting *t = &settings[i];
        double high = t->below_one ? 1.0 : HUGE_VAL;
        if (t->value >= t->low && t->value < high && !(t->above && t->value == t->low))
            continue;
        return cmlp_fail(
            CMLP_E_ARGUMENT,
            "spec->%s is %g; expected %s %g and below %g (cmlp_optimizer_defaults has the usual values)",
            t->name, t->value, t->above ? "above" : "at least", t->low, high);
    }
    return CMLP_OK;
}

cmlp_status cmlp_check_rate(const char *name, double value)
{
    return isfinite(value) ? CMLP_OK
                           : cmlp_fail(CMLP_E_ARGUMENT, "%s is %g; expected a finite number", name, value);
}

/* ---- state ---- */

static size_t lay_out(cmlp_optimizer *o)
{
    part_layout parts[CMLP_MOST_PARTS];
    size_t bytes = 0;
    for (size_t i = 0; i < o->n_layers; i++) {
        size_t n = cmlp_lay_out_parts(o->layers[i]->k, &o->layers[i]->spec, parts, &bytes);
        for (size_t part = 0; part < n; part++)
            o->offsets[i][part] = parts[part].offset;
    }
    return bytes;
}

/* Where a part's values of a slot start; NULL where the optimizer has no such slot. */
static char *slot_of(const cmlp_optimizer *o, int slot, size_t layer, int part)
{
    return o->slots[slot] ? o->slots[slot] + o->offsets[layer][part] : NULL;
}

static cmlp_status build(cmlp_optimizer *o, cmlp_layer *const *layers, size_t n_layers)
{
    o->layers = calloc(n_layers, sizeof *o->layers);
    o->offsets = calloc(n_layers, sizeof *o->offsets);
    if (!o->layers || !o->offsets)
        return cmlp_no_memory();
    o->n_layers = n_layers;
    for (size_t i = 0; i < n_layers; i++)
        o->layers[i] = layers[i];
    size_t bytes = lay_out(o);
    for (int slot = 0; slot < cmlp_optimizer_slots(o->spec.kind); slot++)
        if (!(o->slots[slot] = cmlp_alloc(bytes)))
            return cmlp_no_memory();
    return CMLP_OK;
}

cmlp_status cmlp_optimizer_new(const cmlp_optimizer_spec *spec, cmlp_layer *const *layers, size_t n_layers,
                               cmlp_optimizer **out)
{
    NEED(spec);
    NEED(out);
    cmlp_status status = cmlp_check_optimizer_spec(spec);
    if (!status)
        status = cmlp_check_layers(layers, n_layers);
    if (!status && !n_layers)
        status = cmlp_fail(CMLP_E_ARGUMENT, "n_layers is 0; expected 1 or more");
    if (status)
        return status;
    cmlp_optimizer *o = calloc(1, sizeof *o);
    if (!o)
        return cmlp_no_memory();
    o->spec = *spec;
    status = build(o, layers, n_layers);
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
    cmlp_free(o->slots[0]);
    cmlp_free(o->slots[1]);
    free(o->offsets);
    free(o->layers);
    free(o);
}

cmlp_optimizer_spec *cmlp_optimizer_settings(cmlp_optimizer *o) { return &o->spec; }
uint64_t cmlp_optimizer_steps(const cmlp_optimizer *o) { return o->steps; }
void cmlp_optimizer_set_steps(cmlp_optimizer *o, uint64_t steps) { o->steps = steps; }

static cmlp_status check_slot(const cmlp_optimizer *optimizer, int slot, const void *values)
{
    NEED(optimizer);
    NEED(values);
    if (slot < 0 || slot >= cmlp_optimizer_slots(optimizer->spec.kind))
        return cmlp_fail(CMLP_E_ARGUMENT, "slot is %d; expected less than %d, the slots of %s", slot,
                         cmlp_optimizer_slots(optimizer->spec.kind),
                         cmlp_optimizer_name(optimizer->spec.kind));
    return CMLP_OK;
}

cmlp_status cmlp_optimizer_get_slot(const cmlp_optimizer *o, int slot, void *values)
{
    cmlp_status status = check_slot(o, slot, values);
    if (status)
        return status;
    char *to = values;
    for (size_t i = 0; i < o->n_layers; i++) {
        const cmlp_layer *l = o->layers[i];
        for (int part = 0; part < l->n_parts; part++) {
            cmlp_unpack(l->k, &l->layout[part].panels, slot_of(o, slot, i, part), to);
            to += cmlp_layer_count(l, part) * l->k->size;
        }
    }
    return CMLP_OK;
}

cmlp_status cmlp_optimizer_set_slot(cmlp_optimizer *o, int slot, const void *values)
{
    cmlp_status status = check_slot(o, slot, values);
    if (status)
        return status;
    const char *from = values;
    for (size_t i = 0; i < o->n_layers; i++) {
        const cmlp_layer *l = o->layers[i];
        for (int part = 0; part < l->n_parts; part++) {
            cmlp_pack(l->k, &l->layout[part].panels, from, slot_of(o, slot, i, part));
            from += cmlp_layer_count(l, part) * l->k->size;
        }
    }
    return CMLP_OK;
}

void cmlp_step_args(const cmlp_optimizer_spec *s, uint64_t t, double lr, double momentum, size_t rows,
                    cmlp_update_args args[2])
{
    double over = s->decay_over_batch != 0.0 ? 1.0 / (double)rows : 1.0;
    double decay = s->weight_decay * over, rate = lr, eps = s->eps;
    if (s->kind == CMLP_ADAM || s->kind == CMLP_ADAMW) {
        double root = sqrt(1.0 - pow(s->beta2, (double)t));
        rate = lr * root / (1.0 - pow(s->beta1, (double)t));
        eps = s->eps_inside != 0.0 ? s->eps : s->eps * root;
    }
    for (int decays = 0; decays < 2; decays++) {
        cmlp_update_args *a = &args[decays];
        a->kind = s->kind;
        a->nesterov = s->nesterov != 0.0;
        a->lr = rate;
        a->momentum = momentum;
        a->decay = decays && s->kind != CMLP_ADAMW ? decay : 0.0;
        a->l1 = decays ? s->l1 * over : 0.0;
        a->beta1 = s->beta1;
        a->beta2 = s->kind == CMLP_RMSPROP || s->kind == CMLP_ADADELTA ? s->rho : s->beta2;
        a->eps = eps;
        a->shrink = decays && s->kind == CMLP_ADAMW ? lr * decay : 0.0;
        a->clip = s->clip_value;
        a->gscale = 1.0;
    }
}

/* Norm of the gradients of all trainable layers as one vector. */
static double gradient_norm(const cmlp_optimizer *o)
{
    double sum = 0.0;
    for (size_t i = 0; i < o->n_layers; i++) {
        const cmlp_layer *l = o->layers[i];
        for (int part = 0; l->trainable && part < l->n_parts; part++)
            if (l->parts[part].gradient)
                sum += l->k->sum_squares(panels_size(&l->layout[part].panels), l->parts[part].gradient);
    }
    return sqrt(sum);
}

typedef struct {
    cmlp_optimizer *opt;
    double lr;
    size_t rows;
} one_step;

static void step_share(void *ctx, int thread, int n_threads)
{
    (void)thread, (void)n_threads;
    const one_step *c = ctx;
    cmlp_optimizer *o = c->opt;
    cmlp_update_args args[2];
    cmlp_step_args(&o->spec, o->steps, c->lr, o->spec.momentum, c->rows, args);
    double norm = o->spec.clip_norm > 0.0 ? gradient_norm(o) : 0.0;
    if (norm > o->spec.clip_norm && norm > 0.0)
        args[0].gscale = args[1].gscale = o->spec.clip_norm / norm;
    for (size_t i = 0; i < o->n_layers; i++) {
        cmlp_layer *l = o->layers[i];
        for (int part = 0; l->trainable && part < l->n_parts; part++)
            if (l->parts[part].gradient)
                l->k->update(panels_size(&l->layout[part].panels), l->parts[part].value,
                             l->parts[part].gradient, slot_of(o, 0, i, part), slot_of(o, 1, i, part),
                             &args[l->layout[part].info.decays]);
        cmlp_layer_refresh(l);
    }
}

cmlp_status cmlp_optimizer_step(cmlp_optimizer *o, double lr, size_t rows)
{
    NEED(o);
    cmlp_status status = cmlp_check_optimizer_spec(&o->spec);
    if (!status)
        status = cmlp_check_rate("lr", lr);
    if (!status && !rows)
        status = cmlp_fail(CMLP_E_ARGUMENT, "rows is 0; expected 1 or more");
    if (!status)
        status = cmlp_layers_hold(o->layers, o->n_layers);
    if (status)
        return status;
    o->steps++;
    one_step c = {o, lr, rows};
    cmlp_parallel(1, step_share, &c);
    cmlp_layers_release(o->layers, o->n_layers);
    return CMLP_OK;
}
