/* The ZIP of a list (zip.h), written by libarchive. */
#include "harvest/zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <sodium.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/text.h"
#include "harvest/manifest.h"

#define BLOCK_BYTES (256 << 10)
#define PART_MAX 200 /* of an escaped name; what is cut off is in the mark */

struct seat {
        char *folder, *hostname, *email, *name; /* the last: its folder in the archive */
};

struct player {
        const struct archive_plan *plan;
        struct archive_facts *facts;
        struct manifest manifest;
        struct archive *zip;
        struct archive_entry *entry;
        struct seat *seats;
        size_t n_seats;
        double ended_at;
        json_t *about;
        int put_failed;
        bool muted;
};

/* --- names --------------------------------------------------------------------------------------------------------- */

static bool byte_is_kept(unsigned char c)
{
        return c != '\\' && c >= 0x20 && c != 0x7f;
}

/* Line breaks and tabs are names too, and kept. */
static bool is_kept(const char *at)
{
        return byte_is_kept((unsigned char)*at) || *at == '\n' || *at == '\t';
}

static bool name_is_plain(const char *path)
{
        bool plain = utf8_valid(path, strlen(path));
        for (const char *c = path; plain && *c; c++)
                plain = is_kept(c);
        return plain;
}

char *archive_name(const char *folder, const char *path)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        unsigned char sum[crypto_hash_sha256_BYTES];
        buf_addf(&out, "%s/", folder);
        if (name_is_plain(path)) {
                buf_adds(&out, path);
                return buf_steal(&out);
        }
        bool valid = utf8_valid(path, strlen(path)), room = true;
        size_t part = out.len; /* where the path's present part begins */
        for (const char *c = path; *c; c++) {
                bool kept = is_kept(c) && (valid || (unsigned char)*c < 0x80);
                if (*c == '/')
                        part = out.len + 1;
                if (((unsigned char)*c & 0xc0) != 0x80 || !kept) /* not in the middle of a character */
                        room = *c == '/' || out.len - part < PART_MAX;
                if (room && kept)
                        buf_addc(&out, *c);
                else if (room)
                        buf_addf(&out, "%%%02X", (unsigned char)*c);
        }
        crypto_hash_sha256(sum, (const unsigned char *)path, strlen(path));
        buf_addf(&out, "~%02x%02x%02x%02x", sum[0], sum[1], sum[2], sum[3]);
        return buf_steal(&out);
}

static char *seat_name(const struct archive_plan *plan, const char *folder, const char *email)
{
        if (!plan->names || !email)
                return xstrdup(folder);
        _cleanup_buf_ struct buf clean = BUF_NULL;
        utf8_scrub(email, strlen(email), &clean);
        for (size_t i = 0; i < clean.len; i++)
                if (clean.data[i] == '/' || !byte_is_kept((unsigned char)clean.data[i]))
                        clean.data[i] = '_';
        return xasprintf("%s %s", folder, buf_str(&clean));
}

static const struct seat *find_seat(const struct player *player, const char *folder)
{
        for (size_t i = player->n_seats; folder && i-- > 0;)
                if (str_eq(player->seats[i].folder, folder))
                        return &player->seats[i];
        return NULL;
}

static void add_seat(struct player *player, const json_t *line)
{
        const char *folder = json_get_string(line, "folder"), *hostname = json_get_string(line, "hostname");
        const char *email = json_get_string(line, "email");
        if (!folder || !hostname)
                return;
        player->seats = xreallocarray(player->seats, player->n_seats + 1, sizeof *player->seats);
        player->seats[player->n_seats++] = (struct seat){.folder = xstrdup(folder),
                                                         .hostname = xstrdup(hostname),
                                                         .email = xstrdup(email),
                                                         .name = seat_name(player->plan, folder, email)};
}

/* --- the ZIP ------------------------------------------------------------------------------------------------------- */

static ssize_t on_write(struct archive *zip _unused_, void *userdata, const void *data, size_t len)
{
        struct player *player = userdata;
        if (player->muted)
                return (ssize_t)len;
        player->put_failed = player->plan->put(player->plan->userdata, data, len);
        return player->put_failed < 0 ? -1 : (ssize_t)len;
}

