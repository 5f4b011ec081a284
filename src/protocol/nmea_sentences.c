#include "nmea_sentences.h"

#include <string.h>

#define FIELDS(...) ((const struct nmea_field[]){ __VA_ARGS__, { NULL, NMEA_TEXT } })
#define TEXT(name)                                                                                           \
    {                                                                                                        \
        name, NMEA_TEXT                                                                                      \
    }
#define NUMBER(name)                                                                                         \
    {                                                                                                        \
        name, NMEA_NUMBER                                                                                    \
    }
#define SIGNED(name)                                                                                         \
    {                                                                                                        \
        name, NMEA_SIGNED                                                                                    \
    }
#define TIME                                                                                                 \
    {                                                                                                        \
        "time", NMEA_TIME                                                                                    \
    }
#define POSITION                                                                                             \
    { "latitude", NMEA_LATITUDE },                                                                           \
    {                                                                                                        \
        "longitude", NMEA_LONGITUDE                                                                          \
    }
#define UNIT(letter)                                                                                         \
    {                                                                                                        \
        letter, NMEA_UNIT                                                                                    \
    }
#define DEPTHS                                                                                               \
    NUMBER("depth_feet"), UNIT("f"), NUMBER("depth_meters"), UNIT("M"), NUMBER("depth_fathoms"), UNIT("F")
#define WAYPOINT_BEARINGS                                                                                    \
    TIME, POSITION, NUMBER("bearing_true"), UNIT("T"), NUMBER("bearing_magnetic"), UNIT("M"),                \
        NUMBER("distance_nm"), UNIT("N"), TEXT("waypoint"), TEXT("mode")
#define BEARINGS_BETWEEN                                                                                     \
    NUMBER("bearing_true"), UNIT("T"), NUMBER("bearing_magnetic"), UNIT("M"), TEXT("destination"),           \
        TEXT("origin")
#define WIND_SIDED                                                                                           \
    NUMBER("wind_angle"), TEXT("wind_side"), NUMBER("wind_speed_knots"), UNIT("N"), NUMBER("wind_speed_ms"), \
        UNIT("M"), NUMBER("wind_speed_kmh"), UNIT("K")
#define AIS                                                                                                  \
    NUMBER("fragments"), NUMBER("fragment"), TEXT("message_id"), TEXT("channel"), TEXT("payload"),           \
        NUMBER("fill_bits")

