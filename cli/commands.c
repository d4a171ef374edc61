// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The command table; see command.h. */
#include "cli/command.h"

#include "cli/commands.h"
#include "cli/dev.h"

#include "base/banned.h"

const struct flag global_flags[] = {
    {"url", FLAG_STR, "URL", "where the daemon is (else TAKT_URL, else client.json of takt dev)"},
    {"token-file", FLAG_STR, "FILE", "a file with the token (else TAKT_TOKEN, else client.json)"},
    {"state", FLAG_STR, "DIR", "state directory of takt dev (else TAKT_STATE)"},
    {"output", FLAG_STR, "table|json", "tables for people or the API's JSON; also -o"},
    {"version", FLAG_BOOL, NULL, "print the version"},
    {"help", FLAG_BOOL, NULL, "print this; also -h"},
    {0},
};

static const struct flag flags_dev[] = {
    {"listen", FLAG_STR, "ADDR:PORT", "default 127.0.0.1:7420; port 0 picks a free one"},
    {"db", FLAG_STR, "CONNINFO", "use an existing PostgreSQL server, start none"},
    {"plugin-dir", FLAG_LIST, "DIR", "plugins to load; may be repeated"},
    {"platform-dir", FLAG_LIST, "DIR", "platform files; may be repeated"},
    {"log-level", FLAG_STR, "LEVEL", "error, warn, info or debug"},
    {0},
};
static const struct flag flags_task_list[] = {
    {"type", FLAG_STR, "TYPE", "only this task type"},
    {0},
};
static const struct flag flags_task_show[] = {
    {"source", FLAG_BOOL, NULL, "the bytes that were submitted, unchanged"},
    {0},
};
static const struct flag flags_task_run[] = {
    {"follow", FLAG_BOOL, NULL, "print events and output as they come, until the run ends"},
    {"wait", FLAG_BOOL, NULL, "wait silently until the run ends"},
    {"idempotency-key", FLAG_STR, "KEY", "the same key makes the same run, once"},
    {0},
};
static const struct flag flags_next[] = {
    {"count", FLAG_STR, "N", "how many times; default 5"},
    {0},
};
static const struct flag flags_run_list[] = {
    {"status", FLAG_LIST, "STATE", "only runs in this state, or live; may be repeated"},
    {"task", FLAG_STR, "TASK", "only runs of this task"},
    {"device", FLAG_STR, "DEVICE", "only runs that had this device as a target"},
    {"limit", FLAG_STR, "N", "at most so many; default 20"},
    {"from", FLAG_STR, "RFC3339", "only made at this time or later"},
    {"to", FLAG_STR, "RFC3339", "only made before this time"},
    {0},
};
static const struct flag flags_log[] = {
    {"unit", FLAG_STR, "N", "only this unit"},
    {"attempt", FLAG_STR, "N", "only this attempt"},
    {"offset", FLAG_STR, "N", "from this byte of a unit's output on; needs the other two"},
    {0},
};
static const struct flag flags_cancel[] = {
    {"reason", FLAG_STR, "TEXT", "why; shown in the timeline"},
    {0},
};
static const struct flag flags_hold[] = {
    {"reason", FLAG_STR, "TEXT", "why; needed"},
    {0},
};
static const struct flag flags_snapshot_list[] = {
    {"device", FLAG_STR, "DEVICE", "only of this device"},
    {"run", FLAG_STR, "RUN", "only of this run"},
    {"limit", FLAG_STR, "N", "at most so many; default 50"},
    {0},
};
static const struct flag flags_snapshot_show[] = {
    {"meta", FLAG_BOOL, NULL, "about the snapshot instead of its text"},
    {0},
};
static const struct flag flags_device[] = {
    {"file", FLAG_STR, "FILE|-", "a JSON document; the other flags override it"},
    {"id", FLAG_STR, "UUID", "your own id instead of a new one"},
    {"name", FLAG_STR, "NAME", "the (new) name"},
    {"address", FLAG_STR, "HOST", "host name or IP address"},
    {"port", FLAG_STR, "N", "SSH port; default 22"},
    {"platform", FLAG_STR, "NAME", "how to talk to it: takt platform list"},
    {"credential", FLAG_STR, "NAME", "how to log in"},
    {"host-key", FLAG_STR, "tofu|strict", "trust the first key seen (default) or only known ones"},
    {"group", FLAG_LIST, "NAME", "make it a member; may be repeated"},
    {0},
};
static const struct flag flags_group[] = {
    {"file", FLAG_STR, "FILE|-", "a JSON document; the other flags override it"},
    {"id", FLAG_STR, "UUID", "your own id instead of a new one"},
    {"name", FLAG_STR, "NAME", "the (new) name"},
    {"device", FLAG_LIST, "DEVICE", "a member, by name or id; may be repeated"},
    {0},
};
static const struct flag flags_credential[] = {
    {"id", FLAG_STR, "UUID", "your own id instead of a new one"},
    {"name", FLAG_STR, "NAME", "the (new) name"},
    {"username", FLAG_STR, "USER", "who logs in"},
    {"password-file", FLAG_STR, "FILE|-",
	"the password; asked for on a terminal if neither is given"},
    {"key-file", FLAG_STR, "FILE|-", "a private key, PEM or OpenSSH"},
    {"passphrase-file", FLAG_STR, "FILE|-", "the key's passphrase"},
    {"enable-file", FLAG_STR, "FILE|-", "password of the privileged mode"},
    {0},
};
static const struct flag flags_inventory_list[] = {
    {"limit", FLAG_STR, "N", "at most so many; default all"},
    {0},
};
static const struct flag flags_host_keys[] = {
    {"forget", FLAG_BOOL, NULL, "forget them: the next login learns anew"},
    {0},
};
static const struct flag flags_token[] = {
    {"name", FLAG_STR, "NAME", "what the token is called"},
    {"role", FLAG_STR, "ROLE", "viewer, operator or admin"},
    {"actor", FLAG_STR, "WHO", "who acts with it; default its name"},
    {"expires", FLAG_STR, "RFC3339", "when it ends; default never"},
    {0},
};
static const struct flag flags_drain[] = {
    {"wait", FLAG_BOOL, NULL, "return when the node has no run any more"},
    {0},
};
static const struct flag flags_verify[] = {
    {"db", FLAG_STR, "CONNINFO", "the database (else taktd.conf of takt dev, else the system's)"},
    {"since", FLAG_STR, "MONTH", "only runs of this month (2026-11) and later ones"},
    {"heads", FLAG_STR, "FILE", "if all is clean, write the heads of the chains"},
    {"against", FLAG_STR, "FILE", "the chains must still have the heads in FILE"},
    {0},
};
static const struct flag flags_enable[] = {
    {"backfill", FLAG_BOOL, NULL, "also what was due since it was disabled, as catch_up says"},
    {0},
};
static const struct flag flags_preview[] = {
    {"count", FLAG_STR, "N", "how many times; default 5"},
    {"zone", FLAG_STR, "ZONE", "show them on this clock, too"},
    {0},
};
static const struct flag flags_occurrences[] = {
    {"from", FLAG_STR, "TIME", "only due at this time or later"},
    {"to", FLAG_STR, "TIME", "only due before this time"},
    {"zone", FLAG_STR, "ZONE", "the clock of local times in these flags; default UTC"},
    {"decision", FLAG_STR, "WHAT", "only fired, skipped or missed"},
    {"limit", FLAG_STR, "N", "at most so many; default 20"},
    {0},
};
static const struct flag flags_why[] = {
    {"zone", FLAG_STR, "ZONE", "the clock of a local TIME; default the task's"},
    {0},
};
static const struct flag flags_forecast[] = {
    {"from", FLAG_STR, "TIME", "from this time on; default now"},
    {"to", FLAG_STR, "TIME", "to this time"},
    {"zone", FLAG_STR, "ZONE", "the clock of local times in these flags; default UTC"},
    {"limit", FLAG_STR, "N", "at most so many"},
    {0},
};
#define SCHEDULE_FLAGS                                                                            \
	{"file", FLAG_STR, "FILE|-", "a JSON document; the other flags override it"},             \
	    {"kind", FLAG_STR, "KIND",                                                            \
		"cron (default), every, times, window, ordinal, rrule, once or on_demand"},       \
	    {"zone", FLAG_STR, "ZONE", "its time zone; default UTC"},                             \
	    {"skip-calendar", FLAG_LIST, "NAME", "not on its days; may be repeated"},             \
	    {"only-calendar", FLAG_LIST, "NAME", "on its days only; may be repeated"},            \
	    {"on-hit", FLAG_STR, "WHAT", "skip, next_business_day or previous_business_day"},     \
	    {"dst-gap", FLAG_STR, "WHAT", "a time that the clock skips: run_at_gap_end or skip"}, \
	    {"dst-fold", FLAG_STR, "WHAT", "a time shown twice: first, second or both"},          \
	    {"effective-from", FLAG_STR, "TIME", "not before; every counts from here"},           \
	    {"effective-until", FLAG_STR, "TIME", "not at this time or later"},                   \
	    {"catch-up", FLAG_STR, "WHAT", "of due times that were missed: latest, none or all"}, \
	    {"catch-up-limit", FLAG_STR, "N", "of all: at most so many"},                         \
	    {"catch-up-deadline", FLAG_STR, "S", "not what was due longer ago, or none"},         \
	    {"jitter", FLAG_STR, "S", "spread its tasks over so many seconds"},                   \
	{                                                                                         \
		"start-deadline", FLAG_STR, "S", "a run that has not started by then expires"     \
	}
