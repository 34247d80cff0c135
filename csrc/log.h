/*
 * What a table keeps of the log it writes. Internal to the table; one writer at a time has it.
 */
#ifndef DKV_LOG_H
#define DKV_LOG_H

#include "locks.h"
#include "record.h"

typedef struct dkv_log {
    int fd;
    uint32_t seed;
    uint64_t offset, end;         /* in the file: where the next record goes, how far it may */
    uint64_t touched;             /* before that its pages are there */
    uint64_t before;              /* bytes of files before this one */
    uint64_t records;             /* in the file */
    uint64_t need;                /* what there was no room for */
    atomic_uint_least64_t synced; /* to tell of in the next record, 0 for nothing */
    dkv_buffer record;            /* the one that is prepared, from its head on */
    dkv_buffer evicted;           /* what was evicted and is in no record yet, encoded */
    bool undoing;
    bool swept;         /* for memory, what had expired was removed while the log was read */
    dkv_buffer undo[2]; /* the generation that is added to, and the one before */
} dkv_log;

/* An entry is about to be evicted: false when there is no memory to say so in a record. */
bool dkv_log_evicts(dkv_log *log, const dkv_entry *e);

void dkv_log_free(dkv_table *t);

/* A deadline as a file has it, and back: files know the wall's time and tables their own. */
static inline int64_t dkv_expiry_of(const dkv_table *t, int64_t deadline)
{
    if (deadline == DKV_NEVER)
        return 0;
    int64_t expiry = dkv_wall(t) - dkv_now(t) + deadline;
    return expiry < 1 ? 1 : expiry > DKV_EXPIRY_CEILING ? DKV_EXPIRY_CEILING : expiry;
}

static inline int64_t dkv_deadline_of(const dkv_table *t, int64_t expiry)
{
    return expiry ? expiry - dkv_wall(t) + dkv_now(t) : DKV_NEVER;
}

#endif
