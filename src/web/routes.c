/*
 * Every route of the allocator, once: the router, the OpenAPI document, docs/api.md and the API tests read this table.
 * Sizes of states are kept by the files that own them, so the table is filled by name.
 */
#include "web/routes.h"

#include "lab/logs.h"
#include "web/collections.h"
#include "web/seat_page.h"

#define GET(path, step, default_, rights_, state_, summary_) \
        { \
                .method = "GET", .pattern = path, ROUTE_STEP(step), .answer = default_, .rights = rights_, \
                .state_size = sizeof(struct state_), .state_free = state_##_free, .summary = summary_ \
        }
#define POST(path, step, body_, default_, rights_, state_, summary_) \
        { \
                .method = "POST", .pattern = path, ROUTE_STEP(step), .body = body_, .answer = default_, \
                .rights = rights_, .state_size = sizeof(struct state_), .state_free = state_##_free, \
                .summary = summary_ \
        }

#define JSON HTTP_DEFAULT_JSON
#define HTML HTTP_DEFAULT_HTML

const struct http_route web_routes[] = {
        GET("/", home_page, HTML, RIGHT_PUBLIC, claim_state, "Home page: ask for a seat"),
        POST("/api/request_vm", claim_seat, HTTP_BODY_ANY, HTML, RIGHT_PUBLIC, claim_state, "Claim a seat"),
        GET("/api/unassigned_vms_count", claimable_count, JSON, RIGHT_PUBLIC, claim_state,
            "Seats that can be claimed now"),

        GET("/api/seats/:hostname/outcome", hosting_outcome, JSON, RIGHT_PUBLIC, seat_page_state,
            "What became of a code for Chrome Remote Desktop"),
        GET("/desktop", desktop_page, HTML, RIGHT_PUBLIC, seat_page_state, "The desktop of this browser's seat"),
        GET("/api/desktop", desktop_state, JSON, RIGHT_PUBLIC, seat_page_state, "What this browser's seat is doing"),
        POST("/api/desktop/first-frame", desktop_first_frame, HTTP_BODY_JSON, JSON, RIGHT_PUBLIC, seat_page_state,
             "How long the first picture took"),
        POST("/api/desktop/assist", desktop_consent, HTTP_BODY_JSON, JSON, RIGHT_PUBLIC, seat_page_state,
             "Let the administrator help, or not any more"),
        POST("/api/desktop/leave", desktop_left, HTTP_BODY_ANY, HTML, RIGHT_PUBLIC, seat_page_state,
             "Forget the seat in this browser"),

        POST("/vm_startup", startup_wait, HTTP_BODY_JSON, JSON, RIGHT_VM, startup_state,
             "Wait for the seat's assignment"),
        POST("/api/update_inuse_status", in_use_report, HTTP_BODY_JSON, JSON, RIGHT_REPORT, report_state,
             "A VM says whether its software runs"),
        POST("/api/gpu_health", health_report, HTTP_BODY_JSON, JSON, RIGHT_REPORT, report_state,
             "A VM says how its GPU is"),
        POST("/api/vm-status", status_report, HTTP_BODY_JSON, JSON, RIGHT_REPORT, report_state, "A VM says its status"),
        GET("/api/vm-status", status_all, JSON, RIGHT_PUBLIC, report_state, "Status of every VM"),
        GET("/api/vm-status/:hostname", status_one, JSON, RIGHT_PUBLIC, report_state, "Status of one VM"),
        POST("/api/vm-metrics/:hostname", metrics_report, HTTP_BODY_JSON, JSON, RIGHT_VM, report_state,
             "Timings of a VM's boot"),
        POST("/api/agent/heartbeat", heartbeat_report, HTTP_BODY_JSON, JSON, RIGHT_REPORT, report_state,
             "An agent says that it lives"),
        {.method = "POST",
         .pattern = "/api/vm-logs",
         ROUTE_STEP(logs_take),
         .body = HTTP_BODY_JSON | HTTP_BODY_MENDED, /* a log is not lost for a byte */
         .body_max = 16 << 20,
         .answer = JSON,
         .rights = RIGHT_LOGS,
         .state_size = sizeof(struct logs_state),
         .state_free = logs_state_free,
         .summary = "Log lines of a VM"},
        GET("/api/vm-logs/:hostname", logs_give, JSON, RIGHT_VM_OR_ADMIN, logs_state, "Log lines of a VM, as one text"),

        GET("/admin", admin_page, HTML, RIGHT_ADMIN, admin_state, "The administrator's first page"),
        GET("/admin/create", create_page, HTML, RIGHT_ADMIN, admin_state, "Form that launches VMs"),
        GET("/admin/instances", instances_page, HTML, RIGHT_ADMIN, admin_state, "All VMs"),
        GET("/admin/instances/delete", delete_page, HTML, RIGHT_ADMIN, admin_state, "Form that destroys all VMs"),
        GET("/admin/logs/:hostname", logs_page, HTML, RIGHT_ADMIN, logs_state, "Log of one VM"),
        GET("/admin/desktop/:hostname", desktop_watch, HTML, RIGHT_ADMIN, seat_page_state,
            "Watch a desktop, or help on it"),
        GET("/admin/operations", operations_list, HTML, RIGHT_ADMIN, operation_state, "Operations, newest first"),
        GET("/admin/operations/:id", operation_page, HTML, RIGHT_ADMIN, follow_state, "One operation with its output"),
        POST("/api/admin/set-aws-credentials", aws_set, HTTP_BODY_ANY, HTML, RIGHT_ADMIN, admin_state,
             "Set AWS credentials and try them"),
        POST("/api/admin/unset-aws-credentials", aws_unset, HTTP_BODY_ANY, HTML, RIGHT_ADMIN, admin_state,
             "Forget the AWS credentials that were set"),
        POST("/api/admin/vms/:hostname/release", release_seat, HTTP_BODY_ANY, HTML, RIGHT_ADMIN, admin_state,
             "Release a seat"),

        POST("/api/launch", launch_start, HTTP_BODY_ANY, HTML, RIGHT_ADMIN, follow_state, "Launch more VMs"),
        POST("/destroy", destroy_start, HTTP_BODY_ANY, HTML, RIGHT_ADMIN, follow_state, "Destroy all VMs"),
        POST("/api/admin/repair", repair_start, HTTP_BODY_ANY, HTML, RIGHT_ADMIN, follow_state,
             "Mend what an interrupted launch or destroy left"),
        GET("/api/operations", operations_list, JSON, RIGHT_ADMIN, operation_state, "Operations, newest first"),
        GET("/api/operations/:id", operation_show, JSON, RIGHT_ADMIN, operation_state, "One operation"),
        GET("/api/operations/:id/output", operation_output, JSON, RIGHT_ADMIN, follow_state,
            "Output lines of an operation"),
        POST("/api/operations/:id/cancel", operation_stop, HTTP_BODY_ANY, HTML, RIGHT_ADMIN, operation_state,
             "Cancel an operation"),
        GET("/api/scp-client", download_collecting, JSON, RIGHT_ADMIN, download_state,
            "Collect the participants' files and download them as a ZIP"),
        GET("/api/collections", collections_list, JSON, RIGHT_ADMIN, collections_state, "Collections, newest first"),
        POST("/api/collections", collection_start, HTTP_BODY_ANY, JSON, RIGHT_ADMIN, collections_state,
             "Collect the participants' files, or look what is new"),
        GET("/api/collections/:id", collection_show, JSON, RIGHT_ADMIN, collections_state,
            "One collection with its VMs"),
        GET("/api/collections/:id/archive", download_kept, JSON, RIGHT_ADMIN, download_state,
            "What is kept of a collection, as a ZIP"),
        POST("/api/collections/:id/delete", collection_delete, HTTP_BODY_ANY, HTML, RIGHT_ADMIN, collections_state,
             "Delete what is kept of a collection"),
        GET("/admin/collections", collections_list, HTML, RIGHT_ADMIN, collections_state, "Collections"),
        GET("/admin/collections/:id", collection_show, HTML, RIGHT_ADMIN, collections_state,
            "One collection with its VMs"),
        GET("/api/events", events_stream, JSON, RIGHT_ADMIN, events_state, "Changes of VMs as they happen (SSE)"),

        GET("/desktop/ws", desktop_socket, JSON, RIGHT_PUBLIC, desktop_state, "A desktop's bytes (WebSocket)"),
        POST("/api/desktop/ticket", desktop_ticket, HTTP_BODY_ANY, JSON, RIGHT_PUBLIC, desktop_state,
             "A ticket for the desktop's socket at another allocator"),
        GET("/api/agent/tunnel", agent_tunnel, JSON, RIGHT_AGENT, desktop_state,
            "An agent's control connection (WebSocket)"),
        GET("/api/agent/data/:id", agent_data, JSON, RIGHT_AGENT, desktop_state,
            "A data connection that an agent was asked for (WebSocket)"),
        GET("/api/admin/vms/:hostname/thumbnail", thumbnail, JSON, RIGHT_ADMIN, desktop_state,
            "A small picture of a VM's desktop"),

        GET("/healthz", health_live, JSON, RIGHT_PUBLIC, ready_state, "The process lives"),
        GET("/readyz", health_ready, JSON, RIGHT_PUBLIC, ready_state, "Database, listener and provider"),
        {0},
};
