/*
 * Many keys as one step: the shards of all of them are locked together.
 */
#include "hold.h"
#include "room.h"
#include "span.h"

/* The clock is looked at only where something can expire. */
static int64_t moment(const dkv_span *span, bool timed)
{
    for (uint64_t left = span->wanted; left && !timed; left &= left - 1)
        timed = dkv_span_first(span, left)->next_deadline != DKV_NEVER;
    return timed ? dkv_now(span->table) : DKV_BEFORE_ALL;
}

int dkv_begin(dkv_table *t, dkv_pair *pairs, size_t n, dkv_span *span)
{
    bool timed = false;
    *span = (dkv_span){.table = t, .pairs = pairs, .n = n};
    for (size_t i = 0; i < n; i++) {
        pairs[i].hash = dkv_hash(&t->secret, pairs[i].key, pairs[i].key_len);
        span->wanted |= UINT64_C(1) << dkv_shard_index(pairs[i].hash);
        timed |= pairs[i].deadline != DKV_NEVER;
    }
    dkv_span_lock(span);
    if (n) /* dkv_find asks ahead for the others */
        dkv_shard_prefetch_slot(dkv_shard_of(t, pairs->hash), pairs->hash);
    span->now = moment(span, timed);
    if (!dkv_closed(t))
        return 0;
    dkv_end(span);
    return DKV_ECLOSED;
}

void dkv_span_lock(const dkv_span *span)
{
    for (uint64_t left = span->wanted; left; left &= left - 1)
        dkv_lock(dkv_span_first(span, left));
}

void dkv_end(const dkv_span *span)
{
    for (uint64_t left = span->wanted; left; left &= left - 1)
        dkv_unlock(span->table, dkv_span_first(span, left));
}

/* Ask for the memory of keys some turns ahead: the waits for it then overlap. */
static void prefetch(const dkv_span *span, size_t i)
{
    enum { SLOTS_AHEAD = 12, ENTRIES_AHEAD = 6 };
    const dkv_pair *pairs = span->pairs;
    if (i + SLOTS_AHEAD < span->n)
        dkv_shard_prefetch_slot(dkv_shard_of(span->table, pairs[i + SLOTS_AHEAD].hash),
                                pairs[i + SLOTS_AHEAD].hash);
    if (i + ENTRIES_AHEAD < span->n)
        dkv_shard_prefetch_entry(dkv_shard_of(span->table, pairs[i + ENTRIES_AHEAD].hash),
                                 pairs[i + ENTRIES_AHEAD].hash);
}

int dkv_find(const dkv_span *span, size_t i, bool read, dkv_hold *h)
{
    const dkv_pair *pair = &span->pairs[i];
    prefetch(span, i);
    h->table = span->table;
    h->key = pair->key;
    h->key_len = pair->key_len;
    h->hash = pair->hash;
    h->shard = dkv_shard_of(span->table, pair->hash);
    int found = dkv_seek(h, span->now);
    return read ? dkv_reading(h, found) : found;
}

/* Hold every version against what is wanted, and see how long what is written will stay. */
static int check(const dkv_span *span, size_t *at)
{
    for (size_t i = 0; i < span->n; i++) {
        dkv_pair *p = &span->pairs[i];
        dkv_hold h;
        p->until = p->deadline;
        if (p->want == DKV_ANY && p->act != DKV_PUT_KEEPING)
            continue;
        int found = dkv_find(span, i, false, &h);
        bool wrong =
            p->want == DKV_PRESENT ? !found : h.version != (p->want == DKV_ABSENT ? 0 : p->want);
        if (p->want != DKV_ANY && wrong) {
            *at = i;
            return DKV_ECONFLICT;
        }
        if (found && p->act == DKV_PUT_KEEPING)
            p->until = h.deadline;
    }
    return 0;
}

/* The bytes of the entries that will be replaced or removed, each once; of what each shard
   has to make room for, `extra`, the keys that are there are taken off. */
static int64_t replaced(const dkv_span *span, uint32_t extra[DKV_SHARDS])
{
    int64_t bytes = 0;
    dkv_hold h;
    for (size_t i = 0; i < span->n; i++) {
        dkv_pair *p = &span->pairs[i];
        p->entry = NULL;
        if (p->act == DKV_LOOK || !dkv_find(span, i, false, &h))
            continue;
        if (dkv_pair_writes(p))
            extra[dkv_shard_index(p->hash)]--;
        if (h.entry->counted) /* the same key came before */
            continue;
        bytes += (int64_t)dkv_entry_cost(h.key_len, h.value, h.deadline);
        h.entry->counted = true;
        p->entry = h.entry;
    }
    for (size_t i = 0; i < span->n; i++) {
        if (span->pairs[i].entry)
            span->pairs[i].entry->counted = false;
    }
    return bytes;
}

static bool have_room(const dkv_span *span, const uint32_t extra[DKV_SHARDS])
{
    for (uint64_t left = span->wanted; left; left &= left - 1) {
        const dkv_shard *s = dkv_span_first(span, left);
        if (s->used + extra[s - span->table->shards] > s->limit)
            return false;
    }
    return true;
}

