/* Model files: what is saved is loaded, damage is refused, a failure leaves the old file; starting values. */
#define _GNU_SOURCE
#include "nets.h"
#include "layers/classes.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

static char folder[] = "/tmp/cmlp-models-XXXXXX", path[64];

static size_t count_files(void)
{
    size_t n = 0;
    DIR *entries = opendir(folder);
    for (const struct dirent *e; (e = readdir(entries));)
        n += e->d_name[0] != '.' || e->d_name[1] == 'n';
    closedir(entries);
    return n;
}

static char *read_file(size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*bytes + 1);
    CHECK(fread(data, 1, *bytes, file) == *bytes, "cannot read the file");
    fclose(file);
    return data;
}

static void write_file(const char *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    fwrite(data, 1, bytes, file);
    fclose(file);
}

/* ---- every kind of layer, every activation ---- */

enum { N = 7, MOST = 4 + 2 * CMLP_N_ACTIVATIONS };

/* Layers as wide as N: dense ones with and without each activation, and each other. */
static size_t every_layer(cmlp_dtype dtype, cmlp_layer **layers)
{
    size_t n = 0;
    const cmlp_layer_spec others[] = {{.kind = CMLP_PRELU, .param = {0.3}},
                                      {.kind = CMLP_DROPOUT, .param = {0.1}},
                                      {.kind = CMLP_RRELU, .param = {0.125, 1.0 / 3}},
                                      {.kind = CMLP_DENSE}};
    for (int i = 0; i < MOST; i++) {
        cmlp_layer_spec spec = {.kind = CMLP_ACTIVATION, .activation = i / 2 % CMLP_N_ACTIVATIONS};
        if (i >= 2 * CMLP_N_ACTIVATIONS)
            spec = others[i - 2 * CMLP_N_ACTIVATIONS];
        else if (i % 2)
            spec.kind = CMLP_DENSE, spec.bias = i % 3 > 0;
        spec.n_in = spec.n_out = N;
        if (cmlp_activation_default(spec.activation) != CMLP_NO_PARAM)
            spec.param[0] = 0.1 * (i + 1);
        CHECK(cmlp_layer_new(dtype, &spec, &layers[n++]) == CMLP_OK, "%s", cmlp_last_error());
    }
    return n;
}

static int same_layers(const cmlp_layer *a, const cmlp_layer *b)
{
    const cmlp_layer_spec *s = cmlp_layer_get_spec(a), *t = cmlp_layer_get_spec(b);
    int has_param =
        cmlp_activation_default(s->activation) != CMLP_NO_PARAM || cmlp_class_of(s)->settings[0].name;
    int same = s->kind == t->kind && s->n_in == t->n_in && s->n_out == t->n_out &&
               s->activation == t->activation && !s->bias == !t->bias &&
               (!has_param || s->param[0] == t->param[0]);
    double x[N * N], y[N * N];
    for (int part = 0; same && part < cmlp_layer_parts(a); part++) {
        memset(x, 0, sizeof x), memset(y, 0, sizeof y);
        cmlp_layer_get(a, part, x), cmlp_layer_get(b, part, y);
        same = memcmp(x, y, sizeof x) == 0;
    }
    return same;
}

