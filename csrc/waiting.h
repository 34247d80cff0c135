/*
 * Threads that wait until what they wrote is on the disk, and which of them asks for it. Internal
 * to pytable.c, and called without the GIL; `Waiting` in dumbkv/_waiting.py is its twin.
 *
 * One leads and asks for all that was written. Each of the others has a condition of its own, so
 * that only those are woken who are through, and one more, who leads next: woken together they
 * would wait for the GIL, and again for the disk, one behind the other.
 */
#ifndef DKV_WAITING_H
#define DKV_WAITING_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef struct Waiter {
    struct Waiter *next;
    uint64_t end;
    bool told;
    pthread_cond_t condition;
} Waiter;

typedef struct {
    pthread_mutex_t mutex; /* guards what follows */
    Waiter *first;         /* in the order in which they came */
    size_t count;
    size_t company;          /* how many there may be before the next request */
    uint64_t position;       /* all before it is on the disk */
    bool over;               /* nothing more will be */
    bool led, gathering;     /* somebody leads, and waits for company */
    pthread_t leader;        /* who */
    pthread_cond_t gathered; /* the company is there */
    atomic_uint unwaited;    /* threads that do not wait for what they write */
} Waiting;

static inline void waiting_begin(Waiting *w)
{
    *w = (Waiting){.company = 1};
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->gathered, NULL);
}

static inline void waiting_end(Waiting *w)
{
    pthread_cond_destroy(&w->gathered);
    pthread_mutex_destroy(&w->mutex);
}

/* With the mutex: take out the waiter at `*at` and let it go. */
static inline void waiting_tell(Waiting *w, Waiter **at)
{
    Waiter *one = *at;
    *at = one->next;
    w->count--;
    one->told = true;
    pthread_cond_signal(&one->condition);
}

/* With the mutex: wait to be told to look again. */
static inline void waiting_stand(Waiting *w, uint64_t end)
{
    Waiter own = {.end = end, .condition = PTHREAD_COND_INITIALIZER};
    Waiter **last = &w->first;
    while (*last)
        last = &(*last)->next;
    *last = &own;
    w->count++;
    if (w->gathering && w->count + 1 >= w->company) {
        w->gathering = false;
        pthread_cond_signal(&w->gathered);
    }
    while (!own.told)
        pthread_cond_wait(&own.condition, &w->mutex);
    pthread_cond_destroy(&own.condition);
}

/* Wait until all before `end` is on the disk, or never will be; true when the caller is to lead
   instead, until waiting_leave. */
static inline bool waiting_join(Waiting *w, uint64_t end)
{
    pthread_mutex_lock(&w->mutex);
    bool mine = w->led && pthread_equal(w->leader, pthread_self());
    while (!mine && w->led && !w->over && w->position < end)
        waiting_stand(w, end);
    bool leads = !w->over && w->position < end;
    if (leads) {
        w->led = true;
        w->leader = pthread_self();
    }
    pthread_mutex_unlock(&w->mutex);
    return leads;
}

/* Whether all before `end` is on the disk. */
static inline bool waiting_reached(Waiting *w, uint64_t end)
{
    pthread_mutex_lock(&w->mutex);
    bool reached = w->position >= end;
    pthread_mutex_unlock(&w->mutex);
    return reached;
}

/* Who leads waits for those who wrote with the last request, for so many nanoseconds at most: how
   many are there. */
static inline size_t waiting_gather(Waiting *w, int64_t most)
{
    enum { SECOND = 1000000000 };
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    most += until.tv_nsec;
    until.tv_sec += (time_t)(most / SECOND);
    until.tv_nsec = (long)(most % SECOND);
    pthread_mutex_lock(&w->mutex);
    w->gathering = w->count + 1 < w->company;
    while (w->gathering && pthread_cond_timedwait(&w->gathered, &w->mutex, &until) != ETIMEDOUT) {
    }
    w->gathering = false;
    size_t count = w->count;
    pthread_mutex_unlock(&w->mutex);
    return count;
}

/* All before `position` is on the disk, or with `over` nothing more will be. */
static inline void waiting_tell_all(Waiting *w, uint64_t position, bool over)
{
    pthread_mutex_lock(&w->mutex);
    w->over |= over;
    if (w->position < position)
        w->position = position;
    w->company = w->count + 1;
    for (Waiter **at = &w->first; *at;) {
        if (w->over || (*at)->end <= w->position)
            waiting_tell(w, at);
        else
            at = &(*at)->next;
    }
    pthread_mutex_unlock(&w->mutex);
}

/* Lead no more, if this thread does: the first of those who wait is next. */
static inline void waiting_leave(Waiting *w)
{
    pthread_mutex_lock(&w->mutex);
    if (w->led && pthread_equal(w->leader, pthread_self())) {
        w->led = false;
        if (w->first)
            waiting_tell(w, &w->first);
    }
    pthread_mutex_unlock(&w->mutex);
}

#endif
