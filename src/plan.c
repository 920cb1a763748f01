/* Plans: a layout with the memory of one net. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

static cmlp_status allocate(cmlp_plan *plan)
{
    const layout *l = plan->layout;
    size_t spans = (l->n_spans + 1) * sizeof(double);
    plan->workspaces = cmlp_alloc(l->n_workspaces * l->workspace_bytes);
    plan->scratch = cmlp_alloc((size_t)l->threads * l->scratch_bytes);
    plan->partial = cmlp_alloc((l->spec.batch / l->row_block + 1) * sizeof *plan->partial);
    plan->norms = cmlp_alloc(spans);
    plan->squares = cmlp_alloc(spans);
    if (l->copies_inputs)
        plan->inputs = cmlp_alloc((size_t)l->threads * l->input_bytes);
    int whole = plan->workspaces && plan->scratch && plan->partial && plan->norms && plan->squares;
    return whole && (plan->inputs || !l->copies_inputs) ? CMLP_OK : cmlp_no_memory();
}

static cmlp_status prepare_layers(cmlp_plan *plan)
{
    const layout *l = plan->layout;
    for (size_t i = 0; i < l->n_ops; i++) {
        cmlp_layer *layer = plan->layers[l->ops[i].layer];
        /* Below the first op that is trained a gradient of x is wanted only by plans that compute for others.
         */
        if ((i > l->first_trained || !plan->opt) && cmlp_layer_need_transpose(layer))
            return cmlp_no_memory();
        if (!plan->opt && cmlp_layer_need_gradients(layer))
            return cmlp_no_memory();
    }
    return l->groups ? cmlp_plan_need_gradients(plan) : CMLP_OK;
}

char *cmlp_plan_block(const cmlp_plan *plan)
{
    char *block = NULL;
    for (size_t i = 0; i < plan->layout->n_ops; i++) {
        const op *o = &plan->layout->ops[i];
        for (size_t part = 0; part < o->n_parts; part++) {
            char *value = memory_of(plan, o)[part].value;
            if (!block)
                block = value;
            if (value != block + o->parts[part].offset)
                return NULL;
        }
    }
    return block;
}

/* Whole gradients: a block for each group, or one. */
cmlp_status cmlp_plan_need_gradients(cmlp_plan *plan)
{
    if (plan->gradients || !plan->opt)
        return CMLP_OK;
    plan->gradients = cmlp_alloc(cmlp_max(plan->layout->groups, 1) * plan->layout->block_bytes);
    return plan->gradients ? CMLP_OK : cmlp_no_memory();
}

/* An optimizer must have been made for these layers. */
static cmlp_status check_optimizer(const cmlp_optimizer *opt, cmlp_layer *const *layers, size_t n)
{
    if (opt && opt->n_layers != n)
        return cmlp_fail(CMLP_E_ARGUMENT, "opt is for %zu layers; expected one for these %zu", opt->n_layers,
                         n);
    for (size_t i = 0; opt && i < n; i++)
        if (opt->layers[i] != layers[i])
            return cmlp_fail(CMLP_E_ARGUMENT, "opt is for other layers, from layers[%zu] on", i);
    return CMLP_OK;
}

/* Takes over the caller's use of the layout. */
static cmlp_status plan_on(layout *l, uint64_t seed, cmlp_layer *const *layers, size_t n_layers,
                           cmlp_optimizer *opt, cmlp_plan **out)
{
    cmlp_plan *plan = cmlp_alloc(sizeof *plan);
    if (!plan) {
        cmlp_layout_leave(l);
        return cmlp_no_memory();
    }
    plan->layout = l;
    plan->seed = seed;
    plan->opt = opt;
    plan->n_layers = n_layers;
    plan->layers = calloc(n_layers, sizeof *plan->layers);
    if (plan->layers)
        memcpy(plan->layers, layers, n_layers * sizeof *layers);
    cmlp_status status = plan->layers ? allocate(plan) : cmlp_no_memory();
    if (!status)
        status = prepare_layers(plan);
    if (status)
        cmlp_plan_free(plan);
    else
        *out = plan;
    return status;
}

cmlp_status cmlp_plan_new(const cmlp_plan_spec *spec, cmlp_layer *const *layers, size_t n_layers,
                          cmlp_optimizer *opt, cmlp_plan **out)
{
    layout *l;
    NEED(spec);
    NEED(out);
    cmlp_status status = cmlp_check_layers(layers, n_layers);
    if (!status)
        status = check_optimizer(opt, layers, n_layers);
    if (!status)
        status = cmlp_layout_new(spec, layers, n_layers, opt != NULL, &l);
    return status ? status : plan_on(l, spec->seed, layers, n_layers, opt, out);
}