static const struct flag flags_schedule[] = {SCHEDULE_FLAGS, {0}};
static const struct flag flags_schedule_check[] = {SCHEDULE_FLAGS,
    {"count", FLAG_STR, "N", "how many times; default 5"},
    {"viewer-zone", FLAG_STR, "ZONE", "show them on this clock, too"}, {0}};
static const struct flag flags_calendar_import[] = {
    {"title", FLAG_STR, "TEXT", "what people read; default the file's own"},
    {0},
};
static const struct flag flags_calendar_check[] = {
    {"zone", FLAG_STR, "ZONE", "the clock that timed events are put on; default as written"},
    {0},
};
static const struct flag flags_calendar_day[] = {
    {"zone", FLAG_STR, "ZONE", "of a file: the clock that timed events are put on"},
    {0},
};
static const struct flag flags_calendar_show[] = {
    {"from", FLAG_STR, "DATE", "from this day on; default today"},
    {"to", FLAG_STR, "DATE", "to this day; default a year later"},
    {"zone", FLAG_STR, "ZONE", "of a file: the clock that timed events are put on"},
    {0},
};
static const struct flag flags_cron[] = {
    {"kind", FLAG_STR, "KIND",
	"cron (default), every, times, window, ordinal, rrule, once or on_demand"},
    {"zone", FLAG_STR, "ZONE", "its time zone; local times and marks are shown; default UTC"},
    {"tz", FLAG_STR, "ZONE", "the same, but only UTC stamps are printed, one a line"},
    {"from", FLAG_STR, "TIME", "after this time: RFC 3339, local, or +2h; default now"},
    {"count", FLAG_STR, "N", "how many times; default 5"},
    {"skip-calendar", FLAG_LIST, "FILE|NAME", "not on its days; may be repeated"},
    {"only-calendar", FLAG_LIST, "FILE|NAME", "on its days only; may be repeated"},
    {"on-hit", FLAG_STR, "WHAT",
	"on a day ruled out: skip (default), next_business_day or previous_business_day"},
    {"dst-gap", FLAG_STR, "WHAT", "a time that the clock skips: run_at_gap_end (default) or skip"},
    {"dst-fold", FLAG_STR, "WHAT", "a time shown twice: first (default), second or both"},
    {"effective-from", FLAG_STR, "TIME", "not before; every counts from here"},
    {"effective-until", FLAG_STR, "TIME", "not at this time or later"},
    {"task", FLAG_STR, "ID", "the task whose id picks the values of H"},
    {0},
};
static const struct flag flags_api[] = {
    {"data", FLAG_STR, "FILE|-", "the body"},
    {"if-match", FLAG_STR, "ETAG", "for PUT and PATCH of tasks"},
    {"idempotency-key", FLAG_STR, "KEY", "makes a repeat safe"},
    {0},
};

