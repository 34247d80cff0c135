/*
 * Changes of a table that has a log. Part of pytable.c.
 *
 * A change waits for its turn without the GIL, is written without it and applied without it; the
 * turn is given back before the GIL is asked for again, so that no writer waits for one that
 * waits for the GIL. All that is done to files but this one write is Python: `_log_room` makes
 * room, `_log_failed` clears up after a write that failed, `_log_refuse` says why nothing may be
 * written, and `_log_wait` waits for the disk where that is wanted. The first two are called by
 * the writer whose turn it is, when nothing is prepared; a write from inside of them, by a signal
 * handler or a finalizer, is refused, as its turn would never come.
 *
 * A writer that waits for the disk and does not lead does so before it asks for the GIL again:
 * what it costs to give that up and get it back, with many writers, is more than what a write to
 * the disk takes.
 */
#include <pythread.h>

static void begin_turn(TableObject *self)
{
    pthread_mutex_lock(&self->writer);
    atomic_store_explicit(&self->owner, PyThread_get_thread_ident(), memory_order_relaxed);
}

static void end_turn(TableObject *self)
{
    atomic_store_explicit(&self->owner, 0, memory_order_relaxed);
    pthread_mutex_unlock(&self->writer);
}

/* 0, or -1 with the exception set when it is this thread's turn already. */
static int not_mine(TableObject *self)
{
    if (atomic_load_explicit(&self->owner, memory_order_relaxed) != PyThread_get_thread_ident())
        return 0;
    PyErr_SetString(PyExc_RuntimeError,
                    "this thread is in the middle of a write to the store: a signal handler or "
                    "finalizer that comes then cannot write to it");
    return -1;
}

