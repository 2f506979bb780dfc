/* ContextWatch: times the callbacks of a loop that nothing hooks, by the switches of the current context on its thread.

   Such a loop enters a callback's context, calls it, and leaves the context again; from 3.14 on the interpreter tells
   of each switch, whoever makes it. The context that is current while the loop is idle is its base: to leave the base
   begins a callback, to come back ends it. Whatever happens in between, as a Context.run of the application's, is part
   of the callback.

   The base is learnt again each time the loop runs a callback of ours in our own context (`own`): nothing else runs
   then, and what becomes current when that one is left is the base. Only its address is kept, and only compared.
   A base must be the context of the whole thread: uvloop enters one around several callbacks, and leaves that as well
   before it is idle.

   The interpreter calls switched() on every thread. A thread that runs no such loop has no seat: one look at its own
   variable, and back. Seats are static: a watch that is gone has left its own, and a thread that sat there sees it. */

#include "timing.h"

#include <stddef.h>

#ifdef HAS_CONTEXT_WATCHERS

#define SEATS 64 /* loops that are watched at once; what comes after finds none */

typedef enum { LEARNING, UNSUITED, IDLE, RUNNING } Phase;

typedef struct {
    PyObject_HEAD
    /* Owned. */
    MonitorObject *monitor;
    PyObject *own;              /* the context of our own callbacks */
    PyObject *context;          /* of the callback that runs; NULL: none runs */
    PyObject *get_running_loop; /* asyncio's */
    const void *base;           /* an address: what is there may be gone */
    const void *beneath;        /* another one, for is_of_thread() */
    double began;               /* perf_counter at its start */
    double ended;               /* perf_counter when the loop was idle last, as far as is known; 0.0: not known */
    Phase phase;
    int seat;      /* -1: none */
    char told;     /* it counts in `watches` */
    char reporting; /* what is switched now is no callback */
    char asking;    /* the next switch tells what is beneath */
} WatchObject;

static struct {
    WatchObject *watch;         /* borrowed: it leaves before it is freed */
    unsigned long long entered; /* which of all the times that somebody took a seat; 0: nobody sits there */
} seats[SEATS];

/* All of this with the GIL, in the main interpreter. */
static unsigned long long entries;
static int watches, watcher = -1;

static _Thread_local struct {
    int place; /* that of its seat plus 1; 0: it has none */
    unsigned long long entered;
} here;

/* Whether the current context is that of the whole thread: one that nobody has entered, as the main thread's, or with
   nothing beneath it, as that of a threading.Thread. To know what is beneath it is left and entered again. */
static int
is_of_thread(WatchObject *self, PyObject *context)
{
    SavedError error;
    error_save(&error);
    self->reporting = 1;
    self->asking = 1;
    self->beneath = Py_None;
    Py_INCREF(context);
    if (PyContext_CheckExact(context) && PyContext_Exit(context) == 0) {
        (void)PyContext_Enter(context);
    }
    Py_DECREF(context);
    PyErr_Clear();
    self->asking = self->reporting = 0;
    error_restore(&error);
    return self->beneath == Py_None;
}

/* Whether the loop runs our caller in our context: it cannot be entered again then. */
static int
is_in_own(WatchObject *self)
{
    self->reporting = 1;
    int entered = PyContext_Enter(self->own) < 0;
    if (!entered) {
        (void)PyContext_Exit(self->own);
    }
    PyErr_Clear();
    self->reporting = 0;
    return entered;
}

/* -- the hot path ----------------------------------------------------------------------------------------------- */

/* The callback, or what the probe has found, was long. The interpreter ignores what a watcher raises. */
static void
report(WatchObject *self, double ended, PyObject *context)
{
    SavedError error;
    error_save(&error);
    self->reporting = 1; /* its own switches are no callbacks */
    PyObject *loop = PyObject_CallNoArgs(self->get_running_loop);
    MonitorObject *monitor = self->monitor;
    if (loop == NULL) {
        core_postpone_error(NULL);
    }
    /* Between two runs of the loop somebody may run what he likes. */
    else if (monitor->loop != NULL && weakref_is_to(monitor->loop, loop) &&
             core_report((PyObject *)self, monitor, ended, Py_None, context, 0) < 0) {
        core_postpone_error(NULL);
    }
    Py_XDECREF(loop);
    self->reporting = 0;
    error_restore(&error);
}