static void test_round_trip(cmlp_dtype dtype)
{
    static char about[] =
        "{\"metadata\": {\"a\": [1e400, \"\\ud800\\u0000\"]},\n\"classes\":[\"x\"], \"more\": 1}";
    cmlp_layer *layers[MOST];
    cmlp_model saved = {.dtype = dtype, .seed = UINT64_MAX, .layers = layers, .about = about}, loaded;
    saved.n_layers = every_layer(dtype, layers);
    CHECK(cmlp_init_layers(layers, saved.n_layers, 5) == CMLP_OK, "%s", cmlp_last_error());
    CHECK(cmlp_save(path, &saved) == CMLP_OK, "%s", cmlp_last_error());
    CHECK(cmlp_load(path, &loaded) == CMLP_OK, "%s", cmlp_last_error());
    CHECK(loaded.n_layers == saved.n_layers && loaded.dtype == dtype && loaded.seed == UINT64_MAX,
          "a net of %zu layers", loaded.n_layers);
    for (size_t i = 0; i < loaded.n_layers; i++)
        CHECK(same_layers(layers[i], loaded.layers[i]), "layer %zu is another", i);
    CHECK(loaded.about && strstr(loaded.about, "[1e400, \"\\ud800\\u0000\"]") &&
              strstr(loaded.about, "\"more\": 1") && strstr(loaded.about, "\"link\": null"),
          "%s", loaded.about ? loaded.about : "nothing");
    /* Once more: the same file. */
    size_t n, m;
    char *first = read_file(&n);
    CHECK(cmlp_save(path, &loaded) == CMLP_OK && cmlp_load(path, &saved) == CMLP_OK, "%s", cmlp_last_error());
    CHECK(cmlp_save(path, &saved) == CMLP_OK, "%s", cmlp_last_error());
    char *second = read_file(&m);
    CHECK(n == m && !memcmp(first, second, 8) && count_files() == 1, "%zu and %zu bytes", n, m);
    free(first), free(second);
    cmlp_model_free(&loaded), cmlp_model_free(&saved);
    for (int i = 0; i < MOST; i++)
        cmlp_layer_free(layers[i]);
}

/* ---- refusals ---- */

static void test_bad_models(void)
{
    cmlp_layer *layers[MOST], *other;
    const cmlp_layer_spec wide = {.kind = CMLP_DENSE, .n_in = N + 1, .n_out = 1};
    float weights[N * N] = {NAN};
    size_t n = every_layer(CMLP_F32, layers);
    CHECK(cmlp_layer_new(CMLP_F32, &wide, &other) == CMLP_OK, "%s", cmlp_last_error());
    static char twice[] = "{\"seed\": 1}", broken[] = "{\"a\" 1}", list[] = "[]";
    struct {
        cmlp_model model;
        const char *words;
    } bad[] = {{{.layers = layers}, "n_layers is 0"},
               {{.n_layers = n}, "model->layers is NULL"},
               {{.n_layers = n, .layers = layers, .dtype = CMLP_F64}, "elements of 4 bytes; expected 8"},
               {{.n_layers = 2, .layers = (cmlp_layer *[]){layers[0], other}}, "layers[1]"},
               {{.n_layers = n, .layers = layers, .about = twice}, "the file has from the layers: seed"},
               {{.n_layers = n, .layers = layers, .about = broken}, "about is bad JSON: no colon"},
               {{.n_layers = n, .layers = layers, .about = list}, "about is no JSON object"}};
    unlink(path);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(cmlp_save(path, &bad[i].model) == CMLP_E_ARGUMENT, "%s", bad[i].words);
        CHECK(strstr(cmlp_last_error(), bad[i].words) != NULL, "%s: %s", bad[i].words, cmlp_last_error());
    }
    cmlp_layer_set(layers[1], 0, weights);
    CHECK(cmlp_save(path, &(cmlp_model){.n_layers = n, .layers = layers}) == CMLP_E_ARGUMENT &&
              strstr(cmlp_last_error(), "weight of model->layers[1]"),
          "%s", cmlp_last_error());
    CHECK(cmlp_save(NULL, &bad[0].model) == CMLP_E_ARGUMENT && cmlp_save(path, NULL) == CMLP_E_ARGUMENT &&
              cmlp_load(path, NULL) == CMLP_E_ARGUMENT,
          "NULL is taken");
    CHECK(count_files() == 0, "%zu files", count_files());
    cmlp_layer_free(other);
    for (int i = 0; i < MOST; i++)
        cmlp_layer_free(layers[i]);
}

static cmlp_status save_small(void)
{
    static const cmlp_layer_spec spec = {.kind = CMLP_DENSE, .n_in = 3, .n_out = 2, .bias = 1};
    cmlp_layer *layer = NULL;
    cmlp_status status = cmlp_layer_new(CMLP_F32, &spec, &layer);
    if (!status)
        status = cmlp_save(path, &(cmlp_model){.n_layers = 1, .layers = &layer});
    cmlp_layer_free(layer);
    return status;
}

