/* The host: what follows when a guest has ended and nobody asked it to. Whose fault it was decides. */
#include "node/engine_internal.h"

enum { MOVE_ON_FAILURES = 3, STATUS_BAD_ARGUMENT = 64 /* MirageOS's */ };

static uint64_t backoff_ms(const struct engine *e, uint32_t failures)
{
    uint64_t wait = e->cfg.backoff_min_ms;
    for (uint32_t i = 1; i < failures && wait < e->cfg.backoff_max_ms; i++)
        wait *= 2;
    return min_u64(wait, e->cfg.backoff_max_ms);
}

static void unit_back_off(struct engine *e, struct unit *u, const char *reason)
{
    u->body.restarts++;
    e->count.restarts++;
    u->backoff_until_ms = e->now + backoff_ms(e, u->failures);
    unit_enter(e, u, UNIT_BACKOFF, reason);
}

void unit_retry(struct engine *e, struct unit *u, const char *reason)
{
    uint64_t seq;
    u->failures++;
    unit_back_off(e, u, reason);
    enum err err = unit_publish(e, u, &seq);
    (void)err; /* for people and peers: nothing here waits for it */
}

static bool code_listed(const struct spec_body *spec, int32_t status)
{
    for (uint32_t i = 0; i < spec->exit_code_count; i++)
        if (spec->exit_codes[i] == status)
            return true;
    return spec->exit_code_count == 0;
}

static bool restarts(const struct engine *e, const struct unit *u, const struct unit_end *end)
{
    const struct app *a = app_find(e, &u->key.app);
    struct spec_body spec;
    if (!a || app_spec(e, a, &spec))
        return true;
    switch (spec.restart) {
    case RESTART_ALWAYS:
        return end->status < 0 || code_listed(&spec, end->status);
    case RESTART_ON_FAILURE:
        if (end->cause == END_EXIT && end->status == 0)
            return false;
        return end->status < 0 || code_listed(&spec, end->status);
    case RESTART_NEVER:
        return false;
    }
    return true;
}

/* It refused its arguments, and not all of them are its app's: it is started again at once, without some of ours. */
static bool fewer_words(struct engine *e, struct unit *u, const struct unit_end *end)
{
    const struct app *a = app_find(e, &u->key.app);
    struct spec_body spec;
    if (end->status != STATUS_BAD_ARGUMENT || u->words >= ARG_WORDS_NONE || !a || app_spec(e, a, &spec) || !spec.mirage)
        return false;
    u->words = (enum arg_words)(u->words + 1);
    u->failures--;
    u->backoff_until_ms = e->now;
    unit_enter(e, u, UNIT_BACKOFF, "it refused an argument; once more without");
    return true;
}

void unit_ended_by_itself(struct engine *e, struct unit *u, const struct unit_end *end)
{
    if (e->now - u->run_started_ms >= e->cfg.backoff_reset_ms)
        u->failures = 0;
    u->failures++;
    switch (end->cause) {
    case END_IMAGE:
        if (fewer_words(e, u, end))
            break;
        unit_enter(e, u, UNIT_FAILED, end->text);
        break;
    case END_HOST:
        if (!u->body.volume && (u->body.pid == 0 || u->failures >= MOVE_ON_FAILURES)) {
            unit_fault(e, u);
            u->body.released = 1;
            unit_enter(e, u, UNIT_STOPPED, end->text);
        } else {
            unit_back_off(e, u, end->text);
        }
        break;
    case END_STOPPED: /* not by us: its deadline, or somebody's hand */
        unit_back_off(e, u, end->text);
        break;
    case END_EXIT:
    case END_CRASH:
        if (restarts(e, u, end))
            unit_back_off(e, u, end->text);
        else
            unit_enter(e, u, end->cause == END_EXIT && end->status == 0 ? UNIT_DONE : UNIT_FAILED,
                       end->text);
        break;
    }
}

