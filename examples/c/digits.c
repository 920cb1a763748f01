/* Learns handwritten digits from a CSV file, each row 64 pixels from 0 to 16 and the digit.  The package has
 * such images:
 *
 *   python -c "import cmlp, numpy; d = cmlp.datasets.digits()
 *   numpy.savetxt('digits.csv', numpy.c_[16 * d.x, d.y], '%d', ',')"
 *   digits digits.csv
 */
#include <cmlp.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 64, HIDDEN = 64, CLASSES = 10, EPOCHS = 30, SEED = 0 };

typedef struct {
    float (*x)[PIXELS];
    int64_t *labels;
    size_t n;
} images;

static void check(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "digits: %s\n", what);
        exit(1);
    }
}

static void *room(size_t n, size_t size)
{
    void *p = calloc(n, size);
    check(p != NULL, "out of memory");
    return p;
}

/* The rows of the file in a random order, so that any part of them is a fair sample. */
static images read_images(const char *path)
{
    FILE *file = fopen(path, "r");
    check(file != NULL, "cannot open the file");
    size_t n = 0;
    for (int c; (c = getc(file)) != EOF;)
        n += c == '\n';
    check(n > 0, "no rows");
    rewind(file);

    images a = {room(n, sizeof *a.x), room(n, sizeof *a.labels), n};
    int64_t *order = room(n, sizeof *order);
    cmlp_permutation(n, 0, 0, order);
    for (size_t i = 0; i < n; i++) {
        int value;
        for (size_t j = 0; j < PIXELS; j++) {
            check(fscanf(file, "%d,", &value) == 1, "a row is not 65 whole numbers");
            a.x[order[i]][j] = (float)value / 16;
        }
        check(fscanf(file, "%d", &value) == 1 && value >= 0 && value < CLASSES, "a label is not 0 to 9");
        a.labels[order[i]] = value;
    }
    free(order);
    fclose(file);
    return a;
}

/* For calls of the library, which say themselves what is wrong. */
static void done(cmlp_status status) { check(status >= CMLP_OK, cmlp_last_error()); }

static cmlp_layer *dense(size_t n_in, size_t n_out, cmlp_activation activation)
{
    const cmlp_layer_spec spec = {
        .kind = CMLP_DENSE, .n_in = n_in, .n_out = n_out, .activation = activation, .bias = 1};
    cmlp_layer *layer;
    done(cmlp_layer_new(CMLP_F32, &spec, &layer));
    return layer;
}

static double accuracy(const cmlp_plan *plan, const float (*x)[PIXELS], const int64_t *labels, size_t n)
{
    float (*y)[CLASSES] = room(n, sizeof *y);
    done(cmlp_predict(plan, n, x, 0, y));
    size_t right = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t best = 0;
        for (int64_t k = 1; k < CLASSES; k++)
            best = y[i][k] > y[i][best] ? k : best;
        right += best == labels[i];
    }
    free(y);
    return (double)right / (double)n;
}

int main(int argc, char **argv)
{
    check(argc == 2, "give the name of a CSV file");
    images all = read_images(argv[1]);
    size_t n_test = all.n / 5, n = all.n - n_test;
    printf("%zu images to train on, %zu to test\n", n, n_test);

    cmlp_layer *layers[2] = {dense(PIXELS, HIDDEN, CMLP_RELU), dense(HIDDEN, CLASSES, CMLP_IDENTITY)};
    done(cmlp_init_layers(layers, 2, SEED));
    const cmlp_optimizer_spec rule = {.kind = CMLP_SGD, .momentum = 0.9};
    cmlp_optimizer *optimizer;
    done(cmlp_optimizer_new(&rule, layers, 2, &optimizer));
    const cmlp_plan_spec spec = {.loss = CMLP_SOFTMAX_CROSS_ENTROPY, .batch = 32, .seed = SEED};
    cmlp_plan *plan;
    done(cmlp_plan_new(&spec, layers, 2, optimizer, &plan));

    const cmlp_data data = {.x = all.x, .labels = all.labels, .n = n};
    const double lr = 0.05;
    double losses[EPOCHS];
    cmlp_run run = {.epochs = EPOCHS, .shuffle = 1, .lr = &lr, .n_lr = 1, .losses = losses};
    done(cmlp_fit(plan, &data, &run));
    printf("loss %.3f in the first epoch, %.3f in the last\n", losses[0], losses[run.n_losses - 1]);
    printf("test accuracy %.3f\n",
           accuracy(plan, (const float (*)[PIXELS])(all.x + n), all.labels + n, n_test));

    cmlp_plan_free(plan);
    cmlp_optimizer_free(optimizer);
    for (int i = 0; i < 2; i++)
        cmlp_layer_free(layers[i]);
    free(all.x);
    free(all.labels);
    return 0;
}
