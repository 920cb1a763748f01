/* Model files: a net in a safetensors file, its layers described by JSON in the metadata.  The Python package
 * writes and reads the same (cmlp/export/files.py). */
#include "files.h"
#include "layer.h"
#include "layers/classes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT 1
#define MOST_LAYERS 4096
#define MOST_PARAMETERS ((uint64_t)1 << 31)

/* What cmlp_model says by itself; `trainer` is a checkpoint's, and of no use to others.  What else a file
 * says of a net is its `about`. */
static const char *const own_members[] = {"format", "kind",   "dtype",  "seed",
                                          "n_in",   "layers", "frozen", "trainer"};
#define N_OWN (sizeof own_members / sizeof own_members[0])

static int is_own(const json *j, size_t name)
{
    for (size_t i = 0; i < N_OWN; i++)
        if (cmlp_json_is(j, name, own_members[i]))
            return 1;
    return 0;
}

/* ---- reading ---- */

/* A layer before it is made: nothing is allocated by what a file says before all of it is checked. */
typedef struct {
    cmlp_layer_spec spec;
    cmlp_part parts[CMLP_MOST_PARTS];
    size_t n_parts;
    const file_tensor *tensors[CMLP_MOST_PARTS];
} plan_of_layer;

typedef struct {
    tensor_file file;
    json about;
    cmlp_dtype dtype;
    plan_of_layer *layers;
    size_t n_layers;
} reading;

static cmlp_status bad_member(const reading *r, const char *name, const char *expected)
{
    return cmlp_fail(CMLP_E_FORMAT, "%s: %s is missing, or is not %s", r->file.path, name, expected);
}

static cmlp_status bad_setting(const reading *r, size_t layer, const char *name, const char *expected)
{
    return cmlp_fail(CMLP_E_FORMAT, "%s: %s of layer %zu is not %s", r->file.path, name, layer, expected);
}

static cmlp_status read_about(reading *r)
{
    const json *header = &r->file.header;
    size_t text = r->file.metadata ? cmlp_json_member(header, r->file.metadata, "cmlp") : 0;
    if (!text)
        return cmlp_fail(CMLP_E_FORMAT, "%s: no description of a net", r->file.path);
    json *j = &r->about;
    if (cmlp_json_read(j, json_string(header, text), header->values[text].length, 1))
        return j->wrong ? cmlp_fail(CMLP_E_FORMAT, "%s: bad JSON in the description of a net: %s at byte %zu",
                                    r->file.path, j->wrong, j->at)
                        : cmlp_no_memory();
    uint64_t format;
    size_t member = cmlp_json_member(j, 0, "format");
    if (!member || !cmlp_json_whole(j, member, &format) || format != FORMAT)
        return bad_member(r, "format", "1");
    member = cmlp_json_member(j, 0, "kind");
    if (!member || !(cmlp_json_is(j, member, "model") || cmlp_json_is(j, member, "checkpoint")))
        return bad_member(r, "kind", "\"model\" or \"checkpoint\"");
    return CMLP_OK;
}

/* Reads what one layer is made with; *known counts the members that mean something. */
static cmlp_status read_settings(const reading *r, size_t i, size_t object, const layer_class *class,
                                 size_t *known, double *param)
{
    const json *j = &r->about;
    char range[RANGE_TEXT];
    for (int s = 0; s < 2 && class->settings[s].name; s++) {
        const class_setting *setting = &class->settings[s];
        size_t value = cmlp_json_member(j, object, setting->name);
        param[s] = setting->usual;
        *known += value != 0;
        if ((value && !cmlp_json_number(j, value, &param[s])) || !cmlp_setting_fits(class, s, param))
            return bad_setting(r, i, setting->name, cmlp_setting_range(class, s, param, range));
    }
    return CMLP_OK;
}

static int read_width(const json *j, size_t object, const char *name, size_t *width)
{
    uint64_t number = 0;
    size_t value = cmlp_json_member(j, object, name);
    if (!value || !cmlp_json_whole(j, value, &number) || !number || number > MOST_PARAMETERS)
        return 0;
    *width = (size_t)number;
    return 1;
}

static int read_activation(const json *j, size_t value, int *activation)
{
    for (*activation = 0; *activation < CMLP_N_ACTIVATIONS; ++*activation)
        if (cmlp_json_is(j, value, cmlp_activation_name(*activation)))
            return 1;
    return 0;
}

