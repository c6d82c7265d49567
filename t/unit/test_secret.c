/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Secrets: where they come from, what is refused, and the keys that are made from them. */

#include "unit.h"

#include <signal.h>
#include <sys/stat.h>

#include "base/secret.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define WAIT apr_time_from_sec(20)

static char dir[64];

static int setup(void **state)
{
    strcpy(dir, "/tmp/memsess-secret-XXXXXX");
    return mkdtemp(dir) ? unit_setup(state) : -1;
}

static int teardown(void **state)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command) ? -1 : unit_teardown(state);
}

#define SECRET_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static const char *make_file(const char *name, const void *data, size_t len, mode_t mode)
{
    const char *path = apr_pstrcat(unit_pool, dir, "/", name, NULL);
    FILE *file;

    unlink(path); /* not even the owner may be allowed to write to it */
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

/* "file:" and the path of a file with this text. */
static const char *a_file(const char *text, mode_t mode)
{
    return apr_pstrcat(unit_pool, "file:", make_file("secret", text, strlen(text), mode), NULL);
}

/* "exec:" and the path of a shell script with this text. */
static const char *a_program(const char *script)
{
    const char *text = apr_pstrcat(unit_pool, "#!/bin/sh\n", script, "\n", NULL);

    return apr_pstrcat(unit_pool, "exec:", make_file("program", text, strlen(text), 0700), NULL);
}

static void assert_refused(const char *source, apr_interval_time_t wait, const char *why)
{
    memsess_raw_secret_t raw;
    const char *error = memsess_secret_read(source, wait, &raw, unit_pool);
    size_t i;

    assert_non_null(error);
    if (!strstr(error, why)) {
        print_error("%s: %s\n", source, error);
    }
    assert_non_null(strstr(error, why));
    for (i = 0; i < sizeof(raw.bytes); i++) {
        assert_int_equal(raw.bytes[i], 0);
    }
}

static void assert_read(const char *source, const char *expected)
{
    memsess_raw_secret_t raw;
    const char *error = memsess_secret_read(source, WAIT, &raw, unit_pool);

    if (error) {
        print_error("%s: %s\n", source, error);
    }
    assert_null(error);
    assert_int_equal(raw.len, strlen(expected));
    assert_memory_equal(raw.bytes, expected, raw.len);
}

static void test_syntax(void **state)
{
    static const char *const good[] = {"file:/a", "exec:/a", "FILE:/a", "exec:/a b c", "file:/a b"};
    static const char *const bad[] = {"", "file", "file:", "exec:", "file:a", "exec:a", "/a",
                                      "http:/a", "file:~/a", "fil:/a", SECRET};
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(good); i++) {
        assert_null(memsess_secret_syntax(good[i]));
    }
    for (i = 0; i < COUNT(bad); i++) {
        assert_non_null(memsess_secret_syntax(bad[i]));
    }
}

static void test_files(void **state)
{
    static const char *const ends[] = {"", "\n", "\r\n", "\n\n"};
    char largest[MEMSESS_SECRET_MOST + 2], binary[40];
    memsess_raw_secret_t raw;
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(ends); i++) {
        assert_read(a_file(apr_pstrcat(unit_pool, SECRET, ends[i], NULL), 0600), SECRET);
    }
    assert_read(a_file(SECRET, 0640), SECRET);
    assert_read(a_file("\n" SECRET " \n", 0400), "\n" SECRET " ");

    memset(largest, 's', sizeof(largest));
    largest[MEMSESS_SECRET_MOST] = '\0';
    assert_read(a_file(largest, 0600), largest);
    largest[MEMSESS_SECRET_MOST] = '\n';
    largest[MEMSESS_SECRET_MOST + 1] = '\0';
    assert_null(memsess_secret_read(a_file(largest, 0600), WAIT, &raw, unit_pool));
    assert_int_equal(raw.len, MEMSESS_SECRET_MOST);

    /* Any bytes are accepted. */
    memset(binary, 0, sizeof(binary));
    make_file("secret", binary, sizeof(binary), 0600);
    assert_null(memsess_secret_read(apr_pstrcat(unit_pool, "file:", dir, "/secret", NULL), WAIT,
                                    &raw, unit_pool));
    assert_int_equal(raw.len, sizeof(binary));
}

