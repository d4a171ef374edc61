/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: The Takt authors */
/*
 * The plugin ABI of Takt, version 1.0. This is the only header that a plugin needs; it compiles as
 * C11 and C++17 and links no library of Takt.
 *
 * A plugin is a shared object that exports exactly one data symbol, `takt_plugin_entry_1`
 * (use TAKT_PLUGIN). Its task types are run in a process of their own, one process per unit (a
 * device, or no target): run() is plain blocking code for one target; when it returns, the
 * process ends and everything it started is killed.
 *
 * Compatibility. The host reads magic, struct_size, abi_major, abi_minor and need_minor and
 * nothing else before it has decided:
 *   magic differs                      -> refused
 *   abi_major differs from the host's  -> refused
 *   need_minor greater than the host's minor -> refused
 *   struct_size smaller than this major's first layout -> refused
 * Within major 1 structures only grow at their end; struct_size tells what is present (TAKT_HAS).
 * Growth beyond that is a named extension, `takt.NAME/REV`, asked for at run time.
 *
 * Memory. Pointers given to a host function are borrowed until it returns. Pointers given by the
 * host stay valid until run() returns, unless said otherwise. Text is UTF-8 and carries its length.
 * Threads. Every host function may be called from any thread of the unit; run() is called once.
 * JSON crosses as text; no type of another library crosses this line.
 */
/* The columns are laid by hand: people read this as the manual. */
/* clang-format off */
#ifndef TAKT_PLUGIN_H
#define TAKT_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TAKT_PLUGIN_MAGIC 0x4b415454u /* "TTAK" in memory on little-endian machines */
#define TAKT_ABI_MAJOR 1u
#define TAKT_ABI_MINOR 0u
/* Lower it (before the include) only if every newer field is guarded with TAKT_HAS. */
#ifndef TAKT_ABI_NEED_MINOR
#define TAKT_ABI_NEED_MINOR TAKT_ABI_MINOR
#endif

/* True if structure *p is new enough to hold member m and m is set. */
#define TAKT_HAS(p, m) \
	((p)->struct_size >= offsetof(__typeof__(*(p)), m) + sizeof((p)->m) && (p)->m)

typedef struct takt_str {
	const char *p; /* not NUL-terminated unless said so; may be NULL when n is 0 */
	size_t n;
} takt_str;

/* Return codes. An int32_t, never a C enum: the width of an enum is not part of an ABI. */
typedef int32_t takt_rc;
#define TAKT_OK 0
#define TAKT_SKIPPED 1            /* nothing to do; counts as passed */
/* -100..-199: may pass when tried again */
#define TAKT_E_TRANSIENT (-100)
#define TAKT_E_TIMEOUT (-101)
#define TAKT_E_UNREACHABLE (-102) /* also feeds the circuit breaker */
#define TAKT_E_RATE_LIMITED (-103) /* takt_err.retry_after_ms is honoured */
/* -200..-299: will not pass when tried again; not retried unless the task says so */
#define TAKT_E_PERMANENT (-200)
#define TAKT_E_PARAMS (-201)
#define TAKT_E_AUTH (-202)        /* wrong secret or changed host key: retrying locks accounts */
#define TAKT_E_UNSUPPORTED (-203)
#define TAKT_E_CANCELLED (-300)
#define TAKT_E_INTERNAL (-400)    /* a defect of the plugin; a crash maps here too */

/* Log levels are syslog's (RFC 5424, table 2). */
#define TAKT_LOG_ERROR 3
#define TAKT_LOG_WARNING 4
#define TAKT_LOG_NOTICE 5
#define TAKT_LOG_INFO 6
#define TAKT_LOG_DEBUG 7

/* What a task type needs. An unknown bit is refused. */
#define TAKT_CAP_NET UINT64_C(0x01)       /* opens network connections */
#define TAKT_CAP_SECRETS UINT64_C(0x02)   /* asks for a credential */
#define TAKT_CAP_EXEC UINT64_C(0x04)      /* starts programs */
#define TAKT_CAP_ARTIFACTS UINT64_C(0x08) /* produces artifacts */
#define TAKT_CAP_CHANGES UINT64_C(0x20)   /* may change devices */

