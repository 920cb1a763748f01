/* Views of images: nothing is read or written outside, the same bits whatever the threads, no allocations,
 * refusals. */
#include "nets.h"

#include <stdlib.h>
#include <string.h>

static const cmlp_view_spec specs[] = {
    {.image = {1, 5, 7}, .height = 3, .width = 4},
    {.image = {2, 5, 7}, .height = 5, .width = 7, .shift = 4, .fill = -1.0},
    {.image = {1, 9, 8}, .height = 9, .width = 8, .rotate = 180.0},
    {.image = {3, 6, 6}, .height = 5, .width = 4, .shift = 3, .elastic = 40.0, .smoothness = 0.5},
    {.image = {1, 1, 1}, .height = 1, .width = 1, .rotate = 90.0, .elastic = 1e6, .smoothness = 64.0},
    {.image = {1, 28, 28}, .height = 24, .width = 24, .rotate = 9.0, .elastic = 34.0, .smoothness = 4.0},
};

/* Numbers of an image are 1 and more, and of a view between them and the fill. */
static void test_memory_of(const cmlp_view_spec *s, cmlp_dtype dtype)
{
    enum { N = 7 };
    size_t size = cmlp_kernels_for(dtype)->size;
    size_t image = s->image.channels * s->image.height * s->image.width,
           view = s->image.channels * s->height * s->width;
    void *x = guarded_new(N * image * size), *y = guarded_new(N * view * size);
    for (size_t i = 0; i < N * image; i++)
        cmlp_set_element(dtype, x, i, 1.0 + (double)(i % image));
    for (uint64_t step = 1; step < 20; step++) {
        CHECK(cmlp_views(dtype, s, N, x, 5, step, 0, y) == CMLP_OK, "%s", cmlp_last_error());
        CHECK(cmlp_all_within(dtype, N * view, y, s->fill, (double)image + 1e-4), "%s: a view of %zu x %zu",
              cmlp_isa(), s->height, s->width);
    }
    guarded_free(x), guarded_free(y);
}

/* Every sample of a recipe is an image of one row. */
static cmlp_status fit(net *n, const cmlp_view_spec *spec, double *loss)
{
    static const double lr = 0.01;
    cmlp_data data = net_data(n);
    cmlp_run run = {.epochs = 2, .shuffle = 1, .lr = &lr, .n_lr = 1, .losses = loss};
    cmlp_status status = cmlp_plan_augment(n->plan, spec);
    status = status ? status : cmlp_fit(n->plan, &data, &run);
    cmlp_plan_cursor(n->plan)->epoch = 0;
    if (!status && cmlp_plan_threads(n->plan) == 1) {
        size_t before = allocations;
        status = cmlp_fit(n->plan, &data, &run);
        CHECK(allocations == before, "%s: %zu allocations", n->recipe->name, allocations - before);
    }
    return status;
}

static void test_training(const recipe *r, cmlp_dtype dtype)
{
    void *values[3] = {NULL};
    size_t bytes = 0;
    for (int threads = 2; threads <= 4; threads++) {
        net n;
        double losses[2];
        CHECK(net_new(&n, r, dtype, threads, 1) == CMLP_OK, "plan of %s", r->name);
        const cmlp_view_spec spec = {.image = {1, 1, net_inputs(&n)},
                                     .height = 1,
                                     .width = net_inputs(&n),
                                     .rotate = 10.0,
                                     .elastic = 2.0,
                                     .smoothness = 1.0};
        CHECK(fit(&n, &spec, losses) == CMLP_OK, "%s: %s", r->name, cmlp_last_error());
        values[threads - 2] = net_parameters(&n, &bytes);
        CHECK(memcmp(values[threads - 2], values[0], bytes) == 0, "%s, %s: bits depend on the threads",
              cmlp_isa(), r->name);
        net_free(&n);
    }
    for (int i = 0; i < 3; i++)
        free(values[i]);
}

static void test_no_allocations(const recipe *r)
{
    net n;
    double losses[2];
    CHECK(net_new(&n, r, CMLP_F32, 1, 1) == CMLP_OK, "plan of %s", r->name);
    const cmlp_view_spec spec = {.image = {1, 1, net_inputs(&n)},
                                 .height = 1,
                                 .width = net_inputs(&n),
                                 .elastic = 2.0,
                                 .smoothness = 1.0};
    CHECK(fit(&n, &spec, losses) == CMLP_OK, "%s: %s", r->name, cmlp_last_error());
    net_free(&n);
}

static void refuse(const cmlp_view_spec *s, const char *words)
{
    float x[64] = {0}, y[64];
    CHECK(cmlp_views(CMLP_F32, s, 1, x, 0, 1, 0, y) == CMLP_E_ARGUMENT, "not refused: %s", words);
    CHECK(strstr(cmlp_last_error(), words) != NULL, "%s; expected %s", cmlp_last_error(), words);
}

static void test_refusals(void)
{
    const cmlp_view_spec good = {.image = {1, 4, 4}, .height = 3, .width = 3};
    cmlp_view_spec s = good;
    s.image.channels = 0, refuse(&s, "spec->image.channels is 0"), s = good;
    s.image.width = (size_t)1 << 40, refuse(&s, "spec->image.width is"), s = good;
    s.height = 5, refuse(&s, "spec->height is 5; expected 1 to 4"), s = good;
    s.width = 0, refuse(&s, "spec->width is 0"), s = good;
    s.shift = 3, refuse(&s, "spec->shift is 3; expected less than 3"), s = good;
    s.rotate = -1.0, refuse(&s, "spec->rotate is -1"), s = good;
    s.elastic = 1e7, refuse(&s, "spec->elastic is 1e+07"), s = good;
    s.elastic = 1.0, refuse(&s, "spec->smoothness is 0; expected 0.01 to 64"), s = good;
    s.fill = 1e31, refuse(&s, "spec->fill is 1e+31");
    net n;
    CHECK(net_new(&n, recipe_at(0), CMLP_F32, 1, 1) == CMLP_OK, "plan");
    CHECK(cmlp_plan_augment(n.plan, &good) == CMLP_E_ARGUMENT, "a view of another size");
    CHECK(strstr(cmlp_last_error(), "spec has views of 9 numbers; expected") != NULL, "%s",
          cmlp_last_error());
    CHECK(cmlp_plan_augment(n.plan, NULL) == CMLP_OK, "%s", cmlp_last_error());
    net_free(&n);
}

void test_views(void)
{
    cmlp_limit_threads(0);
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        test_memory_of(&specs[i], CMLP_F32);
        test_memory_of(&specs[i], CMLP_F64);
    }
    for (size_t i = 0; i < N_RECIPES; i++) {
        test_training(recipe_at(i), CMLP_F32);
        test_training(recipe_at(i), CMLP_F64);
        test_no_allocations(recipe_at(i));
    }
    test_refusals();
    cmlp_limit_threads(1);
}
