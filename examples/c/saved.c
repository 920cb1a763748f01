/* Goes on with a net that was saved, by the Python package or by a program like this: predicts, trains,
 * saves.
 *
 *   saved NET DATA NEW_NET
 *
 * Each row of DATA, a CSV file, has as many numbers as the net has inputs, and a label from 0 on.
 */
#include <cmlp.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 32, EPOCHS = 10 };

static void check(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "saved: %s\n", what);
        exit(1);
    }
}

/* For calls of the library, which say themselves what is wrong. */
static void done(cmlp_status status) { check(status >= CMLP_OK, cmlp_last_error()); }

typedef struct {
    float *x; /* (n, n_in) */
    int64_t *labels;
    size_t n;
} samples;

static samples read_samples(const char *path, size_t n_in)
{
    samples s = {NULL, NULL, 0};
    FILE *file = fopen(path, "r");
    check(file != NULL, "cannot open the data");
    for (float value; fscanf(file, "%f", &value) == 1; s.n++) {
        s.x = realloc(s.x, (s.n + 1) * n_in * sizeof *s.x);
        s.labels = realloc(s.labels, (s.n + 1) * sizeof *s.labels);
        check(s.x && s.labels, "out of memory");
        for (size_t j = 0; j < n_in; j++) {
            s.x[s.n * n_in + j] = value;
            check(fscanf(file, " ,%f", &value) == 1, "a row has too few numbers");
        }
        s.labels[s.n] = (int64_t)value;
    }
    fclose(file);
    check(s.n > 0, "no data");
    return s;
}

static double accuracy(const cmlp_plan *plan, const samples *s, size_t n_out)
{
    float *y = malloc(s->n * n_out * sizeof *y);
    size_t right = 0;
    check(y != NULL, "out of memory");
    done(cmlp_predict(plan, s->n, s->x, 0, y));
    for (size_t i = 0; i < s->n; i++) {
        size_t best = 0;
        for (size_t k = 1; k < n_out; k++)
            best = y[i * n_out + k] > y[i * n_out + best] ? k : best;
        right += (int64_t)best == s->labels[i];
    }
    free(y);
    return (double)right / (double)s->n;
}

int main(int argc, char **argv)
{
    check(argc == 4, "give the names of a net, of a CSV file, and of the net to save");
    cmlp_model net;
    done(cmlp_load(argv[1], &net));
    check(net.dtype == CMLP_F32, "the net is of float64");
    size_t n_in = cmlp_layer_get_spec(net.layers[0])->n_in;
    size_t n_out = cmlp_layer_get_spec(net.layers[net.n_layers - 1])->n_out;
    printf("%zu layers, %zu inputs, %zu outputs, %zu parameters; also %s\n", net.n_layers, n_in, n_out,
           cmlp_flat_count(net.layers, net.n_layers), net.about);
    samples s = read_samples(argv[2], n_in);
    for (size_t i = 0; i < s.n; i++)
        check(s.labels[i] >= 0 && s.labels[i] < (int64_t)n_out, "a label is not one of the outputs");

    const cmlp_optimizer_spec rule = cmlp_optimizer_defaults(CMLP_ADAM);
    const cmlp_plan_spec spec = {.loss = CMLP_SOFTMAX_CROSS_ENTROPY, .batch = BATCH, .seed = net.seed};
    cmlp_optimizer *optimizer;
    cmlp_plan *plan;
    done(cmlp_optimizer_new(&rule, net.layers, net.n_layers, &optimizer));
    done(cmlp_plan_new(&spec, net.layers, net.n_layers, optimizer, &plan));
    printf("accuracy %.3f\n", accuracy(plan, &s, n_out));

    const cmlp_data data = {.x = s.x, .labels = s.labels, .n = s.n};
    const double lr = 0.001;
    double losses[EPOCHS];
    cmlp_run run = {.epochs = EPOCHS, .shuffle = 1, .lr = &lr, .n_lr = 1, .losses = losses};
    done(cmlp_fit(plan, &data, &run));
    printf("after %d epochs more: loss %.3f, accuracy %.3f\n", EPOCHS, losses[EPOCHS - 1],
           accuracy(plan, &s, n_out));
    done(cmlp_save(argv[3], &net));

    cmlp_plan_free(plan);
    cmlp_optimizer_free(optimizer);
    cmlp_model_free(&net);
    free(s.x);
    free(s.labels);
    return 0;
}
