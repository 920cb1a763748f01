/* A network, a loss and an optimizer turned into a plan: steps, an arena, shares of work. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

/* Nets whose parameters take no more than this go by groups of rows. */
#define GROUP_BYTES (96 << 10)
/* A group's rows go through at once if their slot takes no more than WHOLE_BYTES: gradients of many rows are
 * quicker.  More rows go in chunks whose slot stays in L1. */
#define WHOLE_BYTES (160 << 10)
#define CHUNK_BYTES (40 << 10)
#define MOST_GROUPS 8

void *cmlp_plan_grad(const cmlp_plan *plan, size_t group, const step *s, cmlp_part part)
{
    if (!plan->opt)
        return part == CMLP_WEIGHT ? s->layer->gw : s->layer->gb;
    return plan->grads + group * plan->grad_bytes + (part == CMLP_WEIGHT ? s->gw : s->gb);
}

int cmlp_plan_threads_for(const cmlp_plan *plan, double flops, size_t pieces)
{
    int n = cmlp_threads_worth(plan->spec.n_threads, flops, FLOPS_PER_THREAD);
    return (size_t)n > pieces ? (int)pieces : n;
}

/* Rows are padded to whole vectors; a row length that would put every row into the same cache sets grows by
 * a line. */
static size_t leading(const cmlp_kernels *k, size_t n)
{
    size_t ld = cmlp_round_up(n, k->vw);
    return ld * k->size % 1024 == 0 ? ld + CMLP_LINE / k->size : ld;
}

static int takes_in(const cmlp_layer_spec *dense, const cmlp_layer_spec *next)
{
    return dense->kind == CMLP_DENSE && dense->activation == CMLP_IDENTITY && next->kind == CMLP_ACTIVATION;
}

/* Few outputs leave most lanes of x^T d idle; d^T x has n_in columns.  Its rows of x must be padded. */
static int is_thin(const step *s)
{
    const cmlp_layer *l = s->layer;
    return l->spec.kind == CMLP_DENSE && l->pad_out <= l->nr && s->n_in >= s->k->vw &&
           4 * s->n_out * l->pad_in <= 3 * s->n_in * l->pad_out;
}

/* One step a layer; an activation layer behind a plain dense one becomes part of its step. */
static void make_steps(cmlp_plan *plan)
{
    for (size_t i = 0; i < plan->n_layers; i++) {
        cmlp_layer *l = plan->layers[i];
        const cmlp_layer_spec *spec = &l->spec;
        step *s = &plan->steps[plan->n_steps++];
        *s = (step){
            .kind = cmlp_step_kind_of(spec->kind), .k = plan->k, .layer = l, .index = i, .last_layer = i};
        s->n_in = spec->n_in, s->n_out = spec->n_out;
        s->ld_in = leading(plan->k, s->n_in), s->ld_out = leading(plan->k, s->n_out);
        if (i + 1 < plan->n_layers && takes_in(spec, &plan->layers[i + 1]->spec)) {
            s->last_layer = ++i;
            spec = &plan->layers[i]->spec;
        }
        s->activation = spec->activation;
        s->param = spec->param[0];
        s->thin = plan->n_steps > 1 && is_thin(s);
        plan->parameters += cmlp_layer_count(l, CMLP_WEIGHT);
        plan->row_numbers += s->n_in + s->n_out;
        plan->ld_widest = cmlp_max(plan->ld_widest, cmlp_max(s->ld_in, s->ld_out));
    }
    const step *last = &plan->steps[plan->n_steps - 1];
    plan->n_in = plan->steps[0].n_in, plan->ld_in = plan->steps[0].ld_in;
    plan->n_out = last->n_out, plan->ld_out = last->ld_out;
}

