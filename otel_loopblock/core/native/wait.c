/* The watchdog's sleep: without the GIL, without a tick while every loop is idle.

   While callbacks run it wakes up each tick, looks at the monitors' fields and sleeps on; it asks for the GIL
   only when a callback is due a look. So three times are measured, not inferred: when it was due to wake up,
   when it did (later: no CPU), and when it had the GIL (later: somebody kept it). */

#include "load.h"

#include <math.h>
#include <stddef.h>

#define LONG_CALLBACK 1
#define WOKEN 2
#define LATE 3
#define LOADED 4

#define IDLE_TICKS 1  /* without a callback, after which it goes to sleep */
#define QUEUE_TICKS 8 /* between two readings of how long its thread had no CPU */
#define LATE_TICKS 4   /* of a tick that is less late nothing is told: a threshold */
#define LONGEST_TICK_S 3600.0
#define LONGEST_SLEEP_S 1e6 /* then it ticks and sleeps on; CPython aborts where a lock has a longer time-out */

/* With the GIL, so no two release at once. It may be released already: what was to wake up has not noticed yet.
   To release it again ends the process from 3.15 on. */
static void
release(WaiterObject *waiter)
{
    (void)PyThread_acquire_lock(waiter->lock, NOWAIT_LOCK);
    PyThread_release_lock(waiter->lock);
}

/* On the thread of a loop of which a callback begins. Returns when that begins: what is told of the rest before is no
   part of it. */
double
waiter_wake(WaiterObject *waiter, MonitorObject *monitor, double now)
{
    /* With the GIL: no two loops come by at once. */
    waiter->asleep = 0;
    monitor->started = now = rest_end(monitor, now, waiter->tick);
    waiter->due = now;
    release(waiter);
    return now;
}

/* Waits for so many seconds or until the lock is released; whether it was. Without the GIL. */
static int
sleep_for(WaiterObject *self, double seconds)
{
    PY_TIMEOUT_T us = seconds > 0.0 ? (PY_TIMEOUT_T)(fmin(seconds, LONGEST_SLEEP_S) * 1e6) + 1 : 0;
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
    int full;   /* of the loop that is fullest: see load.c */
} Round;

/* One look at the fields of all monitors. Without the GIL. */
static Round
look_round(const WaiterObject *self, MonitorObject *const *monitors, Py_ssize_t count, double now, double tick)
{
    Round round = {0, 0, LOAD_RESTS};
    double process_cpu = process_cpu_seconds();
    for (Py_ssize_t i = 0; i < count; i++) {
        MonitorObject *monitor = monitors[i];
        double started = monitor->started, busy = monitor->busy;
        if (started != 0.0 || busy != monitor->before_busy) {
            round.active = 1;
        }
        double cpu = clock_seconds(monitor->clock);
        if (self->saturation_s > 0.0) {
            int full = load_tick(monitor, self->saturation_s, self->threshold_s, now, cpu);
            round.full = full > round.full ? full : round.full;
        }
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

/* Whether no callback ran at that moment that runs now. */
static int
none_ran(MonitorObject *const *monitors, Py_ssize_t count, double then)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        double started = monitors[i]->started;
        if (started != 0.0 && started <= then) {
            return 0;
        }
    }
    return 1;
}

/* What it was late for is told from here on. */
static void
note_queued(WaiterObject *self)
{
    self->sleeps = 0;
    if (!read_scheduling(self->thread, &self->queued, &self->runs)) {
        self->queued = UNKNOWN_S;
    }
}

/* Sleeps until a callback begins, somebody wakes it or time is up. */
static void
sleep_while_idle(WaiterObject *self, MonitorObject *const *monitors, Py_ssize_t count, double tick, double deadline)
{
    self->due = 0.0;
    self->asleep = 1;
    /* A callback that began before its loop could see the flag is seen one tick later. */
    if (!sleep_for(self, tick) && !self->requested && !any_runs(monitors, count)) {
        (void)sleep_for(self, deadline - perf_counter());
    }
    self->asleep = 0;
}