/* One unit per device of the target, or one unit without a target. */
#define TAKT_TARGETS_NONE 0u
#define TAKT_TARGETS_EACH 1u

/* What becomes of an attempt whose process was lost (its keeper gone without a result). */
#define TAKT_RECOVERY_RERUN 0u /* a new attempt, within the retry limit */
#define TAKT_RECOVERY_FAIL 1u  /* the run fails: at most one start per attempt */

/* Why a unit failed. struct_size = sizeof(takt_err) of the plugin's build. */
typedef struct takt_err {
	uint32_t struct_size;
	takt_rc rc;
	takt_str code;        /* stable slug, e.g. "ssh.host_key_changed"; [a-z0-9_.], at most 64 */
	takt_str message;     /* for people; never a secret; at most 2 KiB, longer is cut */
	takt_str hint;        /* what to do about it; may be empty */
	takt_str breaker_key; /* e.g. "dev:core-rtr-01"; may be empty */
	uint32_t retry_after_ms; /* 0: none */
	uint32_t reserved;
} takt_err;

typedef struct takt_ctx takt_ctx; /* opaque; one per unit; dies with run() */

typedef struct takt_host {
	uint32_t struct_size;
	uint16_t abi_major, abi_minor;
	takt_str version; /* of Takt */

	/* A line of the unit's log, stamped by the host. Control characters are escaped. */
	void (*log)(takt_ctx *, int32_t level, takt_str line);
	/* done of total (total 0: unknown); label at most 120 bytes. At most 2/s are passed on. */
	void (*progress)(takt_ctx *, uint64_t done, uint64_t total, takt_str label);
	/* Non-zero once the unit was asked to stop. Async-signal-safe. */
	int32_t (*is_cancelled)(takt_ctx *);
	/* A descriptor that becomes readable when the unit is asked to stop; never read or close it. */
	int32_t (*cancel_fd)(takt_ctx *);
	/* Milliseconds until the unit is killed; -1: no deadline. */
	int64_t (*deadline_ms)(takt_ctx *);
	/* {"run":uuid,"task":uuid|null,"attempt":1.., "epoch":1.., "unit":0..}: run and unit make an
	 * idempotency key, epoch is a fencing token. */
	takt_str (*identity_json)(takt_ctx *);
	/* {"id":uuid,"name":…,"address":…,"port":…,"platform":…}; empty if there is no target. */
	takt_str (*target_json)(takt_ctx *);
	/* A result body of its own (a configuration, a report), at most 16 MiB per artifact and 16 per
	 * unit. kind: [a-z0-9_.-], at most 64; meta_json: an object or empty. is_secret: stored sealed
	 * and never shown by the API. */
	takt_rc (*artifact)(takt_ctx *, takt_str kind, takt_str meta_json, const void *body, size_t n,
	    int32_t is_secret);
	/* A fact for the run's timeline. type: [a-z0-9_], at most 64; severity is a log level. */
	takt_rc (*emit)(takt_ctx *, takt_str type, int32_t severity, takt_str data_json);
	/* The unit's result document, an object of at most 32 KiB; the last call wins. */
	takt_rc (*result)(takt_ctx *, takt_str result_json);
	/* A member of the credential bound to the target: "username", "password", "private_key",
	 * "passphrase", "enable". NUL-terminated; NULL if absent. Wiped when run() returns. */
	const char *(*secret)(takt_ctx *, const char *name, size_t *n);
	/* Records why the unit failed and returns err->rc, for `return host->fail(ctx, &err)`. */
	takt_rc (*fail)(takt_ctx *, const takt_err *err);
	/* "takt.ssh/1" -> const takt_ssh_1 * (takt/ssh.h); NULL if the host does not have it. */
	const void *(*get_extension)(takt_ctx *, const char *id);
} takt_host;

