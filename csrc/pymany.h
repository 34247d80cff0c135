/*
 * The methods of dumbkv._native.Table for many keys at once, each one atomic step: the
 * shards of all its keys are locked together. Part of pytable.c.
 */

/* The arguments of a call: `n` pairs for the table, and the objects behind them. */
typedef struct {
    Py_ssize_t n;
    dkv_pair *pairs;
    Text *keys;
    Text *values; /* NULL for keys alone */
} Many;

static void many_clear(Many *many)
{
    for (Py_ssize_t i = 0; many->keys && i < many->n; i++)
        text_clear(&many->keys[i]);
    for (Py_ssize_t i = 0; many->values && i < many->n; i++)
        text_clear(&many->values[i]);
    PyMem_Free(many->pairs);
    PyMem_Free(many->keys);
    PyMem_Free(many->values);
}

static int many_alloc(Many *many, Py_ssize_t n, bool with_values)
{
    size_t room = (size_t)n + 1;
    *many = (Many){.n = 0};
    many->pairs = PyMem_Calloc(room, sizeof *many->pairs);
    many->keys = PyMem_Calloc(room, sizeof *many->keys);
    if (with_values)
        many->values = PyMem_Calloc(room, sizeof *many->values);
    if (many->pairs && many->keys && (many->values || !with_values))
        return 0;
    many_clear(many);
    PyErr_NoMemory();
    return -1;
}

static void many_key(Many *many, Py_ssize_t i)
{
    many->pairs[i].key = (const uint8_t *)many->keys[i].bytes;
    many->pairs[i].key_len = (size_t)many->keys[i].len;
}

/* Keys from an iterable. One that is a list is read as it is, with its length looked at
   again each time: making bytes of a key may run code that changes it. */
static int many_keys(TableObject *self, Many *many, PyObject *given)
{
    PyObject *list = PyList_CheckExact(given) ? Py_NewRef(given) : PySequence_List(given);
    if (!list)
        return -1;
    Py_ssize_t n = PyList_Size(list);
    if (many_alloc(many, n, false) < 0) {
        Py_DECREF(list);
        return -1;
    }
    for (; many->n < n && many->n < PyList_Size(list); many->n++) {
        PyObject *key = Py_NewRef(PyList_GetItem(list, many->n));
        int rc = key_from(self, &many->keys[many->n], key);
        Py_DECREF(key);
        if (rc < 0) {
            Py_DECREF(list);
            many_clear(many);
            return -1;
        }
        many_key(many, many->n);
    }
    Py_DECREF(list);
    return 0;
}

/* The pairs of a mapping or an iterable of pairs, as a list of its own. */
static PyObject *listed(PyObject *other)
{
    if (PyDict_CheckExact(other))
        return PyDict_Items(other);
    if (PyList_CheckExact(other))
        return PyList_GetSlice(other, 0, PY_SSIZE_T_MAX);
    PyObject *items = NULL;
    PyObject *method = PyObject_GetAttrString(other, "items");
    if (method) {
        items = PyObject_CallFunctionObjArgs(method, NULL);
        Py_DECREF(method);
        if (!items)
            return NULL;
    } else if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        items = Py_NewRef(other);
    } else {
        return NULL;
    }
    PyObject *list = PySequence_List(items);
    Py_DECREF(items);
    return list;
}

static int many_pair(TableObject *self, const char *function, Many *many, PyObject *item)
{
    Py_ssize_t i = many->n;
    if (!(PyTuple_Check(item) || PyList_Check(item)) || PySequence_Size(item) != 2) {
        PyErr_Format(PyExc_TypeError, "%s: element %zd must be a (key, value) pair", function, i);
        return -1;
    }
    bool plain = PyTuple_CheckExact(item); /* the list is nobody else's, and it cannot change */
    PyObject *k = plain ? Py_NewRef(PyTuple_GetItem(item, 0)) : PySequence_GetItem(item, 0);
    PyObject *v = plain ? Py_NewRef(PyTuple_GetItem(item, 1)) : PySequence_GetItem(item, 1);
    int rc = k && v ? pair_from(self, &many->keys[i], k, &many->values[i], v) : -1;
    Py_XDECREF(k);
    Py_XDECREF(v);
    if (rc == 0) {
        many_key(many, i);
        many->n++;
    }
    return rc;
}

