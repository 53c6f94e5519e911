/* Shifts the real-time clock of a chat worker, from outside and while it runs: LD_PRELOAD of the fault suite's stacks.
 *
 * $CHATD_CHAOS_CLOCKS/$CHATD_PROCESS holds the seconds as a native 64-bit integer, which may change at any time; where
 * there is no such file, the time is what it is. The monotonic clock is left alone: only that may be relied upon.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef int clock_function(clockid_t, struct timespec *);

static const int64_t none = 0;
static const volatile int64_t *shift = &none;
static clock_function *unshifted;

__attribute__((constructor)) static void begin(void)
{
    const char *clocks = getenv("CHATD_CHAOS_CLOCKS"), *process = getenv("CHATD_PROCESS");
    char path[PATH_MAX];
    if (!clocks || !process || snprintf(path, sizeof path, "%s/%s", clocks, process) >= (int)sizeof path)
        return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        shift = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (!unshifted)
        unshifted = (clock_function *)dlsym(RTLD_NEXT, "clock_gettime");
    int failed = unshifted(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *shift;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone)
{
    (void)zone;
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise))
        return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *kept)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (kept)
        *kept = now.tv_sec;
    return now.tv_sec;
}