static cmlp_status check_pair(cmlp_plan *plan)
{
    for (size_t i = 0; plan->spec.loss >= 0 && i < plan->n_steps; i++)
        if (plan->steps[i].activation == CMLP_STEP)
            return CMLP_E_PAIR;
    step *last = &plan->steps[plan->n_steps - 1];
    int has_activation = last->layer->spec.kind == CMLP_DENSE || last->layer->spec.kind == CMLP_ACTIVATION;
    int activation = has_activation ? last->activation : CMLP_RELU;
    if (last->layer->spec.kind == CMLP_DROPOUT)
        activation = CMLP_IDENTITY;
    if (plan->spec.loss < 0)
        return CMLP_OK;
    cmlp_pair pair = cmlp_pair_mode(activation, plan->spec.loss);
    last->fused_output = has_activation && pair == CMLP_FUSED;
    return pair == CMLP_REFUSED ? CMLP_E_PAIR : CMLP_OK;
}

static size_t reserve(size_t *total, size_t bytes)
{
    size_t at = *total;
    *total += cmlp_round_up(bytes, CMLP_LINE);
    return at;
}

/* Offsets of everything that a slot of `rows` rows holds. */
static size_t lay_out_slot(cmlp_plan *plan, size_t rows)
{
    size_t total = 0, size = plan->k->size;
    size_t x = reserve(&total, rows * plan->ld_in * size);
    plan->dx = NO_BUFFER;
    if (!plan->opt)
        plan->dx = reserve(&total, rows * plan->ld_in * size);
    for (size_t i = 0; i < plan->n_steps; i++) {
        step *s = &plan->steps[i];
        size_t bytes = rows * s->ld_out * size;
        s->x = x;
        int keeps_input = s->layer->spec.kind == CMLP_DENSE && cmlp_activation_needs_input(s->activation);
        int random = s->layer->spec.kind == CMLP_DROPOUT || s->layer->spec.kind == CMLP_RRELU;
        s->u = keeps_input ? reserve(&total, bytes) : NO_BUFFER;
        s->y = reserve(&total, bytes);
        s->d = reserve(&total, bytes);
        s->mask = random ? reserve(&total, bytes) : NO_BUFFER;
        x = s->y;
    }
    plan->labels = reserve(&total, rows * sizeof(int64_t));
    plan->targets = reserve(&total, plan->spec.loss >= 0 ? rows * plan->ld_out * size : 0);
    plan->weights = reserve(&total, rows * size);
    return total;
}

static void lay_out_gradients(cmlp_plan *plan)
{
    plan->grad_bytes = 0;
    for (size_t i = 0; i < plan->n_steps; i++) {
        step *s = &plan->steps[i];
        s->gw = reserve(&plan->grad_bytes,
                        cmlp_has_weight(s->layer) ? cmlp_weight_size(s->layer) * plan->k->size : 0);
        s->gb = reserve(&plan->grad_bytes, s->layer->pad_out * plan->k->size);
    }
}

static double flops_of_step(const cmlp_plan *plan, size_t rows)
{
    return 6.0 * (double)plan->parameters * (double)rows;
}

static int is_small(const cmlp_plan *plan) { return plan->opt && plan->grad_bytes <= GROUP_BYTES; }

/* Groups and chunks are functions of shapes alone. */
static void choose_groups(cmlp_plan *plan)
{
    size_t blocks = (plan->spec.batch + ROW_BLOCK - 1) / ROW_BLOCK;
    plan->groups = 0;
    plan->chunk = blocks * ROW_BLOCK;
    if (!is_small(plan))
        return;
    size_t per_row = lay_out_slot(plan, ROW_BLOCK) / ROW_BLOCK;
    double worth = flops_of_step(plan, plan->spec.batch) / FLOPS_PER_THREAD;
    plan->groups = worth >= MOST_GROUPS ? MOST_GROUPS : worth < 1.0 ? 1 : (size_t)worth;
    plan->groups = cmlp_min(plan->groups, blocks);
    plan->chunk = (blocks + plan->groups - 1) / plan->groups * ROW_BLOCK;
    if (plan->chunk * per_row > WHOLE_BYTES)
        plan->chunk = cmlp_max(CHUNK_BYTES / per_row / ROW_BLOCK, 1) * ROW_BLOCK;
    /* One group that goes through at once needs no gradient of its own: updates take it unit by unit. */
    if (plan->groups == 1 && plan->chunk >= plan->spec.batch)
        plan->groups = 0;
}

