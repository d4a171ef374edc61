// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See loader.h. */
#include "executor/loader.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/jsonx.h"

#include "base/banned.h"

#define ENTRY_SYMBOL "takt_plugin_entry_1"
#define TYPES_MAX 32

static int
digest_fd(int fd, char *digest, struct err *e)
{
	crypto_hash_sha256_state st;
	unsigned char buf[32768], hash[crypto_hash_sha256_BYTES];
	ssize_t n;

	crypto_hash_sha256_init(&st);
	while ((n = read(fd, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read");
		crypto_hash_sha256_update(&st, buf, (size_t)n);
	}
	crypto_hash_sha256_final(&st, hash);
	sodium_bin2hex(digest, LOADER_DIGEST_LEN + 1, hash, sizeof(hash));
	return 0;
}

int
loader_check_file(const char *path, char digest[LOADER_DIGEST_LEN + 1], struct err *e)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "cannot be opened");
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_DENIED, "not a regular file");
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return err_set(
		    e, ERR_DENIED, "owner is uid %u, must be root or uid %u", st.st_uid, geteuid());
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(e, ERR_DENIED,
		    "mode %04o lets group or others write, must be at most 0755 (chmod go-w)",
		    st.st_mode & 07777);
	if (st.st_size > (off_t)LOADER_FILE_MAX)
		return err_set(e, ERR_TOO_BIG, "%lld bytes, at most %u are allowed",
		    (long long)st.st_size, LOADER_FILE_MAX);
	if (digest_fd(fd, digest, e) < 0)
		return -e->code;
	return take_fd(&fd);
}

/* Header first, in this order: nothing behind it is read before it fits. */
static int
check_header(const takt_plugin_entry *p, struct err *e)
{
	if (p->magic != TAKT_PLUGIN_MAGIC)
		return err_set(e, ERR_INVALID, "magic 0x%08x, this Takt has 0x%08x", p->magic,
		    TAKT_PLUGIN_MAGIC);
	if (p->abi_major != TAKT_ABI_MAJOR)
		return err_set(
		    e, ERR_INVALID, "abi_major %u, this Takt has %u", p->abi_major, TAKT_ABI_MAJOR);
	if (p->need_minor > TAKT_ABI_MINOR)
		return err_set(e, ERR_INVALID, "need_minor %u, this Takt has %u", p->need_minor,
		    TAKT_ABI_MINOR);
	if (p->struct_size < sizeof(*p))
		return err_set(e, ERR_INVALID, "struct_size %u, this Takt has %zu", p->struct_size,
		    sizeof(*p));
	return 0;
}

const takt_plugin_entry *
loader_open(int fd, struct err *e)
{
	const takt_plugin_entry *entry;
	char path[32];
	void *lib;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		const char *why = dlerror();
		size_t n = strlen(path);

		err_set(e, ERR_INVALID, "cannot be loaded: %s",
		    strncmp(why, path, n) == 0 && why[n] == ':' ? why + n + 2 : why);
		return NULL;
	}
	entry = dlsym(lib, ENTRY_SYMBOL);
	if (!entry) {
		err_set(e, ERR_INVALID,
		    "exports no symbol %s, not a plugin of Takt (TAKT_PLUGIN defines it)",
		    ENTRY_SYMBOL);
		return NULL;
	}
	/* Never closed: a process that loaded a plugin ends with it. */
	return check_header(entry, e) < 0 ? NULL : entry;
}

static int
check_slug(const char *what, const char *s, const char *allowed, size_t max, struct err *e)
{
	if (!s || !*s)
		return err_set(e, ERR_INVALID, "%s is missing", what);
	if (!(s[0] >= 'a' && s[0] <= 'z') || strlen(s) > max || s[strspn(s, allowed)])
		return err_set(e, ERR_INVALID,
		    "%s '%.80s' must start with a lower-case letter, hold only %s, at most %zu "
		    "bytes",
		    what, s, allowed, max);
	return 0;
}

static int
check_range(
    const char *type, const char *what, uint32_t v, uint32_t min, uint32_t max, struct err *e)
{
	if (v < min || v > max)
		return err_set(e, ERR_INVALID, "%s of task type %s is %u, %u to %u are allowed",
		    what, type, v, min, max);
	return 0;
}

