/* Scheduler: takes the place of uvloop.Loop.call_soon and its kin, whose handles are C and call no method of Python.

   It puts a Call in the place of the callback. */

#include "timing.h"

#include <stddef.h>
#include <string.h>

#define MAX_SPARES 32
#define MAX_RELEASING 32 /* Calls whose release releases the next one, before CPython's trash can is asked */
#define ON_STACK 12 /* arguments that need no memory of their own */

typedef struct CallObject CallObject;

typedef struct {
    Replacement base;
    PyTypeObject *call_type;        /* owned */
    PyObject *str_callback;         /* owned */
    Py_ssize_t position;            /* where the callback stands, self included */
    int releasing;                  /* Calls that are being released */
    int spare_count;
    CallObject *spares[MAX_SPARES]; /* memory of Calls that have been released */
} SchedulerObject;

/* -- Call: a callback that is timed ---------------------------------------------------------------------------- */

/* Whatever is asked of it, the callback answers: what a user reads in a handle's repr, in "Exception in callback" or
   in the warning of a slow one is about the user's own. */
struct CallObject {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    /* Owned; NULL once it has been cleared. */
    PyObject *callback;
    MonitorObject *monitor;
    SchedulerObject *scheduler; /* whose spare this becomes */
};

static PyObject *
call_vectorcall(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *names)
{
    CallObject *self = (CallObject *)callable;
    /* Borrowed from self. */
    PyObject *callback = self->callback, *result = NULL;
    MonitorObject *monitor = self->monitor;
    if (callback == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this callback has been cleared");
        return NULL;
    }
    Py_INCREF(self); /* the handle may let go of it while it runs */
    if (monitor->loop == NULL) { /* detached since it was scheduled */
        result = PyObject_Vectorcall(callback, args, nargsf, names);
        goto done;
    }
    double started = begin(monitor, callback, NULL);
    result = PyObject_Vectorcall(callback, args, nargsf, names);
    double ended = perf_counter();
    if (was_long(monitor, ended) &&
        core_report(callable, monitor, ended, callback, NULL, self->scheduler->base.turns) < 0) {
        Py_CLEAR(result);
    }
    end(monitor, started, ended);
done:
    Py_DECREF(self);
    return result;
}

/* A new reference; takes the one to the monitor. NULL with an exception: then it does not. */
static inline PyObject *
call_make(SchedulerObject *scheduler, PyObject *callback, MonitorObject *monitor)
{
    CallObject *self;
    if (scheduler->spare_count > 0) {
        self = scheduler->spares[--scheduler->spare_count];
        (void)PyObject_Init((PyObject *)self, scheduler->call_type);
    }
    else {
        self = PyObject_GC_New(CallObject, scheduler->call_type);
        if (self == NULL) {
            return NULL;
        }
        self->vectorcall = call_vectorcall;
    }
    self->callback = Py_NewRef(callback);
    self->monitor = monitor;
    self->scheduler = (SchedulerObject *)Py_NewRef((PyObject *)scheduler);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int
call_traverse(CallObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->callback);
    Py_VISIT(self->monitor);
    Py_VISIT(self->scheduler);
    return 0;
}

static int
call_clear(CallObject *self)
{
    Py_CLEAR(self->callback);
    Py_CLEAR(self->monitor);
    Py_CLEAR(self->scheduler);
    return 0;
}

static inline void
call_release(CallObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    SchedulerObject *scheduler = self->scheduler; /* owned from here on */
    self->scheduler = NULL;
    Py_CLEAR(self->callback);
    Py_CLEAR(self->monitor);
    if (scheduler != NULL && scheduler->spare_count < MAX_SPARES) {
        scheduler->spares[scheduler->spare_count++] = self;
    }
    else {
        PyObject_GC_Del(self);
    }
    Py_XDECREF(scheduler); /* frees its spares where this was the last one who held it */
    Py_DECREF(type);
}

static void call_dealloc(CallObject *self);

static void
call_dealloc_deep(CallObject *self)
{
    Py_TRASHCAN_BEGIN(self, call_dealloc)
    call_release(self);
    Py_TRASHCAN_END
}