/* n_in, n_out, activation, param, bias. */
static cmlp_status read_own_widths(const reading *r, size_t i, size_t object, size_t *known,
                                   cmlp_layer_spec *spec)
{
    const json *j = &r->about;
    size_t activation = cmlp_json_member(j, object, "activation"),
           param = cmlp_json_member(j, object, "param"), bias = cmlp_json_member(j, object, "bias");
    if (!read_width(j, object, "n_in", &spec->n_in))
        return bad_setting(r, i, "n_in", "from 1 to 2^31");
    if (!read_width(j, object, "n_out", &spec->n_out))
        return bad_setting(r, i, "n_out", "from 1 to 2^31");
    if (activation && !read_activation(j, activation, &spec->activation))
        return bad_setting(r, i, "activation", "the name of one");
    spec->param[0] = cmlp_activation_default(spec->activation);
    /* The Python package writes null for the usual one. */
    if (param && json_type_of(j, param) != JSON_NULL && !cmlp_json_number(j, param, &spec->param[0]))
        return bad_setting(r, i, "param", "a number");
    const layer_class *class = cmlp_class_with_settings(spec);
    char range[RANGE_TEXT];
    if (!cmlp_setting_fits(class, 0, spec->param))
        return bad_setting(r, i, "param", cmlp_setting_range(class, 0, spec->param, range));
    spec->bias = !bias || json_type_of(j, bias) == JSON_TRUE;
    if (bias && !spec->bias && json_type_of(j, bias) != JSON_FALSE)
        return bad_setting(r, i, "bias", "true or false");
    *known += 2u + (activation != 0) + (param != 0) + (bias != 0);
    return CMLP_OK;
}

/* A layer of the class that it names, `width` wide unless it tells its widths. */
static cmlp_status read_layer(const reading *r, size_t i, size_t object, size_t width, cmlp_layer_spec *spec)
{
    const json *j = &r->about;
    size_t name = cmlp_json_member(j, object, "class"), known = 1;
    char text[24] = "";
    if (name && json_type_of(j, name) == JSON_STRING && j->values[name].length < sizeof text)
        memcpy(text, json_string(j, name), j->values[name].length);
    const layer_class *class = name ? cmlp_class_named(text) : NULL;
    /* The length as well: a string may go on behind a 0. */
    if (!class || !cmlp_json_is(j, name, class->name))
        return bad_setting(r, i, "class", "one of the library's own");
    if (cmlp_kind(class->kind)->has_shapes)
        return bad_setting(r, i, "class", "one that this library reads");
    *spec = (cmlp_layer_spec){
        .kind = (cmlp_layer_kind)class->kind, .n_in = width, .n_out = width, .activation = class->activation};
    cmlp_status status = class->has_widths ? read_own_widths(r, i, object, &known, spec)
                                           : read_settings(r, i, object, class, &known, spec->param);
    if (!status && cmlp_json_count(j, object) != known)
        status = cmlp_fail(CMLP_E_FORMAT, "%s: layer %zu, a %s, has settings that are not known",
                           r->file.path, i, class->name);
    return status;
}

/* The input's width: as the file says, or as the first layer does that tells its own. */
static cmlp_status first_width(const reading *r, size_t layers, size_t *width)
{
    const json *j = &r->about;
    size_t n_in = cmlp_json_member(j, 0, "n_in");
    if (n_in && json_type_of(j, n_in) == JSON_NULL) {
        for (size_t at = layers + 1; at < j->values[layers].next; at = j->values[at].next)
            if (cmlp_json_member(j, at, "n_in"))
                return read_width(j, at, "n_in", width) ? CMLP_OK : bad_member(r, "n_in", "from 1 to 2^31");
    } else if (read_width(j, 0, "n_in", width)) {
        return CMLP_OK;
    }
    return bad_member(r, "n_in", "from 1 to 2^31");
}

