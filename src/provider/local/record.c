/*
 * Records: what the host knows of a VM, in a file that only root can read. The range of user ids in it is the VM's for
 * as long as a record or a directory of it exists, so that no two ever share one.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "provider/local/internal.h"

#define RECORD_MAX 16384
#define LOCK_WAIT_MS 120000

void local_vm_clear(struct local_vm *vm)
{
        free(vm->name);
        free(vm->token);
        *vm = (struct local_vm){0};
}

bool local_name_valid(const char *name)
{
        size_t n = strlen(name);
        if (n == 0 || n > LOCAL_NAME_MAX || !isalnum((unsigned char)name[0]))
                return false;
        return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

static char *record_path(struct provider *p, const char *name)
{
        return xasprintf("%s/%s.json", p->records, name);
}

int local_lock(struct provider *p, int *ret_fd, struct error *error)
{
        _cleanup_free_ char *path = path_join(p->records, "lock");
        int r = dir_make(p->records, 0700, error);
        return r < 0 ? r : file_lock(path, LOCK_WAIT_MS, ret_fd, error);
}

static json_t *identity_json(const struct process_identity *identity)
{
        return json_pack("{s:I, s:I, s:s}", "pid", (json_int_t)identity->pid, "start_time",
                         (json_int_t)identity->start_time, "boot_id", identity->boot_id);
}

static void identity_read(const json_t *json, struct process_identity *ret)
{
        *ret = (struct process_identity){0};
        const char *boot_id = json_get_string(json, "boot_id");
        json_int_t pid = json_integer_value(json_object_get(json, "pid"));
        if (!boot_id || strlen(boot_id) >= sizeof ret->boot_id || pid <= 1)
                return;
        ret->pid = (pid_t)pid;
        ret->start_time = (uint64_t)json_integer_value(json_object_get(json, "start_time"));
        memcpy(ret->boot_id, boot_id, strlen(boot_id) + 1);
}

static int record_read(const char *name, const json_t *json, struct local_vm *ret, struct error *error)
{
        const char *token = json_get_string(json, "token");
        json_int_t first = json_integer_value(json_object_get(json, "first_id"));
        if (!token || first < LOCAL_IDS || first > UINT32_MAX - LOCAL_IDS)
                return error_set(error, -EINVAL, "the record of %s lacks its token or its ids", name);
        *ret = (struct local_vm){.name = xstrdup(name), .token = xstrdup(token), .first_id = (uint32_t)first};
        ret->made = json_is_true(json_object_get(json, "made"));
        identity_read(json_object_get(json, "init"), &ret->init);
        identity_read(json_object_get(json, "network"), &ret->network);
        return 0;
}

int local_vm_load(struct provider *p, const char *name, struct local_vm *ret, struct error *error)
{
        _cleanup_free_ char *path = record_path(p, name);
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (!local_name_valid(name))
                return error_set(error, -EINVAL, "\"%s\" is no name for a local VM", name);
        if (access(path, F_OK) < 0 && errno == ENOENT)
                return error_set(error, -ENOENT, "no VM is called %s", name);
        int r = file_read(path, RECORD_MAX, &text, error);
        if (r < 0)
                return r;
        _cleanup_json_ json_t *json = json_read(buf_str(&text), text.len, error);
        if (!json) {
                error_wrap(error, "cannot read %s", path);
                return -EINVAL;
        }
        return record_read(name, json, ret, error);
}

int local_vm_save(struct provider *p, const struct local_vm *vm, struct error *error)
{
        _cleanup_free_ char *path = record_path(p, vm->name);
        _cleanup_json_ json_t *json = json_pack("{s:s, s:I, s:b, s:o, s:o}", "token", vm->token, "first_id",
                                                (json_int_t)vm->first_id, "made", vm->made, "init",
                                                identity_json(&vm->init), "network", identity_json(&vm->network));
        _cleanup_free_ char *text = json_text(json);
        return file_write(path, text, strlen(text), 0600, error);
}

int local_vm_forget(struct provider *p, const char *name, struct error *error)
{
        _cleanup_free_ char *path = record_path(p, name);
        if (unlink(path) < 0 && errno != ENOENT)
                return error_errno(error, errno, "cannot remove %s", path);
        return 0;
}

bool local_vm_has_directory(struct provider *p, const char *name)
{
        _cleanup_free_ char *path = path_join(p->vms, name);
        struct stat st;
        return lstat(path, &st) == 0;
}

static int compare_names(const void *a, const void *b)
{
        return strverscmp(*(char *const *)a, *(char *const *)b);
}

static void add_name(char ***list, size_t *n, char *name)
{
        for (size_t i = 0; i < *n; i++)
                if (strcmp((*list)[i], name) == 0) {
                        free(name);
                        return;
                }
        *list = xreallocarray(*list, *n + 2, sizeof **list);
        (*list)[(*n)++] = name;
        (*list)[*n] = NULL;
}

static int add_names_of(const char *directory, const char *suffix, char ***list, size_t *n, struct error *error)
{
        DIR *dir = opendir(directory);
        if (!dir)
                return errno == ENOENT ? 0 : error_errno(error, errno, "cannot read %s", directory);
        for (struct dirent *entry; (entry = readdir(dir));) {
                size_t length = strlen(entry->d_name), tail = strlen(suffix);
                if (length <= tail || !str_ends(entry->d_name, suffix))
                        continue;
                char *name = xstrndup(entry->d_name, length - tail);
                if (local_name_valid(name))
                        add_name(list, n, STEAL(name));
                free(name);
        }
        closedir(dir);
        return 0;
}

int local_vm_names(struct provider *p, char ***ret, struct error *error)
{
        size_t n = 0;
        _cleanup_strv_ char **list = xcalloc(1, sizeof *list);
        int r = add_names_of(p->records, ".json", &list, &n, error);
        if (r == 0)
                r = add_names_of(p->vms, "", &list, &n, error);
        if (r < 0)
                return r;
        qsort(list, n, sizeof *list, compare_names);
        *ret = STEAL(list);
        return 0;
}

uint32_t local_first_id(struct provider *p, const char *name)
{
        _cleanup_vm_ struct local_vm vm = {0};
        struct stat st;
        if (local_vm_load(p, name, &vm, NULL) == 0)
                return vm.first_id;
        _cleanup_free_ char *home = xasprintf("%s/%s/home", p->vms, name);
        return lstat(home, &st) == 0 && st.st_uid >= LOCAL_CLIENT ? st.st_uid - LOCAL_CLIENT : 0;
}

static int free_ids(struct provider *p, uint32_t *ret, struct error *error)
{
        _cleanup_strv_ char **names = NULL;
        int r = local_vm_names(p, &names, error);
        if (r < 0)
                return r;
        size_t n = 0;
        for (; names[n]; n++)
                ;
        _cleanup_free_ uint32_t *taken = xcalloc(n + 1, sizeof *taken);
        for (size_t i = 0; i < n; i++)
                taken[i] = local_first_id(p, names[i]);
        int64_t first = p->config->local.uid_base;
        for (; first <= UINT32_MAX - LOCAL_IDS; first += LOCAL_IDS) {
                bool clash = false;
                for (size_t i = 0; i < n && !clash; i++)
                        clash = taken[i] && first < (int64_t)taken[i] + LOCAL_IDS && taken[i] < first + LOCAL_IDS;
                if (!clash) {
                        *ret = (uint32_t)first;
                        return 0;
                }
        }
        return error_set(error, -ENOSPC, "no user ids are left above local.uid_base");
}

int local_vm_new(struct provider *p, const char *name, const char *token, struct local_vm *ret, struct error *error)
{
        _cleanup_vm_ struct local_vm vm = {.name = xstrdup(name), .token = xstrdup(token)};
        int r = free_ids(p, &vm.first_id, error);
        if (r == 0)
                r = local_vm_save(p, &vm, error);
        if (r < 0)
                return r;
        *ret = vm;
        vm = (struct local_vm){0};
        return 0;
}

void local_sweep(struct provider *p)
{
        DIR *dir = opendir(p->records);
        if (!dir)
                return;
        for (struct dirent *entry; (entry = readdir(dir));)
                if (strstr(entry->d_name, ".json.") && !str_ends(entry->d_name, ".json"))
                        unlinkat(dirfd(dir), entry->d_name, 0);
        closedir(dir);
}
