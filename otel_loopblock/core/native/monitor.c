/* Monitor: what the hot path writes of one loop, and the report of a callback that was long. */

#include "load.h"
#include "timing.h"

#include <stddef.h>

static PyObject *
monitor_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    /* A subclass has arguments of its own: they are for its __init__. */
    MonitorObject *self = (MonitorObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->clock = NO_CLOCK;
        self->before_cpu = self->before_process_cpu = self->woke_cpu = -1.0;
    }
    return (PyObject *)self;
}

static int
monitor_traverse(MonitorObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->waiter);
    Py_VISIT(self->loop);
    Py_VISIT(self->unwatched);
    return 0;
}

static int
monitor_clear(MonitorObject *self)
{
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->unwatched);
    return 0;
}

static void
monitor_dealloc(MonitorObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)monitor_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
new_ref_or_none(PyObject *object)
{
    return Py_NewRef(object != NULL ? object : Py_None);
}

static PyObject *
monitor_get_callback(MonitorObject *self, void *Py_UNUSED(closure))
{
    return new_ref_or_none(self->callback);
}

static PyObject *
monitor_get_context(MonitorObject *self, void *Py_UNUSED(closure))
{
    return new_ref_or_none(self->context);
}

static PyObject *
monitor_get_waiter(MonitorObject *self, void *Py_UNUSED(closure))
{
    return new_ref_or_none((PyObject *)self->waiter);
}

static int
monitor_set_waiter(MonitorObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL || value == Py_None) {
        Py_CLEAR(self->waiter);
        return 0;
    }
    if (!waiter_check(value)) {
        PyErr_SetString(PyExc_TypeError, "waiter must be a Waiter, or None");
        return -1;
    }
    Py_INCREF(value);
    Py_XSETREF(self->waiter, (WaiterObject *)value);
    return 0;
}

static PyObject *
monitor_get_loop(MonitorObject *self, void *Py_UNUSED(closure))
{
    return new_ref_or_none(self->loop);
}

static int
monitor_set_loop(MonitorObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL || value == Py_None) {
        Py_CLEAR(self->loop);
        return 0;
    }
    if (!PyWeakref_CheckRef(value)) {
        PyErr_SetString(PyExc_TypeError, "loop must be a weakref.ref, or None");
        return -1;
    }
    Py_INCREF(value);
    Py_XSETREF(self->loop, value);
    return 0;
}

static PyObject *
monitor_get_clock(MonitorObject *self, void *Py_UNUSED(closure))
{
    if (self->clock == NO_CLOCK) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLong(self->clock);
}

static int
monitor_set_clock(MonitorObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    long clock = NO_CLOCK;
    if (value != NULL && value != Py_None) {
        clock = PyLong_AsLong(value);
        if (clock == -1 && PyErr_Occurred()) {
            return -1;
        }
    }
    self->clock = clock;
    return 0;
}

static PyObject *
monitor_callback_ended(PyObject *Py_UNUSED(self), PyObject *const *Py_UNUSED(args), Py_ssize_t count)
{
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "callback_ended() takes ended, callback, context and turns");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
monitor_begin_rest(MonitorObject *self, PyObject *Py_UNUSED(unused))
{
    rest_begin(self);
    Py_RETURN_NONE;
}

static PyObject *
monitor_rest_ended(PyObject *Py_UNUSED(self), PyObject *const *Py_UNUSED(args), Py_ssize_t count)
{
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "rest_ended() takes since, now, queued and runs");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
monitor_get_stretch(MonitorObject *self, void *Py_UNUSED(closure))
{
    return load_stretch(self);
}

static PyObject *
monitor_tick(MonitorObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"now", "cpu_s", "saturation_s", "block_s", NULL};
    double now, cpu, saturation, threshold;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "dddd:tick", names, &now, &cpu, &saturation, &threshold)) {
        return NULL;
    }
    return PyLong_FromLong(load_tick(self, saturation, threshold, now, cpu));
}