static cmlp_status read_layers(reading *r)
{
    const json *j = &r->about;
    size_t layers = cmlp_json_member(j, 0, "layers"), width = 0, i = 0;
    r->n_layers = layers && json_type_of(j, layers) == JSON_ARRAY ? cmlp_json_count(j, layers) : 0;
    if (!r->n_layers || r->n_layers > MOST_LAYERS)
        return bad_member(r, "layers", "a list of 1 to 4096 layers");
    r->layers = calloc(r->n_layers, sizeof *r->layers);
    if (!r->layers)
        return cmlp_no_memory();
    cmlp_status status = first_width(r, layers, &width);
    cmlp_extent shape = {width, 1, 1};
    for (size_t at = layers + 1; !status && i < r->n_layers; at = j->values[at].next, i++) {
        plan_of_layer *l = &r->layers[i];
        status = read_layer(r, i, at, shape.channels * shape.height * shape.width, &l->spec);
        const layer_kind *kind = cmlp_kind((int)l->spec.kind);
        if (!status && (!kind->is_sound(&l->spec) || !kind->shape(&l->spec, &shape, &shape)))
            status = bad_setting(r, i, "width", "that of the outputs before it");
        if (!status)
            l->n_parts = kind->parts ? kind->parts(&l->spec, l->parts) : 0;
    }
    return status;
}

static cmlp_status read_members(reading *r)
{
    static const struct {
        const char *name;
        json_type type;
        int may_be_null;
    } others[] = {{"classes", JSON_ARRAY, 1}, {"link", JSON_STRING, 1}, {"metadata", JSON_OBJECT, 0}};
    const json *j = &r->about;
    size_t dtype = cmlp_json_member(j, 0, "dtype");
    if (!dtype || !(cmlp_json_is(j, dtype, "float32") || cmlp_json_is(j, dtype, "float64")))
        return bad_member(r, "dtype", "\"float32\" or \"float64\"");
    r->dtype = cmlp_json_is(j, dtype, "float32") ? CMLP_F32 : CMLP_F64;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        size_t value = cmlp_json_member(j, 0, others[i].name);
        if (!value || !(json_type_of(j, value) == others[i].type ||
                        (others[i].may_be_null && json_type_of(j, value) == JSON_NULL)))
            return bad_member(r, others[i].name, "of its type");
    }
    return read_layers(r);
}

/* The layer and part that a tensor's name tells, "layers.3.weight"; NULL for a name that is none of them. */
static const file_tensor **place_of(reading *r, const file_tensor *t)
{
    const char *name = json_string(&r->file.header, t->name);
    size_t length = r->file.header.values[t->name].length, at = 7, i = 0;
    for (; at < length && name[at] >= '0' && name[at] <= '9' && i < MOST_LAYERS; at++)
        i = 10 * i + (size_t)(name[at] - '0');
    int is_plain = at > 7 && at < length && name[at] == '.' && (name[7] != '0' || at == 8);
    if (!is_plain || i >= r->n_layers)
        return NULL;
    plan_of_layer *l = &r->layers[i];
    for (size_t part = 0; part < l->n_parts; part++)
        if (strlen(l->parts[part].name) == length - at - 1 &&
            memcmp(l->parts[part].name, name + at + 1, length - at - 1) == 0)
            return &l->tensors[part];
    return NULL;
}

static int fits(const file_tensor *t, const cmlp_part *part, cmlp_dtype dtype)
{
    if (t->type != (dtype == CMLP_F32 ? TENSOR_F32 : TENSOR_F64) || t->ndim != part->ndim)
        return 0;
    for (int i = 0; i < t->ndim; i++)
        if (t->shape[i] != part->shape[i])
            return 0;
    return 1;
}

/* The file must have just the tensors that the layers need; a checkpoint has others, by other names. */
static cmlp_status find_tensors(reading *r)
{
    uint64_t total = 0;
    for (size_t i = 0; i < r->file.n_tensors; i++) {
        const file_tensor *t = &r->file.tensors[i];
        const char *name = json_string(&r->file.header, t->name);
        if (strncmp(name, "layers.", 7) != 0)
            continue;
        const file_tensor **place = place_of(r, t);
        if (!place)
            return cmlp_fail(CMLP_E_FORMAT, "%s: tensor %.80s belongs to no layer", r->file.path, name);
        *place = t;
    }
    for (size_t i = 0; i < r->n_layers; i++)
        for (size_t part = 0; part < r->layers[i].n_parts; part++) {
            const file_tensor *t = r->layers[i].tensors[part];
            if (!t || !fits(t, &r->layers[i].parts[part], r->dtype))
                return cmlp_fail(CMLP_E_FORMAT,
                                 "%s: tensor layers.%zu.%s is missing, or of another shape or type",
                                 r->file.path, i, r->layers[i].parts[part].name);
            total += (t->end - t->first) / (r->dtype == CMLP_F32 ? 4 : 8);
        }
    if (total > MOST_PARAMETERS)
        return cmlp_fail(CMLP_E_FORMAT, "%s: %llu parameters; expected 2^31 at most", r->file.path,
                         (unsigned long long)total);
    return CMLP_OK;
}