/* Cut off anywhere, or with any one byte changed: refused, or a net. */
static void test_damage(void)
{
    size_t bytes, refused = 0;
    CHECK(save_small() == CMLP_OK, "%s", cmlp_last_error());
    char *data = read_file(&bytes);
    for (size_t n = 0; n < bytes; n++) {
        cmlp_model model;
        write_file(data, n);
        CHECK(cmlp_load(path, &model) == CMLP_E_FORMAT, "%zu of %zu bytes are read", n, bytes);
        CHECK(!model.layers && !model.about && !model.n_layers, "a model after an error");
    }
    for (size_t i = 0; i < bytes; i++)
        for (int change = 0; change < 3; change++) {
            cmlp_model model;
            char before = data[i];
            data[i] = (char)(change ? data[i] ^ 1 << 3 * change : 0);
            write_file(data, bytes);
            cmlp_status status = cmlp_load(path, &model);
            CHECK(status == CMLP_OK || status == CMLP_E_FORMAT, "status %d", status);
            refused += status != CMLP_OK;
            cmlp_model_free(&model);
            data[i] = before;
        }
    CHECK(refused > bytes, "%zu of %zu", refused, 3 * bytes);
    free(data);
}

static void test_files(void)
{
    cmlp_model model;
    char other[96];
    unlink(path);
    CHECK(cmlp_load(path, &model) == CMLP_E_FILE && strstr(cmlp_last_error(), path) &&
              strstr(cmlp_last_error(), strerror(ENOENT)),
          "%s", cmlp_last_error());
    CHECK(cmlp_load(folder, &model) < 0, "a folder is read");
    snprintf(other, sizeof other, "%s/none/net", folder);
    cmlp_layer *layer = NULL;
    static const cmlp_layer_spec spec = {.kind = CMLP_DENSE, .n_in = 3, .n_out = 2, .bias = 1};
    CHECK(cmlp_layer_new(CMLP_F32, &spec, &layer) == CMLP_OK, "%s", cmlp_last_error());
    const cmlp_model small = {.n_layers = 1, .layers = &layer};
    CHECK(cmlp_save(other, &small) == CMLP_E_FILE && strstr(cmlp_last_error(), strerror(ENOENT)), "%s",
          cmlp_last_error());
    CHECK(cmlp_save(folder, &small) == CMLP_E_FILE, "a folder is replaced");
    CHECK(cmlp_save("", &small) == CMLP_E_FILE, "a file without a name");
    /* A link stays one, and the file that it points to is replaced. */
    snprintf(other, sizeof other, "%s/link", folder);
    CHECK(save_small() == CMLP_OK && !symlink("net", other), "%s", cmlp_last_error());
    CHECK(cmlp_save(other, &small) == CMLP_OK, "%s", cmlp_last_error());
    struct stat about;
    CHECK(!lstat(other, &about) && S_ISLNK(about.st_mode), "the link is gone");
    unlink(other);
    /* What a killed write left an hour ago goes with the next; not what may be under way. */
    static const char *const names[] = {".net.0123456789ab.tmp", ".net.0123456789cd.tmp",
                                        ".net.0123456789a.tmp"};
    for (int i = 0; i < 3; i++) {
        snprintf(other, sizeof other, "%s/%s", folder, names[i]);
        fclose(fopen(other, "w"));
        if (i != 1)
            utime(other, &(struct utimbuf){0, 0});
    }
    size_t before = count_files();
    CHECK(save_small() == CMLP_OK && count_files() == before - 1, "%zu files of %zu", count_files(), before);
    for (int i = 0; i < 3; i++) {
        snprintf(other, sizeof other, "%s/%s", folder, names[i]);
        CHECK(!access(other, F_OK) == (i > 0), "%s", names[i]);
        unlink(other);
    }
    cmlp_layer_free(layer);
}

/* A disk without room, by a limit on the size of files: the old file is whole, and nothing is left of the new
 * one.  What is no file is not replaced. */
