/*
 * Changes on their way through the log: prepared, written, applied.
 *
 * What was evicted to make room for a change is gone at once, whatever becomes of the change. So
 * it waits, encoded, until a record has it at its head: else a key that was evicted and then
 * deleted, which needs no record as it is not there, would come back from the file.
 *
 * What to undo is kept as operations of the same encoding, each with its size behind it, so that
 * they can be read from the last to the first.
 */
#include "log.h"

#include "hold.h"
#include "span.h"

enum { KEPT_ROOM = 1 << 20 }; /* a larger buffer is given back after its record */

int dkv_log_begin(dkv_table *t, bool undoing)
{
    dkv_log *log = DKV_CALLOC(1, sizeof *log);
    if (!log)
        return DKV_ENOMEM;
    log->fd = -1;
    log->undoing = undoing;
    t->log = log;
    return 0;
}

void dkv_log_free(dkv_table *t)
{
    if (!t->log)
        return;
    dkv_buffer_free(&t->log->record);
    dkv_buffer_free(&t->log->evicted);
    dkv_buffer_free(&t->log->undo[0]);
    dkv_buffer_free(&t->log->undo[1]);
    DKV_FREE(t->log);
    t->log = NULL;
}

bool dkv_logs(const dkv_table *t)
{
    return t->log != NULL;
}

uint64_t dkv_log_need(const dkv_table *t)
{
    return t->log->need;
}

void dkv_log_synced(dkv_table *t, uint64_t offset)
{
    atomic_store(&t->log->synced, offset);
}

/* Building a record */

bool dkv_log_evicts(dkv_log *log, const dkv_entry *e)
{
    dkv_operation gone = {.kind = DKV_OP_DELETE, .key = dkv_entry_key(e), .key_len = e->key_len};
    return dkv_encode(&log->evicted, &gone);
}

static bool append(dkv_buffer *buffer, const uint8_t *bytes, size_t n)
{
    if (!dkv_buffer_want(buffer, n))
        return false;
    if (n)
        memcpy(buffer->bytes + buffer->used, bytes, n);
    buffer->used += n;
    return true;
}

/* The head, what is synced, and what was evicted. The mark is taken when it is written: a record
   that comes to nothing takes none with it. */
static bool begin_record(dkv_log *log)
{
    uint64_t synced = atomic_load(&log->synced);
    dkv_operation mark = {.kind = DKV_OP_SYNCED, .number = synced};
    if (log->record.room > KEPT_ROOM)
        dkv_buffer_free(&log->record);
    if (!dkv_buffer_want(&log->record, DKV_HEAD))
        return false;
    log->record.used = DKV_HEAD;
    return (!synced || dkv_encode(&log->record, &mark)) &&
           append(&log->record, log->evicted.bytes, log->evicted.used);
}

/* 0, or why this record cannot be written. */
static int end_record(dkv_log *log)
{
    size_t size = log->record.used;
    if (size - DKV_HEAD > DKV_BODY_CEILING)
        return DKV_ELARGE;
    if (log->offset + size <= log->end)
        return 0;
    log->need = size;
    return DKV_EROOM;
}

static dkv_operation set_of(const dkv_table *t, const dkv_hold *h)
{
    return (dkv_operation){.kind = DKV_OP_SET,
                           .key = h->key,
                           .key_len = h->key_len,
                           .value = h->value.bytes,
                           .value_len = h->value.len,
                           .version = h->version,
                           .expiry = dkv_expiry_of(t, h->deadline)};
}

/* How to make of the held key what it is now, for when it is another. */
static bool note_undo(const dkv_table *t, const dkv_hold *h)
{
    dkv_operation before = {.kind = DKV_OP_DELETE, .key = h->key, .key_len = h->key_len};
    dkv_buffer *undo = &t->log->undo[0];
    if (h->entry)
        before = set_of(t, h);
    uint32_t size = (uint32_t)dkv_encoded_size(&before);
    return dkv_buffer_want(undo, size + sizeof size) && dkv_encode(undo, &before) &&
           append(undo, (const uint8_t *)&size, sizeof size);
}

/* Whether it matters for a pair's record what there is under its key. It does not for a plain put
   that cannot be undone, unless that may find what has expired. */
static bool looks(const dkv_span *span, const dkv_pair *p, const dkv_shard *s)
{
    bool puts = p->act == DKV_PUT || p->act == DKV_PUT_KEEPING;
    return !puts || span->table->log->undoing || s->next_deadline <= span->now;
}