const struct command commands[] = {
    {"dev", NULL, "", 0, 0, "", "a private PostgreSQL, taktd and executor; Ctrl-C stops all",
	flags_dev, cmd_dev, .is_local = true},
    {"health", NULL, "", 0, 0, "", "does the daemon answer, and its database", NULL, cmd_health},
    {"task", "create", "FILE|-", 1, 1, "operator", "create a definition from JSON", NULL,
	cmd_task_create},
    {"task", "check", "FILE|-", 1, 1, "viewer", "check a definition without keeping it", NULL,
	cmd_task_check},
    {"task", "list", "", 0, 0, "viewer", "all definitions", flags_task_list, cmd_task_list},
    {"task", "show", "TASK|CODE", 1, 1, "viewer", "one definition", flags_task_show, cmd_task_show},
    {"task", "update", "TASK FILE|-", 2, 2, "operator", "replace a definition", NULL,
	cmd_task_update},
    {"task", "enable", "TASK", 1, 1, "operator", "let its schedule make runs", flags_enable,
	cmd_task_enable},
    {"task", "disable", "TASK", 1, 1, "operator", "stop its schedule", NULL, cmd_task_disable},
    {"task", "delete", "TASK", 1, 1, "operator", "delete a definition; its runs stay", NULL,
	cmd_task_delete},
    {"task", "run", "TASK", 1, 1, "operator", "run it now", flags_task_run, cmd_task_run},
    {"task", "next", "TASK", 1, 1, "viewer", "the next times of its schedule", flags_next,
	cmd_task_next},
    {"task", "preview", "TASK", 1, 1, "viewer", "its next times, with clock changes and calendars",
	flags_preview, cmd_task_preview},
    {"task", "occurrences", "TASK", 1, 1, "viewer", "what became of its due times, newest first",
	flags_occurrences, cmd_task_occurrences},
    {"why", NULL, "TASK [TIME]", 1, 2, "viewer", "why it ran then, or did not, or will", flags_why,
	cmd_why},
    {"forecast", NULL, "", 0, 0, "viewer", "everything that is due in a range of time",
	flags_forecast, cmd_forecast},
    {"schedule", "create", "NAME [EXPR]", 1, 2, "operator",
	"add a schedule that several tasks can follow", flags_schedule, cmd_schedule_create},
    {"schedule", "check", "[EXPR]", 0, 1, "viewer",
	"its next times and clock changes, without keeping it", flags_schedule_check,
	cmd_schedule_check},
    {"schedule", "list", "", 0, 0, "viewer", "all shared schedules", flags_inventory_list,
	cmd_schedule_list},
    {"schedule", "show", "NAME", 1, 1, "viewer", "one schedule and the tasks that follow it", NULL,
	cmd_schedule_show},
    {"schedule", "change", "NAME [EXPR]", 1, 2, "operator",
	"change a schedule, for all tasks that follow it", flags_schedule, cmd_schedule_change},
    {"schedule", "enable", "NAME", 1, 1, "operator", "let its tasks run again", flags_enable,
	cmd_schedule_enable},
    {"schedule", "disable", "NAME", 1, 1, "operator", "pause all tasks that follow it", NULL,
	cmd_schedule_disable},
    {"schedule", "delete", "NAME", 1, 1, "operator", "remove a schedule that nobody follows", NULL,
	cmd_schedule_delete},
    {"run", "list", "", 0, 0, "viewer", "runs, newest first", flags_run_list, cmd_run_list},
    {"run", "show", "RUN", 1, 1, "viewer", "one run and its units", NULL, cmd_run_show},
    {"run", "log", "RUN", 1, 1, "viewer", "what the units wrote", flags_log, cmd_run_log},
    {"run", "timeline", "RUN", 1, 1, "viewer", "all events of a run", NULL, cmd_run_timeline},
    {"run", "follow", "RUN", 1, 1, "viewer", "print events and output until the run ends", NULL,
	cmd_run_follow},
    {"run", "cancel", "RUN", 1, 1, "operator", "cancel a run", flags_cancel, cmd_run_cancel},
    {"run", "hold", "RUN", 1, 1, "admin", "keep a run whatever retention does", flags_hold,
	cmd_run_hold},
    {"run", "release", "RUN", 1, 1, "admin", "leave a held run to retention again", NULL,
	cmd_run_release},
    {"snapshot", "list", "", 0, 0, "viewer", "configuration snapshots, newest first",
	flags_snapshot_list, cmd_snapshot_list},
    {"snapshot", "show", "ID", 1, 1, "viewer", "the text of one", flags_snapshot_show,
	cmd_snapshot_show},
    {"snapshot", "diff", "A B | DEVICE", 1, 2, "viewer",
	"what changed between two, or a device's last two", NULL, cmd_snapshot_diff},
    {"device", "create", "[NAME]", 0, 1, "admin", "add a device", flags_device,
	cmd_inventory_create},
    {"device", "list", "", 0, 0, "viewer", "all devices", flags_inventory_list, cmd_inventory_list},
    {"device", "show", "DEVICE", 1, 1, "viewer", "one device", NULL, cmd_inventory_show},
    {"device", "update", "DEVICE", 1, 1, "admin", "change a device", flags_device,
	cmd_inventory_update},
    {"device", "delete", "DEVICE", 1, 1, "admin", "remove a device; its snapshots stay", NULL,
	cmd_inventory_delete},
    {"device", "host-keys", "DEVICE", 1, 1, "viewer", "SSH host keys trusted for a device",
	flags_host_keys, cmd_device_host_keys},
    {"group", "create", "[NAME]", 0, 1, "admin", "add a group of devices", flags_group,
	cmd_inventory_create},
    {"group", "list", "", 0, 0, "viewer", "all groups", flags_inventory_list, cmd_inventory_list},
    {"group", "show", "GROUP", 1, 1, "viewer", "one group", NULL, cmd_inventory_show},
    {"group", "update", "GROUP", 1, 1, "admin", "rename a group or replace its members",
	flags_group, cmd_inventory_update},
    {"group", "delete", "GROUP", 1, 1, "admin", "remove a group; its devices stay", NULL,
	cmd_inventory_delete},
    {"group", "add", "GROUP DEVICE...", 2, -1, "admin", "make devices members", NULL,
	cmd_group_add},
    {"group", "remove", "GROUP DEVICE...", 2, -1, "admin", "end memberships", NULL,
	cmd_group_remove},
    {"credential", "create", "[NAME]", 0, 1, "admin",
	"add a login; its secret is never shown again", flags_credential, cmd_inventory_create},
    {"credential", "list", "", 0, 0, "viewer", "all credentials, never a secret",
	flags_inventory_list, cmd_inventory_list},
    {"credential", "show", "CREDENTIAL", 1, 1, "viewer", "one credential, never a secret", NULL,
	cmd_inventory_show},
    {"credential", "update", "CREDENTIAL", 1, 1, "admin", "rename it or replace its secret",
	flags_credential, cmd_inventory_update},
    {"credential", "delete", "CREDENTIAL", 1, 1, "admin", "remove a credential", NULL,
	cmd_inventory_delete},
    {"token", "create", "[NAME]", 0, 1, "admin", "make a token; printed this once", flags_token,
	cmd_token_create},
    {"token", "list", "", 0, 0, "admin", "all tokens, never their text", NULL, cmd_token_list},
    {"token", "delete", "TOKEN", 1, 1, "admin", "revoke a token", NULL, cmd_token_delete},
    {"node", "list", "", 0, 0, "viewer", "nodes: up, draining, drained or dead, and their runs",
	NULL, cmd_node_list},
    {"node", "drain", "NODE", 1, 1, "admin", "let a node claim nothing more", flags_drain,
	cmd_node_drain},
    {"node", "resume", "NODE", 1, 1, "admin", "let a node claim again", NULL, cmd_node_resume},
    {"platform", "list", "", 0, 0, "viewer", "network operating systems Takt can talk to", NULL,
	cmd_platform_list},
    {"platform", "check", "FILE", 1, 1, "", "check a platform file; needs no daemon", NULL,
	cmd_platform_check, .is_local = true},
    {"plugin", "list", "", 0, 0, "viewer", "plugin files, loaded and refused with the reason", NULL,
	cmd_plugin_list},
    {"verify", NULL, "", 0, 0, "", "check the whole database for what must never be", flags_verify,
	cmd_verify, .is_local = true},
    {"calendar", "list", "", 0, 0, "viewer", "all calendars", flags_inventory_list,
	cmd_calendar_list},
    {"calendar", "import", "NAME FILE|-", 2, 2, "operator",
	"make or refresh a calendar from an iCalendar file", flags_calendar_import,
	cmd_calendar_import},
    {"calendar", "put", "NAME FILE|-", 2, 2, "operator", "make or replace a calendar from JSON",
	NULL, cmd_calendar_put},
    {"calendar", "delete", "NAME", 1, 1, "operator", "remove a calendar that nobody uses", NULL,
	cmd_calendar_delete},
    {"calendar", "check", "FILE|-", 1, 1, "",
	"check an iCalendar file and report what it holds; needs no daemon", flags_calendar_check,
	cmd_calendar_check, .is_local = true},
    {"calendar", "is-holiday", "FILE|NAME DATE", 2, 2, "",
	"exit 0 if the day is in the calendar, 1 if not", flags_calendar_day,
	cmd_calendar_is_holiday, .is_url_optional = true},
    {"calendar", "show", "FILE|NAME", 1, 1, "viewer", "the days of a calendar", flags_calendar_show,
	cmd_calendar_show, .is_url_optional = true},
    {"cron", "next", "EXPR", 1, 1, "", "the next times of a schedule; needs no daemon", flags_cron,
	cmd_cron_next, .is_url_optional = true},
    {"cron", "check", "EXPR", 1, 1, "", "explain a schedule; needs no daemon", flags_cron,
	cmd_cron_check, .is_url_optional = true},
    {"api", NULL, "METHOD PATH", 2, 2, "", "any request; prints the answer's body", flags_api,
	cmd_api},
    {0},
};
