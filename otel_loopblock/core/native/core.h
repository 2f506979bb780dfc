/* What the files of the core share. */
#ifndef LOOPBLOCK_CORE_H
#define LOOPBLOCK_CORE_H

#include "compat.h"

typedef struct {
    /* Owned. */
    PyTypeObject *monitor_type;
    PyTypeObject *waiter_type;
    PyTypeObject *run_type;
    PyTypeObject *raiser_type;
    PyTypeObject *scheduler_type;
    PyTypeObject *call_type;
    PyTypeObject *method_type;
    PyTypeObject *watch_type; /* NULL before 3.14 */
    PyObject *str_callback;
    PyObject *str_callback_ended;
    PyObject *str_module_name; /* "__name__" */
    PyObject *str_scope;
    PyObject *str_endpoint;
    PyObject *str_method;
    PyObject *get_running_loop; /* asyncio's */
    PyObject *update_wrapper;   /* functools' */
} CoreState;

/* The watchdog's sleep. `asleep` is what the hot path tests: who finds it set wakes the watchdog.

   `asleep`, `requested` and what the hot path writes of a monitor are read without the GIL. They are words of
   the machine that nobody but one side changes to anything but 0, and wait.c says why no order is needed. */
typedef struct {
    PyObject_HEAD
    volatile int asleep;
    volatile int requested;  /* wake() was called, and no wait has ended since */
    volatile int stale;      /* refresh() was called, and no wait has ended for that since */
    volatile double due;     /* perf_counter when a tick is due; 0.0 while there is none */
    volatile double woke;    /* perf_counter when it woke up for a look and asked for the GIL; 0.0: it has it */
    double tick;             /* seconds between two looks; of the last wait */
    double queued;           /* seconds its thread had been without a CPU when that was read last, or UNKNOWN_S */
    unsigned long long runs; /* how often it had got one then */
    int sleeps;              /* how often it has slept since */
    unsigned long thread;    /* native id of the thread that waits */
    int waiting;             /* a thread is in wait(); in a forked child it never leaves */
    PyThread_type_lock lock; /* held; released to wake */
    /* Of load.c. */
    double saturation_s;  /* a loop without a rest for as long is full; 0.0: nobody wants to know */
    double threshold_s;   /* a callback that runs as long is a block */
    double sample_s;      /* from one sample to the next, on average; 0.0: none are wanted */
    double slot, sample_due, told;
    unsigned long long random;
    volatile int asked; /* a call is pending */
    int is_held;        /* it has a reference to itself, for that call */
    int wants_sample;   /* of a loop that only who gets the GIL can look at */
    volatile int sample_count;
    Py_ssize_t asked_index;
    double asked_started, asked_at;
    PyObject *monitors; /* borrowed: what it waits with; NULL while it does not */
    PyObject *samples;  /* owned */
    PyObject *variable; /* owned: a context variable whose value each sample has; may be NULL */
} WaiterObject;

#define LOAD_RESTS 0
#define LOAD_FULL 1
#define LOAD_OVER 2 /* it has been full: until the next tick */

/* How full a loop is, as its ticks see it. Times of perf_counter, seconds in callbacks, number of callbacks. */
typedef struct {
    int full;
    double at, busy, cpu;                          /* at the last tick; 0.0: there was none */
    double since, since_busy;                      /* the stretch with nearly no rest */
    unsigned long long since_runs;
    double fresh;                                  /* the part of it since the last block */
    double rest;                                   /* seconds of rest beyond its share */
    double until, until_busy;                      /* since then it rests more than its share */
    unsigned long long until_runs;
} Load;