/* Give a pair its version, and the record its operation. */
static bool note_pair(const dkv_span *span, size_t i)
{
    const dkv_table *t = span->table;
    dkv_pair *p = &span->pairs[i];
    dkv_hold h;
    if (p->act == DKV_LOOK)
        return true;
    h.shard = dkv_shard_of(span->table, p->hash);
    p->there = looks(span, p, h.shard) && dkv_find(span, i, false, &h);
    if (p->act == DKV_DROP && p->there) { /* once, if it comes twice */
        p->there = !h.entry->counted;
        h.entry->counted = true;
    }
    if (p->act == DKV_DROP && !p->there)
        return true;
    if (t->log->undoing && !note_undo(t, &h))
        return false;
    dkv_operation o = {.key = p->key, .key_len = p->key_len};
    if (p->act == DKV_DROP) {
        o.kind = DKV_OP_DELETE;
        if (h.shard->noting & DKV_NOTE_EVENTS)
            (void)dkv_happened(h.shard->events, DKV_DELETED, h.key, h.key_len);
    } else {
        if (p->act != DKV_MOVE)
            p->version = dkv_shard_stamp(h.shard, DKV_SET, p->key, p->key_len);
        /* One that was moved and has gone meanwhile is in the file no more. */
        o.kind = p->act == DKV_MOVE && p->there ? DKV_OP_EXPIRE : DKV_OP_SET;
        o.expiry = dkv_expiry_of(t, p->until);
        p->entry->version = p->version;
        if (o.kind == DKV_OP_SET) {
            o.version = p->version;
            o.value = p->value.bytes;
            o.value_len = p->value.len;
        }
    }
    return dkv_encode(&t->log->record, &o);
}

static void uncount(const dkv_span *span)
{
    dkv_hold h;
    for (size_t i = 0; i < span->n; i++) {
        if (span->pairs[i].act == DKV_DROP && dkv_find(span, i, false, &h))
            h.entry->counted = false;
    }
}

static int note_all(dkv_span *span)
{
    dkv_log *log = span->table->log;
    dkv_events *events = &span->table->events;
    span->undo = log->undo[0].used;
    span->before = span->after = atomic_load(&events->last_version);
    if (!begin_record(log))
        return DKV_ENOMEM;
    size_t empty = log->record.used;
    span->holds = events->ring != NULL; /* writers alone begin to watch, and end it */
    if (span->holds)
        dkv_events_hold(events);
    for (size_t i = 0; i < span->n; i++) {
        if (!note_pair(span, i))
            return DKV_ENOMEM;
        span->after = atomic_load(&events->last_version);
    }
    span->records = log->record.used > empty;
    return span->records ? end_record(log) : 0;
}

/* Preparing, applying and abandoning */

static void reserve(const dkv_span *span, bool on)
{
    for (uint64_t left = span->wanted; left; left &= left - 1)
        dkv_span_first(span, left)->reserved = on;
}

static void undo_prepare(dkv_span *span)
{
    dkv_span_free(span, span->n);
    span->table->log->undo[0].used = span->undo;
    uint64_t after = span->after; /* versions that nobody has seen may come again */
    (void)atomic_compare_exchange_strong(&span->table->events.last_version, &after, span->before);
    if (span->holds)
        dkv_events_let_go(&span->table->events, false);
}

int dkv_prepare(dkv_table *t, dkv_pair *pairs, size_t n, size_t *at, dkv_span *span)
{
    int rc = dkv_begin(t, pairs, n, span);
    if (rc < 0)
        return rc;
    rc = dkv_span_prepare(span, at);
    if (rc == 0) {
        rc = note_all(span);
        uncount(span);
        if (rc < 0)
            undo_prepare(span);
    }
    reserve(span, rc == 0);
    dkv_span_settle(span);
    dkv_end(span);
    return rc;
}

static void apply_logged(const dkv_span *span, size_t i)
{
    dkv_pair *p = &span->pairs[i];
    dkv_hold h;
    if (p->act == DKV_LOOK)
        return;
    int found = dkv_find(span, i, false, &h);
    if (p->act == DKV_DROP) {
        p->version = (uint64_t)found;
        h.shard->deletes += (uint64_t)found;
        if (found)
            dkv_shard_take(h.shard, h.slot, NULL);
        return;
    }
    if (!found) { /* an expired entry's slot is no place */
        h.slot = dkv_shard_find(h.shard, h.hash, h.key, h.key_len).slot;
        if (p->act == DKV_MOVE) /* it was told that the key has expired */
            (void)dkv_shard_stamp(h.shard, DKV_SET, h.key, h.key_len);
    }
    dkv_shard_put(h.shard, (dkv_place){h.entry, h.slot}, p->entry, h.hash, NULL);
    h.shard->sets += p->act != DKV_MOVE;
}

