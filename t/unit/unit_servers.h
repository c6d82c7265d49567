/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Servers for the tests: real memcacheds, each a child process that cannot outlive the test, and a
 * thread that answers as no memcached should. Both listen on ports that were free.
 */
#ifndef UNIT_SERVERS_H
#define UNIT_SERVERS_H

#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "apr_file_info.h"
#include "apr_time.h"

/* The longest that a test waits for something that must happen. */
#define PATIENCE apr_time_from_sec(20)

/* Waits until a condition holds, and fails if it does not hold in time. */
#define unit_await(condition)                                                                      \
    do {                                                                                           \
        apr_time_t await_end = unit_machines_now() + PATIENCE;                                     \
        while (!(condition)) {                                                                     \
            if (unit_machines_now() > await_end) {                                                 \
                print_error("waited in vain for %s\n", #condition);                                \
                fail();                                                                            \
            }                                                                                      \
            apr_sleep(2000);                                                                       \
        }                                                                                          \
    } while (0)

/* How many descriptors are open, including the one of this listing. */
static inline int unit_descriptors(void)
{
    apr_pool_t *p;
    apr_dir_t *dir;
    apr_finfo_t info;
    int n = 0;

    apr_pool_create(&p, NULL);
    assert_int_equal(apr_dir_open(&dir, "/proc/self/fd", p), APR_SUCCESS);
    while (apr_dir_read(&info, APR_FINFO_NAME, dir) == APR_SUCCESS) {
        n++;
    }
    apr_dir_close(dir);
    apr_pool_destroy(p);
    return n;
}

/* -- A directory that an ordinary user can enter, gone after the test -------------------------- */

static char unit_dir[128];

static inline int unit_is_root(void)
{
    return geteuid() == 0;
}

static inline const struct passwd *unit_nobody(void)
{
    const struct passwd *nobody = getpwnam("nobody");

    assert_non_null(nobody);
    return nobody;
}

static inline const char *unit_dir_open(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(unit_dir, sizeof(unit_dir), "%s/memsess-unit-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(unit_dir));
    if (unit_is_root()) {
        assert_int_equal(chown(unit_dir, unit_nobody()->pw_uid, unit_nobody()->pw_gid), 0);
    }
    return unit_dir;
}

static inline void unit_dir_close(void)
{
    static const char *const names[] = {"socket", "auth"};
    char path[sizeof(unit_dir) + 20];
    unsigned i;

    if (*unit_dir) {
        for (i = 0; i < COUNT(names); i++) {
            snprintf(path, sizeof(path), "%s/%s", unit_dir, names[i]);
            unlink(path);
        }
        rmdir(unit_dir);
        *unit_dir = '\0';
    }
}

static inline const char *unit_dir_write(const char *name, const char *text)
{
    const char *path = apr_pstrcat(unit_pool, unit_dir, "/", name, NULL);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    if (unit_is_root()) {
        assert_int_equal(fchown(fd, unit_nobody()->pw_uid, unit_nobody()->pw_gid), 0);
    }
    close(fd);
    return path;
}

/* -- memcached --------------------------------------------------------------------------------- */

#define UNIT_MEMCACHEDS 8

typedef struct unit_memcached_t {
    pid_t pid; /* 0: it does not run */
    int frozen;
    int family;
    int port;         /* 0: a unix socket */
    const char *path; /* of the unix socket */
    const char *auth; /* the file for -Y, or NULL */
    const char *const *more; /* further arguments up to NULL, or NULL */
    const char *limit; /* for -c, from the next start on, or NULL */
} unit_memcached_t;

static unit_memcached_t unit_memcacheds[UNIT_MEMCACHEDS];
static int unit_memcacheds_n;

typedef union unit_address_t {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
} unit_address_t;

static inline socklen_t unit_address(unit_address_t *address, int family, int port,
                                     const char *path)
{
    memset(address, 0, sizeof(*address));
    address->sa.sa_family = (sa_family_t)family;
    if (family == AF_UNIX) {
        apr_cpystrn(address->un.sun_path, path, sizeof(address->un.sun_path));
        return sizeof(address->un);
    }
    if (family == AF_INET6) {
        address->in6.sin6_port = htons((uint16_t)port);
        address->in6.sin6_addr = in6addr_loopback;
        return sizeof(address->in6);
    }
    address->in.sin_port = htons((uint16_t)port);
    address->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof(address->in);
}

/* A free port on loopback that the system gives to no connection, so that a server finds it free
 * again after a restart. */
static inline int unit_free_port(int family)
{
    static unsigned state;
    unit_address_t address;
    socklen_t len;
    int tries, one = 1;

    if (!state) {
        state = (unsigned)getpid() * 2654435761u ^ (unsigned)apr_time_now();
    }
    for (tries = 0; tries < 1000; tries++) {
        int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), port, bound;

        assert_true(fd >= 0);
        state = state * 1664525u + 1013904223u;
        port = 11300 + (int)((state >> 8) % 20000);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        len = unit_address(&address, family, port, NULL);
        bound = bind(fd, &address.sa, len) == 0 && listen(fd, 1) == 0;
        close(fd);
        if (bound) {
            return port;
        }
    }
    fail();
    return 0;
}

/* Opens a plain connection of the test's own; -1: nothing listens. */
static inline int unit_connect(const unit_memcached_t *m)
{
    unit_address_t address;
    socklen_t len = unit_address(&address, m->family, m->port, m->path);
    struct timeval patience = {20, 0};
    int fd = socket(m->family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (connect(fd, &address.sa, len) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* Sends text and reads until a line that ends with this word; NULL: no answer. */
static inline char *unit_ask(const unit_memcached_t *m, const void *text, size_t len,
                             const char *last_word, size_t *answer_len)
{
    size_t room = 1 << 20, got = 0, last_len = strlen(last_word);
    char *answer = apr_palloc(unit_pool, room + 1);
    int fd = unit_connect(m);
    ssize_t n;

    if (fd < 0) {
        return NULL;
    }
    if (send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len) {
        close(fd);
        return NULL;
    }
    do {
        do {
            n = recv(fd, answer + got, room - got, 0);
        } while (n < 0 && errno == EINTR); /* this process was stopped for a moment */
        got += n > 0 ? (size_t)n : 0;
        answer[got] = '\0';
    } while (n > 0 && !(got >= last_len + 2 && !memcmp(answer + got - 2, "\r\n", 2)
                        && !memcmp(answer + got - 2 - last_len, last_word, last_len)));
    close(fd);
    if (answer_len) {
        *answer_len = got;
    }
    return n > 0 ? answer : NULL;
}

static inline int unit_memcached_answers(const unit_memcached_t *m)
{
    int fd;

    if (m->auth) {
        /* It answers nobody without the password, so it is enough that it listens. */
        fd = unit_connect(m);
        if (fd >= 0) {
            close(fd);
        }
        return fd >= 0;
    }
    return unit_ask(m, "version\r\nmn\r\n", 13, "MN", NULL) != NULL;
}

static inline int unit_memcached_gone(unit_memcached_t *m)
{
    if (m->pid && waitpid(m->pid, NULL, WNOHANG) == m->pid) {
        m->pid = 0;
    }
    return m->pid == 0;
}

/* In the child: sets up the test's clocks. They are passed as descriptors, since the ordinary user
 * may not be allowed into their directory. */
static inline void unit_memcached_follow(void)
{
    int so = open(UNIT_CLOCK, O_RDONLY | O_CLOEXEC), copy = memfd_create("clock.so", 0);
    char text[40];

    if (so < 0 || copy < 0 || sendfile(copy, so, NULL, 1 << 20) <= 0
        || fcntl(unit_clock_fd, F_SETFD, 0) != 0) {
        _exit(126);
    }
    snprintf(text, sizeof(text), "/proc/self/fd/%d", copy);
    setenv("LD_PRELOAD", text, 1);
    snprintf(text, sizeof(text), "/proc/self/fd/%d", unit_clock_fd);
    setenv("MEMSESS_T_PASSED", text, 1);
}

/* In the child: becomes an ordinary user. That clears the signal for the parent's death, so the
 * signal is asked for afterwards. */
static inline void unit_memcached_exec(pid_t parent, char *const argv[])
{
    const struct passwd *nobody = unit_is_root() ? getpwnam("nobody") : NULL;
    int null = open("/dev/null", O_RDWR);

    unit_memcached_follow();
    if (nobody && (setgroups(0, NULL) || setgid(nobody->pw_gid) || setuid(nobody->pw_uid))) {
        _exit(126);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(126);
    }
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    signal(SIGPIPE, SIG_DFL);
    execvp("memcached", argv);
    _exit(127);
}

static inline void unit_memcached_run(unit_memcached_t *m)
{
    const char *arguments[20] = {"memcached", "-m", "16", "-t", "1", "-c", "256"};
    pid_t parent = getpid();
    int n = 7, i;

    assert_int_equal(m->pid, 0);
    if (m->limit) {
        arguments[6] = m->limit;
    }
    if (m->path) {
        arguments[n++] = "-s";
        arguments[n++] = m->path;
    }
    else {
        arguments[n++] = "-U";
        arguments[n++] = "0";
        arguments[n++] = "-l";
        arguments[n++] = m->family == AF_INET6 ? "::1" : "127.0.0.1";
        arguments[n++] = "-p";
        arguments[n++] = apr_itoa(unit_pool, m->port);
    }
    if (m->auth) {
        arguments[n++] = "-Y";
        arguments[n++] = m->auth;
    }
    for (i = 0; m->more && m->more[i]; i++) {
        arguments[n++] = m->more[i];
    }
    arguments[n] = NULL;
    m->pid = fork();
    if (m->pid < 0) {
        m->pid = 0; /* kill(-1) would end all processes */
        fail_msg("fork: %s", strerror(errno));
    }
    if (m->pid == 0) {
        unit_memcached_exec(parent, (char *const *)arguments);
    }
}

/* Starts the server, also after a stop: with empty memory, at the same address. */
static inline void unit_memcached_start(unit_memcached_t *m)
{
    unit_memcached_run(m);
    unit_await(unit_memcached_gone(m) || unit_memcached_answers(m));
    if (!m->pid) {
        print_error("memcached does not start; is it installed?\n");
    }
    assert_int_not_equal(m->pid, 0);
}

static inline unit_memcached_t *unit_memcached_new(int family, const char *path, const char *auth)
{
    unit_memcached_t *m = &unit_memcacheds[unit_memcacheds_n];
    int tries;

    assert_true(unit_memcacheds_n < UNIT_MEMCACHEDS);
    unit_memcacheds_n++;
    memset(m, 0, sizeof(*m));
    m->family = family;
    m->path = path;
    m->auth = auth;
    /* The port that was free may have been taken since. */
    for (tries = 0; tries < 5; tries++) {
        m->port = path ? 0 : unit_free_port(family);
        unit_memcached_run(m);
        unit_await(unit_memcached_gone(m) || unit_memcached_answers(m));
        if (m->pid) {
            return m;
        }
    }
    print_error("memcached does not start; is it installed?\n");
    fail();
    return NULL;
}

static inline unit_memcached_t *unit_memcached(void)
{
    return unit_memcached_new(AF_INET, NULL, NULL);
}

static inline void unit_memcached_kill(unit_memcached_t *m);

/* A memcached with further arguments, the last of which is NULL. */
static inline unit_memcached_t *unit_memcached_with(const char *const *more)
{
    unit_memcached_t *m = unit_memcached();

    unit_memcached_kill(m);
    m->more = more;
    unit_memcached_start(m);
    return m;
}

static inline void unit_memcached_kill(unit_memcached_t *m)
{
    if (m->pid > 0) {
        kill(m->pid, SIGKILL);
        waitpid(m->pid, NULL, 0);
        m->pid = m->frozen = 0;
    }
}

/* A stopped server keeps its memory and its connections, and answers nothing. */
static inline void unit_memcached_freeze(unit_memcached_t *m)
{
    int status;

    assert_int_equal(kill(m->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(m->pid, &status, WUNTRACED), m->pid);
    assert_true(WIFSTOPPED(status));
    m->frozen = 1;
}

static inline void unit_memcached_thaw(unit_memcached_t *m)
{
    assert_int_equal(kill(m->pid, SIGCONT), 0);
    m->frozen = 0;
}

/* A number of the server's statistics. For a moment it may have no connection left for this
 * question. */
static inline long unit_memcached_stat(const unit_memcached_t *m, const char *name)
{
    const char *wanted = apr_pstrcat(unit_pool, "STAT ", name, " ", NULL);
    const char *answer, *line = NULL;

    unit_await((answer = unit_ask(m, "stats\r\n", 7, "END", NULL)) != NULL
               && (line = strstr(answer, wanted)) != NULL);
    return atol(line + strlen(wanted));
}

/* A key's value as memcached has it; NULL: it has none. */
static inline char *unit_memcached_get(const unit_memcached_t *m, const char *key, size_t *len)
{
    const char *command = apr_pstrcat(unit_pool, "get ", key, "\r\n", NULL);
    size_t answer_len = 0;
    char *answer = unit_ask(m, command, strlen(command), "END", &answer_len);
    char *end;

    assert_non_null(answer);
    if (!strcmp(answer, "END\r\n")) {
        return NULL;
    }
    end = strstr(answer, "\r\n");
    assert_non_null(end);
    *end = '\0';
    *len = (size_t)atol(strrchr(answer, ' ') + 1);
    assert_true(end + 2 + *len + 7 == answer + answer_len);
    end[2 + *len] = '\0';
    return end + 2;
}

static inline void unit_memcached_set(const unit_memcached_t *m, const char *key, const char *data,
                                      size_t len)
{
    const char *head = apr_psprintf(unit_pool, "set %s 0 0 %lu\r\n", key, (unsigned long)len);
    size_t head_len = strlen(head);
    char *command = apr_palloc(unit_pool, head_len + len + 2);

    memcpy(command, head, head_len);
    memcpy(command + head_len, data, len);
    memcpy(command + head_len + len, "\r\n", 2);
    assert_non_null(unit_ask(m, command, head_len + len + 2, "STORED", NULL));
}

static inline void unit_memcached_delete(const unit_memcached_t *m, const char *key)
{
    const char *command = apr_pstrcat(unit_pool, "delete ", key, "\r\n", NULL);

    assert_non_null(unit_ask(m, command, strlen(command), "DELETED", NULL));
}

/* -- A server with faults ---------------------------------------------------------------------- */

#define UNIT_FAULTY_CLIENTS 32

/* The answers to lines that begin with get, set or version. NULL is silence. "%k" stands for the
 * key that was asked for. */
typedef struct unit_answers_t {
    const char *get, *set, *version;
    int close;         /* closes after that answer to get or set */
    int trickle;       /* sends a byte every so many milliseconds */
    int refuse;        /* closes new connections */
} unit_answers_t;

typedef struct unit_faulty_t {
    int running;
    pthread_t thread;
    pthread_mutex_t lock;
    unit_answers_t answers;
    const char *stats; /* its answer to stats; NULL: as to version */
    int before, after; /* seconds that pass before and after an answer to get or set */
    int listener, port, stop[2];
    int is_answering;  /* guarded by the lock */
    int accepted, asked; /* connections and commands, guarded by the lock */
} unit_faulty_t;

static unit_faulty_t unit_faulty;

static inline void unit_faulty_say(int fd, const char *answer, const char *line, int trickle)
{
    char text[70000], *to = text, *c;
    const char *key = strchr(line, ' ');
    size_t key_len = key ? strcspn(++key, " \r\n") : 0;

    for (; *answer && to < text + sizeof(text) - 300; answer++) {
        if (answer[0] == '%' && answer[1] == 'k') {
            memcpy(to, key ? key : "", key_len);
            to += key_len;
            answer++;
        }
        else {
            *to++ = *answer;
        }
    }
    if (!trickle) {
        (void)!send(fd, text, (size_t)(to - text), MSG_NOSIGNAL);
    }
    for (c = text; trickle && c < to; c++) {
        apr_sleep(trickle * 1000);
        if (send(fd, c, 1, MSG_NOSIGNAL) != 1) {
            break;
        }
    }
}

/* Reads what a client sends; 0: the client is gone, or has to go. The data that follow a set come
 * in the same write, and are skipped with it. */
static inline int unit_faulty_hear(unit_faulty_t *f, int fd)
{
    char line[2048];
    ssize_t n = recv(fd, line, sizeof(line) - 1, 0);
    unit_answers_t a;
    const char *answer, *stats;
    int before, after;

    if (n <= 0) {
        return 0;
    }
    line[n] = '\0';
    pthread_mutex_lock(&f->lock);
    a = f->answers;
    stats = f->stats ? f->stats : a.version;
    before = f->before;
    after = f->after;
    f->is_answering = strncmp(line, "quit", 4) != 0;
    f->asked++;
    pthread_mutex_unlock(&f->lock);
    if (!strncmp(line, "quit", 4)) {
        return 0;
    }
    answer = !strncmp(line, "get ", 4) ? a.get : !strncmp(line, "set ", 4) ? a.set
             : !strncmp(line, "stats", 5) ? stats : a.version;
    if (!strncmp(line, "version", 7)) {
        before = after = 0;
    }
    unit_clocks_pass(apr_time_from_sec(before));
    if (answer) {
        unit_faulty_say(fd, answer, line, a.trickle);
    }
    unit_clocks_pass(apr_time_from_sec(after));
    pthread_mutex_lock(&f->lock);
    f->is_answering = 0;
    pthread_mutex_unlock(&f->lock);
    return !(a.close && strncmp(line, "version", 7) != 0);
}

static inline void *unit_faulty_main(void *data)
{
    unit_faulty_t *f = data;
    struct pollfd fds[2 + UNIT_FAULTY_CLIENTS];
    int n = 2, i;

    fds[0].fd = f->stop[0];
    fds[1].fd = f->listener;
    for (;;) {
        for (i = 0; i < n; i++) {
            fds[i].events = POLLIN;
            fds[i].revents = 0;
        }
        if (poll(fds, (nfds_t)n, -1) < 0 || fds[0].revents) {
            break;
        }
        for (i = n - 1; i >= 2; i--) {
            if (fds[i].revents && !unit_faulty_hear(f, fds[i].fd)) {
                close(fds[i].fd);
                fds[i] = fds[--n];
            }
        }
        if (fds[1].revents) {
            int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC), refuse, one = 1;

            pthread_mutex_lock(&f->lock);
            f->accepted++;
            refuse = f->answers.refuse;
            pthread_mutex_unlock(&f->lock);
            if (fd >= 0) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            }
            if (fd >= 0 && (refuse || n == 2 + UNIT_FAULTY_CLIENTS)) {
                close(fd);
            }
            else if (fd >= 0) {
                fds[n++].fd = fd;
            }
        }
    }
    while (n > 2) {
        close(fds[--n].fd);
    }
    return NULL;
}

static inline void unit_faulty_answers(const unit_answers_t *answers)
{
    pthread_mutex_lock(&unit_faulty.lock);
    unit_faulty.answers = *answers;
    pthread_mutex_unlock(&unit_faulty.lock);
}

static inline int unit_faulty_rests(void)
{
    int rests;

    pthread_mutex_lock(&unit_faulty.lock);
    rests = !unit_faulty.is_answering;
    pthread_mutex_unlock(&unit_faulty.lock);
    return rests;
}

/* Lets time pass before and after each answer, also for threads that wait for it. What was to pass
 * before this call has passed at its end. */
static inline void unit_faulty_passes(int before, int after)
{
    pthread_mutex_lock(&unit_faulty.lock);
    unit_faulty.before = before;
    unit_faulty.after = after;
    pthread_mutex_unlock(&unit_faulty.lock);
    unit_await(unit_faulty_rests());
}

static inline void unit_faulty_tells(const char *stats)
{
    pthread_mutex_lock(&unit_faulty.lock);
    unit_faulty.stats = stats;
    pthread_mutex_unlock(&unit_faulty.lock);
}

static inline int unit_faulty_accepted(void)
{
    int n;

    pthread_mutex_lock(&unit_faulty.lock);
    n = unit_faulty.accepted;
    pthread_mutex_unlock(&unit_faulty.lock);
    return n;
}

static inline int unit_faulty_asked(void)
{
    int n;

    pthread_mutex_lock(&unit_faulty.lock);
    n = unit_faulty.asked;
    pthread_mutex_unlock(&unit_faulty.lock);
    return n;
}

/* Starts the server, once for each test; returns its port. */
static inline int unit_faulty_start(const unit_answers_t *answers)
{
    unit_faulty_t *f = &unit_faulty;
    unit_address_t address;
    socklen_t len = unit_address(&address, AF_INET, 0, NULL);

    memset(f, 0, sizeof(*f));
    pthread_mutex_init(&f->lock, NULL);
    f->answers = *answers;
    assert_int_equal(pipe2(f->stop, O_CLOEXEC), 0);
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(f->listener >= 0);
    assert_int_equal(bind(f->listener, &address.sa, len), 0);
    assert_int_equal(listen(f->listener, 32), 0);
    assert_int_equal(getsockname(f->listener, &address.sa, &len), 0);
    f->port = ntohs(address.in.sin_port);
    assert_int_equal(pthread_create(&f->thread, NULL, unit_faulty_main, f), 0);
    f->running = 1;
    return f->port;
}

static inline void unit_faulty_stop(void)
{
    unit_faulty_t *f = &unit_faulty;

    if (f->running) {
        (void)!write(f->stop[1], "x", 1);
        pthread_join(f->thread, NULL);
        close(f->stop[0]);
        close(f->stop[1]);
        close(f->listener);
        pthread_mutex_destroy(&f->lock);
        f->running = 0;
    }
}

/* -- After a test ------------------------------------------------------------------------------ */

static inline void unit_servers_stop(void)
{
    while (unit_memcacheds_n > 0) {
        unit_memcached_kill(&unit_memcacheds[--unit_memcacheds_n]);
    }
    unit_faulty_stop();
    unit_dir_close();
}

#endif
