/* How long a loop that rested could not run on although it wanted to: told by its thread's own counters.

   A thread that waits for the GIL wakes up at each switch interval to ask for it; one that waits in its selector
   sleeps on. So how often it got a CPU while its loop rested tells whether the loop waited for the GIL, and how long
   it could have run but had no CPU tells of the rest. The watchdog reads both when it goes to sleep, without the GIL;
   the loop's thread reads them when it wakes the watchdog up. A loop that runs callbacks pays nothing. */

#include "timing.h"

#define SHORTEST_TICKS 2 /* of a shorter rest nothing is asked */

void
rest_begin(MonitorObject *monitor)
{
    unsigned long long runs = 0;
    double queued = 0.0;
    monitor->rest_at = 0.0;
    if (monitor->native_id != 0 && read_scheduling(monitor->native_id, &queued, &runs)) {
        monitor->rest_runs = runs;
        monitor->rest_queued = queued;
        monitor->rest_at = perf_counter();
    }
}

/* Tells the monitor where its loop's thread had to wait. On that thread, when its first callback begins: whoever kept
   the GIL has only just let go of it. Returns when the callback begins now. */
double
rest_end(MonitorObject *monitor, double now, double tick)
{
    double at = monitor->rest_at, queued;
    unsigned long long runs;
    monitor->rest_at = 0.0;
    if (at == 0.0 || now - at < SHORTEST_TICKS * tick || !read_scheduling(monitor->native_id, &queued, &runs) ||
        (runs - monitor->rest_runs < 2 && queued - monitor->rest_queued < tick)) {
        return now; /* it got a CPU once: when its selector came back */
    }
    PyObject *result = PyObject_CallMethod((PyObject *)monitor, "rest_ended", "dddK", at, now,
                                           queued - monitor->rest_queued, runs - monitor->rest_runs);
    if (result == NULL) {
        core_postpone_error((PyObject *)monitor);
    }
    Py_XDECREF(result);
    return perf_counter();
}