/* Ask for the objects of a pair some turns ahead: the waits for them then overlap. */
static void prefetch_pair(PyObject *list, Py_ssize_t i)
{
    enum { PAIRS_AHEAD = 12, DATA = 32 };
    if (i + PAIRS_AHEAD >= PyList_Size(list))
        return;
    PyObject *item = PyList_GetItem(list, i + PAIRS_AHEAD);
    if (!PyTuple_CheckExact(item) || PyTuple_Size(item) != 2)
        return;
    for (Py_ssize_t k = 0; k < 2; k++) {
        const char *object = (const char *)PyTuple_GetItem(item, k);
        __builtin_prefetch(object);
        __builtin_prefetch(object + DATA);
    }
}

static int many_pairs(TableObject *self, const char *function, Many *many, PyObject *other)
{
    PyObject *list = listed(other);
    if (!list)
        return -1;
    Py_ssize_t n = PyList_Size(list);
    int rc = many_alloc(many, n, true);
    for (Py_ssize_t i = 0; i < n && rc == 0; i++) {
        prefetch_pair(list, i);
        rc = many_pair(self, function, many, PyList_GetItem(list, i));
        if (rc < 0)
            many_clear(many);
    }
    Py_DECREF(list);
    return rc;
}

static PyObject *write_many(TableObject *self, const char *function, PyObject *other, Expiry expiry)
{
    Many many;
    if (many_pairs(self, function, &many, other) < 0)
        return NULL;
    int64_t deadline = deadline_of(self, expiry);
    size_t at;
    for (Py_ssize_t i = 0; i < many.n; i++) {
        many.pairs[i].value = lend(&many.values[i]);
        many.pairs[i].deadline = deadline;
    }
    int rc = commit_pairs(self, many.pairs, (size_t)many.n, &at);
    many_clear(&many);
    finish_logged(self, rc, deadline);
    return rc < 0 ? raise_code(self, rc) : Py_NewRef(Py_None);
}

static PyObject *Table_update(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (positional("update", nargs, 0, 1) < 0)
        return NULL;
    if (!nargs && dkv_closed(((TableObject *)self)->table))
        return raise_code((TableObject *)self, DKV_ECLOSED);
    if (!nargs)
        return Py_NewRef(Py_None);
    return write_many((TableObject *)self, "update", args[0], DEFAULT_EXPIRY);
}

static PyObject *Table_set_many(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    static const char *const known[] = {"items", "ttl", "expire_at", NULL};
    PyObject *slots[3] = {nargs > 0 ? args[0] : NULL, NULL, NULL};
    Expiry expiry;
    if (positional("set_many", nargs, kwnames ? 0 : 1, 1) < 0 ||
        (kwnames && keywords("set_many", args, nargs, kwnames, known, slots) < 0))
        return NULL;
    if (!slots[0]) {
        PyErr_SetString(PyExc_TypeError, "set_many() missing its argument 'items'");
        return NULL;
    }
    if (expiry_from(&expiry, slots[1], slots[2], false) < 0)
        return NULL;
    return write_many((TableObject *)self, "set_many", slots[0], expiry);
}

/* How many keys are looked at: reading their values, which is counted; the same, uncounted;
   or only whether they are there. */
typedef enum { READ, LOOK, WHETHER } How_many;

