/* Layers: their parameters, packed, and the conversion to the user's layout. */
#include "layer.h"
#include "layers/classes.h"

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

#define MOST_WIDTH (SIZE_MAX / 4096)

static cmlp_status check_settings(const cmlp_layer_spec *spec)
{
    const layer_class *class = cmlp_class_with_settings(spec);
    char range[RANGE_TEXT];
    for (int i = 0; i < 2; i++)
        if (!cmlp_setting_fits(class, i, spec->param))
            return cmlp_fail(CMLP_E_ARGUMENT, "spec->param[%d] is %g; expected the %s of %s, %s", i,
                             spec->param[i], class->settings[i].name, class->name,
                             cmlp_setting_range(class, i, spec->param, range));
    return CMLP_OK;
}

cmlp_status cmlp_check_activation(const char *name, int activation)
{
    if (activation >= 0 && activation < CMLP_N_ACTIVATIONS)
        return CMLP_OK;
    return cmlp_fail(CMLP_E_ARGUMENT, "%s is %d; expected 0 to %d", name, activation, CMLP_N_ACTIVATIONS - 1);
}

cmlp_status cmlp_check_layer_spec(const cmlp_layer_spec *spec)
{
    const layer_kind *kind = cmlp_kind((int)spec->kind);
    if (!kind)
        return cmlp_fail(CMLP_E_ARGUMENT, "spec->kind is %d; expected a cmlp_layer_kind", (int)spec->kind);
    if (!spec->n_in || spec->n_in > MOST_WIDTH)
        return cmlp_fail(CMLP_E_ARGUMENT, "spec->n_in is %zu; expected 1 to %zu", spec->n_in, MOST_WIDTH);
    if (!spec->n_out || spec->n_out > MOST_WIDTH)
        return cmlp_fail(CMLP_E_ARGUMENT, "spec->n_out is %zu; expected 1 to %zu", spec->n_out, MOST_WIDTH);
    cmlp_status status = cmlp_check_activation("spec->activation", spec->activation);
    if (status)
        return status;
    if (!kind->is_sound(spec))
        return cmlp_fail(CMLP_E_ARGUMENT, "spec->n_in is %zu and spec->n_out %zu; expected %s", spec->n_in,
                         spec->n_out,
                         cmlp_class_of(spec)->has_widths ? "no more weights than memory has" : "them equal");
    return check_settings(spec);
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
    for (size_t j = 0; value != 0.0 && j < n; j++)
        cmlp_set_element(k->dtype, to, j, value);
}

cmlp_status cmlp_layer_new(cmlp_dtype dtype, const cmlp_layer_spec *spec, cmlp_layer **out)
{
    NEED(spec);
    NEED(out);
    cmlp_status status = cmlp_check_dtype(dtype);
    if (!status)
        status = cmlp_check_layer_spec(spec);
    if (status)
        return status;
    cmlp_layer *l = calloc(1, sizeof *l);
    if (!l)
        return cmlp_no_memory();
    size_t bytes = 0;
    l->spec = *spec;
    if (spec->connections) {
        l->table = cmlp_table_new(spec->out.channels, spec->in.channels, spec->connections);
        if (!l->table) {
            free(l);
            return cmlp_no_memory();
        }
        l->spec.connections = l->table->present;
    }
    l->kind = cmlp_kind((int)spec->kind);
    l->k = cmlp_kernels_for(dtype);
    l->trainable = 1;
    l->n_parts = (int)cmlp_lay_out_parts(l->k, spec, l->layout, &bytes);
    home *h = bytes ? home_new(bytes) : NULL;
    if (bytes && !h) {
        cmlp_table_leave(l->table);
        free(l);
        return cmlp_no_memory();
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
    cmlp_table_leave(l->table);
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
        cmlp_refresh_block(l->kind, l->k, &l->spec, l->table, part, &all, &l->parts[i]);
    }
}

static cmlp_status check_part(const cmlp_layer *layer, int part, const void *values)
{
    NEED(layer);
    NEED(values);
    if (!cmlp_layer_part(layer, part))
        return cmlp_fail(CMLP_E_ARGUMENT, "part is %d; expected less than %d, the parts of the layer", part,
                         layer->n_parts);
    return CMLP_OK;
}

cmlp_status cmlp_layer_set(cmlp_layer *l, int part, const void *values)
{
    cmlp_status status = check_part(l, part, values);
    if (status)
        return status;
    cmlp_pack(l->k, &l->layout[part].panels, values, l->parts[part].value);
    cmlp_layer_refresh(l);
    return CMLP_OK;
}

cmlp_status cmlp_layer_get(const cmlp_layer *l, int part, void *values)
{
    cmlp_status status = check_part(l, part, values);
    if (!status)
        cmlp_unpack(l->k, &l->layout[part].panels, l->parts[part].value, values);
    return status;
}