/* A chain of callbacks that hold each other may be longer than the C stack is deep; as a rule it is not. */
static void
call_dealloc(CallObject *self)
{
    SchedulerObject *scheduler = self->scheduler;
    PyObject_GC_UnTrack(self);
    if (scheduler == NULL || scheduler->releasing >= MAX_RELEASING) {
        call_dealloc_deep(self);
        return;
    }
    Py_INCREF(scheduler);
    scheduler->releasing++;
    call_release(self);
    scheduler->releasing--;
    Py_DECREF(scheduler);
}

static PyObject *
call_getattro(CallObject *self, PyObject *name)
{
    if (self->callback == NULL) {
        return PyObject_GenericGetAttr((PyObject *)self, name);
    }
    return PyObject_GetAttr(self->callback, name);
}

static PyObject *
call_repr(CallObject *self)
{
    return self->callback != NULL ? PyObject_Repr(self->callback) : PyUnicode_FromString("<cleared>");
}

static PyObject *
call_str(CallObject *self)
{
    return self->callback != NULL ? PyObject_Str(self->callback) : PyUnicode_FromString("<cleared>");
}

static Py_hash_t
call_hash(CallObject *self)
{
    return PyObject_Hash(self->callback != NULL ? self->callback : Py_None);
}

static PyObject *
call_richcompare(CallObject *self, PyObject *other, int operation)
{
    return PyObject_RichCompare(self->callback != NULL ? self->callback : Py_None, other, operation);
}

static PyMemberDef call_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(CallObject, vectorcall), READONLY, NULL},
    {NULL},
};

static PyType_Slot call_slots[] = {
    {Py_tp_doc, "A callback that is timed when it is called; made by a ``Scheduler``."},
    {Py_tp_dealloc, call_dealloc},
    {Py_tp_traverse, call_traverse},
    {Py_tp_clear, call_clear},
    {Py_tp_getattro, call_getattro},
    {Py_tp_repr, call_repr},
    {Py_tp_str, call_str},
    {Py_tp_hash, call_hash},
    {Py_tp_richcompare, call_richcompare},
    {Py_tp_members, call_members},
    {Py_tp_call, PyVectorcall_Call},
    {0, NULL},
};

static PyType_Spec call_spec = {
    .name = "otel_loopblock.core.native.Call",
    .basicsize = sizeof(CallObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = call_slots,
};

PyObject *
core_unwrap(PyObject *module, PyObject *callback)
{
    CoreState *state = core_state(module);
    if (Py_IS_TYPE(callback, state->call_type) && ((CallObject *)callback)->callback != NULL) {
        callback = ((CallObject *)callback)->callback;
    }
    return Py_NewRef(callback);
}

/* -- Scheduler -------------------------------------------------------------------------------------------------- */

/* Where the callback stands among the arguments; -1: there is none. */
static inline Py_ssize_t
find_callback(SchedulerObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    Py_ssize_t place = -1;
    if (count > self->position) {
        place = self->position;
    }
    else if (count > 0 && names != NULL) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
            PyObject *name = PyTuple_GET_ITEM(names, i);
            if (name == self->str_callback || PyUnicode_Compare(name, self->str_callback) == 0) {
                place = count + i;
            }
        }
    }
    /* What the original refuses to call, as a coroutine, it must see. */
    if (place >= 0 && (Py_IS_TYPE(args[place], self->call_type) || Py_TYPE(args[place])->tp_call == NULL)) {
        return -1;
    }
    return place;
}

