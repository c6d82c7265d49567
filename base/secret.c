/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apr_file_io.h"
#include "apr_strings.h"
#include "base/clock.h"

extern char **environ;

#define ONE_LINER "openssl rand -base64 32 makes one"

static int is_file(const char *source)
{
    return !strncasecmp(source, "file:", 5);
}

/* Both words have five letters. */
static const char *what_of(const char *source)
{
    return source + 5;
}

const char *memsess_secret_syntax(const char *source)
{
    if (!is_file(source) && strncasecmp(source, "exec:", 5)) {
        return "must be file:/path, or exec:/path with arguments in quotes; the secret itself must "
               "not be in the configuration";
    }
    return *what_of(source) == '/' ? NULL : "the path must begin with a slash";
}

static const char *words_of(apr_status_t rv, apr_pool_t *p)
{
    char text[120];

    return apr_pstrdup(p, apr_strerror(rv, text, sizeof(text)));
}

/* Cuts the newlines at its end. */
static const char *judge(memsess_raw_secret_t *raw, apr_pool_t *p)
{
    while (raw->len && strchr("\r\n", raw->bytes[raw->len - 1]) && raw->bytes[raw->len - 1]) {
        raw->len--;
    }
    if (raw->len > MEMSESS_SECRET_MOST) {
        return apr_psprintf(p, "holds more than %d bytes, too many for a secret: " ONE_LINER,
                            MEMSESS_SECRET_MOST);
    }
    if (!raw->len) {
        return "holds nothing: " ONE_LINER;
    }
    if (raw->len < MEMSESS_SECRET_LEAST) {
        return apr_psprintf(p, "is too short, %" APR_SIZE_T_FMT " bytes where at least %d are "
                            "needed: " ONE_LINER, raw->len, MEMSESS_SECRET_LEAST);
    }
    return NULL;
}

/* -- file: ------------------------------------------------------------------------------------- */

static const char *open_error(apr_status_t rv, const char *fix, apr_pool_t *p)
{
    if (APR_STATUS_IS_ENOENT(rv)) {
        return apr_pstrcat(p, "does not exist: ", fix, NULL);
    }
    if (APR_STATUS_IS_EACCES(rv) && geteuid() != 0) {
        return apr_psprintf(p, "cannot be read by this user (uid %ld): check the configuration as "
                            "root, who starts httpd", (long)geteuid());
    }
    return apr_psprintf(p, "cannot be read: %s", words_of(rv, p));
}

static const char *file_kind_error(const apr_finfo_t *info)
{
    if (info->filetype == APR_DIR) {
        return "is a directory: name a file in it";
    }
    if (info->filetype != APR_REG) {
        return "is not a regular file";
    }
    if (info->protection & (APR_FPROT_WREAD | APR_FPROT_WWRITE)) {
        return "is readable or writable by all: chmod o-rw it";
    }
    return NULL;
}

const char *memsess_secret_file(const char *path, const char *fix, void *bytes, apr_size_t size,
                                apr_size_t *len, apr_pool_t *p)
{
    const char *error;
    apr_finfo_t info;
    apr_file_t *file;
    /* The file is checked before it is opened, too, since opening a pipe waits. */
    apr_status_t rv = apr_stat(&info, path, APR_FINFO_TYPE | APR_FINFO_PROT, p);

    if (rv != APR_SUCCESS) {
        return open_error(rv, fix, p);
    }
    if ((error = file_kind_error(&info)) != NULL) {
        return error;
    }
    rv = apr_file_open(&file, path, APR_READ, APR_OS_DEFAULT, p);
    if (rv != APR_SUCCESS) {
        return open_error(rv, fix, p);
    }
    rv = apr_file_info_get(&info, APR_FINFO_TYPE | APR_FINFO_PROT, file);
    error = rv == APR_SUCCESS ? file_kind_error(&info) : open_error(rv, fix, p);
    if (!error) {
        rv = apr_file_read_full(file, bytes, size, len);
        error = rv == APR_SUCCESS || APR_STATUS_IS_EOF(rv) ? NULL : open_error(rv, fix, p);
    }
    apr_file_close(file);
    return error;
}

/* -- exec: ------------------------------------------------------------------------------------- */

static const char *program_of(const char *command, char ***argv, apr_pool_t *p)
{
    apr_finfo_t info;
    apr_status_t rv = apr_tokenize_to_argv(command, argv, p);

    if (rv == APR_SUCCESS) {
        rv = apr_stat(&info, (*argv)[0], APR_FINFO_TYPE, p);
    }
    if (rv != APR_SUCCESS) {
        return apr_psprintf(p, "cannot be run: %s", words_of(rv, p));
    }
    if (info.filetype != APR_REG || access((*argv)[0], X_OK) != 0) {
        return "cannot be run: it is not an executable file (chmod +x)";
    }
    return NULL;
}

/* The program runs in a process group of its own, so that its children can be ended with it; APR
 * has no way to say that. Its errors go where ours go. 0, with errno, if it cannot be started. */
static int start(pid_t *pid, int *out, char **argv)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, usual;
    int fds[2], rv;

    if (pipe2(fds, O_CLOEXEC) != 0) {
        return 0;
    }
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, fds[1], 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &usual);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK
                                        | POSIX_SPAWN_SETSIGDEF);
    rv = posix_spawn(pid, argv[0], &files, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    close(fds[1]);
    *out = fds[0];
    if (rv) {
        close(fds[0]);
        errno = rv;
    }
    return !rv;
}

