/* How full a loop is, and what it is busy with: both are seen at the waiter's ticks, without the GIL.

   A loop rests while it is in its selector: in no callback, and using no CPU. It is full when it has had nearly no
   rest for a while. */

#include "load.h"

#define REST 0.08        /* share of the time that a full loop may rest */
#define REST_BEFORE 0.05 /* rest beyond that, in saturation_s, which ends a stretch that is not full yet */
#define REST_IN 0.25     /* the same of one that is: short pauses do not make two of it */
#define TELL_S 0.5       /* from one time that a full loop is told of to the next */
#define SAMPLE_DEPTH 200
#define MAX_SAMPLES 64  /* kept until somebody takes them */
#define ENOUGH 48       /* so many are worth a fetch */

/* Seconds in callbacks, the running one included. Read twice where a callback ends meanwhile. */
static double
busy_by(const MonitorObject *monitor, double now, double *started)
{
    double busy;
    for (int tries = 0; tries < 3; tries++) {
        *started = monitor->started;
        busy = monitor->busy;
        if (monitor->started == *started) {
            break;
        }
    }
    return *started != 0.0 && now > *started ? busy + now - *started : busy;
}

static void
begin_stretch(MonitorObject *monitor, double now, double busy)
{
    Load *load = &monitor->load;
    load->full = LOAD_RESTS;
    load->since = load->fresh = load->until = now;
    load->since_busy = load->until_busy = busy;
    load->since_runs = load->until_runs = monitor->runs;
    load->rest = 0.0;
}

int
load_tick(MonitorObject *monitor, double saturation, double threshold, double now, double cpu)
{
    Load *load = &monitor->load;
    double started;
    double busy = busy_by(monitor, now, &started);
    if (monitor->stopped) {
        cpu = -1.0;
    }
    double wall = now - load->at;
    int known = load->at != 0.0;
    double used = busy - load->busy;
    if (known && cpu >= 0.0 && load->cpu >= 0.0 && cpu - load->cpu > used) {
        used = cpu - load->cpu; /* the loop itself, and what no hook sees */
    }
    load->at = now;
    load->busy = busy;
    load->cpu = cpu;
    if (!known || load->full == LOAD_OVER) {
        begin_stretch(monitor, now, busy);
        return load->full;
    }
    used = used < 0.0 ? 0.0 : used > wall ? wall : used;
    load->rest += wall - used - REST * wall;
    if (load->rest <= 0.0) {
        load->rest = 0.0;
        load->until = now;
        load->until_busy = busy;
        load->until_runs = monitor->runs;
    }
    if (load->rest > saturation * (load->full ? REST_IN : REST_BEFORE)) {
        if (load->full) {
            load->full = LOAD_OVER;
        }
        else {
            begin_stretch(monitor, now, busy);
        }
    }
    else if (!load->full) {
        /* A block is reported as such; a stretch of nothing but blocks is none of ours. */
        if (monitor->blocked_at > load->fresh) {
            load->fresh = monitor->blocked_at;
        }
        if (started != 0.0 && now - started >= threshold) {
            load->fresh = now;
        }
        else if ((started != 0.0 ? started : now) - load->fresh >= saturation) { /* what runs now may be a block yet */
            load->full = LOAD_FULL;
        }
    }
    return load->full;
}

/* Whether somebody is to be told of a loop that is full, or of what the loops were seen to do: also before the waiter
   goes to sleep, as samples hold what the application made. */
int
load_is_due(WaiterObject *waiter, int full, int rests, double now)
{
    int is_old = now - waiter->told >= TELL_S;
    if (full == LOAD_OVER || waiter->wants_sample || waiter->sample_count >= ENOUGH ||
        (is_old && (full == LOAD_FULL || (rests && waiter->sample_count > 0)))) {
        waiter->told = now;
        return 1;
    }
    return 0;
}

/* Samples: one in each slot of sample_s seconds, at a random moment in it, whatever the loops do. So each moment is
   as likely as any other, and no work can beat with it. It is taken where a callback runs then. */

static double
random_share(WaiterObject *waiter)
{
    /* xorshift64 */
    unsigned long long x = waiter->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    waiter->random = x;
    return (double)(x >> 11) / 9007199254740992.0;
}

static void
next_slot(WaiterObject *waiter, double now)
{
    if (now - waiter->slot > waiter->sample_s) {
        waiter->slot = now; /* it slept */
    }
    waiter->sample_due = waiter->slot + random_share(waiter) * waiter->sample_s;
    waiter->slot += waiter->sample_s;
}