static PyObject *
scheduler_vectorcall(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *names)
{
    SchedulerObject *self = (SchedulerObject *)callable;
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    Py_ssize_t all = count + (names != NULL ? PyTuple_GET_SIZE(names) : 0);
    Py_ssize_t place = self->base.active ? find_callback(self, args, count, names) : -1;
    MonitorObject *monitor = place >= 0 ? monitor_of(&self->base, args[0]) : NULL;
    if (monitor == NULL) { /* a wrong call, or no loop of ours */
        return PyErr_Occurred() ? NULL : call_original(&self->base, args, nargsf, names);
    }
    /* Owned, released at the end. */
    PyObject *result = NULL, *call = NULL;
    PyObject **passed = NULL;
    PyObject *on_stack[ON_STACK + 1];

    call = call_make(self, args[place], monitor);
    if (call != NULL) {
        monitor = NULL;
    }
    passed = all <= ON_STACK ? on_stack : PyMem_New(PyObject *, all + 1);
    if (call != NULL && passed != NULL) {
        passed[0] = NULL; /* PY_VECTORCALL_ARGUMENTS_OFFSET: the original may put something there */
        memcpy(passed + 1, args, (size_t)all * sizeof(PyObject *));
        passed[1 + place] = call;
        result = call_original(&self->base, passed + 1, (size_t)count | PY_VECTORCALL_ARGUMENTS_OFFSET, names);
    }
    else { /* no memory: the callback is called all the same */
        PyErr_Clear();
        result = call_original(&self->base, args, nargsf, names);
    }
    if (passed != on_stack) {
        PyMem_Free(passed);
    }
    Py_XDECREF(call);
    Py_XDECREF(monitor);
    return result;
}

static PyObject *
scheduler_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"original", "position", "monitors", "attach", "turns", NULL};
    PyObject *original, *monitors, *attach;
    Py_ssize_t position;
    long turns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OnO!Ol:Scheduler", names, &original, &position, &PyDict_Type,
                                     &monitors, &attach, &turns)) {
        return NULL;
    }
    if (position < 1) {
        PyErr_Format(PyExc_ValueError, "position=%zd must be at least 1: self comes first", position);
        return NULL;
    }
    CoreState *state = (CoreState *)PyType_GetModuleState(type);
    SchedulerObject *self = state != NULL ? (SchedulerObject *)type->tp_alloc(type, 0) : NULL;
    if (self == NULL) {
        return NULL;
    }
    self->position = position;
    self->call_type = (PyTypeObject *)Py_NewRef((PyObject *)state->call_type);
    self->str_callback = Py_NewRef(state->str_callback);
    if (replacement_init(&self->base, state, original, monitors, attach, turns, scheduler_vectorcall) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
scheduler_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(((SchedulerObject *)op)->call_type);
    return replacement_traverse(op, visit, arg);
}

static int
scheduler_clear(PyObject *op)
{
    /* Not the type of its spares: to free one takes that. */
    ((SchedulerObject *)op)->base.active = 0;
    return replacement_clear(op);
}

static void
scheduler_dealloc(PyObject *op)
{
    SchedulerObject *self = (SchedulerObject *)op;
    PyObject_GC_UnTrack(op);
    (void)scheduler_clear(op);
    while (self->spare_count > 0) { /* nobody holds a Call any more: each held this */
        PyObject_GC_Del(self->spares[--self->spare_count]);
    }
    Py_CLEAR(self->call_type);
    Py_CLEAR(self->str_callback);
    replacement_dealloc(op);
}

static PyType_Slot scheduler_slots[] = {
    {Py_tp_doc, "Scheduler(original, position, monitors, attach, turns)\n--\n\n"
                "Takes the place of a loop's method that schedules a callback."},
    {Py_tp_new, scheduler_new},
    {Py_tp_dealloc, scheduler_dealloc},
    {Py_tp_traverse, scheduler_traverse},
    {Py_tp_clear, scheduler_clear},
    REPLACEMENT_SLOTS,
    {0, NULL},
};

static PyType_Spec scheduler_spec = {
    .name = "otel_loopblock.core.native.Scheduler",
    .basicsize = sizeof(SchedulerObject),
    .flags = REPLACEMENT_FLAGS,
    .slots = scheduler_slots,
};

int
core_add_scheduler(PyObject *module, CoreState *state)
{
    if (core_add_type(module, &call_spec, &state->call_type) < 0) {
        return -1;
    }
    return core_add_type(module, &scheduler_spec, &state->scheduler_type);
}
