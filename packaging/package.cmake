# The Debian package: "cpack" in a build folder that was configured with -DCMAKE_INSTALL_PREFIX=/usr, as
# script/package does it.
if(NOT CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  return()
endif()
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME fieldgate)
set(CPACK_PACKAGE_VENDOR "The fieldgate authors")
set(CPACK_PACKAGE_CONTACT "The fieldgate authors <fieldgate@fieldgate.invalid>" CACHE STRING "The package's maintainer")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "gateway from field devices to MQTT")
set(CPACK_PACKAGE_DESCRIPTION
"Reads field devices on serial lines, on TCP, UDP and Unix sockets, and
Modbus devices, and publishes their readings to an MQTT broker, so that
Home Assistant, Node-RED, Telegraf or a script can use them.
A small daemon for single-board computers: readings are kept on disk
while the broker is away, and nothing is lost without being told.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
  WORLD_EXECUTE)

if(NOT FIELDGATE_DEBIAN_ARCHITECTURE)
  find_program(FIELDGATE_DPKG dpkg)
  mark_as_advanced(FIELDGATE_DPKG)
  if(NOT FIELDGATE_DPKG)
    return()
  endif()
  execute_process(COMMAND ${FIELDGATE_DPKG} --print-architecture OUTPUT_VARIABLE FIELDGATE_DEBIAN_ARCHITECTURE
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
endif()
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE ${FIELDGATE_DEBIAN_ARCHITECTURE})
set(CPACK_DEBIAN_FILE_NAME fieldgate_${PROJECT_VERSION}_${FIELDGATE_DEBIAN_ARCHITECTURE}.deb)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "mosquitto, mosquitto-clients, socat")

# A sysroot has no package database to ask, so the libraries' packages are a list: of Debian 12, the same for every
# architecture. A test compares it with what dpkg-shlibdeps finds.
set(depends "libc6 (>= 2.34)" libconfig9 "libjansson4 (>= 2.14)" "libmosquitto1 (>= 2.0)" "libsqlite3-0 (>= 3.37.0)"
  "libssl3 (>= 3.0.0)")
if(FIELDGATE_IO_URING)
  list(APPEND depends "liburing2 (>= 2.3)")
endif()
if(FIELDGATE_SYSTEMD)
  list(APPEND depends libsystemd0)
endif()
list(APPEND depends "init-system-helpers (>= 1.54~)" "systemd | systemd-standalone-sysusers | systemd-sysusers")
list(JOIN depends ", " CPACK_DEBIAN_PACKAGE_DEPENDS)

set(debian ${CMAKE_SOURCE_DIR}/packaging/debian)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${debian}/postinst ${debian}/prerm ${debian}/postrm ${debian}/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_FIELDGATE_SOURCE ${CMAKE_SOURCE_DIR})
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/packaging/finish-tree.cmake)
include(CPack)
