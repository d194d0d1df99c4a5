/* Closed-loop HTTP load, with as little of its own as can be: the server is to be the limit.
 *
 * http_load PORT CONNECTIONS SECONDS STATUS < REQUESTS
 *
 * REQUESTS holds each as its length in decimal, a newline, and its bytes; they are sent in turn, and eight # in one
 * become a number that no other has. Each connection to 127.0.0.1 has one under way. An answer is read to the end of
 * its Content-Length. Prints what came of it in JSON: answers of STATUS, others, seconds, p50 and p99 in us.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4096
#define ANSWER_MAX 65536
#define REQUESTS_MAX 65536
#define INPUT_MAX (64 * 1024 * 1024)
#define BUCKETS 100000 /* of 10 us */

struct connection {
    int fd;
    int64_t sent_ns;
    size_t seen;
    char answer[ANSWER_MAX];
};

struct request {
    char *bytes, *number;
    size_t size;
};

static struct request requests[REQUESTS_MAX];
static size_t request_count;
static unsigned asked;
static const char *wanted; /* " 200" */
static uint32_t buckets[BUCKETS];
static uint64_t good, others;

static void fail(const char *what) { perror(what); exit(1); }

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void ask(struct connection *c) {
    c->seen = 0;
    c->sent_ns = now_ns();
    struct request *r = &requests[asked % request_count];
    unsigned number = asked++;
    for (int i = 7; r->number && i >= 0; i--, number /= 10) r->number[i] = '0' + number % 10;
    if (send(c->fd, r->bytes, r->size, MSG_NOSIGNAL) != (ssize_t)r->size) fail("send");
}

/* Take in what has arrived; ask again once the answer is whole. */
static void hear(struct connection *c) {
    ssize_t got = recv(c->fd, c->answer + c->seen, ANSWER_MAX - 1 - c->seen, 0);
    if (got <= 0) { fprintf(stderr, "the server closed a connection\n"); exit(1); }
    c->seen += got;
    c->answer[c->seen] = 0;
    char *end = strstr(c->answer, "\r\n\r\n");
    if (!end) return;
    char *length = strcasestr(c->answer, "\r\ncontent-length:");
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    size_t whole = end + 4 - c->answer + body;
    if (whole > ANSWER_MAX - 1) { fprintf(stderr, "an answer of %zu bytes\n", whole); exit(1); }
    if (c->seen < whole) return;
    int64_t bucket = (now_ns() - c->sent_ns) / 10000;
    buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    if (!strncmp(c->answer + 8, wanted, 4)) good++; else others++;
    ask(c);
}

static long percentile_us(int percent) {
    uint64_t wanted = (good + others) * percent / 100, seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += buckets[i]) >= wanted) return (i + 1) * 10L;
    return BUCKETS * 10L;
}

static void read_requests(void) {
    char *input = malloc(INPUT_MAX + 1), *at = input;
    size_t size = fread(input, 1, INPUT_MAX, stdin);
    input[size] = 0;
    while (at < input + size && request_count < REQUESTS_MAX) {
        struct request *r = &requests[request_count++];
        r->size = strtoul(at, &at, 10);
        r->bytes = at + 1;
        if (*at != '\n' || r->bytes + r->size > input + size) { fprintf(stderr, "no requests\n"); exit(2); }
        r->number = memmem(r->bytes, r->size, "########", 8);
        at = r->bytes + r->size;
    }
    if (!request_count) exit(2);
}

int main(int argc, char **argv) {
    if (argc != 5) { fprintf(stderr, "http_load PORT CONNECTIONS SECONDS STATUS < REQUESTS\n"); return 2; }
    int connections = atoi(argv[2]), one = 1, epoll = epoll_create1(0);
    if (connections < 1 || connections > CONNECTIONS_MAX) return 2;
    char status[8];
    snprintf(status, sizeof status, " %.3s", argv[4]);
    wanted = status;
    read_requests();
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < connections; i++) {
        struct connection *c = calloc(1, sizeof *c);
        if (!c || (c->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0) fail("socket");
        if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl");
        ask(c);
    }
    int64_t began = now_ns(), until = began + atoi(argv[3]) * 1000000000LL, now = began;
    struct epoll_event events[256];
    while ((now = now_ns()) < until) {
        int ready = epoll_wait(epoll, events, 256, 100);
        for (int i = 0; i < ready; i++) hear(events[i].data.ptr);
    }
    printf("{\"good\": %lu, \"others\": %lu, \"seconds\": %.3f, \"p50_us\": %ld, \"p99_us\": %ld}\n",
           (unsigned long)good, (unsigned long)others, (now - began) / 1e9, percentile_us(50), percentile_us(99));
    return 0;
}
