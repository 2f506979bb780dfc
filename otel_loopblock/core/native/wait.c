/* The watchdog's sleep: without the GIL, without a tick while every loop is idle.

   While callbacks run it wakes up each tick, looks at the monitors' fields and sleeps on; it asks for the GIL
   only when a callback is due a look. So three times are measured, not inferred: when it was due to wake up,
   when it did (later: no CPU), and when it had the GIL (later: somebody kept it). */

#include "core.h"

#define LONG_CALLBACK 1
#define WOKEN 2

#define IDLE_TICKS 2 /* without a callback, after which it goes to sleep */
#define LONGEST_TICK_S 3600.0

void
waiter_wake(WaiterObject *waiter)
{
    /* With the GIL: no two loops come by at once. */
    if (waiter->asleep) {
        waiter->asleep = 0;
        PyThread_release_lock(waiter->lock);
    }
}

/* Waits for so many seconds or until the lock is released; whether it was. Without the GIL. */
static int
sleep_for(WaiterObject *self, double seconds)
{
    PY_TIMEOUT_T us = seconds > 0.0 ? (PY_TIMEOUT_T)(seconds * 1e6) + 1 : 0;
    return PyThread_acquire_lock_timed(self->lock, us, 0) == PY_LOCK_ACQUIRED;
}

static inline double
due_of(const MonitorObject *monitor, double started, double tick)
{
    return monitor->looked_at == started ? monitor->look_due : started + tick;
}

typedef struct {
    int active; /* a callback runs, or has run since the last tick */
    int due;    /* one is due a look */
} Round;

/* One look at the fields of all monitors. Without the GIL. */
static Round
look_round(MonitorObject *const *monitors, Py_ssize_t count, double now, double tick)
{
    Round round = {0, 0};
    double process_cpu = process_cpu_seconds();
    for (Py_ssize_t i = 0; i < count; i++) {
        MonitorObject *monitor = monitors[i];
        double started = monitor->started, busy = monitor->busy;
        if (started != 0.0 || busy != monitor->before_busy) {
            round.active = 1;
        }
        double cpu = clock_seconds(monitor->clock);
        if (started != 0.0 && now >= due_of(monitor, started, tick)) {
            round.due = 1;
            monitor->woke_cpu = cpu;
        }
        else if (started == 0.0 || now - started < tick) {
            monitor->before_cpu = cpu;
            monitor->before_process_cpu = process_cpu;
            monitor->before_busy = busy;
            monitor->before_at = now;
        }
    }
    return round;
}

static int
any_runs(MonitorObject *const *monitors, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        if (monitors[i]->started != 0.0) {
            return 1;
        }
    }
    return 0;
}

/* Without the GIL. Sets the time when it was due to wake up and when it did; returns why it did. */
static int
wait_for_look(WaiterObject *self, MonitorObject *const *monitors, Py_ssize_t count, double tick, double *due,
              double *woke)
{
    int idle = 0;
    double last = perf_counter();
    for (;;) {
        *due = last + tick;
        int released = sleep_for(self, *due - perf_counter());
        *woke = perf_counter();
        if (self->requested) {
            *due = *woke;
            return WOKEN;
        }
        if (released) { /* a wake that came while it was waking up */
            continue;
        }
        Round round = look_round(monitors, count, *woke, tick);
        if (round.due) {
            return LONG_CALLBACK;
        }
        /* Late wake-ups are not made up for: the next tick counts from this one. */
        last = *woke - *due < tick ? *due : *woke;
        if (round.active) {
            idle = 0;
            continue;
        }
        if (++idle < IDLE_TICKS) {
            continue;
        }
        self->asleep = 1;
        /* A callback that began before its loop could see the flag is seen one tick later. */
        if (!sleep_for(self, tick) && !self->requested) {
            if (!any_runs(monitors, count)) {
                (void)PyThread_acquire_lock(self->lock, WAIT_LOCK);
            }
        }
        self->asleep = 0;
        idle = 0;
        last = perf_counter();
        if (self->requested) {
            *due = *woke = last;
            return WOKEN;
        }
    }
}