void dkv_apply(dkv_span *span)
{
    dkv_span_lock(span);
    span->now = DKV_BEFORE_ALL; /* an entry that has expired since is replaced as any other */
    reserve(span, false);
    for (size_t i = 0; i < span->n; i++)
        apply_logged(span, i);
    dkv_span_shrink(span);
    dkv_span_settle(span);
    if (span->holds)
        dkv_events_let_go(&span->table->events, true);
    dkv_end(span);
}

void dkv_abandon(dkv_span *span)
{
    dkv_span_lock(span);
    reserve(span, false);
    undo_prepare(span);
    dkv_end(span);
}

int dkv_log_body(dkv_table *t, const uint8_t *body, size_t size)
{
    dkv_log *log = t->log;
    if (size > DKV_BODY_CEILING)
        return DKV_ELARGE;
    if (!begin_record(log) || !append(&log->record, body, size))
        return DKV_ENOMEM;
    return end_record(log);
}

/* Cleaning */

/* A set that is still so goes into the record, with the expiry it has by now. */
static int keep(dkv_table *t, dkv_operation *o)
{
    dkv_hold h;
    int found = dkv_acquire(t, o->key, o->key_len, &h);
    if (found < 0)
        return found;
    bool same = found && h.version == o->version;
    int64_t deadline = h.deadline;
    dkv_release(&h);
    if (!same)
        return 0;
    o->expiry = dkv_expiry_of(t, deadline);
    return dkv_encode(&t->log->record, o) ? 1 : DKV_ENOMEM;
}

int64_t dkv_log_keep(dkv_table *t, const uint8_t *records, size_t size, uint64_t offset,
                     uint32_t seed, bool *kept)
{
    size_t done = 0;
    *kept = false;
    if (!begin_record(t->log))
        return DKV_ENOMEM;
    while (done < size) {
        int64_t whole = dkv_record_size(seed, offset + done, records + done, size - done);
        dkv_operation o;
        if (whole == DKV_CUT)
            break;
        if (whole <= 0)
            return DKV_ECORRUPT;
        const uint8_t *body = records + done + DKV_HEAD;
        for (size_t at = 0, n = (size_t)whole - DKV_HEAD; at < n;) {
            if (dkv_decode(body, n, &at, &o))
                return DKV_ECORRUPT;
            int rc = o.kind == DKV_OP_SET ? keep(t, &o) : 0;
            if (rc < 0)
                return rc;
            *kept |= rc > 0;
        }
        done += (size_t)whole;
    }
    int rc = *kept ? end_record(t->log) : 0;
    return rc < 0 ? rc : (int64_t)done;
}

/* Undoing */

void dkv_undo_swap(dkv_table *t)
{
    dkv_buffer before = t->log->undo[1];
    if (before.used) { /* nobody knows yet whether those are on the disk */
        if (append(&t->log->undo[1], t->log->undo[0].bytes, t->log->undo[0].used))
            t->log->undo[0].used = 0;
        return;
    }
    t->log->undo[1] = t->log->undo[0];
    before.used = 0;
    t->log->undo[0] = before;
}

void dkv_undo_forget(dkv_table *t)
{
    dkv_buffer *before = &t->log->undo[1];
    if (before->room > KEPT_ROOM)
        dkv_buffer_free(before);
    before->used = 0;
}

static int undo_one(dkv_table *t, const dkv_operation *o, void (*let_go)(void *owner))
{
    dkv_hold h;
    int found = dkv_acquire(t, o->key, o->key_len, &h);
    if (found < 0)
        return found;
    int rc = 0;
    if (o->kind == DKV_OP_DELETE && found)
        dkv_drop(&h);
    if (o->kind == DKV_OP_SET) {
        int64_t deadline = dkv_deadline_of(t, o->expiry);
        rc = dkv_put_as(&h, (dkv_value){o->value, o->value_len, NULL}, deadline, o->version);
        (void)dkv_shard_stamp(h.shard, DKV_SET, h.key, h.key_len);
    }
    dkv_release(&h);
    if (h.gone.owner)
        let_go(h.gone.owner);
    return rc;
}

/* All of it, even when there is no memory for some: what was never there has to go. */
int dkv_undo_all(dkv_table *t, void (*let_go)(void *owner))
{
    int rc = 0;
    for (int generation = 0; generation < 2; generation++) {
        dkv_buffer *undo = &t->log->undo[generation];
        while (undo->used) {
            dkv_operation o;
            uint32_t size;
            undo->used -= sizeof size;
            memcpy(&size, undo->bytes + undo->used, sizeof size);
            undo->used -= size;
            size_t at = 0;
            if (dkv_decode(undo->bytes + undo->used, size, &at, &o))
                continue;
            int code;
            while ((code = undo_one(t, &o, let_go)) == DKV_EBUSY)
                sched_yield();
            if (code < 0)
                rc = code;
        }
    }
    return rc;
}
