/*
 * Wiring of the web process: it reads what it needs from the pipe, connects, listens, says "ready" and serves until it
 * is told to stop or its supervisor is gone. It runs as an unprivileged user and confines itself (confine.h) before it
 * connects or listens.
 */
#include "allocator/web_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "allocator/confine.h"
#include "allocator/handover.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/token.h"
#include "lab/logs.h"
#include "lab/operation.h"
#include "lab/report.h"
#include "lab/seat.h"
#include "lab/site.h"
#include "lab/vm.h"
#include "web/assets.h"
#include "web/web.h"

#define DRAIN_MS 8000
#define CLAIMS_A_MINUTE 10
#define WRONG_CODES_A_MINUTE 100
#define WRONG_RETURNS_A_MINUTE 5 /* for one seat */

struct process {
        struct web web;
        struct task *housekeeping;
        uv_signal_t term, interrupt;
        uv_poll_t supervisor;
        uv_timer_t ready_timer;
        bool stopping, ready;
};

/* --- the handover -------------------------------------------------------------------------------------------------- */

static json_t *read_handover(const char *fd_text, struct error *error)
{
        _cleanup_buf_wiped_ struct buf text = BUF_NULL;
        int64_t fd;
        if (parse_int(fd_text, 3, 65535, &fd) < 0) {
                error_set(error, -EINVAL, "web-process is started by the allocator alone");
                return NULL;
        }
        int r = fd_read_all((int)fd, 4 << 20, &text);
        close((int)fd);
        if (r < 0) {
                error_errno(error, -r, "cannot read the configuration from the supervisor");
                return NULL;
        }
        return json_read(buf_str(&text), text.len, error);
}

/* --- stopping ------------------------------------------------------------------------------------------------------ */

static void drained(void *userdata)
{
        struct process *p = userdata;
        uv_stop(&p->web.loop.uv);
}

static void begin_stop(struct process *p)
{
        if (p->stopping)
                return;
        p->stopping = true;
        hub_stop(p->web.hub);
        log_info("draining %u connections", http_server_connections(p->web.server));
        http_server_drain(p->web.server, DRAIN_MS, drained, p);
}

static void on_signal(uv_signal_t *handle, int signo _unused_)
{
        begin_stop(handle->data);
}