cmlp_status cmlp_layer_need_transpose(cmlp_layer *l)
{
    if (!l->kind->uses_transpose || l->parts[0].transpose)
        return CMLP_OK;
    l->parts[0].transpose = cmlp_alloc(panels_size(&l->layout[0].turned) * l->k->size);
    if (!l->parts[0].transpose)
        return cmlp_no_memory();
    cmlp_layer_refresh(l);
    return CMLP_OK;
}

cmlp_status cmlp_layer_need_gradients(cmlp_layer *l)
{
    home *h = l->home;
    if (h && !h->gradients)
        h->gradients = cmlp_alloc(h->bytes);
    if (h && !h->gradients)
        return cmlp_no_memory();
    for (int i = 0; i < l->n_parts; i++)
        l->parts[i].gradient = h->gradients + l->layout[i].offset;
    return CMLP_OK;
}

cmlp_status cmlp_layer_set_grad(cmlp_layer *l, int part, const void *values)
{
    cmlp_status status = check_part(l, part, values);
    if (!status)
        status = cmlp_layer_need_gradients(l);
    if (!status)
        cmlp_pack(l->k, &l->layout[part].panels, values, l->parts[part].gradient);
    return status;
}

cmlp_status cmlp_layer_get_grad(const cmlp_layer *l, int part, void *values)
{
    cmlp_status status = check_part(l, part, values);
    if (status)
        return status;
    if (l->parts[part].gradient)
        cmlp_unpack(l->k, &l->layout[part].panels, l->parts[part].gradient, values);
    else
        memset(values, 0, cmlp_layer_count(l, part) * l->k->size);
    return CMLP_OK;
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

cmlp_status cmlp_check_layers(cmlp_layer *const *layers, size_t n)
{
    NEED(layers);
    for (size_t i = 0; i < n; i++) {
        if (!layers[i])
            return cmlp_fail(CMLP_E_ARGUMENT, "layers[%zu] is NULL", i);
        if (layers[i]->k != layers[0]->k)
            return cmlp_fail(CMLP_E_ARGUMENT,
                             "layers[%zu] has elements of %zu bytes, for %s; expected %zu, for %s, as "
                             "the layer before",
                             i, layers[i]->k->size, layers[i]->k->isa, layers[0]->k->size, layers[0]->k->isa);
    }
    return CMLP_OK;
}

cmlp_status cmlp_layers_join(cmlp_layer *const *layers, size_t n)
{
    size_t bytes = 0;
    int gradients = 0;
    cmlp_status status = cmlp_check_layers(layers, n);
    if (status)
        return status;
    for (size_t i = 0; i < n; i++) {
        part_layout parts[CMLP_MOST_PARTS];
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
        return cmlp_no_memory();
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

cmlp_status cmlp_flat_get(cmlp_layer *const *layers, size_t n, cmlp_what what, void *values)
{
    NEED(values);
    cmlp_status status = cmlp_check_layers(layers, n);
    if (status)
        return status;
    char *to = values;
    for (size_t i = 0; i < n; i++)
        for (int part = 0; part < layers[i]->n_parts; part++) {
            (what == CMLP_VALUES ? cmlp_layer_get : cmlp_layer_get_grad)(layers[i], part, to);
            to += cmlp_layer_count(layers[i], part) * layers[i]->k->size;
        }
    return CMLP_OK;
}

cmlp_status cmlp_flat_set(cmlp_layer *const *layers, size_t n, cmlp_what what, const void *values)
{
    NEED(values);
    cmlp_status status = cmlp_check_layers(layers, n);
    const char *from = values;
    for (size_t i = 0; !status && i < n && what == CMLP_GRADIENTS; i++)
        status = cmlp_layer_need_gradients(layers[i]);
    if (status)
        return status;
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

static int same_parts(const cmlp_layer *a, const cmlp_layer *b)
{
    int same = a->k == b->k && a->n_parts == b->n_parts;
    for (int part = 0; same && part < a->n_parts; part++) {
        const cmlp_panels *p = &a->layout[part].panels, *q = &b->layout[part].panels;
        same = p->rows == q->rows && p->columns == q->columns;
    }
    return same;
}

cmlp_status cmlp_flat_lerp(cmlp_layer *const *layers, cmlp_layer *const *others, size_t n, double tau)
{
    cmlp_status status = cmlp_check_layers(layers, n);
    if (!status)
        status = cmlp_check_layers(others, n);
    for (size_t i = 0; !status && i < n; i++)
        if (!same_parts(layers[i], others[i]))
            status = cmlp_fail(CMLP_E_ARGUMENT,
                               "others[%zu] has other parts than layers[%zu]; expected the same", i, i);
    if (status)
        return status;
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
    NEED(layers);
    for (size_t i = 0; i < n; i++)
        if (atomic_exchange(&layers[i]->busy, 1)) {
            cmlp_layers_release(layers, i);
            return cmlp_fail(CMLP_E_BUSY, "layers[%zu] is being trained, or held, by another call", i);
        }
    return CMLP_OK;
}

void cmlp_layers_release(cmlp_layer *const *layers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        atomic_store(&layers[i]->busy, 0);
}
