/*
 * What there is to do after a method that may have changed something. Part of pytable.c.
 */

static void let_go(void *owner)
{
    Py_DECREF((PyObject *)owner);
}

/* The values of a table that are to be let go of next. Freeing one waits for its memory,
   which nobody may have touched for long: so it is asked for at once, and let go of some
   writes later. Large ones do not wait. */
static void let_go_later(TableObject *self, dkv_value gone)
{
    enum { LARGE = 64 * 1024, HEADER = 16 };
    if (gone.len >= LARGE) {
        let_go(gone.owner);
        return;
    }
    __builtin_prefetch((char *)gone.owner - HEADER, 1); /* malloc's, and its next block's */
    __builtin_prefetch(gone.owner, 1);
    __builtin_prefetch(gone.bytes + gone.len + HEADER, 1);
    size_t turn = self->turn++ % LATER;
    void *before = self->later[turn];
    self->later[turn] = gone.owner;
    if (before)
        let_go(before);
}

static void let_go_now(TableObject *self)
{
    for (size_t i = 0; i < LATER; i++) {
        void *gone = self->later[i];
        self->later[i] = NULL;
        if (gone)
            let_go(gone);
    }
}

/* Release a hold that was written with. */
static void release(TableObject *self, dkv_hold *hold)
{
    dkv_release(hold);
    if (hold->gone.owner)
        let_go_later(self, hold->gone);
}

static void tell(TableObject *self, const char *method)
{
    PyObject *done = PyObject_CallMethod((PyObject *)self, method, NULL);
    if (!done)
        PyErr_WriteUnraisable((PyObject *)self);
    Py_XDECREF(done);
}

/* After a call that may have written or removed something, or set a deadline: let go of
   values that are gone, tell who waits for news, and see to it that somebody sweeps. This
   may run Python, so no exception may be set: raise after it, and give DKV_NEVER when
   nothing was written. */
static void finish(TableObject *self, int64_t deadline)
{
    enum { SOME = 1000 };
    if (dkv_has_dead(self->table))
        dkv_reap(self->table, let_go, SOME);
    if (dkv_has_news(self->table))
        tell(self, "_news");
    if (deadline != DKV_NEVER && dkv_wakes(self->table))
        tell(self, "_wake");
}