static void
callback_begins(WatchObject *self, PyObject *context)
{
    MonitorObject *monitor = self->monitor;
    double now = perf_counter();
    /* The probe has found the loop in something that switches no context: that is over. */
    if (was_long(monitor, now)) {
        report(self, now, self->own);
    }
    self->phase = RUNNING;
    self->context = Py_NewRef(context);
    self->began = begin(monitor, NULL, context);
}

/* Returns the context: to let go of it may run anything, so that comes last. */
static PyObject *
callback_ends(WatchObject *self)
{
    MonitorObject *monitor = self->monitor;
    double ended = perf_counter();
    PyObject *context = self->context;
    if (was_long(monitor, ended)) {
        report(self, ended, context);
    }
    end(monitor, self->began, ended);
    self->context = NULL;
    self->ended = ended;
    self->phase = IDLE;
    return context;
}

/* Called by the interpreter after each switch. */
static int
switched(PyContextEvent event, PyObject *context)
{
    if (here.place == 0) {
        return 0;
    }
    if (seats[here.place - 1].entered != here.entered) { /* the loop runs elsewhere, or is not watched any more */
        here.place = 0;
        return 0;
    }
    WatchObject *self = seats[here.place - 1].watch;
    if (self->reporting) {
        if (self->asking) {
            self->asking = 0;
            self->beneath = context;
        }
        return 0;
    }
    if (event != Py_CONTEXT_SWITCHED || self->monitor->loop == NULL) {
        return 0;
    }
    if (context == self->base && self->phase == IDLE) {
        return 0;
    }
    /* Owned, released at the end, the watch last. */
    PyObject *left = NULL;
    Py_INCREF(self);
    if (context == self->own) {
        if (self->phase == RUNNING) { /* that was none: ours is not called from within one */
            left = self->context;
            self->context = NULL;
            self->monitor->started = 0.0;
            self->monitor->context = NULL;
        }
        self->phase = LEARNING;
    }
    else if (self->phase == LEARNING) {
        if (context != self->base && !is_of_thread(self, context)) {
            self->base = NULL;
            self->phase = UNSUITED;
        }
        else {
            self->base = context;
            self->ended = perf_counter();
            self->phase = IDLE;
        }
    }
    else if (self->phase == IDLE) {
        callback_begins(self, context);
    }
    else if (self->phase == RUNNING && context == self->base) {
        left = callback_ends(self);
    }
    Py_XDECREF(left);
    Py_DECREF(self);
    return 0;
}

/* -- the object ------------------------------------------------------------------------------------------------- */

static void
leave_seat(WatchObject *self)
{
    if (self->seat >= 0) {
        seats[self->seat].watch = NULL;
        seats[self->seat].entered = 0;
        self->seat = -1;
    }
}

/* The interpreter tells of switches as long as somebody wants to know. */
static int
listen(WatchObject *self)
{
    if (watches == 0 && (watcher = PyContext_AddWatcher(switched)) < 0) {
        return -1;
    }
    watches++;
    self->told = 1;
    return 0;
}

static void
listen_no_more(WatchObject *self)
{
    leave_seat(self);
    if (self->told) {
        self->told = 0;
        if (--watches == 0) {
            SavedError error;
            error_save(&error);
            if (PyContext_ClearWatcher(watcher) < 0) {
                PyErr_Clear();
            }
            watcher = -1;
            error_restore(&error);
        }
    }
}

