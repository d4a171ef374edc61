// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * sshsim SCRIPT.json: an SSH server on a free loopback port that behaves as the script says; prints
 * the port, then serves until it is ended. For the device library's tests. Script (all optional):
 *   key_file       host key, made if it is not there;  key_type: ed25519 | rsa | ecdsa
 *   transport      "ssh" | "mute" (accepts, says nothing) | "http" (not SSH)
 *   user, password, public_key (base64);  methods: ["publickey","password","kbdint"]
 *   kbdint_rounds  empty rounds before the question;  hang_up_on_deny: true
 *   no_shell: true;  deaf_login_ms: pause before the answer to the first login
 *   prompt, echo (true), greeting: [step…], commands: {"line":[[step…] first time, …last repeats]},
 *   unknown: text for other commands
 * A step: {"send":text} | {"fill":text,"n":times} | {"delay_ms":n} | {"key":true} (wait for a key,
 *   as a pager) | {"secret":text} (read a line unechoed, hang up if it differs) | {"close":true} |
 *   {"hang":true} | {"prompt":text} (from now on) | {"no_prompt":true} (none after this command)
 */
#include "tests/lib/sshsim/sshsim.h"

#include <arpa/inet.h>
#include <libssh/server.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"

#include "base/banned.h"

static int
method_bits(const json_t *script)
{
	json_t *m = json_object_get(script, "methods"), *v;
	size_t i;
	int bits = m ? 0 : SSH_AUTH_METHOD_PASSWORD;
	json_array_foreach(m, i, v)
	{
		const char *name = json_string_value(v);
		bits |= strcmp(name, "publickey") == 0 ? SSH_AUTH_METHOD_PUBLICKEY
			: strcmp(name, "kbdint") == 0  ? SSH_AUTH_METHOD_INTERACTIVE
						       : SSH_AUTH_METHOD_PASSWORD;
	}
	return bits;
}

static bool
is_password(struct sim *s, const char *given)
{
	return given && strcmp(given, json_get_str(s->script, "password", "pw")) == 0;
}

static bool
is_our_key(struct sim *s, ssh_message m)
{
	char *b64 = NULL;
	bool is = ssh_pki_export_pubkey_base64(ssh_message_auth_pubkey(m), &b64) == SSH_OK &&
		  strcmp(b64, json_get_str(s->script, "public_key", "")) == 0;
	free(b64);
	return is;
}

/* 1: logged in; 0: answered, go on; -1: denied. */
static int
auth_publickey(struct sim *s, ssh_message m)
{
	if (!is_our_key(s, m))
		return -1;
	if (ssh_message_auth_publickey_state(m) == SSH_PUBLICKEY_STATE_NONE) {
		ssh_message_auth_reply_pk_ok_simple(m);
		return 0;
	}
	return ssh_message_auth_publickey_state(m) == SSH_PUBLICKEY_STATE_VALID ? 1 : -1;
}

static int
auth_kbdint(struct sim *s, ssh_message m, int *rounds)
{
	const char *prompts[] = {"Password: "};
	char echo[] = {0};
	if (ssh_message_auth_kbdint_is_response(m) && ssh_userauth_kbdint_getnanswers(s->ssh) == 1)
		return is_password(s, ssh_userauth_kbdint_getanswer(s->ssh, 0)) ? 1 : -1;
	bool is_empty = (*rounds)-- > 0;
	ssh_message_auth_interactive_request(m, "", "", is_empty ? 0 : 1, prompts, echo);
	return 0;
}

static int
auth_one(struct sim *s, ssh_message m, int bits, int *rounds)
{
	int sub = ssh_message_subtype(m);
	const char *user = json_get_str(s->script, "user", "u");
	/* An answer to a question names no user. */
	bool is_answer =
	    sub == SSH_AUTH_METHOD_INTERACTIVE && ssh_message_auth_kbdint_is_response(m);
	if (!(sub & bits) || (!is_answer && strcmp(ssh_message_auth_user(m), user) != 0))
		return -1;
	if (sub == SSH_AUTH_METHOD_PUBLICKEY)
		return auth_publickey(s, m);
	if (sub == SSH_AUTH_METHOD_INTERACTIVE)
		return auth_kbdint(s, m, rounds);
	return is_password(s, ssh_message_auth_password(m)) ? 1 : -1;
}

