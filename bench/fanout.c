/* The limit that pushing is measured against, and the clients that receive: WebSocket, and no more than is needed.
 *
 * fanout serve PORT CLIENTS SECONDS BYTES,RATE  waits for CLIENTS, then sends each the same frame, RATE times a second
 *                                               (0: as often as it can), each time with the instant in it
 * fanout listen PORT CLIENTS SECONDS SUBSCRIBE  connects CLIENTS, says SUBSCRIBE, counts frames for SECONDS
 *
 * `listen` says nothing where SUBSCRIBE is empty. It counts text frames that hold "op":"change" and, where they hold
 * "at_ns NUMBER" (CLOCK_MONOTONIC), how long they took. It prints: ready once all are connected, counting once it
 * counts, then frames, seconds, and p50, p99 and the longest in microseconds, in JSON, and ends with its input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 20000
#define HEAD 1024     /* of a payload, that is looked at */
#define CHUNK 262144
#define AT_ONCE 64    /* handshakes under way */
#define BUCKET_US 50
#define BUCKETS 400000 /* 20 s */

static int fds[CLIENTS_MAX];

static void fail(const char *what) { perror(what); exit(1); }

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct sockaddr_in address_of(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static void send_all(int fd, const uint8_t *bytes, size_t size) {
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0) fail("send");
        bytes += sent;
        size -= sent;
    }
}

static size_t put_header(uint8_t *frame, size_t size, int masked) {
    uint8_t bit = masked ? 0x80 : 0;
    frame[0] = 0x81;
    if (size < 126) {
        frame[1] = bit | size;
        return 2;
    }
    if (size > 65535) exit(2);
    frame[1] = bit | 126;
    frame[2] = size >> 8;
    frame[3] = size & 255;
    return 4;
}

/* Read up to the empty line that ends a head. */
static void read_head(int fd) {
    uint32_t last = 0;
    uint8_t byte;
    while (last != 0x0d0a0d0a) {
        if (recv(fd, &byte, 1, 0) != 1) fail("head");
        last = last << 8 | byte;
    }
}

static int serve(int port, int clients, double seconds, size_t bytes, double rate) {
    static uint8_t frame[65536 + 4], asked[65536];
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in a = address_of(port);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 4096)) fail("listen");
    const char *answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    for (int i = 0; i < clients; i++) {
        fds[i] = accept(listener, NULL, NULL);
        if (fds[i] < 0) fail("accept");
        read_head(fds[i]);
        send_all(fds[i], (const uint8_t *)answer, strlen(answer));
        if (recv(fds[i], asked, sizeof asked, 0) <= 0) fail("subscribe");
    }
    size_t head = put_header(frame, bytes, 0);
    memset(frame + head, ' ', bytes);
    const char *start = "{\"op\":\"change\"";
    memcpy(frame + head, start, strlen(start));
    frame[head + bytes - 1] = '}';
    int64_t due = now_ns(), until = due + (int64_t)(seconds * 1e9);
    while (now_ns() < until) {
        char stamp[32];
        if (bytes > 64) memcpy(frame + head + 20, stamp, sprintf(stamp, "at_ns %ld", now_ns()));
        for (int i = 0; i < clients; i++) send_all(fds[i], frame, head + bytes);
        due += rate > 0 ? (int64_t)(1e9 / rate) : 0;
        if (due > now_ns()) usleep((due - now_ns()) / 1000);
    }
    return 0;
}

typedef struct {
    uint8_t header[14];
    uint8_t begin[HEAD];
    int have;          /* bytes of the header */
    size_t size, got;  /* of the payload */
} Client;

static Client state[CLIENTS_MAX];
static int64_t buckets[BUCKETS], frames, stamped, longest_us, counting_from;

static void take(Client *c) {
    size_t seen = c->size < HEAD ? c->size : HEAD;
    if ((c->header[0] & 15) == 9) {
        const uint8_t pong[6] = {0x8a, 0x80, 0, 0, 0, 0};
        send_all(fds[c - state], pong, sizeof pong);
        return;
    }
    if ((c->header[0] & 15) != 1 || !memmem(c->begin, seen, "\"op\":\"change\"", 13)) {
        if (memmem(c->begin, seen, "\"op\":\"error\"", 12)) {
            fprintf(stderr, "%.*s\n", (int)seen, c->begin);
            exit(3);
        }
        return;
    }
    if (!counting_from) return;
    frames++;
    uint8_t *at = memmem(c->begin, seen, "at_ns ", 6);
    if (!at) return;
    int64_t made = strtoll((char *)at + 6, NULL, 10);
    if (made < counting_from) { frames--; return; }
    int64_t us = (now_ns() - made) / 1000;
    if (us > longest_us) longest_us = us;
    buckets[us / BUCKET_US < BUCKETS ? us / BUCKET_US : BUCKETS - 1]++;
    stamped++;
}