static void test_files_refused(void **state)
{
    static const mode_t open_modes[] = {0644, 0604, 0602, 0666, 0444};
    char large[MEMSESS_SECRET_MOST + 2];
    const char *fifo;
    unsigned i;

    (void)state;
    assert_refused(apr_pstrcat(unit_pool, "file:", dir, "/none", NULL), WAIT, "does not exist");
    assert_refused(apr_pstrcat(unit_pool, "file:", dir, NULL), WAIT, "directory");
    assert_refused(a_file("", 0600), WAIT, "nothing");
    assert_refused(a_file("\n\r\n", 0600), WAIT, "nothing");
    assert_refused(a_file("0123456789abcdef0123456789abcde", 0600), WAIT, "31 bytes");
    assert_refused(a_file("0123456789abcdef0123456789abcde\n\n\n", 0600), WAIT, "short");
    for (i = 0; i < COUNT(open_modes); i++) {
        assert_refused(a_file(SECRET, open_modes[i]), WAIT, "chmod");
        unlink(apr_pstrcat(unit_pool, dir, "/secret", NULL));
    }
    memset(large, 's', sizeof(large));
    large[MEMSESS_SECRET_MOST + 1] = '\0';
    assert_refused(a_file(large, 0600), WAIT, "more than 4096");
    fifo = apr_pstrcat(unit_pool, dir, "/fifo", NULL);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_refused(apr_pstrcat(unit_pool, "file:", fifo, NULL), WAIT, "regular");
    if (geteuid() != 0) {
        assert_refused(a_file(SECRET, 0), WAIT, "root");
    }
}

static void test_programs(void **state)
{
    (void)state;
    assert_read(a_program("echo " SECRET), SECRET);
    assert_read(a_program("printf %s " SECRET), SECRET);
    assert_read(a_program("echo 0123456789abcdef; sleep 0.1; echo 0123456789abcdef"),
                "0123456789abcdef\n0123456789abcdef");
    assert_read(apr_pstrcat(unit_pool, a_program("echo \"$1-$2-" SECRET "\""), " one 'two words'",
                            NULL), "one-two words-" SECRET);
    /* A program's input is empty, so it does not wait. */
    assert_read(a_program("cat; echo " SECRET), SECRET);
}

static void test_programs_refused(void **state)
{
    (void)state;
    assert_refused(apr_pstrcat(unit_pool, "exec:", dir, "/none", NULL), WAIT, "cannot be run");
    assert_refused(apr_pstrcat(unit_pool, "exec:", dir, NULL), WAIT, "executable");
    assert_refused(apr_pstrcat(unit_pool, "exec", a_file(SECRET, 0600) + 4, NULL), WAIT,
                   "chmod +x");
    assert_refused(a_program("echo " SECRET "; exit 3"), WAIT, "status 3");
    assert_refused(a_program("echo " SECRET "; kill -9 $$"), WAIT, "signal 9");
    assert_refused(a_program("exit 0"), WAIT, "printed nothing");
    assert_refused(a_program("echo short"), WAIT, "5 bytes");
    assert_refused(a_program("yes " SECRET), WAIT, "more than 4096");
    assert_refused(apr_pstrcat(unit_pool, "exec:",
                               make_file("garbage", "\177ELF nonsense", 13, 0700), NULL), WAIT,
                   "cannot be run");
}

/* They are ended in time, with the processes that they started. */
static void test_programs_that_hang(void **state)
{
    static const char *const scripts[] = {
        "exec sleep 1000", "exec >&-; exec sleep 1000",
        "trap '' TERM; sleep 1000 & echo $! >$0.pid; wait"};
    char text[32] = "";
    apr_time_t begun;
    unsigned i;
    FILE *file;

    (void)state;
    for (i = 0; i < COUNT(scripts); i++) {
        begun = apr_time_now();
        assert_refused(a_program(scripts[i]), apr_time_from_msec(500), "did not end within 500 ms");
        assert_true(apr_time_now() - begun < apr_time_from_sec(10));
    }
    file = fopen(apr_pstrcat(unit_pool, dir, "/program.pid", NULL), "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    for (i = 0; kill(atoi(text), 0) == 0 && i < 1000; i++) {
        char state_of[64] = "", path[64];

        snprintf(path, sizeof(path), "/proc/%d/stat", atoi(text));
        file = fopen(path, "r");
        if (file) {
            assert_true(fread(state_of, 1, sizeof(state_of) - 1, file) > 0);
            fclose(file);
            /* A zombie that its parent has not reaped yet counts as gone. */
            if (strstr(state_of, ") Z")) {
                break;
            }
        }
        apr_sleep(apr_time_from_msec(10));
    }
    assert_true(i < 1000);
}

