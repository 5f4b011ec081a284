#include "address.h"
#include "publisher_secret.h"

#include "fieldgate/clock.h"
#include "fieldgate/publisher.h"
#include "fieldgate/text.h"

#include <string.h>

#define MS FG_NS_PER_MS
#define S  FG_NS_PER_S

static const char *const protocols[] = { "5", "3.1.1", NULL };
static const char *const versions[] = { "1.2", "1.3", NULL };

/* Also where the daemon does not run yet: a file that is not there is no problem here. */
static void check_secret(struct fg_check *check, const char *key, const void *field)
{
    const char *path = *(char *const *)field;
    char why[FG_WHY_SIZE];
    if (path[0] && fg_secret_is_exposed(path, why)) {
        fg_check_problem(check, key, "%s: %s", path, why);
    }
}

#define TLS(field) offsetof(struct fg_tls_settings, field)

static const struct fg_setting tls_settings[] = {
    { .key = "ca_file",
      .type = FG_SETTING_TEXT,
      .offset = TLS(ca_file),
      .fallback = "",
      .minimum = 0,
      .maximum = 4095,
      .help = "PEM file of the authorities that may sign the broker's certificate. With neither "
              "`ca_file` nor `ca_path`, those of the system." },
    { .key = "ca_path",
      .type = FG_SETTING_TEXT,
      .offset = TLS(ca_path),
      .fallback = "",
      .minimum = 0,
      .maximum = 4095,
      .help = "Folder of such files, prepared by `openssl rehash`; beside or in place of `ca_file`." },
    { .key = "cert_file",
      .type = FG_SETTING_TEXT,
      .offset = TLS(cert_file),
      .fallback = "",
      .minimum = 0,
      .maximum = 4095,
      .help = "PEM file of the gateway's own certificate, for brokers that ask for one." },
    { .key = "key_file",
      .type = FG_SETTING_TEXT,
      .offset = TLS(key_file),
      .fallback = "",
      .minimum = 0,
      .maximum = 4095,
      .check = check_secret,
      .help = "PEM file of the key of `cert_file`. Others must not be able to read it (`chmod 600`)." },
    { .key = "key_password_file",
      .type = FG_SETTING_TEXT,
      .offset = TLS(key_password_file),
      .fallback = "",
      .minimum = 0,
      .maximum = 4095,
      .check = check_secret,
      .help = "File with the password of `key_file`. Others must not be able to read it." },
    { .key = "alpn",
      .type = FG_SETTING_TEXT,
      .offset = TLS(alpn),
      .fallback = "",
      .minimum = 0,
      .maximum = 254,
      .help = "Application protocol to ask for, for brokers that share a port." },
    { .key = "psk_identity",
      .type = FG_SETTING_TEXT,
      .offset = TLS(psk_identity),
      .fallback = "",
      .minimum = 0,
      .maximum = 127,
      .help = "Name of a pre-shared key, in place of certificates." },
    { .key = "psk_file",
      .type = FG_SETTING_TEXT,
      .offset = TLS(psk_file),
      .fallback = "",
      .minimum = 0,
      .maximum = 4095,
      .check = check_secret,
      .help = "File with the pre-shared key in hexadecimal. Others must not be able to read it." },
    { .key = "min_version",
      .type = FG_SETTING_CHOICE,
      .offset = TLS(min_version),
      .fallback = "1.2",
      .choices = versions,
      .help = "Oldest version of TLS that is taken." },
    { .key = "insecure",
      .type = FG_SETTING_BOOLEAN,
      .offset = TLS(insecure),
      .fallback = "false",
      .help =
          "Take a certificate that is made out to another name. All else is checked still. For tests; each "
          "connect says so in the log." },
    { 0 },
};

