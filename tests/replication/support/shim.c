/* Stands between the program and the system, and makes calls fail as a bad disk would.
 *
 * Preloaded into a child process and steered by its environment:
 *
 *   SHIM_UNDER   only files whose path contains this
 *   SHIM_FAILS   write, fsync, rename: which calls are counted; or readonly, from the first
 *   SHIM_AT      the call that fails, counted from 1
 *   SHIM_STAYS   1: all later ones fail as well, as on a disk that stays full
 *   SHIM_SHIFT   seconds by which the clock of the day is wrong
 *   SHIM_FROM    the reading of the clock from which on it is
 *   SHIM_TOLD    a file that gets a line for every strike
 *
 * A write that fails has written half of its bytes: the end of a full disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_long calls, readings;

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : otherwise;
}

static int is_set_to(const char *name, const char *value) {
    const char *text = getenv(name);
    return text && strcmp(text, value) == 0;
}

static void tell(const char *what, const char *path) {
    const char *told = getenv("SHIM_TOLD");
    int fd = told ? REAL(open64)(told, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    if (fd < 0) return;
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s %s\n", what, path);
    if (REAL(write)(fd, line, (size_t)length) < 0) abort();
    close(fd);
}

static int is_under(const char *path) {
    const char *under = getenv("SHIM_UNDER");
    char whole[2 * PATH_MAX] = "";
    if (path[0] != '/' && !getcwd(whole, PATH_MAX)) return 0;
    strcat(strcat(whole, "/"), path);
    return under && strstr(whole, under) != NULL;
}

/* Whether this call on a path is one that fails. */
static int strikes(const char *call, const char *path) {
    if (!is_set_to("SHIM_FAILS", call) || !is_under(path)) return 0;
    long n = atomic_fetch_add(&calls, 1) + 1, at = number("SHIM_AT", 1);
    if (n < at || (n > at && !getenv("SHIM_STAYS"))) return 0;
    tell(call, path);
    return 1;
}

static int strikes_fd(const char *call, int fd) {
    if (!getenv("SHIM_FAILS")) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    /* Pipes and sockets have other names. */
    if (length < 0 || path[0] != '/') return 0;
    path[length] = 0;
    return strikes(call, path);
}

static int fails_with(int error) {
    errno = error;
    return -1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (!strikes_fd("write", fd)) return REAL(write)(fd, bytes, count);
    if (REAL(write)(fd, bytes, count / 2) < 0) return -1;
    return fails_with(ENOSPC);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!strikes_fd("write", fd)) return REAL(writev)(fd, parts, count);
    return fails_with(ENOSPC);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    if (!strikes_fd("write", fd)) return REAL(pwrite64)(fd, bytes, count, offset);
    if (REAL(pwrite64)(fd, bytes, count / 2, offset) < 0) return -1;
    return fails_with(ENOSPC);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return pwrite64(fd, bytes, count, offset);
}

int fsync(int fd) {
    return strikes_fd("fsync", fd) ? fails_with(EIO) : REAL(fsync)(fd);
}

int fdatasync(int fd) {
    return strikes_fd("fsync", fd) ? fails_with(EIO) : REAL(fdatasync)(fd);
}

int rename(const char *from, const char *to) {
    if (strikes("rename", to)) return fails_with(EIO);
    return strikes("readonly", to) ? fails_with(EROFS) : REAL(rename)(from, to);
}

int unlink(const char *path) {
    return strikes("readonly", path) ? fails_with(EROFS) : REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode) {
    return strikes("readonly", path) ? fails_with(EROFS) : REAL(mkdir)(path, mode);
}

static int is_for_writing(int flags) {
    return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (is_for_writing(flags) && strikes("readonly", path)) return fails_with(EROFS);
    return REAL(open64)(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open64(path, flags, mode);
}

/* By how much the clock is wrong now. */
static long shift(void) {
    long seconds = number("SHIM_SHIFT", 0);
    if (!seconds) return 0;
    long n = atomic_fetch_add(&readings, 1) + 1, from = number("SHIM_FROM", 1);
    if (n == from) tell("clock", "");
    return n < from ? 0 : seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = REAL(clock_gettime)(clock, now);
    if (done == 0 && clock == CLOCK_REALTIME) now->tv_sec += shift();
    return done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int done = REAL(gettimeofday)(now, zone);
    if (done == 0) now->tv_sec += shift();
    return done;
}

time_t time(time_t *now) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return (time_t)-1;
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