/* -- Keys -------------------------------------------------------------------------------------- */

static memsess_secrets_t *keys_of(const char *secret, const char *ns)
{
    memsess_secrets_t *secrets = memsess_secrets_make(unit_pool);
    memsess_raw_secret_t raw;

    raw.len = strlen(secret);
    memcpy(raw.bytes, secret, raw.len);
    assert_int_equal(memsess_secrets_add(secrets, &raw, ns), APR_SUCCESS);
    return secrets;
}

static void test_no_key_serves_two(void **state)
{
    const memsess_secret_t *all[] = {
        &keys_of(SECRET, "")->secret[0], &keys_of(SECRET, "a")->secret[0],
        &keys_of(SECRET "x", "")->secret[0], &keys_of(SECRET "x", "a")->secret[0]};
    const memsess_secret_t *again = &keys_of(SECRET, "a")->secret[0];
    unsigned i, j;

    (void)state;
    assert_memory_equal(all[1], again, sizeof(*again));
    for (i = 0; i < COUNT(all); i++) {
        assert_memory_not_equal(all[i]->cookie, all[i]->seal, sizeof(again->seal));
        for (j = 0; j < i; j++) {
            assert_memory_not_equal(all[i]->cookie, all[j]->cookie, sizeof(again->cookie));
            assert_memory_not_equal(all[i]->seal, all[j]->seal, sizeof(again->seal));
            assert_memory_not_equal(all[i]->id, all[j]->id, sizeof(again->id));
        }
    }
}

static void test_as_many_as_there_is_room_for(void **state)
{
    memsess_secrets_t *secrets = memsess_secrets_make(unit_pool);
    memsess_raw_secret_t raw = {.len = 32};
    unsigned i;

    (void)state;
    for (i = 0; i < MEMSESS_SECRETS_MAX; i++) {
        unit_secret_add(secrets, 's', "");
    }
    assert_int_not_equal(memsess_secrets_add(secrets, &raw, ""), APR_SUCCESS);
    assert_int_equal(secrets->n, MEMSESS_SECRETS_MAX);
}

static void look_cleansed(memsess_secrets_t *secrets)
{
    static const memsess_secrets_t zero;

    assert_memory_equal(secrets, &zero, sizeof(zero));
}

static memsess_secrets_t *watched;

static apr_status_t look(void *unused)
{
    (void)unused;
    look_cleansed(watched);
    watched = NULL;
    return APR_SUCCESS;
}

static void test_keys_go_with_the_configuration(void **state)
{
    apr_pool_t *outer = unit_pool;

    (void)state;
    apr_pool_create(&unit_pool, outer);
    /* Clean-ups run in reverse order, so this one runs last. */
    apr_pool_cleanup_register(unit_pool, NULL, look, apr_pool_cleanup_null);
    watched = keys_of(SECRET, "");
    assert_int_equal(watched->n, 1);
    apr_pool_destroy(unit_pool);
    unit_pool = outer;
    assert_null(watched);
}

static void test_rotations_are_noticed(void **state)
{
    static const char other[] = "another secret, of more than 32 bytes";
    memsess_secrets_t *one = keys_of(SECRET, ""), *two = keys_of(other, ""), both = *two;

    (void)state;
    both.secret[both.n++] = one->secret[0];
    assert_int_equal(memsess_secrets_compare(one, one), MEMSESS_SECRET_SAME);
    assert_int_equal(memsess_secrets_compare(one, keys_of(SECRET, "")), MEMSESS_SECRET_SAME);
    assert_int_equal(memsess_secrets_compare(one, &both), MEMSESS_SECRET_ROTATED);
    assert_int_equal(memsess_secrets_compare(&both, two), MEMSESS_SECRET_SAME);
    assert_int_equal(memsess_secrets_compare(two, one), MEMSESS_SECRET_REPLACED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SECRET_TEST(test_syntax),
        SECRET_TEST(test_files),
        SECRET_TEST(test_files_refused),
        SECRET_TEST(test_programs),
        SECRET_TEST(test_programs_refused),
        SECRET_TEST(test_programs_that_hang),
        SECRET_TEST(test_no_key_serves_two),
        SECRET_TEST(test_as_many_as_there_is_room_for),
        SECRET_TEST(test_keys_go_with_the_configuration),
        SECRET_TEST(test_rotations_are_noticed),
    };

    unit_begin();
    return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
