/* Layers: their parameters, packed, and the conversion to the user's layout. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* The widest panel, or one vector less where that leaves a fuller last panel. */
size_t cmlp_panel_width(const cmlp_kernels *k, size_t n)
{
    size_t vectors = (n + k->vw - 1) / k->vw, wide = k->nv_max, less = wide - 1;
    if (vectors <= wide)
        return vectors * k->vw;
    size_t rest = vectors % wide, rest_less = less ? vectors % less : 0;
    int prefer_less = less >= 2 && rest && (!rest_less || rest_less > rest);
    return (prefer_less ? less : wide) * k->vw;
}

static int spec_is_sound(const cmlp_layer_spec *s)
{
    if (!s->n_in || !s->n_out || s->n_in > SIZE_MAX / 64 / s->n_out)
        return 0;
    if (s->kind != CMLP_DENSE && s->n_in != s->n_out)
        return 0;
    return s->activation >= 0 && s->activation < CMLP_N_ACTIVATIONS;
}

cmlp_status cmlp_layer_new(cmlp_dtype dtype, const cmlp_layer_spec *spec, cmlp_layer **out)
{
    if (!spec_is_sound(spec))
        return CMLP_E_ARGUMENT;
    cmlp_layer *l = calloc(1, sizeof *l);
    if (!l)
        return CMLP_E_MEMORY;
    l->spec = *spec;
    l->k = cmlp_kernels_for(dtype);
    l->pad_in = cmlp_round_up(spec->n_in, l->k->vw);
    l->pad_out = cmlp_round_up(spec->n_out, l->k->vw);
    l->nr = cmlp_panel_width(l->k, spec->n_out);
    l->nr_t = cmlp_panel_width(l->k, spec->n_in);
    if (cmlp_has_weight(l))
        l->w = cmlp_alloc(cmlp_weight_size(l) * l->k->size);
    if (cmlp_has_weight(l) || cmlp_has_bias(l))
        l->b = cmlp_alloc(l->pad_out * l->k->size);
    if ((cmlp_has_weight(l) && !l->w) || ((cmlp_has_weight(l) || cmlp_has_bias(l)) && !l->b)) {
        cmlp_layer_free(l);
        return CMLP_E_MEMORY;
    }
    for (size_t j = 0; spec->kind == CMLP_PRELU && j < spec->n_out; j++) {
        if (dtype == CMLP_F32)
            ((float *)l->b)[j] = (float)spec->param[0];
        else
            ((double *)l->b)[j] = spec->param[0];
    }
    *out = l;
    return CMLP_OK;
}

void cmlp_layer_free(cmlp_layer *l)
{
    if (!l)
        return;
    cmlp_free(l->w);
    cmlp_free(l->b);
    cmlp_free(l->wt);
    cmlp_free(l->gw);
    cmlp_free(l->gb);
    free(l);
}

const cmlp_layer_spec *cmlp_layer_get_spec(const cmlp_layer *l) { return &l->spec; }
const char *cmlp_layer_isa(const cmlp_layer *l) { return l->k->isa; }

size_t cmlp_layer_count(const cmlp_layer *l, cmlp_part part)
{
    if (part == CMLP_WEIGHT)
        return cmlp_has_weight(l) ? l->spec.n_in * l->spec.n_out : 0;
    return cmlp_has_bias(l) ? l->spec.n_out : 0;
}

void cmlp_pack_part(const cmlp_layer *l, cmlp_part part, const void *values, void *packed)
{
    size_t n_out = l->spec.n_out, bytes = l->spec.n_in * l->k->size;
    if (part == CMLP_BIAS) {
        memcpy(packed, values, n_out * l->k->size);
        return;
    }
    for (size_t c0 = 0; c0 < n_out; c0 += l->nr)
        l->k->pack(l->spec.n_in, cmlp_min(l->nr, n_out - c0), cmlp_min(l->nr, l->pad_out - c0),
                   (const char *)values + c0 * bytes, (char *)packed + c0 * bytes);
}

void cmlp_unpack_part(const cmlp_layer *l, cmlp_part part, const void *packed, void *values)
{
    size_t n_out = l->spec.n_out, bytes = l->spec.n_in * l->k->size;
    if (!packed || part == CMLP_BIAS) {
        if (packed)
            memcpy(values, packed, n_out * l->k->size);
        else
            memset(values, 0, cmlp_layer_count(l, part) * l->k->size);
        return;
    }
    for (size_t c0 = 0; c0 < n_out; c0 += l->nr)
        l->k->unpack(l->spec.n_in, cmlp_min(l->nr, n_out - c0), cmlp_min(l->nr, l->pad_out - c0),
                     (const char *)packed + c0 * bytes, (char *)values + c0 * bytes);
}

void cmlp_layer_refresh(cmlp_layer *l)
{
    if (l->wt)
        l->k->transpose(l->spec.n_in, l->spec.n_out, l->nr, l->nr_t, 0, l->pad_out, 0, l->spec.n_in, l->w,
                        l->wt);
}

void cmlp_layer_set(cmlp_layer *l, cmlp_part part, const void *values)
{
    if (!cmlp_layer_count(l, part))
        return;
    cmlp_pack_part(l, part, values, part == CMLP_WEIGHT ? l->w : l->b);
    if (part == CMLP_WEIGHT)
        cmlp_layer_refresh(l);
}

void cmlp_layer_get(const cmlp_layer *l, cmlp_part part, void *values)
{
    if (cmlp_layer_count(l, part))
        cmlp_unpack_part(l, part, part == CMLP_WEIGHT ? l->w : l->b, values);
}

cmlp_status cmlp_layer_need_transpose(cmlp_layer *l)
{
    if (l->wt || !cmlp_has_weight(l))
        return CMLP_OK;
    l->wt = cmlp_alloc(l->pad_in * l->spec.n_out * l->k->size);
    if (!l->wt)
        return CMLP_E_MEMORY;
    cmlp_layer_refresh(l);
    return CMLP_OK;
}

cmlp_status cmlp_layer_need_grad(cmlp_layer *l)
{
    if (cmlp_has_weight(l) && !l->gw && !(l->gw = cmlp_alloc(cmlp_weight_size(l) * l->k->size)))
        return CMLP_E_MEMORY;
    if (cmlp_has_bias(l) && !l->gb && !(l->gb = cmlp_alloc(l->pad_out * l->k->size)))
        return CMLP_E_MEMORY;
    return CMLP_OK;
}

cmlp_status cmlp_layer_set_grad(cmlp_layer *l, cmlp_part part, const void *values)
{
    if (cmlp_layer_need_grad(l))
        return CMLP_E_MEMORY;
    if (cmlp_layer_count(l, part))
        cmlp_pack_part(l, part, values, part == CMLP_WEIGHT ? l->gw : l->gb);
    return CMLP_OK;
}

void cmlp_layer_get_grad(const cmlp_layer *l, cmlp_part part, void *values)
{
    if (cmlp_layer_count(l, part))
        cmlp_unpack_part(l, part, part == CMLP_WEIGHT ? l->gw : l->gb, values);
}

/* All layers or none. */
int cmlp_layers_claim(cmlp_layer *const *layers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (atomic_exchange(&layers[i]->busy, 1)) {
            cmlp_layers_release(layers, i);
            return 0;
        }
    return 1;
}

void cmlp_layers_release(cmlp_layer *const *layers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        atomic_store(&layers[i]->busy, 0);
}