static cmlp_status read_part(reading *r, const file_tensor *t, cmlp_layer *layer, int part)
{
    void *values = malloc((size_t)(t->end - t->first));
    if (!values)
        return cmlp_no_memory();
    cmlp_status status = cmlp_file_read(&r->file, t, values);
    if (!status && !cmlp_all_within(r->dtype, cmlp_layer_count(layer, part), values, -HUGE_VAL, HUGE_VAL))
        status = cmlp_fail(CMLP_E_FORMAT, "%s: tensor %s has numbers that are not finite", r->file.path,
                           json_string(&r->file.header, t->name));
    if (!status)
        cmlp_layer_set(layer, part, values);
    free(values);
    return status;
}

/* All but what the structure says by itself, as the file has it. */
static cmlp_status copy_about(const reading *r, cmlp_model *model)
{
    const json *j = &r->about;
    json_text t = {.data = NULL};
    for (size_t i = 1; i < j->values[0].next; i = j->values[i + 1].next) {
        if (is_own(j, i))
            continue;
        cmlp_text_add(&t, t.length ? ", " : "{", t.length ? 2 : 1);
        cmlp_text_add(&t, j->text + j->values[i].start, j->values[i].end - j->values[i].start);
        cmlp_text_add(&t, ": ", 2);
        cmlp_text_add(&t, j->text + j->values[i + 1].start, j->values[i + 1].end - j->values[i + 1].start);
    }
    cmlp_text_add(&t, "}", 1);
    model->about = t.data;
    return t.failed ? cmlp_no_memory() : CMLP_OK;
}

static cmlp_status make_model(reading *r, cmlp_model *model)
{
    size_t seed = cmlp_json_member(&r->about, 0, "seed");
    model->dtype = r->dtype;
    if (!seed || !cmlp_json_whole(&r->about, seed, &model->seed))
        return bad_member(r, "seed", "a whole number of 64 bits");
    model->layers = calloc(r->n_layers, sizeof *model->layers);
    cmlp_status status = model->layers ? copy_about(r, model) : cmlp_no_memory();
    for (size_t i = 0; !status && i < r->n_layers; i++) {
        status = cmlp_layer_new(r->dtype, &r->layers[i].spec, &model->layers[i]);
        model->n_layers += !status;
        for (size_t part = 0; !status && part < r->layers[i].n_parts; part++)
            status = read_part(r, r->layers[i].tensors[part], model->layers[i], (int)part);
    }
    return status;
}

/* "frozen": positions of the layers that training leaves alone. */
static cmlp_status read_frozen(const reading *r, cmlp_model *model)
{
    const json *j = &r->about;
    size_t list = cmlp_json_member(j, 0, "frozen");
    if (!list)
        return CMLP_OK;
    if (json_type_of(j, list) != JSON_ARRAY)
        return bad_member(r, "frozen", "a list of positions of layers");
    for (size_t at = list + 1; at < j->values[list].next; at = j->values[at].next) {
        uint64_t i;
        if (!cmlp_json_whole(j, at, &i) || i >= model->n_layers)
            return bad_member(r, "frozen", "a list of positions of layers");
        cmlp_layer_set_trainable(model->layers[i], 0);
    }
    return CMLP_OK;
}

cmlp_status cmlp_load(const char *path, cmlp_model *model)
{
    NEED(path);
    NEED(model);
    reading r = {.n_layers = 0};
    *model = (cmlp_model){.n_layers = 0};
    cmlp_status status = cmlp_file_open(&r.file, path);
    if (!status)
        status = read_about(&r);
    if (!status)
        status = read_members(&r);
    if (!status)
        status = find_tensors(&r);
    if (!status)
        status = make_model(&r, model);
    if (!status)
        status = read_frozen(&r, model);
    if (status)
        cmlp_model_free(model);
    cmlp_file_close(&r.file);
    cmlp_json_free(&r.about);
    free(r.layers);
    return status;
}