static int
check_type(const takt_task_type *t, struct err *e)
{
	const uint64_t known =
	    TAKT_CAP_NET | TAKT_CAP_SECRETS | TAKT_CAP_EXEC | TAKT_CAP_ARTIFACTS | TAKT_CAP_CHANGES;
	int r;

	if (t->struct_size < sizeof(*t))
		return err_set(e, ERR_INVALID,
		    "struct_size of a task type is %u, this Takt has %zu", t->struct_size,
		    sizeof(*t));
	r = check_slug("task type id", t->id, "abcdefghijklmnopqrstuvwxyz0123456789_.-", 64, e);
	if (r < 0)
		return r;
	if (!t->run)
		return err_set(e, ERR_INVALID, "task type %s has no run function", t->id);
	if (t->caps & ~known)
		return err_set(e, ERR_INVALID,
		    "caps of task type %s are 0x%llx, this Takt knows 0x%llx", t->id,
		    (unsigned long long)t->caps, (unsigned long long)known);
	r = check_range(t->id, "targets", t->targets, 0, TAKT_TARGETS_EACH, e);
	if (!r)
		r = check_range(t->id, "recovery", t->recovery, 0, TAKT_RECOVERY_FAIL, e);
	if (!r)
		r = check_range(t->id, "default_timeout_s", t->default_timeout_s, 1, 604800, e);
	if (!r)
		r = check_range(t->id, "default_max_retries", t->default_max_retries, 0, 100, e);
	if (!r)
		r = check_range(
		    t->id, "default_retry_delay_s", t->default_retry_delay_s, 0, 86400, e);
	return r;
}

static json_t *
describe_caps(uint64_t caps)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} names[] = {{TAKT_CAP_NET, "net"}, {TAKT_CAP_SECRETS, "secrets"}, {TAKT_CAP_EXEC, "exec"},
	    {TAKT_CAP_ARTIFACTS, "artifacts"}, {TAKT_CAP_CHANGES, "changes"}};
	json_t *a = json_array();

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (caps & names[i].bit)
			json_array_append_new(a, json_string(names[i].name));
	return a;
}

static json_t *
describe_type(const takt_task_type *t, struct err *e)
{
	const char *text = t->params_schema ? t->params_schema : "{}";
	json_t *schema, *j;

	if (check_type(t, e) < 0)
		return NULL;
	schema = json_parse(text, strlen(text), &json_limits_request, e);
	if (!schema || !json_is_object(schema)) {
		if (schema)
			err_set(e, ERR_INVALID, "not an object");
		err_push(e, "params_schema of task type %s", t->id);
		json_decref(schema);
		return NULL;
	}
	j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:s}", "id", t->id,
	    "version", t->version ? t->version : "", "title", t->title ? t->title : t->id,
	    "summary", t->summary ? t->summary : "", "targets",
	    t->targets == TAKT_TARGETS_EACH ? "each" : "none", "caps", describe_caps(t->caps),
	    "params_schema", schema, "default_timeout_s", (json_int_t)t->default_timeout_s,
	    "default_max_retries", (json_int_t)t->default_max_retries, "default_retry_delay_s",
	    (json_int_t)t->default_retry_delay_s, "recovery",
	    t->recovery == TAKT_RECOVERY_FAIL ? "fail" : "rerun");
	if (!j)
		err_set(e, ERR_INVALID, "texts of task type %s are not UTF-8", t->id);
	return j;
}

json_t *
loader_describe(const takt_plugin_entry *p, struct err *e)
{
	_cleanup_json_ json_t *types = json_array(), *out = NULL;
	char abi[32];

	if (check_slug("plugin name", p->name, "abcdefghijklmnopqrstuvwxyz0123456789_-", 64, e) < 0)
		return NULL;
	if (!p->types || !p->types[0]) {
		err_set(e, ERR_INVALID, "plugin %s has no task types", p->name);
		return NULL;
	}
	for (size_t i = 0; p->types[i]; i++) {
		json_t *t;

		if (i == TYPES_MAX) {
			err_set(e, ERR_INVALID, "more than %d task types", TYPES_MAX);
			return NULL;
		}
		t = describe_type(p->types[i], e);
		if (!t)
			return NULL;
		json_array_append_new(types, t);
	}
	snprintf(abi, sizeof(abi), "%u.%u", p->abi_major, p->abi_minor);
	out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:O}", "name", p->name, "version",
	    p->version ? p->version : "", "vendor", p->vendor ? p->vendor : "", "license",
	    p->license ? p->license : "", "abi", abi, "types", types);
	if (!out)
		err_set(e, ERR_INVALID, "name, version, vendor or license is not UTF-8");
	return take_ptr(&out);
}

const takt_task_type *
loader_type(const takt_plugin_entry *p, const char *id)
{
	for (size_t i = 0; p->types && p->types[i] && i < TYPES_MAX; i++)
		if (!strcmp(p->types[i]->id, id))
			return p->types[i];
	return NULL;
}

bool
loader_has_devices(const takt_plugin_entry *entry)
{
	for (size_t i = 0; entry->types && entry->types[i] && i < TYPES_MAX; i++)
		if (entry->types[i]->targets == TAKT_TARGETS_EACH)
			return true;
	return false;
}