static PyMethodDef monitor_methods[] = {
    {"begin_rest", (PyCFunction)monitor_begin_rest, METH_NOARGS,
     "begin_rest($self, /)\n--\n\n"
     "Read what the kernel counts of the loop's thread: what is added until ``rest_ended`` counts from here."},
    {"rest_ended", (PyCFunction)(void (*)(void))monitor_rest_ended, METH_FASTCALL,
     "rest_ended($self, since, now, queued, runs, /)\n--\n\n"
     "Called on the loop's thread when the first callback after a rest begins, where the thread seems to have\n"
     "waited for the GIL or a CPU; does nothing.\n\n"
     "Args:\n"
     "    since: ``perf_counter`` when the counters were read last.\n"
     "    now: ``perf_counter``.\n"
     "    queued: seconds that the thread could have run since but had no CPU.\n"
     "    runs: how often it got one."},
    {"tick", (PyCFunction)(void (*)(void))monitor_tick, METH_VARARGS | METH_KEYWORDS,
     "tick($self, now, cpu_s, saturation_s, block_s)\n--\n\n"
     "Look how full the loop is, as the waiter does at each tick: 0: it rests, 1: full, 2: it was full.\n\n"
     "Args:\n"
     "    now: ``perf_counter``.\n"
     "    cpu_s: CPU seconds of the loop's thread; negative: unknown.\n"
     "    saturation_s: a loop that has had nearly no rest for as long is full.\n"
     "    block_s: a callback that runs as long is a block."},
    {"callback_ended", (PyCFunction)(void (*)(void))monitor_callback_ended, METH_FASTCALL,
     "callback_ended($self, ended, callback, context, turns, /)\n--\n\n"
     "Called on the loop's thread when a callback has run for ``threshold`` seconds or more; does nothing.\n\n"
     "``started`` is still set then. What this raises is the callback's outcome, as in a ``finally`` clause.\n\n"
     "Args:\n"
     "    ended: ``perf_counter`` at its end.\n"
     "    callback: what the loop called.\n"
     "    context: the context it ran in; ``None`` when that is the current one.\n"
     "    turns: what the replacement was made with."},
    {NULL},
};

static PyMemberDef monitor_members[] = {
    {"unwatched", T_OBJECT, offsetof(MonitorObject, unwatched), 0,
     "A callback that does not wake the watchdog, or ``None``."},
    {"started", T_DOUBLE, offsetof(MonitorObject, started), 0,
     "``perf_counter`` at the start of the running callback; 0.0 while none runs."},
    {"busy", T_DOUBLE, offsetof(MonitorObject, busy), 0, "Seconds spent in callbacks that have ended."},
    {"runs", T_ULONGLONG, offsetof(MonitorObject, runs), 0, "How many callbacks have ended."},
    {"is_main", T_INT, offsetof(MonitorObject, is_main), 0, "Whether the loop runs in the main thread."},
    {"stopped", T_INT, offsetof(MonitorObject, stopped), 0,
     "Whether the loop has stopped, and its thread does something else."},
    {"blocked_at", T_DOUBLE, offsetof(MonitorObject, blocked_at), 0,
     "``perf_counter`` at the end of the last block; 0.0: there was none."},
    {"threshold", T_DOUBLE, offsetof(MonitorObject, threshold), 0,
     "Seconds a callback must run for ``callback_ended`` to be called."},
    {"looked_at", T_DOUBLE, offsetof(MonitorObject, looked_at), 0,
     "``started`` of the callback that ``look_due`` is about."},
    {"look_due", T_DOUBLE, offsetof(MonitorObject, look_due), 0,
     "``perf_counter`` when that callback is to be looked at next."},
    {"before_at", T_DOUBLE, offsetof(MonitorObject, before_at), 0,
     "``perf_counter`` when the clocks were read last while no callback was long; 0.0: never."},
    {"before_cpu", T_DOUBLE, offsetof(MonitorObject, before_cpu), 0,
     "CPU seconds of the loop's thread then; -1.0: unknown."},
    {"before_process_cpu", T_DOUBLE, offsetof(MonitorObject, before_process_cpu), 0,
     "CPU seconds of the process then; -1.0: unknown."},
    {"before_busy", T_DOUBLE, offsetof(MonitorObject, before_busy), 0, "``busy`` then."},
    {"native_id", T_ULONG, offsetof(MonitorObject, native_id), 0,
     "What the kernel calls the loop's thread; 0 where that is not known."},
    {"rest_at", T_DOUBLE, offsetof(MonitorObject, rest_at), READONLY,
     "``perf_counter`` when ``begin_rest`` has read the counters; 0.0: they are not known."},
    {"rest_queued", T_DOUBLE, offsetof(MonitorObject, rest_queued), READONLY,
     "Seconds that the thread had had no CPU then."},
    {"rest_runs", T_ULONGLONG, offsetof(MonitorObject, rest_runs), READONLY, "How often it had got one then."},
    {"woke_cpu", T_DOUBLE, offsetof(MonitorObject, woke_cpu), 0,
     "CPU seconds of the loop's thread when the waiter woke up for a long callback; -1.0: unknown."},
    {NULL},
};