static bool
authenticate(struct sim *s)
{
	int bits = method_bits(s->script),
	    rounds = (int)json_get_int(s->script, "kbdint_rounds", 0);
	ssh_message m;
	while ((m = ssh_message_get(s->ssh))) {
		int rc = -1;
		bool is_auth = ssh_message_type(m) == SSH_REQUEST_AUTH;
		bool is_none = !is_auth || ssh_message_subtype(m) == SSH_AUTH_METHOD_NONE;
		if (is_auth) {
			usleep((useconds_t)json_get_int(s->script, "deaf_login_ms", 0) * 1000);
			rc = is_none ? -1 : auth_one(s, m, bits, &rounds);
		}
		if (rc == 1)
			ssh_message_auth_reply_success(m, 0);
		if (rc == -1 && !is_none && json_get_bool(s->script, "hang_up_on_deny", 0)) {
			ssh_message_free(m);
			return false;
		}
		if (rc == -1) {
			ssh_message_auth_set_methods(m, bits);
			ssh_message_reply_default(m);
		}
		ssh_message_free(m);
		if (rc == 1)
			return true;
	}
	return false;
}

static bool
is_granted(struct sim *s, ssh_message m, bool *is_shell)
{
	int type = ssh_message_type(m), sub = ssh_message_subtype(m);
	if (type == SSH_REQUEST_CHANNEL_OPEN && sub == SSH_CHANNEL_SESSION && !s->ch) {
		s->ch = ssh_message_channel_request_open_reply_accept(m);
		return true;
	}
	*is_shell = type == SSH_REQUEST_CHANNEL && sub == SSH_CHANNEL_REQUEST_SHELL &&
		    !json_get_bool(s->script, "no_shell", 0);
	bool is_ok = *is_shell || (type == SSH_REQUEST_CHANNEL && sub == SSH_CHANNEL_REQUEST_PTY);
	if (is_ok)
		ssh_message_channel_request_reply_success(m);
	return is_ok;
}

static bool
wait_for_shell(struct sim *s)
{
	bool is_shell = false;
	ssh_message m;
	while (!is_shell && (m = ssh_message_get(s->ssh))) {
		if (!is_granted(s, m, &is_shell))
			ssh_message_reply_default(m);
		ssh_message_free(m);
	}
	return is_shell;
}

static void
serve(struct sim *s, ssh_bind bind, int fd)
{
	const char *transport = json_get_str(s->script, "transport", "ssh");
	if (strcmp(transport, "mute") == 0) {
		char c;
		while (read(fd, &c, 1) > 0)
			;
		return;
	}
	if (strcmp(transport, "http") == 0) {
		static const char answer[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
		io_write_all(fd, answer, sizeof(answer) - 1);
		return;
	}
	s->ssh = ssh_new();
	s->calls = json_object();
	if (ssh_bind_accept_fd(bind, s->ssh, fd) == SSH_OK &&
	    ssh_handle_key_exchange(s->ssh) == SSH_OK && authenticate(s) && wait_for_shell(s))
		sim_play(s);
	if (s->ch)
		ssh_channel_free(s->ch);
	ssh_disconnect(s->ssh);
	ssh_free(s->ssh);
	json_decref(s->calls);
}

static enum ssh_keytypes_e
key_type(const json_t *script, int *bits)
{
	const char *name = json_get_str(script, "key_type", "ed25519");
	*bits = name[0] == 'r' ? 2048 : 256;
	return name[0] == 'r'                     ? SSH_KEYTYPE_RSA
	       : name[0] == 'e' && name[1] == 'c' ? SSH_KEYTYPE_ECDSA_P256
						  : SSH_KEYTYPE_ED25519;
}

static ssh_bind
bind_new(const json_t *script)
{
	ssh_bind b = ssh_bind_new();
	ssh_key key = NULL;
	int bits;
	bool no = false;
	const char *file = json_get_str(script, "key_file", NULL);
	enum ssh_keytypes_e type = key_type(script, &bits);
	if (!file || access(file, R_OK) != 0 ||
	    ssh_pki_import_privkey_file(file, NULL, NULL, NULL, &key) != SSH_OK) {
		if (ssh_pki_generate(type, bits, &key) != SSH_OK)
			abort();
		if (file)
			ssh_pki_export_privkey_file(key, NULL, NULL, NULL, file);
	}
	ssh_bind_options_set(b, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
	ssh_bind_options_set(b, SSH_BIND_OPTIONS_IMPORT_KEY, key);
	return b;
}

static int
listen_free(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		return -1;
	printf("%d\n", ntohs(a.sin_port));
	fflush(stdout);
	return fd;
}

int
main(int argc, char **argv)
{
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;
	struct sim s = {0};
	char line[800];
	if (argc != 2 || io_read_file(argv[1], 4 << 20, &b, &e) ||
	    !(s.script = json_parse(b.p, b.n, &json_limits_frame, &e))) {
		fprintf(
		    stderr, "sshsim: %s\n", argc == 2 ? err_text(&e, line, sizeof(line)) : "usage");
		return 2;
	}
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ssh_bind bnd = bind_new(s.script);
	int fd = listen_free(), c;
	if (fd < 0)
		return 1;
	while ((c = accept(fd, NULL, NULL)) >= 0) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(fd);
			serve(&s, bnd, c);
			_exit(0);
		}
		close(c);
	}
	return 0;
}