static PyObject *
watch_enter(WatchObject *self, PyObject *Py_UNUSED(unused))
{
    if (self->seat >= 0 && here.place == self->seat + 1 && here.entered == seats[self->seat].entered) {
        Py_RETURN_TRUE;
    }
    if (!self->told || self->monitor->loop == NULL || !is_in_own(self)) {
        Py_RETURN_FALSE;
    }
    for (int i = 0; self->seat < 0 && i < SEATS; i++) {
        if (seats[i].entered == 0) {
            self->seat = i;
        }
    }
    if (self->seat < 0) {
        Py_RETURN_FALSE;
    }
    here.place = self->seat + 1;
    seats[self->seat].watch = self;
    seats[self->seat].entered = here.entered = ++entries;
    self->phase = LEARNING;
    Py_CLEAR(self->context);
    Py_RETURN_TRUE;
}

static PyObject *
watch_close(WatchObject *self, PyObject *Py_UNUSED(unused))
{
    listen_no_more(self);
    Py_RETURN_NONE;
}

static PyObject *
watch_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"monitor", "context", NULL};
    PyObject *monitor, *own;
    CoreState *state = (CoreState *)PyType_GetModuleState(type);
    if (state == NULL || !PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!:ContextWatch", names, state->monitor_type,
                                                      &monitor, &PyContext_Type, &own)) {
        return NULL;
    }
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_RuntimeError, "a sub-interpreter's contexts are not watched");
        return NULL;
    }
    WatchObject *self = (WatchObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->seat = -1;
    self->monitor = (MonitorObject *)Py_NewRef(monitor);
    self->own = Py_NewRef(own);
    self->get_running_loop = Py_NewRef(state->get_running_loop);
    if (listen(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
watch_traverse(WatchObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->monitor);
    Py_VISIT(self->own);
    Py_VISIT(self->context);
    Py_VISIT(self->get_running_loop);
    return 0;
}

static int
watch_clear(WatchObject *self)
{
    listen_no_more(self); /* switched() needs all of these */
    if (self->monitor != NULL && self->phase == RUNNING) {
        self->monitor->started = 0.0;
        self->monitor->context = NULL;
    }
    self->phase = LEARNING;
    Py_CLEAR(self->monitor);
    Py_CLEAR(self->own);
    Py_CLEAR(self->context);
    Py_CLEAR(self->get_running_loop);
    return 0;
}

static void
watch_dealloc(WatchObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)watch_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef watch_methods[] = {
    {"enter", (PyCFunction)watch_enter, METH_NOARGS,
     "enter($self, /)\n--\n\n"
     "Watch the thread of the caller, which the loop runs in the watch's context; whether that can be done."},
    {"close", (PyCFunction)watch_close, METH_NOARGS, "close($self, /)\n--\n\nWatch no more, for good; from any thread."},
    {NULL},
};

static PyMemberDef watch_members[] = {
    {"ended", T_DOUBLE, offsetof(WatchObject, ended), READONLY,
     "``perf_counter`` when the loop was between two callbacks last; 0.0: nothing has been seen of it."},
    {NULL},
};

static PyType_Slot watch_slots[] = {
    {Py_tp_doc, "ContextWatch(monitor, context)\n--\n\n"
                "Times the callbacks of a loop by the switches of its thread's context.\n\n"
                "Args:\n"
                "    monitor: the loop's.\n"
                "    context: one that only callbacks of ours are run in.\n\n"
                "Raises:\n"
                "    RuntimeError: the interpreter tells no more watchers, or it is a sub-interpreter."},
    {Py_tp_new, watch_new},
    {Py_tp_dealloc, watch_dealloc},
    {Py_tp_traverse, watch_traverse},
    {Py_tp_clear, watch_clear},
    {Py_tp_methods, watch_methods},
    {Py_tp_members, watch_members},
    {0, NULL},
};

static PyType_Spec watch_spec = {
    .name = "otel_loopblock.core.native.ContextWatch",
    .basicsize = sizeof(WatchObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = watch_slots,
};

int
core_add_context_watch(PyObject *module, CoreState *state)
{
    return core_add_type(module, &watch_spec, &state->watch_type);
}

#else

int
core_add_context_watch(PyObject *module, CoreState *Py_UNUSED(state))
{
    return PyModule_AddObjectRef(module, "ContextWatch", Py_None);
}

#endif
