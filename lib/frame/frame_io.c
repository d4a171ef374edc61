// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See frame.h: frames on SOCK_SEQPACKET sockets, with descriptors. */
#include "frame/frame.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/banned.h"

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int) * FRAME_FDS_MAX)];
};

int
frame_send_raw(int fd, const void *p, size_t n, const int *fds, size_t fds_n, struct err *e)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;
	ssize_t r;

	if (fds_n > FRAME_FDS_MAX)
		return err_set(e, ERR_BUG, "%zu descriptors in one frame", fds_n);
	if (fds_n) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fds_n);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * fds_n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * fds_n);
	}
	do
		r = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	if (r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return err_set(e, ERR_TRANSIENT, "socket is full");
	if (r < 0)
		return err_sys(e, "send frame");
	return 0;
}

int
frame_send(int fd, enum frame_type type, uint64_t off, const json_t *json, const void *blob,
    size_t blob_n, int pass_fd, struct err *e)
{
	_cleanup_buf_ struct buf b = {0};
	int r = frame_encode(&b, type, off, json, blob, blob_n, e);

	if (r < 0)
		return r;
	return frame_send_raw(fd, b.p, b.n, &pass_fd, pass_fd >= 0 ? 1 : 0, e);
}

/* Hand the first max descriptors of a message on, close the others. */
static void
take_fds(struct msghdr *msg, int *fds, size_t max, size_t *fds_n)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (*fds_n < max)
				fds[(*fds_n)++] = fd;
			else
				close(fd);
		}
	}
}

typedef int decode_fn(void *p, size_t n, struct frame *out, struct err *e);

static int
decode_tree(void *p, size_t n, struct frame *out, struct err *e)
{
	return frame_decode(p, n, out, e);
}

static int
recv_packet(int fd, void *buf, decode_fn *decode, struct frame *out, int *fds, size_t max,
    size_t *fds_n, struct err *e)
{
	union control control;
	struct iovec iov = {.iov_base = buf, .iov_len = FRAME_MAX};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control)};
	ssize_t n;
	int r;

	do
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return err_set(e, ERR_TRANSIENT, "no frame yet");
	if (n < 0 && errno == ECONNRESET)
		return 0;
	if (n < 0)
		return err_sys(e, "receive frame");
	take_fds(&msg, fds, max, fds_n);
	if (n == 0)
		return 0;
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return err_set(e, ERR_INVALID, "packet is larger than a frame");
	r = decode(buf, (size_t)n, out, e);
	if (r == -ERR_TRANSIENT)
		return err_set(e, ERR_INVALID, "packet of %zd bytes is shorter than its frame", n);
	if (r < 0)
		return r;
	if (out->size != (size_t)n) {
		frame_fini(out);
		return err_set(e, ERR_INVALID, "packet of %zd bytes is longer than its frame", n);
	}
	return 1;
}

static int
recv_fds(int fd, void *buf, decode_fn *decode, struct frame *out, int *fds, size_t max,
    size_t *fds_n, struct err *e)
{
	int r;

	*fds_n = 0;
	r = recv_packet(fd, buf, decode, out, fds, max, fds_n, e);
	if (r <= 0) {
		for (size_t i = 0; i < *fds_n; i++)
			close(fds[i]);
		*fds_n = 0;
	}
	return r;
}

int
frame_recv_fds(
    int fd, void *buf, struct frame *out, int *fds, size_t max, size_t *fds_n, struct err *e)
{
	return recv_fds(fd, buf, decode_tree, out, fds, max, fds_n, e);
}

static int
recv_one(int fd, void *buf, decode_fn *decode, struct frame *out, int *passed, struct err *e)
{
	int got = -1;
	size_t n = 0;
	int r = recv_fds(fd, buf, decode, out, &got, passed ? 1 : 0, &n, e);

	if (passed)
		*passed = n ? got : -1;
	return r;
}

int
frame_recv(int fd, void *buf, struct frame *out, int *passed, struct err *e)
{
	return recv_one(fd, buf, decode_tree, out, passed, e);
}

int
frame_recv_flat(int fd, void *buf, struct frame *out, int *passed, struct err *e)
{
	return recv_one(fd, buf, frame_decode_flat, out, passed, e);
}

int
frame_peer_allowed(int fd, struct err *e)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		return err_sys(e, "ask for the peer's user");
	if (peer.uid != 0 && peer.uid != geteuid())
		return err_set(e, ERR_DENIED, "peer runs as uid %u, not as uid %u or root",
		    peer.uid, geteuid());
	return 0;
}