/* Threads that share a layer's columns exchange its rows, those that share the rows exchange the weights that
 * the others have changed: whichever is less. */
static int worth_columns(const cmlp_plan *plan, size_t n_in, size_t n_out, size_t panels)
{
    double batch = (double)plan->spec.batch, weights = (double)n_in * (double)n_out;
    return plan->threads > 1 && panels >= (size_t)plan->threads &&
           weights > batch * ((double)n_in + (double)n_out);
}

static size_t panels_of(size_t padded, size_t panel) { return (padded + panel - 1) / panel; }

int cmlp_separable(const step *s)
{
    return s->layer->spec.kind != CMLP_DENSE || s->activation != CMLP_SOFTMAX;
}

/* By rows or by columns, for each step each way; no bit of a result depends on it. */
static void choose_threads(cmlp_plan *plan)
{
    size_t blocks = (plan->spec.batch + ROW_BLOCK - 1) / ROW_BLOCK, widest = 0;
    for (size_t i = 0; i < plan->n_steps; i++)
        if (cmlp_has_weight(plan->steps[i].layer))
            widest = cmlp_max(widest, panels_of(plan->steps[i].layer->pad_out, plan->steps[i].layer->nr));
    plan->most_columns = plan->groups ? 1 : widest;
    size_t pieces = plan->groups ? plan->groups : cmlp_max(blocks, widest);
    plan->threads = cmlp_plan_threads_for(plan, flops_of_step(plan, plan->spec.batch), pieces);
    for (size_t i = 0; i < plan->n_steps && !plan->groups; i++) {
        step *s = &plan->steps[i];
        const cmlp_layer *l = s->layer;
        if (!cmlp_has_weight(l))
            continue;
        s->by_columns =
            cmlp_separable(s) && worth_columns(plan, s->n_in, s->n_out, panels_of(l->pad_out, l->nr));
        s->back_by_columns = i > 0 && cmlp_separable(s - 1) &&
                             worth_columns(plan, s->n_in, s->n_out, panels_of(l->pad_in, l->nr_t));
    }
}

/* The panels of a layer in blocks of no more than `most`, at least four where it has as many: for threads to
 * own them.  rows_each: rows of a unit of full panels. */
static size_t count_units(cmlp_plan *plan, unit *units, size_t rows_each, size_t most)
{
    size_t n = 0;
    for (size_t i = 0; i < plan->n_steps; i++) {
        const cmlp_layer *l = plan->steps[i].layer;
        if (!cmlp_has_weight(l) && !cmlp_has_bias(l))
            continue;
        size_t rows = cmlp_has_weight(l) ? l->spec.n_in : 1, panels = panels_of(l->pad_out, l->nr);
        size_t blocks = cmlp_max((panels + most - 1) / most, cmlp_min(panels, 4)), p0, p1;
        for (size_t b = 0; b < blocks; b++) {
            cmlp_share_of(panels, (int)b, (int)blocks, &p0, &p1);
            for (size_t i0 = 0; i0 < rows; i0 += rows_each, n++)
                if (units)
                    units[n] = (unit){.step = i,
                                      .c0 = p0 * l->nr,
                                      .c1 = cmlp_min(p1 * l->nr, l->pad_out),
                                      .i0 = i0,
                                      .i1 = cmlp_min(i0 + rows_each, rows)};
        }
    }
    return n;
}

/* Each unit goes to the thread that has its columns in the forward pass; those of layers with too few columns
 * to the thread that has least to do. */