static void check_tls(struct fg_check *check, const void *settings)
{
    const struct fg_tls_settings *tls = settings;
    if (tls->cert_file[0] && !tls->key_file[0]) {
        fg_check_problem(check, "cert_file", "a certificate needs its key; set key_file");
    }
    if (tls->key_file[0] && !tls->cert_file[0]) {
        fg_check_problem(check, "key_file", "a key needs its certificate; set cert_file");
    }
    if (tls->key_password_file[0] && !tls->key_file[0]) {
        fg_check_problem(check, "key_password_file", "there is no key to open; set key_file");
    }
    if (tls->psk_identity[0] && !tls->psk_file[0]) {
        fg_check_problem(check, "psk_identity", "an identity needs its key; set psk_file");
    }
    if (tls->psk_file[0] && !tls->psk_identity[0]) {
        fg_check_problem(check, "psk_file", "a pre-shared key needs its identity; set psk_identity");
    }
    if (tls->psk_file[0] && (tls->ca_file[0] || tls->ca_path[0] || tls->cert_file[0])) {
        fg_check_problem(check, "psk_file",
                         "a pre-shared key stands in place of certificates; set one or the other");
    }
}

static const struct fg_schema tls_schema = {
    .name = "tls",
    .help =
        "The connection to the broker is encrypted when this group is there. The broker is always verified: "
        "its "
        "certificate must be valid, signed by a trusted authority and made out to the name or address that "
        "stands in `address`. The files are read anew at each connect, so that what is renewed is used "
        "without a restart.",
    .size = sizeof(struct fg_tls_settings),
    .settings = tls_settings,
    .check = check_tls,
};

#define MQTT(field) offsetof(struct fg_mqtt_settings, field)

static const struct fg_setting mqtt_settings[] = {
    { .key = "address",
      .type = FG_SETTING_TEXTS,
      .offset = MQTT(address),
      .fallback = "localhost:1883",
      .minimum = 1,
      .maximum = FG_ADDRESSES_MAX,
      .help = "The broker as `host:port` or `[IPv6]:port`; or a list, tried in turn, with a way back to the "
              "first when that answers again for good." },
    { .key = "protocol",
      .type = FG_SETTING_CHOICE,
      .offset = MQTT(protocol),
      .fallback = "5",
      .choices = protocols,
      .help = "Version of MQTT. A broker that refuses 5 is talked to in 3.1.1." },
    { .key = "client_id",
      .type = FG_SETTING_TEXT,
      .offset = MQTT(client_id),
      .fallback = "fieldgate-{gateway}",
      .minimum = 1,
      .maximum = 256,
      .help = "Name of the gateway at the broker; `{gateway}` is its id." },
    { .key = "username",
      .type = FG_SETTING_TEXT,
      .offset = MQTT(username),
      .fallback = "",
      .minimum = 0,
      .maximum = 1024,
      .help = "User at the broker; empty for none." },
    { .key = "password_file",
      .type = FG_SETTING_TEXT,
      .offset = MQTT(password_file),
      .fallback = "",
      .minimum = 0,
      .maximum = 4095,
      .check = check_secret,
      .help = "File with the user's password; one newline at its end does not count. Others must not be able "
              "to read it (`chmod 600`)." },
    { .key = "keepalive",
      .type = FG_SETTING_DURATION,
      .offset = MQTT(keepalive_ns),
      .fallback = "60s",
      .minimum = 5 * S,
      .maximum = 65535 * S,
      .help = "After this long without a word the broker is asked whether it is there. After one and a half "
              "times as long without one, each side takes the other for gone." },
    { .key = "clean_session",
      .type = FG_SETTING_BOOLEAN,
      .offset = MQTT(clean_session),
      .fallback = "false",
      .help = "Have the broker forget what it knows of the gateway at each connect." },
    { .key = "session_expiry",
      .type = FG_SETTING_DURATION,
      .offset = MQTT(session_expiry_ns),
      .fallback = "1h",
      .minimum = 0,
      .maximum = UINT32_MAX * S,
      .help = "How long the broker keeps the session without a connection. MQTT 5 only." },
    { .key = "qos",
      .type = FG_SETTING_INTEGER,
      .offset = MQTT(qos),
      .fallback = "1",
      .minimum = 0,
      .maximum = 2,
      .help = "Quality of service of readings, where a device does not say." },
    { .key = "retain",
      .type = FG_SETTING_BOOLEAN,
      .offset = MQTT(retain),
      .fallback = "false",
      .help = "Whether the broker keeps the last reading, where a device does not say." },
    { .key = "max_inflight",
      .type = FG_SETTING_INTEGER,
      .offset = MQTT(max_inflight),
      .fallback = "100",
      .minimum = 1,
      .maximum = 10000,
      .unit = "messages",
      .help = "How many messages may be on their way without the broker's acknowledgement." },
    { .key = "linger",
      .type = FG_SETTING_DURATION,
      .offset = MQTT(linger_ns),
      .fallback = "0ms",
      .minimum = 0,
      .maximum = 10 * S,
      .help =
          "Wait up to this long for more readings, to send them in one write: less CPU, a little later." },
    { .key = "reconnect_min",
      .type = FG_SETTING_DURATION,
      .offset = MQTT(reconnect_min_ns),
      .fallback = "1s",
      .minimum = 50 * MS,
      .maximum = 3600 * S,
      .help = "Shortest wait before the broker is tried again." },
    { .key = "reconnect_max",
      .type = FG_SETTING_DURATION,
      .offset = MQTT(reconnect_max_ns),
      .fallback = "60s",
      .minimum = 50 * MS,
      .maximum = 86400 * S,
      .help =
          "Longest wait: it doubles with each failure, with some chance in it. It is the wait at once when "
          "the broker does not want the gateway." },
    { .key = "base_topic",
      .type = FG_SETTING_TEXT,
      .offset = MQTT(base_topic),
      .fallback = "fieldgate/{gateway}",
      .minimum = 1,
      .maximum = 512,
      .help = "What `{base}` stands for in topics; `{gateway}` is the gateway's id." },
    { .key = "tls",
      .type = FG_SETTING_OPTIONAL,
      .offset = MQTT(tls),
      .schema = &tls_schema,
      .help = "Encryption." },
    { 0 },
};

