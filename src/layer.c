/* Layers: their parameters, packed, and the conversion to the user's layout. */
#include "layer.h"

#include <stdlib.h>
#include <string.h>

struct home {
    atomic_size_t users;
    size_t bytes;
    char *values, *gradients;
};

static home *home_new(size_t bytes)
{
    home *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->bytes = bytes;
    h->values = cmlp_alloc(bytes);
    if (h->values)
        return h;
    free(h);
    return NULL;
}

static void home_leave(home *h)
{
    if (!h || atomic_fetch_sub(&h->users, 1) > 1)
        return;
    cmlp_free(h->values);
    cmlp_free(h->gradients);
    free(h);
}

static int spec_is_sound(const cmlp_layer_spec *s)
{
    const layer_kind *kind = cmlp_kind((int)s->kind);
    return kind && s->n_in && s->n_out && s->n_in <= SIZE_MAX / 4096 && s->n_out <= SIZE_MAX / 4096 &&
           s->activation >= 0 && s->activation < CMLP_N_ACTIVATIONS && kind->is_sound(s);
}

static void point_into(cmlp_layer *l, home *h)
{
    for (int i = 0; i < l->n_parts; i++) {
        l->parts[i].value = h->values + l->layout[i].offset;
        l->parts[i].gradient = h->gradients ? h->gradients + l->layout[i].offset : NULL;
    }
    l->home = h;
    atomic_fetch_add(&h->users, 1);
}

static void fill(const cmlp_kernels *k, size_t n, double value, void *to)
{
    for (size_t j = 0; value != 0.0 && j < n; j++) {
        if (k->size == sizeof(float))
            ((float *)to)[j] = (float)value;
        else
            ((double *)to)[j] = value;
    }
}

cmlp_status cmlp_layer_new(cmlp_dtype dtype, const cmlp_layer_spec *spec, cmlp_layer **out)
{
    if (!spec_is_sound(spec))
        return CMLP_E_ARGUMENT;
    cmlp_layer *l = calloc(1, sizeof *l);
    if (!l)
        return CMLP_E_MEMORY;
    size_t bytes = 0;
    l->spec = *spec;
    l->kind = cmlp_kind((int)spec->kind);
    l->k = cmlp_kernels_for(dtype);
    l->trainable = 1;
    l->n_parts = (int)cmlp_lay_out_parts(l->k, spec, l->layout, &bytes);
    home *h = bytes ? home_new(bytes) : NULL;
    if (bytes && !h) {
        free(l);
        return CMLP_E_MEMORY;
    }
    if (h)
        point_into(l, h);
    for (int i = 0; i < l->n_parts; i++)
        fill(l->k, cmlp_layer_count(l, i), l->layout[i].info.start, l->parts[i].value);
    *out = l;
    return CMLP_OK;
}

void cmlp_layer_free(cmlp_layer *l)
{
    if (!l)
        return;
    for (int i = 0; i < l->n_parts; i++)
        cmlp_free(l->parts[i].transpose);
    home_leave(l->home);
    free(l);
}

const cmlp_layer_spec *cmlp_layer_get_spec(const cmlp_layer *l) { return &l->spec; }
const char *cmlp_layer_isa(const cmlp_layer *l) { return l->k->isa; }
int cmlp_layer_parts(const cmlp_layer *l) { return l->n_parts; }
int cmlp_layer_trainable(const cmlp_layer *l) { return l->trainable; }

const cmlp_part *cmlp_layer_part(const cmlp_layer *l, int part)
{
    return part >= 0 && part < l->n_parts ? &l->layout[part].info : NULL;
}

size_t cmlp_layer_count(const cmlp_layer *l, int part)
{
    return cmlp_layer_part(l, part) ? l->layout[part].panels.rows * l->layout[part].panels.columns : 0;
}

void cmlp_layer_refresh(cmlp_layer *l)
{
    for (int i = 0; i < l->n_parts; i++) {
        const part_layout *part = &l->layout[i];
        cmlp_block all = {0, part->panels.padded, 0, part->panels.rows};
        if (l->parts[i].transpose)
            cmlp_transpose_block(l->k, &part->panels, &part->turned, &all, l->parts[i].value,
                                 l->parts[i].transpose);
    }
}

void cmlp_layer_set(cmlp_layer *l, int part, const void *values)
{
    if (!cmlp_layer_part(l, part))
        return;
    cmlp_pack(l->k, &l->layout[part].panels, values, l->parts[part].value);
    cmlp_layer_refresh(l);
}

void cmlp_layer_get(const cmlp_layer *l, int part, void *values)
{
    if (cmlp_layer_part(l, part))
        cmlp_unpack(l->k, &l->layout[part].panels, l->parts[part].value, values);
}

cmlp_status cmlp_layer_need_transpose(cmlp_layer *l)
{
    if (!l->kind->uses_transpose || l->parts[0].transpose)
        return CMLP_OK;
    l->parts[0].transpose = cmlp_alloc(panels_size(&l->layout[0].turned) * l->k->size);
    if (!l->parts[0].transpose)
        return CMLP_E_MEMORY;
    cmlp_layer_refresh(l);
    return CMLP_OK;
}

cmlp_status cmlp_layer_need_gradients(cmlp_layer *l)
{
    home *h = l->home;
    if (h && !h->gradients)
        h->gradients = cmlp_alloc(h->bytes);
    if (h && !h->gradients)
        return CMLP_E_MEMORY;
    for (int i = 0; i < l->n_parts; i++)
        l->parts[i].gradient = h->gradients + l->layout[i].offset;
    return CMLP_OK;
}