static int zip_error(struct player *player, struct error *error)
{
        if (player->put_failed < 0)
                return error_errno(error, -player->put_failed, "the archive's reader has gone");
        return error_set(error, -EIO, "cannot write the archive: %s",
                         str_or(archive_error_string(player->zip), "unknown"));
}

/* libarchive takes names by the locale: one that knows UTF-8 is in every C library. */
static int begin(struct player *player, struct error *error)
{
        if (player->zip)
                return 0;
        int r = player->plan->first ? player->plan->first(player->plan->userdata) : 0;
        if (r < 0)
                return error_errno(error, -r, "the archive's reader has gone");
        setlocale(LC_CTYPE, "C.UTF-8");
        player->zip = archive_write_new();
        player->entry = archive_entry_new();
        if (archive_write_set_format_zip(player->zip) != ARCHIVE_OK ||
            archive_write_zip_set_compression_store(player->zip) != ARCHIVE_OK ||
            archive_write_set_bytes_per_block(player->zip, 0) != ARCHIVE_OK ||
            archive_write_open(player->zip, player, NULL, on_write, NULL) != ARCHIVE_OK)
                return zip_error(player, error);
        return 0;
}

static int put_header(struct player *player, const char *name, int64_t size, unsigned mode, int64_t mtime_ns,
                      struct error *error)
{
        struct archive_entry *entry = archive_entry_clear(player->entry);
        int64_t seconds = mtime_ns / 1000000000, rest = mtime_ns % 1000000000;
        archive_entry_copy_pathname(entry, name);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, (mode_t)(mode & 0777));
        archive_entry_set_size(entry, size);
        archive_entry_set_mtime(entry, rest < 0 ? seconds - 1 : seconds, rest < 0 ? rest + 1000000000 : rest);
        return archive_write_header(player->zip, entry) == ARCHIVE_OK ? 0 : zip_error(player, error);
}

/* Exactly `size` bytes, so that the archive stays whole whatever the disk says. */
static int put_content(struct player *player, int fd, int64_t size, struct error *error)
{
        static char block[BLOCK_BYTES];
        if (fd < 0)
                memset(block, 0, sizeof block);
        while (size > 0) {
                ssize_t n = MIN((int64_t)sizeof block, size);
                if (fd >= 0)
                        n = read(fd, block, (size_t)n);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return error_set(error, -EBADMSG, "a kept file is shorter than its list says");
                if (archive_write_data(player->zip, block, (size_t)n) != n)
                        return zip_error(player, error);
                size -= n;
        }
        return 0;
}

static int put_file(struct player *player, const struct seat *seat, const struct entry *entry, struct error *error)
{
        _cleanup_close_ int fd = -1;
        struct stat st;
        _cleanup_free_ char *name = archive_name(seat->name, entry->path);
        int r = player->plan->measure ? 0 : store_read(player->plan->store, entry->hash, &fd);
        if (r < 0)
                return error_errno(error, -r, "a kept file cannot be read");
        if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_size != entry->size))
                return error_set(error, -EBADMSG, "a kept file has another size than its list says");
        r = begin(player, error);
        if (r == 0)
                r = put_header(player, name, entry->size, entry->mode, entry->mtime_ns, error);
        if (r == 0)
                r = put_content(player, fd, entry->size, error);
        if (r < 0)
                return r;
        player->facts->files++;
        player->facts->bytes += entry->size;
        manifest_add(&player->manifest, &(struct manifest_row){.folder = seat->name,
                                                               .hostname = seat->hostname,
                                                               .email = seat->email,
                                                               .status = "collected",
                                                               .name = name,
                                                               .path = entry->path,
                                                               .entry = entry,
                                                               .size = entry->size});
        return 0;
}

/* --- the lines of the list ----------------------------------------------------------------------------------------- */

static int take_file(struct player *player, const struct seat *seat, const json_t *line, struct error *error)
{
        struct entry entry = {0};
        if (entry_read(json_object_get(line, "file"), &entry) < 0)
                return error_set(error, -EBADMSG, "a line of the list cannot be read");
        int r = put_file(player, seat, &entry, error);
        entry_clear(&entry);
        return r;
}