/* The supervisor sends nothing: readable means that it is gone. */
static void on_supervisor(uv_poll_t *handle, int status _unused_, int events _unused_)
{
        struct process *p = handle->data;
        char byte;
        if (recv(p->web.supervisor, &byte, 1, MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        uv_poll_stop(handle);
        log_warning("the supervisor is gone");
        p->web.supervisor = -1;
        begin_stop(p);
}

/* --- starting ------------------------------------------------------------------------------------------------------ */

static void on_ready_timer(uv_timer_t *timer)
{
        struct process *p = timer->data;
        if (!db_pool_ready(p->web.loop.db) || !db_listener_ready(p->web.loop.listener))
                return;
        uv_timer_stop(timer);
        web_kick(&p->web, MESSAGE_READY);
}

static int open_database(struct web *web, const char *conninfo, const char *site, struct error *error)
{
        const char *channels[] = {web->config->db.message_channel, OPERATION_CHANNEL, NULL};
        _cleanup_free_ char *here = site_sql(site);
        _cleanup_free_ char *init_sql = xasprintf("set statement_timeout = '10s'; set lock_timeout = '5s'; %s", here);
        struct db_pool *pool;
        struct db_listener *listener;
        int r = db_pool_new(&web->loop,
                            &(struct db_pool_options){
                                    .conninfo = conninfo, .application = "lablink-allocator", .init_sql = init_sql},
                            &pool, error);
        if (r < 0)
                return r;
        return db_listener_new(&web->loop,
                               &(struct db_listener_options){
                                       .conninfo = conninfo, .application = "lablink-listener", .channels = channels},
                               &listener, error);
}

/* An inherited descriptor, which no program of ours inherits further. */
static int inherited(const json_t *handover, const char *name)
{
        int fd = (int)json_integer_value(json_object_get(json_object_get(handover, "fds"), name));
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        return fd;
}

static int listen_all(struct web *web, const json_t *handover, struct error *error)
{
        static const struct {
                const char *name;
                enum http_listener_kind kind;
        } listeners[] = {{"tcp", HTTP_TCP}, {"admin", HTTP_ADMIN_SOCKET}, {"vm", HTTP_VM_SOCKET}};
        for (size_t i = 0; i < ARRAY_SIZE(listeners); i++) {
                int r = http_server_listen(web->server, inherited(handover, listeners[i].name), listeners[i].kind,
                                           error);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What the limit on open files allows: waiting VMs, browsers and agents together. */
static void say_how_many(const struct http_server *server)
{
        struct rlimit limit = {0};
        getrlimit(RLIMIT_NOFILE, &limit);
        log_info("up to %u connections (waiting VMs, browsers, agents) fit into the limit of %llu open files",
                 http_server_connections_max(server), (unsigned long long)limit.rlim_cur);
}

static enum hub_assist assist_mode(const struct config *config)
{
        return str_eq(config->desktop.assist, "always")  ? HUB_ASSIST_ALWAYS
               : str_eq(config->desktop.assist, "never") ? HUB_ASSIST_NEVER
                                                         : HUB_ASSIST_CONSENT;
}

static int start(struct process *p, const json_t *handover, struct error *error)
{
        struct web *web = &p->web;
        int r = config_from_json(json_object_get(handover, "config"), &web->config, error);
        if (r < 0)
                return r;
        web->loop.user = web;
        web->supervisor = inherited(handover, "supervisor");
        web->owner = (uid_t)json_integer_value(json_object_get(handover, "owner"));
        web->public_url = xstrdup(json_get_string(handover, "public_url"));
        web->site = xstrdup(str_or(json_get_string(handover, "site"), ""));
        web->aws_holder = xstrdup(str_or(json_get_string(handover, "aws_holder"), ""));
        web->started_ms = clock_ms();
        r = open_database(web, json_get_string(handover, "conninfo"), str_or(json_get_string(handover, "site"), ""),
                          error);
        if (r < 0)
                return r;
        web->claims = batch_new(&web->loop, &claim_kind);
        web->reports = batch_new(&web->loop, &report_kind);
        web->waits = batch_new(&web->loop, &wait_kind);
        web->metrics = batch_new(&web->loop, &metrics_kind);
        web->logs = batch_new(&web->loop, &logs_kind);
        web->counts = batch_new(&web->loop, &claimable_kind);
        web->briefs = batch_new(&web->loop, &brief_kind);
        web->login = login_new(web->config->app.admin_user, json_get_string(handover, "admin_hash"));
        web->claims_by_email = limiter_new(CLAIMS_A_MINUTE, 60000, 0);
        web->wrong_codes = limiter_new(WRONG_CODES_A_MINUTE, 60000, 0);
        web->return_codes = limiter_new(WRONG_RETURNS_A_MINUTE, 60000, 0);
        web->dashboard = dashboard_new(web);
        web->hub = hub_new(&(struct hub_options){.loop = &web->loop,
                                                 .channel = web->config->db.message_channel,
                                                 .assist = assist_mode(web->config),
                                                 .websockets = &web->websockets});
        struct http_options options = {
                .routes = web_routes,
                .assets = web_assets,
                .templates = web_templates,
                .authorize = web_authorize,
                .page_globals = web_page_globals,
                .trusted_proxies = (const char *const *)web->config->listen.trusted_proxies,
                .deadline_ms = 15000,
                .access_log = true,
                .websockets = &web->websockets.n,
        };
        r = http_server_new(&web->loop, &options, &web->server, error);
        if (r < 0)
                return r;
        p->housekeeping = housekeeping_start(web);
        archives_start(web, inherited(handover, "archives"));
        say_how_many(web->server);
        return listen_all(web, handover, error);
}

static void watch_supervisor(struct process *p)
{
        struct loop *loop = &p->web.loop;
        uv_signal_init(&loop->uv, &p->term);
        uv_signal_init(&loop->uv, &p->interrupt);
        uv_timer_init(&loop->uv, &p->ready_timer);
        uv_poll_init(&loop->uv, &p->supervisor, p->web.supervisor);
        p->term.data = p->interrupt.data = p->supervisor.data = p->ready_timer.data = p;
        uv_signal_start(&p->term, on_signal, SIGTERM);
        uv_signal_start(&p->interrupt, on_signal, SIGINT);
        uv_poll_start(&p->supervisor, UV_READABLE | UV_DISCONNECT, on_supervisor);
        uv_timer_start(&p->ready_timer, on_ready_timer, 0, 10);
}

static void stop(struct process *p)
{
        struct web *web = &p->web;
        if (p->housekeeping)
                task_kill(p->housekeeping);
        http_server_free(web->server);
        dashboard_free(web->dashboard);
        archives_stop(web);
        hub_free(web->hub);
        ws_set_drop(&web->websockets);
        batch_free(web->claims);
        batch_free(web->reports);
        batch_free(web->waits);
        batch_free(web->metrics);
        batch_free(web->logs);
        batch_free(web->counts);
        batch_free(web->briefs);
        db_listener_free(web->loop.listener);
        db_pool_free(web->loop.db);
        loop_deinit(&web->loop);
        login_free(web->login);
        limiter_free(web->claims_by_email);
        limiter_free(web->wrong_codes);
        limiter_free(web->return_codes);
        config_free(web->config);
        free(web->public_url);
        free(web->site);
        free(web->aws_holder);
}

/* A waiting VM is an open connection: as many as the machine allows. */
static void raise_file_limit(void)
{
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
}

/* Before the first thread, the first connection and the first byte of a stranger. */
static void give_up_rights(const json_t *handover)
{
        struct confinement confinement;
        prctl(PR_SET_NAME, "lablink-web");
        confine(str_or(json_get_string(handover, "conninfo"), ""), &confinement);
        log_info("confined: %s", buf_str(&confinement.in_force));
        if (confinement.missing.len > 0)
                log_warning("this machine cannot confine the web process by: %s", buf_str(&confinement.missing));
        confinement_deinit(&confinement);
}

int web_process(const char *handover_fd)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        log_setup("web", LOG_LEVEL_INFO);
        signal(SIGPIPE, SIG_IGN);
        raise_file_limit();
        token_init();
        _cleanup_json_ json_t *handover = read_handover(handover_fd, &error);
        if (handover)
                give_up_rights(handover);
        struct process *p = xcalloc(1, sizeof *p);
        loop_init(&p->web.loop);
        int r = handover ? start(p, handover, &error) : error.code;
        if (r == 0) {
                watch_supervisor(p);
                loop_run(&p->web.loop);
        } else {
                log_error("%s", error_text(&error));
        }
        stop(p);
        free(p);
        return r < 0 ? 1 : 0;
}
