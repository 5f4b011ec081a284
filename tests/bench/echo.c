/*
 * What the ways to do I/O cost by themselves: the same echo over socket pairs with
 *   reactor             workers wait in one epoll with EPOLLONESHOT, read, work, write, arm again
 *   simulated-proactor  the main thread waits, reads and writes; workers only work
 *   proactor            the kernel reads and writes (io_uring); workers only work
 *   posix-aio           glibc's aio_read and aio_write with a signal as notice; workers only work
 *
 * A client process sends a message of 60 bytes on every pair and the next one when it has come back. The
 * figures, as JSON, are of the serving process alone.
 */
#include "bench.h"
#include "echo_client.h"

#include <aio.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef BENCH_IO_URING
#include <liburing.h>
#endif

#define PAIRS_MAX    1000
#define WORKERS_MAX  16
#define TIME_LIMIT_S 120

struct channel {
    int fd;
    bool writing; /* proactor, posix-aio: the operation under way is the write */
    size_t size;
    char bytes[BENCH_LINE_BYTES];
    struct channel *next;
    struct aiocb aio;
};

struct list {
    struct channel *first, **tail;
};

static struct {
    size_t pairs, count, workers;
    const char *model;
} options = { .pairs = 50, .count = 100000, .workers = 2, .model = "reactor" };

static struct channel channels[PAIRS_MAX];
static int client_fds[PAIRS_MAX];
static int threads_seen;

static void die(const char *what)
{
    fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void put(struct list *list, struct channel *channel)
{
    channel->next = NULL;
    if (!list->first) {
        list->tail = &list->first;
    }
    *list->tail = channel;
    list->tail = &channel->next;
}

static struct channel *get(struct list *list)
{
    struct channel *channel = list->first;
    if (channel) {
        list->first = channel->next;
    }
    return channel;
}

/* The work itself, the same for all. */
static void work(struct channel *channel)
{
    for (size_t i = 0; i < channel->size; i++) {
        channel->bytes[i] ^= 0x20;
    }
}

static int count_threads(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[128];
    int threads = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "Threads: %d", &threads) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return threads;
}

/* --- the pool of workers behind simulated-proactor, proactor and posix-aio --- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct list todo, done;
    bool stop;
    int wake_fd; /* tells the main thread that something is done; -1: finish() is called instead */
    void (*finish)(struct channel *channel);
    pthread_t threads[WORKERS_MAX];
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .some = PTHREAD_COND_INITIALIZER, .wake_fd = -1 };