static PyObject *
waiter_wait(WaiterObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"monitors", "tick_s", NULL};
    /* Borrowed. */
    PyObject *sequence = NULL;
    /* Owned, released at the end. */
    PyObject *result = NULL;
    MonitorObject **monitors = NULL;
    double tick, due = 0.0, woke = 0.0;
    int why;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!d:wait", names, &PyTuple_Type, &sequence, &tick)) {
        return NULL;
    }
    if (!(tick > 0.0 && tick < LONGEST_TICK_S)) { /* no number either */
        PyErr_SetString(PyExc_ValueError, "tick_s must be above 0 and below 3600");
        return NULL;
    }
    CoreState *state = (CoreState *)PyType_GetModuleState(Py_TYPE(self));
    if (state == NULL) {
        return NULL;
    }
    PyTypeObject *monitor_type = state->monitor_type;
    Py_ssize_t count = PyTuple_GET_SIZE(sequence);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!PyObject_TypeCheck(PyTuple_GET_ITEM(sequence, i), monitor_type)) {
            PyErr_SetString(PyExc_TypeError, "monitors must be Monitor objects");
            return NULL;
        }
    }
    if (self->waiting) {
        PyErr_SetString(PyExc_RuntimeError, "another thread waits already");
        return NULL;
    }
    monitors = PyMem_New(MonitorObject *, count > 0 ? count : 1);
    if (monitors == NULL) {
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        monitors[i] = (MonitorObject *)PyTuple_GET_ITEM(sequence, i);
    }
    /* While the GIL is away. At the interpreter's exit this thread stays in there: then they are never released. */
    Py_INCREF(self);
    Py_INCREF(sequence);
    self->waiting = 1;
    Py_BEGIN_ALLOW_THREADS
    why = wait_for_look(self, monitors, count, tick, &due, &woke);
    Py_END_ALLOW_THREADS
    double got = perf_counter();
    self->waiting = 0;
    if (why == WOKEN) {
        self->requested = 0;
    }
    result = Py_BuildValue("iddd", why, due, woke, got);
    PyMem_Free(monitors);
    Py_DECREF(sequence);
    Py_DECREF(self);
    return result;
}

static PyObject *
waiter_wake_up(WaiterObject *self, PyObject *Py_UNUSED(unused))
{
    if (!self->requested) {
        self->requested = 1;
        self->asleep = 0;
        PyThread_release_lock(self->lock);
    }
    Py_RETURN_NONE;
}

static PyObject *
waiter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Waiter", names)) {
        return NULL;
    }
    WaiterObject *self = (WaiterObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->lock = PyThread_allocate_lock();
    if (self->lock == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    (void)PyThread_acquire_lock(self->lock, WAIT_LOCK);
    return (PyObject *)self;
}

static void
waiter_dealloc(WaiterObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    /* In a forked child the lock of one that somebody waited for may be in any state: it is left alone. */
    if (self->lock != NULL && !self->waiting) {
        PyThread_release_lock(self->lock);
        PyThread_free_lock(self->lock);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

int
waiter_check(PyObject *object)
{
    return Py_TYPE(object)->tp_dealloc == (destructor)waiter_dealloc; /* it has no subclasses */
}

static PyMethodDef waiter_methods[] = {
    {"wait", (PyCFunction)(void (*)(void))waiter_wait, METH_VARARGS | METH_KEYWORDS,
     "wait($self, /, monitors, tick_s)\n--\n\n"
     "Sleep until a callback is due a look, or somebody calls ``wake``.\n\n"
     "Args:\n"
     "    monitors: a tuple of those to look at.\n"
     "    tick_s: seconds between two looks at their fields, and from a callback's start to its first look.\n\n"
     "Returns:\n"
     "    Why (``LONG_CALLBACK`` or ``WOKEN``), and three times of ``perf_counter``: when it was due to wake\n"
     "    up, when it did, and when it had the GIL.\n\n"
     "Raises:\n"
     "    RuntimeError: another thread waits already."},
    {"wake", (PyCFunction)waiter_wake_up, METH_NOARGS, "wake($self, /)\n--\n\nEnd the wait, or the next one at once."},
    {NULL},
};

static PyType_Slot waiter_slots[] = {
    {Py_tp_doc, "Waiter()\n--\n\nThe watchdog's sleep; a forked child needs another one."},
    {Py_tp_new, waiter_new},
    {Py_tp_dealloc, waiter_dealloc},
    {Py_tp_methods, waiter_methods},
    {0, NULL},
};

static PyType_Spec waiter_spec = {
    .name = "otel_loopblock.core.native.Waiter",
    .basicsize = sizeof(WaiterObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = waiter_slots,
};

int
core_add_wait(PyObject *module, CoreState *state)
{
    if (PyModule_AddIntConstant(module, "LONG_CALLBACK", LONG_CALLBACK) < 0 ||
        PyModule_AddIntConstant(module, "WOKEN", WOKEN) < 0) {
        return -1;
    }
    return core_add_type(module, &waiter_spec, &state->waiter_type);
}