/* Without the GIL. Sets the time when it was due to wake up and when it did; returns why it did. */
static int
wait_for_look(WaiterObject *self, MonitorObject *const *monitors, Py_ssize_t count, double tick, double deadline,
              double *due, double *woke)
{
    int idle = 0, ticks = 0;
    double last = perf_counter();
    note_queued(self);
    self->wants_sample = 0;
    for (;;) {
        self->due = *due = sample_due(self, last, last + tick);
        int released = sleep_for(self, *due - perf_counter());
        self->sleeps++;
        *woke = perf_counter();
        if (!self->requested && released) { /* a wake that came while it was waking up */
            continue;
        }
        Round round = {0, 0, LOAD_RESTS};
        if (!self->requested && *woke - *due >= LATE_TICKS * tick && none_ran(monitors, count, *due)) {
            self->woke = *woke;
            return LATE;
        }
        if (!self->requested) {
            round = look_round(self, monitors, count, *woke, tick);
            sample_tick(self, monitors, count, *woke);
            if (round.due) {
                self->woke = *woke;
                return LONG_CALLBACK;
            }
            if (load_is_due(self, round.full, !round.active, *woke)) {
                return LOADED;
            }
        }
        if (self->requested || self->stale || *woke >= deadline) {
            *due = *woke;
            return WOKEN;
        }
        /* Late wake-ups are not made up for: the next tick counts from this one. */
        last = *woke - *due < tick ? *due : *woke;
        if (++ticks % QUEUE_TICKS == 0) {
            note_queued(self);
        }
        idle = round.active || round.full ? 0 : idle + 1;
        if (idle >= IDLE_TICKS) {
            for (Py_ssize_t i = 0; i < count; i++) {
                rest_begin(monitors[i]);
            }
            sleep_while_idle(self, monitors, count, tick, deadline);
            idle = 0;
            /* From when it was woken: it may have had no CPU since then. */
            last = self->due != 0.0 ? self->due : perf_counter();
            note_queued(self);
            (void)look_round(self, monitors, count, perf_counter(), tick);
        }
    }
}

static PyObject *
waiter_wait(WaiterObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"monitors", "tick_s", "limit_s", NULL};
    /* Borrowed. */
    PyObject *sequence = NULL;
    /* Owned, released at the end. */
    PyObject *result = NULL;
    MonitorObject **monitors = NULL;
    double tick, limit = INFINITY, due = 0.0, woke = 0.0;
    int why;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!d|d:wait", names, &PyTuple_Type, &sequence, &tick, &limit)) {
        return NULL;
    }
    if (!(tick > 0.0 && tick < LONGEST_TICK_S)) { /* no number either */
        PyErr_SetString(PyExc_ValueError, "tick_s must be above 0 and below 3600");
        return NULL;
    }
    if (!(limit > 0.0)) {
        PyErr_SetString(PyExc_ValueError, "limit_s must be above 0");
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
    self->tick = tick;
    self->monitors = sequence;
    load_hold(self);
    self->thread = native_thread_id();
    Py_BEGIN_ALLOW_THREADS
    why = wait_for_look(self, monitors, count, tick, perf_counter() + limit, &due, &woke);
    Py_END_ALLOW_THREADS
    double got = perf_counter();
    self->waiting = 0;
    self->monitors = NULL;
    load_settle(self);
    self->due = self->woke = 0.0;
    if (why == WOKEN) {
        /* Not when the next wait begins: its monitors were listed before, and another may have come since. */
        self->requested = self->stale = 0;
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
        release(self);
    }
    Py_RETURN_NONE;
}

static PyObject *
waiter_refresh(WaiterObject *self, PyObject *Py_UNUSED(unused))
{
    self->stale = 1;
    Py_RETURN_NONE;
}

static PyObject *
waiter_queued(WaiterObject *self, PyObject *Py_UNUSED(unused))
{
    double queued;
    unsigned long long runs;
    if (self->queued < 0.0 || !read_scheduling(self->thread, &queued, &runs)) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble(queued - self->queued);
}

static PyObject *
waiter_samples(WaiterObject *self, PyObject *Py_UNUSED(unused))
{
    return load_take_samples(self);
}

static int
waiter_set_variable(WaiterObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value != NULL && value != Py_None && !PyContextVar_CheckExact(value)) {
        PyErr_SetString(PyExc_TypeError, "variable must be a ContextVar, or None");
        return -1;
    }
    Py_XINCREF(value);
    Py_XSETREF(self->variable, value);
    if (value == Py_None) {
        Py_CLEAR(self->variable);
    }
    return 0;
}

static PyObject *
waiter_get_variable(WaiterObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->variable != NULL ? self->variable : Py_None);
}

