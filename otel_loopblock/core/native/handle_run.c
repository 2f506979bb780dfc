/* Run: takes the place of asyncio.Handle._run.

   What it does on success is what Handle._run does in Python. An exception it leaves to the original: the words,
   the traceback, who is told and with what context are that version's own. */

#include "timing.h"

#include <stddef.h>
#include <string.h>

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

typedef struct {
    Py_ssize_t callback, args, context, loop;
} Offsets;

/* -- Raiser ----------------------------------------------------------------------------------------------------- */

/* Stands in a handle's _context while the original _run deals with an exception: its run() raises that. The handle
   has its callback and arguments back until then; the callback may have cancelled it. */
typedef struct {
    PyObject_HEAD
    /* Owned. */
    PyObject *handle; /* NULL once it is put back */
    PyObject *callback, *args, *context; /* what the handle had */
    SavedError error;
    Offsets offsets;
} RaiserObject;

static void
exchange(PyObject *handle, Py_ssize_t offset, PyObject **object)
{
    PyObject *before = SLOT(handle, offset);
    SLOT(handle, offset) = *object;
    *object = before;
}

static void
raiser_put_back(RaiserObject *self)
{
    PyObject *handle = self->handle;
    if (handle == NULL) {
        return;
    }
    self->handle = NULL;
    exchange(handle, self->offsets.callback, &self->callback);
    exchange(handle, self->offsets.args, &self->args);
    exchange(handle, self->offsets.context, &self->context);
    Py_CLEAR(self->callback);
    Py_CLEAR(self->args);
    Py_CLEAR(self->context); /* itself, as a rule */
    Py_DECREF(handle);
}

static PyObject *
raiser_run(RaiserObject *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(count), PyObject *Py_UNUSED(names))
{
    Py_INCREF(self);
    raiser_put_back(self);
    if (error_is_saved(&self->error)) {
        error_restore(&self->error);
    }
    else {
        PyErr_SetString(PyExc_RuntimeError, "this handle has been run");
    }
    Py_DECREF(self);
    return NULL;
}

static int
raiser_traverse(RaiserObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->handle);
    Py_VISIT(self->callback);
    Py_VISIT(self->args);
    Py_VISIT(self->context);
    return error_visit(&self->error, visit, arg);
}

static int
raiser_clear(RaiserObject *self)
{
    Py_CLEAR(self->handle);
    Py_CLEAR(self->callback);
    Py_CLEAR(self->args);
    Py_CLEAR(self->context);
    error_clear(&self->error);
    return 0;
}

static void
raiser_dealloc(RaiserObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)raiser_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef raiser_methods[] = {
    {"run", (PyCFunction)(void (*)(void))raiser_run, METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL},
};

static PyType_Slot raiser_slots[] = {
    {Py_tp_dealloc, raiser_dealloc},
    {Py_tp_traverse, raiser_traverse},
    {Py_tp_clear, raiser_clear},
    {Py_tp_methods, raiser_methods},
    {0, NULL},
};

