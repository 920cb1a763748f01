/* Every call that is refused says which argument is wrong, what came and what was expected. */
#include "nets.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

/* The call gives this status, and its message has these words. */
#define REFUSED(status, words, call)                                                                    \
    do {                                                                                                \
        cmlp_status got = call;                                                                         \
        CHECK(got == status, "%s: status %d", #call, (int)got);                                         \
        CHECK(strstr(cmlp_last_error(), words) != NULL, "%s: %s", #call, cmlp_last_error());            \
    } while (0)
#define BAD(words, call) REFUSED(CMLP_E_ARGUMENT, words, call)

static void test_texts(void)
{
    for (int status = CMLP_E_FORMAT; status <= CMLP_DIVERGED; status++)
        CHECK(strcmp(cmlp_strerror((cmlp_status)status), "unknown status") != 0, "status %d", status);
    CHECK(strcmp(cmlp_strerror((cmlp_status)99), "unknown status") == 0, "%s",
          cmlp_strerror((cmlp_status)99));
}

static void refuse_layers(void)
{
    const cmlp_layer_spec good = {.kind = CMLP_DENSE, .n_in = 3, .n_out = 2, .bias = 1};
    cmlp_layer *layer;
    float values[6] = {0};
    CHECK(cmlp_layer_new(CMLP_F32, &good, &layer) == CMLP_OK, "%s", cmlp_last_error());
    BAD("spec is NULL", cmlp_layer_new(CMLP_F32, NULL, &layer));
    BAD("out is NULL", cmlp_layer_new(CMLP_F32, &good, NULL));
    BAD("dtype is 7", cmlp_layer_new((cmlp_dtype)7, &good, &layer));
    static const struct {
        cmlp_layer_spec spec;
        const char *words;
    } bad[] = {
        {{.kind = (cmlp_layer_kind)99, .n_in = 1, .n_out = 1}, "spec->kind is 99"},
        {{.kind = CMLP_DENSE, .n_out = 1}, "spec->n_in is 0; expected 1 to"},
        {{.kind = CMLP_DENSE, .n_in = 1}, "spec->n_out is 0"},
        {{.kind = CMLP_DENSE, .n_in = SIZE_MAX, .n_out = 1}, "spec->n_in is "},
        {{.kind = CMLP_DENSE, .n_in = SIZE_MAX / 5000, .n_out = SIZE_MAX / 5000}, "more weights than memory"},
        {{.kind = CMLP_DENSE, .n_in = 1, .n_out = 1, .activation = -1}, "spec->activation is -1"},
        {{.kind = CMLP_DENSE, .n_in = 1, .n_out = 1, .activation = CMLP_ELU, .param = {NAN}},
         "expected the alpha of ELU"},
        {{.kind = CMLP_ACTIVATION, .n_in = 1, .n_out = 2}, "expected them equal"},
        {{.kind = CMLP_ACTIVATION, .n_in = 1, .n_out = 1, .activation = CMLP_ELU},
         "expected the alpha of ELU, a number in (0, inf)"},
        {{.kind = CMLP_DROPOUT, .n_in = 1, .n_out = 1, .param = {1.0}},
         "expected the rate of Dropout, a number in [0, 1)"},
        {{.kind = CMLP_DROPOUT, .n_in = 1, .n_out = 1, .param = {-0.1}}, "spec->param[0] is -0.1"},
        {{.kind = CMLP_PRELU, .n_in = 1, .n_out = 1, .param = {INFINITY}}, "init of PReLU"},
        {{.kind = CMLP_RRELU, .n_in = 1, .n_out = 1, .param = {0.3, 0.2}},
         "upper of RReLU, a number in [0.3, inf)"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cmlp_layer *none = NULL;
        BAD(bad[i].words, cmlp_layer_new(CMLP_F32, &bad[i].spec, &none));
        CHECK(none == NULL, "a layer in spite of %s", bad[i].words);
    }
    BAD("part is 2; expected less than 2", cmlp_layer_set(layer, 2, values));
    BAD("part is -1", cmlp_layer_get(layer, -1, values));
    BAD("values is NULL", cmlp_layer_get(layer, 0, NULL));
    BAD("layer is NULL", cmlp_layer_set_grad(NULL, 0, values));
    BAD("part is 5", cmlp_layer_get_grad(layer, 5, values));
    BAD("layers[0] is NULL", cmlp_layers_join((cmlp_layer *[]){NULL}, 1));
    BAD("values is NULL", cmlp_flat_get(&layer, 1, CMLP_VALUES, NULL));
    BAD("init is 77", cmlp_layer_init(layer, (cmlp_initializer)77, 0, 0));
    BAD("name is best", cmlp_set_isa("best"));
    cmlp_layer_free(layer);
}

static void refuse_optimizers(void)
{
    const cmlp_layer_spec spec = {.kind = CMLP_DENSE, .n_in = 3, .n_out = 2, .bias = 1};
    cmlp_layer *layer;
    cmlp_optimizer *opt;
    float values[8] = {0};
    CHECK(cmlp_layer_new(CMLP_F32, &spec, &layer) == CMLP_OK, "%s", cmlp_last_error());
    for (int kind = 0; kind < CMLP_N_OPTIMIZERS; kind++) {
        cmlp_optimizer_spec s = cmlp_optimizer_defaults(kind);
        CHECK(cmlp_optimizer_new(&s, &layer, 1, &opt) == CMLP_OK, "%s", cmlp_last_error());
        BAD("slot is 9", cmlp_optimizer_get_slot(opt, 9, values));
        cmlp_optimizer_settings(opt)->clip_norm = -1.0;
        BAD("spec->clip_norm is -1", cmlp_optimizer_step(opt, 0.1, 1.0));
        cmlp_optimizer_free(opt);
        if (kind != CMLP_SGD) {
            s = (cmlp_optimizer_spec){.kind = kind};
            BAD("spec->eps is 0; expected above 0", cmlp_optimizer_new(&s, &layer, 1, &opt));
        }
    }
    cmlp_optimizer_spec s = cmlp_optimizer_defaults(CMLP_ADAM);
    double *const numbers[] = {&s.momentum,     &s.beta1, &s.beta2,      &s.rho,      &s.eps,
                               &s.weight_decay, &s.l1,    &s.clip_value, &s.clip_norm};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        static const double bad[] = {-1e-9, NAN, INFINITY, 1.0};
        double before = *numbers[i];
        for (size_t k = 0; k < (i < 4 ? 4 : 3); k++) {
            *numbers[i] = bad[k];
            BAD("spec->", cmlp_optimizer_new(&s, &layer, 1, &opt));
        }
        *numbers[i] = before;
    }
    BAD("n_layers is 0", cmlp_optimizer_new(&s, &layer, 0, &opt));
    s.kind = 99;
    BAD("spec->kind is 99", cmlp_optimizer_new(&s, &layer, 1, &opt));
    cmlp_layer_free(layer);
}

static int answer_is_no(void *ctx) { return (void)ctx, 0; }

static void refuse_plans(void)
{
    net n, other, bare;
    CHECK(!net_new(&n, recipe_at(0), CMLP_F32, 1, 1) && !net_new(&other, recipe_at(0), CMLP_F64, 1, 1) &&
              !net_new(&bare, recipe_at(0), CMLP_F32, 1, 0),
          "nets");
    size_t n_layers = n.recipe->n_layers;
    cmlp_plan_spec spec = {.loss = n.recipe->loss, .batch = 8};
    cmlp_plan *plan;
    BAD("opt is for other layers", cmlp_plan_new(&spec, bare.layers, n_layers, n.opt, &plan));
    BAD("opt is for 3 layers", cmlp_plan_new(&spec, n.layers, 1, n.opt, &plan));
    BAD("n_layers is 0", cmlp_plan_new(&spec, n.layers, 0, NULL, &plan));
    BAD("layers[1] has elements of 8 bytes",
        cmlp_plan_new(&spec, (cmlp_layer *[]){n.layers[0], other.layers[1]}, 2, NULL, &plan));
    BAD("layers[1] has n_in 64; expected 4",
        cmlp_plan_new(&spec, (cmlp_layer *[]){n.layers[2], n.layers[1]}, 2, NULL, &plan));
    BAD("layers is NULL", cmlp_plan_new(&spec, NULL, 1, NULL, &plan));
    spec.batch = 0;
    BAD("spec->batch is 0", cmlp_plan_new(&spec, n.layers, n_layers, n.opt, &plan));
    spec.batch = 8, spec.loss = -1;
    BAD("spec->loss is -1", cmlp_plan_new(&spec, n.layers, n_layers, n.opt, &plan));
    spec.loss = 99;
    BAD("spec->loss is 99", cmlp_plan_new(&spec, n.layers, n_layers, n.opt, &plan));
    spec.loss = CMLP_SOFTMAX_CROSS_ENTROPY;
    REFUSED(CMLP_E_PAIR, "softmax_cross_entropy does not go with the output activation tanh",
            cmlp_plan_new(&spec, n.layers, 1, NULL, &plan));
    BAD("opt is NULL; expected one", cmlp_plan_like(n.plan, 0, n.layers, n_layers, NULL, &plan));

    static double lr[2] = {0.1, 0.1}, losses[4], loss;
    cmlp_data data = net_data(&n), none = data, both = data, nowhere = data;
    cmlp_run run = {.epochs = 2, .lr = lr, .n_lr = 1, .losses = losses, .poll = answer_is_no};
    cmlp_run bad = run;
    none.labels = NULL, both.t = n.t, nowhere.x = NULL;
    BAD("data->labels and data->t are NULL", cmlp_fit(n.plan, &none, &run));
    BAD("data->labels and data->t are both given", cmlp_fit(n.plan, &both, &run));
    BAD("data->x is NULL", cmlp_fit(n.plan, &nowhere, &run));
    BAD("data is NULL", cmlp_fit(n.plan, NULL, &run));
    BAD("run is NULL", cmlp_fit(n.plan, &data, NULL));
    BAD("plan has no optimizer", cmlp_fit(bare.plan, &data, &run));
    bad.n_lr = 2;
    BAD("run->lr has 2 values; expected 1, or 8", cmlp_fit(n.plan, &data, &bad));
    bad = run, bad.epochs = 0;
    BAD("run->epochs is 0", cmlp_fit(n.plan, &data, &bad));
    bad = run, bad.losses = NULL;
    BAD("run->losses is NULL", cmlp_fit(n.plan, &data, &bad));
    bad = run, bad.momentum = lr;
    BAD("run->momentum has 0 values", cmlp_fit(n.plan, &data, &bad));
    BAD("data->n is 209; expected 1 to 64", cmlp_step(n.plan, &data, 0.1, 0.9, &loss));
    data.n = 8;
    BAD("lr is nan", cmlp_step(n.plan, &data, NAN, 0.9, &loss));
    BAD("plan has an optimizer", cmlp_gradient(n.plan, &data, &loss));
    BAD("plan has no loss", cmlp_gradient(bare.plan, &data, &loss));
    BAD("plan has an optimizer", cmlp_forward(n.plan, 1, n.x, 0, n.t));
    BAD("n is 65; expected 1 to 64", cmlp_forward(bare.plan, 65, n.x, 0, n.t));
    BAD("has not been through cmlp_forward", cmlp_backward(bare.plan, n.t, NULL));
    BAD("y is NULL", cmlp_predict(n.plan, 1, n.x, 0, NULL));
    BAD("n is ", cmlp_predict(n.plan, SIZE_MAX, n.x, 0, n.t));
    CHECK(cmlp_predict(n.plan, 0, NULL, 0, NULL) == CMLP_OK, "no rows");
    CHECK(cmlp_layers_hold(n.layers, n_layers) == CMLP_OK, "hold");
    REFUSED(CMLP_E_BUSY, "layers[0] is being trained, or held", cmlp_step(n.plan, &data, 0.1, 0.9, &loss));
    cmlp_layers_release(n.layers, n_layers);
    net_free(&n), net_free(&other), net_free(&bare);
}

static void refuse_arrays(void)
{
    const cmlp_shape good = {.dtype = CMLP_F32, .batch = 2, .n_in = 2, .n_out = 2},
                     bad = {.dtype = (cmlp_dtype)3};
    float a[4] = {0}, b[4] = {0}, c[4];
    double value;
    int64_t labels[2] = {0, 1};
    const cmlp_optimizer_spec zeros = {.kind = CMLP_ADAM}, adam = cmlp_optimizer_defaults(CMLP_ADAM);
    BAD("shape is NULL", cmlp_dense_forward(NULL, a, b, NULL, 0, 0.0, c));
    BAD("dtype is 3", cmlp_dense_forward(&bad, a, b, NULL, 0, 0.0, c));
    BAD("w is NULL", cmlp_dense_forward(&good, a, NULL, NULL, 0, 0.0, c));
    BAD("activation is 99", cmlp_dense_forward(&good, a, b, NULL, 99, 0.0, c));
    BAD("activation is softmax", cmlp_dense_backward_dx(&good, a, b, c, CMLP_SOFTMAX, 0.0, c));
    BAD("dw is NULL", cmlp_dense_backward_dw(&good, a, b, NULL, c));
    BAD("slots[0] is NULL", cmlp_dense_backward_update(&good, a, b, c, c, &adam, (void *[4]){NULL}, 0.1, 1));
    BAD("t is 0", cmlp_dense_backward_update(&good, a, b, c, c, &adam, (void *[4]){a, a, a, a}, 0.1, 0));
    BAD("x is NULL", cmlp_activation_forward(&good, 0, 0.0, NULL, c));
    BAD("s is NULL", cmlp_activation_backward(&good, 0, 0.0, a, NULL, c));
    BAD("y is NULL", cmlp_softmax(&good, 0, a, NULL));
    BAD("loss is -1", cmlp_loss_delta(&good, -1, 0.0, a, labels, NULL, NULL, c, &value));
    BAD("labels and t are NULL", cmlp_loss_delta(&good, 0, 0.0, a, NULL, NULL, NULL, c, &value));
    BAD("spec->eps is 0", cmlp_update(CMLP_F32, &zeros, 4, a, b, c, c, 0.1, 1, 1));
    BAD("s2 is NULL", cmlp_update(CMLP_F32, &adam, 4, a, b, c, NULL, 0.1, 1, 1));
    BAD("lr is inf", cmlp_update(CMLP_F32, &adam, 4, a, b, c, c, INFINITY, 1, 1));
}

static void *fail_elsewhere(void *ctx)
{
    CHECK(cmlp_last_error()[0] == 0, "another thread's error: %s", cmlp_last_error());
    BAD("name is elsewhere", cmlp_set_isa("elsewhere"));
    return ctx;
}

static void test_each_thread_has_its_own(void)
{
    pthread_t id;
    BAD("name is here", cmlp_set_isa("here"));
    pthread_create(&id, NULL, fail_elsewhere, NULL);
    pthread_join(id, NULL);
    CHECK(strstr(cmlp_last_error(), "here") && !strstr(cmlp_last_error(), "elsewhere"), "%s",
          cmlp_last_error());
    CHECK(cmlp_set_isa(cmlp_isa()) == CMLP_OK && strstr(cmlp_last_error(), "here"),
          "a success changes the message");
}

void test_errors(void)
{
    test_texts();
    refuse_layers();
    refuse_optimizers();
    refuse_plans();
    refuse_arrays();
    test_each_thread_has_its_own();
}