static void parse(int client, const uint8_t *bytes, size_t count) {
    Client *c = &state[client];
    while (count > 0) {
        int need = 2;
        if (c->have >= 2) need = (c->header[1] & 127) == 126 ? 4 : (c->header[1] & 127) == 127 ? 10 : 2;
        if (c->have < need) {
            c->header[c->have++] = *bytes++;
            count--;
            if (c->have < 2) continue;
            int flag = c->header[1] & 127;
            need = flag == 126 ? 4 : flag == 127 ? 10 : 2;
            if (c->have < need) continue;
            c->size = 0;
            if (flag < 126) c->size = flag;
            else for (int i = 2; i < need; i++) c->size = c->size << 8 | c->header[i];
            c->got = 0;
            if (c->size > 0) continue;
        } else {
            size_t some = c->size - c->got < count ? c->size - c->got : count;
            if (c->got < HEAD) {
                size_t kept = some < HEAD - c->got ? some : HEAD - c->got;
                memcpy(c->begin + c->got, bytes, kept);
            }
            c->got += some;
            bytes += some;
            count -= some;
        }
        if (c->got == c->size) {
            take(c);
            c->have = 0;
        }
    }
}

static int64_t percentile(double part) {
    int64_t upto = (int64_t)(stamped * part), sum = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((sum += buckets[i]) >= upto && sum > 0) return (int64_t)(i + 1) * BUCKET_US;
    return 0;
}

static int listen_to(int port, int clients, double seconds, const char *subscribe) {
    static uint8_t chunk[CHUNK], frame[65536 + 8];
    struct sockaddr_in a = address_of(port);
    int epoll = epoll_create1(0), one = 1;
    size_t size = strlen(subscribe), head = put_header(frame, size, 1);
    memset(frame + head, 0, 4); /* a mask of zeros */
    memcpy(frame + head + 4, subscribe, size);
    const char *ask = "GET /stream HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    for (int i = 0, answered = 0; i < clients; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        for (int tries = 0; connect(fd, (struct sockaddr *)&a, sizeof a); tries++) {
            if (i > 0 || tries == 500) fail("connect");
            usleep(20000); /* it is about to listen */
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        send_all(fd, (const uint8_t *)ask, strlen(ask));
        fds[i] = fd;
        if ((i + 1) % AT_ONCE && i + 1 < clients) continue;
        for (; answered <= i; answered++) {
            fd = fds[answered];
            read_head(fd);
            if (size > 0) send_all(fd, frame, head + 4 + size);
            struct epoll_event event = {.events = EPOLLIN, .data.u32 = answered};
            fcntl(fd, F_SETFL, O_NONBLOCK);
            if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("epoll");
        }
    }
    printf("ready\n");
    fflush(stdout);
    struct epoll_event events[512];
    int64_t begun = 0, until = 0;
    while (!until || now_ns() < until) {
        int count = epoll_wait(epoll, events, 512, 100);
        for (int i = 0; i < count; i++) {
            int client = events[i].data.u32;
            ssize_t got = recv(fds[client], chunk, CHUNK, 0);
            if (got == 0 || (got < 0 && errno != EAGAIN)) {
                if (until) goto over; /* the yardstick ends with its time */
                fail("lost");
            }
            if (got > 0) parse(client, chunk, got);
            if (!begun && got > 0) begun = now_ns();
        }
        if (begun && !until && now_ns() > begun + 1000000000LL) { /* a second to come into its stride */
            counting_from = now_ns();
            until = counting_from + (int64_t)(seconds * 1e9);
            printf("counting\n");
            fflush(stdout);
        }
    }
over:;
    double took = (now_ns() - counting_from) / 1e9;
    printf("{\"frames\": %ld, \"seconds\": %.3f, \"p50_us\": %ld, \"p99_us\": %ld, \"longest_us\": %ld}\n", frames,
           took, percentile(0.5), percentile(0.99), longest_us);
    fflush(stdout);
    getchar(); /* until the sender has been looked at, which may end when this does */
    return 0;
}

int main(int count, char **words) {
    struct rlimit files = {CLIENTS_MAX + 64, CLIENTS_MAX + 64};
    if (count != 6) return 2;
    if (setrlimit(RLIMIT_NOFILE, &files) && !getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    int port = atoi(words[2]), clients = atoi(words[3]);
    double seconds = atof(words[4]);
    if (clients < 1 || clients > CLIENTS_MAX) return 2;
    char *comma = strchr(words[5], ',');
    if (!strcmp(words[1], "serve"))
        return serve(port, clients, seconds, atoi(words[5]), comma ? atof(comma + 1) : 0);
    return listen_to(port, clients, seconds, words[5]);
}
