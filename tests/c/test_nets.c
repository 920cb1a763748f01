/* A net's parameters as a whole: one block, one vector, frozen layers, layouts that nets share, holding. */
#include "nets.h"

#include <stdlib.h>
#include <string.h>

#define EPOCHS 2

static cmlp_status fit(net *n, int held)
{
    static const double lr = 0.01;
    double losses[EPOCHS];
    const cmlp_data data = net_data(n);
    cmlp_run run = {.epochs = EPOCHS, .shuffle = 1, .lr = &lr, .n_lr = 1, .losses = losses, .held = held};
    return cmlp_fit(n->plan, &data, &run);
}

static int same_parameters(const net *a, const net *b)
{
    size_t bytes;
    void *x = net_parameters(a, &bytes), *y = net_parameters(b, &bytes);
    int same = memcmp(x, y, bytes) == 0;
    free(x), free(y);
    return same;
}

/* Joining layers moves their parameters and changes neither them nor what training makes of them; a plan made
 * before goes on. */
static void test_join(const recipe *r, cmlp_dtype dtype)
{
    net apart, joined;
    CHECK(net_new(&apart, r, dtype, 1, 1) == CMLP_OK && net_new(&joined, r, dtype, 1, 1) == CMLP_OK, "%s",
          r->name);
    CHECK(cmlp_layers_join(joined.layers, r->n_layers) == CMLP_OK, "joined");
    CHECK(same_parameters(&apart, &joined), "%s: joining changed parameters", r->name);
    CHECK(fit(&apart, 0) == CMLP_OK && fit(&joined, 0) == CMLP_OK, "fit of %s", r->name);
    CHECK(same_parameters(&apart, &joined), "%s: joined layers train otherwise", r->name);
    net_free(&apart), net_free(&joined);
}

static void test_flat(const recipe *r, cmlp_dtype dtype)
{
    net n;
    CHECK(net_new(&n, r, dtype, 1, 0) == CMLP_OK, "%s", r->name);
    size_t bytes, count = cmlp_flat_count(n.layers, r->n_layers), size = cmlp_kernels_for(dtype)->size;
    char *before = net_parameters(&n, &bytes), *got = guarded_new(bytes), *turned = guarded_new(bytes);
    CHECK(bytes == count * size, "%zu bytes of %zu parameters", bytes, count);
    for (size_t i = 0; i < count; i++)
        memcpy(turned + i * size, before + (count - 1 - i) * size, size);
    for (int what = CMLP_VALUES; what <= CMLP_GRADIENTS; what++) {
        CHECK(cmlp_flat_set(n.layers, r->n_layers, (cmlp_what)what, turned) == CMLP_OK, "set");
        cmlp_flat_get(n.layers, r->n_layers, (cmlp_what)what, got);
        CHECK(memcmp(got, turned, bytes) == 0, "%s, %d: what was set is not what is there", r->name, what);
    }
    free(before), guarded_free(got), guarded_free(turned);
    net_free(&n);
}

static double number_at(cmlp_dtype dtype, const void *values, size_t i)
{
    return dtype == CMLP_F32 ? (double)((const float *)values)[i] : ((const double *)values)[i];
}

static void test_lerp(const recipe *r, cmlp_dtype dtype)
{
    net a, b;
    size_t bytes;
    CHECK(net_new(&a, r, dtype, 1, 1) == CMLP_OK && net_new(&b, r, dtype, 1, 1) == CMLP_OK, "%s", r->name);
    CHECK(fit(&b, 0) == CMLP_OK, "fit of %s", r->name);
    void *from = net_parameters(&a, &bytes), *to = net_parameters(&b, &bytes);
    CHECK(cmlp_flat_lerp(a.layers, b.layers, r->n_layers, 0.25) == CMLP_OK, "lerp");
    void *got = net_parameters(&a, &bytes);
    for (size_t i = 0; i < cmlp_flat_count(a.layers, r->n_layers); i++) {
        double want = 0.75 * number_at(dtype, from, i) + 0.25 * number_at(dtype, to, i);
        CHECK(check_near(number_at(dtype, got, i), want, 1e-6), "%s: parameter %zu", r->name, i);
    }
    CHECK(cmlp_flat_lerp(a.layers, b.layers + 1, 1, 0.5) == CMLP_E_ARGUMENT, "layers of other shapes");
    free(from), free(to), free(got);
    net_free(&a), net_free(&b);
}

/* Frozen layers keep their bits; the others get those that they get when everything is trained, for one step.
 */
