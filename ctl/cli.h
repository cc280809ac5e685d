/* meshctl: one table of commands (main.c), a function each. Data goes to stdout, and nothing else does; what is
 * wrong is one line on stderr: what, where, what to do. */
#ifndef UNIMESH_CTL_CLI_H
#define UNIMESH_CTL_CLI_H

#include "ctl/client.h"

enum cli_status {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NOT_FOUND = 3,
    CLI_DENIED = 4,
    CLI_TIMEOUT = 5,
    CLI_PARTIAL = 6,
    CLI_CONFLICT = 7
};

enum cli_output { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_NAME };

/* What the options said. */
struct cli {
    const char *socket;
    enum cli_output output;
    bool follow, wait, dry_run, guests, force, live;
    uint32_t lines;       /* logs, events; CONTROL_ALL_LINES */
    const char *name;     /* NULL: not given; these override what an app file says */
    uint32_t replicas;    /* REPLICAS_KEEP */
    uint32_t memory_mib;  /* 0 */
    bool memory_given;
    const char *restart;
    struct labels require;
    struct spec_body nets; /* its nets, blocks and access alone */
    const char *volume_lost;
    const char *affinity;
    uint32_t args_count;
    const char *args[ARGS_MAX];
    uint32_t ack;
    uint32_t timeout_ms;  /* 0: not given */
    struct client *client;
};

/* "meshctl: …" on stderr; returns status. */
enum cli_status cli_fail(enum cli_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
enum cli_status cli_status_of(enum err err);
/* The same for what a node answered, or for a connection that failed. */
enum cli_status cli_fail_end(const struct control_end *e);
enum cli_status cli_fail_connection(enum err err);

/* Connect, if not connected yet. On failure it has said why. */
enum cli_status cli_connect(struct cli *cli);
/* Send, then take each row to `row` until the END comes; that is *end, and an error in it is no failure of this. */
typedef void cli_row_fn(void *ctx, const struct control_message *m);
enum cli_status cli_ask(struct cli *cli, const struct control_message *request, int timeout_ms, cli_row_fn *row,
                        void *ctx, struct control_end *end);

/* "web/1": app and slot. ERR_INVALID. */
enum err cli_unit_parse(const char *text, char app[static NAME_SIZE], int32_t *slot); /* slot -1: none */

/* The commands; argv has their own arguments alone. */
typedef enum cli_status cli_command_fn(struct cli *cli, int argc, char **argv);
cli_command_fn cli_members, cli_apps, cli_ps, cli_inspect, cli_images, cli_counters, cli_deploy, cli_logs, cli_events,
    cli_scale, cli_stop, cli_start, cli_remove, cli_move, cli_image_remove, cli_leave, cli_node_stop, cli_keygen,
    cli_version, cli_completion, cli_help, cli_volumes, cli_volume_remove, cli_volume_export, cli_volume_import,
    cli_volume_move, cli_top;

/* ---- Showing ------------------------------------------------------------------------------- */

bool cli_colors(void); /* stdout is a terminal, and NO_COLOR isn't set */
enum { SINCE_TEXT = 16, TIME_TEXT = 32 };
void cli_age_text(uint64_t since_ms, char out[static SINCE_TEXT]);   /* "3m12s"; "-" for 0 */
void cli_time_text(uint64_t wall_ms, char out[static TIME_TEXT]);    /* RFC 3339, UTC */
void cli_exit_text(const struct control_unit *u, char out[static SINCE_TEXT]);

#endif
