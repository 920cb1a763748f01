/* Learns the exclusive or. */
#include <cmlp.h>
#include <stdio.h>
#include <stdlib.h>

static void check(cmlp_status status)
{
    if (status != CMLP_OK) {
        fprintf(stderr, "xor: %s\n", status < 0 ? cmlp_last_error() : cmlp_strerror(status));
        exit(1);
    }
}

int main(void)
{
    const float x[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}}, t[4] = {0, 1, 1, 0};
    const float start[2][2] = {{0.8f, 1.1f}, {-0.9f, 0.7f}}, out_start[2] = {0.6f, -1.0f};

    const cmlp_layer_spec specs[2] = {
        {.kind = CMLP_DENSE, .n_in = 2, .n_out = 2, .activation = CMLP_TANH, .bias = 1},
        {.kind = CMLP_DENSE, .n_in = 2, .n_out = 1, .activation = CMLP_IDENTITY, .bias = 1},
    };
    cmlp_layer *layers[2];
    for (int i = 0; i < 2; i++)
        check(cmlp_layer_new(CMLP_F32, &specs[i], &layers[i]));
    cmlp_layer_set(layers[0], CMLP_WEIGHT, start);
    cmlp_layer_set(layers[1], CMLP_WEIGHT, out_start);

    const cmlp_optimizer_spec rule = {.kind = CMLP_SGD, .momentum = 0.9};
    cmlp_optimizer *optimizer;
    check(cmlp_optimizer_new(&rule, layers, 2, &optimizer));
    const cmlp_plan_spec spec = {.loss = CMLP_SQUARED_ERROR, .batch = 4};
    cmlp_plan *plan;
    check(cmlp_plan_new(&spec, layers, 2, optimizer, &plan));

    const cmlp_data data = {.x = x, .t = t, .n = 4};
    const double lr = 0.1;
    static double losses[1000];
    cmlp_run run = {.epochs = 1000, .shuffle = 1, .lr = &lr, .n_lr = 1, .losses = losses};
    check(cmlp_fit(plan, &data, &run));

    float y[4];
    check(cmlp_predict(plan, 4, x, 0, y));
    for (int i = 0; i < 4; i++)
        printf("%g xor %g = %.2f\n", x[i][0], x[i][1], y[i] + 0.001f);

    cmlp_plan_free(plan);
    cmlp_optimizer_free(optimizer);
    for (int i = 0; i < 2; i++)
        cmlp_layer_free(layers[i]);
    return 0;
}