/* Call a method that may raise: 0 or -1. */
static int call(TableObject *self, const char *method, uint64_t argument)
{
    PyObject *done =
        PyObject_CallMethod((PyObject *)self, method, "K", (unsigned long long)argument);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* Begin a turn: 0, or DKV_ERAISED without one. Nothing to do for a table without a log. */
static int begin_log(TableObject *self)
{
    if (!self->logs)
        return 0;
    if (not_mine(self) < 0)
        return DKV_ERAISED;
    Py_BEGIN_ALLOW_THREADS begin_turn(self);
    Py_END_ALLOW_THREADS if (!self->refuses) return 0;
    end_turn(self);
    (void)call(self, "_log_refuse", 0);
    return DKV_ERAISED;
}

/* End a turn in which nothing was changed. */
static int end_log(TableObject *self, int rc)
{
    if (self->logs && rc != DKV_ERAISED)
        end_turn(self);
    return rc;
}

/* Write what is prepared: 0, or DKV_ERAISED. */
static int write_prepared(TableObject *self)
{
    int failed;
    Py_BEGIN_ALLOW_THREADS failed = dkv_log_write(self->table);
    Py_END_ALLOW_THREADS return failed && call(self, "_log_failed", (uint64_t)failed) < 0
        ? DKV_ERAISED
        : 0;
}

/* What of a change is done without the GIL. */
typedef struct {
    dkv_span span;
    int rc;
    int failed;   /* the errno of the write */
    bool refused; /* nothing may be written */
    bool done;    /* and the turn is over */
    bool waits;   /* for the disk, which Python has to see to */
    uint64_t end;
} Step;

static void step(TableObject *self, dkv_pair *pairs, size_t n, size_t *at, Step *s)
{
    s->refused = self->refuses;
    if (s->refused)
        return;
    while ((s->rc = dkv_prepare(self->table, pairs, n, at, &s->span)) == DKV_EBUSY)
        sched_yield();
    if (s->rc < 0)
        return;
    if (s->span.records)
        s->failed = dkv_log_write(self->table);
    if (s->failed) {
        dkv_abandon(&s->span);
        return;
    }
    dkv_apply(&s->span);
    s->end = dkv_log_end(self->table);
    s->done = true;
    end_turn(self);
    s->waits = self->waits && s->span.records;
    if (s->waits && !atomic_load(&self->waiting.unwaited) && !waiting_join(&self->waiting, s->end))
        s->waits = !waiting_reached(&self->waiting, s->end);
}

/* Do with the pairs what they say in a turn that has begun, or begins here, and ends: 0 or a
   code. Values that were lent are the table's, or given back. */
static int log_step(TableObject *self, dkv_pair *pairs, size_t n, size_t *at, bool begun)
{
    Step s = {.rc = 0};
    bool again = true;
    while (again) {
        Py_BEGIN_ALLOW_THREADS if (!begun) begin_turn(self);
        step(self, pairs, n, at, &s);
        Py_END_ALLOW_THREADS begun = true;
        again = !s.refused && s.rc == DKV_EROOM &&
                call(self, "_log_room", dkv_log_need(self->table)) == 0;
    }
    if (s.done) {
        int rc = s.waits ? call(self, "_log_wait", s.end) : 0;
        if (s.waits) /* if that was interrupted before it was called */
            waiting_leave(&self->waiting);
        return rc < 0 ? DKV_ERAISED : 0;
    }
    if (s.failed)
        (void)call(self, "_log_failed", (uint64_t)s.failed);
    end_turn(self);
    if (s.refused)
        (void)call(self, "_log_refuse", 0);
    for (size_t i = 0; i < n; i++)
        take_back(pairs[i].value);
    return s.refused || s.failed || s.rc == DKV_EROOM ? DKV_ERAISED : s.rc;
}

static int log_begun(TableObject *self, dkv_pair *pairs, size_t n, size_t *at)
{
    return log_step(self, pairs, n, at, true);
}

static int log_pairs(TableObject *self, dkv_pair *pairs, size_t n, size_t *at)
{
    if (not_mine(self) == 0)
        return log_step(self, pairs, n, at, false);
    for (size_t i = 0; i < n; i++)
        take_back(pairs[i].value);
    return DKV_ERAISED;
}

/* dkv_commit, log first if there is one; lent values as with log_step. */
static int commit_pairs(TableObject *self, dkv_pair *pairs, size_t n, size_t *at)
{
    if (self->logs)
        return log_pairs(self, pairs, n, at);
    int rc = dkv_commit(self->table, pairs, n, at);
    for (size_t i = 0; i < n && rc < 0; i++)
        take_back(pairs[i].value);
    return rc;
}

static dkv_pair pair_of(const Text *key, dkv_act act)
{
    return (dkv_pair){.key = (const uint8_t *)key->bytes, .key_len = (size_t)key->len, .act = act};
}

/* After a change, done or not; with an exception set nothing may run. */
static void finish_logged(TableObject *self, int rc, int64_t deadline)
{
    if (rc != DKV_ERAISED)
        finish(self, rc < 0 ? DKV_NEVER : deadline);
}

/* Changes of one key that first look at it. `begin_change` holds it: 1 there, 0 absent, or a
   code with nothing held; `change`, `move` and `leave` end that, with a code or what they are
   given. A value that was lent and is not kept is given back. */

static int begin_change(TableObject *self, const Text *key, dkv_hold *hold)
{
    int rc = begin_log(self);
    if (rc == 0)
        rc = dkv_acquire(self->table, key->bytes, (size_t)key->len, hold);
    if (rc < 0)
        (void)end_log(self, rc);
    return rc;
}

static int leave(TableObject *self, dkv_hold *hold, dkv_value lent, int rc)
{
    take_back(lent);
    if (rc < 0)
        return rc;
    release(self, hold);
    return end_log(self, rc);
}

static int change(TableObject *self, dkv_hold *hold, dkv_value lent, int64_t deadline)
{
    if (self->logs) {
        dkv_pair pair = {.key = hold->key,
                         .key_len = hold->key_len,
                         .act = DKV_PUT,
                         .value = lent,
                         .deadline = deadline};
        size_t at;
        dkv_release(hold);
        return log_begun(self, &pair, 1, &at);
    }
    int rc = dkv_put(hold, lent, deadline);
    if (rc < 0)
        take_back(lent);
    release(self, hold);
    return rc;
}

static int move(TableObject *self, dkv_hold *hold, int64_t deadline)
{
    if (self->logs) {
        dkv_pair pair = {.key = hold->key,
                         .key_len = hold->key_len,
                         .act = DKV_MOVE,
                         .version = hold->version,
                         .deadline = deadline};
        size_t at;
        Text value = {.owner = value_of(hold)};
        dkv_release(hold);
        if (!value.owner)
            return end_log(self, DKV_ENOMEM);
        value.bytes = PyBytes_AsString(value.owner);
        value.len = PyBytes_Size(value.owner);
        pair.value = lend(&value);
        int rc = log_begun(self, &pair, 1, &at);
        text_clear(&value);
        return rc;
    }
    int rc = dkv_expire(hold, deadline);
    release(self, hold);
    return rc;
}

/* What Python calls to look after the log */

/* Begin a log: whether a change waits for the disk, and whether it can be undone. */
static PyObject *Table_log_begin(PyObject *self, PyObject *args)
{
    TableObject *table = (TableObject *)self;
    int waits;
    if (!PyArg_ParseTuple(args, "p:_log_begin", &waits))
        return NULL;
    if (dkv_log_begin(table->table, waits) < 0)
        return PyErr_NoMemory();
    waiting_begin(&table->waiting);
    pthread_mutex_init(&table->writer, NULL);
    table->logs = true;
    table->waits = waits;
    return Py_NewRef(Py_None);
}

/* Wait until all before this position is on the disk, or never will be: True when the caller is to
   lead instead, until `_log_leave`. */
static PyObject *Table_log_join(PyObject *self, PyObject *end)
{
    unsigned long long to = PyLong_AsUnsignedLongLong(end);
    bool leads;
    if (PyErr_Occurred())
        return NULL;
    Py_BEGIN_ALLOW_THREADS leads = waiting_join(&((TableObject *)self)->waiting, to);
    Py_END_ALLOW_THREADS return PyBool_FromLong(leads);
}

/* Who leads waits for those who wrote with the last request, for so many seconds at most: how many
   are there. */
static PyObject *Table_log_gather(PyObject *self, PyObject *seconds)
{
    double most = PyFloat_AsDouble(seconds);
    size_t count;
    if (PyErr_Occurred())
        return NULL;
    Py_BEGIN_ALLOW_THREADS count =
        waiting_gather(&((TableObject *)self)->waiting, (int64_t)(most * 1e9));
    Py_END_ALLOW_THREADS return PyLong_FromSize_t(count);
}

/* All before this position is on the disk, or nothing more will be. */
static PyObject *Table_log_reached(PyObject *self, PyObject *args)
{
    unsigned long long position;
    int over;
    if (!PyArg_ParseTuple(args, "Kp:_log_reached", &position, &over))
        return NULL;
    Py_BEGIN_ALLOW_THREADS waiting_tell_all(&((TableObject *)self)->waiting, position, over);
    Py_END_ALLOW_THREADS return Py_NewRef(Py_None);
}

/* Lead no more, if this thread does. */
static PyObject *Table_log_leave(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Py_BEGIN_ALLOW_THREADS waiting_leave(&((TableObject *)self)->waiting);
    Py_END_ALLOW_THREADS return Py_NewRef(Py_None);
}

/* A thread begins or ends not to wait for what it writes; `_log_wait` is told of all meanwhile. */
static PyObject *Table_log_unwaited(PyObject *self, PyObject *on)
{
    if (PyObject_IsTrue(on) == 1)
        atomic_fetch_add(&((TableObject *)self)->waiting.unwaited, 1);
    else
        atomic_fetch_sub(&((TableObject *)self)->waiting.unwaited, 1);
    return Py_NewRef(Py_None);
}

/* Go on in another file: its descriptor, where in it, how far, its seed, and the bytes of the
   files before it. */
static PyObject *Table_log_file(PyObject *self, PyObject *args)
{
    int fd;
    unsigned long long offset, end, before;
    unsigned int seed;
    if (!PyArg_ParseTuple(args, "iKKIK:_log_file", &fd, &offset, &end, &seed, &before))
        return NULL;
    dkv_log_file(((TableObject *)self)->table, fd, offset, end, seed, before);
    return Py_NewRef(Py_None);
}

static PyObject *Table_logs(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((TableObject *)self)->logs);
}