cmlp_status cmlp_layer_set_grad(cmlp_layer *l, int part, const void *values)
{
    if (cmlp_layer_need_gradients(l))
        return CMLP_E_MEMORY;
    if (cmlp_layer_part(l, part))
        cmlp_pack(l->k, &l->layout[part].panels, values, l->parts[part].gradient);
    return CMLP_OK;
}

void cmlp_layer_get_grad(const cmlp_layer *l, int part, void *values)
{
    if (!cmlp_layer_part(l, part))
        return;
    if (l->parts[part].gradient)
        cmlp_unpack(l->k, &l->layout[part].panels, l->parts[part].gradient, values);
    else
        memset(values, 0, cmlp_layer_count(l, part) * l->k->size);
}

void cmlp_layer_set_trainable(cmlp_layer *l, int on)
{
    l->trainable = on;
    for (int i = 0; !on && i < l->n_parts; i++)
        if (l->parts[i].gradient)
            memset(l->parts[i].gradient, 0, panels_size(&l->layout[i].panels) * l->k->size);
}

/* ---- the layers of a net ---- */

static void move(cmlp_layer *l, home *to, size_t *bytes)
{
    part_memory before[CMLP_MOST_PARTS];
    home *from = l->home;
    memcpy(before, l->parts, sizeof before);
    cmlp_lay_out_parts(l->k, &l->spec, l->layout, bytes);
    point_into(l, to);
    for (int i = 0; i < l->n_parts; i++) {
        size_t size = panels_size(&l->layout[i].panels) * l->k->size;
        memcpy(l->parts[i].value, before[i].value, size);
        if (l->parts[i].gradient && before[i].gradient)
            memcpy(l->parts[i].gradient, before[i].gradient, size);
    }
    home_leave(from);
}

cmlp_status cmlp_layers_join(cmlp_layer *const *layers, size_t n)
{
    size_t bytes = 0;
    int gradients = 0;
    for (size_t i = 0; i < n; i++) {
        part_layout parts[CMLP_MOST_PARTS];
        if (layers[i]->k != layers[0]->k)
            return CMLP_E_ARGUMENT;
        size_t n_parts = cmlp_lay_out_parts(layers[i]->k, &layers[i]->spec, parts, &bytes);
        gradients |= n_parts && layers[i]->parts[0].gradient;
    }
    if (!bytes)
        return CMLP_OK;
    home *h = home_new(bytes);
    if (h && gradients && !(h->gradients = cmlp_alloc(bytes))) {
        atomic_store(&h->users, 1);
        home_leave(h);
        h = NULL;
    }
    if (!h)
        return CMLP_E_MEMORY;
    bytes = 0;
    for (size_t i = 0; i < n; i++)
        if (layers[i]->n_parts)
            move(layers[i], h, &bytes);
    return CMLP_OK;
}

size_t cmlp_flat_count(cmlp_layer *const *layers, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        for (int part = 0; part < layers[i]->n_parts; part++)
            count += cmlp_layer_count(layers[i], part);
    return count;
}

void cmlp_flat_get(cmlp_layer *const *layers, size_t n, cmlp_what what, void *values)
{
    char *to = values;
    for (size_t i = 0; i < n; i++)
        for (int part = 0; part < layers[i]->n_parts; part++) {
            (what == CMLP_VALUES ? cmlp_layer_get : cmlp_layer_get_grad)(layers[i], part, to);
            to += cmlp_layer_count(layers[i], part) * layers[i]->k->size;
        }
}

cmlp_status cmlp_flat_set(cmlp_layer *const *layers, size_t n, cmlp_what what, const void *values)
{
    const char *from = values;
    for (size_t i = 0; i < n && what == CMLP_GRADIENTS; i++)
        if (cmlp_layer_need_gradients(layers[i]))
            return CMLP_E_MEMORY;
    for (size_t i = 0; i < n; i++) {
        cmlp_layer *l = layers[i];
        for (int part = 0; part < l->n_parts; part++) {
            char *to = what == CMLP_VALUES ? l->parts[part].value : l->parts[part].gradient;
            cmlp_pack(l->k, &l->layout[part].panels, from, to);
            from += cmlp_layer_count(l, part) * l->k->size;
        }
        if (what == CMLP_VALUES)
            cmlp_layer_refresh(l);
    }
    return CMLP_OK;
}

cmlp_status cmlp_flat_lerp(cmlp_layer *const *layers, cmlp_layer *const *others, size_t n, double tau)
{
    for (size_t i = 0; i < n; i++) {
        const cmlp_layer *a = layers[i], *b = others[i];
        if (a->k != b->k || a->n_parts != b->n_parts)
            return CMLP_E_ARGUMENT;
        for (int part = 0; part < a->n_parts; part++) {
            const cmlp_panels *p = &a->layout[part].panels, *q = &b->layout[part].panels;
            if (p->rows != q->rows || p->columns != q->columns)
                return CMLP_E_ARGUMENT;
        }
    }
    for (size_t i = 0; i < n; i++) {
        cmlp_layer *l = layers[i];
        for (int part = 0; part < l->n_parts; part++)
            l->k->lerp(panels_size(&l->layout[part].panels), others[i]->parts[part].value, tau,
                       l->parts[part].value);
        cmlp_layer_refresh(l);
    }
    return CMLP_OK;
}

/* All layers or none. */
cmlp_status cmlp_layers_hold(cmlp_layer *const *layers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (atomic_exchange(&layers[i]->busy, 1)) {
            cmlp_layers_release(layers, i);
            return CMLP_E_BUSY;
        }
    return CMLP_OK;
}

void cmlp_layers_release(cmlp_layer *const *layers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        atomic_store(&layers[i]->busy, 0);
}