static void test_full_disk(void)
{
    struct rlimit limit, before;
    size_t bytes, after;
    char *old = read_file(&bytes);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before, limit.rlim_cur = 100;
    setrlimit(RLIMIT_FSIZE, &limit);
    cmlp_status status = save_small();
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    CHECK(status == CMLP_E_FILE && strstr(cmlp_last_error(), "what was there before is unchanged"), "%s",
          cmlp_last_error());
    char *now = read_file(&after);
    CHECK(bytes == after && !memcmp(old, now, bytes) && count_files() == 1, "the old file has changed");
    free(old), free(now);
    unlink(path);
    CHECK(!mkfifo(path, 0600), "no pipe");
    CHECK(save_small() == CMLP_E_FILE && strstr(cmlp_last_error(), "not a regular file"), "%s",
          cmlp_last_error());
    unlink(path);
}

/* Each allocation may fail. */
static void test_allocations(void)
{
    cmlp_status status = CMLP_E_MEMORY;
    size_t nth = 0;
    CHECK(save_small() == CMLP_OK, "%s", cmlp_last_error());
    while (status == CMLP_E_MEMORY && nth < 1000) {
        cmlp_model model = {.n_layers = 0};
        allocation_fails = allocations + ++nth;
        status = cmlp_load(path, &model);
        int reached = allocations >= allocation_fails;
        allocation_fails = 0;
        CHECK(status == (reached ? CMLP_E_MEMORY : CMLP_OK), "status %d when allocation %zu of loading fails",
              status, nth);
        cmlp_model_free(&model);
    }
    CHECK(nth > 8, "only %zu allocations", nth);
    status = CMLP_E_MEMORY;
    for (nth = 0; status == CMLP_E_MEMORY && nth < 1000;) {
        allocation_fails = allocations + ++nth;
        status = save_small();
        int reached = allocations >= allocation_fails;
        allocation_fails = 0;
        CHECK(status == (reached ? CMLP_E_MEMORY : CMLP_OK), "status %d when allocation %zu of saving fails",
              status, nth);
        CHECK(count_files() == 1, "%zu files", count_files());
    }
    CHECK(nth > 8, "only %zu allocations", nth);
}

/* ---- starting values ---- */

static void moments(const cmlp_layer *layer, double *mean, double *deviation, double *largest)
{
    size_t n = cmlp_layer_count(layer, CMLP_WEIGHT);
    double *w = malloc(n * sizeof *w), sum = 0.0, squares = 0.0;
    cmlp_layer_get(layer, CMLP_WEIGHT, w);
    *largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += w[i], squares += w[i] * w[i];
        *largest = fmax(*largest, fabs(w[i]));
    }
    *mean = sum / (double)n, *deviation = sqrt(squares / (double)n - *mean * *mean);
    free(w);
}

/* Mean and deviation over 40,000 values, within five of their own deviations; a normal one has values beyond
 * three deviations, a uniform one none beyond sqrt 3. */
