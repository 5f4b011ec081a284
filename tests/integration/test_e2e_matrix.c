/* Every transport with every framing and every decoder: three frames go in, three messages come out. */
#include "support/client.h"
#include "support/e2e.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAMES 3

struct framing {
    const char *name;
    const char *settings;                                         /* %zu: the length of a frame */
    size_t (*wrap)(const char *frame, size_t size, uint8_t *out); /* returns what goes onto the wire */
};

struct decoder {
    const char *name;
    const char *settings;
    const char *frames[FRAMES]; /* of one length */
    const char *fields[FRAMES]; /* what of them stands in the message; NULL: the frame itself */
};

static size_t wrap_line(const char *frame, size_t size, uint8_t *out)
{
    memcpy(out, frame, size);
    memcpy(out + size, "\r\n", 2);
    return size + 2;
}

static size_t wrap_length(const char *frame, size_t size, uint8_t *out)
{
    out[0] = (uint8_t)(size >> 8);
    out[1] = (uint8_t)size;
    memcpy(out + 2, frame, size);
    return size + 2;
}

static size_t wrap_plain(const char *frame, size_t size, uint8_t *out)
{
    memcpy(out, frame, size);
    return size;
}

static size_t wrap_stx_etx(const char *frame, size_t size, uint8_t *out)
{
    uint8_t sum = 0x03; /* over the payload and the end byte */
    out[0] = 0x02;
    memcpy(out + 1, frame, size);
    out[size + 1] = 0x03;
    for (size_t i = 0; i < size; i++) {
        sum ^= (uint8_t)frame[i];
    }
    out[size + 2] = sum;
    return size + 3;
}

static size_t wrap_slip(const char *frame, size_t size, uint8_t *out)
{
    out[0] = 0xc0;
    memcpy(out + 1, frame, size);
    out[size + 1] = 0xc0;
    return size + 2;
}

/* One block: the frames here are short and have no zero byte. */
static size_t wrap_cobs(const char *frame, size_t size, uint8_t *out)
{
    out[0] = (uint8_t)(size + 1);
    memcpy(out + 1, frame, size);
    out[size + 1] = 0;
    return size + 2;
}

static const struct framing framings[] = {
    { "line", "type = \"line\";", wrap_line },
    { "length", "type = \"length\"; header_bytes = 2;", wrap_length },
    { "fixed", "type = \"fixed\"; bytes = %zu;", wrap_plain },
    { "gap", "type = \"gap\"; gap = \"20ms\";", wrap_plain },
    { "stx-etx", "type = \"stx-etx\"; checksum = \"xor\";", wrap_stx_etx },
    { "slip", "type = \"slip\";", wrap_slip },
    { "cobs", "type = \"cobs\";", wrap_cobs },
};

static const struct decoder decoders[] = {
    { "raw", "type = \"raw\";", { "alpha-1", "bravo;2", "c{}[]#/" }, { NULL } },
    { "json",
      "type = \"json\";",
      { "{\"t\":21.5,\"in\":{\"h\":40}}", "{\"t\":-2.5,\"in\":{\"h\":17}}",
        "{\"t\":-999,\"in\":{\"h\":70}}" },
      { "{\"t\":21.5,\"in.h\":40}", "{\"t\":-2.5,\"in.h\":17}", "{\"t\":-999,\"in.h\":70}" } },
    { "csv",
      "type = \"csv\"; columns = [ \"name\", \"level\", \"\" ];",
      { "tank,17,skip", "well,-5,skip", "pond,00,skip" },
      { "{\"name\":\"tank\",\"level\":17}", "{\"name\":\"well\",\"level\":-5}", "{\"name\":\"pond\"}" } },
    { "keyvalue",
      "type = \"keyvalue\";",
      { "temp=21.5 hum=40", "temp=-9.5 hum=77", "temp=0.25 hum=99" },
      { "{\"temp\":21.5,\"hum\":40}", "{\"temp\":-9.5,\"hum\":77}", "{\"temp\":0.25,\"hum\":99}" } },
    { "nmea0183",
      "type = \"nmea0183\";",
      { "$HCHDT,123.4,T*2D", "$HCHDT,223.4,T*2E", "$HCHDT,323.4,T*2F" },
      { "{\"talker\":\"HC\",\"sentence\":\"HDT\"}", "{\"talker\":\"HC\",\"sentence\":\"HDT\"}",
        "{\"talker\":\"HC\",\"sentence\":\"HDT\"}" } },
};