static void *pool_run(void *argument)
{
    (void)argument;
    pthread_mutex_lock(&pool.lock);
    while (!pool.stop) {
        struct channel *channel = get(&pool.todo);
        if (!channel) {
            pthread_cond_wait(&pool.some, &pool.lock);
            continue;
        }
        pthread_mutex_unlock(&pool.lock);
        work(channel);
        if (pool.finish) {
            pool.finish(channel);
            pthread_mutex_lock(&pool.lock);
            continue;
        }
        pthread_mutex_lock(&pool.lock);
        bool wake = !pool.done.first;
        put(&pool.done, channel);
        if (wake) {
            pthread_mutex_unlock(&pool.lock);
            eventfd_write(pool.wake_fd, 1);
            pthread_mutex_lock(&pool.lock);
        }
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

static void start_threads(pthread_t *threads, void *(*run)(void *), void *argument)
{
    for (size_t i = 0; i < options.workers; i++) {
        errno = pthread_create(&threads[i], NULL, run, argument);
        if (errno) {
            die("pthread_create");
        }
    }
}

static void pool_start(void (*finish)(struct channel *channel))
{
    pool.finish = finish;
    pool.wake_fd = finish ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    start_threads(pool.threads, pool_run, NULL);
}

static void pool_give(struct channel *channel)
{
    pthread_mutex_lock(&pool.lock);
    put(&pool.todo, channel);
    pthread_mutex_unlock(&pool.lock);
    pthread_cond_signal(&pool.some);
}

static struct list pool_take_done(void)
{
    pthread_mutex_lock(&pool.lock);
    struct list done = pool.done;
    pool.done.first = NULL;
    pthread_mutex_unlock(&pool.lock);
    return done;
}

static void pool_stop(void)
{
    threads_seen = count_threads();
    pthread_mutex_lock(&pool.lock);
    pool.stop = true;
    pthread_cond_broadcast(&pool.some);
    pthread_mutex_unlock(&pool.lock);
    for (size_t i = 0; i < options.workers; i++) {
        pthread_join(pool.threads[i], NULL);
    }
}

/* --- reactor --- */

static int reactor_fd;
static size_t reactor_left;

static void *reactor_run(void *argument)
{
    (void)argument;
    for (;;) {
        struct epoll_event event;
        if (epoll_wait(reactor_fd, &event, 1, -1) != 1) {
            continue;
        }
        struct channel *channel = event.data.ptr;
        if (!channel) {
            return NULL; /* level-triggered: the others see it too */
        }
        ssize_t size = read(channel->fd, channel->bytes, sizeof channel->bytes);
        if (size <= 0) {
            if (__atomic_sub_fetch(&reactor_left, 1, __ATOMIC_ACQ_REL) == 0) {
                threads_seen = count_threads();
                eventfd_write(pool.wake_fd, 1);
            }
            continue;
        }
        channel->size = (size_t)size;
        work(channel);
        if (write(channel->fd, channel->bytes, channel->size) != size) {
            die("write");
        }
        event.events = EPOLLIN | EPOLLONESHOT;
        epoll_ctl(reactor_fd, EPOLL_CTL_MOD, channel->fd, &event);
    }
}

static void watch(int epoll_fd, int fd, uint32_t events, void *pointer)
{
    struct epoll_event event = { .events = events, .data.ptr = pointer };
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        die("epoll_ctl");
    }
}

static void serve_reactor(void)
{
    reactor_fd = epoll_create1(EPOLL_CLOEXEC);
    reactor_left = options.pairs;
    pool.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    watch(reactor_fd, pool.wake_fd, EPOLLIN, NULL);
    for (size_t i = 0; i < options.pairs; i++) {
        watch(reactor_fd, channels[i].fd, EPOLLIN | EPOLLONESHOT, &channels[i]);
    }
    start_threads(pool.threads, reactor_run, NULL);
    for (size_t i = 0; i < options.workers; i++) {
        pthread_join(pool.threads[i], NULL);
    }
}

/* --- simulated proactor --- */

static void write_done(void)
{
    struct list done = pool_take_done();
    struct channel *channel = NULL;
    while ((channel = get(&done))) {
        if (write(channel->fd, channel->bytes, channel->size) != (ssize_t)channel->size) {
            die("write");
        }
    }
}

static void serve_simulated(void)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    pool_start(NULL);
    watch(epoll_fd, pool.wake_fd, EPOLLIN, NULL);
    for (size_t i = 0; i < options.pairs; i++) {
        watch(epoll_fd, channels[i].fd, EPOLLIN, &channels[i]);
    }
    for (size_t left = options.pairs; left > 0;) {
        struct epoll_event events[64];
        int count = epoll_wait(epoll_fd, events, 64, -1);
        for (int i = 0; i < count; i++) {
            struct channel *channel = events[i].data.ptr;
            if (!channel) {
                eventfd_t value;
                eventfd_read(pool.wake_fd, &value);
                write_done();
                continue;
            }
            ssize_t size = read(channel->fd, channel->bytes, sizeof channel->bytes);
            if (size > 0) {
                channel->size = (size_t)size;
                pool_give(channel);
            } else {
                epoll_ctl(epoll_fd, EPOLL_CTL_DEL, channel->fd, NULL);
                left--;
            }
        }
    }
    pool_stop();
    close(epoll_fd);
}

/* --- proactor --- */

#ifdef BENCH_IO_URING
static struct io_uring ring;
static eventfd_t ring_wake;

static void submit(struct channel *channel)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (!sqe) {
        die("the submission queue is full");
    }
    if (!channel) {
        io_uring_prep_read(sqe, pool.wake_fd, &ring_wake, sizeof ring_wake, 0);
    } else if (channel->writing) {
        io_uring_prep_send(sqe, channel->fd, channel->bytes, channel->size, MSG_NOSIGNAL);
    } else {
        io_uring_prep_recv(sqe, channel->fd, channel->bytes, sizeof channel->bytes, 0);
    }
    io_uring_sqe_set_data(sqe, channel);
}

/* Returns whether a connection has ended. */
static bool complete(struct channel *channel, int result)
{
    if (!channel) {
        struct list done = pool_take_done();
        while ((channel = get(&done))) {
            channel->writing = true;
            submit(channel);
        }
        submit(NULL);
    } else if (channel->writing) {
        channel->writing = false;
        submit(channel);
    } else if (result > 0) {
        channel->size = (size_t)result;
        pool_give(channel);
    } else {
        return true;
    }
    return false;
}