void cmlp_model_free(cmlp_model *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < model->n_layers; i++)
        cmlp_layer_free(model->layers[i]);
    free(model->layers);
    free(model->about);
    *model = (cmlp_model){.n_layers = 0};
}

/* ---- writing ---- */

/* The layers must be of one type and follow one another.  *largest: bytes of a part. */
static cmlp_status check_model(const cmlp_model *model, size_t *largest)
{
    size_t size = cmlp_kernels_for(model->dtype)->size;
    NEED(model->layers);
    if (!model->n_layers || model->n_layers > MOST_LAYERS)
        return cmlp_fail(CMLP_E_ARGUMENT, "model->n_layers is %zu; expected 1 to %d", model->n_layers,
                         MOST_LAYERS);
    cmlp_extent shape = {model->layers[0]->spec.n_in, 1, 1};
    for (size_t i = 0; i < model->n_layers; i++) {
        const cmlp_layer *l = model->layers[i];
        if (l->k->size != size)
            return cmlp_fail(CMLP_E_ARGUMENT,
                             "model->layers[%zu] has elements of %zu bytes; expected %zu, by dtype", i,
                             l->k->size, size);
        if (l->kind->has_shapes || cmlp_layer_shape(&l->spec, &shape, &shape))
            return cmlp_fail(CMLP_E_ARGUMENT,
                             "model->layers[%zu] does not take the outputs of the one before", i);
        for (int part = 0; part < l->n_parts; part++) {
            if (!l->k->all_within(panels_size(&l->layout[part].panels), l->parts[part].value, -HUGE_VAL,
                                  HUGE_VAL))
                return cmlp_fail(CMLP_E_ARGUMENT, "%s of model->layers[%zu] has numbers that are not finite",
                                 l->layout[part].info.name, i);
            *largest = cmlp_max(*largest, cmlp_layer_count(l, part) * size);
        }
    }
    return CMLP_OK;
}

static void describe_layer(const cmlp_layer_spec *spec, json_text *t)
{
    const layer_class *class = cmlp_class_of(spec);
    cmlp_text_print(t, "{\"class\": \"%s\"", class->name);
    if (class->has_widths) {
        cmlp_text_print(t, ", \"n_in\": %zu, \"n_out\": %zu", spec->n_in, spec->n_out);
        if (spec->activation != CMLP_IDENTITY)
            cmlp_text_print(t, ", \"activation\": \"%s\"", cmlp_activation_name(spec->activation));
        double usual = cmlp_activation_default(spec->activation);
        if (usual != CMLP_NO_PARAM && spec->param[0] != usual) {
            cmlp_text_print(t, ", \"param\": ");
            cmlp_text_number(t, spec->param[0]);
        }
        if (!spec->bias)
            cmlp_text_print(t, ", \"bias\": false");
    }
    for (int s = 0; s < 2 && class->settings[s].name; s++) {
        cmlp_text_print(t, ", \"%s\": ", class->settings[s].name);
        cmlp_text_number(t, spec->param[s]);
    }
    cmlp_text_print(t, "}");
}

/* The caller's members, and those without which no file is read. */
static cmlp_status add_about(const char *about, json_text *t)
{
    static const char *const needed[][2] = {{"classes", "null"}, {"link", "null"}, {"metadata", "{}"}};
    json j;
    about = about ? about : "{}";
    cmlp_status status = CMLP_OK;
    if (cmlp_json_read(&j, about, strlen(about), 1))
        status = j.wrong
                     ? cmlp_fail(CMLP_E_ARGUMENT, "model->about is bad JSON: %s at byte %zu", j.wrong, j.at)
                     : cmlp_no_memory();
    else if (json_type_of(&j, 0) != JSON_OBJECT)
        status = cmlp_fail(CMLP_E_ARGUMENT, "model->about is no JSON object");
    for (size_t i = 1; !status && i < j.values[0].next; i = j.values[i + 1].next) {
        if (is_own(&j, i))
            status = cmlp_fail(CMLP_E_ARGUMENT,
                               "model->about has a member that the file has from the layers: %.80s",
                               json_string(&j, i));
        cmlp_text_print(t, ", ");
        cmlp_text_add(t, j.text + j.values[i].start, j.values[i + 1].end - j.values[i].start);
    }
    for (int i = 0; !status && i < 3; i++)
        if (!cmlp_json_member(&j, 0, needed[i][0]))
            cmlp_text_print(t, ", \"%s\": %s", needed[i][0], needed[i][1]);
    cmlp_json_free(&j);
    return status;
}