#define FRAMINGS (sizeof framings / sizeof framings[0])
#define DECODERS (sizeof decoders / sizeof decoders[0])
#define PORTS    (FRAMINGS * DECODERS)

/* A way onto the wire: the transport's settings of a port, and the sender's end once the daemon runs. */
struct wire {
    void (*describe)(struct e2e *e2e, size_t port, char *settings, size_t size);
    void (*open)(struct e2e *e2e, size_t port);
    void (*send)(struct e2e *e2e, size_t port, const uint8_t *bytes, size_t size);
    void (*close)(struct e2e *e2e, size_t port);
};

static unsigned port_numbers[PORTS];
static int descriptors[PORTS];

static void port_name(size_t port, char out[32])
{
    snprintf(out, 32, "%s-%s", framings[port / DECODERS].name, decoders[port % DECODERS].name);
}

static void send_descriptor(struct e2e *e2e, size_t port, const uint8_t *bytes, size_t size)
{
    (void)e2e;
    client_send(descriptors[port], bytes, size);
}

static void close_descriptor(struct e2e *e2e, size_t port)
{
    (void)e2e;
    close(descriptors[port]);
}

static void describe_tcp_server(struct e2e *e2e, size_t port, char *settings, size_t size)
{
    (void)e2e;
    port_numbers[port] = client_free_port();
    snprintf(settings, size, "type = \"tcp-server\"; tcp_port = %u;", port_numbers[port]);
}

static void open_tcp_server(struct e2e *e2e, size_t port)
{
    (void)e2e;
    descriptors[port] = client_tcp(port_numbers[port]);
}

static void describe_tcp_client(struct e2e *e2e, size_t port, char *settings, size_t size)
{
    (void)e2e;
    descriptors[port] = client_listen(&port_numbers[port]);
    snprintf(settings, size, "type = \"tcp-client\"; address = \"127.0.0.1:%u\";", port_numbers[port]);
}

static void open_tcp_client(struct e2e *e2e, size_t port)
{
    (void)e2e;
    int listener = descriptors[port];
    descriptors[port] = client_accept(listener);
    close(listener);
}

static void describe_unix(struct e2e *e2e, size_t port, char *settings, size_t size)
{
    snprintf(settings, size, "type = \"unix\"; kind = \"stream\"; path = \"%s/%zu.sock\";", e2e->folder,
             port);
}

static void open_unix(struct e2e *e2e, size_t port)
{
    char path[TEMPDIR_PATH + 24];
    snprintf(path, sizeof path, "%s/%zu.sock", e2e->folder, port);
    descriptors[port] = client_unix(path, SOCK_STREAM);
}

static void describe_serial(struct e2e *e2e, size_t port, char *settings, size_t size)
{
    char name[24];
    snprintf(name, sizeof name, "tty%zu", port);
    const struct pty *pty = e2e_plug_pty(e2e, name);
    snprintf(settings, size, "type = \"serial\"; path = \"%s\"; baud = 115200;", pty->link);
}

static void open_serial(struct e2e *e2e, size_t port)
{
    char name[32];
    port_name(port, name);
    e2e_wait_open(e2e, name, 1);
}

static void send_serial(struct e2e *e2e, size_t port, const uint8_t *bytes, size_t size)
{
    pty_write(&e2e->ptys[port], bytes, size);
}

static void close_serial(struct e2e *e2e, size_t port)
{
    pty_unplug(&e2e->ptys[port]);
}

static void send_frames(struct e2e *e2e, const struct wire *wire, size_t port)
{
    const struct framing *framing = &framings[port / DECODERS];
    const struct decoder *decoder = &decoders[port % DECODERS];
    char topic[64];
    char name[32];
    port_name(port, name);
    snprintf(topic, sizeof topic, "%s/state", name);
    for (size_t i = 0; i < FRAMES; i++) {
        uint8_t bytes[256];
        size_t size = framing->wrap(decoder->frames[i], strlen(decoder->frames[i]), bytes);
        wire->send(e2e, port, bytes, size);
        if (decoder->fields[i]) {
            e2e_expect_fields(e2e, topic, decoder->fields[i]);
        } else {
            e2e_expect(e2e, topic, decoder->frames[i]);
        }
    }
    e2e_expect_no_more(e2e, topic);
}

