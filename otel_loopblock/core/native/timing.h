/* What happens around every callback. Nothing here allocates, locks or looks anything up.

   monitor->callback and ->context are borrowed from the C frame between begin() and end(), which owns them. They
   cannot dangle, in nested runs and other threads neither: whichever end() comes first sets them to NULL, so what
   stands there was set by a begin() whose end() is still to come. */
#ifndef LOOPBLOCK_TIMING_H
#define LOOPBLOCK_TIMING_H

#include "core.h"

/* monitor.c: calls callback_ended. -1 with an exception where that is the callback's outcome now. */
int core_report(PyObject *replacement, MonitorObject *monitor, double ended, PyObject *callback, PyObject *context,
                long turns);

static inline double
begin(MonitorObject *monitor, PyObject *callback, PyObject *context)
{
    double started = perf_counter();
    monitor->callback = callback;
    monitor->context = context;
    monitor->started = started;
    if (monitor->waiter != NULL && monitor->waiter->asleep && callback != monitor->unwatched) {
        started = waiter_wake(monitor->waiter, monitor, started);
    }
    return started;
}

/* Whether callback_ended is to be called. `started` is 0.0 where the callback has run the loop from within: it is
   not one stretch then. */
static inline int
was_long(const MonitorObject *monitor, double ended)
{
    return monitor->started != 0.0 && ended - monitor->started >= monitor->threshold;
}

static inline void
end(MonitorObject *monitor, double started, double ended)
{
    monitor->busy += ended - started;
    monitor->runs++;
    monitor->started = 0.0;
    monitor->callback = NULL;
    monitor->context = NULL;
}

/* replacement.c */
int replacement_init(Replacement *self, CoreState *state, PyObject *original, PyObject *monitors, PyObject *attach,
                     long turns, vectorcallfunc call);
MonitorObject *replacement_find(Replacement *self, PyObject *loop);
int replacement_traverse(PyObject *self, visitproc visit, void *arg);
int replacement_clear(PyObject *self);
void replacement_dealloc(PyObject *self);
PyObject *replacement_getattro(PyObject *self, PyObject *name);
PyObject *replacement_repr(PyObject *self);
PyObject *replacement_get(PyObject *self, PyObject *object, PyObject *type);
extern PyMemberDef replacement_members[];
extern PyGetSetDef replacement_getset[];
extern PyMethodDef replacement_methods[];

#define REPLACEMENT_SLOTS                                                                                              \
    {Py_tp_getattro, replacement_getattro}, {Py_tp_repr, replacement_repr}, {Py_tp_descr_get, replacement_get},        \
        {Py_tp_members, replacement_members}, {Py_tp_getset, replacement_getset},                                      \
        {Py_tp_methods, replacement_methods}, {Py_tp_call, PyVectorcall_Call}

/* A method descriptor: a call of loop.call_soon(...) makes no bound method. Immutable: CPython specializes an
   instruction for a method only where its descriptor's type cannot change. */
#define REPLACEMENT_FLAGS                                                                                              \
    (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |             \
     Py_TPFLAGS_IMMUTABLETYPE)

/* The loop's monitor: a new reference. NULL where it has none; with an exception only where that is for the
   application (KeyboardInterrupt).

   The monitor found last is this loop's if its weak reference says so: an address may be used again, a weak
   reference to what has died is empty. To look it up by id would cost a tenth of a callback of uvloop. */
static inline MonitorObject *
monitor_of(Replacement *self, PyObject *loop)
{
    MonitorObject *last = self->last;
    if (last != NULL && last->loop != NULL && weakref_is_to(last->loop, loop)) {
        Py_INCREF(last);
        return last;
    }
    return replacement_find(self, loop);
}

static inline PyObject *
call_original(Replacement *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    return PyObject_Vectorcall(self->original, args, nargsf, names);
}

#endif