typedef struct {
    PyObject_HEAD
    /* Written by the hot path, read by any thread. */
    volatile double started; /* perf_counter at the start of the running callback; 0.0 while none runs */
    volatile double busy;    /* seconds in callbacks that have ended */
    volatile unsigned long long runs; /* how many those are */
    double threshold;        /* seconds from which on callback_ended is called */
    /* Borrowed from whoever runs the callback: see timing.h. */
    PyObject *callback;
    PyObject *context; /* NULL: the current one */
    /* Owned. */
    WaiterObject *waiter; /* may be NULL */
    PyObject *loop;       /* a weak reference to the loop; NULL once it is detached */
    PyObject *unwatched;  /* a callback that wakes no waiter; may be NULL */
    /* Of the watchdog. */
    long clock;       /* the CPU clock of the loop's thread, or NO_CLOCK */
    double looked_at; /* `started` of the callback that look_due is about */
    double look_due;  /* perf_counter when that one is to be looked at next */
    /* The clocks while no callback was long, as the waiter read them last. */
    double before_at, before_cpu, before_process_cpu, before_busy;
    double woke_cpu; /* CPU seconds of the loop's thread when the waiter woke up for a long callback */
    /* What the kernel had counted of the loop's thread when the loop began to rest: see rests.c. */
    unsigned long native_id; /* of that thread; 0 where it is not known */
    double rest_at;          /* perf_counter; 0.0 while it does not rest, or nothing is counted */
    double rest_queued;      /* seconds without a CPU */
    unsigned long long rest_runs;
    Load load;
    double blocked_at; /* perf_counter at the end of the last block */
    int is_main;       /* its loop runs in the main thread */
    int stopped;       /* its loop does not run: what its thread does is something else */
} MonitorObject;

#define NO_CLOCK (-1L) /* no clock of a thread has this number */
#define UNKNOWN_S (-1.0)

/* What Run, Scheduler and Method have in common: each takes the place of a function of a class. Whoever calls one
   holds it meanwhile, as with every object of Python that is called. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    /* Owned. */
    PyObject *original;
    PyObject *monitors;         /* a dict: id of a loop to its monitor */
    PyObject *attach;           /* called for a loop that has none, or None */
    PyTypeObject *monitor_type;
    MonitorObject *last;        /* the monitor found last; may be NULL */
    PyObject *dict;             /* what functools.update_wrapper and others set on it */
    PyObject *weakrefs;
    char active;                /* 0: it only passes on */
    long turns;                 /* for callback_ended */
} Replacement;

/* state.c */
CoreState *core_state(PyObject *module);
PyTypeObject *core_make_type(PyObject *module, PyType_Spec *spec);
int core_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type);

/* One per file: adds its types to the module. */
int core_add_monitor(PyObject *module, CoreState *state);
int core_add_wait(PyObject *module, CoreState *state);
int core_add_handle_run(PyObject *module, CoreState *state);
int core_add_scheduler(PyObject *module, CoreState *state);
int core_add_method(PyObject *module, CoreState *state);
int core_add_context_watch(PyObject *module, CoreState *state);

/* wait.c */
int waiter_check(PyObject *object);
double waiter_wake(WaiterObject *waiter, MonitorObject *monitor, double now);

/* rests.c */
void rest_begin(MonitorObject *monitor);
double rest_end(MonitorObject *monitor, double now, double tick);

/* postponing.c */
void core_postpone_error(PyObject *where);

/* stack.c */
PyObject *core_own_stack(CoreState *state, Py_ssize_t depth, PyObject **endpoint);

/* clocks.c; a negative number where the platform does not tell */
double clock_seconds(long clock);
double process_cpu_seconds(void);
unsigned long native_thread_id(void);
int is_main_thread(void);
int read_scheduling(unsigned long thread, double *queued, unsigned long long *runs);

/* Functions of the module. */
PyObject *core_unwrap(PyObject *module, PyObject *callback);
PyObject *core_postponing(PyObject *module, PyObject *function);
PyObject *core_thread_clock(PyObject *module, PyObject *unused);
PyObject *core_scheduling(PyObject *module, PyObject *native_id);
PyObject *core_threads(PyObject *module, PyObject *unused);
PyObject *core_thread_context(PyObject *module, PyObject *thread_id);
PyObject *core_stack(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *core_variable(PyObject *module, PyObject *args, PyObject *kwargs);

#endif