static void assign_units(cmlp_plan *plan, size_t *load)
{
    for (int few = 0; few < 2; few++)
        for (size_t i = 0; i < plan->n_units; i++) {
            unit *u = &plan->units[i];
            const cmlp_layer *l = plan->steps[u->step].layer;
            if ((panels_of(l->pad_out, l->nr) < (size_t)plan->threads) != few)
                continue;
            size_t c0, c1;
            u->owner = 0;
            for (int t = 0; t < plan->threads; t++) {
                cmlp_share_of_columns(l->pad_out, l->nr, t, plan->threads, &c0, &c1);
                if (few ? load[t] < load[u->owner] : u->c0 >= c0 && u->c0 < c1)
                    u->owner = t;
            }
            load[u->owner] += (u->c1 - u->c0) * (u->i1 - u->i0);
        }
}

/* Rows of a unit are whole vectors, so that its transpose is; small nets get smaller units to share. */
static cmlp_status make_units(cmlp_plan *plan)
{
    size_t rows = is_small(plan) ? 32 : 256, panels = is_small(plan) ? 1 : 4;
    plan->n_units = count_units(plan, NULL, rows, panels);
    plan->units = calloc(plan->n_units + 1, sizeof *plan->units);
    size_t *load = calloc((size_t)plan->threads, sizeof *load);
    if (plan->units && load) {
        count_units(plan, plan->units, rows, panels);
        assign_units(plan, load);
    }
    free(load);
    size_t widest = plan->k->nv_max * plan->k->vw * panels, turned = 0;
    for (size_t i = 0; i < plan->n_steps; i++) {
        const step *s = &plan->steps[i];
        size_t columns = plan->groups ? s->layer->pad_in : cmlp_min(rows, s->layer->pad_in);
        turned = cmlp_max(turned, s->thin ? s->n_out * columns : 0);
    }
    plan->turned_bytes = cmlp_round_up(turned * plan->k->size, CMLP_LINE);
    plan->scratch_bytes = plan->turned_bytes + cmlp_round_up((rows + 1) * widest * plan->k->size, CMLP_LINE);
    return plan->units && load ? CMLP_OK : CMLP_E_MEMORY;
}

static cmlp_status allocate(cmlp_plan *plan)
{
    plan->n_slots = plan->groups ? (size_t)plan->threads : 1;
    plan->slot_bytes = lay_out_slot(plan, plan->chunk) + CMLP_LINE;
    plan->arena_bytes = plan->n_slots * plan->slot_bytes;
    plan->arena = cmlp_alloc(plan->arena_bytes);
    if (plan->steps[0].by_columns && plan->spec.loss >= 0) {
        plan->input_bytes = cmlp_round_up(plan->spec.batch * plan->ld_in * plan->k->size, CMLP_LINE);
        plan->inputs = cmlp_alloc((size_t)plan->threads * plan->input_bytes);
        if (!plan->inputs)
            return CMLP_E_MEMORY;
    }
    plan->scratch = cmlp_alloc((size_t)plan->threads * plan->scratch_bytes);
    plan->partial = cmlp_alloc((plan->spec.batch / ROW_BLOCK + 1) * sizeof *plan->partial);
    plan->norms = cmlp_alloc((plan->n_units + 1) * sizeof *plan->norms);
    plan->squares = cmlp_alloc((plan->n_units + 1) * sizeof *plan->squares);
    if (!plan->arena || !plan->scratch || !plan->partial || !plan->norms || !plan->squares)
        return CMLP_E_MEMORY;
    for (size_t i = 0; i < plan->n_steps; i++) {
        cmlp_layer *l = plan->steps[i].layer;
        /* The first layer's gradient of x is wanted only by plans that compute for others. */
        if ((i > 0 || !plan->opt) && cmlp_layer_need_transpose(l))
            return CMLP_E_MEMORY;
        if (!plan->opt && cmlp_layer_need_grad(l))
            return CMLP_E_MEMORY;
    }
    return plan->groups ? cmlp_plan_need_grads(plan) : CMLP_OK;
}