/* Printable UTF-8, and no brace but those of {gateway}. */
static bool printable(const char *text)
{
    for (const char *at = text; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            return false;
        }
    }
    return fg_utf8_valid(text, strlen(text));
}

static bool only_gateway(const char *text)
{
    static const char placeholder[] = "{gateway}";
    while (*text) {
        if (strncmp(text, placeholder, sizeof placeholder - 1) == 0) {
            text += sizeof placeholder - 1;
        } else if (*text == '{' || *text == '}') {
            return false;
        } else {
            text++;
        }
    }
    return true;
}

static void check_names(struct fg_check *check, const struct fg_mqtt_settings *mqtt)
{
    const char *base = mqtt->base_topic;
    if (!only_gateway(mqtt->client_id)) {
        fg_check_problem(check, "client_id", "{gateway} is the only placeholder here");
    } else if (!printable(mqtt->client_id)) {
        fg_check_problem(check, "client_id", "holds a control character or bad UTF-8");
    }
    char why[160];
    if (!only_gateway(base)) {
        fg_check_problem(check, "base_topic", "{gateway} is the only placeholder here");
    } else if (fg_topic_check(base, why, sizeof why) != 0) {
        fg_check_problem(check, "base_topic", "%s", why);
    } else if (base[strlen(base) - 1] == '/') {
        fg_check_problem(check, "base_topic", "ends with '/', which is put behind it anyway; leave it out");
    }
    if (!printable(mqtt->username)) {
        fg_check_problem(check, "username", "holds a control character or bad UTF-8");
    }
}

static void check_mqtt(struct fg_check *check, const void *settings)
{
    const struct fg_mqtt_settings *mqtt = settings;
    for (size_t i = 0; i < mqtt->address.count; i++) {
        char host[FG_HOST_MAX + 1];
        int port;
        if (fg_mqtt_parse_address(mqtt->address.items[i], host, &port) != 0) {
            fg_check_problem(check, "address",
                             "\"%s\" is no address; it would be \"host:port\" or \"[IPv6]:port\"",
                             mqtt->address.items[i]);
        }
    }
    check_names(check, mqtt);
    if (mqtt->reconnect_min_ns > mqtt->reconnect_max_ns) {
        fg_check_problem(check, "reconnect_min", "is longer than reconnect_max");
    }
    if (mqtt->password_file[0] && !mqtt->username[0]) {
        fg_check_problem(check, "password_file", "a password needs its user; set username");
    }
}

const struct fg_schema fg_mqtt_schema = {
    .name = "mqtt",
    .help = "The connection to the MQTT broker.",
    .size = sizeof(struct fg_mqtt_settings),
    .settings = mqtt_settings,
    .check = check_mqtt,
};
