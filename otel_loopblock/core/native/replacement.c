/* What Run, Scheduler and Method have in common. Whatever is asked of one, the function it replaces answers. */

#include "timing.h"

#include <stddef.h>

/* Sets what is common; -1 with an exception. */
int
replacement_init(Replacement *self, CoreState *state, PyObject *original, PyObject *monitors, PyObject *attach,
                 long turns, vectorcallfunc call)
{
    if (!PyCallable_Check(original)) {
        PyErr_Format(PyExc_TypeError, "%R cannot be called", original);
        return -1;
    }
    if (attach != Py_None && !PyCallable_Check(attach)) {
        PyErr_Format(PyExc_TypeError, "attach=%R cannot be called", attach);
        return -1;
    }
    self->vectorcall = call;
    self->original = Py_NewRef(original);
    self->monitors = Py_NewRef(monitors);
    self->attach = Py_NewRef(attach);
    self->monitor_type = (PyTypeObject *)Py_NewRef((PyObject *)state->monitor_type);
    self->turns = turns;
    self->active = 1;
    PyObject *updated = PyObject_CallFunctionObjArgs(state->update_wrapper, (PyObject *)self, original, NULL);
    Py_XDECREF(updated);
    return updated != NULL ? 0 : -1;
}

int
replacement_traverse(PyObject *op, visitproc visit, void *arg)
{
    Replacement *self = (Replacement *)op;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->original);
    Py_VISIT(self->monitors);
    Py_VISIT(self->attach);
    Py_VISIT(self->monitor_type);
    Py_VISIT(self->last);
    Py_VISIT(self->dict);
    return 0;
}

int
replacement_clear(PyObject *op)
{
    Replacement *self = (Replacement *)op;
    self->active = 0;
    /* Last, and never to NULL while somebody may call it: an original of None raises, and does not crash. */
    if (self->original != NULL) {
        PyObject *original = self->original;
        self->original = Py_NewRef(Py_None);
        Py_DECREF(original);
    }
    Py_CLEAR(self->monitors);
    Py_CLEAR(self->attach);
    Py_CLEAR(self->monitor_type);
    Py_CLEAR(self->last);
    Py_CLEAR(self->dict);
    return 0;
}

/* Each type's own fields are released by then. */
void
replacement_dealloc(PyObject *op)
{
    Replacement *self = (Replacement *)op;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)replacement_clear(op);
    Py_CLEAR(self->original);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject *
replacement_getattro(PyObject *op, PyObject *name)
{
    Replacement *self = (Replacement *)op;
    PyObject *found = PyObject_GenericGetAttr(op, name);
    if (found != NULL || self->original == NULL || !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return found;
    }
    PyErr_Clear();
    return PyObject_GetAttr(self->original, name);
}

PyObject *
replacement_repr(PyObject *op)
{
    return PyObject_Repr(((Replacement *)op)->original);
}

PyObject *
replacement_get(PyObject *self, PyObject *object, PyObject *Py_UNUSED(type))
{
    if (object == NULL || object == Py_None) {
        return Py_NewRef(self);
    }
    return PyMethod_New(self, object);
}

/* Pickled and copied as functions are: by name. */
static PyObject *
replacement_reduce(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return PyObject_GetAttrString(self, "__qualname__");
}

static PyObject *
replacement_get_active(Replacement *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->active);
}

static int
replacement_set_active(Replacement *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "active cannot be deleted");
        return -1;
    }
    int active = PyObject_IsTrue(value);
    if (active < 0) {
        return -1;
    }
    self->active = (char)active;
    if (!active) {
        Py_CLEAR(self->last);
    }
    return 0;
}

PyMemberDef replacement_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Replacement, vectorcall), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(Replacement, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Replacement, weakrefs), READONLY, NULL},
    {NULL},
};

PyGetSetDef replacement_getset[] = {
    {"active", (getter)replacement_get_active, (setter)replacement_set_active,
     "Whether it times; ``False``: it only calls the original.", NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL},
};

PyMethodDef replacement_methods[] = {
    {"__reduce__", replacement_reduce, METH_NOARGS, NULL},
    {NULL},
};

/* Whether what was found is the monitor of this loop. */
static int
is_monitor_of(Replacement *self, PyObject *found, PyObject *loop)
{
    return PyObject_TypeCheck(found, self->monitor_type) && ((MonitorObject *)found)->loop != NULL &&
           weakref_is_to(((MonitorObject *)found)->loop, loop);
}

/* An error on the way is ours, not the application's: it is written to stderr and nothing is timed. */
MonitorObject *
replacement_find(Replacement *self, PyObject *loop)
{
    /* Owned, released at the end. */
    PyObject *id = NULL, *found = NULL, *result = NULL;

    Py_INCREF(loop);
    id = PyLong_FromVoidPtr(loop);
    if (id == NULL) {
        goto done;
    }
    found = Py_XNewRef(PyDict_GetItemWithError(self->monitors, id));
    if (found == NULL && PyErr_Occurred()) {
        goto done;
    }
    if ((found == NULL || !is_monitor_of(self, found, loop)) && self->attach != Py_None) {
        Py_XSETREF(found, PyObject_CallOneArg(self->attach, loop));
        if (found == NULL) {
            goto done;
        }
    }
    /* Attaching may have ended the timing. */
    if (found != NULL && self->active && is_monitor_of(self, found, loop)) {
        Py_INCREF(found);
        Py_XSETREF(self->last, (MonitorObject *)found);
        result = Py_NewRef(found);
    }
done:
    if (result == NULL && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_WriteUnraisable(self->attach);
    }
    Py_DECREF(loop);
    Py_XDECREF(id);
    Py_XDECREF(found);
    return (MonitorObject *)result;
}
