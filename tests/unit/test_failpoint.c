// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* lib/base/failpoint: what fires, when, once; what a loss of power takes. Nothing without the switch. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/io.h"
#include "base/log.h"

#ifdef HAVE_FAILPOINTS
#define SURVIVED 77

static char dir[64];

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/takt-failpoint-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
	static const char *const names[] = {"keeper.tell", "keeper.tell.count", "keeper.tell.arm",
	    "record.sent", "record.sent.count", "synced", "lost", "old", "new"};
	char path[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

/* The wait status of a process that runs f with these points. */
static int
in_child(const char *points, bool has_dir, void (*f)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		setenv("TAKT_FAILPOINTS", points, 1);
		if (has_dir)
			setenv("TAKT_FAILPOINTS_DIR", dir, 1);
		else
			unsetenv("TAKT_FAILPOINTS_DIR");
		close(STDERR_FILENO);
		open("/dev/null", O_WRONLY);
		f();
		_exit(SURVIVED);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return status;
}

static bool
exists(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static bool
is_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static bool
survives(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == SURVIVED;
}

static void
pass_twice(void)
{
	FAILPOINT("keeper.tell");
	failpoint_hit2("record", ".sent");
	FAILPOINT("keeper.tell");
}

static void
pass_once(void)
{
	FAILPOINT("keeper.tell");
}

static void
test_actions(void **state)
{
	(void)state;
	assert_true(survives(in_child("", false, pass_twice)));
	assert_true(is_killed(in_child("keeper.tell:crash", false, pass_once)));
	assert_true(survives(in_child("keeper.tell:crash:2", false, pass_once)));
	assert_true(
	    is_killed(in_child("record.sent:sleep=1,keeper.tell:crash:2", false, pass_twice)));
	assert_true(WIFSTOPPED(in_child("record.sent:stop", false, pass_twice)));
}

static void
test_a_typo_is_no_pass(void **state)
{
	static const char *const wrong[] = {"keeper.tel:crash", "keeper.tell", "keeper.tell:crush",
	    "keeper.tell:crash:0", "keeper.tell:crash:x"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		int status = in_child(wrong[i], false, pass_once);

		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	}
}

static void
test_once_over_all_processes(void **state)
{
	(void)state;
	/* The second passing of all, not of one process; and never again. */
	assert_true(survives(in_child("keeper.tell:crash:2", true, pass_once)));
	assert_false(exists("keeper.tell"));
	assert_true(is_killed(in_child("keeper.tell:crash:2", true, pass_once)));
	assert_true(exists("keeper.tell"));
	assert_true(survives(in_child("keeper.tell:crash:2", true, pass_twice)));
}

static void
test_armed_by_a_file(void **state)
{
	_cleanup_fd_ int dfd = open(dir, O_RDONLY | O_DIRECTORY);

	(void)state;
	assert_int_equal(io_replace_file(dfd, "keeper.tell.arm", "crash:2\n", 8, 0600, NULL), 0);
	assert_true(survives(in_child("", true, pass_once)));
	assert_true(exists("keeper.tell.arm"));
	assert_true(is_killed(in_child("", true, pass_once)));
	assert_false(exists("keeper.tell.arm"));
	assert_true(exists("keeper.tell"));
	assert_true(survives(in_child("", true, pass_twice)));
}

static int
create(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		_exit(1);
	FAILPOINT_FILE(fd);
	return fd;
}

static void
write_and_lose(void)
{
	int dfd = open(dir, O_RDONLY | O_DIRECTORY), synced = create("synced"),
	    lost = create("lost");

	io_write_all(synced, "1234", 4);
	io_sync(synced);
	io_write_all(synced, "56", 2);
	io_write_all(lost, "1234", 4);
	close(synced);
	close(create("old"));
	io_rename(dfd, "old", "new");
	FAILPOINT("keeper.tell");
}

static void
test_power_loss(void **state)
{
	char path[128];
	struct stat st;

	(void)state;
	assert_true(is_killed(in_child("keeper.tell:powerloss", false, write_and_lose)));
	snprintf(path, sizeof(path), "%s/synced", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 4);
	snprintf(path, sizeof(path), "%s/lost", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_true(exists("old"));
	assert_false(exists("new"));
}

static void
rename_and_sync(void)
{
	int dfd = open(dir, O_RDONLY | O_DIRECTORY), fd = create("old");

	io_write_all(fd, "1234", 4);
	io_sync(fd);
	io_rename(dfd, "old", "new");
	io_sync(dfd);
	FAILPOINT("keeper.tell");
}

static void
test_what_is_synced_stays(void **state)
{
	(void)state;
	assert_true(is_killed(in_child("keeper.tell:powerloss", false, rename_and_sync)));
	assert_true(exists("new"));
	assert_false(exists("old"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_actions, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_typo_is_no_pass, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_once_over_all_processes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_armed_by_a_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_power_loss, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_is_synced_stays, setup, teardown),
	};

	log_init("test", LOG_ERROR, LOG_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
/* The switch is off: a point is no call, and its name is not in the program. */
static void
test_nothing_is_left(void **state)
{
	_cleanup_buf_ struct buf self = {0};
	/* In two halves, so that the test itself does not hold what it looks for. */
	char name[32], armed[48];

	(void)state;
	snprintf(name, sizeof(name), "%s%s", "keeper", ".tell");
	snprintf(armed, sizeof(armed), "%s:crash", name);
	setenv("TAKT_FAILPOINTS", armed, 1);
	FAILPOINT("keeper.tell");
	assert_int_equal(io_read_file("/proc/self/exe", 64 << 20, &self, NULL), 0);
	assert_null(memmem(self.p, self.n, name, strlen(name)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_left)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