/* Whole gradients: a block for each group, or one. */
cmlp_status cmlp_plan_need_grads(cmlp_plan *plan)
{
    if (plan->grads || !plan->opt)
        return CMLP_OK;
    plan->grads = cmlp_alloc(cmlp_max(plan->groups, 1) * plan->grad_bytes);
    return plan->grads ? CMLP_OK : CMLP_E_MEMORY;
}

static cmlp_status check_chain(const cmlp_plan_spec *spec, cmlp_layer *const *layers, size_t n,
                               const cmlp_optimizer *opt)
{
    if (!n || !spec->batch || spec->batch > SIZE_MAX / 4096 || spec->loss >= CMLP_N_LOSSES)
        return CMLP_E_ARGUMENT;
    for (size_t i = 0; i < n; i++) {
        if (layers[i]->k != layers[0]->k)
            return CMLP_E_ARGUMENT;
        if (i && layers[i]->spec.n_in != layers[i - 1]->spec.n_out)
            return CMLP_E_ARGUMENT;
        if (opt && (opt->n_layers != n || opt->layers[i] != layers[i]))
            return CMLP_E_ARGUMENT;
    }
    return opt && spec->loss < 0 ? CMLP_E_ARGUMENT : CMLP_OK;
}

static cmlp_status build(cmlp_plan *plan)
{
    make_steps(plan);
    cmlp_status status = check_pair(plan);
    if (status)
        return status;
    lay_out_gradients(plan);
    choose_groups(plan);
    choose_threads(plan);
    status = make_units(plan);
    if (status)
        return status;
    /* Steps of a microsecond do not look at the clock each time. */
    double flops = flops_of_step(plan, plan->spec.batch), steps = 3e5 / (flops + 1e3);
    plan->poll_every = steps < 1.0 ? 1 : (size_t)steps;
    plan->polls_inside = !plan->groups && flops > FLOPS_PER_THREAD;
    return allocate(plan);
}

cmlp_status cmlp_plan_new(const cmlp_plan_spec *spec, cmlp_layer *const *layers, size_t n_layers,
                          cmlp_optimizer *opt, cmlp_plan **out)
{
    cmlp_status status = check_chain(spec, layers, n_layers, opt);
    if (status)
        return status;
    cmlp_plan *plan = cmlp_alloc(sizeof *plan);
    if (!plan)
        return CMLP_E_MEMORY;
    plan->spec = *spec;
    plan->k = layers[0]->k;
    plan->opt = opt;
    plan->n_layers = n_layers;
    plan->layers = calloc(n_layers, sizeof *plan->layers);
    plan->steps = calloc(n_layers, sizeof *plan->steps);
    if (plan->layers)
        memcpy(plan->layers, layers, n_layers * sizeof *layers);
    status = plan->layers && plan->steps ? build(plan) : CMLP_E_MEMORY;
    if (status) {
        cmlp_plan_free(plan);
        return status;
    }
    *out = plan;
    return CMLP_OK;
}

void cmlp_plan_free(cmlp_plan *plan)
{
    if (!plan)
        return;
    cmlp_free(plan->arena);
    cmlp_free(plan->inputs);
    cmlp_free(plan->scratch);
    cmlp_free(plan->partial);
    cmlp_free(plan->norms);
    cmlp_free(plan->squares);
    cmlp_free(plan->grads);
    cmlp_free(plan->good);
    free(plan->order);
    free(plan->units);
    free(plan->steps);
    free(plan->layers);
    cmlp_free(plan);
}

cmlp_cursor *cmlp_plan_cursor(cmlp_plan *plan) { return &plan->cursor; }
int cmlp_plan_threads(const cmlp_plan *plan) { return plan->threads; }

size_t cmlp_plan_bytes(const cmlp_plan *plan)
{
    size_t grads = plan->grads ? cmlp_max(plan->groups, 1) * plan->grad_bytes : 0;
    return plan->arena_bytes + grads + plan->good_bytes +
           (plan->scratch_bytes + plan->input_bytes) * (size_t)plan->threads;
}