/* Reads to the end, or until the time is over; returns whether it came to the end. */
static int read_pipe(int fd, apr_time_t end, memsess_raw_secret_t *raw)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    while (raw->len < sizeof(raw->bytes)) {
        apr_interval_time_t left = end - memsess_clock_steady();
        ssize_t n;

        if (left <= 0) {
            return 0;
        }
        if (poll(&poll_fd, 1, (int)apr_time_as_msec(left) + 1) <= 0) {
            continue;
        }
        n = read(fd, raw->bytes + raw->len, sizeof(raw->bytes) - raw->len);
        if (n == 0) {
            return 1;
        }
        if (n > 0) {
            raw->len += (apr_size_t)n;
        }
        else if (errno != EINTR) {
            return 0;
        }
    }
    return 1;
}

/* The program's exit status. What is left of it and of its children is killed while its id still
 * belongs to it. */
static int finish(pid_t pid, apr_time_t end, int *status)
{
    siginfo_t info;
    int in_time;

    for (;;) {
        info.si_pid = 0;
        in_time = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0
                  && info.si_pid == pid;
        if (in_time || memsess_clock_steady() >= end) {
            break;
        }
        apr_sleep(apr_time_from_msec(2));
    }
    kill(-pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR) {
    }
    return in_time;
}

static const char *run_program(const char *command, apr_interval_time_t wait,
                               memsess_raw_secret_t *raw, apr_pool_t *p)
{
    apr_time_t end = memsess_clock_steady() + wait;
    int fd, status = 0, at_end;
    const char *error;
    char **argv;
    pid_t pid;

    if ((error = program_of(command, &argv, p)) != NULL) {
        return error;
    }
    if (!start(&pid, &fd, argv)) {
        return apr_psprintf(p, "cannot be run: %s", words_of(errno, p));
    }
    at_end = read_pipe(fd, end, raw);
    close(fd);
    if (!finish(pid, at_end ? end : 0, &status) || !at_end) {
        return apr_psprintf(p, "did not end within %" APR_TIME_T_FMT " ms and was killed",
                            apr_time_as_msec(wait));
    }
    if (raw->len > MEMSESS_SECRET_MOST + 1) {
        return NULL; /* the program may have died because we no longer listen */
    }
    if (!WIFEXITED(status)) {
        return apr_psprintf(p, "was ended by signal %d", WTERMSIG(status));
    }
    return WEXITSTATUS(status) ? apr_psprintf(p, "failed with status %d", WEXITSTATUS(status))
                               : raw->len ? NULL : "printed nothing";
}

/* -- Both -------------------------------------------------------------------------------------- */

const char *memsess_secret_read(const char *source, apr_interval_time_t wait,
                                memsess_raw_secret_t *raw, apr_pool_t *p)
{
    const char *error;

    raw->len = 0;
    error = is_file(source) ? memsess_secret_file(what_of(source), ONE_LINER, raw->bytes,
                                                  sizeof(raw->bytes), &raw->len, p)
                            : run_program(what_of(source), wait, raw, p);
    if (!error) {
        error = judge(raw, p);
    }
    if (error) {
        memsess_cleanse(raw, sizeof(*raw));
    }
    return error;
}

/* -- Keys -------------------------------------------------------------------------------------- */

/* Its length comes before the memory itself. */
static apr_status_t cleanse(void *len)
{
    memsess_cleanse((apr_size_t *)len + 1, *(apr_size_t *)len);
    return APR_SUCCESS;
}

void *memsess_secret_memory(apr_size_t len, apr_pool_t *p)
{
    apr_size_t *memory = apr_pcalloc(p, sizeof(*memory) + len);

    *memory = len;
    apr_pool_cleanup_register(p, memory, cleanse, apr_pool_cleanup_null);
    return memory + 1;
}

memsess_secrets_t *memsess_secrets_make(apr_pool_t *p)
{
    return memsess_secret_memory(sizeof(memsess_secrets_t), p);
}

/* A key is for one purpose in one namespace. */
static apr_status_t derive(const memsess_raw_secret_t *raw, const char *purpose, const char *ns,
                           unsigned char *out, apr_size_t len)
{
    static const char salt[] = "mod_memsess";
    char info[512];
    int info_len = apr_snprintf(info, sizeof(info), "%s %s", purpose, ns);

    return memsess_hkdf(raw->bytes, raw->len, salt, sizeof(salt) - 1, info, (apr_size_t)info_len,
                        out, len);
}

apr_status_t memsess_secrets_add(memsess_secrets_t *secrets, const memsess_raw_secret_t *raw,
                                 const char *ns)
{
    memsess_secret_t *secret = &secrets->secret[secrets->n];
    const struct {
        const char *purpose;
        unsigned char *key;
        apr_size_t len;
    } keys[] = {{"cookie", secret->cookie, sizeof(secret->cookie)},
                {"seal", secret->seal, sizeof(secret->seal)},
                {"user", secret->user, sizeof(secret->user)},
                {"id", secret->id, sizeof(secret->id)}};
    apr_status_t rv = secrets->n < MEMSESS_SECRETS_MAX ? APR_SUCCESS : APR_ENOSPC;
    unsigned i;

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]) && rv == APR_SUCCESS; i++) {
        rv = derive(raw, keys[i].purpose, ns, keys[i].key, keys[i].len);
    }
    secrets->n += rv == APR_SUCCESS;
    return rv;
}

memsess_rotation_t memsess_secrets_compare(const memsess_secrets_t *before,
                                           const memsess_secrets_t *now)
{
    unsigned i;

    for (i = 0; i < now->n && memcmp(before->secret[0].id, now->secret[i].id,
                                     MEMSESS_SECRET_ID_BYTES); i++) {
    }
    return i == 0 ? MEMSESS_SECRET_SAME
                  : i < now->n ? MEMSESS_SECRET_ROTATED : MEMSESS_SECRET_REPLACED;
}