static PyGetSetDef monitor_getset[] = {
    {"callback", (getter)monitor_get_callback, NULL, "What the loop is calling just now, or ``None``.", NULL},
    {"context", (getter)monitor_get_context, NULL,
     "The context it was scheduled with; ``None`` where that is not known.", NULL},
    {"waiter", (getter)monitor_get_waiter, (setter)monitor_set_waiter,
     "The watchdog's sleep, which the first callback ends.", NULL},
    {"loop", (getter)monitor_get_loop, (setter)monitor_set_loop,
     "A weak reference to the loop; ``None`` once the monitor is detached: then nothing is timed.", NULL},
    {"clock", (getter)monitor_get_clock, (setter)monitor_set_clock,
     "The CPU clock of the loop's thread, as ``thread_clock`` returns it there.", NULL},
    {"stretch", (getter)monitor_get_stretch, NULL,
     "How long the loop had nearly no rest, as the waiter saw it last: whether it is full (0: no, 1: yes,\n"
     "2: it was), since and until when, seconds in callbacks, number of callbacks.", NULL},
    {NULL},
};

static PyType_Slot monitor_slots[] = {
    {Py_tp_doc, "Monitor()\n--\n\nWhat the hot path writes of one loop; a base class, any arguments are ignored."},
    {Py_tp_new, monitor_new},
    {Py_tp_dealloc, monitor_dealloc},
    {Py_tp_traverse, monitor_traverse},
    {Py_tp_clear, monitor_clear},
    {Py_tp_methods, monitor_methods},
    {Py_tp_members, monitor_members},
    {Py_tp_getset, monitor_getset},
    {0, NULL},
};

static PyType_Spec monitor_spec = {
    .name = "otel_loopblock.core.native.Monitor",
    .basicsize = sizeof(MonitorObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = monitor_slots,
};

/* What callback_ended raises is the callback's outcome, with two exceptions: no memory left is ours to bear, and
   what ends the process (KeyboardInterrupt, SystemExit) is not replaced by an error. */
int
core_report(PyObject *replacement, MonitorObject *monitor, double ended, PyObject *callback, PyObject *context,
            long turns)
{
    int ret = 0;
    SavedError error;
    /* Owned, released at the end. */
    PyObject *ended_object = NULL, *turns_object = NULL, *result = NULL;

    error_save(&error);
    CoreState *state = (CoreState *)PyType_GetModuleState(Py_TYPE(replacement));
    if (state == NULL || state->str_callback_ended == NULL) { /* the interpreter is shutting down */
        PyErr_Clear();
        goto done;
    }
    ended_object = PyFloat_FromDouble(ended);
    turns_object = PyLong_FromLong(turns);
    if (ended_object != NULL && turns_object != NULL) {
        PyObject *arguments[] = {(PyObject *)monitor, ended_object, callback, context != NULL ? context : Py_None,
                                 turns_object};
        result = PyObject_VectorcallMethod(state->str_callback_ended, arguments, 5, NULL);
    }
    if (result == NULL) {
        if (PyErr_ExceptionMatches(PyExc_MemoryError) ||
            (error_is_saved(&error) && PyErr_ExceptionMatches(PyExc_Exception) &&
             !PyErr_GivenExceptionMatches(error_type(&error), PyExc_Exception))) {
            PyErr_WriteUnraisable((PyObject *)monitor);
        }
        else {
            if (error_is_saved(&error)) {
                error_chain(&error);
            }
            ret = -1;
        }
    }
done:
    Py_XDECREF(ended_object);
    Py_XDECREF(turns_object);
    Py_XDECREF(result);
    if (error_is_saved(&error)) {
        error_restore(&error);
    }
    return ret;
}

int
core_add_monitor(PyObject *module, CoreState *state)
{
    return core_add_type(module, &monitor_spec, &state->monitor_type);
}
