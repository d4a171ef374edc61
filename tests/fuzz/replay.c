// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Runs a target once over each file of the folders (or files) given, in place of libFuzzer: what
 * was found before stays mended, with any compiler. A belief that fails or a sanitizer ends it; the
 * last name printed is the culprit.
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "base/io.h"

#include "when/zone.h"

#include "tests/fuzz/fuzz.h"

#include "base/banned.h"

#define INPUT_MAX (1 << 20)

/* CPU time of a single input, and whose. */
static clock_t slowest;
static char slowest_path[512];

static void
run_file(const char *path)
{
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;
	uint8_t *exact;
	clock_t begun;

	if (io_read_file(path, INPUT_MAX, &b, &e) < 0) {
		fprintf(stderr, "%s: %s\n", path, e.message);
		exit(2);
	}
	exact = xmalloc(b.n ? b.n : 1); /* so that a sanitizer sees a read beyond the end */
	if (b.n)
		memcpy(exact, b.p, b.n);
	begun = clock();
	LLVMFuzzerTestOneInput(exact, b.n);
	if (clock() - begun > slowest) {
		slowest = clock() - begun;
		snprintf(slowest_path, sizeof(slowest_path), "%s", path);
	}
	free(exact);
}

static int
run(const char *path)
{
	struct stat st;
	struct dirent *d;
	DIR *dir = NULL;
	int n = 0;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		dir = opendir(path);
	if (!dir) {
		printf("%s\n", path);
		run_file(path);
		return 1;
	}
	while ((d = readdir(dir))) {
		char file[512];

		if (d->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, d->d_name);
		n += run(file);
	}
	closedir(dir);
	return n;
}

int
main(int argc, char **argv)
{
	int n = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++)
		n += run(argv[i]);
	zone_fini();
	printf("%d inputs, the slowest %.3f s of CPU: %s\n", n, (double)slowest / CLOCKS_PER_SEC,
	    slowest_path);
	return n ? 0 : 2;
}