static void serve_uring(void)
{
    unsigned entries = (unsigned)options.pairs * 2 + 8;
    int error = io_uring_queue_init(entries, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
    if (error == -EINVAL) {
        error = io_uring_queue_init(entries, &ring, 0); /* before Linux 6.1 */
    }
    if (error) {
        errno = -error;
        die("io_uring");
    }
    pool_start(NULL);
    submit(NULL);
    for (size_t i = 0; i < options.pairs; i++) {
        submit(&channels[i]);
    }
    for (size_t left = options.pairs; left > 0;) {
        int result = io_uring_submit_and_wait(&ring, 1);
        if (result < 0 && result != -EINTR) {
            errno = -result;
            die("io_uring_submit_and_wait");
        }
        struct io_uring_cqe *cqes[64];
        unsigned count = io_uring_peek_batch_cqe(&ring, cqes, 64);
        for (unsigned i = 0; i < count; i++) {
            left -= complete(io_uring_cqe_get_data(cqes[i]), cqes[i]->res);
        }
        io_uring_cq_advance(&ring, count);
    }
    pool_stop();
    io_uring_queue_exit(&ring);
}
#else
static void serve_uring(void)
{
    errno = ENOSYS;
    die("built without liburing");
}
#endif

/* --- POSIX AIO --- */

static void aio_start(struct channel *channel)
{
    channel->aio = (struct aiocb){ .aio_fildes = channel->fd,
                                   .aio_buf = channel->bytes,
                                   .aio_nbytes = channel->writing ? channel->size : sizeof channel->bytes };
    channel->aio.aio_sigevent.sigev_notify = SIGEV_SIGNAL;
    channel->aio.aio_sigevent.sigev_signo = SIGRTMIN;
    channel->aio.aio_sigevent.sigev_value.sival_ptr = channel;
    if ((channel->writing ? aio_write(&channel->aio) : aio_read(&channel->aio)) < 0) {
        die("aio");
    }
}

static void aio_reply(struct channel *channel)
{
    channel->writing = true;
    aio_start(channel);
}

static void serve_aio(void)
{
    sigset_t notice;
    sigemptyset(&notice);
    sigaddset(&notice, SIGRTMIN);
    pthread_sigmask(SIG_BLOCK, &notice, NULL);
    /* A read that waits holds one of glibc's threads; with fewer than channels some would never be read. */
    const struct aioinit init = { .aio_threads = (int)options.pairs + 1, .aio_num = (int)options.pairs + 1 };
    aio_init(&init);
    pool_start(aio_reply);
    for (size_t i = 0; i < options.pairs; i++) {
        aio_start(&channels[i]);
    }
    size_t reads = 0;
    int most = 0;
    for (size_t left = options.pairs; left > 0;) {
        siginfo_t info;
        if (sigwaitinfo(&notice, &info) < 0) {
            continue;
        }
        struct channel *channel = info.si_value.sival_ptr;
        ssize_t size = aio_return(&channel->aio);
        if (channel->writing) {
            channel->writing = false;
            aio_start(channel);
        } else if (size > 0) {
            channel->size = (size_t)size;
            if (++reads == options.count / 2) {
                most = count_threads(); /* glibc's own come and go */
            }
            pool_give(channel);
        } else {
            left--;
        }
    }
    pool_stop();
    threads_seen = most;
}

static const struct {
    const char *name;
    void (*serve)(void);
} models[] = { { "reactor", serve_reactor },
               { "simulated-proactor", serve_simulated },
               { "proactor", serve_uring },
               { "posix-aio", serve_aio } };

static void parse(int argc, char **argv)
{
    static const struct option known[] = { { "model", required_argument, NULL, 'm' },
                                           { "pairs", required_argument, NULL, 'p' },
                                           { "count", required_argument, NULL, 'n' },
                                           { "workers", required_argument, NULL, 'w' },
                                           { 0 } };
    int option = 0;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'm':
            options.model = optarg;
            break;
        case 'p':
            options.pairs = (size_t)bench_number("echo", "pairs", optarg, 1, PAIRS_MAX);
            break;
        case 'n':
            options.count = (size_t)bench_number("echo", "count", optarg, 1, 100000000);
            break;
        case 'w':
            options.workers = (size_t)bench_number("echo", "workers", optarg, 1, WORKERS_MAX);
            break;
        default:
            fprintf(stderr, "usage: echo [--model NAME] [--pairs N] [--count N] [--workers N]\n");
            exit(2);
        }
    }
    if (options.count < options.pairs) {
        options.count = options.pairs;
    }
}

static pid_t open_pairs(void)
{
    for (size_t i = 0; i < options.pairs; i++) {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
            die("socketpair");
        }
        channels[i].fd = fds[0];
        client_fds[i] = fds[1];
    }
    pid_t client = fork();
    if (client < 0) {
        die("fork");
    }
    for (size_t i = 0; i < options.pairs; i++) {
        close(client ? client_fds[i] : channels[i].fd);
    }
    alarm(TIME_LIMIT_S);
    if (client == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        echo_client_run(client_fds, options.pairs, options.count);
    }
    return client;
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    void (*serve)(void) = NULL;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (strcmp(models[i].name, options.model) == 0) {
            serve = models[i].serve;
        }
    }
    if (!serve) {
        fprintf(stderr, "echo: there is no model \"%s\"\n", options.model);
        return 2;
    }
    bench_raise_files();
    pid_t client = open_pairs();
    int64_t start_ns = bench_now_ns();
    serve();
    double elapsed_s = (double)(bench_now_ns() - start_ns) / BENCH_NS_PER_S;
    int status = 0;
    struct rusage usage;
    if (waitpid(client, &status, 0) != client || status != 0) {
        fprintf(stderr, "echo: the client failed\n");
        return 1;
    }
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"model\":\"%s\",\"echoes\":%zu,\"elapsed_s\":%.6f,\"cpu_s\":%.6f,\"threads\":%d,\"switches\":%"
           "ld}\n",
           options.model, options.count / options.pairs * options.pairs, elapsed_s,
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
           threads_seen, usage.ru_nvcsw + usage.ru_nivcsw);
    return 0;
}
