/* Model files by the library alone.
 *
 *   files read FILE...          "read LAYERS PARAMETERS" or what is wrong, a line each; 1 if one was refused
 *   files copy FILE X NEW       predicts 3 rows of X into the file y, and writes the net again
 *   files make NEW              writes a new net
 */
#include <cmlp.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(cmlp_status status)
{
    if (status < 0)
        printf("%s: %s\n", cmlp_strerror(status), cmlp_last_error());
    return status < 0;
}

static int read_files(int n, char **paths)
{
    int refused = 0;
    for (int i = 0; i < n; i++) {
        cmlp_model model;
        if (failed(cmlp_load(paths[i], &model)))
            refused = 1;
        else
            printf("read %zu %zu\n", model.n_layers, cmlp_flat_count(model.layers, model.n_layers));
        cmlp_model_free(&model);
    }
    return refused;
}

static int copy(const char *from, const char *inputs, const char *to)
{
    cmlp_model model;
    cmlp_plan *plan = NULL;
    if (failed(cmlp_load(from, &model)))
        return 1;
    const cmlp_plan_spec spec = {.loss = -1, .batch = 1};
    size_t size = model.dtype == CMLP_F32 ? sizeof(float) : sizeof(double);
    size_t n_in = cmlp_layer_get_spec(model.layers[0])->n_in * 3 * size;
    size_t n_out = cmlp_layer_get_spec(model.layers[model.n_layers - 1])->n_out * 3 * size;
    void *x = malloc(n_in), *y = malloc(n_out);
    FILE *file = fopen(inputs, "rb"), *out = fopen("y", "wb");
    int wrong = !x || !y || !file || !out || fread(x, 1, n_in, file) != n_in;
    wrong = wrong || failed(cmlp_plan_new(&spec, model.layers, model.n_layers, NULL, &plan));
    wrong = wrong || failed(cmlp_predict(plan, 3, x, 0, y)) || fwrite(y, 1, n_out, out) != n_out;
    wrong = wrong || failed(cmlp_save(to, &model));
    fclose(file), fclose(out);
    cmlp_plan_free(plan);
    cmlp_model_free(&model);
    free(x), free(y);
    return wrong;
}

static int make(const char *to)
{
    static const cmlp_layer_spec specs[3] = {
        {.kind = CMLP_DENSE, .n_in = 4, .n_out = 8, .activation = CMLP_ELU, .param = {0.5}, .bias = 1},
        {.kind = CMLP_DROPOUT, .n_in = 8, .n_out = 8, .param = {0.5}},
        {.kind = CMLP_DENSE, .n_in = 8, .n_out = 2, .bias = 1}};
    cmlp_layer *layers[3];
    cmlp_model model = {.dtype = CMLP_F64, .seed = 7, .n_layers = 3, .layers = layers};
    for (int i = 0; i < 3; i++)
        if (failed(cmlp_layer_new(CMLP_F64, &specs[i], &layers[i])))
            return 1;
    int wrong = failed(cmlp_init_layers(layers, 3, 7)) || failed(cmlp_save(to, &model));
    for (int i = 0; i < 3; i++)
        cmlp_layer_free(layers[i]);
    return wrong;
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "read"))
        return read_files(argc - 2, argv + 2);
    if (argc == 5 && !strcmp(argv[1], "copy"))
        return copy(argv[2], argv[3], argv[4]);
    if (argc == 3 && !strcmp(argv[1], "make"))
        return make(argv[2]);
    fprintf(stderr, "usage: see the source\n");
    return 2;
}