cmlp_status cmlp_plan_like(const cmlp_plan *like, uint64_t seed, cmlp_layer *const *layers, size_t n_layers,
                           cmlp_optimizer *opt, cmlp_plan **out)
{
    NEED(like);
    NEED(out);
    layout *l = (layout *)like->layout; /* only its count of users changes */
    cmlp_status status = cmlp_check_layers(layers, n_layers);
    if (!status)
        status = check_optimizer(opt, layers, n_layers);
    if (status)
        return status;
    if (!opt != !l->trains)
        return cmlp_fail(CMLP_E_ARGUMENT, "opt is %s; expected %s, as in `like`", opt ? "given" : "NULL",
                         l->trains ? "one" : "none");
    if (!cmlp_layout_fits(l, layers, n_layers))
        return cmlp_fail(CMLP_E_ARGUMENT,
                         "layers are not of the shapes, settings and type of those of `like`");
    return plan_on(cmlp_layout_use(l), seed, layers, n_layers, opt, out);
}

cmlp_status cmlp_plan_augment(cmlp_plan *plan, const cmlp_view_spec *spec)
{
    NEED(plan);
    const layout *l = plan->layout;
    viewer *views = NULL;
    char *scratch = NULL;
    cmlp_status status = spec ? cmlp_viewer_new(spec, l->k->dtype, &views) : CMLP_OK;
    if (!status && views && views->view != l->n_in)
        status = cmlp_fail(CMLP_E_ARGUMENT, "spec has views of %zu numbers; expected %zu, the plan's inputs",
                           views->view, l->n_in);
    if (!status && views && views->scratch_bytes) {
        scratch = cmlp_alloc((size_t)l->threads * views->scratch_bytes);
        status = scratch ? CMLP_OK : cmlp_no_memory();
    }
    if (status) {
        cmlp_viewer_free(views);
        return status;
    }
    cmlp_viewer_free(plan->views);
    cmlp_free(plan->view_scratch);
    plan->views = views;
    plan->view_scratch = scratch;
    return CMLP_OK;
}

void cmlp_plan_free(cmlp_plan *plan)
{
    if (!plan)
        return;
    cmlp_free(plan->workspaces);
    cmlp_viewer_free(plan->views);
    cmlp_free(plan->view_scratch);
    cmlp_free(plan->inputs);
    cmlp_free(plan->scratch);
    cmlp_free(plan->partial);
    cmlp_free(plan->norms);
    cmlp_free(plan->squares);
    cmlp_free(plan->gradients);
    cmlp_free(plan->good);
    free(plan->order);
    free(plan->layers);
    cmlp_layout_leave((layout *)plan->layout);
    cmlp_free(plan);
}

cmlp_cursor *cmlp_plan_cursor(cmlp_plan *plan) { return &plan->cursor; }
void cmlp_plan_seek(cmlp_plan *plan, uint64_t draw) { plan->forwards = draw; }

/* One part after the other, as cmlp_flat_get has them; frozen ones are as they are now. */
int cmlp_plan_get_good(const cmlp_plan *plan, void *values)
{
    const layout *l = plan->layout;
    char *to = values;
    for (size_t i = 0; plan->has_good && values && i < l->n_ops; i++)
        for (size_t part = 0; part < l->ops[i].n_parts; part++) {
            const op *o = &l->ops[i];
            const part_layout *p = &o->parts[part];
            cmlp_unpack(l->k, &p->panels,
                        o->trained ? plan->good + p->offset : memory_of(plan, o)[part].value, to);
            to += p->panels.rows * p->panels.columns * l->k->size;
        }
    return plan->has_good;
}

cmlp_status cmlp_plan_set_good(cmlp_plan *plan, const void *values)
{
    NEED(plan);
    const layout *l = plan->layout;
    const char *from = values;
    plan->has_good = 0;
    if (!values)
        return CMLP_OK;
    if (!plan->good && !(plan->good = cmlp_alloc(l->block_bytes)))
        return cmlp_no_memory();
    for (size_t i = 0; i < l->n_ops; i++)
        for (size_t part = 0; part < l->ops[i].n_parts; part++) {
            const part_layout *p = &l->ops[i].parts[part];
            cmlp_pack(l->k, &p->panels, from, plan->good + p->offset);
            from += p->panels.rows * p->panels.columns * l->k->size;
        }
    plan->has_good = 1;
    return CMLP_OK;
}

int cmlp_plan_threads(const cmlp_plan *plan) { return plan->layout->threads; }

size_t cmlp_plan_bytes(const cmlp_plan *plan)
{
    const layout *l = plan->layout;
    size_t gradients = plan->gradients ? cmlp_max(l->groups, 1) * l->block_bytes : 0;
    return l->n_workspaces * l->workspace_bytes + gradients + (plan->good ? l->block_bytes : 0) +
           (l->scratch_bytes + l->input_bytes) * (size_t)l->threads;
}
