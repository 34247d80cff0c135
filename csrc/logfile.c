/*
 * The file that a table's log is written to: where in it, how far, and what is prepared put there.
 */
#include "log.h"

#include <errno.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#endif

void dkv_log_file(dkv_table *t, int fd, uint64_t offset, uint64_t end, uint32_t seed,
                  uint64_t before)
{
    dkv_log *log = t->log;
    log->fd = fd;
    log->offset = log->touched = offset;
    log->end = end;
    log->seed = seed;
    log->before = before;
    log->records = 0;
    atomic_store(&log->synced, 0);
}

void dkv_log_room(dkv_table *t, uint64_t end)
{
    t->log->end = end;
}

uint64_t dkv_log_offset(const dkv_table *t)
{
    return t->log->offset;
}

uint64_t dkv_log_end(const dkv_table *t)
{
    return t->log->before + t->log->offset;
}

uint64_t dkv_log_records(const dkv_table *t)
{
    return t->log->records;
}

/* pwrite of glibc lets a thread be cancelled in it, and arranging for that takes as long as
   the checksum of a record. */
static ssize_t write_some(int fd, const uint8_t *bytes, size_t n, uint64_t offset)
{
#ifdef __linux__
    return syscall(SYS_pwrite64, fd, bytes, n, (off_t)offset);
#else
    return pwrite(fd, bytes, n, (off_t)offset);
#endif
}

/* 0, or an errno. */
static int write_all(int fd, const uint8_t *bytes, size_t n, uint64_t offset)
{
    for (size_t done = 0; done < n;) {
        ssize_t more = write_some(fd, bytes + done, n - done, offset + done);
        if (more < 0 && errno != EINTR)
            return errno;
        if (more == 0)
            return EIO;
        if (more > 0)
            done += (size_t)more;
    }
    return 0;
}

/* Bring the pages in that a record goes to, some ahead of it, by writing zeros where there are
   zeros already: a file system takes many pages at once for a third of what they cost one by one.
   With many more than these, each write to one of them costs more. A large record brings in its
   own. */
static int touch(dkv_log *log, size_t size)
{
    enum { LARGE = 4 << 10, AHEAD = 64 << 10 };
    static const uint8_t zeros[AHEAD];
    uint64_t end = log->offset + size;
    if (size >= LARGE && log->touched < end)
        log->touched = end;
    while (log->touched < end) {
        uint64_t left = log->end - log->touched;
        size_t most = left < AHEAD ? (size_t)left : AHEAD;
        int failed = write_all(log->fd, zeros, most, log->touched);
        if (failed)
            return failed;
        log->touched += most;
    }
    return 0;
}

int dkv_log_write(dkv_table *t)
{
    dkv_log *log = t->log;
    size_t size = log->record.used;
    dkv_seal(log->seed, log->offset, log->record.bytes, size);
    int failed = touch(log, size);
    if (!failed)
        failed = write_all(log->fd, log->record.bytes, size, log->offset);
    if (failed)
        return failed;
    log->offset += size;
    log->records++;
    log->evicted.used = 0;
    uint64_t told;
    const uint8_t *first = log->record.bytes + DKV_HEAD;
    if (*first == DKV_OP_SYNCED) { /* what has no change in it is not written */
        memcpy(&told, first + 1, sizeof told);
        atomic_compare_exchange_strong(&log->synced, &told, 0);
    }
    return 0;
}