static void describe_frozen(const cmlp_model *model, json_text *t)
{
    int n = 0;
    for (size_t i = 0; i < model->n_layers; i++)
        if (!cmlp_layer_trainable(model->layers[i]))
            cmlp_text_print(t, n++ ? ", %zu" : ", \"frozen\": [%zu", i);
    if (n)
        cmlp_text_print(t, "]");
}

static cmlp_status describe(const cmlp_model *model, json_text *t)
{
    cmlp_text_print(t,
                    "{\"format\": %d, \"kind\": \"model\", \"dtype\": \"%s\", \"seed\": %llu, \"n_in\": %zu",
                    FORMAT, model->dtype == CMLP_F32 ? "float32" : "float64", (unsigned long long)model->seed,
                    model->layers[0]->spec.n_in);
    for (size_t i = 0; i < model->n_layers; i++) {
        cmlp_text_print(t, i ? ", " : ", \"layers\": [");
        describe_layer(&model->layers[i]->spec, t);
    }
    cmlp_text_print(t, "]");
    describe_frozen(model, t);
    cmlp_status status = add_about(model->about, t);
    cmlp_text_print(t, "}");
    return status || !t->failed ? status : cmlp_no_memory();
}

/* The header, filled up with spaces so that the tensors behind it are aligned. */
static cmlp_status make_header(const cmlp_model *model, json_text *t)
{
    json_text about = {.data = NULL};
    uint64_t at = 0;
    cmlp_status status = describe(model, &about);
    cmlp_text_print(t, "{\"__metadata__\":{\"cmlp\":");
    if (!status)
        cmlp_text_quote(t, about.data, about.length);
    cmlp_text_print(t, "}");
    for (size_t i = 0; i < model->n_layers; i++)
        for (int part = 0; part < cmlp_layer_parts(model->layers[i]); part++) {
            const cmlp_part *info = cmlp_layer_part(model->layers[i], part);
            uint64_t end =
                at + cmlp_layer_count(model->layers[i], part) * cmlp_kernels_for(model->dtype)->size;
            cmlp_text_print(t, ",\"layers.%zu.%s\":{\"dtype\":\"%s\",\"shape\":[", i, info->name,
                            model->dtype == CMLP_F32 ? "F32" : "F64");
            for (int axis = 0; axis < info->ndim; axis++)
                cmlp_text_print(t, axis ? ",%zu" : "%zu", info->shape[axis]);
            cmlp_text_print(t, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                            (unsigned long long)end);
            at = end;
        }
    cmlp_text_print(t, "}");
    while (t->length % 8 && !t->failed)
        cmlp_text_print(t, " ");
    free(about.data);
    if (!status && t->failed)
        status = cmlp_no_memory();
    if (!status && t->length > MOST_HEADER)
        status = cmlp_fail(CMLP_E_ARGUMENT,
                           "model->about is too long: a header of %zu bytes; expected %zu at most", t->length,
                           MOST_HEADER);
    return status;
}

static cmlp_status write_layer(new_file *f, const cmlp_layer *layer, void *values)
{
    cmlp_status status = CMLP_OK;
    for (int part = 0; !status && part < layer->n_parts; part++) {
        cmlp_layer_get(layer, part, values);
        status = cmlp_replace_write(f, values, cmlp_layer_count(layer, part) * layer->k->size);
    }
    return status;
}

cmlp_status cmlp_save(const char *path, const cmlp_model *model)
{
    NEED(path);
    NEED(model);
    json_text header = {.data = NULL};
    new_file f = {.file = NULL};
    size_t largest = 1;
    uint64_t length;
    cmlp_status status = check_model(model, &largest);
    if (status)
        return status;
    status = make_header(model, &header);
    void *values = status ? NULL : malloc(largest);
    if (!status && !values)
        status = cmlp_no_memory();
    length = header.length;
    if (!status)
        status = cmlp_replace_begin(&f, path);
    if (!status)
        status = cmlp_replace_write(&f, &length, sizeof length);
    if (!status)
        status = cmlp_replace_write(&f, header.data, header.length);
    for (size_t i = 0; !status && i < model->n_layers; i++)
        status = write_layer(&f, model->layers[i], values);
    if (!status)
        status = cmlp_replace_end(&f);
    free(values);
    free(header.data);
    return status;
}
