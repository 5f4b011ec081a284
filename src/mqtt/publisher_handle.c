#include "publisher_handle.h"

#include "publisher_secret.h"
#include "publisher_session.h"

#include "fieldgate/clock.h"
#include "fieldgate/log.h"

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <string.h>

static int set_user(const struct fg_session *session, struct mosquitto *library)
{
    const struct fg_mqtt_settings *settings = session->settings;
    if (!settings->username[0]) {
        return 0;
    }
    char *password = NULL;
    if (settings->password_file[0]) {
        char why[FG_WHY_SIZE];
        int error = fg_secret_read("password_file", settings->password_file, &password, why);
        if (error) {
            fg_log(FG_LOG_ERROR, "mqtt.%s", why);
            return error;
        }
    }
    int result = mosquitto_username_pw_set(library, settings->username, password);
    fg_secret_free(password);
    if (result) {
        fg_log(FG_LOG_ERROR, "mqtt.username: %s", mosquitto_strerror(result));
        return result == MOSQ_ERR_NOMEM ? -ENOMEM : -EINVAL;
    }
    return 0;
}

/* Only the blocking connect takes properties; called without a host it keeps them for later and does no more.
 */
static int set_properties(const struct fg_session *session, struct mosquitto *library)
{
    int64_t seconds = session->settings->session_expiry_ns / FG_NS_PER_S;
    mosquitto_property *properties = NULL;
    int result = MOSQ_ERR_SUCCESS;
    if (session->protocol == FG_MQTT_5) {
        result = mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL,
                                              seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX);
    }
    if (!result && session->protocol == FG_MQTT_5) {
        result = mosquitto_property_add_int32(&properties, MQTT_PROP_MAXIMUM_PACKET_SIZE, FG_INBOUND_MAX);
    }
    if (!result) {
        result = mosquitto_connect_bind_v5(library, NULL, 0, session->keepalive_s, NULL, properties);
    }
    mosquitto_property_free_all(&properties);
    return result == MOSQ_ERR_NOMEM ? result : MOSQ_ERR_SUCCESS;
}

static int set_protocol(const struct fg_session *session, struct mosquitto *library)
{
    bool v5 = session->protocol == FG_MQTT_5;
    int result =
        mosquitto_int_option(library, MOSQ_OPT_PROTOCOL_VERSION, v5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
    if (!result) {
        result = mosquitto_will_set(library, session->will_topic, (int)strlen("offline"), "offline",
                                    session->will_qos, session->will_retain);
    }
    if (!result) {
        result = set_properties(session, library);
    }
    if (result) {
        fg_log(FG_LOG_ERROR, "mqtt: the connection cannot be set up: %s", mosquitto_strerror(result));
        return result == MOSQ_ERR_NOMEM ? -ENOMEM : -EINVAL;
    }
    return 0;
}

int fg_handle_new(struct fg_session *session, struct mosquitto **result, struct fg_tls **tls)
{
    errno = 0;
    struct mosquitto *library = mosquitto_new(session->client_id, session->settings->clean_session, session);
    if (!library) {
        int error = errno ? -errno : -EINVAL;
        fg_log(FG_LOG_ERROR, "mqtt.client_id: %s", strerror(-error));
        return error;
    }
    int error = set_protocol(session, library);
    if (!error) {
        error = set_user(session, library);
    }
    char why[FG_WHY_SIZE];
    if (!error && session->settings->tls) {
        error = fg_tls_new(session->settings->tls, library, tls, why);
        if (error) {
            fg_log(FG_LOG_ERROR, "mqtt.%s", why);
        }
    }
    if (error) {
        mosquitto_destroy(library);
        return error;
    }
    /* As for a program with a thread of its own for the library: it queues what is published, instead of
     * trying to write each packet at once and knocking at a pair of sockets that nobody reads. */
    mosquitto_threaded_set(library, true);
    *result = library;
    return 0;
}

const char *fg_handle_give_way(struct fg_session *session)
{
    const char *without = NULL;
    if (session->connack == MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION && session->protocol == FG_MQTT_5) {
        session->protocol = FG_MQTT_311;
        without = "MQTT 5 (it is MQTT 3.1.1 then)";
    } else if (session->connack == MQTT_RC_RETAIN_NOT_SUPPORTED && session->will_retain) {
        session->will_retain = false;
        without = "a retained will";
    } else if (session->connack == MQTT_RC_QOS_NOT_SUPPORTED && session->will_qos > 0) {
        session->will_qos = 0;
        without = "a will of QoS 1";
    }
    return without && set_protocol(session, session->library) == 0 ? without : NULL;
}

bool fg_handle_is_unwanted(const struct fg_session *session)
{
    bool v5 = session->protocol == FG_MQTT_5;
    switch (session->connack > 0 ? session->connack : session->farewell) {
    case CONNACK_REFUSED_IDENTIFIER_REJECTED:
    case CONNACK_REFUSED_BAD_USERNAME_PASSWORD:
    case CONNACK_REFUSED_NOT_AUTHORIZED:
        return !v5;
    case MQTT_RC_CLIENTID_NOT_VALID:
    case MQTT_RC_BAD_USERNAME_OR_PASSWORD:
    case MQTT_RC_NOT_AUTHORIZED:
    case MQTT_RC_BANNED:
    case MQTT_RC_BAD_AUTHENTICATION_METHOD:
    case MQTT_RC_CONNECTION_RATE_EXCEEDED:
        return true;
    default:
        return session->unruly;
    }
}