static const struct nmea_sentence sentences[] = {
    /* Position and satellites */
    { .name = "GGA",
      .fields = FIELDS(TIME, POSITION, NUMBER("fix_quality"), NUMBER("satellites"), NUMBER("hdop"),
                       NUMBER("altitude"), UNIT("M"), NUMBER("geoid_separation"), UNIT("M"),
                       NUMBER("dgps_age"), TEXT("dgps_station")) },
    { .name = "RMC",
      .fields = FIELDS(TIME, TEXT("status"), POSITION, NUMBER("speed_knots"), NUMBER("course_true"),
                       { "date", NMEA_DATE }, SIGNED("magnetic_variation"), TEXT("mode"),
                       TEXT("navigation_status")) },
    { .name = "GLL", .fields = FIELDS(POSITION, TIME, TEXT("status"), TEXT("mode")) },
    { .name = "GNS",
      .fields = FIELDS(TIME, POSITION, TEXT("mode"), NUMBER("satellites"), NUMBER("hdop"), NUMBER("altitude"),
                       NUMBER("geoid_separation"), NUMBER("dgps_age"), TEXT("dgps_station"),
                       TEXT("navigation_status")) },
    { .name = "VTG",
      .fields = FIELDS(NUMBER("course_true"), UNIT("T"), NUMBER("course_magnetic"), UNIT("M"),
                       NUMBER("speed_knots"), UNIT("N"), NUMBER("speed_kmh"), UNIT("K"), TEXT("mode")) },
    { .name = "GSA",
      .fields = FIELDS(TEXT("selection_mode"), NUMBER("fix_mode")),
      .group = "satellite",
      .group_fields = FIELDS(NUMBER("")),
      .group_count = 12,
      .tail = FIELDS(NUMBER("pdop"), NUMBER("hdop"), NUMBER("vdop"), TEXT("system_id")) },
    { .name = "GSV",
      .fields = FIELDS(NUMBER("messages"), NUMBER("message"), NUMBER("satellites_in_view")),
      .group = "satellite",
      .group_fields = FIELDS(NUMBER("id"), NUMBER("elevation"), NUMBER("azimuth"), NUMBER("snr")),
      .tail = FIELDS(TEXT("signal_id")) },
    { .name = "GST",
      .fields = FIELDS(TIME, NUMBER("range_rms"), NUMBER("semi_major_error"), NUMBER("semi_minor_error"),
                       NUMBER("orientation"), NUMBER("latitude_error"), NUMBER("longitude_error"),
                       NUMBER("altitude_error")) },
    { .name = "GBS",
      .fields = FIELDS(TIME, NUMBER("latitude_error"), NUMBER("longitude_error"), NUMBER("altitude_error"),
                       NUMBER("failed_satellite"), NUMBER("missed_probability"), NUMBER("bias"),
                       NUMBER("bias_deviation"), TEXT("system_id"), TEXT("signal_id")) },
    { .name = "DTM",
      .fields = FIELDS(TEXT("datum"), TEXT("datum_subcode"), SIGNED("latitude_offset"),
                       SIGNED("longitude_offset"), NUMBER("altitude_offset"), TEXT("reference_datum")) },
    { .name = "ZDA",
      .fields = FIELDS(TIME, { "day", NMEA_DAY }, { "month", NMEA_MONTH }, { "year", NMEA_YEAR },
                       NUMBER("zone_hours"), NUMBER("zone_minutes")) },
    { .name = "TXT",
      .fields = FIELDS(NUMBER("messages"), NUMBER("message"), NUMBER("text_id"), TEXT("text")) },

    /* Heading, speed, turn */
    { .name = "HDT", .fields = FIELDS(NUMBER("heading_true"), UNIT("T")) },
    { .name = "HDM", .fields = FIELDS(NUMBER("heading_magnetic"), UNIT("M")) },
    { .name = "HDG",
      .fields =
          FIELDS(NUMBER("heading_magnetic"), SIGNED("magnetic_deviation"), SIGNED("magnetic_variation")) },
    { .name = "THS", .fields = FIELDS(NUMBER("heading_true"), TEXT("mode")) },
    { .name = "ROT", .fields = FIELDS(NUMBER("rate_of_turn"), TEXT("status")) },
    { .name = "RSA",
      .fields = FIELDS(NUMBER("rudder_starboard"), TEXT("rudder_starboard_status"), NUMBER("rudder_port"),
                       TEXT("rudder_port_status")) },
    { .name = "RPM",
      .fields = FIELDS(TEXT("source"), NUMBER("number"), NUMBER("rpm"), NUMBER("pitch"), TEXT("status")) },
    { .name = "HSC",
      .fields = FIELDS(NUMBER("heading_true"), UNIT("T"), NUMBER("heading_magnetic"), UNIT("M")) },
    { .name = "OSD",
      .fields = FIELDS(NUMBER("heading_true"), TEXT("status"), NUMBER("course_true"),
                       TEXT("course_reference"), NUMBER("speed"), TEXT("speed_reference"), NUMBER("set_true"),
                       NUMBER("drift"), TEXT("speed_unit")) },
    { .name = "VHW",
      .fields = FIELDS(NUMBER("heading_true"), UNIT("T"), NUMBER("heading_magnetic"), UNIT("M"),
                       NUMBER("water_speed_knots"), UNIT("N"), NUMBER("water_speed_kmh"), UNIT("K")) },
    { .name = "VLW",
      .fields = FIELDS(NUMBER("water_distance_total_nm"), UNIT("N"), NUMBER("water_distance_trip_nm"),
                       UNIT("N"), NUMBER("ground_distance_total_nm"), UNIT("N"),
                       NUMBER("ground_distance_trip_nm"), UNIT("N")) },
    { .name = "VBW",
      .fields =
          FIELDS(NUMBER("water_speed_longitudinal"), NUMBER("water_speed_transverse"), TEXT("water_status"),
                 NUMBER("ground_speed_longitudinal"), NUMBER("ground_speed_transverse"),
                 TEXT("ground_status"), NUMBER("stern_water_speed_transverse"), TEXT("stern_water_status"),
                 NUMBER("stern_ground_speed_transverse"), TEXT("stern_ground_status")) },
    { .name = "VDR",
      .fields = FIELDS(NUMBER("set_true"), UNIT("T"), NUMBER("set_magnetic"), UNIT("M"),
                       NUMBER("drift_knots"), UNIT("N")) },
    { .name = "VPW",
      .fields = FIELDS(NUMBER("speed_parallel_knots"), UNIT("N"), NUMBER("speed_parallel_ms"), UNIT("M")) },

    /* Wind, water, weather */
    { .name = "MWV",
      .fields = FIELDS(NUMBER("wind_angle"), TEXT("reference"), NUMBER("wind_speed"), TEXT("wind_speed_unit"),
                       TEXT("status")) },
    { .name = "MWD",
      .fields = FIELDS(NUMBER("wind_direction_true"), UNIT("T"), NUMBER("wind_direction_magnetic"), UNIT("M"),
                       NUMBER("wind_speed_knots"), UNIT("N"), NUMBER("wind_speed_ms"), UNIT("M")) },
    { .name = "VWR", .fields = FIELDS(WIND_SIDED) },
    { .name = "VWT", .fields = FIELDS(WIND_SIDED) },
    { .name = "DBT", .fields = FIELDS(DEPTHS) },
    { .name = "DBS", .fields = FIELDS(DEPTHS) },
    { .name = "DBK", .fields = FIELDS(DEPTHS) },
    { .name = "DPT", .fields = FIELDS(NUMBER("depth_meters"), NUMBER("offset"), NUMBER("range_scale")) },
    { .name = "MTW", .fields = FIELDS(NUMBER("water_temperature"), UNIT("C")) },
    { .name = "MTA", .fields = FIELDS(NUMBER("air_temperature"), UNIT("C")) },
    { .name = "MHU",
      .fields = FIELDS(NUMBER("humidity"), NUMBER("absolute_humidity"), NUMBER("dew_point"), UNIT("C")) },
    { .name = "MMB",
      .fields = FIELDS(NUMBER("pressure_inhg"), UNIT("I"), NUMBER("pressure_bar"), UNIT("B")) },
    { .name = "MDA",
      .fields = FIELDS(NUMBER("pressure_inhg"), UNIT("I"), NUMBER("pressure_bar"), UNIT("B"),
                       NUMBER("air_temperature"), UNIT("C"), NUMBER("water_temperature"), UNIT("C"),
                       NUMBER("humidity"), NUMBER("absolute_humidity"), NUMBER("dew_point"), UNIT("C"),
                       NUMBER("wind_direction_true"), UNIT("T"), NUMBER("wind_direction_magnetic"), UNIT("M"),
                       NUMBER("wind_speed_knots"), UNIT("N"), NUMBER("wind_speed_ms"), UNIT("M")) },
    { .name = "XDR",
      .fields = NULL,
      .group = "transducer",
      .group_fields = FIELDS(TEXT("type"), NUMBER("value"), TEXT("unit"), TEXT("name")) },

    /* Waypoints, routes, steering */
    { .name = "AAM",
      .fields = FIELDS(TEXT("circle_status"), TEXT("perpendicular_status"), NUMBER("circle_radius_nm"),
                       UNIT("N"), TEXT("waypoint")) },
    { .name = "APB",
      .fields = FIELDS(TEXT("status"), TEXT("lock_status"), NUMBER("cross_track_error_nm"), TEXT("steer"),
                       UNIT("N"), TEXT("circle_status"), TEXT("perpendicular_status"),
                       NUMBER("origin_bearing"), TEXT("origin_bearing_reference"), TEXT("destination"),
                       NUMBER("bearing"), TEXT("bearing_reference"), NUMBER("heading_to_steer"),
                       TEXT("heading_to_steer_reference"), TEXT("mode")) },
    { .name = "BOD", .fields = FIELDS(BEARINGS_BETWEEN) },
    { .name = "BWW", .fields = FIELDS(BEARINGS_BETWEEN) },
    { .name = "BWC", .fields = FIELDS(WAYPOINT_BEARINGS) },
    { .name = "BWR", .fields = FIELDS(WAYPOINT_BEARINGS) },
    { .name = "RMB",
      .fields = FIELDS(TEXT("status"), NUMBER("cross_track_error_nm"), TEXT("steer"), TEXT("origin"),
                       TEXT("destination"), POSITION, NUMBER("range_nm"), NUMBER("bearing_true"),
                       NUMBER("closing_speed_knots"), TEXT("arrival_status"), TEXT("mode")) },
    { .name = "RTE",
      .fields = FIELDS(NUMBER("messages"), NUMBER("message"), TEXT("route_mode"), TEXT("route")),
      .group = "waypoint",
      .group_fields = FIELDS(TEXT("")) },
    { .name = "WPL", .fields = FIELDS(POSITION, TEXT("waypoint")) },
    { .name = "XTE",
      .fields = FIELDS(TEXT("status"), TEXT("lock_status"), NUMBER("cross_track_error_nm"), TEXT("steer"),
                       UNIT("N"), TEXT("mode")) },

    /* Ships around: AIS as it came, radar targets */
    { .name = "VDM", .fields = FIELDS(AIS) },
    { .name = "VDO", .fields = FIELDS(AIS) },
    { .name = "TTM",
      .fields = FIELDS(NUMBER("target"), NUMBER("target_distance"), NUMBER("target_bearing"),
                       TEXT("target_bearing_reference"), NUMBER("target_speed"), NUMBER("target_course"),
                       TEXT("target_course_reference"), NUMBER("closest_distance"), NUMBER("closest_time"),
                       TEXT("unit"), TEXT("target_name"), TEXT("target_status"), TEXT("reference_target"),
                       TIME, TEXT("acquisition")) },
};

const struct nmea_sentence *fg_nmea_sentence(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++) {
        if (strlen(sentences[i].name) == length && memcmp(sentences[i].name, name, length) == 0) {
            return &sentences[i];
        }
    }
    return NULL;
}