/* Values into `found`, a place for each key, or None for WHETHER; NULL where there is none. */
static int values_of(TableObject *self, Many *many, How_many how, PyObject **found)
{
    dkv_span span;
    int rc = dkv_begin(self->table, many->pairs, (size_t)many->n, &span);
    if (rc < 0) {
        raise_code(self, rc);
        return -1;
    }
    for (size_t i = 0; i < span.n && rc == 0; i++) {
        dkv_hold hold;
        if (dkv_find(&span, i, how == READ, &hold)) {
            found[i] = how == WHETHER ? Py_NewRef(Py_None) : value_of(&hold);
            rc = found[i] ? 0 : -1;
        }
    }
    dkv_end(&span);
    return rc;
}

/* Add a key that is there to a dict or list. */
static int add_found(PyObject *result, PyObject *key, PyObject *value, How_many how)
{
    if (how == READ)
        return PyDict_SetItem(result, key, value);
    if (how == WHETHER)
        return PyList_Append(result, key);
    PyObject *pair = PyTuple_Pack(2, key, value);
    int rc = pair ? PyList_Append(result, pair) : -1;
    Py_XDECREF(pair);
    return rc;
}

static PyObject *look_at(TableObject *self, PyObject *keys, How_many how)
{
    Many many;
    if (many_keys(self, &many, keys) < 0)
        return NULL;
    PyObject **found = PyMem_Calloc((size_t)many.n + 1, sizeof *found);
    PyObject *result = !found ? PyErr_NoMemory() : how == READ ? PyDict_New() : PyList_New(0);
    int rc = result ? values_of(self, &many, how, found) : -1;
    for (Py_ssize_t i = 0; found && i < many.n; i++) {
        if (found[i] && rc == 0)
            rc = add_found(result, many.keys[i].owner, found[i], how);
        Py_XDECREF(found[i]);
    }
    PyMem_Free(found);
    many_clear(&many);
    if (rc == 0)
        finish(self, DKV_NEVER);
    else
        Py_CLEAR(result);
    return result;
}

static PyObject *Table_get_many(PyObject *self, PyObject *keys)
{
    return look_at((TableObject *)self, keys, READ);
}

/* Those of the keys that are there, in their order, as pairs with their values. */
static PyObject *Table_pairs(PyObject *self, PyObject *keys)
{
    return look_at((TableObject *)self, keys, LOOK);
}

/* The same without the values. */
static PyObject *Table_those(PyObject *self, PyObject *keys)
{
    return look_at((TableObject *)self, keys, WHETHER);
}

static PyObject *delete_logged(TableObject *self, Many *many)
{
    Py_ssize_t removed = 0;
    size_t at;
    for (Py_ssize_t i = 0; i < many->n; i++)
        many->pairs[i].act = DKV_DROP;
    int rc = log_pairs(self, many->pairs, (size_t)many->n, &at);
    for (Py_ssize_t i = 0; i < many->n; i++)
        removed += (Py_ssize_t)many->pairs[i].version;
    many_clear(many);
    finish_logged(self, rc, DKV_NEVER);
    return rc < 0 ? raise_code(self, rc) : PyLong_FromSsize_t(removed);
}

static PyObject *Table_delete_many(PyObject *self, PyObject *arg)
{
    TableObject *table = (TableObject *)self;
    Many many;
    dkv_span span;
    Py_ssize_t removed = 0;
    if (many_keys(table, &many, arg) < 0)
        return NULL;
    if (table->logs)
        return delete_logged(table, &many);
    size_t n = (size_t)many.n;
    int rc = dkv_begin(table->table, many.pairs, n, &span);
    if (rc == 0) {
        for (size_t i = 0; i < n; i++) {
            dkv_hold hold;
            if (dkv_find(&span, i, false, &hold)) {
                dkv_drop(&hold);
                many.pairs[i].value.owner = hold.gone.owner;
                removed++;
            }
        }
        dkv_end(&span);
        for (size_t i = 0; i < n; i++)
            Py_XDECREF((PyObject *)many.pairs[i].value.owner);
    }
    many_clear(&many);
    finish(table, DKV_NEVER);
    return rc < 0 ? raise_code(table, rc) : PyLong_FromSsize_t(removed);
}
