#include "support/decoder_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Sentences as receivers sent them, with their own checksums. */
static void sentences_have_named_fields(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { NULL, FG_BYTES("$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47"),
          "talker=t\"GP\" sentence=t\"GGA\" time=t\"12:35:19\" latitude=r48.1173 "
          "longitude=r11.516666666666667 "
          "fix_quality=i1 satellites=i8 hdop=r0.9 altitude=r545.4 geoid_separation=r46.9 dgps_age=null "
          "dgps_station=null" },
        { NULL, FG_BYTES("$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"),
          "talker=t\"GP\" sentence=t\"RMC\" time=t\"12:35:19\" status=t\"A\" latitude=r48.1173 "
          "longitude=r11.516666666666667 speed_knots=r22.4 course_true=r84.4 date=t\"1994-03-23\" "
          "magnetic_variation=r-3.1 datetime=t\"1994-03-23T12:35:19Z\"" },
        { NULL, FG_BYTES("$GNRMC,001031.00,A,4404.13993,N,12118.86023,W,0.146,,100117,,,A*7B"),
          "talker=t\"GN\" sentence=t\"RMC\" time=t\"00:10:31.00\" status=t\"A\" latitude=r44.06899883333333 "
          "longitude=r-121.31433716666666 speed_knots=r0.146 course_true=null date=t\"2017-01-10\" "
          "magnetic_variation=null mode=t\"A\" datetime=t\"2017-01-10T00:10:31.00Z\"" },
        { NULL, FG_BYTES("$GNGLL,4404.14012,N,12118.85993,W,001037.00,A,A*67"),
          "talker=t\"GN\" sentence=t\"GLL\" latitude=r44.069002 longitude=r-121.31433216666667 "
          "time=t\"00:10:37.00\" status=t\"A\" mode=t\"A\"" },
        { NULL, FG_BYTES("$GPVTG,220.86,T,,M,2.550,N,4.724,K,A*34"),
          "talker=t\"GP\" sentence=t\"VTG\" course_true=r220.86 course_magnetic=null speed_knots=r2.55 "
          "speed_kmh=r4.724 mode=t\"A\"" },
        { NULL, FG_BYTES("$GNGSA,A,3,80,71,73,79,69,,,,,,,,1.83,1.09,1.47*17"),
          "talker=t\"GN\" sentence=t\"GSA\" selection_mode=t\"A\" fix_mode=i3 satellite1=i80 satellite2=i71 "
          "satellite3=i73 satellite4=i79 satellite5=i69 satellite6=null satellite7=null satellite8=null "
          "satellite9=null satellite10=null satellite11=null satellite12=null pdop=r1.83 hdop=r1.09 "
          "vdop=r1.47" },
        { NULL, FG_BYTES("$GLGSV,3,3,09,88,07,028,*51"),
          "talker=t\"GL\" sentence=t\"GSV\" messages=i3 message=i3 satellites_in_view=i9 satellite1_id=i88 "
          "satellite1_elevation=i7 satellite1_azimuth=i28 satellite1_snr=null" },
        { NULL, FG_BYTES("$GPGSV,3,1,11,03,03,111,00,04,15,270,00,06,01,010,00,13,06,292,00*74"),
          "talker=t\"GP\" sentence=t\"GSV\" messages=i3 message=i1 satellites_in_view=i11 satellite1_id=i3 "
          "satellite1_elevation=i3 satellite1_azimuth=i111 satellite1_snr=i0 satellite2_id=i4 "
          "satellite2_elevation=i15 satellite2_azimuth=i270 satellite2_snr=i0 satellite3_id=i6 "
          "satellite3_elevation=i1 satellite3_azimuth=i10 satellite3_snr=i0 satellite4_id=i13 "
          "satellite4_elevation=i6 satellite4_azimuth=i292 satellite4_snr=i0" },
        { NULL, FG_BYTES("$GPZDA,160012.71,11,03,2004,-1,00*7D"),
          "talker=t\"GP\" sentence=t\"ZDA\" time=t\"16:00:12.71\" day=i11 month=i3 year=i2004 zone_hours=i-1 "
          "zone_minutes=i0 datetime=t\"2004-03-11T16:00:12.71Z\"" },
        { NULL, FG_BYTES("$GPHDT,274.07,T*03"), "talker=t\"GP\" sentence=t\"HDT\" heading_true=r274.07" },
        { NULL, FG_BYTES("$SDDBT,7.8,f,2.4,M,1.3,F*0D"),
          "talker=t\"SD\" sentence=t\"DBT\" depth_feet=r7.8 depth_meters=r2.4 depth_fathoms=r1.3" },
        { NULL, FG_BYTES("$INDPT,2.3,0.0*46"),
          "talker=t\"IN\" sentence=t\"DPT\" depth_meters=r2.3 offset=r0.0" },
        { NULL, FG_BYTES("$INMTW,17.9,C*1B"), "talker=t\"IN\" sentence=t\"MTW\" water_temperature=r17.9" },
        { NULL, FG_BYTES("$HEROT,0.0,A*2B"),
          "talker=t\"HE\" sentence=t\"ROT\" rate_of_turn=r0.0 status=t\"A\"" },
        { NULL, FG_BYTES("$HCXDR,A,171,D,PITCH,A,-37,D,ROLL*00"),
          "talker=t\"HC\" sentence=t\"XDR\" transducer1_type=t\"A\" transducer1_value=i171 "
          "transducer1_unit=t\"D\" transducer1_name=t\"PITCH\" transducer2_type=t\"A\" "
          "transducer2_value=i-37 "
          "transducer2_unit=t\"D\" transducer2_name=t\"ROLL\"" },
        { NULL, FG_BYTES("!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C"),
          "talker=t\"AI\" sentence=t\"VDM\" fragments=i1 fragment=i1 message_id=null channel=t\"B\" "
          "payload=t\"177KQJ5000G?tO`K>RA1wUbN0TKH\" fill_bits=i0" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("nmea0183", cases);
}

/* Decodes body between "$" and the checksum that is right for it. */
static void expect(const char *body, const char *expected)
{
    char frame[600];
    unsigned sum = 0;
    for (const char *at = body; *at; at++) {
        sum ^= (unsigned char)*at;
    }
    int size = snprintf(frame, sizeof frame, "$%s*%02X", body, sum);
    fg_decoder_expect("nmea0183", NULL, frame, (size_t)size, expected);
}

static void instruments_have_named_fields(void **state)
{
    (void)state;
    expect("WIMWV,214.8,R,0.1,K,A", "talker=t\"WI\" sentence=t\"MWV\" wind_angle=r214.8 reference=t\"R\" "
                                    "wind_speed=r0.1 wind_speed_unit=t\"K\" status=t\"A\"");
    expect("WIMWD,10.1,T,8.3,M,2.4,N,1.2,M",
           "talker=t\"WI\" sentence=t\"MWD\" wind_direction_true=r10.1 wind_direction_magnetic=r8.3 "
           "wind_speed_knots=r2.4 wind_speed_ms=r1.2");
    expect("HCHDG,101.1,,,7.1,W", "talker=t\"HC\" sentence=t\"HDG\" heading_magnetic=r101.1 "
                                  "magnetic_deviation=null magnetic_variation=r-7.1");
    expect("HCHDG,101.1,2,E,7.1,E", "talker=t\"HC\" sentence=t\"HDG\" heading_magnetic=r101.1 "
                                    "magnetic_deviation=r2.0 magnetic_variation=r7.1");
    expect("VWVHW,,T,,M,4.5,N,8.3,K",
           "talker=t\"VW\" sentence=t\"VHW\" heading_true=null heading_magnetic=null "
           "water_speed_knots=r4.5 water_speed_kmh=r8.3");
    expect("IIVLW,1234,N,5.6,N",
           "talker=t\"II\" sentence=t\"VLW\" water_distance_total_nm=i1234 water_distance_trip_nm=r5.6");
    expect("IIRSA,-3.5,A,,V", "talker=t\"II\" sentence=t\"RSA\" rudder_starboard=r-3.5 "
                              "rudder_starboard_status=t\"A\" rudder_port=null rudder_port_status=t\"V\"");
    expect(
        "WIMDA,29.92,I,1.013,B,18.6,C,,C,45,,6.4,C,,T,,M,3.1,N,1.6,M",
        "talker=t\"WI\" sentence=t\"MDA\" pressure_inhg=r29.92 pressure_bar=r1.013 air_temperature=r18.6 "
        "water_temperature=null humidity=i45 absolute_humidity=null dew_point=r6.4 wind_direction_true=null "
        "wind_direction_magnetic=null wind_speed_knots=r3.1 wind_speed_ms=r1.6");
    expect("GPGSV,1,1,01,05,40,083,46,1",
           "talker=t\"GP\" sentence=t\"GSV\" messages=i1 message=i1 satellites_in_view=i1 satellite1_id=i5 "
           "satellite1_elevation=i40 satellite1_azimuth=i83 satellite1_snr=i46 signal_id=t\"1\"");
    expect("GPRTE,1,1,c,0,A,B", "talker=t\"GP\" sentence=t\"RTE\" messages=i1 message=i1 route_mode=t\"c\" "
                                "route=t\"0\" waypoint1=t\"A\" waypoint2=t\"B\"");
}

static void positions_are_signed_decimal_degrees(void **state)
{
    (void)state;
    expect("GPGLL,0000.000,S,00000.000,W", "talker=t\"GP\" sentence=t\"GLL\" latitude=r0.0 longitude=r0.0");
    expect("GPGLL,9000.000,S,18000.000,W",
           "talker=t\"GP\" sentence=t\"GLL\" latitude=r-90.0 longitude=r-180.0");
    expect("GPGLL,0030,N,00130.0,E", "talker=t\"GP\" sentence=t\"GLL\" latitude=r0.5 longitude=r1.5");
    expect("GPGLL,,,,", "talker=t\"GP\" sentence=t\"GLL\" latitude=null longitude=null");
    /* Not degrees and minutes, or no direction: what came stays visible, but is no number. */
    expect("GPGLL,4860.000,N,18000.1,E",
           "talker=t\"GP\" sentence=t\"GLL\" latitude=t\"4860.000\" longitude=t\"18000.1\"");
    expect("GPGLL,4807.038,,01131.000,X",
           "talker=t\"GP\" sentence=t\"GLL\" latitude=t\"4807.038\" longitude=t\"01131.000\"");
    expect("GPGLL,-4807.038,N,1e3,E",
           "talker=t\"GP\" sentence=t\"GLL\" latitude=t\"-4807.038\" longitude=t\"1e3\"");
    expect("GPGLL,4807.038", "talker=t\"GP\" sentence=t\"GLL\" latitude=t\"4807.038\"");
}

static void a_field_of_another_kind_is_text(void **state)
{
    (void)state;
    expect("GPHDT,north,T", "talker=t\"GP\" sentence=t\"HDT\" heading_true=t\"north\"");
    expect("GPZDA,246060,32,13,99,+01,00",
           "talker=t\"GP\" sentence=t\"ZDA\" time=t\"246060\" day=i32 month=i13 "
           "year=i99 zone_hours=i1 zone_minutes=i0");
    expect("GPGLL,,,,,12:30,A",
           "talker=t\"GP\" sentence=t\"GLL\" latitude=null longitude=null time=t\"12:30\" status=t\"A\"");
    expect("GPRMC,,V,,,,,,,320126,,", "talker=t\"GP\" sentence=t\"RMC\" time=null status=t\"V\" "
                                      "latitude=null longitude=null speed_knots=null "
                                      "course_true=null date=t\"320126\" magnetic_variation=null");
}

static void a_layout_that_units_contradict_is_not_guessed(void **state)
{
    (void)state;
    expect("GPVTG,054.7,034.4,005.5,010.2",
           "talker=t\"GP\" sentence=t\"VTG\" field1=r54.7 field2=r34.4 field3=r5.5 field4=r10.2");
    expect("INMTW,64.2,F", "talker=t\"IN\" sentence=t\"MTW\" field1=r64.2 field2=t\"F\"");
}

static void what_is_not_known_is_numbered(void **state)
{
    (void)state;
    expect("GPXYZ,1,,two,007", "talker=t\"GP\" sentence=t\"XYZ\" field1=i1 field2=null field3=t\"two\" "
                               "field4=t\"007\"");
    expect("GPHDT,1.5,T,x,2", "talker=t\"GP\" sentence=t\"HDT\" heading_true=r1.5 field3=t\"x\" field4=i2");
    expect("PGRME,15.0,M", "talker=t\"P\" sentence=t\"GRME\" field1=r15.0 field2=t\"M\"");
    expect("PUBX,00,1", "talker=t\"P\" sentence=t\"UBX\" field1=t\"00\" field2=i1");
    expect("CCGPQ,GGA", "talker=t\"CC\" sentence=t\"GPQ\" field1=t\"GGA\"");
    expect("GPGGA", "talker=t\"GP\" sentence=t\"GGA\"");
    expect("GPX", "talker=t\"GP\" sentence=t\"X\"");
}

static void the_checksum_is_required_and_verified(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { NULL, FG_BYTES("$GPHDT,274.07,T*03"), "talker=t\"GP\" sentence=t\"HDT\" heading_true=r274.07" },
        { NULL, FG_BYTES("$GPHDT,274.07,T*04"), "<checksum>" },
        { NULL, FG_BYTES("$GPHDT,274.08,T*03"), "<checksum>" },
        { NULL, FG_BYTES("$GPHDT,274.07,T"), "<checksum>" },
        { NULL, FG_BYTES("$GPHDT,274.07,T*"), "<checksum>" },
        { NULL, FG_BYTES("$GPHDT,274.07,T*3"), "<checksum>" },
        { NULL, FG_BYTES("$GPHDT,274.07,T*0x"), "<checksum>" },
        { NULL, FG_BYTES("$SDDBT,7.8,f,2.4,M,1.3,F*0d"),
          "talker=t\"SD\" sentence=t\"DBT\" depth_feet=r7.8 depth_meters=r2.4 depth_fathoms=r1.3" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("nmea0183", cases);
}

static void a_tag_block_is_verified_and_passed_over(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { NULL, FG_BYTES("\\g:1-2-73874*5F\\$GPHDT,274.07,T*03"), "<checksum>" },
        { NULL, FG_BYTES("\\s:a*28\\$GPHDT,274.07,T*03"),
          "talker=t\"GP\" sentence=t\"HDT\" heading_true=r274.07" },
        { NULL, FG_BYTES("\\s:a*28$GPHDT,274.07,T*03"), "<malformed>" },
        { NULL, FG_BYTES("\\\\$GPHDT,274.07,T*03"), "<checksum>" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("nmea0183", cases);
}

static void what_is_no_sentence_is_malformed(void **state)
{
    static const struct fg_decoder_case cases[] = {
        { NULL, FG_BYTES("GPHDT,274.07,T*03"), "<malformed>" },
        { NULL, FG_BYTES("x$GPHDT,274.07,T*03"), "<malformed>" },
        { NULL, FG_BYTES("\r\n"), "<malformed>" },
        { NULL, FG_BYTES("$"), "<checksum>" },
        { NULL, FG_BYTES("$*00"), "<malformed>" },
        { NULL, FG_BYTES(""), "<empty>" },
    };
    (void)state;
    FG_DECODER_CASES_RUN("nmea0183", cases);
    expect("GP", "<malformed>");
    expect("P", "<malformed>");
    expect(",1,2", "<malformed>");
}

static void text_that_is_not_utf8_is_rejected(void **state)
{
    (void)state;
    expect("GPTXT,01,01,02,\xb0", "<encoding>");
    expect("G\xc3\xbcXY,1", "<encoding>"); /* valid as a whole, not as talker and sentence */
    expect("GPTXT,01,01,02,gr\xc3\xbc\xc3\x9f", "talker=t\"GP\" sentence=t\"TXT\" messages=i1 message=i1 "
                                                "text_id=i2 text=t\"gr\\xc3\\xbc\\xc3\\x9f\"");
}

static void a_sentence_is_bounded(void **state)
{
    char body[400];
    (void)state;
    memset(body, ',', sizeof body);
    memcpy(body, "GPXYZ", 5);
    body[255 - 4 + 1] = '\0';
    expect(body, "<oversized>");
    body[255 - 4] = '\0';
    char expected[8000];
    int used = sprintf(expected, "talker=t\"GP\" sentence=t\"XYZ\"");
    for (int i = 1; i <= 255 - 4 - 5; i++) {
        used += sprintf(expected + used, " field%d=null", i);
    }
    expect(body, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentences_have_named_fields),
        cmocka_unit_test(instruments_have_named_fields),
        cmocka_unit_test(positions_are_signed_decimal_degrees),
        cmocka_unit_test(a_field_of_another_kind_is_text),
        cmocka_unit_test(a_layout_that_units_contradict_is_not_guessed),
        cmocka_unit_test(what_is_not_known_is_numbered),
        cmocka_unit_test(the_checksum_is_required_and_verified),
        cmocka_unit_test(a_tag_block_is_verified_and_passed_over),
        cmocka_unit_test(what_is_no_sentence_is_malformed),
        cmocka_unit_test(text_that_is_not_utf8_is_rejected),
        cmocka_unit_test(a_sentence_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