typedef struct takt_task_type {
	uint32_t struct_size;
	uint32_t targets;          /* TAKT_TARGETS_* */
	uint64_t caps;             /* TAKT_CAP_* */
	const char *id;            /* [a-z][a-z0-9_]{0,31}, or reverse-DNS for third parties; at most 64 */
	const char *version;
	const char *title;
	const char *summary;
	const char *params_schema; /* JSON Schema (draft-07 subset, lib/schema/README.md), an object */
	uint32_t default_timeout_s;     /* per attempt, 1..604800 */
	uint32_t default_max_retries;   /* after the first attempt, 0..100 */
	uint32_t default_retry_delay_s; /* 0..86400 */
	uint32_t recovery;              /* TAKT_RECOVERY_* */
	/* Do the work for one target. params_json is the task's `parameters`. */
	takt_rc (*run)(const takt_host *, takt_ctx *, takt_str params_json);
} takt_task_type;

typedef struct takt_plugin_entry {
	uint32_t magic;
	uint32_t struct_size;
	uint16_t abi_major, abi_minor, need_minor, reserved;
	const char *name; /* of the plugin: [a-z][a-z0-9_-]{0,63} */
	const char *version;
	const char *vendor;
	const char *license;
	const takt_task_type *const *types; /* NULL-terminated, at most 32 */
} takt_plugin_entry;

#ifdef __cplusplus
#define TAKT_EXTERN_C_ extern "C"
#else
#define TAKT_EXTERN_C_ extern
#endif

#define TAKT_STRINGIFY_(x) #x
#define TAKT_STRINGIFY(x) TAKT_STRINGIFY_(x)

/*
 * Defines the entry, and writes the identity into the ELF note section .note.takt (owner "Takt",
 * type 1, text "abi=1.0 name=… version=…") so that it can be read without running code of the plugin.
 */
#define TAKT_PLUGIN(name_, version_, vendor_, license_, types_)                                     \
	__asm__(".pushsection .note.takt,\"a\",%note\n\t.balign 4\n\t.long 5, 2f-1f, 1\n\t"         \
		".asciz \"Takt\"\n\t.balign 4\n1:\t.asciz \"abi=" TAKT_STRINGIFY(TAKT_ABI_MAJOR_)   \
		"." TAKT_STRINGIFY(TAKT_ABI_MINOR_) " name=" name_ " version=" version_             \
		"\"\n2:\t.balign 4\n\t.popsection\n");                                              \
	TAKT_EXTERN_C_ __attribute__((visibility("default")))                                       \
	const takt_plugin_entry takt_plugin_entry_1;                                                \
	const takt_plugin_entry takt_plugin_entry_1 = { TAKT_PLUGIN_MAGIC,                          \
		(uint32_t)sizeof(takt_plugin_entry), TAKT_ABI_MAJOR, TAKT_ABI_MINOR,                \
		TAKT_ABI_NEED_MINOR, 0, name_, version_, vendor_, license_, types_ }
/* The numbers above without their suffix, for the note. */
#define TAKT_ABI_MAJOR_ 1
#define TAKT_ABI_MINOR_ 0

#if defined(__LP64__) && !defined(TAKT_NO_LAYOUT_CHECK)
#ifdef __cplusplus
#define TAKT_ASSERT_(e) static_assert(e, "Takt ABI layout")
#else
#define TAKT_ASSERT_(e) _Static_assert(e, "Takt ABI layout")
#endif
TAKT_ASSERT_(sizeof(takt_str) == 16);
TAKT_ASSERT_(offsetof(takt_err, code) == 8 && offsetof(takt_err, retry_after_ms) == 72);
TAKT_ASSERT_(sizeof(takt_err) == 80);
TAKT_ASSERT_(offsetof(takt_host, version) == 8 && offsetof(takt_host, log) == 24);
TAKT_ASSERT_(offsetof(takt_host, identity_json) == 64 && offsetof(takt_host, secret) == 104);
TAKT_ASSERT_(offsetof(takt_host, get_extension) == 120 && sizeof(takt_host) == 128);
TAKT_ASSERT_(offsetof(takt_task_type, id) == 16 && offsetof(takt_task_type, run) == 72);
TAKT_ASSERT_(sizeof(takt_task_type) == 80);
TAKT_ASSERT_(offsetof(takt_plugin_entry, name) == 16 && offsetof(takt_plugin_entry, types) == 48);
TAKT_ASSERT_(sizeof(takt_plugin_entry) == 56);
#endif

#ifdef __cplusplus
}
#endif
#endif
