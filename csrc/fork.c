/*
 * Tables across fork(). The child has one thread and a copy of every lock; one that some
 * other thread had would be locked there for ever. So fork() itself, by pthread_atfork,
 * takes all locks before and gives them back after, on both sides. It cannot be done from
 * Python's own fork hooks: between those the interpreter may run other threads, and one
 * of them could wait for a lock with the GIL that the forking thread needs to go on.
 */
#include "locks.h"

#include <pthread.h>

static dkv_table *tables;
static atomic_uint tables_locked;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void take_locks(void)
{
    dkv_lock_word(&tables_locked);
    for (dkv_table *t = tables; t; t = t->next) {
        dkv_lock_all(t);
        dkv_lock_word(&t->pool.locked);
        dkv_lock_word(&t->dead_locked);
        dkv_lock_word(&t->events.locked);
    }
    dkv_regions_lock();
}

static void give_locks(void)
{
    dkv_regions_unlock();
    for (dkv_table *t = tables; t; t = t->next) {
        dkv_unlock_word(&t->events.locked);
        dkv_unlock_word(&t->dead_locked);
        dkv_unlock_word(&t->pool.locked);
        dkv_unlock_all(t);
    }
    dkv_unlock_word(&tables_locked);
}

static void ask(void)
{
    pthread_atfork(take_locks, give_locks, give_locks);
}

void dkv_fork_keep(dkv_table *t)
{
    pthread_once(&once, ask);
    dkv_lock_word(&tables_locked);
    t->next = tables;
    t->to_me = &tables;
    if (tables)
        tables->to_me = &t->next;
    tables = t;
    dkv_unlock_word(&tables_locked);
}

void dkv_fork_forget(dkv_table *t)
{
    dkv_lock_word(&tables_locked);
    *t->to_me = t->next;
    if (t->next)
        t->next->to_me = t->to_me;
    dkv_unlock_word(&tables_locked);
}