static PyObject *
waiter_asked(WaiterObject *self, PyObject *Py_UNUSED(unused))
{
    double queued;
    unsigned long long runs;
    if (self->queued < 0.0 || !read_scheduling(self->thread, &queued, &runs)) {
        Py_RETURN_NONE;
    }
    /* Each sleep ends with a CPU. */
    unsigned long long slept = self->runs + (unsigned long long)self->sleeps;
    return PyLong_FromUnsignedLongLong(runs > slept ? runs - slept : 0);
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
    self->queued = UNKNOWN_S;
    self->random = (unsigned long long)(perf_counter() * 1e9) | 1;
    self->samples = PyList_New(0);
    self->lock = PyThread_allocate_lock();
    if (self->lock == NULL || self->samples == NULL) {
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
        release(self);
        PyThread_free_lock(self->lock);
    }
    Py_CLEAR(self->samples);
    Py_CLEAR(self->variable);
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
     "wait($self, /, monitors, tick_s, limit_s=1e999)\n--\n\n"
     "Sleep until a callback is due a look, or somebody calls ``wake``.\n\n"
     "Args:\n"
     "    monitors: a tuple of those to look at.\n"
     "    tick_s: seconds between two looks at their fields, and from a callback's start to its first look.\n"
     "    limit_s: seconds after which it ends in any case, but for a tick.\n\n"
     "Returns:\n"
     "    Why (``LONG_CALLBACK``, ``WOKEN``, ``LATE``: it was woken up far too late while no callback ran, or\n"
     "    ``LOADED``: a loop is full or was until now, or there are samples), and three times of\n"
     "    ``perf_counter``: when it was due to wake\n"
     "    up, when it did, and when it had the GIL.\n\n"
     "Raises:\n"
     "    RuntimeError: another thread waits already."},
    {"wake", (PyCFunction)waiter_wake_up, METH_NOARGS, "wake($self, /)\n--\n\nEnd the wait, or the next one at once."},
    {"refresh", (PyCFunction)waiter_refresh, METH_NOARGS,
     "refresh($self, /)\n--\n\nEnd the wait with its next tick: there are other monitors now. Wakes nobody up."},
    {"queued", (PyCFunction)waiter_queued, METH_NOARGS,
     "queued($self, /)\n--\n\n"
     "Seconds in which its thread could have run but had no CPU, since that was read last, at most eight ticks\n"
     "before it woke up; ``None`` where the kernel does not tell."},
    {"samples", (PyCFunction)waiter_samples, METH_NOARGS,
     "samples($self, /)\n--\n\n"
     "Take what the loops of the main thread were seen to do: a list of (monitor, ``perf_counter``, stack of\n"
     "that thread, (index of the frame, endpoint, method) or ``None``, value of the variable or ``None``).\n"
     "64 at most are kept. The stack is empty where the callback ended before it could be looked at."},
    {"asked", (PyCFunction)waiter_asked, METH_NOARGS,
     "asked($self, /)\n--\n\n"
     "How often its thread got a CPU since it woke up, at most: once per switch interval while it waits for the\n"
     "GIL, and not at all while the process is stopped; ``None`` where the kernel does not tell."},
    {NULL},
};

static PyMemberDef waiter_members[] = {
    {"asleep", T_INT, offsetof(WaiterObject, asleep), READONLY, "Whether it sleeps until a callback begins."},
    {"due", T_DOUBLE, offsetof(WaiterObject, due), READONLY,
     "``perf_counter`` when its next tick is due, or when a callback woke it up; 0.0 while it sleeps, or nobody\n"
     "waits."},
    {"woke", T_DOUBLE, offsetof(WaiterObject, woke), READONLY,
     "``perf_counter`` when it woke up for a look, while it waits for the GIL; else 0.0."},
    {"saturation_s", T_DOUBLE, offsetof(WaiterObject, saturation_s), 0,
     "A loop that has had nearly no rest for as long is full; 0.0: nobody wants to know."},
    {"threshold_s", T_DOUBLE, offsetof(WaiterObject, threshold_s), 0, "A callback that runs as long is a block."},
    {"sample_s", T_DOUBLE, offsetof(WaiterObject, sample_s), 0,
     "Seconds from one sample to the next, on average; 0.0: none are wanted."},
    {"wants_sample", T_INT, offsetof(WaiterObject, wants_sample), READONLY,
     "Whether a sample was due of a loop in another thread than the main one, when the wait ended."},
    {NULL},
};

static PyGetSetDef waiter_getset[] = {
    {"variable", (getter)waiter_get_variable, (setter)waiter_set_variable,
     "A context variable whose value each sample has, or ``None``.", NULL},
    {NULL},
};

static PyType_Slot waiter_slots[] = {
    {Py_tp_doc, "Waiter()\n--\n\nThe watchdog's sleep; a forked child needs another one."},
    {Py_tp_new, waiter_new},
    {Py_tp_dealloc, waiter_dealloc},
    {Py_tp_methods, waiter_methods},
    {Py_tp_members, waiter_members},
    {Py_tp_getset, waiter_getset},
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
        PyModule_AddIntConstant(module, "WOKEN", WOKEN) < 0 || PyModule_AddIntConstant(module, "LATE", LATE) < 0 ||
        PyModule_AddIntConstant(module, "LOADED", LOADED) < 0) {
        return -1;
    }
    return core_add_type(module, &waiter_spec, &state->waiter_type);
}