/* What the pairs take, and the slots for them. A new key that comes twice counts twice. */
static int64_t taken(const dkv_span *span, const uint32_t extra[DKV_SHARDS])
{
    const dkv_table *t = span->table;
    int64_t bytes = 0;
    for (size_t i = 0; i < span->n; i++) {
        const dkv_pair *p = &span->pairs[i];
        if (dkv_pair_writes(p))
            bytes += (int64_t)dkv_entry_cost(p->key_len, p->value, p->until);
    }
    for (size_t i = 0; i < DKV_SHARDS; i++) {
        const dkv_shard *s = &t->shards[i];
        if (extra[i])
            bytes += (int64_t)dkv_shard_growth(s, extra[i], dkv_least(t, s), dkv_cleans(t));
    }
    return bytes;
}

void dkv_span_free(const dkv_span *span, size_t n)
{
    while (n--) {
        const dkv_pair *p = &span->pairs[n];
        if (p->entry)
            dkv_entry_free(dkv_shard_of(span->table, p->hash), p->entry);
    }
}

static int make_entries(const dkv_span *span)
{
    dkv_table *t = span->table;
    for (size_t i = 0; i < span->n; i++) {
        dkv_pair *p = &span->pairs[i];
        p->entry = NULL;
        if (!dkv_pair_writes(p))
            continue;
        p->entry = dkv_entry_new(dkv_shard_of(t, p->hash), p->key, p->key_len, p->value, p->until);
        if (p->entry)
            continue;
        dkv_span_free(span, i);
        return DKV_ENOMEM;
    }
    return 0;
}

/* Everything that can fail, before anything changes. A table that evicts may drop a key
   before its turn, so there none counts as replaced. */
int dkv_span_prepare(const dkv_span *span, size_t *at)
{
    dkv_table *t = span->table;
    uint32_t extra[DKV_SHARDS] = {0};
    int64_t less = 0;
    int rc = check(span, at);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < span->n; i++)
        extra[dkv_shard_index(span->pairs[i].hash)] += dkv_pair_writes(&span->pairs[i]);
    if (!t->evict && (t->limit || !have_room(span, extra)))
        less = replaced(span, extra);
    if (t->limit && span->n) {
        dkv_ours ours = {NULL, span};
        int64_t need = taken(span, extra) - less;
        rc = dkv_charge(t, dkv_shard_of(t, span->pairs[0].hash), ours, NULL, need);
        if (rc < 0)
            return rc;
    }
    for (uint64_t left = span->wanted; left; left &= left - 1) {
        dkv_shard *s = dkv_span_first(span, left);
        size_t i = (size_t)(s - t->shards);
        if (extra[i] &&
            dkv_shard_reserve(s, extra[i], dkv_least(t, s), dkv_cleans(t), &t->secret) < 0)
            return DKV_ENOMEM;
    }
    return make_entries(span);
}

static void apply(const dkv_span *span, size_t i)
{
    dkv_pair *p = &span->pairs[i];
    dkv_hold h;
    if (p->act == DKV_LOOK)
        return;
    int found = dkv_find(span, i, false, &h);
    if (p->act == DKV_DROP) {
        p->version = (uint64_t)found;
        if (found)
            dkv_remove(&h, DKV_DELETED, NULL);
        return;
    }
    if (!found) /* an expired entry's slot is no place */
        h.slot = dkv_shard_find(h.shard, h.hash, h.key, h.key_len).slot;
    p->version = p->entry->version = dkv_shard_stamp(h.shard, DKV_SET, h.key, h.key_len);
    dkv_shard_put(h.shard, (dkv_place){h.entry, h.slot}, p->entry, h.hash, NULL);
    h.shard->sets++;
}

/* Slots give way once all is done: a later pair of the same commit may need them. */
void dkv_span_shrink(const dkv_span *span)
{
    dkv_table *t = span->table;
    for (size_t i = 0; i < span->n; i++) {
        const dkv_pair *p = &span->pairs[i];
        dkv_shard *s = dkv_shard_of(t, p->hash);
        if (p->act == DKV_DROP && p->version)
            dkv_shard_shrink(s, dkv_least(t, s), &t->secret);
    }
}

/* What was charged to one shard, settled with all at once: one by one, the sum would pass
   the limit until that shard has its turn. */
void dkv_span_settle(const dkv_span *span)
{
    dkv_table *t = span->table;
    uint64_t more = 0;
    if (!t->limit)
        return;
    for (uint64_t left = span->wanted; left; left &= left - 1) {
        dkv_shard *s = dkv_span_first(span, left);
        more += s->memory - s->settled;
        s->settled = s->memory;
    }
    atomic_fetch_add_explicit(&t->used, more, memory_order_relaxed);
}

static int commit(dkv_table *t, dkv_pair *pairs, size_t n, size_t *at)
{
    dkv_span span;
    int rc = dkv_begin(t, pairs, n, &span);
    if (rc < 0)
        return rc;
    rc = dkv_span_prepare(&span, at);
    for (size_t i = 0; i < n && rc == 0; i++)
        apply(&span, i);
    if (rc == 0)
        dkv_span_shrink(&span);
    dkv_span_settle(&span);
    dkv_end(&span);
    return rc;
}

int dkv_commit(dkv_table *t, dkv_pair *pairs, size_t n, size_t *at)
{
    int rc;
    while ((rc = commit(t, pairs, n, at)) == DKV_EBUSY)
        sched_yield();
    return rc;
}