static PyType_Spec raiser_spec = {
    .name = "otel_loopblock.core.native._Raiser",
    .basicsize = sizeof(RaiserObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = raiser_slots,
};

/* -- Run -------------------------------------------------------------------------------------------------------- */

typedef struct {
    Replacement base;
    /* Owned. */
    PyTypeObject *handle_class;
    PyTypeObject *subclass; /* the subclass seen last whose slots are the same; may be NULL */
    PyTypeObject *raiser_type;
    RaiserObject *raiser;   /* ready for the next exception: it may be that there is no memory left; may be NULL */
    Offsets offsets;
    int is_known; /* the original is the one of the class's own module: what it does may be done in C */
} RunObject;

/* Has the original _run deal with the exception that is set; `callback` and `args` are the handle's own. */
static PyObject *
run_failed(RunObject *self, PyObject *handle, PyObject *callback, PyObject *args)
{
    SavedError error;
    /* Owned, released at the end. */
    PyObject *result = NULL;
    RaiserObject *raiser = self->raiser;

    error_save(&error);
    self->raiser = NULL;
    if (raiser == NULL) { /* this exception came while another one is dealt with */
        raiser = (RaiserObject *)self->raiser_type->tp_alloc(self->raiser_type, 0);
        if (raiser == NULL) { /* the loop ends with the exception */
            PyErr_Clear();
            error_restore(&error);
            return NULL;
        }
    }
    raiser->offsets = self->offsets;
    raiser->error = error;
    raiser->handle = Py_NewRef(handle);
    raiser->callback = Py_NewRef(callback);
    raiser->args = Py_NewRef(args);
    raiser->context = Py_NewRef((PyObject *)raiser);
    exchange(handle, self->offsets.callback, &raiser->callback);
    exchange(handle, self->offsets.args, &raiser->args);
    exchange(handle, self->offsets.context, &raiser->context);
    result = PyObject_CallOneArg(self->base.original, handle);
    raiser_put_back(raiser); /* if the original did not call it */
    error = raiser->error;
    memset(&raiser->error, 0, sizeof(SavedError));
    if (self->raiser == NULL && Py_REFCNT(raiser) == 1) {
        self->raiser = raiser;
    }
    else {
        Py_DECREF(raiser);
    }
    if (error_is_saved(&error)) { /* a signal handler raised before the original came to call it */
        if (result == NULL) {
            error_chain(&error);
        }
        else {
            Py_CLEAR(result);
            error_restore(&error);
        }
    }
    return result;
}

/* Handle._run of a version that is known, as far as it goes without an exception. */
static PyObject *
run_callback(RunObject *self, PyObject *handle, PyObject *callback, PyObject *args, PyObject *context)
{
    PyObject *result = NULL;
    if (PyContext_Enter(context) == 0) {
        result = PyObject_Vectorcall(callback, &PyTuple_GET_ITEM(args, 0), (size_t)PyTuple_GET_SIZE(args), NULL);
        if (PyContext_Exit(context) != 0) {
            Py_CLEAR(result);
        }
    }
    if (result == NULL) {
        return run_failed(self, handle, callback, args);
    }
    Py_DECREF(result);
    Py_RETURN_NONE;
}

/* Whether the class keeps this attribute in the slot with this offset. */
static int
has_slot(PyTypeObject *class, const char *name, Py_ssize_t offset)
{
    PyObject *found = PyObject_GetAttrString((PyObject *)class, name);
    int ret = found != NULL && Py_IS_TYPE(found, &PyMemberDescr_Type) &&
              ((PyMemberDescrObject *)found)->d_member->type == T_OBJECT_EX &&
              ((PyMemberDescrObject *)found)->d_member->offset == offset;
    PyErr_Clear();
    Py_XDECREF(found);
    return ret;
}

static int
has_slots(RunObject *self, PyObject *handle)
{
    PyTypeObject *class = Py_TYPE(handle);
    if (class == self->handle_class || class == self->subclass) {
        return 1;
    }
    /* A subclass may have put something else in the place of a slot. */
    if (!PyType_IsSubtype(class, self->handle_class) || !has_slot(class, "_callback", self->offsets.callback) ||
        !has_slot(class, "_args", self->offsets.args) || !has_slot(class, "_context", self->offsets.context) ||
        !has_slot(class, "_loop", self->offsets.loop)) {
        return 0;
    }
    Py_INCREF(class);
    Py_XSETREF(self->subclass, class);
    return 1;
}

static PyObject *
run_vectorcall(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *names)
{
    RunObject *self = (RunObject *)callable;
    if (!self->base.active || PyVectorcall_NARGS(nargsf) != 1 || names != NULL || !has_slots(self, args[0])) {
        return call_original(&self->base, args, nargsf, names);
    }
    /* Borrowed: the caller's. */
    PyObject *handle = args[0];
    PyObject *loop = SLOT(handle, self->offsets.loop);
    /* Owned, released at the end: the callback may cancel its handle. */
    PyObject *callback = NULL, *arguments = NULL, *context = NULL, *result = NULL;
    MonitorObject *monitor = loop != NULL ? monitor_of(&self->base, loop) : NULL;
    if (monitor == NULL) {
        return PyErr_Occurred() ? NULL : call_original(&self->base, args, nargsf, names);
    }
    callback = Py_XNewRef(SLOT(handle, self->offsets.callback));
    arguments = Py_XNewRef(SLOT(handle, self->offsets.args));
    context = Py_XNewRef(SLOT(handle, self->offsets.context));
    int is_usual = callback != NULL && arguments != NULL && context != NULL && PyTuple_CheckExact(arguments) &&
                   PyContext_CheckExact(context);

    double started = begin(monitor, callback, context);
    if (is_usual && self->is_known) {
        result = run_callback(self, handle, callback, arguments, context);
    }
    else {
        result = call_original(&self->base, args, nargsf, names);
    }
    double ended = perf_counter();
    int reported = 0;
    if (was_long(monitor, ended)) {
        reported = core_report(callable, monitor, ended, callback != NULL ? callback : Py_None, context,
                               self->base.turns);
    }
    end(monitor, started, ended);
    if (reported < 0) { /* where somebody has wrapped the original it goes up, and ends the loop */
        Py_CLEAR(result);
        if (is_usual && self->is_known) { /* as if the callback had raised it */
            result = run_failed(self, handle, callback, arguments);
        }
    }
    Py_XDECREF(callback);
    Py_XDECREF(arguments);
    Py_XDECREF(context);
    Py_DECREF(monitor);
    return result;
}

/* The offset of one of the class's slots; -1 with an exception. */
static Py_ssize_t
slot_offset(PyTypeObject *class, const char *name)
{
    Py_ssize_t offset = -1;
    PyObject *found = PyObject_GetAttrString((PyObject *)class, name);
    if (found == NULL) {
        return -1;
    }
    if (Py_IS_TYPE(found, &PyMemberDescr_Type) && ((PyMemberDescrObject *)found)->d_member->type == T_OBJECT_EX) {
        offset = ((PyMemberDescrObject *)found)->d_member->offset;
    }
    else {
        PyErr_Format(PyExc_TypeError, "%R keeps no %s in a slot", class, name);
    }
    Py_DECREF(found);
    return offset;
}

/* Whether a function was defined in the module of the class: then it is no wrapper of somebody else's, which would
   have to be called each time. -1 with an exception. */
static int
is_defined_with(PyObject *function, PyTypeObject *class)
{
    int ret = 0;
    /* Owned, released at the end. */
    PyObject *name = NULL, *module = NULL;
    if (!PyFunction_Check(function)) {
        return 0;
    }
    name = PyObject_GetAttrString((PyObject *)class, "__module__");
    module = name != NULL ? PyImport_GetModule(name) : NULL;
    if (module != NULL) {
        ret = PyModule_Check(module) && PyFunction_GET_GLOBALS(function) == PyModule_GetDict(module);
    }
    else if (PyErr_Occurred()) {
        ret = -1;
    }
    Py_XDECREF(name);
    Py_XDECREF(module);
    return ret;
}

static PyObject *
run_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"handle_class", "original", "monitors", "attach", "turns", NULL};
    PyObject *class, *original, *monitors, *attach;
    long turns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!OO!Ol:Run", names, &PyType_Type, &class, &original, &PyDict_Type,
                                     &monitors, &attach, &turns)) {
        return NULL;
    }
    CoreState *state = (CoreState *)PyType_GetModuleState(type);
    RunObject *self = state != NULL ? (RunObject *)type->tp_alloc(type, 0) : NULL;
    if (self == NULL) {
        return NULL;
    }
    self->handle_class = (PyTypeObject *)Py_NewRef(class);
    self->raiser_type = (PyTypeObject *)Py_NewRef((PyObject *)state->raiser_type);
    if ((self->offsets.callback = slot_offset(self->handle_class, "_callback")) < 0 ||
        (self->offsets.args = slot_offset(self->handle_class, "_args")) < 0 ||
        (self->offsets.context = slot_offset(self->handle_class, "_context")) < 0 ||
        (self->offsets.loop = slot_offset(self->handle_class, "_loop")) < 0 ||
        (self->is_known = is_defined_with(original, self->handle_class)) < 0 ||
        (self->raiser = (RaiserObject *)self->raiser_type->tp_alloc(self->raiser_type, 0)) == NULL ||
        replacement_init(&self->base, state, original, monitors, attach, turns, run_vectorcall) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
run_traverse(PyObject *op, visitproc visit, void *arg)
{
    RunObject *self = (RunObject *)op;
    Py_VISIT(self->handle_class);
    Py_VISIT(self->subclass);
    Py_VISIT(self->raiser_type);
    Py_VISIT(self->raiser);
    return replacement_traverse(op, visit, arg);
}

static int
run_clear(PyObject *op)
{
    RunObject *self = (RunObject *)op;
    self->base.active = 0;
    Py_CLEAR(self->handle_class);
    Py_CLEAR(self->subclass);
    Py_CLEAR(self->raiser_type);
    Py_CLEAR(self->raiser);
    return replacement_clear(op);
}

static void
run_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    (void)run_clear(op);
    replacement_dealloc(op);
}

static PyType_Slot run_slots[] = {
    {Py_tp_doc, "Run(handle_class, original, monitors, attach, turns)\n--\n\nTakes the place of ``asyncio.Handle._run``."},
    {Py_tp_new, run_new},
    {Py_tp_dealloc, run_dealloc},
    {Py_tp_traverse, run_traverse},
    {Py_tp_clear, run_clear},
    REPLACEMENT_SLOTS,
    {0, NULL},
};

static PyType_Spec run_spec = {
    .name = "otel_loopblock.core.native.Run",
    .basicsize = sizeof(RunObject),
    .flags = REPLACEMENT_FLAGS,
    .slots = run_slots,
};

int
core_add_handle_run(PyObject *module, CoreState *state)
{
    state->raiser_type = core_make_type(module, &raiser_spec);
    if (state->raiser_type == NULL) {
        return -1;
    }
    return core_add_type(module, &run_spec, &state->run_type);
}