static void take_skip(struct player *player, const struct seat *seat, const json_t *line)
{
        const json_t *skip = json_object_get(line, "skip");
        const char *path = json_get_string(skip, "path");
        if (!path)
                path = str_or(json_get_string(skip, "path_base64"), "?");
        manifest_add(&player->manifest,
                     &(struct manifest_row){.folder = seat->name,
                                            .hostname = seat->hostname,
                                            .email = seat->email,
                                            .status = "left out",
                                            .path = path,
                                            .reason = json_get_string(skip, "reason"),
                                            .size = json_integer_value(json_object_get(skip, "size"))});
}

static void take_failure(struct player *player, const struct seat *seat, const char *reason)
{
        player->facts->failed++;
        manifest_add(&player->manifest, &(struct manifest_row){.folder = seat->name,
                                                               .hostname = seat->hostname,
                                                               .email = seat->email,
                                                               .status = "failed",
                                                               .reason = reason});
}

static int take_line(void *userdata, json_t *line, struct error *error)
{
        struct player *player = userdata;
        const char *failed = json_get_string(line, "failed");
        const struct seat *seat = find_seat(player, json_get_string(line, "seat"));
        if (json_object_get(line, "folder")) {
                add_seat(player, line);
        } else if (json_is_true(json_object_get(line, "end"))) {
                player->facts->whole = true;
                player->ended_at = json_number_value(json_object_get(line, "at"));
                player->about = json_incref(json_object_get(line, "about"));
                return -ECANCELED; /* nothing follows */
        } else if (seat && json_object_get(line, "file")) {
                return take_file(player, seat, line, error);
        } else if (seat && json_object_get(line, "skip")) {
                take_skip(player, seat, line);
        } else if (seat && failed) {
                take_failure(player, seat, failed);
        }
        return 0;
}

static bool follow(void *userdata)
{
        const struct archive_plan *plan = ((struct player *)userdata)->plan;
        return plan->follow(plan->userdata);
}

static int put_manifest(struct player *player, const char *name, FILE *file, struct error *error)
{
        struct stat st;
        if (fstat(fileno(file), &st) < 0)
                return error_errno(error, errno, "cannot read the manifest");
        int r = put_header(player, name, st.st_size, 0644, (int64_t)player->ended_at * 1000000000, error);
        return r < 0 ? r : put_content(player, fileno(file), st.st_size, error);
}

static int finish(struct player *player, struct error *error)
{
        int r = manifest_end(&player->manifest, player->about, error);
        if (r == 0)
                r = put_manifest(player, "manifest.json", player->manifest.json, error);
        if (r == 0)
                r = put_manifest(player, "manifest.csv", player->manifest.csv, error);
        if (r == 0 && archive_write_close(player->zip) != ARCHIVE_OK)
                r = zip_error(player, error);
        return r;
}

static void player_deinit(struct player *player)
{
        for (size_t i = 0; i < player->n_seats; i++) {
                free(player->seats[i].folder);
                free(player->seats[i].hostname);
                free(player->seats[i].email);
                free(player->seats[i].name);
        }
        free(player->seats);
        manifest_close(&player->manifest);
        json_decref(player->about);
        if (player->entry)
                archive_entry_free(player->entry);
        player->muted |= !player->facts->whole; /* no end is written to what broke off */
        if (player->zip)
                archive_write_free(player->zip);
}

int archive_play(const struct archive_plan *plan, struct archive_facts *ret, struct error *error)
{
        *ret = (struct archive_facts){0};
        _cleanup_(player_deinit) struct player player = {.plan = plan, .facts = ret};
        _cleanup_free_ char *path = store_list_path(plan->store, plan->list);
        struct list_reader reader = {.take = take_line, .follow = plan->follow ? follow : NULL, .userdata = &player};
        int r = manifest_open(plan->store, &player.manifest, error);
        if (r == 0)
                r = list_read(path, &reader, error);
        if (r == -ECANCELED && ret->whole)
                r = 0;
        if (r == 0 && ret->whole && player.zip)
                r = finish(&player, error);
        if (r < 0)
                ret->whole = false;
        return r;
}
