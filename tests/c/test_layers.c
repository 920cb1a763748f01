/* Layers, names and refusals. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

static void test_round_trip(cmlp_dtype dtype, size_t n_in, size_t n_out)
{
    const cmlp_kernels *k = cmlp_kernels_for(dtype);
    cmlp_layer_spec spec = {.kind = CMLP_DENSE, .n_in = n_in, .n_out = n_out, .bias = 1};
    cmlp_layer *layer;
    CHECK(cmlp_layer_new(dtype, &spec, &layer) == CMLP_OK, "dense %zux%zu", n_out, n_in);
    for (int part = CMLP_WEIGHT; part <= CMLP_BIAS; part++) {
        size_t rows = part == CMLP_WEIGHT ? n_out : 1, n = part == CMLP_WEIGHT ? n_in : n_out;
        matrix in = matrix_new(k, rows, n, n), out = matrix_new(k, rows, n, n),
               zero = matrix_new(k, rows, n, n);
        matrix_fill(&in, fraction, (unsigned)part);
        memset(zero.data, 0, rows * n * k->size);
        CHECK(cmlp_layer_count(layer, part) == rows * n, "count of part %d of %zux%zu", part, n_out, n_in);
        cmlp_layer_get(layer, part, out.data);
        CHECK(matrix_error(&out, &zero) == 0.0, "part %d of a new %zux%zu is not zero", part, n_out, n_in);
        cmlp_layer_get_grad(layer, part, out.data);
        CHECK(matrix_error(&out, &zero) == 0.0, "gradient %d of a new %zux%zu is not zero", part, n_out,
              n_in);
        cmlp_layer_set(layer, part, in.data);
        cmlp_layer_get(layer, part, out.data);
        CHECK(matrix_error(&out, &in) == 0.0, "%s: part %d of %zux%zu does not come back", k->isa, part,
              n_out, n_in);
        matrix_fill(&in, fraction, 7);
        CHECK(cmlp_layer_set_grad(layer, part, in.data) == CMLP_OK, "set_grad");
        cmlp_layer_get_grad(layer, part, out.data);
        CHECK(matrix_error(&out, &in) == 0.0, "%s: gradient %d of %zux%zu does not come back", k->isa, part,
              n_out, n_in);
        matrix_free(&in), matrix_free(&out), matrix_free(&zero);
    }
    CHECK(strcmp(cmlp_layer_isa(layer), cmlp_isa()) == 0, "a layer of %s", cmlp_layer_isa(layer));
    cmlp_layer_free(layer);
}

static void test_slopes(void)
{
    cmlp_layer_spec spec = {.kind = CMLP_PRELU, .n_in = 13, .n_out = 13, .param = {0.25, 0.0}};
    cmlp_layer *layer;
    double slopes[13];
    CHECK(cmlp_layer_new(CMLP_F64, &spec, &layer) == CMLP_OK, "prelu");
    CHECK(cmlp_layer_parts(layer) == 1 && cmlp_layer_count(layer, 0) == 13 && cmlp_layer_count(layer, 1) == 0,
          "parts of prelu");
    cmlp_layer_get(layer, 0, slopes);
    for (int i = 0; i < 13; i++)
        CHECK(slopes[i] == 0.25, "slope %d starts as %g", i, slopes[i]);
    cmlp_layer_free(layer);
}

static void test_refused_specs(void)
{
    const cmlp_layer_spec bad[] = {
        {.kind = CMLP_DENSE, .n_in = 0, .n_out = 3},
        {.kind = CMLP_DENSE, .n_in = 3, .n_out = 0},
        {.kind = CMLP_DENSE, .n_in = SIZE_MAX / 2, .n_out = SIZE_MAX / 2},
        {.kind = CMLP_DENSE, .n_in = 3, .n_out = 3, .activation = -1},
        {.kind = CMLP_DENSE, .n_in = 3, .n_out = 3, .activation = CMLP_N_ACTIVATIONS},
        {.kind = CMLP_ACTIVATION, .n_in = 3, .n_out = 4},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cmlp_layer *layer = NULL;
        CHECK(cmlp_layer_new(CMLP_F32, &bad[i], &layer) == CMLP_E_ARGUMENT && !layer, "bad layer %zu is made",
              i);
    }
}

static void test_names(void)
{
    for (int i = 0; i < CMLP_N_ACTIVATIONS; i++)
        CHECK(cmlp_activation_id(cmlp_activation_name(i)) == i, "activation %d", i);
    for (int i = 0; i < CMLP_N_LOSSES; i++)
        CHECK(cmlp_loss_id(cmlp_loss_name(i)) == i, "loss %d", i);
    for (int i = 0; i < CMLP_N_OPTIMIZERS; i++)
        CHECK(cmlp_optimizer_id(cmlp_optimizer_name(i)) == i, "optimizer %d", i);
    CHECK(cmlp_activation_id("rellu") == -1 && cmlp_loss_id("") == -1 && cmlp_optimizer_id("SGD") == -1,
          "an unknown name is known");
    CHECK(!cmlp_activation_name(-1) && !cmlp_loss_name(CMLP_N_LOSSES) && cmlp_optimizer_slots(99) == -1,
          "an unknown number has a name");
    const char *isa = cmlp_isa();
    CHECK(cmlp_set_isa("z80") == CMLP_E_ARGUMENT && cmlp_isa() == isa, "an unknown instruction set is taken");
}

void test_layers(void)
{
    static const size_t sizes[] = {1, 2, 3, 7, 8, 15, 16, 17, 33, 48, 49, 63, 65, 129, 200};
    size_t n = sizeof sizes / sizeof sizes[0];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            test_round_trip(CMLP_F32, sizes[i], sizes[j]);
            test_round_trip(CMLP_F64, sizes[i], sizes[j]);
        }
    test_slopes();
    test_refused_specs();
    test_names();
}