static PyObject *Table_log_extend(PyObject *self, PyObject *end)
{
    unsigned long long to = PyLong_AsUnsignedLongLong(end);
    if (PyErr_Occurred())
        return NULL;
    dkv_log_room(((TableObject *)self)->table, to);
    return Py_NewRef(Py_None);
}

/* Where the next record goes, in the file and in all of the log, and how many the file has. */
static PyObject *Table_log_state(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    const dkv_table *t = ((TableObject *)self)->table;
    return Py_BuildValue("(KKK)", (unsigned long long)dkv_log_offset(t),
                         (unsigned long long)dkv_log_end(t),
                         (unsigned long long)dkv_log_records(t));
}

static PyObject *Table_log_synced(PyObject *self, PyObject *offset)
{
    unsigned long long to = PyLong_AsUnsignedLongLong(offset);
    if (PyErr_Occurred())
        return NULL;
    dkv_log_synced(((TableObject *)self)->table, to);
    return Py_NewRef(Py_None);
}

/* Whether changes are refused from here on. */
static PyObject *Table_log_refuses(PyObject *self, PyObject *on)
{
    ((TableObject *)self)->refuses = PyObject_IsTrue(on) == 1;
    return Py_NewRef(Py_None);
}

static PyObject *Table_log_lock(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    TableObject *table = (TableObject *)self;
    if (not_mine(table) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS begin_turn(table);
    Py_END_ALLOW_THREADS return Py_NewRef(Py_None);
}

static PyObject *Table_log_unlock(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    end_turn((TableObject *)self);
    return Py_NewRef(Py_None);
}

static int expect_sound(TableObject *table)
{
    return table->refuses ? call(table, "_log_refuse", 0) : 0;
}

/* In a turn, write a record of these operations: where in the log it ends. */
static PyObject *Table_log_append(PyObject *self, PyObject *body)
{
    TableObject *table = (TableObject *)self;
    char *bytes;
    Py_ssize_t size;
    int rc;
    if (expect_sound(table) < 0)
        return NULL;
    if (PyBytes_AsStringAndSize(body, &bytes, &size) < 0)
        return NULL;
    while ((rc = dkv_log_body(table->table, (const uint8_t *)bytes, (size_t)size)) == DKV_EROOM) {
        if (call(table, "_log_room", dkv_log_need(table->table)) < 0)
            return NULL;
    }
    if (rc < 0)
        return raise_code(table, rc);
    if (write_prepared(table) < 0)
        return NULL;
    return PyLong_FromUnsignedLongLong(dkv_log_end(table->table));
}

/* In a turn, write again those sets in the whole records of some bytes that are still so: how
   many bytes those records are. The offset of the bytes in their file, and its seed. */
static PyObject *Table_log_keep(PyObject *self, PyObject *args)
{
    TableObject *table = (TableObject *)self;
    PyObject *data;
    char *bytes;
    Py_ssize_t size;
    unsigned long long offset;
    unsigned int seed;
    bool kept;
    if (!PyArg_ParseTuple(args, "SKI:_log_keep", &data, &offset, &seed) ||
        PyBytes_AsStringAndSize(data, &bytes, &size) < 0)
        return NULL;
    /* Since the log was poisoned what was undone is so again: it may not come behind that. */
    if (expect_sound(table) < 0)
        return NULL;
    int64_t rc;
    do {
        Py_BEGIN_ALLOW_THREADS rc =
            dkv_log_keep(table->table, (const uint8_t *)bytes, (size_t)size, offset, seed, &kept);
        Py_END_ALLOW_THREADS if (rc == DKV_EROOM &&
                                 call(table, "_log_room", dkv_log_need(table->table)) <
                                     0) return NULL;
    } while (rc == DKV_EROOM);
    if (rc < 0)
        return raise_code(table, (int)rc);
    if (kept && write_prepared(table) < 0)
        return NULL;
    return PyLong_FromLongLong(rc);
}

/* In a turn: 0 begins another generation of changes, 1 forgets the one before, 2 undoes all. */
static PyObject *Table_log_undo(PyObject *self, PyObject *what)
{
    TableObject *table = (TableObject *)self;
    long step_asked = PyLong_AsLong(what);
    if (step_asked == 0)
        dkv_undo_swap(table->table);
    else if (step_asked == 1)
        dkv_undo_forget(table->table);
    else if (dkv_undo_all(table->table, let_go) < 0)
        return PyErr_NoMemory();
    return Py_NewRef(Py_None);
}
