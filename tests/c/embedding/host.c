/* A program that loads plug-ins which have the library in them, and knows nothing of it itself.
 *
 *   host reload TIMES PLUGIN...     load all, use, unload, so many times; then no thread of theirs is left
 *   host at-once TIMES PLUGIN...    all plug-ins at work at the same time, each in a thread of its own
 *   host exit PLUGIN                exit while the plug-in's workers are idle
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t run_fn(int n_threads, int limited);

typedef struct {
    const char *path;
    void *handle;
    run_fn *run;
    uint64_t bits;
} plugin;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static int n_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    int n = 0;
    for (const struct dirent *entry; (entry = readdir(folder));)
        n += entry->d_name[0] != '.';
    closedir(folder);
    return n;
}

static int is_mapped(const char *path)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    int found = 0;
    while (fgets(line, sizeof line, maps))
        found |= strstr(line, path) != NULL;
    fclose(maps);
    return found;
}

static void load(plugin *p)
{
    p->handle = dlopen(p->path, RTLD_NOW | RTLD_GLOBAL);
    if (!p->handle)
        fail("dlopen", dlerror());
    *(void **)&p->run = dlsym(p->handle, "plugin_run");
    if (!p->run)
        fail("dlsym", dlerror());
}

static void unload(plugin *p)
{
    if (dlclose(p->handle))
        fail("dlclose", dlerror());
    if (is_mapped(p->path))
        fail(p->path, "still mapped after dlclose");
}

static void *use(void *arg)
{
    plugin *p = arg;
    p->bits = p->run(4, 0);
    return NULL;
}

static void check_bits(const plugin *p, uint64_t want)
{
    if (!p->bits || p->bits != want)
        fail(p->path, "other bits");
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "exit")) {
        plugin p = {.path = argv[2]};
        load(&p);
        use(&p);
        return !p.bits;
    }
    if (argc < 4)
        fail("usage", "host reload|at-once TIMES PLUGIN...");
    plugin plugins[8] = {{.path = NULL}};
    int n = argc - 3, at_once = !strcmp(argv[1], "at-once"), before = n_threads();
    uint64_t want = 0;
    for (int time = 0; time < atoi(argv[2]); time++) {
        pthread_t ids[8];
        for (int i = 0; i < n; i++) {
            plugins[i].path = argv[3 + i];
            load(&plugins[i]);
        }
        for (int i = 0; i < n && at_once; i++)
            pthread_create(&ids[i], NULL, use, &plugins[i]);
        for (int i = 0; i < n; i++) {
            if (at_once)
                pthread_join(ids[i], NULL);
            else
                use(&plugins[i]);
            want = want ? want : plugins[i].bits;
            check_bits(&plugins[i], want);
        }
        for (int i = 0; i < n; i++)
            unload(&plugins[i]);
        if (n_threads() != before)
            fail("dlclose", "threads are left");
    }
    printf("%016llx\n", (unsigned long long)want);
    return 0;
}