static void test_starting_values(void)
{
    enum { IN = 400, OUT = 100, COUNT = IN * OUT };
    static const double wanted[] = {2.0 / IN, 2.0 / IN,         1.0 / IN,
                                    1.0 / IN, 2.0 / (IN + OUT), 2.0 / (IN + OUT)};
    const cmlp_layer_spec spec = {.kind = CMLP_DENSE, .n_in = IN, .n_out = OUT, .bias = 1};
    cmlp_layer *layer, *twin;
    double after[OUT] = {1.0}, mean, deviation, largest;
    CHECK(!cmlp_layer_new(CMLP_F64, &spec, &layer) && !cmlp_layer_new(CMLP_F64, &spec, &twin), "layers");
    for (int init = CMLP_HE_NORMAL; init <= CMLP_GLOROT_UNIFORM; init++) {
        double want = sqrt(wanted[init]);
        int is_uniform = init % 2;
        CHECK(cmlp_layer_init(layer, (cmlp_initializer)init, 9, (uint64_t)init) == CMLP_OK, "%s",
              cmlp_last_error());
        moments(layer, &mean, &deviation, &largest);
        CHECK(fabs(mean) < 5.0 * want / sqrt(COUNT), "mean %g for init %d", mean, init);
        CHECK(fabs(deviation / want - 1.0) < 5.0 / sqrt(2.0 * COUNT), "deviation %g for init %d", deviation,
              init);
        CHECK(is_uniform ? largest <= 1.7320509 * want && largest > 1.73 * want
                         : largest > 3.5 * want && largest < 6.0 * want,
              "largest value %g for init %d", largest, init);
    }
    cmlp_layer_set(layer, CMLP_BIAS, after);
    cmlp_layer_init(layer, CMLP_HE_NORMAL, 1, 2), cmlp_layer_init(twin, CMLP_HE_NORMAL, 1, 2);
    cmlp_layer_get(layer, CMLP_BIAS, after);
    for (int i = 0; i < OUT; i++)
        CHECK(after[i] == 0.0, "a bias of %g", after[i]);
    double *a = malloc(COUNT * sizeof *a), *b = malloc(COUNT * sizeof *b);
    cmlp_layer_get(layer, CMLP_WEIGHT, a), cmlp_layer_get(twin, CMLP_WEIGHT, b);
    CHECK(!memcmp(a, b, COUNT * sizeof *a), "other values of the same seed");
    for (int other = 0; other < 2; other++) {
        cmlp_layer_init(twin, CMLP_HE_NORMAL, 1 + other, 3 - other);
        cmlp_layer_get(twin, CMLP_WEIGHT, b);
        int equal = 0;
        for (int i = 0; i < COUNT; i++)
            equal += a[i] == b[i];
        CHECK(!equal, "%d equal values", equal);
    }
    free(a), free(b);
    cmlp_layer_free(layer), cmlp_layer_free(twin);
}

/* The usual values of a net, by what each layer's outputs meet. */
static void test_usual_values(void)
{
    static const cmlp_layer_spec specs[] = {
        {.kind = CMLP_DENSE, .n_in = 100, .n_out = 100, .activation = CMLP_GELU}, /* He */
        {.kind = CMLP_DENSE, .n_in = 100, .n_out = 100, .activation = CMLP_TANH}, /* Xavier */
        {.kind = CMLP_DENSE, .n_in = 100, .n_out = 100}, /* He: dropout, then PReLU */
        {.kind = CMLP_DROPOUT, .n_in = 100, .n_out = 100, .param = {0.5}},
        {.kind = CMLP_PRELU, .n_in = 100, .n_out = 100, .param = {0.25}},
        {.kind = CMLP_DENSE, .n_in = 100, .n_out = 100}, /* Xavier: a dense layer */
        {.kind = CMLP_DENSE, .n_in = 100, .n_out = 100}}; /* Xavier: nothing */
    static const double squares[] = {2, 1, 2, 0, 0, 1, 1};
    cmlp_layer *layers[7];
    for (int i = 0; i < 7; i++)
        CHECK(cmlp_layer_new(CMLP_F64, &specs[i], &layers[i]) == CMLP_OK, "%s", cmlp_last_error());
    CHECK(cmlp_init_layers(layers, 7, 3) == CMLP_OK, "%s", cmlp_last_error());
    for (int i = 0; i < 7; i++) {
        double mean, deviation, largest, slopes[100];
        if (squares[i] > 0.0) {
            moments(layers[i], &mean, &deviation, &largest);
            CHECK(fabs(deviation * deviation * 100 / squares[i] - 1.0) < 0.1, "layer %d has deviation %g", i,
                  deviation);
        } else if (cmlp_layer_parts(layers[i])) {
            cmlp_layer_get(layers[i], 0, slopes);
            CHECK(slopes[0] == 0.25 && slopes[99] == 0.25, "slopes %g", slopes[0]);
        }
        cmlp_layer_free(layers[i]);
    }
}

void test_models(void)
{
    CHECK(mkdtemp(folder) != NULL, "no folder in /tmp");
    snprintf(path, sizeof path, "%s/net", folder);
    test_round_trip(CMLP_F32);
    test_round_trip(CMLP_F64);
    test_bad_models();
    test_damage();
    test_files();
    test_full_disk();
    test_allocations();
    unlink(path);
    CHECK(!rmdir(folder), "%s is not empty", folder);
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    test_starting_values();
    test_usual_values();
}
