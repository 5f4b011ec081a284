#include "resolver.h"

#include "address.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_WAITING 256
#define STACK_BYTES  (512 * 1024)

/* Until it is posted the thread's (which frees what was cancelled), from then on its strand's. */
struct fg_lookup {
    struct fg_task task;
    struct fg_lookup *next;
    struct fg_strand *strand; /* NULL: cancelled */
    void (*found)(void *context, const struct fg_lookup_result *result);
    void *context;
    char host[FG_HOST_TEXT];
    uint16_t port;
    struct fg_lookup_result result;
};

static struct {
    pthread_mutex_t mutex;
    struct fg_lookup *first, *last;
    size_t waiting;
    bool running; /* there is a thread */
} resolver = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void take_addresses(struct fg_lookup *lookup, const struct addrinfo *list)
{
    struct fg_lookup_result *result = &lookup->result;
    for (; list != NULL && result->count < FG_LOOKUP_ADDRESSES; list = list->ai_next) {
        union fg_address *address = &result->addresses[result->count];
        if ((list->ai_family == AF_INET && list->ai_addrlen == sizeof address->in) ||
            (list->ai_family == AF_INET6 && list->ai_addrlen == sizeof address->in6)) {
            memcpy(address, list->ai_addr, list->ai_addrlen);
            result->count++;
        }
    }
}

static void look_up(struct fg_lookup *lookup)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_NUMERICSERV };
    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)lookup->port);
    struct addrinfo *list = NULL;
    lookup->result.error = getaddrinfo(lookup->host, service, &hints, &list);
    if (lookup->result.error == 0) {
        take_addresses(lookup, list);
        freeaddrinfo(list);
        if (lookup->result.count == 0) {
            lookup->result.error = EAI_NONAME;
        }
    }
}

static void deliver(struct fg_task *task)
{
    struct fg_lookup *lookup = (struct fg_lookup *)(void *)task;
    /* Only the strand cancels, and this is the strand. */
    if (lookup->strand != NULL) {
        lookup->found(lookup->context, &lookup->result);
    }
    free(lookup);
}

static void *resolve(void *unused)
{
    pthread_mutex_lock(&resolver.mutex);
    while (resolver.first != NULL) {
        struct fg_lookup *lookup = resolver.first;
        resolver.first = lookup->next;
        resolver.waiting--;
        bool wanted = lookup->strand != NULL;
        pthread_mutex_unlock(&resolver.mutex);
        if (wanted) {
            look_up(lookup);
        }
        pthread_mutex_lock(&resolver.mutex);
        if (lookup->strand != NULL) {
            fg_strand_post(lookup->strand, &lookup->task);
        } else {
            free(lookup);
        }
    }
    resolver.running = false;
    pthread_mutex_unlock(&resolver.mutex);
    return unused;
}

/* The thread gets no signals: they are the main loop's. */
static int start_thread(void)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0) {
        return -EAGAIN;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attributes, resolve, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0 ? 0 : -EAGAIN;
}

static int enqueue(struct fg_lookup *lookup)
{
    if (resolver.waiting >= MOST_WAITING) {
        return -EAGAIN;
    }
    if (!resolver.running) {
        if (start_thread() < 0) {
            return -EAGAIN;
        }
        resolver.running = true;
    }
    if (resolver.first == NULL) {
        resolver.first = lookup;
    } else {
        resolver.last->next = lookup;
    }
    resolver.last = lookup;
    resolver.waiting++;
    return 0;
}

int fg_lookup_start(const char *host, uint16_t port, struct fg_strand *strand,
                    void (*found)(void *context, const struct fg_lookup_result *result), void *context,
                    struct fg_lookup **lookup)
{
    struct fg_lookup *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->task.run = deliver;
    made->strand = strand;
    made->found = found;
    made->context = context;
    made->port = port;
    snprintf(made->host, sizeof made->host, "%s", host);
    pthread_mutex_lock(&resolver.mutex);
    int error = enqueue(made);
    pthread_mutex_unlock(&resolver.mutex);
    if (error < 0) {
        free(made);
        return error;
    }
    *lookup = made;
    return 0;
}

void fg_lookup_cancel(struct fg_lookup *lookup)
{
    /* Also for NULL: the thread posts with the mutex held, so that afterwards it is done with the strand. */
    pthread_mutex_lock(&resolver.mutex);
    if (lookup != NULL) {
        lookup->strand = NULL;
    }
    pthread_mutex_unlock(&resolver.mutex);
}