static void test_frozen(const recipe *r, cmlp_dtype dtype, int n_threads, size_t frozen)
{
    const double lr = 0.01;
    double loss, lr_now = lr;
    net all, some;
    CHECK(net_new(&all, r, dtype, n_threads, 1) == CMLP_OK &&
              net_new(&some, r, dtype, n_threads, 1) == CMLP_OK,
          "%s", r->name);
    cmlp_plan_free(some.plan);
    cmlp_layer_set_trainable(some.layers[frozen], 0);
    const cmlp_plan_spec spec = {.loss = r->loss, .batch = r->batch, .n_threads = n_threads, .seed = 3};
    CHECK(cmlp_plan_new(&spec, some.layers, r->n_layers, some.opt, &some.plan) == CMLP_OK, "a frozen plan");
    cmlp_data data = net_data(&all);
    data.n = r->batch;
    size_t size = cmlp_kernels_for(dtype)->size;
    for (int step = 0; step < 2; step++) {
        CHECK(cmlp_step(some.plan, &data, lr_now, 0.5, &loss) == CMLP_OK, "step");
        if (step == 0)
            CHECK(cmlp_step(all.plan, &data, lr_now, 0.5, &loss) == CMLP_OK, "step");
        for (size_t i = 0; step == 0 && r->optimizer.clip_norm == 0.0 && i < r->n_layers; i++)
            for (int part = 0; part < cmlp_layer_parts(all.layers[i]); part++) {
                size_t bytes = cmlp_layer_count(all.layers[i], part) * size;
                char *a = malloc(bytes), *b = malloc(bytes);
                cmlp_layer_get(all.layers[i], part, a), cmlp_layer_get(some.layers[i], part, b);
                CHECK(i == frozen || memcmp(a, b, bytes) == 0, "%s: layer %zu beside a frozen one", r->name,
                      i);
                free(a), free(b);
            }
    }
    net fresh;
    CHECK(net_new(&fresh, r, dtype, 1, 0) == CMLP_OK, "%s", r->name);
    for (int part = 0; part < cmlp_layer_parts(fresh.layers[frozen]); part++) {
        size_t bytes = cmlp_layer_count(fresh.layers[frozen], part) * size;
        char *a = malloc(bytes), *b = malloc(bytes);
        cmlp_layer_get(fresh.layers[frozen], part, a), cmlp_layer_get(some.layers[frozen], part, b);
        CHECK(memcmp(a, b, bytes) == 0, "%s: frozen layer %zu has changed", r->name, frozen);
        free(a), free(b);
    }
    net_free(&all), net_free(&some), net_free(&fresh);
}

/* A net on another's layout trains like one with its own; other shapes are refused. */
static void test_like(const recipe *r, cmlp_dtype dtype)
{
    net own, shared, model;
    CHECK(net_new(&own, r, dtype, 2, 1) == CMLP_OK && net_new(&shared, r, dtype, 2, 1) == CMLP_OK &&
              net_new(&model, r, dtype, 2, 1) == CMLP_OK,
          "%s", r->name);
    cmlp_plan_free(shared.plan);
    shared.plan = NULL;
    CHECK(cmlp_plan_like(model.plan, 3, shared.layers, r->n_layers, shared.opt, &shared.plan) == CMLP_OK,
          "like");
    cmlp_plan *none = NULL;
    CHECK(cmlp_plan_like(model.plan, 3, shared.layers, r->n_layers - 1, NULL, &none) == CMLP_E_ARGUMENT &&
              !none,
          "fewer layers");
    CHECK(cmlp_plan_like(model.plan, 3, shared.layers, r->n_layers, NULL, &none) == CMLP_E_ARGUMENT && !none,
          "no optimizer");
    CHECK(cmlp_plan_like(model.plan, 3, own.layers, r->n_layers, shared.opt, &none) == CMLP_E_ARGUMENT &&
              !none,
          "another net's optimizer");
    net_free(&model); /* the layout lives on */
    CHECK(fit(&own, 0) == CMLP_OK && fit(&shared, 0) == CMLP_OK, "fit of %s", r->name);
    CHECK(same_parameters(&own, &shared), "%s: a shared layout trains otherwise", r->name);
    net_free(&own), net_free(&shared);
}

static void test_hold(const recipe *r)
{
    net n;
    CHECK(net_new(&n, r, CMLP_F32, 1, 1) == CMLP_OK, "%s", r->name);
    CHECK(cmlp_layers_hold(n.layers, r->n_layers) == CMLP_OK, "hold");
    CHECK(cmlp_layers_hold(n.layers + 1, 1) == CMLP_E_BUSY, "a second holder");
    CHECK(fit(&n, 0) == CMLP_E_BUSY && cmlp_optimizer_step(n.opt, 0.1, 1.0) == CMLP_E_BUSY,
          "somebody else trains");
    CHECK(fit(&n, 1) == CMLP_OK, "the holder trains");
    CHECK(cmlp_layers_hold(n.layers, 1) == CMLP_E_BUSY, "still held");
    cmlp_layers_release(n.layers, r->n_layers);
    CHECK(fit(&n, 0) == CMLP_OK, "free again");
    net_free(&n);
}

static void test_shapes(void)
{
    const cmlp_layer_spec dense = {.kind = CMLP_DENSE, .n_in = 12, .n_out = 5};
    const cmlp_layer_spec relu = {.kind = CMLP_ACTIVATION, .n_in = 12, .n_out = 12, .activation = CMLP_RELU};
    const cmlp_extent image = {3, 2, 2}, flat = {13, 1, 1};
    cmlp_extent out;
    CHECK(cmlp_layer_shape(&dense, &image, &out) == CMLP_OK && out.channels == 5 && out.height == 1, "dense");
    CHECK(cmlp_layer_shape(&relu, &image, &out) == CMLP_OK && out.channels == 3 && out.width == 2,
          "activation");
    CHECK(cmlp_layer_shape(&dense, &flat, &out) == CMLP_E_ARGUMENT, "13 inputs for 12");
    for (int kind = 0; cmlp_layer_kind_name(kind); kind++)
        CHECK(cmlp_layer_kind_id(cmlp_layer_kind_name(kind)) == kind, "kind %d", kind);
    CHECK(cmlp_layer_kind_id("perceptron") == -1 && !cmlp_layer_kind_name(-1), "unknown kinds");
}

void test_nets(void)
{
    test_shapes();
    for (size_t i = 0; i < N_RECIPES; i++) {
        const recipe *r = recipe_at(i);
        for (cmlp_dtype dtype = CMLP_F32; dtype <= CMLP_F64; dtype++) {
            test_join(r, dtype);
            test_flat(r, dtype);
            test_lerp(r, dtype);
            test_like(r, dtype);
            for (size_t frozen = 0; frozen < r->n_layers; frozen++)
                test_frozen(r, dtype, 1 + (int)(frozen % 2), frozen);
        }
        test_hold(r);
    }
}
