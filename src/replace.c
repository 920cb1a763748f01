/* Files that take their place whole or not at all: files.h. */
#define _GNU_SOURCE
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#ifdef _WIN32
#include <io.h>
#include <process.h>
#include <windows.h>
#else
#include <dirent.h>
#include <unistd.h>
#endif

/* A temporary file is called .NAME.0123456789ab.tmp, as the Python package calls its own. */
#define TAG_DIGITS 12
#define LEFT_AFTER 3600.0 /* seconds: older ones were left by writes that were killed */

static const char *name_in(const char *path)
{
    const char *slash = strrchr(path, '/');
#ifdef _WIN32
    const char *other = strrchr(path, '\\');
    slash = !slash || (other && other > slash) ? other : slash;
#endif
    return slash ? slash + 1 : path;
}

static cmlp_status cannot_write(const new_file *f, int error)
{
    return cmlp_fail(CMLP_E_FILE, "%s: %s; what was there before is unchanged", f->target, strerror(error));
}

#ifdef _WIN32
static char *resolve(const char *path) { return _strdup(path); }
static int create(const char *path)
{
    return _open(path, _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY, _S_IREAD | _S_IWRITE);
}
static int sync_file(FILE *file) { return _commit(_fileno(file)); }
static int move(const char *from, const char *to)
{
    errno = EACCES;
    return MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH) ? 0 : -1;
}
static void sync_folder(const char *path) { (void)path; }
static void remove_leftovers(const char *path) { (void)path; }
#define getpid _getpid
#define fdopen _fdopen
#define close _close
#define unlink _unlink
#else
/* Of a link the file that it points to is replaced. */
static char *resolve(const char *path)
{
    char *found = realpath(path, NULL);
    return found || errno != ENOENT ? found : strdup(path);
}
static int create(const char *path) { return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); }
static int sync_file(FILE *file) { return fsync(fileno(file)); }
static int move(const char *from, const char *to) { return rename(from, to); }

/* The folder of a file, to be freed. */
static char *folder_of(const char *path)
{
    size_t n = (size_t)(name_in(path) - path);
    return n ? strndup(path, n) : strdup(".");
}

/* Makes the renaming last; some network file systems refuse, where the file itself is safe. */
static void sync_folder(const char *path)
{
    char *folder = folder_of(path);
    int descriptor = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (descriptor >= 0) {
        fsync(descriptor);
        close(descriptor);
    }
    free(folder);
}

static int is_temporary(const char *entry, const char *name)
{
    size_t n = strlen(name);
    return entry[0] == '.' && strncmp(entry + 1, name, n) == 0 && entry[n + 1] == '.' &&
           strspn(entry + n + 2, "0123456789abcdef") == TAG_DIGITS &&
           strcmp(entry + n + 2 + TAG_DIGITS, ".tmp") == 0;
}

static void remove_leftovers(const char *path)
{
    char *folder = folder_of(path);
    DIR *entries = folder ? opendir(folder) : NULL;
    for (const struct dirent *e; entries && (e = readdir(entries));) {
        struct stat about;
        if (is_temporary(e->d_name, name_in(path)) && !fstatat(dirfd(entries), e->d_name, &about, 0) &&
            difftime(time(NULL), about.st_mtime) > LEFT_AFTER)
            unlinkat(dirfd(entries), e->d_name, 0);
    }
    if (entries)
        closedir(entries);
    free(folder);
}
#endif

/* Digits that no other write uses at the same time. */
static uint64_t tag(void)
{
    static atomic_uint calls;
    uint64_t now = (uint64_t)(cmlp_now() * 1e9), id = (uint64_t)getpid();
    uint32_t out[4], counter[4] = {(uint32_t)now, (uint32_t)(now >> 32), atomic_fetch_add(&calls, 1), 0};
    uint32_t key[2] = {(uint32_t)id, (uint32_t)time(NULL)};
    cmlp_philox(counter, key, out);
    return ((uint64_t)out[0] << 32 | out[1]) & 0xFFFFFFFFFFFF;
}

static FILE *open_temporary(new_file *f)
{
    const char *name = name_in(f->target);
    size_t room = strlen(f->target) + TAG_DIGITS + 8;
    f->temporary = malloc(room);
    for (int tries = 0; f->temporary && tries < 100; tries++) {
        snprintf(f->temporary, room, "%.*s.%s.%012llx.tmp", (int)(name - f->target), f->target, name,
                 (unsigned long long)tag());
        int descriptor = create(f->temporary);
        if (descriptor >= 0) {
            FILE *file = fdopen(descriptor, "wb");
            if (!file) {
                close(descriptor);
                unlink(f->temporary);
            }
            return file;
        }
        if (errno != EEXIST)
            break;
    }
    return NULL;
}

cmlp_status cmlp_replace_begin(new_file *f, const char *path)
{
    cmlp_status status;
    *f = (new_file){.target = NULL};
    errno = 0;
    f->target = resolve(path);
    if (!f->target)
        return errno == ENOMEM ? cmlp_no_memory() : cmlp_fail(CMLP_E_FILE, "%s: %s", path, strerror(errno));
    /* A name that is taken by a device, a pipe or a folder. */
    struct stat about;
    if (!stat(f->target, &about) && (about.st_mode & S_IFMT) != S_IFREG) {
        status = cmlp_fail(CMLP_E_FILE, "%s: not a regular file", f->target);
        cmlp_replace_give_up(f);
        return status;
    }
    remove_leftovers(f->target);
    f->file = open_temporary(f);
    if (f->file)
        return CMLP_OK;
    status = f->temporary ? cannot_write(f, errno) : cmlp_no_memory();
    free(f->temporary);
    f->temporary = NULL;
    cmlp_replace_give_up(f);
    return status;
}

cmlp_status cmlp_replace_write(new_file *f, const void *data, size_t bytes)
{
    errno = 0;
    if (fwrite(data, 1, bytes, f->file) == bytes)
        return CMLP_OK;
    cmlp_status status = cannot_write(f, errno);
    cmlp_replace_give_up(f);
    return status;
}

cmlp_status cmlp_replace_end(new_file *f)
{
    errno = 0;
    int failed = fflush(f->file) || sync_file(f->file), error = errno;
    failed |= fclose(f->file) != 0;
    error = error ? error : errno;
    f->file = NULL;
    if (!failed && move(f->temporary, f->target))
        failed = 1, error = errno;
    cmlp_status status = failed ? cannot_write(f, error) : CMLP_OK;
    if (!failed) {
        sync_folder(f->target);
        free(f->temporary);
        f->temporary = NULL;
    }
    cmlp_replace_give_up(f);
    return status;
}

void cmlp_replace_give_up(new_file *f)
{
    if (f->file)
        fclose(f->file);
    if (f->temporary)
        unlink(f->temporary);
    free(f->temporary);
    free(f->target);
    *f = (new_file){.target = NULL};
}
