/* Method: takes the place of a protocol's method, which libuv calls without a handle. */

#include "timing.h"

typedef struct {
    Replacement base;
    PyObject *get_running_loop; /* owned */
} MethodObject;

/* What the transport called, for the report: its protocol tells whose connection it was. A new reference. */
static PyObject *
bound_to(PyObject *function, PyObject *const *args, Py_ssize_t count)
{
    PyObject *bound = NULL;
    if (count > 0 && args[0] != Py_None) {
        SavedError error;
        error_save(&error);
        bound = PyMethod_New(function, args[0]);
        PyErr_Clear();
        error_restore(&error);
    }
    return bound != NULL ? bound : Py_NewRef(function);
}

static PyObject *
method_vectorcall(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *names)
{
    MethodObject *self = (MethodObject *)callable;
    if (!self->base.active) {
        return call_original(&self->base, args, nargsf, names);
    }
    /* Owned, released at the end: the method may replace itself. */
    PyObject *loop = NULL, *original = NULL, *called = NULL, *result = NULL;
    MonitorObject *monitor = NULL;

    loop = PyObject_CallNoArgs(self->get_running_loop);
    if (loop == NULL && PyErr_ExceptionMatches(PyExc_MemoryError)) {
        PyErr_Clear();
    }
    monitor = loop != NULL && loop != Py_None ? monitor_of(&self->base, loop) : NULL;
    if (monitor == NULL && PyErr_Occurred()) {
        goto done;
    }
    original = Py_NewRef(self->base.original);
    /* From within a callback, as by super(), it is that one which is timed. */
    if (monitor == NULL || monitor->started != 0.0) {
        result = PyObject_Vectorcall(original, args, nargsf, names);
        goto done;
    }
    double started = begin(monitor, original, NULL);
    result = PyObject_Vectorcall(original, args, nargsf, names);
    double ended = perf_counter();
    if (was_long(monitor, ended)) {
        called = bound_to(original, args, PyVectorcall_NARGS(nargsf));
        if (core_report(callable, monitor, ended, called, NULL, self->base.turns) < 0) {
            Py_CLEAR(result);
        }
    }
    end(monitor, started, ended);
done:
    Py_XDECREF(loop);
    Py_XDECREF(original);
    Py_XDECREF(called);
    Py_XDECREF(monitor);
    return result;
}

static PyObject *
method_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"original", "monitors", "turns", NULL};
    PyObject *original, *monitors;
    long turns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!l:Method", names, &original, &PyDict_Type, &monitors, &turns)) {
        return NULL;
    }
    CoreState *state = (CoreState *)PyType_GetModuleState(type);
    MethodObject *self = state != NULL ? (MethodObject *)type->tp_alloc(type, 0) : NULL;
    if (self == NULL) {
        return NULL;
    }
    self->get_running_loop = Py_NewRef(state->get_running_loop);
    if (replacement_init(&self->base, state, original, monitors, Py_None, turns, method_vectorcall) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
method_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(((MethodObject *)op)->get_running_loop);
    return replacement_traverse(op, visit, arg);
}

static int
method_clear(PyObject *op)
{
    ((MethodObject *)op)->base.active = 0;
    Py_CLEAR(((MethodObject *)op)->get_running_loop);
    return replacement_clear(op);
}

static void
method_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    (void)method_clear(op);
    replacement_dealloc(op);
}

static PyType_Slot method_slots[] = {
    {Py_tp_doc, "Method(original, monitors, turns)\n--\n\nTakes the place of a protocol's method."},
    {Py_tp_new, method_new},
    {Py_tp_dealloc, method_dealloc},
    {Py_tp_traverse, method_traverse},
    {Py_tp_clear, method_clear},
    REPLACEMENT_SLOTS,
    {0, NULL},
};

static PyType_Spec method_spec = {
    .name = "otel_loopblock.core.native.Method",
    .basicsize = sizeof(MethodObject),
    .flags = REPLACEMENT_FLAGS,
    .slots = method_slots,
};

int
core_add_method(PyObject *module, CoreState *state)
{
    return core_add_type(module, &method_spec, &state->method_type);
}