/* When the next tick is due: earlier where a sample is. */
double
sample_due(WaiterObject *waiter, double now, double tick_due)
{
    if (waiter->sample_s <= 0.0) {
        return tick_due;
    }
    if (waiter->sample_due < now) {
        next_slot(waiter, now);
    }
    return waiter->sample_due < tick_due && waiter->sample_due > now ? waiter->sample_due : tick_due;
}

/* One look of the loop's own thread at its stack: with the GIL, between two instructions of Python. */
static int
add_sample(WaiterObject *waiter, MonitorObject *monitor)
{
    int ret = -1;
    /* Owned, released at the end. */
    PyObject *frames = NULL, *endpoint = NULL, *value = NULL, *sample = NULL;
    CoreState *state = (CoreState *)PyType_GetModuleState(Py_TYPE(waiter));
    if (state == NULL) { /* the interpreter is shutting down */
        goto done;
    }
    if (monitor->started == waiter->asked_started) {
        frames = core_own_stack(state, SAMPLE_DEPTH, &endpoint);
        if (waiter->variable != NULL && PyContextVar_Get(waiter->variable, NULL, &value) < 0) {
            goto done;
        }
    }
    else {
        frames = PyTuple_New(0); /* it ended without an instruction of Python */
    }
    if (frames == NULL) {
        goto done;
    }
    sample = Py_BuildValue("OdOOO", monitor, waiter->asked_at, frames, endpoint != NULL ? endpoint : Py_None,
                           value != NULL ? value : Py_None);
    if (sample == NULL || PyList_Append(waiter->samples, sample) < 0) {
        goto done;
    }
    waiter->sample_count = (int)PyList_GET_SIZE(waiter->samples);
    ret = 0;
done:
    Py_XDECREF(frames);
    Py_XDECREF(endpoint);
    Py_XDECREF(value);
    Py_XDECREF(sample);
    return ret;
}

/* A pending call: CPython makes it in the main thread. What fails here is one sample less, and never an exception in
   the application. */
static int
take_sample(void *argument)
{
    WaiterObject *waiter = (WaiterObject *)argument;
    int collected = PyGC_Disable();
    SavedError error;
    error_save(&error);
    if (waiter->monitors != NULL && waiter->sample_count < MAX_SAMPLES) {
        MonitorObject *monitor = (MonitorObject *)PyTuple_GET_ITEM(waiter->monitors, waiter->asked_index);
        if (add_sample(waiter, monitor) < 0) {
            PyErr_Clear();
        }
    }
    error_restore(&error);
    if (collected) {
        PyGC_Enable();
    }
    waiter->asked = 0;
    load_settle(waiter);
    return 0;
}

/* While a call is pending the waiter must not go. With the GIL. */
void
load_settle(WaiterObject *waiter)
{
    if (waiter->is_held && !waiter->asked && !waiter->waiting) {
        waiter->is_held = 0;
        Py_DECREF(waiter);
    }
}

void
load_hold(WaiterObject *waiter)
{
    if (!waiter->is_held && waiter->sample_s > 0.0) {
        waiter->is_held = 1;
        Py_INCREF(waiter);
    }
}

void
sample_tick(WaiterObject *waiter, MonitorObject *const *monitors, Py_ssize_t count, double now)
{
    if (waiter->sample_s <= 0.0 || now < waiter->sample_due || !Py_IsInitialized()) {
        return; /* at Python's end this thread may still tick */
    }
    next_slot(waiter, now);
    for (Py_ssize_t i = 0; i < count; i++) {
        double started = monitors[i]->started;
        if (started == 0.0) {
            continue;
        }
        if (!monitors[i]->is_main) {
            waiter->wants_sample = 1; /* of another thread nobody can have it but who gets the GIL */
        }
        else if (waiter->is_held && !waiter->asked) {
            waiter->asked = 1;
            waiter->asked_index = i;
            waiter->asked_started = started;
            waiter->asked_at = now;
            if (Py_AddPendingCall(take_sample, waiter) < 0) { /* too many others wait */
                waiter->asked = 0;
            }
            hurry_pending_calls();
        }
    }
}

PyObject *
load_take_samples(WaiterObject *waiter)
{
    PyObject *samples = PyList_New(0);
    if (samples != NULL) {
        PyObject *taken = waiter->samples;
        waiter->samples = samples;
        waiter->sample_count = 0;
        return taken;
    }
    return NULL;
}

PyObject *
load_stretch(const MonitorObject *monitor)
{
    const Load *load = &monitor->load;
    int over = load->full == LOAD_OVER;
    return Py_BuildValue("idddK", load->full, load->since, over ? load->until : load->at,
                         (over ? load->until_busy : load->busy) - load->since_busy,
                         (over ? load->until_runs : monitor->runs) - load->since_runs);
}
