/*
 * The methods of dumbkv._native.Table that remove. Part of pytable.c.
 */

/* Remove a key that is as wanted: 1, 0 when it is not, or -1 with the exception set. */
static int remove_key(TableObject *self, const Text *key, uint64_t want)
{
    dkv_hold hold;
    if (self->logs) {
        dkv_pair pair = pair_of(key, DKV_DROP);
        size_t at;
        pair.want = want;
        int rc = log_pairs(self, &pair, 1, &at);
        finish_logged(self, rc, DKV_NEVER);
        if (rc == DKV_ECONFLICT)
            return 0;
        if (rc < 0)
            raise_code(self, rc);
        return rc < 0 ? -1 : pair.there;
    }
    int found = dkv_acquire(self->table, key->bytes, (size_t)key->len, &hold);
    if (found < 0) {
        raise_code(self, found);
        return -1;
    }
    bool wanted = found && (want == DKV_ANY || hold.version == want);
    if (wanted)
        dkv_drop(&hold);
    release(self, &hold);
    finish(self, DKV_NEVER);
    return wanted;
}

/* Remove the key of a change that has begun, if it was found and its value could be had; 0 or a
   code. */
static int remove_held(TableObject *self, dkv_hold *hold, int found, const PyObject *value)
{
    static const dkv_value nothing = {NULL, 0, NULL};
    int rc;
    if (found < 0 || !value) {
        rc = leave(self, hold, nothing, found);
    } else if (self->logs) {
        dkv_pair pair = {.key = hold->key, .key_len = hold->key_len, .act = DKV_DROP};
        size_t at;
        dkv_release(hold);
        rc = log_begun(self, &pair, 1, &at);
    } else {
        dkv_drop(hold);
        release(self, hold);
        rc = 0;
    }
    finish_logged(self, rc, DKV_NEVER);
    return rc;
}

static PyObject *Table_delete(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    static const char *const known[] = {"key", "if_version", NULL};
    PyObject *slots[2] = {nargs > 0 ? args[0] : NULL, NULL};
    Text key;
    uint64_t version = 0;
    if (positional("delete", nargs, kwnames ? 0 : 1, 1) < 0 ||
        (kwnames && keywords("delete", args, nargs, kwnames, known, slots) < 0))
        return NULL;
    if (!slots[0]) {
        PyErr_SetString(PyExc_TypeError, "delete() missing its argument 'key'");
        return NULL;
    }
    if (key_from((TableObject *)self, &key, slots[0]) < 0)
        return NULL;
    if (given(slots[1]) && version_from(&version, slots[1]) < 0) {
        text_clear(&key);
        return NULL;
    }
    int removed = remove_key((TableObject *)self, &key, version ? version : DKV_ANY);
    text_clear(&key);
    return removed < 0 ? NULL : PyBool_FromLong(removed);
}

static PyObject *Table_pop(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    static const char *const known[] = {"key", "default", NULL};
    PyObject *slots[2] = {nargs > 0 ? args[0] : NULL, nargs > 1 ? args[1] : NULL};
    Text key;
    dkv_hold hold;
    if (positional("pop", nargs, kwnames ? 0 : 1, 2) < 0 ||
        (kwnames && keywords("pop", args, nargs, kwnames, known, slots) < 0))
        return NULL;
    if (!slots[0]) {
        PyErr_SetString(PyExc_TypeError, "pop() missing its argument 'key'");
        return NULL;
    }
    if (key_from((TableObject *)self, &key, slots[0]) < 0)
        return NULL;
    int found = begin_change((TableObject *)self, &key, &hold);
    PyObject *value = found > 0 ? value_of(&hold) : NULL;
    int rc = remove_held((TableObject *)self, &hold, found, value);
    text_clear(&key);
    if (rc < 0)
        Py_CLEAR(value);
    if (rc < 0)
        return raise_code((TableObject *)self, rc);
    if (found)
        return value;
    return slots[1] ? Py_NewRef(slots[1]) : missing(slots[0]);
}

static PyObject *Table_popitem(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    dkv_hold hold;
    int found = begin_log((TableObject *)self);
    if (found < 0)
        return NULL;
    found = dkv_acquire_any(((TableObject *)self)->table, &hold);
    PyObject *key = NULL, *value = NULL;
    if (found > 0)
        key = PyBytes_FromStringAndSize((const char *)hold.key, (Py_ssize_t)hold.key_len);
    if (key) {
        hold.key = (const uint8_t *)PyBytes_AsString(key); /* its own goes with the entry */
        value = value_of(&hold);
    }
    int rc = found > 0 ? remove_held((TableObject *)self, &hold, found, value)
                       : end_log((TableObject *)self, found);
    PyObject *pair = NULL;
    if (rc < 0)
        raise_code((TableObject *)self, rc);
    else if (!found)
        PyErr_SetString(PyExc_KeyError, "popitem(): the store is empty");
    else if (value)
        pair = PyTuple_Pack(2, key, value);
    Py_XDECREF(key);
    Py_XDECREF(value);
    return pair;
}
