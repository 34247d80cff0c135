/*
 * Who keeps an order of the keys, and who watches what happens to them.
 */
#include "locks.h"

static void note(dkv_table *t, unsigned what, bool on)
{
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        dkv_shard *s = &t->shards[i];
        dkv_lock(s);
        s->noting = on ? s->noting | what : s->noting & ~what;
        if (what == DKV_NOTE_CHANGES) {
            DKV_FREE(s->changes.bytes);
            s->changes = (dkv_changes){.lost = false};
        }
        dkv_unlock(t, s);
    }
}

/* Order */

void dkv_note_changes(dkv_table *t, bool on)
{
    note(t, DKV_NOTE_CHANGES, on);
}

int dkv_take_changes(dkv_table *t, size_t shard, uint8_t **bytes, size_t *len)
{
    dkv_shard *s = &t->shards[shard];
    dkv_lock(s);
    int rc = dkv_closed(t) ? DKV_ECLOSED : s->changes.lost ? DKV_ELOST : 0;
    *bytes = NULL;
    *len = 0;
    if (rc == 0) {
        *bytes = s->changes.bytes;
        *len = s->changes.used;
        s->changes = (dkv_changes){.lost = false};
    }
    dkv_unlock(t, s);
    return rc;
}

void dkv_free_changes(uint8_t *bytes)
{
    DKV_FREE(bytes);
}

/* Events */

/* Shards begin to tell before there is a ring: from then on nothing is missed. */
int dkv_watch(dkv_table *t, uint64_t since, uint64_t *at)
{
    dkv_events *events = &t->events;
    int rc = 0;
    if (dkv_closed(t))
        return DKV_ECLOSED;
    if (!events->watchers) {
        uint8_t *ring = DKV_MALLOC(DKV_RING);
        if (!ring)
            return DKV_ENOMEM;
        note(t, DKV_NOTE_EVENTS, true);
        dkv_lock_word(&events->locked);
        events->ring = ring;
        events->begin = events->end;
        events->gone = atomic_load(&events->last_version);
        dkv_unlock_word(&events->locked);
    }
    dkv_lock_word(&events->locked);
    *at = dkv_events_end(events);
    if (since != DKV_NOW && since < events->gone)
        rc = DKV_ELOST;
    else if (since != DKV_NOW)
        *at = dkv_events_after(events, since);
    dkv_unlock_word(&events->locked);
    events->watchers++;
    if (rc < 0)
        dkv_unwatch(t);
    return rc;
}

void dkv_unwatch(dkv_table *t)
{
    dkv_events *events = &t->events;
    if (--events->watchers)
        return;
    note(t, DKV_NOTE_EVENTS, false);
    dkv_lock_word(&events->locked);
    uint8_t *ring = events->ring;
    events->ring = NULL;
    dkv_unlock_word(&events->locked);
    DKV_FREE(ring);
}

int64_t dkv_read_events(dkv_table *t, uint64_t *at, uint8_t *out, size_t room)
{
    if (dkv_closed(t))
        return DKV_ECLOSED;
    dkv_lock_word(&t->events.locked);
    int64_t n = dkv_events_copy(&t->events, at, out, room);
    dkv_unlock_word(&t->events.locked);
    return n;
}

void dkv_expect_news(dkv_table *t)
{
    atomic_store(&t->events.waited, true);
}

bool dkv_has_news(dkv_table *t)
{
    return atomic_load_explicit(&t->events.waited, memory_order_relaxed) &&
           atomic_exchange(&t->events.waited, false);
}