static void run_wire(struct e2e *e2e, const struct wire *wire)
{
    char *ports = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&ports, &size);
    for (size_t port = 0; port < PORTS; port++) {
        char name[32];
        char transport[256];
        char framing[128];
        port_name(port, name);
        wire->describe(e2e, port, transport, sizeof transport);
        snprintf(framing, sizeof framing, "%s", framings[port / DECODERS].settings);
        char *number = strstr(framing, "%zu");
        if (number) {
            sprintf(number, "%zu;", strlen(decoders[port % DECODERS].frames[0]));
        }
        fprintf(out, "{ name = \"%s\"; transport: { %s }; framing: { %s }; decoder: { %s }; },\n", name,
                transport, framing, decoders[port % DECODERS].settings);
    }
    fclose(out);
    e2e_start(e2e, "%s", ports);
    free(ports);
    for (size_t port = 0; port < PORTS; port++) {
        wire->open(e2e, port);
    }
    for (size_t port = 0; port < PORTS; port++) {
        send_frames(e2e, wire, port);
    }
    for (size_t port = 0; port < PORTS; port++) {
        wire->close(e2e, port);
    }
}

static void tcp_server_carries_every_framing_and_decoder(struct e2e *e2e)
{
    run_wire(e2e, &(struct wire){ describe_tcp_server, open_tcp_server, send_descriptor, close_descriptor });
}

static void tcp_client_carries_every_framing_and_decoder(struct e2e *e2e)
{
    run_wire(e2e, &(struct wire){ describe_tcp_client, open_tcp_client, send_descriptor, close_descriptor });
}

static void unix_stream_carries_every_framing_and_decoder(struct e2e *e2e)
{
    run_wire(e2e, &(struct wire){ describe_unix, open_unix, send_descriptor, close_descriptor });
}

static void serial_carries_every_framing_and_decoder(struct e2e *e2e)
{
    run_wire(e2e, &(struct wire){ describe_serial, open_serial, send_serial, close_serial });
}

/* One datagram is one frame where no framing is given; with one, a datagram may hold several. */
static void run_datagrams(struct e2e *e2e, int kind)
{
    char *ports = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&ports, &size);
    char transport[256];
    for (size_t i = 0; i <= DECODERS; i++) {
        if (kind < 0) {
            port_numbers[i] = client_free_port();
            snprintf(transport, sizeof transport, "type = \"udp\"; udp_port = %u;", port_numbers[i]);
        } else {
            snprintf(transport, sizeof transport,
                     "type = \"unix\"; kind = \"datagram\"; path = \"%s/%zu.sock\";", e2e->folder, i);
        }
        fprintf(out, "{ name = \"d%zu\"; transport: { %s }; decoder: { %s }; %s },\n", i, transport,
                i < DECODERS ? decoders[i].settings : "type = \"raw\";",
                i < DECODERS ? "" : "framing: { type = \"line\"; };");
    }
    fclose(out);
    e2e_start(e2e, "%s", ports);
    free(ports);
    for (size_t i = 0; i <= DECODERS; i++) {
        char path[TEMPDIR_PATH + 24];
        char topic[32];
        snprintf(path, sizeof path, "%s/%zu.sock", e2e->folder, i);
        snprintf(topic, sizeof topic, "d%zu/state", i);
        int fd = kind < 0 ? client_udp(port_numbers[i]) : client_unix(path, kind);
        for (size_t j = 0; i < DECODERS && j < FRAMES; j++) {
            client_send(fd, decoders[i].frames[j], strlen(decoders[i].frames[j]));
            if (decoders[i].fields[j]) {
                e2e_expect_fields(e2e, topic, decoders[i].fields[j]);
            } else {
                e2e_expect(e2e, topic, decoders[i].frames[j]);
            }
        }
        if (i == DECODERS) {
            client_print(fd, "one\r\ntwo\nthree");
            e2e_expect(e2e, topic, "one");
            e2e_expect(e2e, topic, "two");
            e2e_expect(e2e, topic, "three");
        }
        close(fd);
        e2e_expect_no_more(e2e, topic);
    }
}

static void udp_carries_every_decoder(struct e2e *e2e)
{
    run_datagrams(e2e, -1);
}

static void unix_datagrams_carry_every_decoder(struct e2e *e2e)
{
    run_datagrams(e2e, SOCK_DGRAM);
}

int main(void)
{
    static const struct e2e_test tests[] = {
        E2E_TEST(tcp_server_carries_every_framing_and_decoder),
        E2E_TEST(tcp_client_carries_every_framing_and_decoder),
        E2E_TEST(unix_stream_carries_every_framing_and_decoder),
        E2E_TEST(serial_carries_every_framing_and_decoder),
        E2E_TEST(udp_carries_every_decoder),
        E2E_TEST(unix_datagrams_carry_every_decoder),
    };
    return e2e_main("e2e_matrix", tests, sizeof tests / sizeof tests[0]);
}
